"""MobileNetV2 without its last 1 x 1 convolution and classifier, named as torchvision names it.

Sandler et al. 2018, "MobileNetV2: Inverted Residuals and Linear Bottlenecks", table 2.
"""

from __future__ import annotations

from torch import Tensor, nn

from face3d_cli.networks.mobilenetv2_stages import STAGES


def _conv_norm_relu(
    inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
        nn.ReLU6(inplace=True),
    )


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow; a shortcut where the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        self.has_shortcut = stride == 1 and inputs == outputs
        layers: list[nn.Module] = [] if expansion == 1 else [_conv_norm_relu(inputs, hidden, 1)]
        layers += [
            _conv_norm_relu(hidden, hidden, 3, stride, groups=hidden),
            nn.Conv2d(hidden, outputs, 1, bias=False),
            nn.BatchNorm2d(outputs),
        ]
        self.conv = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """(B, outputs, H / stride, W / stride)."""
        y: Tensor = self.conv(x)
        return x + y if self.has_shortcut else y


class MobileNetV2Encoder(nn.Module):
    """(B, 3, H, W) pictures to (B, 320, H / 32, W / 32) features."""

    out_channels = 320

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = [_conv_norm_relu(3, 32, 3, 2)]
        inputs = 32
        for expansion, outputs, repeats, first_stride in STAGES:
            for index in range(repeats):
                stride = first_stride if index == 0 else 1
                layers.append(InvertedResidual(inputs, outputs, stride, expansion))
                inputs = outputs
        self.features = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Features of pictures."""
        x: Tensor = self.features(image)
        return x
