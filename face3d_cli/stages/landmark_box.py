"""Which box does the 68-point predictor need? Where HOG sees the face in crops turned upright."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from face3d_cli.arrays import RgbImage
from face3d_cli.core.crop import crop_face
from face3d_cli.core.face_box import FaceBox
from face3d_cli.settings import LandmarkBoxSettings
from face3d_cli.stages.detection import hog_detector

CROP_PER_FACE = 2.2


def landmark_box(
    image: RgbImage, box: FaceBox, settings: LandmarkBoxSettings = LandmarkBoxSettings()
) -> FaceBox:
    """Look for the face of a detector's box again, with HOG, upright and at a fitting size.

    The 68-point predictor was trained on upright boxes of HOG alone. HOG misses rolled and
    half-visible faces in a whole photo, or finds them weakly in a box that misleads. The strongest
    answer near the box's middle and about as large wins. A box of HOG's own is only given up for a
    clearly stronger one, one of another detector for any. What this gains:
    `benchmarks/box_convention.py`.

    Args:
        image: (H, W, 3) photo.
        box: the face, in HOG's convention.
        settings: when to look, and what counts.

    Returns:
        A box, maybe rolled; the given one where HOG sees nothing better, and one that a user drew
        as it is.
    """
    if box.detector not in ("hog", "cnn", "yunet"):
        return box
    is_own = box.detector == "hog"
    own_score = box.score or 0.0
    if is_own and own_score >= settings.below_score:
        return box
    face_px = settings.face_px
    crop_px = round(CROP_PER_FACE * face_px)
    to_beat = own_score + settings.margin if is_own else settings.min_score
    best, best_score = box, to_beat
    for roll_deg in settings.roll_deg:
        turned = replace(box, roll_rad=box.roll_rad + math.radians(roll_deg))
        crop = crop_face(image, turned, face_px=face_px, crop_px=crop_px)
        rectangles, scores, _ = hog_detector().run(crop.image, 0, to_beat)
        for r, score in zip(rectangles, scores, strict=True):
            center_crop = np.array([r.left() + r.width() / 2, r.top() + r.height() / 2])
            is_near = np.abs(center_crop - crop_px / 2).max() < settings.max_shift * face_px
            is_as_large = r.width() >= settings.min_size * face_px
            if score > best_score and is_near and is_as_large:
                side = r.width() * box.width / face_px
                x, y = (crop.to_image(center_crop[None])[0] - side / 2).tolist()
                best = replace(turned, x=x, y=y, width=side, height=side)
                best_score = score
    return best
