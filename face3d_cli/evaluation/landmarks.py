"""How far are the 68 landmarks from AFLW2000-3D's? NME by yaw, and the share of missed faces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.io import loadmat

from face3d_cli.arrays import Points2, RgbImage
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import JAW, NUM_LANDMARKS, bounding_box, normalised_errors
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.image import read_photo
from face3d_cli.settings import ReconstructSettings
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.position_map import predict_position_maps

PARTS = {"nme": slice(None), "nme_jaw": JAW, "nme_inner": slice(JAW.stop, None)}
YAW_BINS_DEG = {"0-30": (0.0, 30.0), "30-60": (30.0, 60.0), "60-90": (60.0, 90.0)}

Detect = Callable[[RgbImage], list[FaceBox]]
Predict = Callable[[RgbImage, FaceBox], Points2]


@dataclass(frozen=True)
class AnnotatedPhoto:
    """A photo of AFLW2000-3D with its ground truth.

    Attributes:
        landmarks_px: (68, 2) the x and y of `pt3d_68`.
        yaw_deg: how far the head is turned, without its sign.
    """

    path: Path
    landmarks_px: Points2
    yaw_deg: float

    @property
    def box(self) -> FaceBox:
        """The box of the true landmarks."""
        return FaceBox(*bounding_box(self.landmarks_px), detector="landmarks")


def find_annotated_photos(folder: Path) -> list[AnnotatedPhoto]:
    """The photos of a folder laid out like AFLW2000-3D: NAME.jpg with NAME.mat beside it.

    Raises:
        UnreadableInput: there is none, or an annotation is damaged.
    """
    photos = [
        read_annotation(path)
        for path in sorted(folder.glob("*.jpg"))
        if path.with_suffix(".mat").is_file()
    ]
    if not photos:
        raise UnreadableInput(
            f"no NAME.jpg with a NAME.mat beside it in {folder}",
            hint="give the folder of AFLW2000-3D's photos",
        )
    return photos


def read_annotation(photo: Path) -> AnnotatedPhoto:
    """Read `pt3d_68` and the yaw of `Pose_Para` (radians: pitch, yaw, roll, ...).

    Raises:
        UnreadableInput: not a MATLAB file, or these are not in it.
    """
    path = photo.with_suffix(".mat")
    try:
        content = loadmat(path)
        points = np.asarray(content["pt3d_68"], np.float64)[:2].T
        yaw_deg = abs(float(np.degrees(content["Pose_Para"][0][1])))
    except Exception as problem:  # damaged MATLAB files raise errors of many kinds
        raise UnreadableInput(
            f"{path} does not hold pt3d_68 and Pose_Para ({problem})"
        ) from problem
    if points.shape != (NUM_LANDMARKS, 2) or not np.isfinite(points).all():
        raise UnreadableInput(f"{path}: expected 68 points, found {points.shape}")
    return AnnotatedPhoto(photo, points, yaw_deg)


def evaluate_landmarks(
    folder: Path,
    settings: ReconstructSettings = ReconstructSettings(),
    *,
    detect: Detect | None = None,
    predict: Predict | None = None,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Find the annotated face of every photo, predict its landmarks, compare.

    Args:
        folder: laid out like AFLW2000-3D.
        settings: how faces are found and landmarks predicted.
        detect: another way to find faces, to compare with.
        predict: another way to predict landmarks, to compare with.
        on_photo: called after every photo.

    Returns:
        `nme_by_yaw` (mean NME in percent by absolute yaw in degrees), `nme_jaw_by_yaw` and
        `nme_inner_by_yaw` (of the jaw's points and of the others), `photos_by_yaw` (how many
        faces were found there), `nme_balanced` (mean of the three; None where one is empty),
        `missed` (share of photos without a face inside the true box; they are in no mean) and
        `per_file`, whose `nme` is None where missed.

    Raises:
        UnreadableInput: not such a folder, or a damaged file.
        ModelError: a model is missing.
    """
    detect = detect or (lambda image: detect_faces(image, settings.detection))
    predict = predict or predictor_of(settings)
    photos = find_annotated_photos(folder)
    rows: list[dict[str, Any]] = []
    for done, photo in enumerate(photos, start=1):
        image = read_photo(photo.path, settings.image)
        box = annotated_face(detect(image), photo.box)
        nme: dict[str, float | None] = dict.fromkeys(PARTS)
        if box is not None:
            errors = 100 * normalised_errors(predict(image, box), photo.landmarks_px)
            nme = {name: float(errors[part].mean()) for name, part in PARTS.items()}
        rows.append(
            {
                "photo": photo.path.name,
                "yaw_deg": photo.yaw_deg,
                "detector": box.detector if box else None,
                **nme,
            }
        )
        on_photo(done, len(photos))
    return summary(rows)


def predictor_of(settings: ReconstructSettings) -> Predict:
    """Dlib's 68-point predictor, or with the method prnet the position map network."""
    if settings.method == "prnet":
        return lambda image, box: (
            predict_position_maps(image, [box], settings.position_map)[0].landmarks_px
        )
    return lambda image, box: predict_landmarks(image, box, settings.landmarks)


def annotated_face(found: list[FaceBox], truth: FaceBox) -> FaceBox | None:
    """Of the boxes whose centre lies in the true one, the one that shares most of it."""
    inside = [
        box
        for box in found
        if truth.x <= box.center[0] <= truth.x + truth.width
        and truth.y <= box.center[1] <= truth.y + truth.height
    ]
    return max(inside, key=truth.overlap, default=None)


def summary(per_file: list[dict[str, Any]]) -> dict[str, Any]:
    """The totals over the photos; those turned by 90 degrees or more are in no bin."""
    by_yaw = {
        name: [row for row in per_file if row["nme"] is not None and low <= row["yaw_deg"] < high]
        for name, (low, high) in YAW_BINS_DEG.items()
    }
    means = {
        part: {
            name: float(np.mean([row[part] for row in rows])) if rows else None
            for name, rows in by_yaw.items()
        }
        for part in PARTS
    }
    known = [mean for mean in means["nme"].values() if mean is not None]
    return {
        "photos": len(per_file),
        **{f"{part}_by_yaw": values for part, values in means.items()},
        "photos_by_yaw": {name: len(rows) for name, rows in by_yaw.items()},
        "nme_balanced": float(np.mean(known)) if len(known) == len(by_yaw) else None,
        "missed": sum(row["nme"] is None for row in per_file) / len(per_file),
        "per_file": per_file,
    }
