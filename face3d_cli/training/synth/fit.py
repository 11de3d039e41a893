"""Which face of ICT-FaceKit lies behind MediaPipe's points? A ridge fit, and who fits too badly.

MediaPipe's points are not marked on ICT-FaceKit. The 51 inner landmarks are known by name; where
the others lie is learnt from frontal photos: fit the landmarks, see which place of the model each
point falls on, take the median over the photos, and fit again with the points that stay in place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial import cKDTree

from face3d_cli.arrays import FloatArray, Points2, Points3
from face3d_cli.core.landmarks68 import JAW
from face3d_cli.training.synth.surface import FaceSurface

# MediaPipe's points at the 68 landmarks; the jaw's are on the visible outline.
# fmt: off
MEDIAPIPE_68 = np.array([
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300, 168, 197, 5, 4, 98, 97, 2, 326, 327,
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181, 78, 82, 13, 312, 308, 317, 14, 87,
])
# Those of the face's oval, which follow the outline and no fixed place.
OVAL = (
    10, 338, 297, 332, 284, 251, 389, 356, 454, 323, 361, 288, 397, 365, 379, 378, 400, 377,
    152, 148, 176, 149, 150, 136, 172, 58, 132, 93, 234, 127, 162, 21, 54, 103, 67, 109,
)
# fmt: on
NUM_POINTS = 468  # without the irises
NARROW_FACE_END = 6706  # vertices without ears and neck (README of ICT-FaceKit)


@dataclass(frozen=True)
class FitSettings:
    """How points pull at the face.

    Attributes:
        jaw_weight: of the 17 outline points, which are no fixed places.
        dense_weight: of the learnt points.
        depth_weight: of z, which MediaPipe only guesses, against x and y.
        identity_ridge, expression_ridge: square centimetres that one unit of a shape may cost.
        max_error: mean distance of the 51 inner landmarks over sqrt(w h) of their box, beyond which
            a photo is dropped.
        max_spread_cm: a learnt point that wanders more between photos is not used.
    """

    jaw_weight: float = 0.03
    dense_weight: float = 0.5
    depth_weight: float = 0.15
    identity_ridge: float = 0.1
    expression_ridge: float = 0.1
    max_error: float = 0.05
    max_spread_cm: float = 0.35
    iterations: int = 4
    num_learning_photos: int = 400
    learning_yaw_deg: float = 12.0


@dataclass(frozen=True)
class FittedFace:
    """A face in one photo: point = scale * rotation @ model + shift, y up, z towards the viewer.

    Attributes:
        coefficients: (K,) of `FaceSurface.basis_cm`.
        rotation: (3, 3) from the model's axes to the camera's.
        scale_px_per_cm, shift_px: (3,) in pixels, y up.
        error: of the inner landmarks, a share of their box.
    """

    coefficients: FloatArray
    rotation: FloatArray
    scale_px_per_cm: float
    shift_px: FloatArray
    error: float

    def place(self, points_cm: Points3) -> Points3:
        """(..., 3) model points in pixels: x right, y down, z nearer."""
        placed = points_cm @ (self.scale_px_per_cm * self.rotation.T) + self.shift_px
        return placed * (1.0, -1.0, 1.0)


@dataclass(frozen=True)
class Correspondence:
    """Which of MediaPipe's points are used, on which vertex, how strongly."""

    point: FloatArray  # (N,) index into MediaPipe's points
    vertex: FloatArray  # (N,) vertex of the model
    weight: FloatArray  # (N,)


def landmark_correspondence(surface: FaceSurface, settings: FitSettings) -> Correspondence:
    """The 68 landmarks alone."""
    weight = np.ones(68)
    weight[JAW] = settings.jaw_weight
    return Correspondence(MEDIAPIPE_68, np.array(surface.landmark_vertices), weight)


def yaw_of_points_deg(points: Points3) -> FloatArray:
    """(N,) rough yaw from the line between the ears, for (N, 478, 3) points."""
    across = points[:, 454] - points[:, 234]
    return np.degrees(np.arctan2(across[:, 2], across[:, 0]))


def learn_correspondence(
    surface: FaceSurface, points: Points3, settings: FitSettings, seed: int = 0
) -> Correspondence:
    """Find the places of MediaPipe's other points, from frontal photos among (N, 478, 3)."""
    basic = landmark_correspondence(surface, settings)
    frontal = np.flatnonzero(np.abs(yaw_of_points_deg(points)) < settings.learning_yaw_deg)
    count = min(settings.num_learning_photos, len(frontal))
    chosen = np.random.default_rng(seed).choice(frontal, count, replace=False)
    found, narrow = basic, np.arange(NARROW_FACE_END)
    tree = cKDTree(surface.mean_cm[narrow])
    narrow_basis = np.ascontiguousarray(surface.basis_cm[:, narrow])
    for _ in range(3):
        places = []
        for each in points[chosen]:
            fitted = fit_face(surface, each, found, settings)
            shape = surface.mean_cm[narrow] + np.tensordot(
                fitted.coefficients.astype(np.float32), narrow_basis, axes=1
            )
            hit = _vertex_under(fitted.place(shape), each[:NUM_POINTS, :2], fitted.scale_px_per_cm)
            places.append(surface.mean_cm[hit])
        middle = np.median(places, axis=0)
        spread = np.median(np.linalg.norm(np.stack(places) - middle, axis=2), axis=0)
        usable = spread < settings.max_spread_cm
        usable[list(OVAL)] = False
        dense = np.flatnonzero(usable)
        found = Correspondence(
            np.concatenate([basic.point, dense]),
            np.concatenate([basic.vertex, tree.query(middle[dense])[1]]),
            np.concatenate([basic.weight, np.full(len(dense), settings.dense_weight)]),
        )
    return found


def _vertex_under(placed: Points3, points_px: Points2, scale_px_per_cm: float) -> FloatArray:
    """(N,) the vertex nearest to each point in the picture, of those in front."""
    distance, index = cKDTree(placed[:, :2]).query(points_px, k=6)
    depth = placed[index][..., 2]
    in_front = depth > depth.max(axis=1, keepdims=True) - 0.6 * scale_px_per_cm
    best = np.where(in_front, distance, np.inf).argmin(axis=1)
    hit: FloatArray = index[np.arange(len(index)), best]
    return hit


def fit_face(
    surface: FaceSurface, points: Points3, pairs: Correspondence, settings: FitSettings
) -> FittedFace:
    """Alternate between the pose and, by least squares with a ridge, the shape.

    Args:
        surface: the model.
        points: (478, 3) MediaPipe's, pixels, y down, z away from the viewer.
        pairs: which of them to use.
        settings: weights.
    """
    mean = surface.mean_cm[pairs.vertex]
    basis = surface.basis_cm[:, pairs.vertex]
    target = points[pairs.point] * (1.0, -1.0, -1.0)
    weight = pairs.weight
    root = np.sqrt(np.stack([weight, weight, weight * settings.depth_weight], axis=1))
    ridge = np.full(len(basis), settings.expression_ridge)
    ridge[: surface.num_identities] = settings.identity_ridge
    shape, coefficients = mean, np.zeros(len(basis))
    for _ in range(settings.iterations):
        rotation, scale, shift = _pose(shape, target, weight)
        away = (target - shift) / scale - mean @ rotation.T
        columns = ((basis @ rotation.T) * root).reshape(len(basis), -1)
        normal = columns @ columns.T + np.diag(ridge)
        coefficients = np.linalg.solve(normal, columns @ (away * root).ravel())
        shape = mean + np.tensordot(coefficients, basis, axes=1)
    rotation, scale, shift = _pose(shape, target, weight)
    placed = scale * shape @ rotation.T + shift
    inner = slice(JAW.stop, 68)
    box = np.ptp(target[inner, :2], axis=0)
    error = np.linalg.norm((placed - target)[inner, :2], axis=1).mean() / np.sqrt(box.prod())
    return FittedFace(coefficients, rotation, scale, shift, float(error))


def _pose(
    source: Points3, target: Points3, weight: FloatArray
) -> tuple[FloatArray, float, FloatArray]:
    """Rotation from all three axes (Kabsch), then scale and shift from x and y alone."""
    share = weight / weight.sum()
    source_mean, target_mean = share @ source, share @ target
    covariance = (target - target_mean).T @ ((source - source_mean) * share[:, None])
    u, _, v_transposed = np.linalg.svd(covariance)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ v_transposed))])
    rotation = (u * signs) @ v_transposed
    flat = (source - source_mean) @ rotation.T
    wanted = target - target_mean
    scale = float(
        ((flat * wanted)[:, :2] * share[:, None]).sum() / (flat[:, :2] ** 2 * share[:, None]).sum()
    )
    return rotation, scale, target_mean - scale * rotation @ source_mean
