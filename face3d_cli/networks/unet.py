"""U-Net for face segmentation: the architecture, its configuration, and strict loading.

Ronneberger, Fischer & Brox, "U-Net: Convolutional Networks for Biomedical Image Segmentation",
MICCAI 2015, with batch normalisation, same-size convolutions, and bilinear up-sampling in place of
the transposed convolution. The first step optionally packs `stem_stride` x `stem_stride` pixels
into channels, which buys the network a larger view for the same time.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from face3d_cli.errors import ModelError
from face3d_cli.networks.unet_weights import pack_unet_weights, read_unet_weights
from face3d_cli.settings import UNetSettings


def _conv(in_channels: int, out_channels: int, size: int = 3, stride: int = 1) -> nn.Sequential:
    padding = (size - 1) // 2 if stride == 1 else 0
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, size, stride, padding, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )


def _double_conv(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(_conv(in_channels, out_channels), _conv(out_channels, out_channels))


class UNet(nn.Module):
    """Contracting path, expanding path, skip connections, one 1 x 1 convolution on top."""

    def __init__(self, config: UNetSettings) -> None:
        super().__init__()
        self.config = config
        widths, stride = config.widths, config.stem_stride
        first = widths[0]
        self.stem = (
            _conv(config.in_channels, first, stride, stride) if stride > 1 else nn.Identity()
        )
        inputs = (first if stride > 1 else config.in_channels, *widths[:-1])
        self.down = nn.ModuleList(
            _double_conv(source, width) for source, width in zip(inputs, widths, strict=True)
        )
        self.up = nn.ModuleList(
            _double_conv(deep + skip, skip)
            for deep, skip in zip(widths[:0:-1], widths[-2::-1], strict=True)
        )
        self.head = nn.Conv2d(first, config.num_classes, 1)

    def encode(self, image: Tensor) -> list[Tensor]:
        """Features of every level of the contracting path, finest first."""
        features = [self.down[0](self.stem(image))]
        for block in self.down[1:]:
            features.append(block(functional.max_pool2d(features[-1], 2)))
        return features

    def forward(self, image: Tensor) -> Tensor:
        """Logits (B, num_classes, H / stem_stride, W / stem_stride) of images (B, 3, H, W)."""
        *skips, x = self.encode(image)
        for block, skip in zip(self.up, reversed(skips), strict=True):
            x = functional.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
            x = block(torch.cat([skip, x], dim=1))
        logits: Tensor = self.head(x)
        return logits


def unet_bytes(network: UNet) -> bytes:
    """The contents of a weights file: kernels in half precision, and the network's shape."""
    state = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    return pack_unet_weights(state, network.config)


def load_unet(path: Path) -> UNet:
    """Rebuild a network from its file, in float32, in evaluation mode, on the CPU.

    Raises:
        ModelError: the file is missing, damaged, or lacks or has other weights than its shape asks.
    """
    arrays, settings = read_unet_weights(path)
    network = UNet(settings)
    try:
        network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
    except RuntimeError as problem:
        raise ModelError(
            f"{path} does not fit its own description: {problem}",
            hint="face3d models verify unet-face",
        ) from problem
    return network.eval()
