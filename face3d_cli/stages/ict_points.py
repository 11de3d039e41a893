"""Where do the 68 landmarks lie on ICT-FaceKit's head? Beside the vertices that its README names.

Those follow Multi-PIE's definition; annotators of photos (and so dlib) put some points up to four
millimetres away. Fitting that difference as shape makes every face alike wrong. It was measured on
photos of many adults: `benchmarks/landmark_offsets.py --model ict`.
"""

from __future__ import annotations

from face3d_cli.arrays import Points3
from face3d_cli.core.landmarks68 import mirrored_offsets

# Landmark minus vertex, millimetres: to the subject's left, up. Right side and middle; the left
# side mirrors them. The jaw has none: it moves along its rows.
_OFFSETS_MM = {
    17: (-2.0, -3.5), 18: (-1.9, -1.3), 19: (-0.4, -0.7), 20: (-1.1, -1.4), 21: (-0.9, -3.4),
    27: (0.0, 2.0), 28: (0.0, 1.4), 29: (0.0, 0.0), 30: (0.0, 0.2), 31: (-0.9, 2.7),
    32: (-0.8, 1.7), 33: (0.0, 0.8), 36: (-0.3, 0.4), 37: (1.7, 1.4), 38: (0.2, 0.5),
    39: (-1.4, 0.8), 40: (-1.2, 0.9), 41: (0.8, 0.9), 48: (-2.2, 1.0), 49: (0.3, -0.6),
    50: (0.4, -0.8), 51: (0.0, -2.0), 55: (-0.2, -0.4), 56: (-2.5, -0.7), 57: (0.0, -0.1),
    60: (-1.3, 0.4), 61: (3.1, -0.2), 62: (0.0, -0.6), 65: (-3.3, -0.2), 66: (0.0, 0.0),
}  # fmt: skip


def landmark_offsets_mm() -> Points3:
    """(68, 3) landmark minus vertex in the head frame, millimetres."""
    return mirrored_offsets(_OFFSETS_MM)
