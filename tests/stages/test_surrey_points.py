"""Landmarks beside the vertices that stand for them."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.landmarks68 import JAW, MIRRORED
from face3d_cli.stages.surrey_points import landmark_offsets_mm, vertices_seen


def test_offsets_are_mirror_symmetric_and_spare_the_jaw():
    offsets = landmark_offsets_mm()
    np.testing.assert_array_equal(offsets, offsets[list(MIRRORED)] * (-1, 1, 1))
    assert not offsets[JAW].any()
    assert 1 < np.linalg.norm(offsets[JAW.stop :], axis=1).mean() < 4


def test_mirrored_is_its_own_inverse_and_keeps_the_middle():
    mirrored = np.array(MIRRORED)
    np.testing.assert_array_equal(mirrored[mirrored], np.arange(68))
    middle = [8, 27, 28, 29, 30, 33, 51, 57, 62, 66]
    np.testing.assert_array_equal(np.flatnonzero(mirrored == np.arange(68)), middle)


@pytest.mark.parametrize("angles_deg", [(0, 0, 0), (25, 10, -30)])
def test_the_vertices_are_found_again_under_any_camera(angles_deg):
    rng = np.random.default_rng(0)
    vertices_mm = np.zeros((68, 3))
    vertices_mm[17:] = rng.normal(0, (30, 40, 15), (51, 3))
    rotation = Rotation.from_euler("yxz", angles_deg, degrees=True).as_matrix()
    camera = ScaledOrthographicCamera(rotation, 2.0, np.array([200.0, 300.0]))
    landmarks_px = camera.project(vertices_mm + landmark_offsets_mm())
    fixed = list(range(17, 68))
    found = vertices_seen(landmarks_px, fixed, vertices_mm[fixed])
    expected = camera.project(vertices_mm)
    before = np.linalg.norm(landmarks_px - expected, axis=1)[17:].mean()
    # The camera is estimated from landmarks that are off themselves.
    assert np.linalg.norm(found - expected, axis=1)[17:].mean() < 0.1 * before
