"""ResFCN256: PRNet's own encoder and decoder, layer for layer, so that its weights can be read.

Feng et al. 2018, "Joint 3D Face Reconstruction and Dense Alignment with Position Map Regression
Network", section 3.3; widths, kernels and order as in `predictor.py` of the published code. All
convolutions pad as TensorFlow's "SAME" does and have no bias; normalisation has epsilon 0.001.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

BATCH_NORM_EPS = 1e-3
# (channels, stride) of the ten residual blocks and of the seventeen transposed convolutions.
BLOCKS = (
    (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2), (512, 1),
)  # fmt: skip
RISES = (
    (512, 1), (256, 2), (256, 1), (256, 1), (128, 2), (128, 1), (128, 1), (64, 2), (64, 1), (64, 1),
    (32, 2), (32, 1), (16, 2), (16, 1), (3, 1), (3, 1), (3, 1),
)  # fmt: skip
FIRST_WIDTH, KERNEL = 16, 4


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)


class SameConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does: an odd rest goes right and below."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        pads: list[int] = []
        for size in (x.shape[3], x.shape[2]):
            total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
            pads += [total // 2, total - total // 2]
        return super().forward(functional.pad(x, pads) if any(pads) else x)


class SameTransposedConv(nn.ConvTranspose2d):
    """The transpose of `SameConv`: the output is exactly `stride` times as large."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, bias=False)

    def forward(self, x: Tensor, output_size: list[int] | None = None) -> Tensor:
        """(B, outputs, H * stride, W * stride)."""
        assert output_size is None, "the size is fixed by the stride"
        kernel, stride = self.kernel_size[0], self.stride[0]
        before = max(kernel - stride, 0) // 2
        whole = super().forward(x)
        height, width = x.shape[2] * stride, x.shape[3] * stride
        return whole[:, :, before : before + height, before : before + width]


class ResidualBlock(nn.Module):
    """Narrow, convolve, widen, add the shortcut, then normalise."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        has_shortcut = stride != 1 or inputs != outputs
        self.shortcut = SameConv(inputs, outputs, 1, stride) if has_shortcut else nn.Identity()
        self.narrow = SameConv(inputs, outputs // 2, 1)
        self.narrow_norm = _norm(outputs // 2)
        self.middle = SameConv(outputs // 2, outputs // 2, KERNEL, stride)
        self.middle_norm = _norm(outputs // 2)
        self.widen = SameConv(outputs // 2, outputs, 1)
        self.norm = _norm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, H / stride, W / stride)."""
        y = torch.relu(self.narrow_norm(self.narrow(x)))
        y = torch.relu(self.middle_norm(self.middle(y)))
        mixed: Tensor = self.norm(self.widen(y) + self.shortcut(x))
        return torch.relu(mixed)


class ResFcnEncoder(nn.Module):
    """(B, 3, H, W) pictures in 0..1 to (B, 512, H / 32, W / 32) features."""

    out_channels = 512

    def __init__(self) -> None:
        super().__init__()
        self.first = SameConv(3, FIRST_WIDTH, KERNEL)
        self.first_norm = _norm(FIRST_WIDTH)
        widths = (FIRST_WIDTH, *(width for width, _ in BLOCKS))
        self.blocks = nn.ModuleList(
            ResidualBlock(inputs, outputs, stride)
            for (inputs, outputs), (_, stride) in zip(pairwise(widths), BLOCKS, strict=True)
        )

    def forward(self, image: Tensor) -> Tensor:
        """Features of pictures."""
        x = torch.relu(self.first_norm(self.first(image)))
        for block in self.blocks:
            x = block(x)
        return x


class ResFcnDecoder(nn.Module):
    """(B, C, h, w) features to (B, 3, 32 h, 32 w) maps in 0..1, through a sigmoid."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        widths = (in_channels, *(width for width, _ in RISES))
        self.rises = nn.ModuleList(
            SameTransposedConv(inputs, outputs, KERNEL, stride)
            for (inputs, outputs), (_, stride) in zip(pairwise(widths), RISES, strict=True)
        )
        self.norms = nn.ModuleList(_norm(width) for width, _ in RISES)

    def forward(self, x: Tensor) -> Tensor:
        """Maps of features."""
        last = len(self.rises) - 1
        for index, (rise, norm) in enumerate(zip(self.rises, self.norms, strict=True)):
            x = norm(rise(x))
            x = torch.sigmoid(x) if index == last else torch.relu(x)
        return x
