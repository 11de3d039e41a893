"""The numpy z-buffer against exact cases and a naive loop."""

from __future__ import annotations

import numpy as np
import pytest

from face3d_cli.core.raster import rasterize
from face3d_cli.errors import ShapeError


def naive_raster(points, triangles, size, depth):
    """Every pixel against every triangle, in plain loops."""
    ids = np.full(size, -1)
    nearest = np.full(size, -np.inf)
    for index, (a, b, c) in enumerate(triangles):
        area = np.linalg.det([points[b] - points[a], points[c] - points[a]])
        if abs(area) < 1e-12:
            continue
        for y in range(size[0]):
            for x in range(size[1]):
                p = np.array([x, y])
                wb = np.linalg.det([p - points[a], points[c] - points[a]]) / area
                wc = np.linalg.det([points[b] - points[a], p - points[a]]) / area
                wa = 1 - wb - wc
                if min(wa, wb, wc) < -1e-6:
                    continue
                z = wa * depth[a] + wb * depth[b] + wc * depth[c]
                if z >= nearest[y, x]:
                    nearest[y, x], ids[y, x] = z, index
    return ids


def test_random_triangles_equal_the_naive_loop():
    rng = np.random.default_rng(3)
    points = rng.uniform(-4, 24, (30, 2))
    triangles = rng.integers(0, 30, (25, 3)).astype(np.int32)
    depth = rng.normal(size=30)
    raster = rasterize(points, triangles, (18, 21), towards_viewer=depth)
    np.testing.assert_array_equal(
        raster.triangle_id, naive_raster(points, triangles, (18, 21), depth)
    )


def test_barycentrics_reproduce_the_pixel_position():
    points = np.array([[0.3, 0.2], [9.1, 1.4], [2.2, 8.7]])
    triangles = np.array([[0, 1, 2]], np.int32)
    raster = rasterize(points, triangles, (10, 10))
    placed = raster.interpolate(points, triangles)
    rows, columns = np.nonzero(raster.is_covered)
    assert len(rows) > 20
    np.testing.assert_allclose(placed[rows, columns], np.stack([columns, rows], 1), atol=1e-5)


def test_the_nearer_triangle_hides_the_other_whatever_the_order():
    points = np.array([[0, 0], [9, 0], [0, 9], [0, 0], [9, 0], [0, 9]], float)
    depth = np.array([1, 1, 1, 2, 2, 2], float)
    for order in ([[0, 1, 2], [3, 4, 5]], [[3, 4, 5], [0, 1, 2]]):
        raster = rasterize(points, np.array(order, np.int32), (10, 10), towards_viewer=depth)
        assert order[raster.triangle_id[2, 2]] == [3, 4, 5]


def test_two_triangles_of_a_square_leave_no_gap():
    points = np.array([[1, 1], [7, 1], [7, 7], [1, 7]], float)
    raster = rasterize(points, np.array([[0, 1, 2], [0, 2, 3]], np.int32), (9, 9))
    assert raster.is_covered.sum() == 49
    assert raster.is_covered[1:8, 1:8].all()


@pytest.mark.parametrize("far", [[-90.0, -90.0], [500.0, 500.0]])
def test_triangles_outside_or_without_area_cover_nothing(far):
    points = np.array([far, far, far, [3, 3], [3, 3], [5, 5]], float)
    raster = rasterize(points, np.array([[0, 1, 2], [3, 4, 5]], np.int32), (8, 8))
    assert not raster.is_covered.any()
    assert not raster.barycentrics.any()


def test_wrong_shape_is_named():
    with pytest.raises(ShapeError, match="points_px"):
        rasterize(np.zeros((3, 3)), np.zeros((1, 3), np.int32), (4, 4))
