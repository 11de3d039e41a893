"""How do several layers of surface become one colour? Softly, so that hidden ones get gradients."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from face3d_cli.diff.fragments import Fragments, interpolate


def blend_layers(
    layers: Sequence[Fragments],
    colors: Tensor,
    background: Tensor,
    gamma: float,
    *,
    background_depth: float,
) -> Tensor:
    """Mix the layers of `rasterize_layers` by a softmax over their nearness.

    c = sum_k w_k c_k + w_b c_b with w_k proportional to exp(-depth_k / gamma): gamma towards zero
    shows the nearest layer, a large gamma shows all alike.

    Args:
        layers: nearest first.
        colors: (B, V, C) or (V, C) vertex colours.
        background: (C,) colour behind all layers.
        gamma: in units of depth.
        background_depth: where the background counts as lying.

    Returns:
        (B, H, W, C), differentiable with respect to colours, background and vertex positions.

    Source: Liu et al., Soft Rasterizer, ICCV 2019, equation 2.
    """
    pictures = [layer.to_image(interpolate(colors, layer)) for layer in layers]
    behind = torch.full_like(layers[0].triangle, background_depth, dtype=colors.dtype)
    depths = [layer.to_image(layer.depth, torch.inf) for layer in layers]
    nearness = -torch.stack([*depths, behind], dim=-1) / gamma  # (B, H, W, K + 1)
    weights = torch.softmax(nearness, dim=-1)
    stack = torch.stack([*pictures, background.expand_as(pictures[0])], dim=-2)
    return (weights.unsqueeze(-1) * stack).sum(dim=-2)
