"""How other detectors' boxes differ from HOG's, and what making up for it gains in landmarks.

    python benchmarks/box_convention.py --boxes PHOTOS... --truth FOLDER... [--measure AFLW2000]

PHOTOS show one face each (CelebAMask-HQ's training photos). FOLDERs hold photos with true points:
NAME_ldmks.txt (FaceSynthetics) or NAME.mat with pt2d (300W-LP). The conventions and every setting
come from these alone; AFLW2000-3D is only measured, against dlib used plainly.
Prints JSON; errors are NME in percent of sqrt(w h) of the true points' box.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import cv2
import dlib
import numpy as np
from scipy.io import loadmat

from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import bounding_box, normalised_mean_error
from face3d_cli.evaluation.landmarks import annotated_face, evaluate_landmarks
from face3d_cli.io.image import read_photo
from face3d_cli.settings import (
    DetectionSettings,
    LandmarkBoxSettings,
    LandmarkSettings,
    ReconstructSettings,
)
from face3d_cli.stages import detection
from face3d_cli.stages.detection import BoxConvention
from face3d_cli.stages.landmarks import _predictor, predict_landmarks

SETTINGS = DetectionSettings()
AS_IT_IS = BoxConvention(down=0.0, grow=1.0)
TURNS_DEG = (0, 40)  # photos with true points are seen upright, and turned so that HOG loses most
Detector = Callable[[np.ndarray], list[FaceBox]]
CONVENTIONS = {"cnn": detection.CNN_BOX, "yunet": detection.YUNET_BOX}


def raw_boxes(name: str, image: np.ndarray) -> list[FaceBox]:
    """Boxes as the detector draws them (squared), at the size that the product searches first."""
    hog = partial(detection._hog, min_score=0.0)
    search = {"hog": hog, "cnn": detection._cnn, "yunet": detection._yunet}[name]
    side_px = min(SETTINGS.search_long_side_px, max(image.shape[:2]))
    found = detection._search_at(search, image, side_px)
    return [undone(box, CONVENTIONS[name]) for box in found] if name in CONVENTIONS else found


def undone(box: FaceBox, convention: BoxConvention) -> FaceBox:
    """The square box that the convention turned into this one."""
    side = box.width / convention.grow
    down = convention.down * side
    x = box.center[0] + np.sin(box.roll_rad) * down - side / 2
    y = box.center[1] - np.cos(box.roll_rad) * down - side / 2
    return replace(box, x=x, y=y, width=side, height=side)


def adapted(box: FaceBox, convention: BoxConvention) -> FaceBox:
    x, y, width, height = convention.to_hog(box.x, box.y, box.width, box.height, box.roll_rad)
    return replace(box, x=x, y=y, width=width, height=height)


def measured_convention(name: str, images: list[np.ndarray]) -> dict[str, float | int]:
    """Medians of shift and size over the photos in which both detectors see the same face."""
    rows = []
    for image in images:
        hog = raw_boxes("hog", image)
        for box in raw_boxes(name, image):
            partner = max(hog, key=box.overlap, default=None)
            if partner is not None and box.overlap(partner) > 0.3:
                shift = np.subtract(partner.center, box.center) / box.width
                rows.append((*shift, partner.width / box.width))
    right, down, grow = np.median(rows, axis=0)
    spread = np.percentile(rows, 75, axis=0) - np.percentile(rows, 25, axis=0)
    return {
        "faces": len(rows),
        "right": round(float(right), 3),
        "down": round(float(down), 3),
        "grow": round(float(grow), 3),
        "down_quartile_range": round(float(spread[1]), 3),
        "grow_quartile_range": round(float(spread[2]), 3),
    }


def photos_with_truth(
    folder: Path, turns_deg: Sequence[int] = TURNS_DEG
) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Turn, photo and (68, 2) points of FaceSynthetics or 300W-LP."""
    for path in sorted([*folder.glob("*.jpg"), *folder.glob("*.png")]):
        text, matlab = path.with_name(f"{path.stem}_ldmks.txt"), path.with_suffix(".mat")
        if text.is_file():
            points = np.loadtxt(text)[:68]
        elif matlab.is_file() and "pt2d" in (content := loadmat(matlab)):
            points = np.asarray(content["pt2d"], float).T
        else:
            continue
        image = read_photo(path)
        for turn_deg in turns_deg:
            height, width = image.shape[:2]
            turn = cv2.getRotationMatrix2D((width / 2, height / 2), turn_deg, 0.9)
            turned = cv2.warpAffine(image, turn, (width, height)) if turn_deg else image
            there = points @ turn[:, :2].T + turn[:, 2] if turn_deg else points
            yield turn_deg, turned, there


def plain_points(image: np.ndarray, box: FaceBox) -> np.ndarray:
    """What dlib's predictor gives for this box, nothing else done."""
    corners = (box.x, box.y, box.x + box.width, box.y + box.height)
    rectangle = dlib.rectangle(*(round(corner) for corner in corners))
    found = _predictor()(image, rectangle).parts()
    return np.array([(point.x, point.y) for point in found], float)


def landmark_gains(folders: list[Path], name: str) -> dict[str, dict[str, object]]:
    """NME for each way to make a box from the detector's, on the same faces."""
    once = LandmarkSettings(shifts=((0.0, 0.0),))
    as_given = replace(once, box=LandmarkBoxSettings(roll_deg=()))
    rows: dict[str, list[dict[str, float]]] = {f"turned by {turn}": [] for turn in TURNS_DEG}
    rows["where HOG finds nothing"] = []
    for turn_deg, image, truth in (
        each for folder in folders for each in photos_with_truth(folder)
    ):
        place = FaceBox(*bounding_box(truth))
        box = annotated_face(raw_boxes(name, image), place)
        if box is None:
            continue
        like_hog = adapted(box, CONVENTIONS[name])
        points = {
            "raw box, plain dlib": plain_points(image, box),
            "adapted box, plain dlib": plain_points(image, like_hog),
            "raw box, upright": predict_landmarks(image, box, as_given),
            "adapted box, upright": predict_landmarks(image, like_hog, as_given),
            "second look, upright": predict_landmarks(image, like_hog, once),
            "second look, upright, median": predict_landmarks(image, like_hog),
        }
        errors = {way: 100 * normalised_mean_error(each, truth) for way, each in points.items()}
        rows[f"turned by {turn_deg}"].append(errors)
        if annotated_face(raw_boxes("hog", image), place) is None:
            rows["where HOG finds nothing"].append(errors)
    return {group: averages(errors) for group, errors in rows.items()}


def averages(errors: list[dict[str, float]]) -> dict[str, object]:
    """Number of faces, then median and mean of each way."""
    figures: dict[str, object] = {"faces": len(errors)}
    for way in errors[0] if errors else ():
        each = [row[way] for row in errors]
        figures[way] = {
            "median": round(float(np.median(each)), 3),
            "mean": round(float(np.mean(each)), 3),
        }
    return figures


def measure(folder: Path) -> dict[str, object]:
    """AFLW2000-3D: dlib used plainly, and ours, in one run."""

    def plain_detect(image: np.ndarray) -> list[FaceBox]:
        return raw_boxes("hog", image) or raw_boxes("cnn", image)

    def adapted_detect(image: np.ndarray) -> list[FaceBox]:
        return raw_boxes("hog", image) or [
            adapted(box, detection.CNN_BOX) for box in raw_boxes("cnn", image)
        ]

    once = LandmarkSettings(shifts=((0.0, 0.0),))
    as_given = replace(once, box=LandmarkBoxSettings(roll_deg=()))
    ways: dict[str, dict[str, object]] = {
        "dlib alone": {"detect": plain_detect, "predict": plain_points},
        "adapted box, plain dlib": {"detect": adapted_detect, "predict": plain_points},
        "adapted box, upright": {
            "detect": adapted_detect,
            "settings": ReconstructSettings(landmarks=as_given),
        },
        "second look, upright": {"settings": ReconstructSettings(landmarks=once)},
        "ours": {},
    }
    keys = ("nme_by_yaw", "photos_by_yaw", "nme_balanced", "missed")
    found = {way: evaluate_landmarks(folder, **options) for way, options in ways.items()}
    return {way: {key: report[key] for key in keys} for way, report in found.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--boxes", nargs="*", type=Path, default=[])
    parser.add_argument("--truth", nargs="*", type=Path, default=[])
    parser.add_argument("--measure", type=Path)
    parser.add_argument("--detectors", nargs="+", default=["cnn", "yunet"], choices=CONVENTIONS)
    asked = parser.parse_args()
    figures: dict[str, object] = {}
    if asked.boxes:
        images = [read_photo(path) for path in asked.boxes]
        figures["conventions"] = {
            name: measured_convention(name, images) for name in asked.detectors
        }
    if asked.truth:
        figures["landmarks"] = {name: landmark_gains(asked.truth, name) for name in asked.detectors}
    if asked.measure:
        figures["AFLW2000-3D"] = measure(asked.measure)
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
