"""How do silhouettes get gradients? By blending the two pixels that an outline passes between.

The idea is that of Laine et al., Modular Primitives for High-Performance Differentiable Rendering,
SIGGRAPH Asia 2020, section 3.5. Where they look at pairs of pixels, this walks along the silhouette
edges, so meshes whose triangles are smaller than a pixel keep their outline.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from face3d_cli.diff.edges import SilhouetteEdges
from face3d_cli.diff.fragments import Fragments
from face3d_cli.diff.ranges import expand_counts


def antialias(image: Tensor, fragments: Fragments, silhouette: SilhouetteEdges) -> Tensor:
    """Blend colours across visible silhouette edges in proportion to the area they cover.

    An edge that passes between two pixel centres at distance t in [0, 1] from the inner one covers
    t - 1/2 of the outer pixel, or leaves 1/2 - t of the inner one free.

    Args:
        image: (B, H, W, C) shaded picture.
        fragments: what was rasterised.
        silhouette: of the same vertices.

    Returns:
        (B, H, W, C), differentiable with respect to colours and vertex positions.
    """
    crossings = _visible_crossings(fragments, silhouette)
    flat = image.reshape(-1, image.shape[-1])
    share = crossings.inner_distance - 0.5
    outwards = share > 0
    target = torch.where(outwards, crossings.outer, crossings.inner)
    source = torch.where(outwards, crossings.inner, crossings.outer)
    share = share.abs()
    total = share.new_zeros(len(flat)).index_add(0, target, share)
    share = share / total.index_select(0, target).clamp(min=1.0)  # thin parts: never above one
    change = share.unsqueeze(1) * (flat.index_select(0, source) - flat.index_select(0, target))
    return flat.index_add(0, target, change).reshape(image.shape)


@dataclass(frozen=True)
class _Crossings:
    """Places where a visible silhouette passes between two neighbouring pixel centres.

    Attributes:
        inner: (N,) flat position of the pixel on the surface's side.
        outer: (N,) of the other one.
        inner_distance: (N,) in pixels from the inner centre; differentiable.
    """

    inner: Tensor
    outer: Tensor
    inner_distance: Tensor


def _visible_crossings(fragments: Fragments, edges: SilhouetteEdges) -> _Crossings:
    """Follow steep edges row by row and flat edges column by column."""
    _, height, width = fragments.triangle.shape
    with torch.no_grad():
        reach = (edges.end - edges.start)[:, :2].abs()
        steep = reach[:, 1] >= reach[:, 0]
        walk = torch.where(steep, 1, 0)  # the axis along which the edge is followed
        low = torch.minimum(edges.start, edges.end)[:, :2].gather(1, walk[:, None]).squeeze(1)
        high = torch.maximum(edges.start, edges.end)[:, :2].gather(1, walk[:, None]).squeeze(1)
        length = torch.where(steep, height, width)
        first = torch.minimum(low.ceil().clamp(min=0), length)
        stop = torch.minimum(high.ceil().clamp(min=0), length)
        usable = (edges.start + edges.end).sum(1).isfinite()
        counts = torch.where(usable, (stop - first).clamp(min=0), 0.0).long()
        owner, step = expand_counts(counts)
        line = first.index_select(0, owner).long() + step  # row of steep, column of flat edges

    start, end = edges.start.index_select(0, owner), edges.end.index_select(0, owner)
    walk = walk.index_select(0, owner)[:, None]
    start_along, end_along = start.gather(1, walk), end.gather(1, walk)
    start_across, end_across = start.gather(1, 1 - walk), end.gather(1, 1 - walk)
    part = (line[:, None] - start_along) / (end_along - start_along)
    position = (start_across + part * (end_across - start_across)).squeeze(1)
    with torch.no_grad():
        depth = (start[:, 2:] + part * (end[:, 2:] - start[:, 2:])).squeeze(1)
        is_steep = walk.squeeze(1) == 1
        before = position.floor().clamp(-2, max(height, width)).long()
        inner_is_after = edges.inward.index_select(0, owner).gather(1, 1 - walk).squeeze(1) > 0
        across_size = torch.where(is_steep, width, height)
        inside = (before >= 0) & (before + 1 < across_size)
        before = torch.where(inside, before, 0)
        picture = edges.batch_item.index_select(0, owner) * height * width
        stride_along = torch.where(is_steep, width, 1)
        stride_across = torch.where(is_steep, 1, width)
        pixel_before = picture + line * stride_along + before * stride_across
        pixel_after = torch.where(inside, pixel_before + stride_across, pixel_before)
        inner = torch.where(inner_is_after, pixel_after, pixel_before)
        outer = torch.where(inner_is_after, pixel_before, pixel_after)
        surface = fragments.depth_image().reshape(-1)
        is_visible = inside & surface.index_select(0, inner).isfinite()
        is_visible &= surface.index_select(0, outer) > depth
    distance = torch.where(inner_is_after, before + 1 - position, position - before)
    with torch.no_grad():  # of several edges between the same two pixels the outermost counts
        pair = (inner * 4 + is_steep * 2 + inner_is_after).clamp(min=0)
        seen = torch.where(is_visible, distance, -1.0)
        outermost = seen.new_full((fragments.triangle.numel() * 4,), -1.0)
        outermost.scatter_reduce_(0, pair, seen, "amax")
        is_first = is_visible & (seen == outermost.index_select(0, pair))
        chosen = is_first.nonzero().squeeze(1)
    return _Crossings(inner[chosen], outer[chosen], distance[chosen])
