"""Label photos of faces with 3DDFA_V2, turn of the head and jaw: `face3d synth`'s second teacher.

    git clone https://github.com/cleardusk/3DDFA_V2  # the network; used: commit 1b6c676
    git clone https://github.com/cleardusk/3DDFA  # its face model's 68 points; commit 3545f35
    python benchmarks/label_with_3ddfa.py DATA --labels labels.npz
        --network 3DDFA_V2 --model 3DDFA -o heads.npz [-j 2]

`labels.npz` (`label_with_mediapipe.py`) says where the faces of the photos below DATA are. Each is
looked at 16 times, moved, scaled and mirrored, and the answers are averaged. What is written is a
NumPy archive without pickled objects: `names` (N,), `landmarks` (N, 68, 3) float32 in pixels of the
photo, z on the same scale, larger is nearer, and `rotations` (N, 3, 3) from the model's axes to the
camera's (y up). Both repositories are under the MIT licence, their face model is for research.

Source: Guo et al. 2020, "Towards Fast, Accurate and Stable 3D Dense Face Alignment" (the network
of half the width, at 120 px).
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from scipy.spatial.transform import Rotation

from face3d_cli.arrays import FloatArray, Points2, Points3, RgbImage
from face3d_cli.core.landmarks68 import MIRRORED
from face3d_cli.io.image import read_photo
from face3d_cli.pipeline.threads import limit_threads
from face3d_cli.training.synth.fit import MEDIAPIPE_68
from face3d_cli.training.synth.folder import read_labels

INPUT_PX = 120
NUM_CAMERA, NUM_SHAPES = 12, 40  # of the 62 numbers that the network gives; ten expressions follow
NUM_LOOKS = 8  # and as many at the mirror image
MOVED, SCALED = 0.08, (0.9, 1.15)  # of the square, for another look
MIRROR = np.diag([-1.0, 1.0, 1.0])


@dataclass(frozen=True)
class Square:
    """Where the network looks: left top corner and side, in pixels of the photo."""

    left: float
    top: float
    side: float

    @staticmethod
    def around(points: Points2) -> Square:
        """As the network was trained: the box of 68 points, made square, sqrt(2) larger."""
        low, high = points.min(axis=0), points.max(axis=0)
        side = float((high - low).max() * np.sqrt(2))
        left, top = (low + high - side) / 2
        return Square(float(left), float(top), side)

    def changed(self, right: float, down: float, scale: float) -> Square:
        """Moved by shares of the side, and scaled about the middle."""
        left = self.left + self.side * (right + (1 - scale) / 2)
        top = self.top + self.side * (down + (1 - scale) / 2)
        return Square(left, top, self.side * scale)

    def mirrored(self, width: int) -> Square:
        """The same place in the picture flipped left to right."""
        return Square(width - self.left - self.side, self.top, self.side)

    def cut(self, photo: RgbImage) -> RgbImage:
        """(120, 120, 3); black beyond the photo's edges."""
        left, top = round(self.left), round(self.top)
        side = max(round(self.side), 1)
        picture = np.zeros((side, side, 3), np.uint8)
        height, width = photo.shape[:2]
        rows = slice(max(top, 0), min(top + side, height))
        columns = slice(max(left, 0), min(left + side, width))
        seen = photo[rows, columns]
        y, x = rows.start - top, columns.start - left
        picture[y : y + seen.shape[0], x : x + seen.shape[1]] = seen
        return np.asarray(cv2.resize(picture, (INPUT_PX, INPUT_PX)), np.uint8)


class Teacher:
    """The published network, with the 68 points of its face model."""

    def __init__(self, network: Path, model: Path) -> None:
        sys.path.insert(0, str(network))
        published: Any = importlib.import_module("models.mobilenet_v1")
        sys.path.remove(str(network))
        stored = torch.load(
            network / "weights" / "mb05_120x120.pth", map_location="cpu", weights_only=True
        )["state_dict"]
        renamed = {name.replace("module.", ""): value for name, value in stored.items()}
        self.net = published.MobileNet(widen_factor=0.5, num_classes=62).eval()
        # `fc_lm` is a training aid of theirs; nothing else may be left over, and nothing missing.
        self.net.load_state_dict(
            {
                name.replace("fc_param", "fc"): value
                for name, value in renamed.items()
                if not name.startswith("fc_lm")
            }
        )
        tables = model / "c++" / "weights"
        self.mean, self.spread = (
            np.loadtxt(tables / f"param_{name}_v2.txt") for name in ("mean", "std")
        )
        self.face = np.loadtxt(tables / "u_base.txt")
        self.basis = np.concatenate(
            [
                np.loadtxt(tables / "w_shp_base.txt").reshape(len(self.face), NUM_SHAPES),
                np.loadtxt(tables / "w_exp_base.txt").reshape(len(self.face), -1),
            ],
            axis=1,
        )

    def look(self, photo: RgbImage, squares: Sequence[Square]) -> list[tuple[Points3, FloatArray]]:
        """(68, 3) points and (3, 3) rotation, for each square."""
        pictures = np.stack([square.cut(photo)[..., ::-1] for square in squares])  # BGR
        batch = torch.from_numpy((pictures.transpose(0, 3, 1, 2) - 127.5) / 128.0).float()
        with torch.inference_mode():
            found = self.net(batch).numpy() * self.spread + self.mean
        return [
            self._placed(numbers, square) for numbers, square in zip(found, squares, strict=True)
        ]

    def _placed(self, numbers: FloatArray, square: Square) -> tuple[Points3, FloatArray]:
        camera = numbers[:NUM_CAMERA].reshape(3, 4)
        head = (self.face + self.basis @ numbers[NUM_CAMERA:]).reshape(-1, 3)
        x, y, z = (head @ camera[:, :3].T + camera[:, 3]).T
        zoom = square.side / INPUT_PX
        # Their pixels count from one, with y up.
        points = np.stack([x - 1, INPUT_PX - y, z], axis=1) * zoom
        points[:, :2] += (square.left, square.top)
        first = camera[0, :3] / np.linalg.norm(camera[0, :3])
        second = camera[1, :3] - (camera[1, :3] @ first) * first
        second /= np.linalg.norm(second)
        return points, np.stack([first, second, np.cross(first, second)])

    def averaged(self, photo: RgbImage, near: Points2) -> tuple[Points3, FloatArray]:
        """Points and rotation by many looks at the face whose 68 points are about there."""
        for _ in range(2):
            ((points, _),) = self.look(photo, [Square.around(near)])
            near = points[:, :2]
        rng = np.random.default_rng(0)
        changes = [(0.0, 0.0, 1.0)] + [
            (*rng.uniform(-MOVED, MOVED, 2), rng.uniform(*SCALED)) for _ in range(NUM_LOOKS - 1)
        ]
        squares = [Square.around(near).changed(*change) for change in changes]
        seen = self.look(photo, squares)
        width = photo.shape[1]
        mirror = np.ascontiguousarray(photo[:, ::-1])
        for points, rotation in self.look(mirror, [each.mirrored(width) for each in squares]):
            back = points[list(MIRRORED)] * (-1, 1, 1) + (width, 0, 0)
            seen.append((back, MIRROR @ rotation @ MIRROR))
        middle = Rotation.from_matrix([rotation for _, rotation in seen]).mean()
        return np.mean([points for points, _ in seen], axis=0), middle.as_matrix()


_teacher: Teacher | None = None


def _start(network: Path, model: Path) -> None:
    global _teacher
    torch.set_num_threads(1)
    limit_threads()
    _teacher = Teacher(network, model)


def _label(data: Path, job: tuple[str, Points3]) -> tuple[Points3, FloatArray]:
    assert _teacher is not None, "the process was not begun"
    name, points = job
    return _teacher.averaged(read_photo(data / name), points[MEDIAPIPE_68, :2])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--network", type=Path, required=True, help="checkout of 3DDFA_V2")
    parser.add_argument("--model", type=Path, required=True, help="checkout of 3DDFA")
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("-j", "--jobs", type=int, default=1)
    asked = parser.parse_args()
    labels = read_labels(asked.labels)
    start = (asked.network.resolve(), asked.model.resolve())
    with get_context("spawn").Pool(asked.jobs, _start, start) as pool:
        jobs = zip(labels.names, labels.points, strict=True)
        seen = pool.map(partial(_label, asked.data), jobs, chunksize=16)
    with asked.out.open("wb") as handle:
        np.savez(
            handle,
            names=np.array(labels.names),
            landmarks=np.array([points for points, _ in seen], np.float32),
            rotations=np.array([rotation for _, rotation in seen], np.float32),
        )
    print(f"{len(seen)} heads")


if __name__ == "__main__":
    main()
