"""How far do the 68 landmarks lie from the vertices that a model names for them?

    python benchmarks/landmark_offsets.py PHOTOS_DIR... [--model surrey|ict] [--every N]

Photos show one adult face each, near the front (used: SCUT-FBP5500 and CelebA-HQ's training part,
every sixth; the models are of adults, so what is different in children would pass for a difference
of definition). Each is fitted with the shape held at the mean, and what remains at a landmark,
averaged over people and over left and right, is such a difference: eos's table (`ibug_to_sfm.txt`)
names the nearest good vertex, and ICT-FaceKit's README follows Multi-PIE. Prints JSON, and the
table of `stages/surrey_points.py` or `stages/ict_points.py`.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.landmarks68 import JAW, MIRRORED, NUM_LANDMARKS
from face3d_cli.io.image import read_photo
from face3d_cli.settings import DetectionSettings, LinearFitSettings, MorphableSettings
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.linear_fit import FacePoints, fit_linear_face
from face3d_cli.stages.morphable import fit_surrey

SURE, MAX_TURN_DEG = 0.5, 15.0


@dataclass(frozen=True)
class Seen:
    """dlib's (68, 2) landmarks in a photo of that height and width."""

    landmarks_px: np.ndarray
    shape: tuple[int, int]


def seen(path: Path) -> Seen | None:
    """What a photo shows; None where HOG is not sure of a face."""
    image = read_photo(path)
    boxes = detect_faces(image, DetectionSettings(detector="hog"))
    if not boxes or (boxes[0].score or 0.0) < SURE:
        return None
    return Seen(predict_landmarks(image, boxes[0]), image.shape[:2])


Held = tuple[ScaledOrthographicCamera, np.ndarray]  # and (68, 3) vertices of the landmarks, mm


def surrey_held(photo: Seen, offsets_mm: np.ndarray) -> Held:
    """The mean face with some expression; eos knows of no offsets."""
    held = MorphableSettings(shape_regularisation=0.5, landmark_offsets=False)
    fit = fit_surrey(photo.landmarks_px, photo.shape, held)
    return fit.camera, fit.landmarks_mm


def ict_held(photo: Seen, offsets_mm: np.ndarray) -> Held:
    """The mean face with some expression, fitted with offsets known so far."""
    model = replace(IctModel.load().linear_mm, landmark_offsets_mm=offsets_mm)
    fit = fit_linear_face(
        model, [FacePoints(photo.landmarks_px)], LinearFitSettings(shape_spread=0.01)
    )
    (face,) = fit.photos
    return face.camera, model.vertices_mm(fit.shape, face.expression)[face.landmark_vertices]


MODELS = {"surrey": (surrey_held, 1), "ict": (ict_held, 9)}  # and rounds


def residuals_mm(photo: Seen, held: Held) -> np.ndarray | None:
    """(68, 2) to the subject's left and up; None where the face is turned."""
    camera, landmarks_mm = held
    if camera.rotation[2, 2] < np.cos(np.radians(MAX_TURN_DEG)):
        return None
    away = (photo.landmarks_px - camera.project(landmarks_mm)) * (1, -1)
    away = np.column_stack([away / camera.scale_px_per_unit, np.zeros(NUM_LANDMARKS)])
    return (away @ camera.rotation)[:, :2]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--model", choices=sorted(MODELS), default="surrey")
    parser.add_argument("--every", type=int, default=20, help="only every N-th photo")
    asked = parser.parse_args()
    photos = [p for folder in asked.folders for p in sorted(folder.glob("*.jpg"))[:: asked.every]]
    found = [each for path in photos if (each := seen(path)) is not None]
    held, rounds = MODELS[asked.model]
    inner = slice(JAW.stop, None)
    offsets_mm = np.zeros((NUM_LANDMARKS, 3))
    for _ in range(rounds):  # a camera fitted without the offsets hides some of them
        each = (residuals_mm(photo, held(photo, offsets_mm)) for photo in found)
        rows = np.array([row for row in each if row is not None])
        mean = rows.mean(axis=0)
        symmetric = (mean + mean[list(MIRRORED)] * (-1, 1)) / 2
        offsets_mm[inner, :2] = symmetric[inner]
    figures = {
        "photos": len(rows),
        "mean_residual_mm": round(float(np.linalg.norm(rows[:, inner], axis=2).mean()), 2),
        "of_it_the_same_in_all_photos_mm": round(
            float(np.linalg.norm(symmetric[inner], axis=1).mean()), 2
        ),
        "standard_error_mm": round(float((rows.std(axis=0) / np.sqrt(len(rows))).max()), 2),
    }
    print(json.dumps(figures))
    for index in range(JAW.stop, NUM_LANDMARKS):
        if index <= MIRRORED[index]:
            print(f"    {index}: ({symmetric[index, 0]:.1f}, {symmetric[index, 1]:.1f}),")


if __name__ == "__main__":
    main()
