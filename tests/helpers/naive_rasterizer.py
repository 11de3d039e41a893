"""The rasteriser as one would write it by hand: a loop over pixels and triangles."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray


def rasterize_naive(
    points_img: NDArray[np.float64], triangles: NDArray[np.int64], height: int, width: int
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]:
    """Nearest triangle per pixel centre, its screen-space barycentrics and depth (orthographic).

    Returns:
        (H, W) triangle or -1, (H, W, 3) barycentrics, (H, W) depth.
    """
    found = np.full((height, width), -1)
    barycentric = np.zeros((height, width, 3))
    depth = np.full((height, width), math.inf)
    for row in range(height):
        for column in range(width):
            for number, corners in enumerate(triangles):
                weights = _weights(points_img[corners, :2], column, row)
                if weights is None or min(weights) < 0:
                    continue
                here = float(np.dot(weights, points_img[corners, 2]))
                if here < depth[row, column]:
                    found[row, column] = number
                    barycentric[row, column] = weights
                    depth[row, column] = here
    return found, barycentric, depth


def _weights(corners: NDArray[np.float64], x: float, y: float) -> list[float] | None:
    (ax, ay), (bx, by), (cx, cy) = corners.tolist()
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == 0 or not math.isfinite(area):
        return None
    wb = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
    wc = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
    return [1 - wb - wc, wb, wc]
