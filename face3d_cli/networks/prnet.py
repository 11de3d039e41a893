"""Position map networks: one of three encoders in front of the published or a lighter decoder.

A network takes RGB pictures in 0..1 and gives maps in sides of the picture: x and y from 0 at the
left and top pixel's centre, z in the same unit. With the published decoder these are the sigmoid's
values, as in PRNet; the light one adds a correction to the mean map of its training data. Only what
faces can look like is left of that correction: each of its coordinates is a combination of the mean
face's and of the main shapes' coordinates, whatever the pose, and the rest is an error.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from face3d_cli.errors import ModelError
from face3d_cli.networks.mobilenetv2 import MobileNetV2Encoder
from face3d_cli.networks.prnet_weights import pack_prnet_weights, read_prnet_weights
from face3d_cli.networks.resfcn import ResFcnDecoder, ResFcnEncoder
from face3d_cli.networks.resnet18 import ResNet18Encoder
from face3d_cli.settings import PositionMapNetSettings

RIGID_SHAPES = 4  # one, and the mean face's x, y and z: all that a shift and a turn need
FINE_PX = 256  # side of the square in which the surface's outline is stored
_Encoder = ResFcnEncoder | ResNet18Encoder | MobileNetV2Encoder
_ENCODERS: dict[str, type[_Encoder]] = {
    "resfcn": ResFcnEncoder,
    "resnet18": ResNet18Encoder,
    "mobilenetv2": MobileNetV2Encoder,
}


class LightDecoder(nn.Module):
    """Mixes all places of the features, then rises by bilinear steps to a small map.

    The map's layout has nothing to do with the picture's, so every place has to see every other
    first: one convolution over the whole grid of features does that, its transpose unfolds again.
    """

    def __init__(self, in_channels: int, grid: int, widths: tuple[int, ...]) -> None:
        super().__init__()
        first = widths[0]
        self.reduce = _conv_norm(in_channels, first, 1)
        self.gather = nn.Sequential(
            nn.Conv2d(first, first, grid, bias=False), nn.BatchNorm2d(first), nn.ReLU(inplace=True)
        )
        self.unfold = nn.Sequential(
            nn.ConvTranspose2d(first, first, 4, bias=False),
            nn.BatchNorm2d(first),
            nn.ReLU(inplace=True),
        )
        self.rises = nn.ModuleList(
            _conv_norm(inputs, outputs, 3) for inputs, outputs in pairwise(widths)
        )
        self.head = nn.Conv2d(widths[-1], 3, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, M, M), M = 4 * 2 ** (number of widths - 1)."""
        x = self.unfold(self.gather(self.reduce(x)))
        for rise in self.rises:
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = rise(x)
        maps: Tensor = self.head(x)
        return maps


def _conv_norm(inputs: int, outputs: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU(inplace=True),
    )


class PositionMapNet(nn.Module):
    """Encoder and decoder as `PositionMapNetSettings` names them."""

    mean_map: Tensor  # (3, M, M)
    shapes: Tensor  # (RIGID_SHAPES + N, M * M), orthonormal; this and the next two are the
    shape_mean: Tensor  # light decoder's: (RIGID_SHAPES + N, 3) the mean of the training faces and
    shape_modes: Tensor  # (K, RIGID_SHAPES + N, 3) how they vary, centimetres, made of `shapes`
    canonical_cm: Tensor  # (3, M, M)
    valid: Tensor  # (FINE_PX, FINE_PX)

    def __init__(self, config: PositionMapNetSettings) -> None:
        super().__init__()
        self.config = config
        encoder = _ENCODERS[config.encoder]
        self.encoder = encoder()
        channels = encoder.out_channels
        self.decoder: nn.Module
        if config.decoder == "published":
            self.decoder = ResFcnDecoder(channels)
        else:
            self.decoder = LightDecoder(channels, config.input_px // 32, config.widths)
        size = config.map_px
        self.register_buffer("mean_map", torch.zeros(3, size, size))
        if config.decoder == "light":
            count = RIGID_SHAPES + config.shapes
            self.register_buffer("shapes", torch.zeros(count, size * size))
            self.register_buffer("shape_mean", torch.zeros(count, 3))
            self.register_buffer("shape_modes", torch.zeros(config.modes, count, 3))
        self.register_buffer("canonical_cm", torch.zeros(3, size, size))
        self.register_buffer("valid", torch.zeros(FINE_PX, FINE_PX, dtype=torch.uint8))

    def forward(self, image: Tensor) -> Tensor:
        """(B, 3, M, M) maps of (B, 3, S, S) pictures in 0..1."""
        if self.config.encoder != "resfcn":
            image = image * 4.0 - 2.0
        maps: Tensor = self.decoder(self.encoder(image))
        if self.config.decoder == "light":
            possible = (maps.float().flatten(2) @ self.shapes.T) @ self.shapes
            maps = possible.reshape(maps.shape) + self.mean_map
        return maps

    def load_encoder(self, state: dict[str, Tensor]) -> None:
        """Take an encoder's weights in torchvision's layout; those of its classifier are passed by.

        Raises:
            ModelError: they are not this encoder's.
        """
        own = self.encoder.state_dict()
        extra = ("fc.", "classifier.", "features.18.")
        given = {name: value for name, value in state.items() if not name.startswith(extra)}
        try:
            self.encoder.load_state_dict(given)
        except RuntimeError as problem:
            raise ModelError(
                f"not the weights of {self.config.encoder} ({len(own)} tensors): {problem}",
                hint="give torchvision's file of that network",
            ) from problem


def load_encoder_file(network: PositionMapNet, path: Path) -> None:
    """Read torchvision's .pth or a .safetensors file into the encoder.

    Raises:
        ModelError: unreadable, or another network's.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # damaged files raise errors of many kinds
        raise ModelError(f"cannot read {path}: {problem}") from problem
    network.load_encoder(state)


def prnet_bytes(network: PositionMapNet) -> bytes:
    """The contents of a weights file: kernels in half precision, and the network's shape."""
    state = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    return pack_prnet_weights(state, network.config)


def load_prnet(path: Path) -> PositionMapNet:
    """Rebuild a network from its file, in float32, in evaluation mode, on the CPU.

    Raises:
        ModelError: the file is missing, damaged, or lacks or has other weights than its shape asks.
    """
    arrays, settings = read_prnet_weights(path)
    network = PositionMapNet(settings)
    state = {name: torch.from_numpy(array) for name, array in arrays.items()}
    counters = {n: v for n, v in network.state_dict().items() if n.endswith("num_batches_tracked")}
    try:
        network.load_state_dict({**counters, **state})
    except RuntimeError as problem:
        raise ModelError(
            f"{path} does not fit its own description: {problem}",
            hint=f"face3d models verify {path.name.split('.', 1)[0]}",
        ) from problem
    return network.eval()
