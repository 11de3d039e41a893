"""The mesh of a position map's square: membranes over holes, a smooth rim, no folds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial import cKDTree

from face3d_cli.core.landmarks68 import INNER_LIPS, LEFT_EYE, RIGHT_EYE
from face3d_cli.core.map_topology import MapTopology, map_topology
from face3d_cli.core.position_map import LANDMARK_UV, map_triangles
from face3d_cli.core.uv_atlas import UvAtlas
from face3d_cli.networks.prnet_weights import read_prnet_weights
from face3d_cli.weights.store import find_model

FEATURES = [LANDMARK_UV[part].mean(axis=0) for part in (RIGHT_EYE, LEFT_EYE, INNER_LIPS)]


@pytest.fixture(scope="module")
def valid() -> np.ndarray:
    """The outline of the network that ships."""
    path = find_model("prnet-resnet18")["prnet-resnet18.safetensors"]
    return np.asarray(read_prnet_weights(path)[0]["valid"] > 0)


def texels(size: int) -> np.ndarray:
    """(size * size, 2) u and v of all texels."""
    v, u = np.meshgrid(1 - (np.arange(size) + 0.5) / size, (np.arange(size) + 0.5) / size)
    return np.column_stack([u.T.ravel(), v.T.ravel()])


def open_edges(topology: MapTopology) -> np.ndarray:
    """(E, 2) edges of one triangle only."""
    edges = np.sort(topology.triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, times = np.unique(edges, axis=0, return_counts=True)
    return edges[times == 1]


@pytest.mark.parametrize("size", [64, 128, 256])
def test_eyes_and_mouth_are_closed_and_nothing_folds(valid: np.ndarray, size: int) -> None:
    topology = map_topology(valid, size, FEATURES)
    a, b, c = (topology.uv[topology.triangles[:, i]] for i in range(3))
    (x, y), (p, q) = (b - a).T, (c - a).T
    assert (x * q - y * p).min() > 0  # counter-clockwise, all of them
    at_rim = np.abs(topology.uv[open_edges(topology)] - 0.5).max(axis=-1)
    assert at_rim.min() > 0.4  # no open edge in the middle
    left_open = map_topology(valid, size, [])
    assert len(left_open.uv) < len(topology.uv)
    assert np.abs(left_open.uv[open_edges(left_open)] - 0.5).max(axis=-1).min() < 0.3


@pytest.mark.parametrize("size", [64, 128])
def test_it_is_its_own_mirror_image(valid: np.ndarray, size: int) -> None:
    """Textures fill what the photo hides from the other side, where the layout allows it."""
    topology = map_topology(valid, size, FEATURES)
    assert UvAtlas(topology.uv, topology.triangles, 256).is_mirror_symmetric
    flipped = topology.uv * (-1, 1) + (1, 0)
    away, _ = cKDTree(topology.uv).query(flipped)
    assert away.max() < 1e-9


def test_places_are_those_of_the_texels_and_a_plane_stays_one(valid: np.ndarray) -> None:
    """Harmonic membranes and averages of the rim keep what is linear in the square."""
    topology = map_topology(valid, 128, FEATURES)
    uv = texels(128)
    plane = np.column_stack([uv, 3 * uv[:, 0] - 2 * uv[:, 1]])
    found = topology.places(plane)
    np.testing.assert_allclose(found[:, :2], topology.uv, atol=1e-12)
    np.testing.assert_allclose(found[:, 2], 3 * found[:, 0] - 2 * found[:, 1], atol=1e-12)


def test_what_lies_in_a_hole_has_no_say(valid: np.ndarray) -> None:
    uv = texels(64)
    bump = np.column_stack([uv, np.zeros(len(uv))])
    spoilt = bump.copy()
    spoilt[np.linalg.norm(uv - FEATURES[0], axis=1) < 0.02, 2] = 1.0
    topology = map_topology(valid, 64, FEATURES)
    assert (spoilt != bump).any()
    np.testing.assert_array_equal(topology.places(spoilt), topology.places(bump))


def test_a_hole_that_is_not_named_stays_open_and_no_hole_is_no_error() -> None:
    valid = np.ones((64, 64), bool)
    valid[20:28, 20:28] = False
    hole = np.array([24 / 64, 1 - 24 / 64])
    closed = len(map_topology(valid, 32, [hole]).uv)
    assert 32**2 - 4 <= closed <= 32**2  # without corners that stick out
    assert len(map_topology(valid, 32, []).uv) == closed - 16
    assert len(map_topology(valid, 32, [np.array([0.8, 0.8])]).uv) == closed - 16
    beyond = np.array([0.5, 0.99])
    valid[:, 32] = False  # cut by the edge: no hole
    assert len(map_topology(valid, 64, [beyond]).uv) < 64**2 - 64


def test_a_staircase_at_the_rim_is_smoothed_and_a_straight_rim_is_not() -> None:
    rows, columns = np.mgrid[:64, :64]
    topology = map_topology(columns >= rows // 4, 64, [])
    rim = np.unique(open_edges(topology))
    row = 64 * (1 - topology.uv[rim, 1]) - 0.5
    column = 64 * topology.uv[rim, 0] - 0.5
    slanted = (column < 20) & (row > 10) & (row < 54)
    away = np.abs(column - (row - 1.5) / 4)[slanted]
    assert slanted.sum() > 40
    assert away.max() < 0.2  # 0.4 as texels have it
    right = (column > 50) & (row > 10) & (row < 54)
    np.testing.assert_allclose(column[right], 63, atol=1e-9)


def test_vertices_keep_their_order(valid: np.ndarray) -> None:
    first, again = map_topology(valid, 64, FEATURES), map_topology(valid.copy(), 64, FEATURES)
    np.testing.assert_array_equal(first.uv, again.uv)
    np.testing.assert_array_equal(first.triangles, again.triangles)
    assert first.triangles.max() + 1 == len(first.uv)
    assert map_triangles(np.ones((3, 3), bool)).shape == (8, 3)
