"""What are other starts for faces in doubt and the Gaussian of faces worth, at any turn?

    python benchmarks/map_looks.py FACESYNTHETICS [--model prnet-resnet18] [--detector yunet]

FOLDER holds photos with true points (as for `box_convention.py`), seen upright and turned by 40, 90
and 180 degrees. Prints, for each turn, how many of the faces the detector finds, and the error of
the inner landmarks there (mean, median; percent of sqrt(w h) of the true points' box) with ever
more of what `predict_position_maps` does.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.box_convention import photos_with_truth
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import JAW, bounding_box
from face3d_cli.evaluation.landmarks import annotated_face
from face3d_cli.settings import DetectionSettings, PositionMapSettings
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.position_map import predict_position_maps

TURNS_DEG = (0, 40, 90, 180)
NEVER, AS_DRAWN_MM = 9.0, 1e-3


def ways(model: str) -> dict[str, PositionMapSettings]:
    """Settings that do ever more."""
    drawn = PositionMapSettings(model=model, noise_mm=AS_DRAWN_MM, doubt_from=0.0, sure_below=0.0)
    averaged = PositionMapSettings(model=model, noise_mm=AS_DRAWN_MM, sure_below=0.0)
    return {
        "as drawn": drawn,
        "averaged with the mirror": averaged,
        "asked again": PositionMapSettings(model=model, noise_mm=AS_DRAWN_MM),
        "likely faces": PositionMapSettings(model=model),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default=PositionMapSettings.model)
    parser.add_argument("--detector", default="yunet")
    asked = parser.parse_args()
    photos: dict[int, int] = defaultdict(int)
    errors: dict[int, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for turn_deg, image, truth in photos_with_truth(asked.folder, TURNS_DEG):
        photos[turn_deg] += 1
        found = detect_faces(image, DetectionSettings(detector=asked.detector))
        box = annotated_face(found, FaceBox(*bounding_box(truth)))
        if box is None:
            continue
        size = float(np.sqrt(np.prod(np.ptp(truth, axis=0))))
        for way, settings in ways(asked.model).items():
            (face,) = predict_position_maps(image, [box], settings)
            away = np.linalg.norm(face.landmarks_px - truth, axis=1)[JAW.stop :]
            errors[turn_deg][way].append(100 * float(away.mean()) / size)
    for turn_deg in TURNS_DEG:
        rows = {
            way: [round(float(np.mean(each)), 2), round(float(np.median(each)), 2)]
            for way, each in errors[turn_deg].items()
        }
        faces = len(next(iter(errors[turn_deg].values()), []))
        print(
            json.dumps({"turned_deg": turn_deg, "photos": photos[turn_deg], "faces": faces, **rows})
        )


if __name__ == "__main__":
    main()
