"""Which turn, scale and shift brings one set of points onto another?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from face3d_cli.arrays import FloatArray, Points3, check_shape
from face3d_cli.errors import StageError


@dataclass(frozen=True)
class Similarity:
    """target = scale * rotation @ source + shift.

    Attributes:
        rotation: (3, 3), determinant +1.
        scale: positive.
        shift: (3,) in the target's unit.
    """

    rotation: FloatArray
    scale: float
    shift: FloatArray

    def apply(self, points: Points3) -> Points3:
        """(N, 3) source points in the target's frame."""
        moved: Points3 = self.scale * points @ self.rotation.T + self.shift
        return moved

    def undo(self, points: Points3) -> Points3:
        """(N, 3) target points in the source's frame."""
        back: Points3 = (points - self.shift) @ self.rotation / self.scale
        return back


def fit_similarity(source: Points3, target: Points3) -> Similarity:
    """Least-squares similarity from source to target points; never a reflection.

    Source: Umeyama 1991, "Least-squares estimation of transformation parameters between two point
    patterns", equations 40 to 43.

    Args:
        source: (N, 3), N at least 3.
        target: (N, 3), row by row the source's partners.

    Raises:
        ShapeError: the two differ in shape.
        StageError: the points of either set lie on one line or in one place.
    """
    check_shape(source, (None, 3), "source")
    check_shape(target, (len(source), 3), "target")
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    centred = source - source_mean
    covariance = (target - target_mean).T @ centred / len(source)
    u, singular, v_transposed = np.linalg.svd(covariance)
    if not np.isfinite(singular).all() or singular[1] <= 1e-12 * max(singular[0], 1e-300):
        raise StageError("the points to align lie on one line or in one place")
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u) * np.linalg.det(v_transposed))])
    rotation = (u * signs) @ v_transposed
    scale = float(singular @ signs / (centred**2).sum(axis=1).mean())
    return Similarity(rotation, scale, target_mean - scale * rotation @ source_mean)
