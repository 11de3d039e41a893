"""How long a photo takes to segment, in OpenCV and in torch; and a contact sheet to look at.

    python benchmarks/segmentation.py PHOTO
    python benchmarks/segmentation.py PHOTO --sheet sheet.png --data FASSEG/multipose01

The photo is scaled to a long side of 512 px. Both runtimes get two threads and the same network, in
turns, so that what else the machine does falls on both alike. The sheet shows the test photos of a
data set, two of each pose where it has poses: photo, truth and result side by side.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch

from face3d_cli.arrays import RgbImage
from face3d_cli.core import segmentation_classes as classes
from face3d_cli.io.image import read_photo, save_png
from face3d_cli.io.segmentation_data import LabelledPhoto, find_labelled_photos
from face3d_cli.networks.unet import load_unet
from face3d_cli.stages.segmentation import segment_photo, shipped_weights

REPEATS = 31
LONG_SIDE_PX = 512


def medians_ms(works: dict[str, Callable[[], object]]) -> dict[str, dict[str, float]]:
    """Median and quartiles of each work, the works taking turns."""
    spent: dict[str, list[float]] = {name: [] for name in works}
    for repeat in range(REPEATS + 2):
        for name, work in works.items():
            start = time.perf_counter()
            work()
            if repeat >= 2:
                spent[name].append(1e3 * (time.perf_counter() - start))
    return {
        name: {
            "median_ms": round(float(np.median(times)), 1),
            "quartiles_ms": [round(float(q), 1) for q in np.quantile(times, [0.25, 0.75])],
        }
        for name, times in spent.items()
    }


def time_photo(photo: RgbImage) -> dict[str, object]:
    scale = LONG_SIDE_PX / max(photo.shape[:2])
    photo = cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    cv2.setNumThreads(2)
    torch.set_num_threads(2)
    network = load_unet(shipped_weights())
    network = network.to(memory_format=torch.channels_last)
    side, multiple = network.config.long_side_px, network.config.multiple
    height, width = (
        -(-round(length * side / LONG_SIDE_PX) // multiple) * multiple for length in photo.shape[:2]
    )
    seen = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    blob = torch.from_numpy(seen).permute(2, 0, 1)[None].float() / 127.5 - 1

    def run_torch(use_bfloat16: bool) -> None:
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=use_bfloat16):
            network(blob)

    return {
        "photo_px": list(photo.shape[1::-1]),
        "network_px": [width, height],
        **medians_ms(
            {
                "segment_photo, all of it": lambda: segment_photo(photo),
                "torch float32, network alone": lambda: run_torch(False),
                "torch bfloat16, network alone": lambda: run_torch(True),
            }
        ),
    }


def sheet_photos(folder: Path, per_pose: int, at_least: int) -> list[LabelledPhoto]:
    photos = find_labelled_photos(folder, "test")
    by_pose: dict[str, list[LabelledPhoto]] = {}
    for photo in photos:
        by_pose.setdefault(photo.pose, []).append(photo)
    per_pose = max(per_pose, -(-at_least // len(by_pose)))
    chosen = []
    for pose in sorted(by_pose, key=lambda name: int(name or 0)):
        step = max(1, len(by_pose[pose]) // per_pose)
        chosen += by_pose[pose][::step][:per_pose]
    return chosen


def draw_sheet(photos: list[LabelledPhoto], columns: int = 4, height: int = 256) -> RgbImage:
    cells = []
    for photo in photos:
        image, truth = photo.read()
        is_fasseg = photo.scheme is classes.FASSEG
        found = segment_photo(image, classes="fasseg" if is_fasseg else "all").labels
        if is_fasseg:
            parts = [image, classes.FASSEG_COLORS[truth], classes.FASSEG_COLORS[found]]
        else:
            rich = np.zeros(256, np.uint8)
            for raw, names in enumerate(photo.scheme.members):
                rich[raw] = classes.INDEX[names[0]]
            parts = [
                image,
                classes.CLASS_COLORS[rich[truth]],
                classes.CLASS_COLORS[found],
            ]
        row = np.hstack(parts)
        width = round(row.shape[1] * height / row.shape[0])
        cells.append(cv2.resize(row, (width, height), interpolation=cv2.INTER_AREA))
    widest = max(cell.shape[1] for cell in cells)
    cells = [cv2.copyMakeBorder(c, 2, 2, 2, widest - c.shape[1] + 2, 0) for c in cells]
    cells += [np.zeros_like(cells[0])] * (-len(cells) % columns)
    rows = [np.hstack(cells[i : i + columns]) for i in range(0, len(cells), columns)]
    return np.vstack(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo")
    parser.add_argument("--sheet", type=Path, help="picture to write; it shows people")
    parser.add_argument("--data", type=Path, help="data set folder for the sheet")
    options = parser.parse_args()
    if options.sheet:
        save_png(options.sheet, draw_sheet(sheet_photos(options.data, 2, 24)))
    print(json.dumps(time_photo(read_photo(options.photo)), indent=1))


if __name__ == "__main__":
    main()
