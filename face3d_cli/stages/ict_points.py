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
    17: (-1.9, -4.2), 18: (-1.6, -2.5), 19: (-0.1, -1.9), 20: (-0.8, -2.5), 21: (-0.8, -4.2),
    27: (0.0, 1.9), 28: (0.0, 1.6), 29: (0.0, 0.3), 30: (0.0, 0.6), 31: (-0.7, 3.0),
    32: (-0.7, 1.9), 33: (0.0, 1.0), 36: (-0.4, 0.9), 37: (1.6, 2.4), 38: (0.0, 1.6),
    39: (-1.4, 1.2), 40: (-1.4, 1.4), 41: (0.7, 1.5), 48: (-1.4, 0.8), 49: (0.9, -0.8),
    50: (0.7, -1.2), 51: (0.0, -2.5), 55: (-0.9, -1.1), 56: (-2.9, -1.4), 57: (0.0, -0.7),
    60: (-0.4, 0.1), 61: (3.5, -0.5), 62: (0.0, -1.1), 65: (-3.8, -0.6), 66: (0.0, -0.3),
}  # fmt: skip


def landmark_offsets_mm() -> Points3:
    """(68, 3) landmark minus vertex in the head frame, millimetres."""
    return mirrored_offsets(_OFFSETS_MM)
