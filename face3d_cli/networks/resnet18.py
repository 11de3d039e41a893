"""ResNet-18 without its classifier, named as torchvision names it, so that its weights fit.

He et al. 2016, "Deep Residual Learning for Image Recognition", table 1.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module | None = None
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(
                nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, H / stride, W / stride)."""
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return torch.relu(y + shortcut)


class ResNet18Encoder(nn.Module):
    """(B, 3, H, W) pictures to (B, 512, H / 32, W / 32) features."""

    out_channels = 512

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(3, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.maxpool = nn.MaxPool2d(3, 2, 1)
        widths = (64, 64, 128, 256, 512)
        for index, (inputs, outputs) in enumerate(pairwise(widths), start=1):
            stride = 1 if index == 1 else 2
            layer = nn.Sequential(
                BasicBlock(inputs, outputs, stride), BasicBlock(outputs, outputs, 1)
            )
            setattr(self, f"layer{index}", layer)

    def forward(self, image: Tensor) -> Tensor:
        """Features of pictures."""
        x: Tensor = self.maxpool(torch.relu(self.bn1(self.conv1(image))))
        for index in range(1, 5):
            x = getattr(self, f"layer{index}")(x)
        return x
