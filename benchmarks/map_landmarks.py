"""Where on the position map's square do dlib, trained on iBUG's annotation, and 300W-LP put the 68?

    python benchmarks/map_landmarks.py --labels labels.npz --data DATA --samples SAMPLES
    python benchmarks/map_landmarks.py --published ~/.cache/face3d/prnet-resfcn256

The first takes the frontal photos that `face3d synth` learns from, with the faces fitted to them,
and looks for the place of the square that comes nearest to each landmark over all photos, left and
right alike. Prints the error before and after (of the inner landmarks' box), and the places of
eyes, base of the nose and lips for `core/position_map.py`. The other landmarks follow 300W-LP's
annotation: the second brings those of the published PRNet's mean face, by its inner landmarks, onto
our mean face and prints the nearest places, left and right alike.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from scipy.spatial import cKDTree

from face3d_cli.arrays import Points2
from face3d_cli.core.ict_topology import PARTS
from face3d_cli.core.landmarks68 import JAW, MIRRORED, NOSE_BASE, NUM_LANDMARKS
from face3d_cli.core.position_map import LANDMARK_UV, landmarks_of, sample_map
from face3d_cli.core.similarity import fit_similarity
from face3d_cli.core.uv_atlas import UvAtlas
from face3d_cli.networks.prnet_published import read_square
from face3d_cli.settings import SynthSettings
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.map_layout import face_layout, face_triangles
from face3d_cli.training.synth.fit import box_size_px, fit_face, predicted_landmarks
from face3d_cli.training.synth.folder import frontal_photos, read_correspondence, read_labels
from face3d_cli.training.synth.sample import MAP_PX
from face3d_cli.training.synth.surface import face_surface

FINE_PX = 1024  # side of the square in which published landmarks are brought to the surface
REACH, STEPS = 0.045, 37  # of the square, to either side of where a landmark is now


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--samples", type=Path, help="made by face3d synth")
    parser.add_argument("--published", type=Path, help="folder of the published PRNet's tables")
    asked = parser.parse_args()
    if asked.published is not None:
        print_places(published_places(asked.published), range(NOSE_BASE.start))
        return
    surface, pairs = face_surface(MAP_PX), read_correspondence(asked.samples)
    basis = surface.map_basis_cm.reshape(len(surface.map_basis_cm), -1)
    maps, landmarks = [], []  # in sides of the inner landmarks' box
    for _, photo, points in frontal_photos(
        read_labels(asked.labels), asked.data, SynthSettings.seed
    ):
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
    print_places(best, moved)


def print_places(uv: Points2, landmarks: range) -> None:
    """In the form of `core/position_map.py`."""
    for index in landmarks:
        print(f"    {index}: ({uv[index, 0]:.4f}, {uv[index, 1]:.4f}),")


def published_places(folder: Path) -> Points2:
    """(68, 2) the places nearest to the landmarks of the published mean face."""
    square = read_square({path.name: path for path in folder.iterdir()})
    theirs = landmarks_of(square.mean, square.landmark_uv).astype(np.float64) * (1, -1, 1)
    theirs[:, 0] -= theirs[:, 0].mean()
    theirs = (theirs + theirs[list(MIRRORED)] * (-1, 1, 1)) / 2
    model, mean_cm = IctModel.load(), face_surface(MAP_PX).mean_cm
    atlas = UvAtlas(face_layout(model), face_triangles(model), FINE_PX)
    fine_cm = atlas.bake(mean_cm[: PARTS["face"].end_vertex])
    inner = slice(JAW.stop, None)
    ours = landmarks_of(fine_cm.astype(np.float32))
    onto_ours = fit_similarity(theirs[inner], ours[inner].astype(np.float64))
    rows, columns = np.nonzero(atlas.is_inside)
    _, nearest = cKDTree(fine_cm[rows, columns]).query(onto_ours.apply(theirs))
    uv = np.column_stack([columns + 0.5, FINE_PX - 0.5 - rows])[nearest] / FINE_PX
    return np.asarray((uv + uv[list(MIRRORED)] * (-1, 1) + (1, 0)) / 2)


if __name__ == "__main__":
    main()
