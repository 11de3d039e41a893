"""How far real scans are from our meshes, from eos's used plainly, and from the mean face.

    python benchmarks/scan_accuracy.py SCANS [--every N]

The protocol is `face3d evaluate scans`; the scans choose no setting. Plain means: the first box of
dlib's HOG (else CNN) detector as it is, dlib's 68 points, eos with its own defaults.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path

import numpy as np

from face3d_cli.errors import NoFaceFound
from face3d_cli.evaluation.scans import PredictedFace, evaluate_scans, find_scans, predict_face
from face3d_cli.settings import MorphableSettings, ReconstructSettings
from face3d_cli.stages import detection
from face3d_cli.stages.landmarks import _predictor
from face3d_cli.stages.morphable import fit_surrey, load_surrey

EOS = MorphableSettings(
    num_iterations=5,
    pixel_regularisation=30.0,
    shape_regularisation=0.0,
    landmark_offsets=False,
)
OURS = ReconstructSettings(texture=None)


@lru_cache(maxsize=256)
def _points_of(pixels: bytes, shape: tuple[int, ...]) -> np.ndarray:
    image = np.frombuffer(pixels, np.uint8).reshape(shape)
    found, _, _ = detection._hog_detector().run(image, 0, 0.0)
    boxes = list(found) or [each.rect for each in detection._cnn_detector()(image, 0)]
    if not boxes:
        raise NoFaceFound("dlib finds no face")
    return np.array([(p.x, p.y) for p in _predictor()(image, boxes[0]).parts()], float)


def plain_points(image: np.ndarray) -> np.ndarray:
    """Dlib's points without anything of ours; kept, for two rows need them."""
    return _points_of(image.tobytes(), image.shape)


def eos_plain(image: np.ndarray) -> PredictedFace:
    points = plain_points(image)
    fit = fit_surrey(points, image.shape[:2], EOS)
    return PredictedFace(fit.vertices_mm, fit.triangles, fit.landmarks_mm, points)


def mean_face(image: np.ndarray) -> PredictedFace:
    model = load_surrey()
    at = [model.vertex_of_landmark.get(index, 0) for index in range(68)]  # the seven are all there
    return PredictedFace(model.mean_mm, model.triangles, model.mean_mm[at], plain_points(image))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1, help="only every N-th scan")
    asked = parser.parse_args()
    rows: dict[str, Callable[[np.ndarray], PredictedFace]] = {
        "ours": partial(predict_face, settings=OURS),
        "eos through dlib": eos_plain,
        "mean Surrey face": mean_face,
    }
    with tempfile.TemporaryDirectory() as chosen:
        for path in find_scans(asked.folder)[:: asked.every]:
            for file in (path, path.with_suffix(".jpg")):
                (Path(chosen) / file.name).symlink_to(file.resolve())
        reports = {
            name: evaluate_scans(Path(chosen), OURS, predict=predict)
            for name, predict in rows.items()
        }
    common = set.intersection(
        *({row["scan"] for row in report["per_scan"]} for report in reports.values())
    )
    for name, report in reports.items():
        shared = [row for row in report["per_scan"] if row["scan"] in common]
        figures = {
            "median_of_medians_mm": report["median_of_medians_mm"],
            "mean_of_means_mm": report["mean_of_means_mm"],
            "skipped": len(report["skipped"]),
            "scans_in_all_rows": len(shared),
            "median_of_medians_mm_there": float(np.median([row["median_mm"] for row in shared])),
            "mean_of_means_mm_there": float(np.mean([row["mean_mm"] for row in shared])),
        }
        print(json.dumps({name: figures}), flush=True)


if __name__ == "__main__":
    main()
