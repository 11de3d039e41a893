"""How far are jaw and inner landmarks off on rendered faces, whose geometry is known?

    python benchmarks/rendered_faces.py FACESYNTHETICS [--model prnet-resnet18] [--weights FILE]

FOLDER holds rendered photos with true points (as for `box_convention.py`). Other annotations mean
other places by the 68 landmarks, so a constant offset of each in the head's frame (left and right
alike) is fitted to all faces and taken out; the errors before it are printed, too (mean, percent of
sqrt(w h) of the true points' box, by the yaw that the map has). Faces that are off by more than
`--not-understood` percent on average are counted and left out.
"""

from __future__ import annotations

import argparse
import json
import sys
from itertools import pairwise
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.box_convention import photos_with_truth
from face3d_cli.arrays import FloatArray
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import JAW, MIRRORED, NUM_LANDMARKS, bounding_box
from face3d_cli.evaluation.landmarks import annotated_face
from face3d_cli.settings import DetectionSettings, PositionMapSettings
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.position_map import predict_position_maps

YAW_EDGES_DEG = (0.0, 15.0, 30.0, 60.0, 100.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=PositionMapSettings.model)
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--not-understood", type=float, default=12.0)
    asked = parser.parse_args()
    settings = PositionMapSettings(
        model=asked.model, weights=None if asked.weights is None else str(asked.weights)
    )
    away, views = [], []  # in sides of the true points' box, y up
    missed = 0
    for _, image, truth in photos_with_truth(asked.folder, (0,)):
        left, top, width, height = bounding_box(truth)
        found = detect_faces(image, DetectionSettings(detector="yunet"))
        box = annotated_face(found, FaceBox(left, top, width, height))
        if box is None:
            missed += 1
            continue
        (face,) = predict_position_maps(image, [box], settings)
        side = np.sqrt(width * height)
        away.append((truth - face.landmarks_px) * (1, -1) / side)
        pose = face.camera_from_mean
        views.append(pose.scale / side * pose.rotation)
    errors, turns = np.array(away), np.array(views)
    size = np.linalg.norm(errors, axis=2)
    understood = 100 * size.mean(axis=1) < asked.not_understood
    offsets = fitted_offsets(errors[understood], turns[understood])
    left_over = errors - np.einsum("nij,kj->nki", turns[:, :2], offsets)
    yaws = np.abs(np.degrees(np.arctan2(turns[:, 0, 2], turns[:, 2, 2])))
    print(json.dumps({"not_found": missed, "not_understood": int((~understood).sum())}))
    for low, high in (*pairwise(YAW_EDGES_DEG), (YAW_EDGES_DEG[0], YAW_EDGES_DEG[-1])):
        rows = understood & (yaws >= low) & (yaws < high)
        line: dict[str, object] = {"yaw_deg": f"{low:.0f}-{high:.0f}", "faces": int(rows.sum())}
        for name, each in (("", left_over), ("_with_offsets", errors)):
            percent = 100 * np.linalg.norm(each[rows], axis=2)
            line[f"jaw{name}"] = round(float(percent[:, JAW].mean()), 2)
            line[f"inner{name}"] = round(float(percent[:, JAW.stop :].mean()), 2)
        print(json.dumps(line))


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
