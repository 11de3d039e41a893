"""Do the shape keys of fitted heads move what they name, without tearing lids or lips?

    python benchmarks/shape_keys.py PHOTOS [--heads 10]

Fits ICT-FaceKit to the first photos of a folder and puts jawOpen, eyeBlink and mouthSmile fully on,
one at a time, on each neutral head. Prints, over the heads, in millimetres (median, worst):

- lid gap: how high a stripe of the eyeball is seen from the front, through open lids or through a
  lid that it penetrates;
- eyeball seen: its area from the front, in square millimetres;
- lip gap: of the three pairs along the inner lips, upper over lower; below 0 they cross;
- stretch: the longest edge near lids or lips over its length on the neutral head;
- aside: the share of a key's movement that happens elsewhere than it is named for.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from face3d_cli.core.ict_topology import NARROW_FACE
from face3d_cli.core.landmarks68 import INNER_LIPS, LEFT_EYE, OUTER_LIPS, RIGHT_EYE
from face3d_cli.core.raster import rasterize
from face3d_cli.errors import InputError
from face3d_cli.pipeline.single import reconstruct
from face3d_cli.settings import ReconstructSettings
from face3d_cli.stages.ict_head import blink_factor
from face3d_cli.stages.ict_model import IctModel

PX_PER_MM = 5
EYES = {"L": "eye_left", "R": "eye_right"}
LIPS = ((61, 67), (62, 66), (63, 65))
NEAR_MM = 12.0  # of a landmark of eyes or mouth
EYE_REACH_MM, MOUTH_REACH_MM = 35.0, 60.0


def fitted_heads(photos: Path, count: int) -> list[np.ndarray]:
    """Identities of the people in the first photos that have a face."""
    found: list[np.ndarray] = []
    files = sorted(p for p in photos.iterdir() if p.suffix.lower() in (".jpg", ".png"))
    for path in files:
        try:
            (face,) = reconstruct(path, ReconstructSettings(method="ict", texture=None)).faces
        except InputError:
            continue
        found.append(np.array(face.coefficients["shape"]))
        if len(found) == count:
            break
    return found


class Head:
    """One person, with keys that can be put on."""

    def __init__(self, identity: np.ndarray) -> None:
        self.model = IctModel.load()
        self.identity = identity
        self.neutral = self.posed({})
        self.marks = self.model.landmark_vertices
        triangles = self.model.triangles[
            (self.model.triangles < NARROW_FACE.end_vertex).all(axis=1)
        ]
        edges = np.concatenate([triangles[:, pair] for pair in ((0, 1), (1, 2), (2, 0))])
        self.edges = np.unique(np.sort(edges, axis=1), axis=0)

    def posed(self, keys: dict[str, float]) -> np.ndarray:
        """(V, 3) millimetres; the lids' keys as `stages/ict_head.py` writes them."""
        neutral = 10.0 * self.model.vertices(self.identity).astype(np.float64)
        keys = {
            name: weight * blink_factor(neutral, name[-1])
            if name.startswith("eyeBlink")
            else weight
            for name, weight in keys.items()
        }
        return 10.0 * self.model.vertices(self.identity, keys).astype(np.float64)

    def eyeball(self, head: np.ndarray, side: str) -> tuple[float, float]:
        """What is seen of an eyeball from the front: the highest stripe in mm, and its area."""
        triangles, owner = [], []
        for name, part in self.model.objects.items():
            triangles.append(part.vertex_of_corner[part.triangles])
            owner.append(np.full(len(part.triangles), name == EYES[side]))
        eye = head[self.marks[LEFT_EYE if side == "L" else RIGHT_EYE]].mean(axis=0)
        size = round(2 * EYE_REACH_MM * PX_PER_MM)
        flat = (head[:, :2] - eye[:2]) * (PX_PER_MM, -PX_PER_MM) + size / 2
        corners = np.concatenate(triangles).astype(np.int32)
        raster = rasterize(flat, corners, (size, size), towards_viewer=head[:, 2])
        seen = raster.is_covered & np.concatenate(owner)[raster.triangle_id]
        return float(seen.sum(axis=0).max()) / PX_PER_MM, float(seen.sum()) / PX_PER_MM**2

    def lip_gaps(self, head: np.ndarray) -> list[float]:
        """Height of the upper over the lower lip, of each pair."""
        return [float(head[self.marks[up], 1] - head[self.marks[low], 1]) for up, low in LIPS]

    def stretch(self, head: np.ndarray, marks: list[int]) -> float:
        """How much the longest edges near some landmarks have grown."""
        points = self.neutral[self.marks[marks]]
        near = np.zeros(len(self.neutral), bool)
        narrow = NARROW_FACE.vertices
        away = np.linalg.norm(self.neutral[narrow][:, None] - points[None], axis=2).min(axis=1)
        near[narrow] = away < NEAR_MM
        edges = self.edges[near[self.edges].all(axis=1)]

        def length(vertices: np.ndarray) -> np.ndarray:
            return np.linalg.norm(vertices[edges[:, 0]] - vertices[edges[:, 1]], axis=1)

        before, after = length(self.neutral), length(head)
        return float(after.max() / before.max())

    def aside(self, key: str) -> float:
        """Share of the squared movement that is elsewhere."""
        moved = np.linalg.norm(self.posed({key: 1.0}) - self.neutral, axis=1) ** 2
        moved[NARROW_FACE.end_vertex :] = 0.0
        side = 1.0 if key.endswith("_L") else -1.0
        if key.startswith("eyeBlink"):
            eye = self.neutral[self.marks[LEFT_EYE if side > 0 else RIGHT_EYE]].mean(axis=0)
            meant = np.linalg.norm(self.neutral - eye, axis=1) < EYE_REACH_MM
        elif key.startswith("mouthSmile"):
            corner = self.neutral[self.marks[54 if side > 0 else 48]]
            meant = np.linalg.norm(self.neutral - corner, axis=1) < MOUTH_REACH_MM
            meant &= side * self.neutral[:, 0] > -10.0
        else:
            meant = self.neutral[:, 1] < self.neutral[self.marks[33], 1]
        return float(moved[~meant].sum() / moved.sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--heads", type=int, default=10)
    asked = parser.parse_args()
    rows: dict[str, list[float]] = {}

    def note(name: str, value: float) -> None:
        rows.setdefault(name, []).append(value)

    eyes = [*range(*LEFT_EYE.indices(68)), *range(*RIGHT_EYE.indices(68))]
    mouth = [*range(*OUTER_LIPS.indices(68)), *range(*INNER_LIPS.indices(68))]
    for identity in fitted_heads(asked.photos, asked.heads):
        head = Head(identity)
        for side in "LR":
            key = f"eyeBlink_{side}"
            shut = head.posed({key: 1.0})
            for name, posed in (("neutral", head.neutral), ("eyeBlink", shut)):
                gap, area = head.eyeball(posed, side)
                note(f"lid gap, {name}", gap)
                note(f"eyeball seen, {name}", area)
            note("stretch at lids, eyeBlink", head.stretch(shut, eyes))
            note("aside, eyeBlink", head.aside(key))
            note("aside, mouthSmile", head.aside(f"mouthSmile_{side}"))
        note("aside, jawOpen", head.aside("jawOpen"))
        poses = {
            "neutral": head.neutral,
            "jawOpen": head.posed({"jawOpen": 1.0}),
            "mouthSmile": head.posed({"mouthSmile_L": 1.0, "mouthSmile_R": 1.0}),
        }
        for name, posed in poses.items():
            note(f"lip gap, {name}", min(head.lip_gaps(posed)))
            if name != "neutral":
                note(f"stretch at lips, {name}", head.stretch(posed, mouth))
    for name, values in rows.items():
        # Worst is the largest, but where little is bad.
        is_low = name.startswith("lip gap")
        worst = min(values) if is_low else max(values)
        figures = {"median": round(float(np.median(values)), 3), "worst": round(worst, 3)}
        print(json.dumps({"what": name, **figures, "of": len(values)}))


if __name__ == "__main__":
    main()
