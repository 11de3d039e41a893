from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from face3d_cli.core.similarity import Similarity, fit_similarity
from face3d_cli.errors import ShapeError, StageError


@given(st.integers(0, 10**6), st.floats(1e-3, 1e3), st.integers(4, 40))
def test_recovers_turn_scale_and_shift(seed: int, scale: float, count: int) -> None:
    rng = np.random.default_rng(seed)
    truth = Similarity(Rotation.random(random_state=seed).as_matrix(), scale, rng.normal(0, 50, 3))
    source = rng.normal(size=(count, 3))
    found = fit_similarity(source, truth.apply(source))
    assert found.rotation == pytest.approx(truth.rotation, abs=1e-6)
    assert found.scale == pytest.approx(scale, rel=1e-6)
    assert found.shift == pytest.approx(truth.shift, abs=1e-5 * max(1, scale))


def test_undo_is_the_way_back() -> None:
    rng = np.random.default_rng(1)
    there = Similarity(Rotation.random(random_state=4).as_matrix(), 2.5, np.array([1.0, -2, 3]))
    points = rng.normal(size=(9, 3))
    assert there.undo(there.apply(points)) == pytest.approx(points, abs=1e-12)


def test_a_mirrored_target_is_never_met_by_a_reflection() -> None:
    signs = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    source = signs * (3, 2, 0.5)
    found = fit_similarity(source, source * (1, 1, -1))
    assert np.linalg.det(found.rotation) == pytest.approx(1.0)
    assert found.rotation == pytest.approx(np.eye(3), abs=1e-12)


def test_no_small_change_fits_noisy_points_better() -> None:
    rng = np.random.default_rng(5)
    source = rng.normal(size=(30, 3))
    target = 2 * source + rng.normal(0, 0.3, (30, 3))
    best = fit_similarity(source, target)

    def error(similarity: Similarity) -> float:
        return float(((similarity.apply(source) - target) ** 2).sum())

    for _ in range(50):
        turn = Rotation.from_rotvec(rng.normal(0, 0.01, 3)).as_matrix()
        changed = Similarity(
            turn @ best.rotation,
            best.scale * (1 + rng.normal(0, 0.01)),
            best.shift + rng.normal(0, 0.01, 3),
        )
        assert error(changed) > error(best)


@pytest.mark.parametrize("source", [np.zeros((5, 3)), np.outer(np.arange(5.0), [1, 2, 3])])
def test_points_in_one_place_or_on_one_line_are_refused(source: np.ndarray) -> None:
    with pytest.raises(StageError, match="one line"):
        fit_similarity(source, source)


def test_partners_must_be_as_many() -> None:
    with pytest.raises(ShapeError, match="target"):
        fit_similarity(np.zeros((4, 3)), np.zeros((5, 3)))
