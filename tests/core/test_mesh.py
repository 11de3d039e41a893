"""The mesh type: shapes, units, normals."""

from __future__ import annotations

import numpy as np
import pytest

from face3d_cli.core.mesh import Mesh, triangle_normals, vertex_normals
from face3d_cli.errors import ShapeError

CORNER = np.array([[0, 0, 0], [2, 0, 0], [0, 3, 0], [9, 9, 9.0]])
TRIANGLE = np.array([[0, 1, 2]], np.int32)


def test_units_scale_blendshapes_too():
    mesh = Mesh(CORNER, TRIANGLE, blendshapes={"smile": CORNER}, unit="mm")
    in_metres = mesh.in_unit("m")
    np.testing.assert_allclose(in_metres.vertices, CORNER / 1000)
    np.testing.assert_allclose(in_metres.blendshapes["smile"], CORNER / 1000)
    np.testing.assert_allclose(in_metres.in_unit("mm").vertices, CORNER)


def test_normals_point_out_of_counter_clockwise_triangles():
    np.testing.assert_allclose(triangle_normals(CORNER, TRIANGLE), [[0, 0, 6]])  # twice the area
    normals = vertex_normals(CORNER, TRIANGLE)
    np.testing.assert_allclose(normals, [[0, 0, 1]] * 4)  # the unused vertex too


def test_vertex_normals_of_a_sphere_are_its_directions():
    rng = np.random.default_rng(0)
    from scipy.spatial import ConvexHull

    points = rng.normal(size=(400, 3))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    triangles = ConvexHull(points).simplices
    a, b, c = (points[triangles[:, k]] for k in range(3))
    inward = np.einsum("ij,ij->i", np.cross(b - a, c - a), a) < 0
    triangles[inward] = triangles[inward][:, ::-1]
    assert (np.einsum("ij,ij->i", vertex_normals(points, triangles), points) > 0.95).all()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("uv", np.zeros((3, 2))),
        ("vertex_colors", np.zeros((4, 4), np.uint8)),
        ("vertices", CORNER[:, :2]),
    ],
)
def test_wrong_shapes_are_refused_by_name(field, value):
    arguments = {"vertices": CORNER, "triangles": TRIANGLE, field: value}
    with pytest.raises(ShapeError, match=field):
        Mesh(**arguments)
