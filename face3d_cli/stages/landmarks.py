"""Where are the 68 points of a face? dlib's shape predictor on an upright crop of it."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import Any

import dlib
import numpy as np

from face3d_cli.arrays import Points2, RgbImage, check_shape
from face3d_cli.core.crop import crop_face
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import roll_rad
from face3d_cli.settings import LandmarkSettings
from face3d_cli.stages.landmark_box import landmark_box
from face3d_cli.weights.store import find_model


def predict_landmarks(
    image: RgbImage, box: FaceBox, settings: LandmarkSettings = LandmarkSettings()
) -> Points2:
    """Predict the 68 iBUG landmarks of one face.

    The predictor (Kazemi & Sullivan 2014, "One Millisecond Face Alignment") is neither rotation
    invariant nor smooth in its box. So HOG looks again at doubtful boxes, a first prediction gives
    the roll, the face is cut out upright at a fixed size, and the median over slightly shifted
    boxes is taken.

    Args:
        image: (H, W, 3) photo.
        box: the face, in HOG's convention.
        settings: when HOG looks again, crop size, and the boxes to take the median over.

    Returns:
        (68, 2) image pixels; they may lie outside the photo when the face does.

    Raises:
        ModelError: the predictor's model is missing.
    """
    check_shape(image, (None, None, 3), "image")
    box = landmark_box(image, box, settings.box)
    first = _predict_in_crop(image, box, settings.face_side_px, shifts=((0.0, 0.0),))
    upright = replace(box, roll_rad=roll_rad(first))
    return _predict_in_crop(image, upright, settings.face_side_px, settings.shifts)


def _predict_in_crop(
    image: RgbImage, box: FaceBox, side_px: int, shifts: tuple[tuple[float, float], ...]
) -> Points2:
    """Median prediction over boxes shifted right and down (in box widths), in image pixels."""
    crop = crop_face(image, box, face_px=side_px, crop_px=2 * side_px)
    predictions = []
    for right, down in shifts:
        x = round((0.5 + right) * side_px)
        y = round((0.5 + down) * side_px)
        found = _predictor()(crop.image, dlib.rectangle(x, y, x + side_px, y + side_px))
        predictions.append([(point.x, point.y) for point in found.parts()])
    return crop.to_image(np.median(predictions, axis=0))


@lru_cache(maxsize=1)
def _predictor() -> Any:
    return dlib.shape_predictor(str(find_model("dlib")["shape_predictor_68_face_landmarks.dat"]))
