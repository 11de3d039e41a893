"""The 68 iBUG landmarks: which index is what, and what can be read off them.

Order and groups: Sagonas et al. 2013, "300 Faces in-the-Wild Challenge", figure 1, counted from 0.
"Right" and "left" are the subject's: the right eye stands left of the left eye in an upright photo.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from face3d_cli.arrays import FloatArray, Points2, Points3

NUM_LANDMARKS = 68

JAW = slice(0, 17)
RIGHT_BROW = slice(17, 22)
LEFT_BROW = slice(22, 27)
NOSE_BRIDGE = slice(27, 31)
NOSE_BASE = slice(31, 36)
RIGHT_EYE = slice(36, 42)
LEFT_EYE = slice(42, 48)
OUTER_LIPS = slice(48, 60)
INNER_LIPS = slice(60, 68)

EYE_CORNERS = (36, 39, 42, 45)
# The landmark on the other side of the face.
MIRRORED = (
    *range(16, -1, -1), *range(26, 16, -1), *range(27, 31), *range(35, 30, -1),
    45, 44, 43, 42, 47, 46, 39, 38, 37, 36, 41, 40,
    *range(54, 47, -1), *range(59, 54, -1), *range(64, 59, -1), *range(67, 64, -1),
)  # fmt: skip
# Lines to draw: (first index, last index, closed).
STROKES = (
    (0, 16, False),
    (17, 21, False),
    (22, 26, False),
    (27, 30, False),
    (31, 35, False),
    (36, 41, True),
    (42, 47, True),
    (48, 59, True),
    (60, 67, True),
)


def roll_rad(landmarks_px: Points2) -> float:
    """In-plane rotation of the face in the photo: angle of the line from right to left eye.

    Zero for an upright face, positive when the line falls towards the right of the photo (y down).
    """
    eyes = landmarks_px[LEFT_EYE].mean(axis=0) - landmarks_px[RIGHT_EYE].mean(axis=0)
    return float(np.arctan2(eyes[1], eyes[0]))


def bounding_box(points_px: Points2) -> tuple[float, float, float, float]:
    """Smallest upright box around points: x, y of the top-left corner, width, height, in pixels."""
    low, high = points_px.min(axis=0), points_px.max(axis=0)
    return float(low[0]), float(low[1]), float(high[0] - low[0]), float(high[1] - low[1])


def inter_ocular_px(landmarks_px: Points2) -> float:
    """Distance between the outer eye corners (36 and 45) in pixels."""
    return float(np.linalg.norm(landmarks_px[36] - landmarks_px[45]))


def normalised_errors(predicted_px: Points2, true_px: Points2) -> FloatArray:
    """(N,) distances of the points, divided by sqrt(w h) of the true points' box; fractions.

    Source: Zhu et al. 2016, "Face Alignment Across Large Poses" (3DDFA), section 5.2.
    """
    _, _, width, height = bounding_box(true_px)
    distances = np.linalg.norm(predicted_px - true_px, axis=1)
    return np.asarray(distances / np.sqrt(width * height))


def normalised_mean_error(predicted_px: Points2, true_px: Points2) -> float:
    """Mean of `normalised_errors`."""
    return float(normalised_errors(predicted_px, true_px).mean())


def mirrored_offsets(right_and_middle: Mapping[int, tuple[float, float]]) -> Points3:
    """(68, 3) displacements along x and y of which the left side's mirror the right side's.

    Args:
        right_and_middle: landmark to (to the subject's left, up); what is not named is zero.
    """
    offsets = np.zeros((NUM_LANDMARKS, 3))
    for index, (left, up) in right_and_middle.items():
        offsets[MIRRORED[index], :2] = -left, up
        offsets[index, :2] = left, up
    return offsets
