"""Maps are brought to likely faces, whatever their pose."""

from __future__ import annotations

import numpy as np
import pytest

from face3d_cli.core.camera import Perspective
from face3d_cli.core.position_map import FACE_CENTRE_CM
from face3d_cli.core.similarity import fit_similarity
from face3d_cli.stages.shape_prior import ShapePrior
from tests.helpers.position_maps import canonical_face_cm, turn_about_y

SIZE = 16
RNG = np.random.default_rng(5)
VALID = np.ones((SIZE, SIZE), bool)


@pytest.fixture
def planes() -> np.ndarray:
    """One, the mean face's coordinates and eight smooth ones, orthonormal."""
    mean = canonical_face_cm(SIZE).reshape(-1, 3)
    u, v = np.meshgrid(np.linspace(-1, 1, SIZE), np.linspace(-1, 1, SIZE))
    smooth = [np.cos(k * u + m * v).ravel() for k in range(1, 5) for m in (-1, 1)]
    columns = np.column_stack([np.ones(SIZE**2), mean, *smooth])
    return np.linalg.qr(columns)[0].T.astype(np.float32)


@pytest.fixture
def prior(planes: np.ndarray) -> ShapePrior:
    mean = planes @ canonical_face_cm(SIZE).reshape(-1, 3)
    modes = RNG.normal(0, 1.0, (3, len(planes), 3)) * 3
    modes[:, :4] = 0
    return ShapePrior(planes, mean, modes, VALID, has_perspective=False)


def face_of(prior: ShapePrior, strengths: list[float]) -> np.ndarray:
    shape = prior._mean_cm + (np.array(strengths) @ prior._modes_cm).reshape(-1, 3)
    return np.asarray(shape).reshape(SIZE, SIZE, 3)


def distance_cm(found: np.ndarray, true: np.ndarray) -> float:
    flat = found.reshape(-1, 3).astype(float)
    aligned = fit_similarity(flat, true.reshape(-1, 3)).apply(flat)
    return float(np.sqrt(((aligned - true.reshape(-1, 3)) ** 2).sum(axis=1).mean()))


def test_a_likely_face_stays_as_it_is_at_any_pose(prior: ShapePrior) -> None:
    face = face_of(prior, [0.8, -0.5, 0.3])
    placed = 7 * face @ turn_about_y(50).T + (300, -200, 10)
    found = prior.nearest(placed, noise_mm=0.02).map
    np.testing.assert_allclose(found, placed, atol=7 * 0.02)


def test_what_no_face_does_is_taken_out(prior: ShapePrior) -> None:
    face = face_of(prior, [0.8, -0.5, 0.3])
    spoilt = face + RNG.normal(0, 0.5, face.shape)
    assert distance_cm(prior.nearest(spoilt, 0.3).map, face) < 0.4 * distance_cm(spoilt, face)


def test_the_less_a_map_is_trusted_the_nearer_its_face_is_to_the_mean(prior: ShapePrior) -> None:
    face, mean = face_of(prior, [1.5, 1.0, -1.0]), face_of(prior, [0, 0, 0])
    away = [distance_cm(prior.nearest(face, noise).map, mean) for noise in (0.1, 3.0, 30.0, 1000.0)]
    assert away == sorted(away, reverse=True)
    assert away[0] > 0.9 * distance_cm(face, mean)
    assert away[-1] < 0.01


def test_the_neck_does_not_tell_the_shape(prior: ShapePrior) -> None:
    face = face_of(prior, [0.5, 0.2, 0.1])
    bent = face.copy()
    bent[-2:] += 5.0  # below the jaw
    np.testing.assert_allclose(
        prior.nearest(bent, 0.1).map, prior.nearest(face, 0.1).map, atol=1e-4
    )


@pytest.mark.parametrize("yaw_deg", [0.0, 50.0, -80.0])
@pytest.mark.parametrize("closeness_per_cm", [0.002, 0.012, 0.02])
def test_a_near_camera_is_told_from_a_narrow_jaw(
    planes: np.ndarray, prior: ShapePrior, yaw_deg: float, closeness_per_cm: float
) -> None:
    """The face comes out as it is in space, however near it was seen from."""
    face = face_of(prior, [0.8, -0.5, 0.3])
    placed = 7 * (face - FACE_CENTRE_CM) @ turn_about_y(yaw_deg).T + (300, -200, 0)
    seen = Perspective(closeness_per_cm / 7, np.array([300.0, -200.0])).apply(placed)
    prior._has_perspective = True
    found = prior.nearest(seen, noise_mm=0.05)
    assert found.perspective.closeness * 7 == pytest.approx(closeness_per_cm, abs=0.0008)
    in_space = found.perspective.undo(found.map)
    assert distance_cm(in_space, face) < 0.06
    np.testing.assert_allclose(found.map, seen, atol=7 * 0.06)
    prior._has_perspective = False
    left = np.abs(prior.nearest(seen, noise_mm=0.05).map - seen).max()
    assert left > 3 * np.abs(found.map - seen).max()


def test_perspective_is_undone() -> None:
    places = RNG.normal(0, 30, (50, 3))
    view = Perspective(0.004, np.array([12.0, -5.0]))
    np.testing.assert_allclose(view.undo(view.apply(places)), places, atol=1e-9)
    np.testing.assert_allclose(Perspective(0.0, np.zeros(2)).apply(places), places)
