"""What is read off the 68 points."""

from __future__ import annotations

import numpy as np
import pytest

from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import (
    STROKES,
    bounding_box,
    inter_ocular_px,
    normalised_mean_error,
    roll_rad,
)


def test_error_is_the_mean_distance_over_the_box():
    true = np.zeros((68, 2))
    true[0], true[1] = (0, 0), (40, 90)  # box of 40 x 90: its square root of area is 60
    assert normalised_mean_error(true + np.array([3, 4]), true) == pytest.approx(5 / 60)


def test_roll_follows_the_eyes():
    points = np.zeros((68, 2))
    points[42:48] = (10, 10)
    assert roll_rad(points) == pytest.approx(np.pi / 4)
    points[42:48] = (10, -10)
    assert roll_rad(points) == pytest.approx(-np.pi / 4)


def test_strokes_draw_every_point_once():
    drawn = [index for first, last, _ in STROKES for index in range(first, last + 1)]
    assert sorted(drawn) == list(range(68))


def test_box_and_eye_distance():
    points = np.zeros((68, 2))
    points[36], points[45] = (1, 2), (4, 6)
    assert bounding_box(points[[36, 45]]) == (1, 2, 3, 4)
    assert inter_ocular_px(points) == 5


def test_overlap_of_boxes():
    box = FaceBox(0, 0, 10, 10)
    assert box.overlap(box) == 1
    assert box.overlap(FaceBox(5, 0, 10, 10)) == pytest.approx(1 / 3)
    assert box.overlap(FaceBox(20, 0, 10, 10)) == 0
    assert box.center == (5, 5)
