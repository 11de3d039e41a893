"""Landmarks beside ICT-FaceKit's vertices."""

import numpy as np

from face3d_cli.core.landmarks68 import JAW, MIRRORED
from face3d_cli.stages.ict_points import landmark_offsets_mm


def test_offsets_are_mirror_symmetric_and_spare_the_jaw():
    offsets = landmark_offsets_mm()
    np.testing.assert_array_equal(offsets, offsets[list(MIRRORED)] * (-1, 1, 1))
    assert not offsets[JAW].any()
    assert 1 < np.linalg.norm(offsets[JAW.stop :], axis=1).mean() < 4
