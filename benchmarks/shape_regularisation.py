"""How firmly should the shape be held? Asks other photos of the same people.

    python benchmarks/shape_regularisation.py FASSEG/multipose01/train/rgb [--model surrey|ict]
        [--camera auto|orthographic] [--full-size]

Photos are named `personneNNS...jpg` as in FASSEG's multipose01 (NN the person, S the series), in
folders named by the yaw; those up to 15 degrees are taken. The shape of a photo of one series is
compared with the shapes that the person's photos of the other series give when it is held loosely:
errors of the landmarks differ from one to the other, the person does not. No scan is looked at, and
no photo of a test part.
Photos are made smaller, too, for a detector's errors in pixels weigh more then. Prints for each
size of face the root mean square distance of all vertices in millimetres, by the weight of the
shape (surrey), or by the noise that the landmarks are said to have (ict, with a map's points).
"""

from __future__ import annotations

import argparse
import json
import re
from collections import defaultdict
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.ict_topology import NARROW_FACE
from face3d_cli.core.landmarks68 import bounding_box
from face3d_cli.core.similarity import fit_similarity
from face3d_cli.io.image import read_photo
from face3d_cli.settings import (
    DensePointSettings,
    DetectionSettings,
    LinearFitSettings,
    MorphableSettings,
)
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.ict_fit import fit_ict
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.linear_fit import FacePoints
from face3d_cli.stages.map_points import face_points
from face3d_cli.stages.morphable import fit_surrey, load_surrey
from face3d_cli.stages.position_map import predict_position_maps

WEIGHTS = (0.0003, 0.0006, 0.001, 0.0015, 0.0025, 0.004, 0.008, 0.016)
NOISES = (0.01, 0.012, 0.015, 0.018, 0.022, 0.027, 0.035)
LOOSE = {"surrey": 0.0006, "ict": 0.012}  # of the shapes compared with
ZOOMS = (1.0, 0.5, 0.3, 0.2)
YAWS = ("-15", "0", "+15")


@dataclass(frozen=True)
class Fitted:
    """Shapes (V, 3) of one photo by weight, and the size of its face in pixels."""

    series: str
    shapes_mm: dict[float | str, np.ndarray]
    size_px: float


Shapes = dict[float | str, np.ndarray]


def fitted(path: Path, zoom: float, asked: argparse.Namespace) -> Fitted | None:
    """Fit one photo with every weight; None where no face is found."""
    image = read_photo(path)
    if zoom < 1:
        image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    boxes = detect_faces(image, DetectionSettings(detector="hog"))
    if not boxes:
        return None
    points = predict_landmarks(image, boxes[0])
    shapes = (
        ict_shapes(image, boxes[0], points, asked.camera)
        if asked.model == "ict"
        else surrey_shapes(image, points, asked.iterations)
    )
    _, _, width, height = bounding_box(points)
    return Fitted(who(path)[1], shapes, float(np.sqrt(width * height)))


def surrey_shapes(image: np.ndarray, points: np.ndarray, iterations: int) -> Shapes:
    model, shapes = load_surrey(), Shapes()
    weights = {weight: replace(MorphableSettings(), pixel_regularisation=0.0,
                               shape_regularisation=weight) for weight in WEIGHTS}  # fmt: skip
    for name, settings in {**weights, "default": MorphableSettings()}.items():
        fit = fit_surrey(points, image.shape[:2], replace(settings, num_iterations=iterations))
        shapes[name] = model.draw_mm(fit.shape_coefficients, np.zeros(len(model.expression_names)))
    shapes["mean face"] = model.mean_mm
    return shapes


def ict_shapes(image: np.ndarray, box: FaceBox, points: np.ndarray, camera: str) -> Shapes:
    usual, part = LinearFitSettings(), NARROW_FACE.vertices
    (position_map,) = predict_position_maps(image, [box])
    full = face_points(position_map, points, DensePointSettings())
    if camera == "orthographic":
        full = replace(full, lens=None)
    ways = {noise: (full, replace(usual, landmark_noise=noise)) for noise in NOISES}
    ways["landmarks alone"] = (FacePoints(points), usual)
    ways["no offsets"] = (full, replace(usual, landmark_offsets=False))
    shapes: Shapes = {
        name: fit_ict([known], settings)[0].neutral_mm[part]
        for name, (known, settings) in ways.items()
    }
    shapes["mean face"] = 10.0 * IctModel.load().neutral_cm[part]
    return shapes


def who(path: Path) -> tuple[str, str]:
    found = re.match(r"\D+(\d\d)(\d)", path.name)
    assert found, f"{path.name}: expected the person's two digits and the series' one"
    return found[1], found[2]


def mean_square(shape_mm: np.ndarray, reference_mm: np.ndarray) -> float:
    """Of the distances of all vertices after a similarity, in square millimetres."""
    moved = fit_similarity(shape_mm, reference_mm).apply(shape_mm)
    return float(((moved - reference_mm) ** 2).sum(axis=1).mean())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", choices=sorted(LOOSE), default="surrey")
    parser.add_argument("--iterations", type=int, default=MorphableSettings.num_iterations)
    parser.add_argument("--camera", choices=("auto", "orthographic"), default="auto", help="of ict")
    parser.add_argument("--full-size", action="store_true", help="no smaller photos")
    asked = parser.parse_args()
    paths = [path for path in sorted(asked.folder.rglob("*.jpg")) if path.parent.name in YAWS]
    references: dict[str, list[Fitted]] = defaultdict(list)
    for zoom in ZOOMS[:1] if asked.full_size else ZOOMS:
        squares: dict[float | str, list[float]] = defaultdict(list)
        sizes_px = []
        people = defaultdict(list)
        for path in paths:
            if (photo := fitted(path, zoom, asked)) is not None:
                people[who(path)[0]].append(photo)
                sizes_px.append(photo.size_px)
        references = references or people
        for person, photos in people.items():
            for photo in photos:
                for other in references[person]:
                    if other.series != photo.series:
                        for name, shape in photo.shapes_mm.items():
                            squares[name].append(
                                mean_square(shape, other.shapes_mm[LOOSE[asked.model]])
                            )
        figures = {str(name): round(float(np.sqrt(np.mean(v))), 2) for name, v in squares.items()}
        print(json.dumps({"face_px": round(float(np.median(sizes_px))), **figures}), flush=True)


if __name__ == "__main__":
    main()
