"""Which triangle does each pixel show? A rasteriser in plain torch, one code path for CPU and GPU.

Every triangle is cut into the pixel rows it crosses, every row into the pixels between its two
edges, and all those candidates meet in one `scatter_reduce(amin)` on keys that hold the depth in
their upper and the triangle index in their lower bits. The work is proportional to the number of
triangles plus the pixels they cover. Pixels on a shared edge belong to exactly one of its triangles
(top-left rule), because both compute the same edge crossing from the same end points.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from face3d_cli.diff.fragments import Fragments
from face3d_cli.diff.ranges import chunks, expand_counts
from face3d_cli.errors import ShapeError

_EMPTY = 2**63 - 1  # key of a pixel that no triangle covers
_INDEX_BITS = 32
_DEPTH_STEPS = 2.0**30  # depth is compared in this many steps between nearest and farthest vertex
_MIN_AREA_PX2 = 1e-6  # twice the area; thinner triangles have no usable barycentric coordinates
_CHUNK = 1 << 20  # candidates held in memory at a time


def rasterize(
    points_img: Tensor,
    triangles: Tensor,
    height: int,
    width: int,
    *,
    perspective: bool = False,
    near: float = 1e-6,
    cull_backfaces: bool = False,
) -> Fragments:
    """Find the nearest triangle at every pixel centre.

    Args:
        points_img: (B, V, 3) image position in pixels (pixel (0, 0) is the centre of the top-left
            pixel, x right, y down) and depth, growing away from the camera.
        triangles: (F, 3) shared by the batch, or (B, F, 3).
        height: rows of the picture.
        width: columns of the picture.
        perspective: depths are distances of a perspective camera: barycentric coordinates are
            corrected, and triangles that reach nearer than `near` are left out (not clipped).
        near: smallest depth in front of a perspective camera.
        cull_backfaces: leave out triangles seen from behind (clockwise in the world's sense).

    Returns:
        Fragments. Equal depths go to the lower triangle index. Degenerate, non-finite and
        out-of-view triangles give no pixels, hence zero gradients.
    """
    return rasterize_layers(
        points_img,
        triangles,
        height,
        width,
        1,
        perspective=perspective,
        near=near,
        cull_backfaces=cull_backfaces,
    )[0]


def rasterize_layers(
    points_img: Tensor,
    triangles: Tensor,
    height: int,
    width: int,
    layers: int,
    *,
    perspective: bool = False,
    near: float = 1e-6,
    cull_backfaces: bool = False,
) -> list[Fragments]:
    """Find the nearest `layers` triangles at every pixel, nearest first (depth peeling).

    Arguments as in `rasterize`. Source of the idea: Everitt, Interactive Order-Independent
    Transparency, NVIDIA 2001.
    """
    batch, num_vertices = _check(points_img, triangles)
    per_item = triangles.shape[-2]
    first_vertex = torch.arange(batch, device=triangles.device).view(batch, 1, 1) * num_vertices
    corners = (triangles + first_vertex).reshape(-1, 3).t().contiguous()  # (3, B F)
    points = points_img.reshape(-1, 3).t().contiguous()  # (3, B V): x, y, depth
    with torch.no_grad():
        setup = _set_up(points, corners, height, width, perspective, near, cull_backfaces)
    first_triangle = torch.arange(batch, device=triangles.device).view(batch, 1, 1) * per_item
    found: list[Fragments] = []
    behind = None
    for _ in range(layers):
        with torch.no_grad():
            keys = _resolve(setup, batch, per_item, height, width, behind)
            picture = keys.view(batch, height, width)
            owner = picture & (2**_INDEX_BITS - 1)  # triangle index among all B F
            covered = picture != _EMPTY
            triangle = torch.where(covered, owner - first_triangle, -1)
            _, row, column = covered.nonzero(as_tuple=True)
            pixel = covered.reshape(-1).nonzero().squeeze(1)
            seen = corners.index_select(1, owner.reshape(-1).index_select(0, pixel))  # (3, P)
            behind = keys
        weights, depth = _surface_point(points, seen, column, row, perspective)
        found.append(Fragments(triangle, pixel, seen.t(), weights, depth, num_vertices))
    return found


def _check(points_img: Tensor, triangles: Tensor) -> tuple[int, int]:
    if points_img.ndim != 3 or points_img.shape[-1] != 3:
        raise ShapeError(f"points_img must be (B, V, 3), got {tuple(points_img.shape)}")
    if triangles.shape[-1:] != (3,) or triangles.ndim not in (2, 3):
        raise ShapeError(f"triangles must be (F, 3) or (B, F, 3), got {tuple(triangles.shape)}")
    if triangles.ndim == 3 and len(triangles) != len(points_img):
        raise ShapeError(f"{len(points_img)} vertex sets but {len(triangles)} triangle sets")
    return points_img.shape[0], points_img.shape[1]


@dataclass(frozen=True)
class _Setup:
    """The T triangles that may cover a pixel, with their sides as functions of the row.

    Attributes:
        index: (T,) position among all B F triangles.
        first_row: (T,) topmost row whose centre lies inside.
        num_rows: (T,)
        bend: (T,) y of the middle vertex, where the short side changes edge.
        edges: five (3, T) tables over the long edge, the upper and the lower short edge: x, y and
            scaled depth of the upper end, change of x and of scaled depth per row.
        cost: (T,) upper bound of the candidates.
    """

    index: Tensor
    first_row: Tensor
    num_rows: Tensor
    bend: Tensor
    edges: tuple[Tensor, Tensor, Tensor, Tensor, Tensor]
    cost: Tensor


def _set_up(
    points: Tensor,
    corners: Tensor,
    height: int,
    width: int,
    perspective: bool,
    near: float,
    cull_backfaces: bool,
) -> _Setup:
    x, y, depth = (axis.index_select(0, corners.reshape(-1)).view(3, -1) for axis in points)
    double_area = (y[1] - y[0]) * (x[2] - x[0]) - (x[1] - x[0]) * (y[2] - y[0])  # front: positive
    keep = (double_area if cull_backfaces else double_area.abs()) > _MIN_AREA_PX2
    left, right = _extent(x)
    lowest, highest = _extent(y)
    nearest, farthest = _extent(depth)
    first = lowest.ceil().clamp(min=0, max=height)
    last = (highest.ceil() - 1).clamp(min=-1, max=height - 1)
    keep &= (last >= first) & (right > 0) & (left <= width - 1) & (right.ceil() > left.ceil())
    keep &= (left + right + lowest + highest + nearest + farthest).isfinite()
    if perspective:
        keep &= nearest > near
    index = keep.nonzero().squeeze(1)

    x, y, order = (axis.index_select(1, index) for axis in (x, y, depth))
    if perspective:
        order = -1.0 / order  # linear over the picture, same order as the depth
    if len(index):
        span = (order.max() - order.min()).clamp(min=torch.finfo(order.dtype).tiny)
        order = (order - order.min()) * (_DEPTH_STEPS / span)
    corner = list(zip(x, y, order, strict=True))
    for i, j in ((0, 1), (1, 2), (0, 1)):  # top, middle, bottom
        corner[i], corner[j] = _upper_first(corner[i], corner[j])
    tables = [_edge(corner[i], corner[j]) for i, j in ((0, 2), (0, 1), (1, 2))]
    x0, y0, order0, x_slope, order_slope = (torch.stack(t) for t in zip(*tables, strict=True))
    first_row = first.index_select(0, index).long()
    num_rows = last.index_select(0, index).long() - first_row + 1
    columns = (right.clamp(max=width) - left.clamp(min=0)).index_select(0, index).long() + 2
    edges = (x0, y0, order0, x_slope, order_slope)
    return _Setup(index, first_row, num_rows, corner[1][1], edges, num_rows * columns)


_Corner = tuple[Tensor, Tensor, Tensor]  # x, y, scaled depth; (T,) each


def _extent(values: Tensor) -> tuple[Tensor, Tensor]:
    """(T,) smallest and largest of (3, T)."""
    low = torch.minimum(torch.minimum(values[0], values[1]), values[2])
    return low, torch.maximum(torch.maximum(values[0], values[1]), values[2])


def _upper_first(a: _Corner, b: _Corner) -> tuple[_Corner, _Corner]:
    """Order two corners by their y."""
    swap = a[1] > b[1]
    upper = tuple(torch.where(swap, q, p) for p, q in zip(a, b, strict=True))
    lower = tuple(torch.where(swap, p, q) for p, q in zip(a, b, strict=True))
    return upper, lower  # type: ignore[return-value]


def _edge(upper: _Corner, lower: _Corner) -> tuple[Tensor, ...]:
    """x, y, scaled depth of the upper end; change of x and of scaled depth per row.

    The slopes of a horizontal edge are infinite; no row asks for them.
    """
    rows = lower[1] - upper[1]
    return (*upper, (lower[0] - upper[0]) / rows, (lower[2] - upper[2]) / rows)


def _resolve(
    setup: _Setup, batch: int, per_item: int, height: int, width: int, behind: Tensor | None
) -> Tensor:
    """(B H W) key of the nearest candidate of each pixel, or of the nearest one behind `behind`."""
    keys = torch.full(
        (batch * height * width,), _EMPTY, dtype=torch.int64, device=setup.index.device
    )
    for part in chunks(setup.cost, _CHUNK):
        pixel, key = _candidates(setup, part, per_item, height, width)
        if behind is not None:
            key = torch.where(key > behind.index_select(0, pixel), key, _EMPTY)
        keys.scatter_reduce_(0, pixel, key, "amin")
    return keys


def _candidates(
    setup: _Setup, part: slice, per_item: int, height: int, width: int
) -> tuple[Tensor, Tensor]:
    """Enumerate the pixels inside the triangles of one chunk.

    Returns:
        (N,) flat pixel position in (B, H, W), and (N,) key.
    """
    row_owner, row_in_triangle = expand_counts(setup.num_rows[part])
    row_owner += part.start
    row = setup.first_row.index_select(0, row_owner) + row_in_triangle
    y = row.to(setup.bend.dtype)
    below_bend = y >= setup.bend.index_select(0, row_owner)
    num_triangles = len(setup.index)
    x_long, order_long = _edge_at(setup, row_owner, y)
    short_edge = row_owner + num_triangles * (1 + below_bend.long())
    x_short, order_short = _edge_at(setup, short_edge, y)
    left, right = torch.minimum(x_long, x_short), torch.maximum(x_long, x_short)
    first = left.ceil().clamp(min=0, max=width)
    count = (right.ceil().clamp(max=width) - first).clamp(min=0).long()
    order_slope = (order_short - order_long) / (x_short - x_long)
    order_first = order_long + order_slope * (first - x_long)
    index = setup.index.index_select(0, row_owner)
    pixel_first = (index // per_item * height + row) * width + first.long()

    owner, step = expand_counts(count)
    pixel = pixel_first.index_select(0, owner) + step
    order = order_first.index_select(0, owner) + order_slope.index_select(0, owner) * step
    return pixel, (order.long() << _INDEX_BITS) | index.index_select(0, owner)


def _edge_at(setup: _Setup, edge: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """(R,) x and scaled depth where edges cross rows y."""
    x0, y0, order0, x_slope, order_slope = (
        table.view(-1).index_select(0, edge) for table in setup.edges
    )
    down = y - y0
    return x0 + down * x_slope, order0 + down * order_slope


def _surface_point(
    points: Tensor, corners: Tensor, column: Tensor, row: Tensor, perspective: bool
) -> tuple[Tensor, Tensor]:
    """(P, 3) barycentric coordinates and (P,) depth of known triangles at known pixels."""
    flat = corners.reshape(-1)
    x, y, depth = (axis.gather(0, flat).view(3, -1) for axis in points)
    x, y = x - column, y - row  # relative to the pixel centre
    opposite = [x[i] * y[j] - y[i] * x[j] for i, j in ((1, 2), (2, 0), (0, 1))]
    weights = torch.stack(opposite, dim=1)
    weights = weights / weights.sum(dim=1, keepdim=True)
    depth = depth.t()
    if not perspective:
        return weights, (weights * depth).sum(dim=1)
    weights = weights / depth
    inverse_depth = weights.sum(dim=1, keepdim=True)
    return weights / inverse_depth, 1.0 / inverse_depth.squeeze(1)
