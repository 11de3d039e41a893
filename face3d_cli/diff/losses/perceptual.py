"""Do two pictures look alike to a network? Distances between deep features."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Features = Callable[[Tensor], list[Tensor]]  # (B, 3, H, W) in [0, 1] -> (B, C, h, w) per layer


def perceptual_distances(image: Tensor, target: Tensor, features: Features) -> Tensor:
    """(B, layers) mean squared difference of the feature maps, each scaled by the target's power.

    |f(a) - f(b)|^2 / (|f(b)|^2 + eps) per layer: 0 for equal pictures, about 1 for unrelated ones,
    whatever the network's own scale is.

    Args:
        image: (B, H, W, 3) in [0, 1]; gradients flow to it.
        target: (B, H, W, 3) in [0, 1]; held fixed.
        features: a network's layers.

    Source: Johnson, Alahi & Fei-Fei, Perceptual Losses for Real-Time Style Transfer, ECCV 2016,
    equation 2.
    """
    with torch.no_grad():
        wanted = features(target.permute(0, 3, 1, 2))
    found = features(image.permute(0, 3, 1, 2))
    return feature_distances(found, wanted)


def feature_distances(found: list[Tensor], wanted: list[Tensor]) -> Tensor:
    """(B, layers) relative squared distances of precomputed feature maps."""
    distances = [
        (a - b).square().flatten(1).sum(dim=1) / (b.square().flatten(1).sum(dim=1) + 1e-8)
        for a, b in zip(found, wanted, strict=True)
    ]
    return torch.stack(distances, dim=1)
