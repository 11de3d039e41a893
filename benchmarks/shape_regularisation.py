"""Which weight of the shape coefficients comes nearest to known faces, those of ICT-FaceKit?

    face3d models pull ict-facekit
    python benchmarks/shape_regularisation.py --truth FACESYNTHETICS [--faces 24]

Random ICT faces are turned a little and projected; errors that our landmarks make in photos of
FaceSynthetics (its own mean taken out) are added to their 68 points; the Surrey model is fitted,
and the ICT face measured against it as a scan is. No real scan is looked at.
Prints a line for each weight: median of medians and mean of means in millimetres.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from face3d_cli.core.closest_point import Surface
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import bounding_box, normalised_mean_error, roll_rad
from face3d_cli.core.similarity import fit_similarity
from face3d_cli.evaluation.landmarks import annotated_face
from face3d_cli.evaluation.scans import MEASURED_RADIUS_MM, NOSE_BASE, SEVEN, refine_by_icp
from face3d_cli.io.image import read_photo
from face3d_cli.settings import DetectionSettings, MorphableSettings
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.morphable import fit_surrey

WEIGHTS = (0.00012, 0.0008, 0.004, 0.02, 0.12)
NUM_FACE_VERTICES = 9409  # face, ears and the front of the neck
NOISE = 0.7  # of FaceSynthetics' errors: its photos are darker and more turned than most
# ICT-FaceKit's own list (upstream README): the vertices of the Multi-PIE 68 points.
LANDMARK_VERTICES = """
1225 1888 1052 367 1719 1722 2199 1447 966 3661 4390 3927 3924 2608 3272 4088 3443 268 493 1914
2044 1401 3615 4240 4114 2734 2509 978 4527 4942 4857 1140 2075 1147 4269 3360 1507 1542 1537 1528
1518 1511 3742 3751 3756 3721 3725 3732 5708 5695 2081 0 4275 6200 6213 6346 6461 5518 5957 5841
5702 5711 5533 6216 6207 6470 5517 5966"""
AT = np.array(LANDMARK_VERTICES.split(), int)
FACE_PX = 500  # sqrt(w h) of the points' box


def identities() -> tuple[np.ndarray, np.ndarray]:
    """(V, 3) neutral face and (100, V, 3) identity shapes, millimetres."""
    model = IctModel.load()
    return (
        10.0 * model.neutral_cm[:NUM_FACE_VERTICES].astype(float),
        10.0 * model.identity_cm[:, :NUM_FACE_VERTICES].astype(float),
    )


def landmark_errors(folder: Path) -> np.ndarray:
    """(N, 68, 2) errors over sqrt(w h), turned upright, where HOG is sure and points are near."""
    errors = []
    for path in sorted(folder.glob("*_ldmks.txt")):
        truth = np.loadtxt(path)[:68]
        image = read_photo(path.with_name(path.name.replace("_ldmks.txt", ".jpg")))
        found = [
            box
            for box in detect_faces(image, DetectionSettings(detector="hog"))
            if (box.score or 0.0) > 0.5
        ]
        box = annotated_face(found, FaceBox(*bounding_box(truth)))
        if box is None:
            continue
        points = predict_landmarks(image, box)
        if normalised_mean_error(points, truth) < 0.06:
            turn = Rotation.from_euler("z", -roll_rad(truth)).as_matrix()[:2, :2]
            errors.append((points - truth) @ turn.T / _size(truth))
    return np.array(errors) - np.mean(errors, axis=0)


def _size(points: np.ndarray) -> float:
    _, _, width, height = bounding_box(points)
    return float(np.sqrt(width * height))


def distances_mm(vertices: np.ndarray, points: np.ndarray, weight: float) -> np.ndarray:
    """Every twentieth vertex near the nose base, to the aligned fit."""
    settings = replace(MorphableSettings(), shape_regularisation=weight)
    fit = fit_surrey(points, (2 * FACE_PX, 2 * FACE_PX), settings)
    seven = vertices[AT[list(SEVEN)]]
    near = np.linalg.norm(vertices - seven[NOSE_BASE], axis=1) <= MEASURED_RADIUS_MM
    surface = Surface(fit.vertices_mm, fit.triangles)
    start = fit_similarity(fit.landmarks_mm[list(SEVEN)], seven)
    some = vertices[near][::20]
    aligned = refine_by_icp(start, surface, some)
    return surface.closest(aligned.undo(some))[1] * aligned.scale


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=24)
    asked = parser.parse_args()
    neutral, shapes = identities()
    errors = landmark_errors(asked.truth)
    rng = np.random.default_rng(0)
    people = []
    for _ in range(asked.faces):
        vertices = neutral + np.tensordot(rng.normal(size=len(shapes)), shapes, axes=1)
        turn = Rotation.from_euler("xy", rng.normal(0, (8, 12)), degrees=True)
        points = turn.apply(vertices[AT])[:, :2] * (1, -1)
        points = points / _size(points) + NOISE * errors[rng.integers(len(errors))]
        people.append((vertices, FACE_PX * (points - points.min(axis=0) + 0.5)))
    for weight in WEIGHTS:
        found = [distances_mm(vertices, points, weight) for vertices, points in people]
        figures = {
            "shape_regularisation": weight,
            "median_of_medians_mm": round(float(np.median([np.median(d) for d in found])), 3),
            "mean_of_means_mm": round(float(np.mean([d.mean() for d in found])), 3),
        }
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
