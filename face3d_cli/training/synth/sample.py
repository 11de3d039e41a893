"""What is a training sample? A square picture with the head always at one size, and its face.

The face is numbers: shape coefficients, rotation, shift. The position map is made of those when it
is needed, from `surface.npz` beside them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from face3d_cli.arrays import FloatArray, RgbImage
from face3d_cli.core.position_map import FACE_CENTRE_CM

SAMPLE_PX = 160
PX_PER_CM = 5.82  # 22 cm are 128 px
MAP_PX = 64


@dataclass(frozen=True)
class Sample:
    """One training picture and its face.

    Attributes:
        image: (SAMPLE_PX, SAMPLE_PX, 3).
        coefficients: (K,).
        rotation: (3, 3) model to camera, y up.
        shift_px: (3,) x right, y down, z nearer; the scale is `PX_PER_CM`.
        closeness_per_cm: 1 / distance of the pinhole from the middle of the face, which is seen in
            the line of sight; 0 is scaled-orthographic.
        yaw_deg: of the face in the picture.
        is_turned: whether it was rendered.
    """

    image: RgbImage
    coefficients: FloatArray
    rotation: FloatArray
    shift_px: FloatArray
    closeness_per_cm: float
    yaw_deg: float
    is_turned: bool


def sample_at(
    image: RgbImage,
    coefficients: FloatArray,
    rotation: FloatArray,
    face_px: FloatArray,
    *,
    is_turned: bool,
    closeness_per_cm: float = 0.0,
) -> Sample:
    """The sample whose middle of the face is at `face_px`, at depth 0."""
    offset = (rotation @ FACE_CENTRE_CM) * PX_PER_CM * (1.0, -1.0, 1.0)
    shift = np.array([face_px[0], face_px[1], 0.0]) - offset
    yaw = float(np.degrees(np.arctan2(rotation[0, 2], rotation[2, 2])))
    return Sample(
        image,
        coefficients,
        rotation.astype(np.float32),
        shift.astype(np.float32),
        closeness_per_cm,
        yaw,
        is_turned,
    )
