"""How far are jaw and inner landmarks off on rendered faces, whose geometry is known?

    python benchmarks/rendered_faces.py FACESYNTHETICS [--model prnet-resnet18] [--weights FILE]
        [--behind plain|clutter]
    python benchmarks/rendered_faces.py FACESYNTHETICS --labels labels.npz [--heads heads.npz]
        --samples SAMPLES [--set NAME=VALUE ...]

FACESYNTHETICS holds rendered photos with true points (`NAME_ldmks.txt`). Measured is the network,
or, with `--labels` (`label_with_mediapipe.py FACESYNTHETICS . -o labels.npz`; `--heads` as well,
where the samples had them), the fit behind the training samples, up to 40 degrees of yaw (`--to`);
`--set` changes its settings. Other annotations mean
other places by the 68 landmarks, so a constant offset of each in the head's frame (left and right
alike) is fitted to all faces and taken out. Printed by yaw, in percent of sqrt(w h) of the true
points' box (means): with the offsets still in, without them, and when each face may besides be
turned, scaled and shifted onto the truth: what is left is its shape. Faces that are off by more
than `--not-understood` percent on average are counted and left out. `--behind` puts something else
behind the people: plain colours, or parts of what surrounds the other faces (`NAME_seg.png` tells
where; always the same for a photo).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from scipy.optimize import least_squares
from scipy.spatial.transform import Rotation

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.box_convention import photos_with_truth
from face3d_cli.arrays import FloatArray, Points2, Points3, RgbImage
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import JAW, MIRRORED, NUM_LANDMARKS, bounding_box
from face3d_cli.core.position_map import landmarks_of
from face3d_cli.evaluation.landmarks import annotated_face
from face3d_cli.io.image import read_photo
from face3d_cli.io.segmentation_data import find_labelled_photos
from face3d_cli.settings import (
    DetectionSettings,
    LabelFitSettings,
    PositionMapSettings,
    SynthSettings,
)
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.position_map import predict_position_maps
from face3d_cli.training.augment import clutter, filler
from face3d_cli.training.synth.backgrounds import surroundings_of_faces
from face3d_cli.training.synth.fit import fit_face, yaw_of_points_deg
from face3d_cli.training.synth.folder import (
    Heads,
    LabelledPoints,
    read_correspondence,
    read_heads,
    read_labels,
)
from face3d_cli.training.synth.sample import MAP_PX
from face3d_cli.training.synth.surface import face_surface

YAW_EDGES_DEG = (0.0, 15.0, 30.0, 60.0, 100.0)
LABELS_TO_DEG = 40.0  # the teacher is not asked beyond
FAR = 0.05  # sides of the box from which on a landmark counts less in the turn onto the truth


@dataclass(frozen=True)
class Face:
    """Landmarks of one photo: (68, 2) true and (68, 3) found, pixels, y up, z nearer.

    `view` (3, 3) turns the head's frame (cm) to the camera's and scales it, in sides of the box.
    """

    truth: Points2
    found: Points3
    view: FloatArray
    side_px: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=PositionMapSettings.model)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--behind", choices=("plain", "clutter"))
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--heads", type=Path)
    parser.add_argument("--samples", type=Path, help="made by face3d synth; for --labels")
    parser.add_argument("--from", type=float, default=0.0, dest="low", metavar="YAW_DEG")
    parser.add_argument("--to", type=float, default=LABELS_TO_DEG, dest="high", metavar="YAW_DEG")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    parser.add_argument("--not-understood", type=float, default=12.0)
    asked = parser.parse_args()
    if asked.behind and asked.labels:
        parser.error("--behind changes what the network sees; the labels were made before")
    if asked.labels is None:
        weights = None if asked.weights is None else str(asked.weights)
        settings = PositionMapSettings(asked.model, weights)
        faces = list(seen_faces(asked.folder, settings, asked.behind))
    else:
        changed = {name: float(value) for name, value in (each.split("=") for each in asked.set)}
        fit = changed_fit(LabelFitSettings(), changed)
        heads = {} if asked.heads is None else read_heads(asked.heads)
        faces = [
            face
            for yaw_deg, face in fitted_faces(
                asked.folder, read_labels(asked.labels), heads, asked.samples, fit
            )
            if asked.low <= yaw_deg <= asked.high
        ]
    report(faces, asked.not_understood)


def changed_fit(usual: LabelFitSettings, changed: dict[str, float]) -> LabelFitSettings:
    """Settings of the labels' fit, or of the linear fit in it, by their names."""
    own = {name: changed.pop(name) for name in list(changed) if hasattr(usual, name)}
    return replace(usual, **own, linear=replace(usual.linear, **changed))


def seen_faces(
    folder: Path, settings: PositionMapSettings, behind: str | None = None
) -> Iterator[Face]:
    """What the network sees in the faces that YuNet finds."""
    if behind is None:
        photos = ((image, truth) for _, image, truth in photos_with_truth(folder, (0,)))
    else:
        photos = with_backgrounds(folder, behind)
    for image, truth in photos:
        found = detect_faces(image, DetectionSettings(detector="yunet"))
        box = annotated_face(found, FaceBox(*bounding_box(truth)))
        if box is not None:
            (face,) = predict_position_maps(image, [box], settings)
            pose = face.camera_from_mean
            yield face_of(truth, face.landmarks, pose.scale * pose.rotation)


def with_backgrounds(folder: Path, behind: str) -> Iterator[tuple[RgbImage, Points2]]:
    """Photos and (68, 2) true points; behind the people is something else."""
    found = list(photos_with_truth(folder, (0,)))
    faces = ((image, truth) for _, image, truth in found)
    pictures = surroundings_of_faces(faces, SynthSettings()) if behind == "clutter" else []
    labelled = find_labelled_photos(folder, "train")
    for row, ((_, image, truth), with_labels) in enumerate(zip(found, labelled, strict=True)):
        rng = np.random.default_rng(row)
        size = max(image.shape[:2])
        other = clutter(pictures, size, rng) if pictures else filler([], size, rng)
        is_behind = (with_labels.read()[1] == 0).astype(np.float32)
        alpha = cv2.GaussianBlur(is_behind, (0, 0), 1.0)[..., None]
        other = other[: image.shape[0], : image.shape[1]]
        yield np.asarray(image * (1 - alpha) + other * alpha, np.uint8), truth


def fitted_faces(
    folder: Path, labels: LabelledPoints, heads: Heads, samples: Path, settings: LabelFitSettings
) -> Iterator[tuple[float, Face]]:
    """Rough yaw, and the face that the fit behind the training samples puts there."""
    surface, pairs = face_surface(MAP_PX), read_correspondence(samples)
    for name, points in zip(labels.names, labels.points, strict=True):
        path = folder / name
        text = path.with_name(f"{path.stem}_ldmks.txt")
        if not text.is_file():
            continue
        fit = fit_face(surface, read_photo(path), points, pairs, settings, heads.get(name))
        moved = np.tensordot(fit.coefficients, surface.map_basis_cm, axes=1)
        placed = fit.place((surface.map_mean_cm + moved).reshape(-1, 3))
        found = landmarks_of(placed.reshape(surface.map_mean_cm.shape).astype(np.float32))
        face = face_of(np.loadtxt(text)[:68], found, fit.scale_px_per_cm * fit.rotation)
        yield abs(float(yaw_of_points_deg(points))), face


def face_of(truth_px: Points2, found_px: Points3, view_px: FloatArray) -> Face:
    _, _, width, height = bounding_box(truth_px)
    side = float(np.sqrt(width * height))
    return Face(truth_px * (1, -1), found_px * (1, -1, 1), view_px / side, side)


def report(faces: list[Face], not_understood: float) -> None:
    """Print one line for each range of yaw."""
    away = np.array([(face.truth - face.found[:, :2]) / face.side_px for face in faces])
    views = np.array([face.view for face in faces])
    understood = 100 * np.linalg.norm(away, axis=2).mean(axis=1) < not_understood
    offsets = fitted_offsets(away[understood], views[understood])
    mended = [
        replace(face, found=face.found + face.side_px * offsets @ face.view.T) for face in faces
    ]
    errors = {
        "with_offsets": away,
        "": np.array([(face.truth - face.found[:, :2]) / face.side_px for face in mended]),
        "turned": np.array([left_when_turned(face) for face in mended]),
    }
    yaws = np.abs(np.degrees(np.arctan2(views[:, 0, 2], views[:, 2, 2])))
    print(json.dumps({"faces": len(faces), "not_understood": int((~understood).sum())}))
    for low, high in (*pairwise(YAW_EDGES_DEG), (YAW_EDGES_DEG[0], YAW_EDGES_DEG[-1])):
        rows = understood & (yaws >= low) & (yaws < high)
        if not rows.any():
            continue
        line: dict[str, object] = {"yaw_deg": f"{low:.0f}-{high:.0f}", "faces": int(rows.sum())}
        for name, each in errors.items():
            percent = 100 * np.linalg.norm(each[rows], axis=2)
            for part, where in (("jaw", JAW), ("inner", slice(JAW.stop, None))):
                line["_".join(filter(None, (part, name)))] = round(
                    float(percent[:, where].mean()), 2
                )
        print(json.dumps(line))


def left_when_turned(face: Face) -> FloatArray:
    """(68, 2) what misses the truth in sides of the box, at the best turn, scale and shift."""
    middle = face.found.mean(axis=0)
    points = (face.found - middle) / face.side_px
    wanted = (face.truth - middle[:2]) / face.side_px

    def misses(pose: FloatArray) -> FloatArray:
        turned = np.exp(pose[3]) * Rotation.from_rotvec(pose[:3]).apply(points)
        return np.asarray(wanted - turned[:, :2] - pose[4:])

    best = least_squares(
        lambda pose: misses(pose).ravel(), np.zeros(6), loss="soft_l1", f_scale=FAR
    )
    return misses(best.x)


def fitted_offsets(errors: FloatArray, turns: FloatArray) -> FloatArray:
    """(68, 3) offsets in the head's frame that explain (N, 68, 2) errors seen by (N, 3, 3) views.

    A landmark and its mirror image have mirrored offsets: both give equations for either.
    """
    flip = np.array([-1.0, 1.0, 1.0])
    seen = turns[:, :2].reshape(-1, 3)
    rows = np.concatenate([seen, seen * flip])
    offsets = np.empty((NUM_LANDMARKS, 3))
    for index in range(NUM_LANDMARKS):
        wanted = [errors[:, index].ravel(), errors[:, MIRRORED[index]].ravel()]
        offsets[index] = np.linalg.lstsq(rows, np.concatenate(wanted), rcond=None)[0]
    return offsets


if __name__ == "__main__":
    main()
