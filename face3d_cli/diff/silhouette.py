"""How much of each pixel lies inside the outline, softly? A silhouette with wide gradients."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from face3d_cli.diff.edges import SilhouetteEdges
from face3d_cli.diff.fragments import Fragments
from face3d_cli.diff.ranges import chunks, expand_counts

_TAIL = 1e-4  # the sigmoid is cut where it is this close to 0 or 1
_CHUNK = 1 << 20
_DISTANCE_STEPS = 2.0**30
_INDEX_BITS = 32


def soft_silhouette(
    fragments: Fragments, silhouette: SilhouetteEdges, sigma_px2: float = 1.0
) -> Tensor:
    """Sigmoid of the signed squared distance to the outline: sigmoid(+-d^2 / sigma).

    Every pixel takes its distance to the nearest outline edge, positive inside. Liu et al., Soft
    Rasterizer, ICCV 2019, equation 1, use the same sigmoid for each triangle and multiply over the
    triangles; for one triangle the two are equal, for a mesh the distance to the outline of the
    whole does not swell where many triangles meet.

    Args:
        fragments: what was rasterised.
        silhouette: of the same vertices.
        sigma_px2: softness in square pixels.

    Returns:
        (B, H, W) in [0, 1], differentiable with respect to the vertex positions.
    """
    batch, height, width = fragments.triangle.shape
    radius = math.sqrt(sigma_px2 * math.log(1.0 / _TAIL - 1.0))
    mask = fragments.mask.reshape(-1)
    nothing = 2**63 - 1
    with torch.no_grad():
        keys = torch.full((batch * height * width,), nothing, device=mask.device)
        cost = _box_cost(silhouette, radius, height, width)
        for part in chunks(cost, _CHUNK):
            pixel, key = _near_pixels(silhouette, part, radius, mask, height, width)
            keys.scatter_reduce_(0, pixel, key, "amin")
        pixel = (keys != nothing).nonzero().squeeze(1)
        edge = keys[pixel] & (2**_INDEX_BITS - 1)
    in_picture = pixel % (height * width)
    centre = torch.stack([in_picture % width, in_picture // width], dim=1)
    offset, _ = _to_segment(
        centre.to(silhouette.start), silhouette.start[edge, :2], silhouette.end[edge, :2]
    )
    squared = (offset * offset).sum(dim=1)
    signed = torch.where(mask[pixel], squared, -squared)
    hard = mask.to(squared.dtype)
    return hard.index_copy(0, pixel, torch.sigmoid(signed / sigma_px2)).reshape(
        batch, height, width
    )


def _to_segment(points: Tensor, start: Tensor, end: Tensor) -> tuple[Tensor, Tensor]:
    """(N, 2) vectors from points to the nearest place of their segment, and that place."""
    along = end - start
    squared = (along * along).sum(dim=1, keepdim=True).clamp(min=1e-20)
    part = (((points - start) * along).sum(dim=1, keepdim=True) / squared).clamp(0.0, 1.0)
    nearest = start + part * along
    return nearest - points, nearest


def _bounds(
    edges: SilhouetteEdges, radius: float, height: int, width: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(S,) first row, number of rows, first column, number of columns of each edge's wide box."""
    low = torch.minimum(edges.start, edges.end)[:, :2] - radius
    high = torch.maximum(edges.start, edges.end)[:, :2] + radius
    size = low.new_tensor([width, height])
    first = torch.minimum(low.ceil().clamp(min=0), size)
    stop = torch.minimum((high.floor() + 1).clamp(min=0), size)
    usable = (edges.start + edges.end).sum(1, keepdim=True).isfinite()
    counts = torch.where(usable, (stop - first).clamp(min=0), 0.0).long()
    first = torch.where(usable, first, 0.0).long()
    return first[:, 1], counts[:, 1], first[:, 0], counts[:, 0]


def _box_cost(edges: SilhouetteEdges, radius: float, height: int, width: int) -> Tensor:
    _, rows, _, columns = _bounds(edges, radius, height, width)
    return rows * columns


def _near_pixels(
    edges: SilhouetteEdges, part: slice, radius: float, mask: Tensor, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """(N,) pixels within the radius of an outline edge, and (N,) keys of distance and edge."""
    first_row, rows, first_column, columns = (
        bound[part] for bound in _bounds(edges, radius, height, width)
    )
    owner, step = expand_counts(rows * columns)
    width_of_box = columns.index_select(0, owner)
    row = first_row.index_select(0, owner) + step // width_of_box
    column = first_column.index_select(0, owner) + step % width_of_box
    edge = owner + part.start
    start, end = edges.start[:, :2].index_select(0, edge), edges.end[:, :2].index_select(0, edge)
    centre = torch.stack([column, row], dim=1).to(start)
    offset, nearest = _to_segment(centre, start, end)
    squared = (offset * offset).sum(dim=1)
    # An edge inside the outline has the surface on both sides of it.
    beyond = (nearest - edges.inward.index_select(0, edge)).round().long()
    in_view = (beyond >= 0).all(1) & (beyond[:, 0] < width) & (beyond[:, 1] < height)
    picture = edges.batch_item.index_select(0, edge) * height * width
    place = picture + torch.where(in_view, beyond[:, 1] * width + beyond[:, 0], 0)
    is_outline = ~(in_view & mask.index_select(0, place))
    kept = (is_outline & (squared < radius**2)).nonzero().squeeze(1)
    key = (squared[kept] * (_DISTANCE_STEPS / radius**2)).long() << _INDEX_BITS | edge[kept]
    return (picture + row * width + column)[kept], key
