from __future__ import annotations

import numpy as np
import pytest

from face3d_cli.core.mesh import triangle_normals
from face3d_cli.core.slit import boundary_loops, close_slit


def sheet_with_slit(gap: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A flat 9 x 5 grid of which two neighbouring rows are cut apart between columns 2 and 6."""
    x, y = np.meshgrid(np.arange(9.0), np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    grid = np.arange(45).reshape(5, 9)
    upper = grid.copy()
    upper[2, 3:6] = [45, 46, 47]  # the middle row exists twice between the slit's corners
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(45)], axis=1)
    vertices = np.concatenate([vertices, vertices[grid[2, 3:6]] + np.array([0, gap, 0])])
    triangles = []
    for rows, of in (((0, 1), grid), ((2, 3), upper)):
        for r in rows:
            a, b, c, d = of[r, :-1], of[r, 1:], of[r + 1, :-1], of[r + 1, 1:]
            triangles += [np.stack([a, b, d], 1), np.stack([a, d, c], 1)]
    uv = (vertices[:, :2] + (0, 2)) / (8, 4)
    uv[45:, 1] += 1e-4
    return vertices, np.concatenate(triangles).astype(np.int32), uv


@pytest.mark.parametrize("gap", [0.01, 0.5])
def test_a_slit_is_closed_and_nothing_before_it_moves(gap: float) -> None:
    vertices, triangles, uv = sheet_with_slit(gap)
    assert [len(loop) for loop in boundary_loops(triangles)] == [24, 8]
    closed = close_slit(vertices, triangles, uv, rows=2)
    assert [len(loop) for loop in boundary_loops(closed.triangles)] == [24]
    np.testing.assert_array_equal(closed.vertices[: len(vertices)], vertices)
    np.testing.assert_array_equal(closed.triangles[: len(triangles)], triangles)
    assert len(closed.vertices) == len(closed.uv) == len(vertices) + 2 * 3
    assert (triangle_normals(closed.vertices, closed.triangles)[:, 2] > 0).all()
    flat = np.column_stack([closed.uv, np.zeros(len(closed.uv))])
    assert (triangle_normals(flat, closed.triangles)[:, 2] > 0).all()  # nor does its texture fold
    middle = closed.uv[[46, 22], 1]
    assert middle[0] - middle[1] > 0.02


def test_a_mesh_without_a_slit_stays() -> None:
    vertices, triangles, uv = sheet_with_slit(0.1)
    whole = triangles[(triangles < 9 * 2).all(axis=1)]
    closed = close_slit(vertices, whole, uv)
    assert closed.vertices is vertices
    assert closed.triangles is whole
