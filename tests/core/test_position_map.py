"""The square of a position map: landmarks, sampling, weights, topology."""

from __future__ import annotations

import numpy as np
import pytest

from face3d_cli.core.mesh import triangle_normals
from face3d_cli.core.position_map import (
    LANDMARK_UV,
    landmarks_of,
    map_triangles,
    map_vertices,
    mirrored,
    sample_map,
    sampling_matrix,
    texel_uv,
    to_texels,
    weight_mask,
)
from tests.helpers.position_maps import canonical_face_cm

# iBUG's index of the same point on the other side of the face.
MIRROR = np.array(
    [*range(16, -1, -1), *range(26, 16, -1), 27, 28, 29, 30, 35, 34, 33, 32, 31, 45, 44, 43, 42,
     47, 46, 39, 38, 37, 36, 41, 40, 54, 53, 52, 51, 50, 49, 48, 59, 58, 57, 56, 55, 64, 63, 62,
     61, 60, 67, 66, 65]
)  # fmt: skip


def test_landmarks_are_mirror_symmetric() -> None:
    np.testing.assert_allclose(LANDMARK_UV[MIRROR], LANDMARK_UV * (-1, 1) + (1, 0), atol=1e-4)


def test_landmarks_of_one_eye_lie_texels_apart_in_a_small_map() -> None:
    texels = to_texels(LANDMARK_UV, 64)
    away = np.linalg.norm(texels[:, None] - texels[None], axis=2) + 99 * np.eye(68)
    assert away.min() > 1.4


def test_the_first_texel_is_the_top_left() -> None:
    np.testing.assert_allclose(to_texels(np.array([[0.5 / 8, 1 - 0.5 / 8]]), 8), [[0, 0]])


def test_sampling_a_linear_map_is_exact() -> None:
    size = 32
    u, v = np.meshgrid((np.arange(size) + 0.5) / size, 1 - (np.arange(size) + 0.5) / size)
    ramp = np.stack([3 * u - v, v, u + 2 * v], axis=2).astype(np.float32)
    uv = np.random.default_rng(0).uniform(0.05, 0.95, (50, 2))
    wanted = np.column_stack([3 * uv[:, 0] - uv[:, 1], uv[:, 1], uv[:, 0] + 2 * uv[:, 1]])
    # OpenCV's remap interpolates at 32nds of a texel.
    np.testing.assert_allclose(sample_map(ramp, uv), wanted, atol=3 / 32 / size)
    by_matrix = sampling_matrix(uv, size) @ ramp.reshape(-1, 3)
    np.testing.assert_allclose(by_matrix, wanted, atol=1e-5)


def test_the_matrix_reads_what_sampling_reads() -> None:
    face = canonical_face_cm(64)
    by_matrix = sampling_matrix(LANDMARK_UV, 64) @ face.reshape(-1, 3)
    np.testing.assert_allclose(by_matrix, landmarks_of(face), atol=0.05)


def test_mirroring_swaps_the_landmarks_sides() -> None:
    face = canonical_face_cm(64) * 4 + (50, 60, 0)
    turned = face.copy()
    turned[..., 0] += 0.3 * turned[..., 1]
    flipped = landmarks_of(mirrored(turned, 100))
    wanted = landmarks_of(turned)[MIRROR] * (-1, 1, 1) + (99, 0, 0)
    np.testing.assert_allclose(flipped, wanted, atol=0.3)


def test_weights_have_the_published_ratio() -> None:
    mask = weight_mask(64, np.ones((64, 64), bool))
    assert set(np.unique(mask)) == {0.0, 3.0, 4.0, 16.0}
    columns, rows = np.round(to_texels(LANDMARK_UV, 64)).astype(int).T
    assert (mask[rows, columns] == 16).all()
    assert (mask[-4:] == 0).all()  # the neck
    assert mask[20, 13] == 3  # a cheek


def test_off_the_surface_only_landmarks_count() -> None:
    valid = np.zeros((64, 64), bool)
    assert set(np.unique(weight_mask(64, valid, 0.5))) == {0.5, 16.0}


def test_triangles_face_outwards_and_use_every_quad() -> None:
    valid = np.ones((16, 16), bool)
    triangles = map_triangles(valid)
    assert len(triangles) == 2 * 15 * 15
    face = canonical_face_cm(16).reshape(-1, 3)[map_vertices(valid)]
    assert (triangle_normals(face, triangles)[:, 2] > 0).mean() > 0.95


def test_holes_have_no_triangles() -> None:
    valid = np.ones((8, 8), bool)
    valid[3, 4] = False
    triangles = map_triangles(valid)
    assert triangles.max() < 63
    assert len(triangles) == 2 * (49 - 4)


@pytest.mark.parametrize("size", [5, 16])
def test_texel_uv_finds_the_texels_again(size: int) -> None:
    valid = np.random.default_rng(1).random((size, size)) < 0.7
    texels = to_texels(texel_uv(valid), size)
    rows, columns = np.nonzero(valid)
    np.testing.assert_allclose(texels, np.column_stack([columns, rows]), atol=1e-9)
