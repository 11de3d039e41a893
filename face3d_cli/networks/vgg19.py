"""VGG-19 in torchvision's layout, as a source of features for the perceptual loss.

Simonyan & Zisserman, Very Deep Convolutional Networks for Large-Scale Image Recognition, ICLR 2015,
configuration E. torchvision itself is not needed.
"""

from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError

import torch
from torch import Tensor, nn

from face3d_cli.errors import ModelError

_WIDTHS = (64, 64, 0, 128, 128, 0, *[256] * 4, 0, *[512] * 4, 0, *[512] * 4, 0)  # 0: pooling
_TAPS = {3, 8, 17, 26}  # relu1_2, relu2_2, relu3_4, relu4_4
_MEAN, _STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet, RGB in [0, 1]


class Vgg19(nn.Module):
    """The whole network, so that a weights file can be checked strictly.

    Source: Simonyan & Zisserman, ICLR 2015, table 1, column E.
    """

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        inputs = 3
        for width in _WIDTHS:
            if width == 0:
                layers.append(nn.MaxPool2d(2))
            else:
                layers += [nn.Conv2d(inputs, width, 3, padding=1), nn.ReLU()]
                inputs = width
        self.features = nn.Sequential(*layers)
        self.classifier = nn.Sequential(
            nn.Linear(512 * 7 * 7, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 4096),
            nn.ReLU(),
            nn.Dropout(),
            nn.Linear(4096, 1000),
        )

    def encode(self, image: Tensor) -> list[Tensor]:
        """Activations relu1_2, relu2_2, relu3_4 and relu4_4 of (B, 3, H, W) in [0, 1]."""
        mean, std = image.new_tensor(_MEAN), image.new_tensor(_STD)
        x = (image - mean.view(3, 1, 1)) / std.view(3, 1, 1)
        found = []
        for number, layer in enumerate(self.features):
            x = layer(x)
            if number in _TAPS:
                found.append(x)
            if number == max(_TAPS):
                break
        return found


def load_vgg19(path: Path) -> Vgg19:
    """Load torchvision's file, strictly and without executing anything in it.

    Raises:
        ModelError: the file is damaged or does not hold exactly VGG-19's weights.
    """
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        with torch.device("meta"):
            network = Vgg19()
        network.load_state_dict(state, strict=True, assign=True)
    except (OSError, RuntimeError, UnpicklingError, ValueError, AttributeError) as problem:
        raise ModelError(
            f"{path} does not hold the weights of VGG-19 ({problem})",
            hint="face3d models verify vgg19",
        ) from problem
    del network.classifier
    return network.eval().requires_grad_(False)
