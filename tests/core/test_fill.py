"""Pull-push: known values stay, unknown ones continue them."""

from __future__ import annotations

import numpy as np
import pytest

from face3d_cli.core.fill import push_pull


@pytest.mark.parametrize("size", [(64, 64), (37, 50), (1, 1), (2, 9)])
def test_known_pixels_keep_their_value(size):
    values = np.random.default_rng(1).uniform(0, 255, (*size, 3)).astype(np.float32)
    filled = push_pull(values, np.ones(size, np.float32))
    np.testing.assert_allclose(filled, values, atol=1e-3)


def test_a_constant_is_continued_everywhere():
    weights = np.zeros((128, 128), np.float32)
    weights[40:60, 30:70] = 1
    values = np.where(weights[..., None] > 0, 90.0, 0.0).astype(np.float32).repeat(3, axis=2)
    np.testing.assert_allclose(push_pull(values, weights), 90.0, atol=1e-2)


def test_two_sides_meet_in_between():
    weights = np.zeros((64, 64), np.float32)
    weights[:, :8] = weights[:, -8:] = 1
    values = np.zeros((64, 64, 1), np.float32)
    values[:, -8:] = 100
    filled = push_pull(values, weights)[32, :, 0]
    assert filled[10] < 30
    assert filled[53] > 70
    assert (np.diff(filled) > -8).all()  # rises without ringing


def test_nothing_known_gives_zero_not_nan():
    assert not push_pull(np.ones((16, 16, 3), np.float32), np.zeros((16, 16), np.float32)).any()
