"""How position maps are written: float32 NPY, and 16-bit PNG."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray
from face3d_cli.errors import OutputError
from face3d_cli.io.atomic import atomic_path


def save_map_npy(path: Path, position_map: FloatArray) -> None:
    """Write (M, M, 3) float32 x, y, z, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    packed = BytesIO()
    np.save(packed, position_map.astype(np.float32))
    with atomic_path(path) as temporary:
        temporary.write_bytes(packed.getvalue())


def save_map_png(path: Path, pixels: npt.NDArray[np.uint16]) -> None:
    """Write (M, M, 3) 16-bit x, y, z as red, green, blue, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    done, packed = cv2.imencode(".png", pixels[..., ::-1])
    if not done:
        raise OutputError(f"cannot pack {path.name} as PNG")
    with atomic_path(path) as temporary:
        temporary.write_bytes(packed.tobytes())
