"""What can a face look like? The likely face nearest to a position map, and how near the camera is.

A network draws every place of the surface by itself, and does not know faces as a whole. The file
of its weights holds how the faces of its training data vary (mean and main modes, a Gaussian); a
map is fitted by them, with a pose and a perspective of its own, as a morphable model is fitted
under its prior (Blanz & Vetter, "A morphable model for the synthesis of 3D faces", SIGGRAPH 1999),
here to places.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from face3d_cli.arrays import FloatArray, Mask, Points3
from face3d_cli.core.camera import Perspective
from face3d_cli.core.position_map import FACE_CENTRE_CM, NECK_BELOW_V
from face3d_cli.core.similarity import Similarity, fit_similarity
from face3d_cli.settings import ClosenessSettings

ROUNDS = 3
EVERY_TEXEL = 3  # one of so many is looked at
MM_PER_CM = 10.0


@dataclass(frozen=True)
class LikelyFace:
    """What a map was brought to.

    Attributes:
        map: (M, M, 3) where its places are seen, in the frame and unit of the map.
        perspective: how they are seen.
    """

    map: FloatArray
    perspective: Perspective


class ShapePrior:
    """A Gaussian over faces.

    Args:
        planes: (P, M * M) of which every coordinate of a face is made.
        mean: (P, 3) the mean face, in planes; head frame, centimetres.
        modes: (K, P, 3) independent modes, each one standard deviation long.
        valid: (M, M) texels that are on the surface.
        has_perspective: whether maps show faces in perspective; others are taken as they are.
    """

    def __init__(
        self,
        planes: FloatArray,
        mean: FloatArray,
        modes: FloatArray,
        valid: Mask,
        has_perspective: bool = True,
    ) -> None:
        size = len(valid)
        counts = valid.copy()
        counts[1.0 - (np.arange(size) + 0.5) / size < NECK_BELOW_V] = False
        self._seen = np.flatnonzero(counts)[::EVERY_TEXEL]
        self._mean_cm = planes.T @ mean  # (texels, 3)
        self._modes_cm = (planes.T @ modes).reshape(len(modes), -1)  # (K, texels * 3)
        seen_modes = (planes[:, self._seen].T @ modes).reshape(len(modes), -1)
        self._seen_modes = np.ascontiguousarray(seen_modes, np.float64)
        self._products = seen_modes @ seen_modes.T / len(self._seen)
        self._has_perspective = has_perspective

    def nearest(
        self, map_up: FloatArray, noise_mm: float, cameras: ClosenessSettings = ClosenessSettings()
    ) -> LikelyFace:
        """The likely face nearest to a map.

        Gauss-Newton over shape, pose and perspective together: a near camera looks much like a
        narrow jaw or a turned head, so that one after the other would not get there.

        Args:
            map_up: (M, M, 3) in any unit, y up, depth 0 at the middle of the face.
            noise_mm: root mean square distance to the map that is as unlikely as one standard
                deviation of one mode.
            cameras: how near they are, in general.
        """
        seen = map_up.reshape(-1, 3)[self._seen].astype(np.float64)
        mean_cm = self._mean_cm[self._seen].astype(np.float64)
        inverse = self._inverse(noise_mm)
        shape_cm, strengths = mean_cm, np.zeros(len(inverse))
        to_map = fit_similarity(shape_cm, seen)
        closeness_per_cm = cameras.mean_per_cm if self._has_perspective else 0.0
        weight = (noise_mm / MM_PER_CM / cameras.spread_per_cm) ** 2
        for _ in range(ROUNDS):
            view = _perspective(closeness_per_cm, to_map)
            to_map = fit_similarity(shape_cm, view.undo(seen))
            view = _perspective(closeness_per_cm, to_map)
            places_cm = to_map.undo(view.undo(seen))
            away = (places_cm - mean_cm).reshape(-1)
            # What pose and perspective can still do to the places, and how much they should.
            free = _rigid_moves(places_cm)
            if self._has_perspective:
                free = np.vstack([free, _nearer_moves(seen, view, to_map)])
            fields = np.vstack([free, away])  # (X, T)
            along = np.stack([np.einsum("kt,t->k", self._seen_modes, each) for each in fields], 1)
            along /= len(seen)
            explained = np.einsum("jk,kx->jx", inverse, along)
            left = np.einsum("xt,yt->xy", fields, fields) / len(seen)
            left -= np.einsum("kx,ky->xy", along, explained)
            normal, wanted = left[:-1, :-1], left[:-1, -1]
            if self._has_perspective:
                normal[-1, -1] += weight
                wanted[-1] += weight * (closeness_per_cm - cameras.mean_per_cm)
            step = -np.linalg.solve(normal, wanted)
            strengths = explained[:, -1] + np.einsum("kx,x->k", explained[:, :-1], step)
            shape_cm = mean_cm + _combined(strengths, self._seen_modes)
            if self._has_perspective:
                moved = closeness_per_cm + step[-1]
                closeness_per_cm = float(np.clip(moved, 0.0, cameras.largest_per_cm))
        view = _perspective(closeness_per_cm, to_map)
        to_map = fit_similarity(shape_cm, view.undo(seen))
        view = _perspective(closeness_per_cm, to_map)
        whole_cm = self._mean_cm + _combined(strengths, self._modes_cm)
        found = view.apply(to_map.apply(whole_cm))
        return LikelyFace(found.reshape(map_up.shape).astype(np.float32), view)

    @lru_cache(maxsize=4)  # noqa: B019 (priors live as long as their networks, which are kept)
    def _inverse(self, noise_mm: float) -> FloatArray:
        noise = (noise_mm / MM_PER_CM) ** 2
        found: FloatArray = np.linalg.inv(self._products + noise * np.eye(len(self._products)))
        return found


def _perspective(closeness_per_cm: float, to_map: Similarity) -> Perspective:
    """The perspective about the middle of a face of that pose."""
    centre = to_map.apply(FACE_CENTRE_CM[None])[0, :2]
    return Perspective(closeness_per_cm / to_map.scale, centre)


def _rigid_moves(places_cm: Points3) -> FloatArray:
    """(7, 3 N) how (N, 3) places move when they are shifted, turned and scaled a little."""
    x, y, z = (places_cm - places_cm.mean(axis=0)).T
    one, zero = np.ones_like(x), np.zeros_like(x)
    moves = [
        (one, zero, zero), (zero, one, zero), (zero, zero, one),
        (zero, -z, y), (z, zero, -x), (-y, x, zero),
        (x, y, z),
    ]  # fmt: skip
    return np.stack([np.column_stack(move).reshape(-1) for move in moves])


def _nearer_moves(seen: Points3, view: Perspective, to_map: Similarity) -> FloatArray:
    """(3 N,) how places in the head's frame move for each 1 / cm that the camera is nearer."""
    moves = np.zeros_like(seen)
    moves[:, :2] = -(seen[:, :2] - view.centre) * seen[:, 2:] / to_map.scale
    return np.asarray(moves @ to_map.rotation / to_map.scale).reshape(-1)


def _combined(strengths: FloatArray, modes: FloatArray) -> FloatArray:
    """(texels, 3). Not by BLAS: its threads would go on spinning beside the next network's."""
    found: FloatArray = np.einsum("k,kt->t", strengths, modes).reshape(-1, 3)
    return found
