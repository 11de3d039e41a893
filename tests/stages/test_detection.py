"""Faces are found, in photos large, small and turned."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from face3d_cli.core.face_box import FaceBox
from face3d_cli.io.image import read_photo
from face3d_cli.settings import DetectionSettings, LandmarkBoxSettings
from face3d_cli.stages import detection
from face3d_cli.stages.detection import BoxConvention, detect_faces
from face3d_cli.stages.landmark_box import landmark_box
from face3d_cli.stages.landmarks import predict_landmarks


@pytest.fixture(scope="module")
def photo(sample_photo):
    return read_photo(sample_photo)


def test_hog_finds_the_sample_face(photo):
    (box,) = detect_faces(photo)
    assert box.detector == "hog"
    assert box.overlap(FaceBox(176, 78, 94, 94)) > 0.6  # the face, marked by hand


def test_the_cnn_finds_the_same_face(photo):
    (hog,) = detect_faces(photo)
    (cnn,) = detect_faces(photo, DetectionSettings(detector="cnn"))
    assert cnn.detector == "cnn"
    assert cnn.overlap(hog) > 0.6


def test_no_face_gives_an_empty_list_from_every_detector():
    noise = np.random.default_rng(0).integers(0, 255, (200, 240, 3)).astype(np.uint8)
    assert detect_faces(noise) == []
    assert detect_faces(np.zeros((1, 1, 3), np.uint8)) == []


def test_a_large_photo_is_searched_reduced_and_answered_in_its_own_pixels(photo):
    (small,) = detect_faces(photo)
    (large,) = detect_faces(cv2.resize(photo, None, fx=5, fy=5, interpolation=cv2.INTER_CUBIC))
    scaled = FaceBox(large.x / 5, large.y / 5, large.width / 5, large.height / 5)
    assert scaled.overlap(small) > 0.7


def test_all_faces_come_left_to_right(photo):
    small = cv2.resize(photo, (320, 320), interpolation=cv2.INTER_AREA)
    strip = np.hstack(
        [np.pad(photo, ((0, 0), (0, 40), (0, 0))), np.pad(small, ((96, 96), (0, 0), (0, 0)))]
    )
    found = detect_faces(strip, want_all=True)
    centers = [box.center[0] for box in found]
    assert len(found) == 2
    assert centers == sorted(centers)
    assert centers[0] < 512 < centers[1]


def test_a_rolled_face_gets_a_rolled_box_and_right_landmarks(photo):
    """HOG looks again: it alone misses this face, and the CNN's box alone misleads."""
    turn = cv2.getRotationMatrix2D((222, 120), 40, 1.0)
    turned = cv2.warpAffine(photo, turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
    (upright_box,) = detect_faces(photo)
    expected = predict_landmarks(photo, upright_box) @ turn[:, :2].T + turn[:, 2]
    found = detect_faces(turned)
    box = max(found, key=lambda each: each.area)
    error = np.linalg.norm(predict_landmarks(turned, box) - expected, axis=1).mean()
    assert error < 0.05 * upright_box.width
    assert landmark_box(turned, box).roll_rad == pytest.approx(np.radians(-40), abs=np.radians(21))


@pytest.mark.parametrize("quarters", [1, 2, 3])
def test_a_photo_that_lies_on_its_side_or_upside_down_is_searched_turned(
    photo, quarters, monkeypatch
):
    (upright,) = detect_faces(photo)
    landmarks = predict_landmarks(photo, upright)
    for _ in range(quarters):  # as np.rot90 moves pixels
        landmarks = np.column_stack([landmarks[:, 1], photo.shape[1] - 1 - landmarks[:, 0]])
    turned = np.ascontiguousarray(np.rot90(photo, quarters))
    assert detect_faces(turned, DetectionSettings(detector="hog")) == []
    for second in ("_cnn", "_yunet"):  # which find rolled faces
        monkeypatch.setattr(detection, second, lambda image: [])
    (box,) = detect_faces(turned)
    assert box.detector == "hog"
    assert np.cos(box.roll_rad + quarters * np.pi / 2) == pytest.approx(1.0)
    away = np.linalg.norm(predict_landmarks(turned, box) - landmarks, axis=1)
    assert away.mean() < 0.02 * upright.width


def test_a_small_strong_answer_beside_the_face_does_not_replace_its_box(photo):
    """HOG sees the eye of a profile for a face: the box of another detector stays."""
    (small,) = detect_faces(photo)
    half_as_large = 2.2 * small.width
    x, y = (middle - half_as_large / 2 for middle in small.center)
    wide = FaceBox(x, y, half_as_large, half_as_large, 0.9, "yunet")
    assert landmark_box(photo, wide, LandmarkBoxSettings(min_size=0.0)) != wide
    assert landmark_box(photo, wide) == wide


def test_a_box_drawn_by_the_user_is_never_replaced(photo):
    (found,) = detect_faces(photo)
    drawn = FaceBox(found.x - 9, found.y - 9, found.width, found.height)
    assert landmark_box(photo, drawn) is drawn


def test_box_convention_shifts_and_grows_about_the_centre():
    x, y, width, height = BoxConvention(down=0.1, grow=1.2).to_hog(100, 200, 50, 50)
    assert (width, height) == pytest.approx((60, 60))
    assert (x + width / 2, y + height / 2) == pytest.approx((125, 230))


def test_box_convention_shifts_along_a_rolled_face():
    x, y, width, height = BoxConvention(down=0.1, grow=1.0).to_hog(100, 200, 50, 50, np.pi / 2)
    assert (x + width / 2, y + height / 2) == pytest.approx((120, 225))


@pytest.mark.shared
def test_the_main_face_of_every_photo_is_found(shared):
    photos = sorted(
        path for path in (shared / "photos").iterdir() if path.suffix in (".jpg", ".png")
    )
    missed = [path.name for path in photos if not detect_faces(read_photo(path))]
    assert len(photos) == 24
    assert missed == []


def test_searches_stop_at_the_first_success_unless_all_are_wanted(photo, monkeypatch):
    seen = []
    for second in ("_cnn", "_yunet"):
        monkeypatch.setattr(detection, second, lambda image: seen.append(image.shape) or [])
    detect_faces(photo)
    assert seen == []
    detect_faces(photo, want_all=True)
    assert seen
