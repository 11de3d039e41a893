"""Where would the Surrey model's vertices be seen, given 68 landmarks of a photo?

eos names one vertex for each landmark, the nearest good one: up to six millimetres from where
annotators (and so dlib) put the point. Fitting that difference as shape makes every face alike
wrong. It was measured on photos of many people: `benchmarks/landmark_offsets.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from face3d_cli.arrays import FloatArray, Points2, Points3
from face3d_cli.core.landmarks68 import mirrored_offsets

DEPTH_RIDGE = 1e-3  # a face is too flat to tell its depth from a few points: it is held a little

# Landmark minus vertex, millimetres: to the subject's left, up. Right side and middle; the left
# side mirrors them. The jaw has none: it takes the nearest vertex of the outline.
_OFFSETS_MM = {
    17: (-3.8, 0.9), 18: (-1.9, 2.7), 19: (-1.1, 2.4), 20: (0.6, 0.9), 21: (-1.2, -0.4),
    27: (0.0, -4.7), 28: (0.0, -0.8), 29: (0.0, 1.2), 30: (0.0, -0.2), 31: (-1.6, 0.9),
    32: (-0.3, 1.0), 33: (0.0, 0.2), 36: (0.8, -0.8), 37: (-1.2, 0.8), 38: (-1.6, -0.5),
    39: (-0.9, -0.1), 40: (0.6, 1.2), 41: (-2.6, -0.1), 48: (-2.9, 0.9), 49: (1.8, -0.9),
    50: (-1.2, -1.4), 51: (0.0, -3.0), 55: (-0.7, -2.3), 56: (-1.2, -0.9), 57: (0.0, -0.9),
    60: (1.4, 0.1), 61: (5.8, -1.6), 62: (0.0, -2.2), 65: (-5.6, 0.4), 66: (0.0, 0.9),
}  # fmt: skip


def landmark_offsets_mm() -> Points3:
    """(68, 3) landmark minus vertex in the head frame, millimetres."""
    return mirrored_offsets(_OFFSETS_MM)


def vertices_seen(
    landmarks_px: Points2, landmarks: Sequence[int], mean_vertices_mm: Points3
) -> Points2:
    """Landmarks moved to where the vertices that stand for them are seen.

    Args:
        landmarks_px: (68, 2).
        landmarks: (N,) indices of landmarks that have a vertex, in a fixed place.
        mean_vertices_mm: (N, 3) those vertices of the mean face; the affine camera that best shows
            them in the photo turns millimetres into pixels.

    Returns:
        (68, 2) pixels.
    """
    return landmarks_px - landmark_offsets_mm() @ _affine(
        landmarks_px[list(landmarks)], mean_vertices_mm
    )


def _affine(points_px: Points2, points_mm: Points3) -> FloatArray:
    """(3, 2) of the affine camera: pixels for each millimetre along x, y and z."""
    centred = points_mm - points_mm.mean(axis=0)
    gram = centred.T @ centred + DEPTH_RIDGE * len(centred) * np.eye(3)
    pixels: FloatArray = np.linalg.solve(gram, centred.T @ (points_px - points_px.mean(axis=0)))
    return pixels
