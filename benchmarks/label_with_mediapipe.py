"""Label photos of faces with MediaPipe's 478 points: the teacher of `face3d synth`.

MediaPipe pins an old numpy, so this script runs in an environment of its own and imports nothing
of this project:

    python3 -m venv teacher && teacher/bin/pip install mediapipe==0.10.21
    teacher/bin/python benchmarks/label_with_mediapipe.py DATA celebamask/train faces -o labels.npz

It needs the system's libgl1, libegl1 and libgles2. What it writes is a NumPy archive without
pickled objects: `names` (N,) paths below DATA, `sizes` (N, 2) width and height, `points`
(N, 478, 3) float32 in pixels of the upright photo, z on the same scale, larger is farther away.
Photos in which no face is found are left out and counted.
"""

from __future__ import annotations

import argparse
import sys
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SUFFIXES = {".jpg", ".jpeg", ".png"}
PAD = 0.5  # of each side, reflected around the photo: tight crops are not found without
_mesh: Any = None


def _start() -> None:
    global _mesh
    import mediapipe as mp

    cv2.setNumThreads(1)
    _mesh = mp.solutions.face_mesh.FaceMesh(
        static_image_mode=True, max_num_faces=1, refine_landmarks=True, min_detection_confidence=0.4
    )


def label(path: Path) -> tuple[tuple[int, int], np.ndarray] | None:
    """Size and (478, 3) points of the face of one photo, None where there is none."""
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        return None
    height, width = image.shape[:2]
    for share in (PAD, 0.15):  # a second look at another scale
        # Square, because the mesh's rotated crops are only right in square pictures.
        side = round(max(width, height) * (1 + 2 * share))
        x, y = (side - width) // 2, (side - height) // 2
        padded = cv2.copyMakeBorder(
            image, y, side - height - y, x, side - width - x, cv2.BORDER_REFLECT_101
        )
        found = _mesh.process(cv2.cvtColor(padded, cv2.COLOR_BGR2RGB)).multi_face_landmarks
        if not found:
            continue
        points = np.array([[p.x, p.y, p.z] for p in found[0].landmark], np.float32)
        points *= (padded.shape[1], padded.shape[0], padded.shape[1])
        points[:, :2] -= (x + 0.5, y + 0.5)  # pixel (0, 0) is the centre of the first one
        centre = points[:, :2].mean(axis=0)
        if 0 <= centre[0] < width and 0 <= centre[1] < height:
            return (width, height), points
    return None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path, help="folder that the names are below")
    parser.add_argument("folders", nargs="+", help="folders below it, searched recursively")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    paths = sorted(
        path
        for folder in options.folders
        for path in (options.data / folder).rglob("*")
        if path.suffix.lower() in SUFFIXES and "mask" not in path.parent.name
    )
    with Pool(options.jobs, initializer=_start) as pool:
        labels = pool.map(label, paths, chunksize=32)
    kept = [(path, each) for path, each in zip(paths, labels, strict=True) if each is not None]
    if not kept:
        sys.exit("no face in any photo")
    np.savez_compressed(
        options.out,
        names=np.array([path.relative_to(options.data).as_posix() for path, _ in kept]),
        sizes=np.array([size for _, (size, _) in kept], np.int32),
        points=np.stack([points for _, (_, points) in kept]),
    )
    print(f"{len(kept)} of {len(paths)} photos labelled")


if __name__ == "__main__":
    main()
