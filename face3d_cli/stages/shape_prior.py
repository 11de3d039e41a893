"""What can a face look like? The likely face nearest to a position map.

A network draws every place of the surface by itself, and does not know faces as a whole. The file
of its weights holds how the faces of its training data vary (mean and main modes, a Gaussian); a
map is fitted by them, with a pose of its own, as a morphable model is fitted under its prior
(Blanz & Vetter, "A morphable model for the synthesis of 3D faces", SIGGRAPH 1999), here to places.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from face3d_cli.arrays import FloatArray, Mask
from face3d_cli.core.position_map import NECK_BELOW_V
from face3d_cli.core.similarity import fit_similarity

# Of pose and shape by turns. Not yet the end: on 14 photos the place that moves most is then 0.3 mm
# (median) to 0.6 mm from where twenty rounds lead. The published figures are of five.
ROUNDS = 5
EVERY_TEXEL = 3  # one of so many is looked at
MM_PER_CM = 10.0


class ShapePrior:
    """A Gaussian over faces.

    Args:
        planes: (P, M * M) of which every coordinate of a face is made.
        mean: (P, 3) the mean face, in planes; head frame, centimetres.
        modes: (K, P, 3) independent modes, each one standard deviation long.
        valid: (M, M) texels that are on the surface.
    """

    def __init__(
        self, planes: FloatArray, mean: FloatArray, modes: FloatArray, valid: Mask
    ) -> None:
        size = len(valid)
        counts = valid.copy()
        counts[1.0 - (np.arange(size) + 0.5) / size < NECK_BELOW_V] = False
        self._seen = np.flatnonzero(counts)[::EVERY_TEXEL]
        self._mean_cm = planes.T @ mean  # (texels, 3)
        self._modes_cm = (planes.T @ modes).reshape(len(modes), -1)  # (K, texels * 3)
        self._seen_modes = (planes[:, self._seen].T @ modes).reshape(len(modes), -1)
        self._products = self._seen_modes @ self._seen_modes.T / len(self._seen)

    def nearest(self, map_up: FloatArray, noise_mm: float) -> FloatArray:
        """The likely face nearest to a map, in the map's frame.

        Args:
            map_up: (M, M, 3) in any unit, y up.
            noise_mm: root mean square distance to the map that is as unlikely as one standard
                deviation of one mode.

        Returns:
            (M, M, 3).
        """
        seen = map_up.reshape(-1, 3)[self._seen].astype(np.float64)
        mean_cm = self._mean_cm[self._seen].astype(np.float64)
        inverse = self._inverse(noise_mm)
        strengths = np.zeros(len(inverse))
        for _ in range(ROUNDS):
            shape_cm = mean_cm + _combined(strengths, self._seen_modes)
            away = fit_similarity(seen, shape_cm).apply(seen) - mean_cm
            along = np.einsum("kt,t->k", self._seen_modes, away.reshape(-1)) / len(seen)
            strengths = np.einsum("jk,k->j", inverse, along)
        shape_cm = mean_cm + _combined(strengths, self._seen_modes)
        whole_cm = self._mean_cm + _combined(strengths, self._modes_cm)
        found: FloatArray = fit_similarity(shape_cm, seen).apply(whole_cm)
        return found.reshape(map_up.shape).astype(np.float32)

    @lru_cache(maxsize=4)  # noqa: B019 (priors live as long as their networks, which are kept)
    def _inverse(self, noise_mm: float) -> FloatArray:
        noise = (noise_mm / MM_PER_CM) ** 2
        found: FloatArray = np.linalg.inv(self._products + noise * np.eye(len(self._products)))
        return found


def _combined(strengths: FloatArray, modes: FloatArray) -> FloatArray:
    """(texels, 3). Not by BLAS: its threads would go on spinning beside the next network's."""
    found: FloatArray = np.einsum("k,kt->t", strengths, modes).reshape(-1, 3)
    return found
