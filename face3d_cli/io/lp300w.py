"""300W-LP's annotations: pose, coefficients of the Basel model, and landmarks where they are there.

Source: Zhu et al. 2016, "Face Alignment Across Large Poses" (3DDFA), and the data set's own
`RotationMatrix.m`: R = R_x(pitch) R_y(yaw) R_z(roll), whose angles run the other way round ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import loadmat

from face3d_cli.arrays import FloatArray, Points2
from face3d_cli.core.camera import PoseDegrees
from face3d_cli.core.landmarks68 import NUM_LANDMARKS
from face3d_cli.errors import UnreadableInput


@dataclass(frozen=True)
class LpAnnotation:
    """What NAME.mat says of NAME.jpg.

    Attributes:
        rotation: (3, 3) from the head frame to the camera's axes (y up).
        shift: (3,) of the model's origin, in pixels, y from the bottom of the picture.
        scale_px_per_unit: of the Basel model's micrometres.
        shape: (199,) and expression: (29,) coefficients of the Basel model.
        landmarks_px: (68, 2) `pt2d`, or x and y of AFLW2000-3D's `pt3d_68`; None without either.
            In 300W-LP's turned pictures (all but NAME_0) `pt2d` does not follow the face.
    """

    rotation: FloatArray
    shift: FloatArray
    scale_px_per_unit: float
    shape: FloatArray
    expression: FloatArray
    landmarks_px: Points2 | None

    @property
    def pose(self) -> PoseDegrees:
        """The angles, as this project counts them."""
        return PoseDegrees.from_rotation(self.rotation)


def read_lp_annotation(path: Path) -> LpAnnotation:
    """Read one .mat file of 300W-LP or AFLW2000-3D.

    MATLAB counts pixels from 1; points come out with the first pixel's centre at 0.

    Raises:
        UnreadableInput: not such a file.
    """
    try:
        content = loadmat(path)
        pose = np.asarray(content["Pose_Para"], np.float64).ravel()
        shape = np.asarray(content["Shape_Para"], np.float64).ravel()
        expression = np.asarray(content["Exp_Para"], np.float64).ravel()
        points = content.get("pt2d", content.get("pt3d_68"))
    except Exception as problem:  # damaged MATLAB files raise errors of many kinds
        raise UnreadableInput(
            f"{path} holds no annotation of 300W-LP ({problem})",
            hint="expected Pose_Para, Shape_Para and Exp_Para",
        ) from problem
    if len(pose) != 7 or not np.isfinite(pose).all():
        raise UnreadableInput(f"{path}: expected 7 numbers in Pose_Para, found {len(pose)}")
    landmarks = None
    if points is not None:
        landmarks = np.asarray(points, np.float64)[:2].T - 1.0
        if landmarks.shape != (NUM_LANDMARKS, 2):
            raise UnreadableInput(f"{path}: expected 68 points, found {landmarks.shape}")
    return LpAnnotation(
        _rotation(*pose[:3]), pose[3:6], float(pose[6]), shape, expression, landmarks
    )


def _rotation(pitch: float, yaw: float, roll: float) -> FloatArray:
    (sx, sy, sz), (cx, cy, cz) = np.sin([pitch, yaw, roll]), np.cos([pitch, yaw, roll])
    about_x = np.array([[1, 0, 0], [0, cx, sx], [0, -sx, cx]])
    about_y = np.array([[cy, 0, -sy], [0, 1, 0], [sy, 0, cy]])
    about_z = np.array([[cz, sz, 0], [-sz, cz, 0], [0, 0, 1]])
    rotation: FloatArray = about_x @ about_y @ about_z
    return rotation
