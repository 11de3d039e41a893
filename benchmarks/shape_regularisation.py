"""How firmly should the shape be held? Asks other photos of the same people.

    python benchmarks/shape_regularisation.py FASSEG/multipose01/train/rgb

Photos are named `personneNNS...jpg` as in FASSEG's multipose01 (NN the person, S the series), in
folders named by the yaw; those up to 15 degrees are taken. The shape of a photo of one series is
compared with the shapes that the person's photos of the other series give when it is held loosely:
errors of the landmarks differ from one to the other, the person does not. No scan is looked at, and
no photo of a test part.
Photos are made smaller, too, for a detector's errors in pixels weigh more then. Prints for each
size of face the root mean square distance of all vertices in millimetres, by weight.
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

from face3d_cli.core.landmarks68 import bounding_box
from face3d_cli.core.similarity import fit_similarity
from face3d_cli.io.image import read_photo
from face3d_cli.settings import DetectionSettings, MorphableSettings
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.morphable import fit_surrey, load_surrey

WEIGHTS = (0.0003, 0.0006, 0.001, 0.0015, 0.0025, 0.004, 0.008, 0.016)
LOOSE = 0.0006  # of the shapes compared with
ZOOMS = (1.0, 0.5, 0.3, 0.2)
YAWS = ("-15", "0", "+15")


@dataclass(frozen=True)
class Fitted:
    """Shapes (V, 3) of one photo by weight, and the size of its face in pixels."""

    series: str
    shapes_mm: dict[float | str, np.ndarray]
    size_px: float


def fitted(path: Path, zoom: float, iterations: int) -> Fitted | None:
    """Fit one photo with every weight; None where no face is found."""
    image = read_photo(path)
    if zoom < 1:
        image = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
    boxes = detect_faces(image, DetectionSettings(detector="hog"))
    if not boxes:
        return None
    points = predict_landmarks(image, boxes[0])
    model, shapes = load_surrey(), {}
    weights = {weight: replace(MorphableSettings(), pixel_regularisation=0.0,
                               shape_regularisation=weight) for weight in WEIGHTS}  # fmt: skip
    for name, settings in {**weights, "default": MorphableSettings()}.items():
        fit = fit_surrey(points, image.shape[:2], replace(settings, num_iterations=iterations))
        shapes[name] = model.draw_mm(fit.shape_coefficients, np.zeros(len(model.expression_names)))
    shapes["mean face"] = model.mean_mm
    _, _, width, height = bounding_box(points)
    return Fitted(_who(path)[1], shapes, float(np.sqrt(width * height)))


def _who(path: Path) -> tuple[str, str]:
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
    parser.add_argument("--iterations", type=int, default=MorphableSettings.num_iterations)
    asked = parser.parse_args()
    paths = [path for path in sorted(asked.folder.rglob("*.jpg")) if path.parent.name in YAWS]
    references: dict[str, list[Fitted]] = defaultdict(list)
    for zoom in ZOOMS:
        squares: dict[float | str, list[float]] = defaultdict(list)
        sizes_px = []
        people = defaultdict(list)
        for path in paths:
            if (photo := fitted(path, zoom, asked.iterations)) is not None:
                people[_who(path)[0]].append(photo)
                sizes_px.append(photo.size_px)
        references = references or people
        for person, photos in people.items():
            for photo in photos:
                for other in references[person]:
                    if other.series != photo.series:
                        for name, shape in photo.shapes_mm.items():
                            squares[name].append(mean_square(shape, other.shapes_mm[LOOSE]))
        figures = {str(name): round(float(np.sqrt(np.mean(v))), 2) for name, v in squares.items()}
        print(json.dumps({"face_px": round(float(np.median(sizes_px))), **figures}), flush=True)


if __name__ == "__main__":
    main()
