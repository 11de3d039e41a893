"""BabyMeshNet and MeshNet: a photo in, vertex offsets of a template (and colours) out.

Both are optimised for one photo at a time through the differentiable renderer, so they have no
pretrained weights. 3 x 3 convolutions without padding, each followed by a ReLU and 2 x 2 max
pooling, then linear heads.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor, nn

from face3d_cli.errors import ShapeError

ICOSPHERE_VERTICES = 2_562
HEMISPHERE_VERTICES = 2_113


def _features(channels: tuple[int, ...]) -> nn.Sequential:
    """Convolutions of these widths, the first number being the input's."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(channels):
        layers += [nn.Conv2d(inputs, outputs, 3), nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten())


def _check_input(image: Tensor, channels: int, size_px: int) -> None:
    if image.ndim != 4 or image.shape[1:] != (channels, size_px, size_px):
        wanted = f"(B, {channels}, {size_px}, {size_px})"
        raise ShapeError(f"the network takes {wanted}, got {tuple(image.shape)}")


class BabyMeshNet(nn.Module):
    """RGB photo (B, 3, 256, 256) to offsets (B, 2562, 3) of the icosphere's vertices.

    48,221,762 parameters; the convolutions give 254, 125, 60 and 28 pixels a side.
    """

    input_channels = 3
    input_px = 256

    def __init__(self) -> None:
        super().__init__()
        self.features = _features((3, 8, 12, 16, 32))
        self.offsets = nn.Linear(32 * 14 * 14, ICOSPHERE_VERTICES * 3)

    def forward(self, image: Tensor) -> Tensor:
        """Offsets in units of the template's radius."""
        _check_input(image, self.input_channels, self.input_px)
        offsets: Tensor = self.offsets(self.features(image))
        return offsets.view(-1, ICOSPHERE_VERTICES, 3)


class MeshNet(nn.Module):
    """Photo and segmentation map (B, 6, 128, 128) to offsets and colours (B, 2113, 3) each.

    The hemisphere's vertices are meant. 58,530,774 parameters; the convolutions give 126, 61, 28
    and 12 pixels a side.
    """

    input_channels = 6
    input_px = 128

    def __init__(self) -> None:
        super().__init__()
        self.features = _features((6, 16, 32, 64, 128))
        self.offsets = nn.Linear(128 * 6 * 6, HEMISPHERE_VERTICES * 3)
        self.colors = nn.Linear(128 * 6 * 6, HEMISPHERE_VERTICES * 3)

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Offsets in units of the template's radius, and colours in [0, 1]."""
        _check_input(image, self.input_channels, self.input_px)
        features = self.features(image)
        offsets = self.offsets(features).view(-1, HEMISPHERE_VERTICES, 3)
        colors = torch.sigmoid(self.colors(features)).view(-1, HEMISPHERE_VERTICES, 3)
        return offsets, colors


@dataclass(frozen=True)
class LayerSummary:
    """One line of a network's table: name, kind, output shape without the batch, parameters."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    num_parameters: int


def summarise(network: BabyMeshNet | MeshNet) -> list[LayerSummary]:
    """Run one empty photo through the network and describe every layer in order."""
    lines: list[LayerSummary] = []
    hooks = [
        layer.register_forward_hook(
            lambda layer, _, output, name=name: lines.append(
                LayerSummary(
                    name,
                    type(layer).__name__,
                    tuple(output.shape[1:]),
                    sum(p.numel() for p in layer.parameters()),
                )
            )
        )
        for name, layer in network.named_modules()
        if not list(layer.children())
    ]
    try:
        with torch.no_grad():
            network(torch.zeros(1, network.input_channels, network.input_px, network.input_px))
    finally:
        for hook in hooks:
            hook.remove()
    return lines


def summary_text(network: BabyMeshNet | MeshNet) -> str:
    """The table as text, with the total at the end."""
    lines = [
        f"{line.name:<14}{line.kind:<12}{' x '.join(map(str, line.output_shape)):<18}"
        f"{line.num_parameters:>12,}"
        for line in summarise(network)
    ]
    total = sum(p.numel() for p in network.parameters())
    return "\n".join([*lines, f"{type(network).__name__}: {total:,} parameters"])
