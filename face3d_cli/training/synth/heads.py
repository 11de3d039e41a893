"""How is a head turned, and where is its jaw? A second teacher's answer, in our model's terms.

Landmarks of one photo hardly tell the turn of a head from its shape, and nothing in a photo near
the front shows the jaw in 3-D. 3DDFA_V2 (Guo et al. 2020) was trained on heads turned in depth
(300W-LP), so it knows more of both. Its model is another one, so a constant tilt and constant
offsets of its landmarks are learnt first, on faces that were fitted without it, and taken out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from face3d_cli.arrays import FloatArray, Indices, Points3
from face3d_cli.core.landmarks68 import JAW, MIRRORED
from face3d_cli.core.position_map import landmarks_of
from face3d_cli.core.similarity import Similarity
from face3d_cli.training.synth.surface import FaceSurface

IMAGE_AXES = np.array([1.0, -1.0, 1.0])  # y up in the model's frame, down in the picture's
INNER = slice(JAW.stop, None)


@dataclass(frozen=True)
class SeenHead:
    """What the second teacher saw in a photo.

    Attributes:
        landmarks_px: (68, 3) x, y down, z nearer.
        rotation: (3, 3) from its model's axes to the camera's, y up.
    """

    landmarks_px: Points3
    rotation: FloatArray


@dataclass(frozen=True, eq=False)
class HeadConvention:
    """By how much the second teacher's heads differ from ours.

    Attributes:
        vertex: (68,) of our model, nearest to the landmarks of position maps.
        offsets_mm: (68, 3) where its landmarks lie from there, in the head's frame.
        tilt_rad: by how much less its heads look up.
    """

    vertex: Indices
    offsets_mm: Points3
    tilt_rad: float

    def turn_of(self, head: SeenHead) -> FloatArray:
        """(3, 3) from our model's axes to the camera's."""
        return _untilted(head.rotation, self.tilt_rad)

    def jaw_of(self, head: SeenHead, mean_mm: Points3, placed: Similarity) -> Points3:
        """(17, 3) where our vertices at the jaw are in the photo: x, y down, z nearer.

        Args:
            head: what was seen.
            mean_mm: (V, 3) our mean face.
            placed: roughly from the mean face into the photo, y up; gives the depth's origin.
        """
        upright = head.landmarks_px * IMAGE_AXES
        upright -= placed.scale * self.offsets_mm @ self.turn_of(head).T
        upright[:, 2] += (placed.apply(mean_mm[self.vertex]) - upright)[:, 2].mean()
        jaw: Points3 = upright[JAW] * IMAGE_AXES
        return jaw


def learn_convention(
    surface: FaceSurface, fitted: Sequence[tuple[SeenHead, FloatArray, Points3]]
) -> HeadConvention:
    """Compare heads with faces that were fitted without them.

    Args:
        surface: our model.
        fitted: at least one; head, (3, 3) rotation and (V, 3) shape in millimetres of the fit.
    """
    places_mm = 10.0 * landmarks_of(surface.map_mean_cm.astype(np.float32))
    face_end = int(surface.linear_mm.triangles.max()) + 1
    _, vertex = cKDTree(surface.mean_cm[:face_end] * 10.0).query(places_mm)
    tilts = [tilt_between(head.rotation, rotation) for head, rotation, _ in fitted]
    tilt_rad = float(np.median(tilts))
    away = []
    for head, _, shape_mm in fitted:
        ours = shape_mm[vertex]
        theirs = head.landmarks_px * IMAGE_AXES @ _untilted(head.rotation, tilt_rad)
        theirs *= np.linalg.norm(np.std(ours[INNER, :2], axis=0)) / np.linalg.norm(
            np.std(theirs[INNER, :2], axis=0)
        )
        theirs += (ours - theirs)[INNER].mean(axis=0)
        away.append(theirs - ours)
    typical = np.median(away, axis=0)
    symmetric = (typical + typical[list(MIRRORED)] * (-1, 1, 1)) / 2
    return HeadConvention(np.asarray(vertex, np.int64), symmetric, tilt_rad)


def between(first: FloatArray, second: FloatArray, share: float) -> FloatArray:
    """(3, 3) the rotation that lies `share` of the way from the first to the second."""
    way = Rotation.from_matrix(second @ first.T).as_rotvec()
    turn: FloatArray = Rotation.from_rotvec(share * way).as_matrix() @ first
    return turn


def tilt_between(seen: FloatArray, fitted: FloatArray) -> float:
    """By how many radians about x the fitted rotation differs from the seen one."""
    return float(Rotation.from_matrix(seen.T @ fitted).as_rotvec()[0])


def _untilted(rotation: FloatArray, tilt_rad: float) -> FloatArray:
    turn: FloatArray = rotation @ Rotation.from_euler("x", tilt_rad).as_matrix()
    return turn
