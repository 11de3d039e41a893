"""Light of harmonics in numpy: the torch twin agrees, known lights come back."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from face3d_cli.core import harmonics
from face3d_cli.diff import shading as twin


@pytest.fixture
def normals():
    some = np.random.default_rng(0).normal(size=(400, 3))
    some[:, 2] = np.abs(some[:, 2]) + 0.3
    return some / np.linalg.norm(some, axis=1, keepdims=True)


@pytest.fixture
def light():
    found = np.random.default_rng(1).normal(0, 0.3, (9, 3))
    found[0] += 4.0
    return found


def test_the_torch_twin_agrees(normals, light):
    expected = twin.shading(torch.from_numpy(normals), torch.from_numpy(light)).numpy()
    np.testing.assert_allclose(harmonics.shading(normals, light), expected, atol=1e-5)
    turn = Rotation.from_euler("xyz", [20, -50, 10], degrees=True).as_matrix()
    expected = twin.turned_light(torch.from_numpy(light), torch.from_numpy(turn)).numpy()
    np.testing.assert_allclose(harmonics.turned_light(light, turn), expected, atol=1e-5)
    brightness = harmonics.shading(normals, light)
    brightness[::7] *= 0.2
    expected = twin.estimate_light(torch.from_numpy(normals), torch.from_numpy(brightness[:, 0]))
    found = harmonics.estimate_light(normals, brightness)
    np.testing.assert_allclose(found[:, :1], expected.numpy(), atol=5e-3)  # other medians


def test_a_known_light_comes_back_where_the_surface_shows_it(normals, light):
    brightness = 0.4 * harmonics.shading(normals, light)
    found = harmonics.shading(normals, harmonics.estimate_light(normals, brightness))
    np.testing.assert_allclose(found, brightness / brightness.mean(axis=0), atol=0.05)


def test_turning_surface_and_light_together_changes_nothing(normals, light):
    turn = Rotation.from_euler("xyz", [20, -50, 10], degrees=True).as_matrix()
    turned = harmonics.turned_light(light, turn)
    np.testing.assert_allclose(
        harmonics.shading(normals @ turn.T, turned), harmonics.shading(normals, light), atol=1e-9
    )
