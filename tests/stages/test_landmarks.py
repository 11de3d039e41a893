"""68 points: where a person would put them, and moving with the photo."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import inter_ocular_px
from face3d_cli.io.image import read_photo
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.landmarks import predict_landmarks


@pytest.fixture(scope="module")
def photo(sample_photo):
    return read_photo(sample_photo)


@pytest.fixture(scope="module")
def points(photo):
    return predict_landmarks(photo, detect_faces(photo)[0])


def test_points_lie_on_the_sample_face(points):
    by_hand = {30: (225, 128), 36: (194, 102), 45: (257, 104), 48: (201, 140), 54: (246, 141)}
    for index, place in by_hand.items():
        assert np.linalg.norm(points[index] - place) < 4, index


def test_points_follow_an_enlarged_photo(photo, points):
    (box,) = detect_faces(photo)
    large = cv2.resize(photo, None, fx=6, fy=6, interpolation=cv2.INTER_CUBIC)
    # Pixel centres: large = (small + 0.5) * 6 - 0.5
    corner = (np.array([box.x, box.y]) + 0.5) * 6 - 0.5
    again = predict_landmarks(large, FaceBox(*corner, box.width * 6, box.height * 6))
    error = np.linalg.norm((again + 0.5) / 6 - 0.5 - points, axis=1)
    assert error.mean() < 0.02 * inter_ocular_px(points)


def test_points_hardly_depend_on_the_exact_box(photo, points):
    (box,) = detect_faces(photo)
    shifted = FaceBox(box.x + 5, box.y - 4, box.width, box.height)
    error = np.linalg.norm(predict_landmarks(photo, shifted) - points, axis=1)
    assert error.mean() < 0.04 * inter_ocular_px(points)


def test_a_box_off_the_photo_gives_finite_points(photo):
    assert np.isfinite(predict_landmarks(photo, FaceBox(-900, 40, 120, 120))).all()
