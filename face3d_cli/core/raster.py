"""Which triangle covers each pixel, and where in it: a z-buffer in numpy.

The torch renderer is `diff/rasterize.py`; this one serves the stages that run without torch.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray, Mask, Points2, Triangles, check_shape

EDGE_SLACK = 1e-6  # a pixel centre on an edge belongs to the triangle


@dataclass(frozen=True)
class Raster:
    """The nearest triangle of every pixel.

    Attributes:
        triangle_id: (H, W) int32, -1 where nothing is.
        barycentrics: (H, W, 3) float32 weights of that triangle's corners, 0 where nothing is.
    """

    triangle_id: npt.NDArray[np.int32]
    barycentrics: FloatArray

    @property
    def is_covered(self) -> Mask:
        """(H, W) True where a triangle is."""
        covered: Mask = self.triangle_id >= 0
        return covered

    def interpolate(self, attributes: FloatArray, triangles: Triangles) -> FloatArray:
        """(H, W, C) attributes of the covering triangle's corners, blended; 0 where nothing is."""
        covered = self.is_covered
        corners = triangles[self.triangle_id[covered]]  # (N, 3)
        weights = self.barycentrics[covered].astype(attributes.dtype)
        picture = np.zeros((*covered.shape, attributes.shape[1]), attributes.dtype)
        picture[covered] = np.einsum("nk,nkc->nc", weights, attributes[corners])
        return picture


def rasterize(
    points_px: Points2,
    triangles: Triangles,
    size: tuple[int, int],
    towards_viewer: FloatArray | None = None,
) -> Raster:
    """Find the nearest triangle at every pixel centre.

    Every triangle's pixel box is enumerated, so the cost is linear in triangles plus their boxes'
    pixels. Triangles without area cover nothing; of two at the same depth the later one wins.

    Args:
        points_px: (V, 2) positions; pixel (0, 0) is the centre of the top-left pixel.
        triangles: (F, 3), either winding.
        size: height and width.
        towards_viewer: (V,) larger is nearer; None where triangles do not overlap.

    Source: Pineda 1988, "A Parallel Algorithm for Polygon Rasterization" (edge functions).
    """
    check_shape(points_px, (None, 2), "points_px")
    height, width = size
    a, b, c = (points_px[triangles[:, corner]].astype(np.float64) for corner in range(3))
    low = np.ceil(np.minimum(np.minimum(a, b), c) - EDGE_SLACK).astype(np.int64)
    high = np.floor(np.maximum(np.maximum(a, b), c) + EDGE_SLACK).astype(np.int64)
    low, high = np.maximum(low, 0), np.minimum(high, (width - 1, height - 1))
    (ax, ay), (bx, by), (cx, cy) = a.T, b.T, c.T
    double_area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    extent = np.where((np.abs(double_area) > 1e-12)[:, None], np.maximum(high - low + 1, 0), 0)
    counts = extent[:, 0] * extent[:, 1]

    # One row for each pixel of each box.
    owner = np.repeat(np.arange(len(triangles)), counts)
    within = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    y, x = np.divmod(within, np.maximum(extent[:, 0], 1)[owner])
    x, y = x + low[owner, 0], y + low[owner, 1]

    inverse = 1.0 / np.where(double_area == 0, 1.0, double_area)
    to_x, to_y = x - cx[owner], y - cy[owner]
    wa = (((by - cy) * inverse)[owner] * to_x) + (((cx - bx) * inverse)[owner] * to_y)
    wb = (((cy - ay) * inverse)[owner] * to_x) + (((ax - cx) * inverse)[owner] * to_y)
    wc = 1.0 - wa - wb
    inside = (wa >= -EDGE_SLACK) & (wb >= -EDGE_SLACK) & (wc >= -EDGE_SLACK)
    owner, pixel = owner[inside], (y * width + x)[inside]
    weights = np.stack([wa[inside], wb[inside], wc[inside]], axis=1)

    if towards_viewer is not None:
        depth = np.einsum("nk,nk->n", weights, towards_viewer[triangles[owner]])
        order = np.argsort(depth, kind="stable")  # the nearest is written last and stays
        owner, pixel, weights = owner[order], pixel[order], weights[order]
    triangle_id = np.full(height * width, -1, np.int32)
    barycentrics = np.zeros((height * width, 3), np.float32)
    triangle_id[pixel] = owner
    barycentrics[pixel] = weights
    return Raster(triangle_id.reshape(size), barycentrics.reshape(height, width, 3))
