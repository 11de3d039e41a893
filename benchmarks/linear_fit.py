"""Which noise and priors let the linear fit come nearest to known heads, those of ICT-FaceKit?

    face3d models pull ict-facekit
    python benchmarks/linear_fit.py --truth FACESYNTHETICS [--faces 60] [--set shape_spread=0.7]

Random ICT heads with random expressions are turned and projected; errors that our landmarks make in
photos of FaceSynthetics (their mean taken out) are added; the fit is compared with the truth near
the nose base, after a similarity. No real scan is looked at. Prints the mean over the faces of the
median and the mean distance across the surface, neutral face against neutral face and as posed, in
millimetres; then the milliseconds of a fit.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from scipy.spatial.transform import Rotation

from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import bounding_box, normalised_mean_error, roll_rad
from face3d_cli.core.linear_face import LinearFace
from face3d_cli.core.mesh import vertex_normals
from face3d_cli.core.similarity import fit_similarity
from face3d_cli.evaluation.landmarks import annotated_face
from face3d_cli.io.image import read_photo
from face3d_cli.settings import DetectionSettings, LinearFitSettings
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.linear_fit import FacePoints, fit_linear_face

NUM_FACE_VERTICES = 6706
MEASURED_RADIUS_MM = 80.0
NOISE = 0.7  # of FaceSynthetics' errors: its photos are darker and more turned than most
FACE_PX = 500  # sqrt(w h) of the points' box
EXPRESSION_SHARE, EXPRESSION_SPREAD = 0.2, 0.5  # expressions that are on, and how far


def landmark_errors(folder: Path) -> np.ndarray:
    """(N, 68, 2) errors over sqrt(w h), turned upright, where HOG is sure and points are near."""
    errors = []
    for path in sorted(folder.glob("*_ldmks.txt")):
        truth = np.loadtxt(path)[:68]
        image = read_photo(path.with_name(path.name.replace("_ldmks.txt", ".jpg")))
        found = detect_faces(image, DetectionSettings(detector="hog"))
        sure = [box for box in found if (box.score or 0.0) > 0.5]
        box = annotated_face(sure, FaceBox(*bounding_box(truth)))
        if box is None:
            continue
        points = predict_landmarks(image, box)
        if normalised_mean_error(points, truth) < 0.06:
            turn = Rotation.from_euler("z", -roll_rad(truth)).as_matrix()[:2, :2]
            errors.append((points - truth) @ turn.T / size_of(truth))
    return np.array(errors) - np.mean(errors, axis=0)


def size_of(points: np.ndarray) -> float:
    _, _, width, height = bounding_box(points)
    return float(np.sqrt(width * height))


def projected(model: LinearFace, vertices: np.ndarray, turn: Rotation) -> np.ndarray:
    """(68, 2) landmarks as seen, the jaw's where the outline is."""
    turned = turn.apply(vertices)
    points = turned[model.landmark_vertices][:, :2]
    rows = turned[model.jaw_rows][..., :2]
    outwards = model.mean_mm[model.jaw_rows[:, 0]] - model.mean_mm[model.jaw_rows[:, -1]]
    best = np.einsum("jrc,jc->jr", rows, outwards[:, :2]).argmax(axis=1)
    points[:17] = rows[np.arange(17), best]
    return points * (1, -1)


def distances_mm(found: np.ndarray, truth: np.ndarray, model: LinearFace) -> np.ndarray:
    """Across the true surface, near the nose base."""
    near = np.linalg.norm(truth - truth[model.landmark_vertices[33]], axis=1) < MEASURED_RADIUS_MM
    near[NUM_FACE_VERTICES:] = False
    normals = vertex_normals(truth, model.triangles)[near]
    aligned = fit_similarity(found[near], truth[near]).apply(found[near])
    return np.abs(np.einsum("vc,vc->v", aligned - truth[near], normals))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--truth", type=Path, required=True)
    parser.add_argument("--faces", type=int, default=60)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    asked = parser.parse_args()
    model = IctModel.load().linear_mm
    errors = landmark_errors(asked.truth)
    rng = np.random.default_rng(0)
    people = []
    for _ in range(asked.faces):
        shape = rng.normal(size=len(model.shape_mm))
        expression = np.abs(rng.normal(0, EXPRESSION_SPREAD, len(model.expression_mm))).clip(0, 1)
        expression *= rng.random(len(expression)) < EXPRESSION_SHARE
        turn = Rotation.from_euler("xy", rng.normal(0, (8, 15)), degrees=True)
        points = projected(model, model.vertices_mm(shape, expression), turn)
        points = points / size_of(points) + NOISE * errors[rng.integers(len(errors))]
        people.append((shape, expression, FACE_PX * (points - points.min(axis=0) + 0.5)))
    usual = LinearFitSettings(landmark_offsets=False)  # drawn landmarks lie on the vertices
    variants = [usual]
    for text in asked.set:
        name, _, value = text.partition("=")
        variants.append(replace(usual, **{name: float(value)}))
    for settings, label in zip(variants, ["default", *asked.set], strict=True):
        neutral, posed, mean_shape, spent = [], [], [], []
        still = np.zeros(len(model.expression_mm))
        for shape, expression, points in people:
            start = time.process_time()
            fit = fit_linear_face(model, [FacePoints(points)], settings)
            spent.append(1e3 * (time.process_time() - start))
            truth = model.vertices_mm(shape, still)
            neutral.append(distances_mm(model.vertices_mm(fit.shape, still), truth, model))
            mean_shape.append(distances_mm(model.mean_mm, truth, model))
            truth = model.vertices_mm(shape, expression)
            found = model.vertices_mm(fit.shape, fit.photos[0].expression)
            posed.append(distances_mm(found, truth, model))
        figures: dict[str, object] = {"settings": label}
        for name, rows in (("neutral", neutral), ("posed", posed), ("mean_head", mean_shape)):
            figures[f"{name}_median_mm"] = round(float(np.mean([np.median(r) for r in rows])), 3)
            figures[f"{name}_mean_mm"] = round(float(np.mean([r.mean() for r in rows])), 3)
        figures["cpu_ms"] = round(float(np.median(spent)), 1)
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
