import numpy as np
import pytest

from face3d_cli.core.mesh import Mesh, triangle_normals, vertex_normals
from face3d_cli.core.primitives import hemisphere, icosphere


def edge_counts(mesh: Mesh) -> np.ndarray:
    sides = np.concatenate([mesh.triangles[:, pair] for pair in ([0, 1], [1, 2], [2, 0])])
    return np.unique(np.sort(sides, axis=1), axis=0, return_counts=True)[1]


@pytest.mark.parametrize("level", range(5))
def test_icosphere_is_closed_even_and_counted(level: int) -> None:
    mesh = icosphere(level)
    assert len(mesh.triangles) == 20 * 4**level
    assert len(mesh.vertices) == 10 * 4**level + 2
    assert (edge_counts(mesh) == 2).all()
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 1)
    areas = np.linalg.norm(triangle_normals(mesh.vertices, mesh.triangles), axis=1)
    assert areas.max() / areas.min() < 2.2


def test_hemisphere_is_the_published_one() -> None:
    mesh = hemisphere()
    assert mesh.vertices.shape == (1 + 33 * 64, 3) == (2113, 3)
    assert len(mesh.triangles) == 64 + 32 * 64 * 2
    np.testing.assert_allclose(np.linalg.norm(mesh.vertices, axis=1), 1)
    np.testing.assert_allclose(mesh.vertices[0], [0, 0, 1])
    np.testing.assert_allclose(mesh.vertices[-64:, 2], 0, atol=1e-12)  # the rim
    counts = edge_counts(mesh)
    assert (counts == 1).sum() == 64
    assert counts.max() == 2
    assert len(np.unique(np.round(mesh.vertices, 9), axis=0)) == 2113
    assert mesh.uv is not None
    assert mesh.uv.min() >= 0
    assert mesh.uv.max() <= 1


@pytest.mark.parametrize("mesh", [icosphere(3), hemisphere(9, 24)], ids=["icosphere", "hemisphere"])
def test_normals_point_outwards(mesh: Mesh) -> None:
    centres = mesh.vertices[mesh.triangles].mean(axis=1)
    assert (np.sum(centres * triangle_normals(mesh.vertices, mesh.triangles), axis=1) > 0).all()
    normals = vertex_normals(mesh.vertices, mesh.triangles)
    assert (np.sum(normals * mesh.vertices, axis=1) > 0.98).all()
