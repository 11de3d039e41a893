from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from face3d_cli.core.closest_point import Surface
from face3d_cli.errors import ShapeError
from tests.helpers.naive_closest_point import naive_closest

TRIANGLE = np.array([[0.0, 0.0, 0.0], [4.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
ONE = np.array([[0, 1, 2]], np.int32)


@pytest.mark.parametrize(
    ("point", "nearest", "distance"),
    [
        ((1.0, 1.0, 2.0), (1.0, 1.0, 0.0), 2.0),  # above the inside
        ((1.0, 1.0, 0.0), (1.0, 1.0, 0.0), 0.0),  # on the surface
        ((2.0, -3.0, 0.0), (2.0, 0.0, 0.0), 3.0),  # beside the first edge
        ((-3.0, 2.0, 4.0), (0.0, 2.0, 0.0), 5.0),  # beside the last edge
        ((4.0, 4.0, 0.0), (2.0, 2.0, 0.0), 8**0.5),  # beside the long edge
        ((7.0, -4.0, 0.0), (4.0, 0.0, 0.0), 5.0),  # beyond a corner
        ((-1.0, -1.0, -1.0), (0.0, 0.0, 0.0), 3**0.5),
    ],
)
def test_each_region_around_a_triangle(
    point: tuple[float, ...], nearest: tuple[float, ...], distance: float
) -> None:
    found, away = Surface(TRIANGLE, ONE).closest(np.array([point]))
    assert found[0] == pytest.approx(nearest, abs=1e-12)
    assert away[0] == pytest.approx(distance, abs=1e-12)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.floats(0.05, 20.0), st.integers(1, 30))
def test_equals_trying_every_triangle(seed: int, spread: float, num_triangles: int) -> None:
    """Triangles of very different sizes, points near and far."""
    rng = np.random.default_rng(seed)
    sizes = np.repeat(10.0 ** rng.uniform(-2, 1, num_triangles), 3)[:, None]
    middles = np.repeat(rng.normal(0, 3, (num_triangles, 3)), 3, axis=0)
    vertices = middles + sizes * rng.normal(size=(3 * num_triangles, 3))
    triangles = np.arange(3 * num_triangles, dtype=np.int32).reshape(-1, 3)
    points = rng.normal(0, spread, (12, 3))
    nearest, distances = Surface(vertices, triangles).closest(points)
    slow, slow_distances = naive_closest(points, vertices, triangles)
    assert distances == pytest.approx(slow_distances, abs=1e-9)
    assert nearest == pytest.approx(slow, abs=1e-6)


@pytest.mark.parametrize(
    "corners",
    [
        [[0, 0, 0], [4, 0, 0], [2, 0, 0]],  # a line
        [[0, 0, 0], [0, 0, 0], [4, 0, 0]],
        [[4, 0, 0], [0, 0, 0], [0, 0, 0]],
    ],
)
def test_a_degenerate_triangle_is_its_edges(corners: list[list[float]]) -> None:
    nearest, distances = Surface(np.array(corners, float), ONE).closest(
        np.array([[3.0, 2.0, 0.0], [6.0, 0.0, 0.0]])
    )
    assert nearest.tolist() == [[3, 0, 0], [4, 0, 0]]
    assert distances == pytest.approx([2, 2])


def test_a_triangle_shrunk_to_a_point_is_that_point() -> None:
    nearest, distances = Surface(np.ones((3, 3)), ONE).closest(np.array([[1.0, 1.0, 3.0]]))
    assert nearest[0] == pytest.approx([1, 1, 1])
    assert distances[0] == pytest.approx(2)


def test_points_of_a_sphere_are_as_far_as_their_radius_says() -> None:
    """Thousands of triangles, so that the search has something to leave out."""
    rng = np.random.default_rng(3)
    u, v = np.meshgrid(np.linspace(0, 2 * np.pi, 121), np.linspace(0, np.pi, 61))
    vertices = np.stack([np.cos(u) * np.sin(v), np.sin(u) * np.sin(v), np.cos(v)], -1)
    corner = np.arange(60)[:, None] * 121 + np.arange(120)
    a, b, c, d = (corner.ravel() + offset for offset in (0, 1, 121, 122))
    triangles = np.concatenate([np.stack([a, b, c], 1), np.stack([b, d, c], 1)]).astype(np.int32)
    directions = rng.normal(size=(500, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    radii = rng.uniform(0.0, 5.0, 500)
    _, distances = Surface(vertices.reshape(-1, 3), triangles).closest(directions * radii[:, None])
    assert np.abs(distances - np.abs(radii - 1)).max() < 2e-3  # the facets lie inside the sphere


def test_no_points_and_no_triangles() -> None:
    nearest, distances = Surface(TRIANGLE, ONE).closest(np.empty((0, 3)))
    assert nearest.shape == (0, 3)
    assert distances.shape == (0,)
    with pytest.raises(ShapeError, match="at least one triangle"):
        Surface(TRIANGLE, np.empty((0, 3), np.int32))
    with pytest.raises(ShapeError, match="points"):
        Surface(TRIANGLE, ONE).closest(np.zeros((2, 2)))
