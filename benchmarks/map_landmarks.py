"""Where on the position map's square does dlib, trained on iBUG's annotation, put the 68 landmarks?

    python benchmarks/map_landmarks.py --labels labels.npz --data DATA --samples SAMPLES

Takes the frontal photos that `face3d synth` learns from, with the faces fitted to them, and looks
for the place of the square that comes nearest to each landmark over all photos, left and right
alike. Prints the error before and after (of the inner landmarks' box), and the places of eyes, base
of the nose and lips for `core/position_map.py`. The other landmarks follow 300W-LP's annotation.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from face3d_cli.core.landmarks68 import MIRRORED, NOSE_BASE, NUM_LANDMARKS
from face3d_cli.core.position_map import LANDMARK_UV, sample_map
from face3d_cli.settings import SynthSettings
from face3d_cli.training.synth.fit import box_size_px, fit_face, predicted_landmarks
from face3d_cli.training.synth.folder import frontal_photos, read_correspondence, read_labels
from face3d_cli.training.synth.sample import MAP_PX
from face3d_cli.training.synth.surface import face_surface

REACH, STEPS = 0.045, 37  # of the square, to either side of where a landmark is now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--samples", type=Path, required=True, help="made by face3d synth")
    asked = parser.parse_args()
    surface, pairs = face_surface(MAP_PX), read_correspondence(asked.samples)
    basis = surface.map_basis_cm.reshape(len(surface.map_basis_cm), -1)
    maps, landmarks = [], []  # in sides of the inner landmarks' box
    for photo, points in frontal_photos(read_labels(asked.labels), asked.data, SynthSettings.seed):
        if (found := predicted_landmarks(photo, points)) is None:
            continue
        fitted = fit_face(surface, photo, points, pairs)
        face_cm = surface.map_mean_cm.reshape(-1) + fitted.coefficients @ basis
        placed = fitted.place(face_cm.reshape(-1, 3)) / box_size_px(points)
        maps.append(placed.reshape(MAP_PX, MAP_PX, 3).astype(np.float32))
        landmarks.append(found / box_size_px(points))
    true = np.array(landmarks)

    def away(uv: np.ndarray, landmark: int) -> np.ndarray:
        """(P, N) distances of places of the square to one landmark in every photo."""
        places = np.stack([sample_map(each, uv)[:, :2] for each in maps])
        return np.linalg.norm(places - true[:, landmark, None], axis=2)

    line = np.linspace(-REACH, REACH, STEPS)
    around = np.stack(np.meshgrid(line, line), axis=-1).reshape(-1, 2)
    best = LANDMARK_UV.copy()
    for index in range(NOSE_BASE.start, NUM_LANDMARKS):
        other = MIRRORED[index]
        if index > other:
            continue
        tried = LANDMARK_UV[index] + around * (1 if index != other else (0, 1))
        mirrored = tried * (-1, 1) + (1, 0)
        square = (away(tried, index) ** 2 + away(mirrored, other) ** 2).mean(axis=0)
        best[index], best[other] = tried[square.argmin()], mirrored[square.argmin()]
    moved = range(NOSE_BASE.start, NUM_LANDMARKS)
    errors = {
        name: round(100 * float(np.mean([away(uv[i : i + 1], i) for i in moved])), 2)
        for name, uv in (("now_percent", LANDMARK_UV), ("best_percent", best))
    }
    print(json.dumps({"photos": len(maps), **errors}))
    for index in moved:
        print(f"    {index}: ({best[index, 0]:.4f}, {best[index, 1]:.4f}),")


if __name__ == "__main__":
    main()
