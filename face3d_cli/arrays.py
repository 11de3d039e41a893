"""Names for array shapes, and the one check of a shape at a public border.

Axis letters keep one meaning everywhere: V vertices, F triangles, L landmarks, K coefficients,
B batch, H rows, W columns, C channels.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from face3d_cli.errors import ShapeError

Points2: TypeAlias = npt.NDArray[np.floating[Any]]  # (N, 2)
Points3: TypeAlias = npt.NDArray[np.floating[Any]]  # (N, 3)
Triangles: TypeAlias = npt.NDArray[
    np.int32
]  # (F, 3) vertex indices, counter-clockwise from outside
RgbImage: TypeAlias = npt.NDArray[np.uint8]  # (H, W, 3) sRGB, upright
Mask: TypeAlias = npt.NDArray[np.bool_]  # (H, W)
Indices: TypeAlias = npt.NDArray[np.int64]  # (N,) of vertices, points or photos
FloatArray: TypeAlias = npt.NDArray[np.floating[Any]]
LabelImage: TypeAlias = npt.NDArray[np.uint8]  # (H, W) class index per pixel


def check_shape(array: npt.NDArray[Any], shape: tuple[int | None, ...], name: str) -> None:
    """Refuse an array whose shape is not the one named; None stands for any length.

    Raises:
        ShapeError: the number of axes or a fixed length differs.
    """
    fits = array.ndim == len(shape) and all(
        want is None or want == have for want, have in zip(shape, array.shape, strict=True)
    )
    if not fits:
        wanted = "(" + ", ".join("any" if n is None else str(n) for n in shape) + ")"
        raise ShapeError(f"{name} must have shape {wanted}, got {array.shape}")
