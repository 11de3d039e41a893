from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch

from face3d_cli.core.mesh import Mesh
from face3d_cli.core.mesh_quality import flipped_triangles
from face3d_cli.core.primitives import hemisphere
from face3d_cli.diff.edges import edge_topology
from face3d_cli.stages.outline import widen_to_mask

SIZE = 64


def dome() -> Mesh:
    mesh = hemisphere(16, 48)
    return replace(mesh, vertices=mesh.vertices * 0.6)


def disc(radius: float, shift: float = 0.0) -> torch.Tensor:
    at = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(at, -at)
    return torch.from_numpy(((x - shift) ** 2 + y**2 < radius**2).astype(np.float32))[None]


def widened(mesh: Mesh, mask: torch.Tensor) -> np.ndarray:
    topology = edge_topology(torch.from_numpy(mesh.triangles.astype(np.int64)))
    return widen_to_mask(mesh, mask, topology)


def test_the_outline_moves_out_to_the_mask_and_depths_stay() -> None:
    mesh = dome()
    moved = widened(mesh, disc(0.7))
    radius = np.linalg.norm(moved[-48:, :2], axis=1)
    assert (radius > 0.66).all()
    assert radius.max() < 0.8
    np.testing.assert_allclose(moved[:, 2], mesh.vertices[:, 2], atol=1e-6)
    assert not flipped_triangles(moved, mesh.vertices, mesh.triangles).any()


def test_only_the_side_that_is_short_moves() -> None:
    mesh = dome()
    moved = widened(mesh, disc(0.6, shift=0.12)) - mesh.vertices
    right, left = mesh.vertices[:, 0] > 0.5, mesh.vertices[:, 0] < -0.5
    assert moved[right, 0].mean() > 0.05
    assert np.abs(moved[left]).max() < 0.5 * moved[right, 0].mean()


def test_a_mesh_is_not_narrowed_and_one_out_of_view_stays() -> None:
    mesh = dome()
    np.testing.assert_allclose(widened(mesh, disc(0.3)), mesh.vertices, atol=1e-6)
    away = replace(mesh, vertices=mesh.vertices + np.array([30.0, 0, 0]))
    np.testing.assert_allclose(widened(away, disc(0.5)), away.vertices, atol=1e-5)
