"""Where are the faces? dlib's HOG detector first, a second detector where it finds nothing."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import Any

import cv2
import dlib
import numpy as np

from face3d_cli.arrays import RgbImage, check_shape
from face3d_cli.core.face_box import FaceBox
from face3d_cli.settings import DetectionSettings
from face3d_cli.weights.store import find_model, model_state

MIN_PHOTO_PX = 32  # below this there is no room for a face, and dlib's CNN refuses
SAME_FACE_OVERLAP = 0.3  # two boxes that share more of their union are one face


@dataclass(frozen=True)
class BoxConvention:
    """How another detector's box becomes the box that HOG would have drawn.

    The 68-point predictor was trained on HOG's boxes (dlib-models README). Medians over the photos
    in which both detectors fire: `benchmarks/box_convention.py`.
    """

    down: float  # shift of the centre, in sides of the square as large as the box
    grow: float  # factor on that side

    def to_hog(
        self, x: float, y: float, width: float, height: float, roll_rad: float = 0.0
    ) -> tuple[float, ...]:
        """Return x, y, width, height of the square HOG-style box; down is along the face."""
        raw_side = (width * height) ** 0.5
        down = self.down * raw_side
        center_x = x + width / 2 - math.sin(roll_rad) * down
        center_y = y + height / 2 + math.cos(roll_rad) * down
        side = self.grow * raw_side
        return center_x - side / 2, center_y - side / 2, side, side


CNN_BOX = BoxConvention(down=0.085, grow=1.09)
YUNET_BOX = BoxConvention(down=0.093, grow=0.96)


def detect_faces(
    image: RgbImage, settings: DetectionSettings = DetectionSettings(), *, want_all: bool = False
) -> list[FaceBox]:
    """Find faces, left to right.

    Large photos are searched at `settings.search_long_side_px` first. "auto" asks HOG, and where it
    is not certain of a face, YuNet when that model is in the store, else dlib's CNN. HOG's weak
    answers are as often a sleeve or a flag as a turned face: only "hog" takes them as they are.
    When nothing is found, "auto" searches the photo once more on either side and upside down.

    Args:
        image: (H, W, 3) photo.
        settings: which detector, and the sizes to search at.
        want_all: search for every face, small ones and profiles too, instead of stopping at the
            first search that finds any.

    Returns:
        Boxes in HOG's convention (brows to chin, square) in image pixels, rolled where the face is
        known to be; empty when there is none.

    Raises:
        ModelError: a detector's model is missing.
    """
    check_shape(image, (None, None, 3), "image")
    if min(image.shape[:2]) < MIN_PHOTO_PX:
        return []
    found: list[FaceBox] = []
    plan = _searches(settings, max(image.shape[:2]))
    for search, long_side_px in plan:
        for box in _search_at(search, image, long_side_px):
            if all(box.overlap(other) < SAME_FACE_OVERLAP for other in found):
                found.append(box)
        if found and not want_all:
            break
    if not found and settings.detector == "auto":
        found = _found_turned(image, plan)
    return sorted(found, key=lambda box: box.center)


Search = Callable[[RgbImage], list[FaceBox]]


def _found_turned(image: RgbImage, plan: list[tuple[Search, int]]) -> list[FaceBox]:
    """What a detector finds when the photo is turned by quarters, where it is surest."""
    smallest = min(side for _, side in plan)
    for search in [search for search, side in plan if side == smallest]:
        ways = []
        for quarters in (1, 2, 3):
            turned = np.ascontiguousarray(np.rot90(image, quarters))
            if boxes := _search_at(search, turned, smallest):
                ways.append([_turned_back(box, quarters, turned) for box in boxes])
        if ways:
            return max(ways, key=lambda boxes: max(box.score or 0.0 for box in boxes))
    return []


def _turned_back(box: FaceBox, quarters: int, turned: RgbImage) -> FaceBox:
    """The box in the photo that `turned` was made of by quarters, against the clock."""
    height, width = turned.shape[:2]
    for _ in range(quarters):
        x, y = height - box.y - box.height, box.x
        box = replace(box, x=x, y=y, width=box.height, height=box.width)
        height, width = width, height
    return replace(box, roll_rad=math.remainder(box.roll_rad + quarters * math.pi / 2, math.tau))


def _searches(settings: DetectionSettings, photo_side_px: int) -> list[tuple[Search, int]]:
    """The searches in their order, each with the long side of the photo to search at."""
    small = min(settings.search_long_side_px, photo_side_px)
    certain = settings.hog_certain_score if settings.detector == "auto" else 0.0
    searches: dict[str, Search] = {
        "hog": partial(_hog, min_score=certain),
        "cnn": _cnn,
        "yunet": _yunet,
    }
    largest = {
        "hog": settings.hog_max_side_px,
        "cnn": settings.cnn_max_side_px,
        "yunet": settings.hog_max_side_px,
    }
    names = [settings.detector]
    if settings.detector == "auto":
        names = ["hog", "yunet" if model_state("yunet").state == "present" else "cnn"]
    plan = [
        (searches[name], side)
        for name in names
        for side in dict.fromkeys((small, min(largest[name], photo_side_px)))
    ]
    if names[0] == "hog" and 2 * photo_side_px <= settings.hog_max_side_px:
        plan.append((searches["hog"], 2 * photo_side_px))  # faces smaller than HOG's smallest
    return plan


def _search_at(search: Search, image: RgbImage, long_side_px: int) -> list[FaceBox]:
    """Search a reduced or enlarged copy; boxes come back in pixels of the photo."""
    scale = long_side_px / max(image.shape[:2])
    if scale != 1:
        size = (round(image.shape[1] * scale), round(image.shape[0] * scale))
        way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        image = cv2.resize(image, (max(size[0], 1), max(size[1], 1)), interpolation=way)
    return [
        replace(
            box,
            x=box.x / scale,
            y=box.y / scale,
            width=box.width / scale,
            height=box.height / scale,
        )
        for box in search(np.ascontiguousarray(image))
    ]


def _hog(image: RgbImage, min_score: float) -> list[FaceBox]:
    rectangles, scores, _ = hog_detector().run(image, 0, min_score)
    return [
        FaceBox(r.left(), r.top(), r.width(), r.height(), float(score), "hog")
        for r, score in zip(rectangles, scores, strict=True)
    ]


def _cnn(image: RgbImage) -> list[FaceBox]:
    boxes = []
    for found in _cnn_detector()(image, 0):
        r = found.rect
        x, y, width, height = CNN_BOX.to_hog(r.left(), r.top(), r.width(), r.height())
        boxes.append(FaceBox(x, y, width, height, float(found.confidence), "cnn"))
    return boxes


def _yunet(image: RgbImage) -> list[FaceBox]:
    detector = _yunet_detector()
    detector.setInputSize((image.shape[1], image.shape[0]))
    _, found = detector.detect(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
    boxes = []
    for row in found if found is not None else []:
        points = row[4:14].reshape(5, 2)  # eyes, tip of the nose, corners of the mouth
        down = points[3:].mean(axis=0) - points[:2].mean(axis=0)
        roll_rad = math.atan2(-down[0], down[1])
        drawn = (float(row[0]), float(row[1]), float(row[2]), float(row[3]))
        x, y, width, height = YUNET_BOX.to_hog(*drawn, roll_rad)
        boxes.append(FaceBox(x, y, width, height, float(row[-1]), "yunet", roll_rad))
    return boxes


@lru_cache(maxsize=1)
def hog_detector() -> Any:
    """The detector of upright faces that look ahead, 80 px wide or more."""
    return dlib.get_frontal_face_detector()


@lru_cache(maxsize=1)
def _cnn_detector() -> Any:
    return dlib.cnn_face_detection_model_v1(str(find_model("dlib")["mmod_human_face_detector.dat"]))


@lru_cache(maxsize=1)
def _yunet_detector() -> Any:
    path = find_model("yunet")["yunet_n_dynamic.onnx"]
    logging = cv2.utils.logging
    before = logging.setLogLevel(logging.LOG_LEVEL_ERROR)  # it warns of a target no one asked for
    try:
        return cv2.FaceDetectorYN.create(str(path), "", (320, 320), score_threshold=0.6)
    finally:
        logging.setLogLevel(before)
