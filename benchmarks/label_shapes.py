"""How near to a person's shape are the faces behind the training samples of position maps?

    python benchmarks/label_with_mediapipe.py FASSEG multipose01/train/rgb -o labels.npz
    python benchmarks/label_shapes.py FASSEG --labels labels.npz [--heads heads.npz]
        --samples SAMPLES [--set NAME=VALUE ...]

As `benchmarks/shape_regularisation.py`: the face fitted to a photo of one series is compared with
those that dlib's landmarks and a loose fit give for the person's photos of the other series, all
within 15 degrees of the front. Prints the root mean square distance over the face in millimetres,
as a neutral face and with the expression (the people show none): of the samples' own fit, and of
the fit that they get where dlib's landmarks cannot be trusted. `--set` changes how points pull.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
from shape_regularisation import YAWS, mean_square, who

from face3d_cli.core.ict_topology import NARROW_FACE
from face3d_cli.io.image import read_photo
from face3d_cli.settings import LabelFitSettings, LinearFitSettings
from face3d_cli.stages.linear_fit import FacePoints, fit_linear_face
from face3d_cli.training.synth.fit import fit_face, predicted_landmarks
from face3d_cli.training.synth.folder import read_correspondence, read_heads, read_labels
from face3d_cli.training.synth.sample import MAP_PX
from face3d_cli.training.synth.surface import face_surface

LOOSE = LinearFitSettings(landmark_noise=0.012)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that the labels' names are below")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--heads", type=Path, help="as the samples had them")
    parser.add_argument("--samples", type=Path, required=True, help="made by face3d synth")
    parser.add_argument("--set", nargs="*", default=[], metavar="NAME=VALUE")
    asked = parser.parse_args()
    changed = {name: float(value) for name, value in (each.split("=") for each in asked.set)}
    usual = LabelFitSettings()
    usual = replace(usual, linear=replace(usual.linear, **changed))
    ways = {"samples": usual, "teacher alone": replace(usual, predicted_yaw_deg=0.0)}
    surface, pairs = face_surface(MAP_PX), read_correspondence(asked.samples)
    part, model = NARROW_FACE.vertices, surface.linear_mm
    neutral = np.arange(len(surface.basis_cm)) < len(model.shape_mm)
    references: dict[str, list[tuple[str, np.ndarray]]] = defaultdict(list)
    shapes: list[tuple[str, str, dict[str, np.ndarray]]] = []
    labels = read_labels(asked.labels)
    heads = {} if asked.heads is None else read_heads(asked.heads)
    for name, points in zip(labels.names, labels.points, strict=True):
        path = asked.data / name
        if path.parent.name not in YAWS:
            continue
        photo = read_photo(path)
        if (landmarks := predicted_landmarks(photo, points)) is None:
            continue
        person, series = who(path)
        held = fit_linear_face(model, [FacePoints(landmarks)], LOOSE).shape
        without = np.zeros(len(model.expression_mm))
        references[person].append((series, model.vertices_mm(held, without)[part]))
        found = {"mean face": model.mean_mm[part]}
        for way, settings in ways.items():
            coefficients = fit_face(
                surface, photo, points, pairs, settings, heads.get(name)
            ).coefficients
            for kind, used in (("neutral", coefficients * neutral), ("posed", coefficients)):
                moved = np.tensordot(used, surface.basis_cm[:, part], axes=1)
                found[f"{way}, {kind}"] = 10 * (surface.mean_cm[part] + moved)
        shapes.append((person, series, found))
    squares: dict[str, list[float]] = defaultdict(list)
    for person, series, found in shapes:
        for other, reference in references[person]:
            if other != series:
                for name, shape in found.items():
                    squares[name].append(mean_square(shape, reference))
    figures = {name: round(float(np.sqrt(np.mean(v))), 2) for name, v in squares.items()}
    print(json.dumps({"photos": len(shapes), **figures}))


if __name__ == "__main__":
    main()
