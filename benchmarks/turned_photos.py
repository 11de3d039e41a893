"""Are faces found, and their landmarks right, when a photo lies on its side or upside down?

    python benchmarks/turned_photos.py FACESYNTHETICS [--every N]

FACESYNTHETICS holds photos with true points (`NAME_ldmks.txt`). Each is turned by quarters and its
face searched for with `--detector auto`: only in the photo as it is, and, where that finds nothing,
turned as well. A face is found where a box overlaps the true points' box by 0.3; its landmarks are
right where dlib's inner ones are off by less than a tenth of sqrt(w h) of that box.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path
from unittest.mock import patch

import numpy as np
from box_convention import photos_with_truth

from face3d_cli.arrays import Points2, RgbImage
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import JAW, bounding_box
from face3d_cli.stages import detection
from face3d_cli.stages.landmarks import predict_landmarks

OVERLAP, RIGHT_WITHIN = 0.3, 0.1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=1)
    asked = parser.parse_args()
    photos = list(photos_with_truth(asked.folder, (0,)))[:: asked.every]
    for quarters in range(4):
        turned = [by_quarters(image, truth, quarters) for _, image, truth in photos]
        line: dict[str, object] = {"turned_deg": 90 * quarters, "photos": len(turned)}
        begin = time.perf_counter()
        with patch.object(detection, "_found_turned", lambda image, plan: []):
            line["as_it_is"] = found_and_right(turned)
        middle = time.perf_counter()
        line["searched_turned_too"] = found_and_right(turned)
        end = time.perf_counter()
        spent = [(middle - begin) / len(turned), (end - middle) / len(turned)]
        print(json.dumps({**line, "seconds_a_photo": np.round(spent, 2).tolist()}), flush=True)


def by_quarters(image: RgbImage, truth: Points2, quarters: int) -> tuple[RgbImage, Points2]:
    """Photo and points, turned against the clock."""
    for _ in range(quarters):
        truth = np.column_stack([truth[:, 1], image.shape[1] - 1 - truth[:, 0]])
        image = np.ascontiguousarray(np.rot90(image))
    return image, truth


def found_and_right(photos: list[tuple[RgbImage, Points2]]) -> list[int]:
    """How many faces are found, and how many of these have right landmarks."""
    found = right = 0
    for image, truth in photos:
        true_box = FaceBox(*bounding_box(truth))
        boxes = detection.detect_faces(image)
        best = max(boxes, key=true_box.overlap, default=None)
        if best is None or true_box.overlap(best) < OVERLAP:
            continue
        found += 1
        away = np.linalg.norm(predict_landmarks(image, best) - truth, axis=1)[JAW.stop :].mean()
        right += bool(away < RIGHT_WITHIN * true_box.area**0.5)
    return [found, right]


if __name__ == "__main__":
    main()
