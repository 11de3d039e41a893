"""Which coefficients and camera of a linear face model explain these points? Gauss-Newton.

Works for any `LinearFace`. A step costs a few milliseconds: the points are few, and only their rows
of the model are touched.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np
from scipy.spatial.transform import Rotation

from face3d_cli.arrays import FloatArray, Indices, Points2, Points3, check_shape
from face3d_cli.core.camera import PerspectiveCamera, ScaledOrthographicCamera, enlargement
from face3d_cli.core.landmarks68 import INNER_LIPS, JAW, NUM_LANDMARKS, bounding_box
from face3d_cli.core.linear_face import LinearFace
from face3d_cli.errors import StageError
from face3d_cli.settings import LinearFitSettings

MIN_FACE_PX = 8.0  # landmarks closer together than this hold no shape
# Upper and lower landmark of lids and lips: what is closed in the photo must be closed in 3-D.
OPENINGS = ((37, 41), (38, 40), (43, 47), (44, 46), (61, 67), (62, 66), (63, 65))
_CAMERA = 7  # turn (3), logarithm of the scale, shift (2), shift in depth
_AXES = np.array([1.0, -1.0, 1.0])  # image y points down; depth towards the viewer


@dataclass(frozen=True)
class DensePoints:
    """Where vertices of the model are in a photo, as a dense network saw them.

    Attributes:
        vertices: (N,) vertex indices.
        points_px: (N, 3) image x, y and depth towards the viewer, in pixels; the origin of the
            depth is free.
        weights: (N,) how far each point is trusted, 0 to 1.
    """

    vertices: Indices
    points_px: Points3
    weights: FloatArray

    def __post_init__(self) -> None:
        check_shape(self.points_px, (len(self.vertices), 3), "dense points")
        check_shape(self.weights, (len(self.vertices),), "weights of dense points")


@dataclass(frozen=True)
class Lens:
    """What is known of a photo's perspective.

    Attributes:
        focal_px: focal length.
        centre_px: (2,) principal point, usually the photo's middle.
    """

    focal_px: float
    centre_px: FloatArray


@dataclass(frozen=True)
class RotationPrior:
    """How a head is turned, as something else saw it.

    Attributes:
        rotation: (3, 3) from the model's axes to the camera's (y up).
        spread_deg: standard deviation about each axis.
    """

    rotation: FloatArray
    spread_deg: float


@dataclass(frozen=True)
class FacePoints:
    """What is known of a face in one photo.

    Attributes:
        landmarks_px: (68, 2).
        dense: more points, where a network gave them.
        landmark_weights: (68,) how far each landmark is trusted, 0 to 1; None trusts all.
        lens: of a perspective camera; None fits a scaled-orthographic one.
        turn: how the head is turned, where that is known.
    """

    landmarks_px: Points2
    dense: DensePoints | None = None
    landmark_weights: FloatArray | None = None
    lens: Lens | None = None
    turn: RotationPrior | None = None

    @property
    def size_px(self) -> float:
        """sqrt(w h) of the landmarks' box."""
        _, _, width, height = bounding_box(self.landmarks_px)
        return float(np.sqrt(width * height))


@dataclass(frozen=True)
class FaceInPhoto:
    """One photo's part of a fit.

    Attributes:
        camera: from the model's frame, in millimetres, into the photo.
        expression: (E,) weights in 0..1.
        landmark_vertices: (68,) the nearest to the landmarks; the jaw's moved with the pose.
        fit_error_px: mean distance of these, projected, to the given landmarks.
    """

    camera: ScaledOrthographicCamera
    expression: FloatArray
    landmark_vertices: Indices
    fit_error_px: float


@dataclass(frozen=True)
class LinearFit:
    """A person: one shape, and a pose and expression for each photo.

    Attributes:
        shape: (K,) in standard deviations.
        photos: in the order given.
    """

    shape: FloatArray
    photos: tuple[FaceInPhoto, ...]


def fit_linear_face(
    model: LinearFace,
    photos: Sequence[FacePoints],
    settings: LinearFitSettings = LinearFitSettings(),
) -> LinearFit:
    """Find the shape shared by all photos of one person, and each photo's camera and expression.

    The most probable coefficients under Gaussian priors, a robust loss, and expressions held in
    0..1. Jaw landmarks move along their rows to where the face's outline is.

    Args:
        model: any linear face.
        photos: at least one.
        settings: noise of the points, priors, number of steps.

    Raises:
        ShapeError: not 68 landmarks.
        StageError: the points of a photo hold no face, or the fit ran away.

    Source: landmark marching after Zhu et al. 2015, "High-Fidelity Pose and Expression
    Normalization for Face Recognition in the Wild", section 3.1; robust weights are Cauchy's.
    """
    if not photos:
        raise StageError("nothing to fit: no photo was given")
    for points in photos:
        _require_face(points)
    part = _landmark_part(model, settings.landmark_offsets)
    states = [_Photo(model, part, points, settings) for points in photos]
    shape: FloatArray = np.zeros(len(model.shape_mm))
    for state in states:
        for _ in range(settings.pose_steps):
            state.step_pose(shape)
    for _ in range(settings.steps):
        shape = _step(states, shape, settings)
    if not np.isfinite(shape).all():
        raise StageError("the fit gave a shape that is not finite", hint="check the landmarks")
    return LinearFit(shape, tuple(state.result(shape) for state in states))


@dataclass(frozen=True, eq=False)
class _Rows:
    """Some vertices of a model: mean (N, 3) and shape and expressions together (K + E, N, 3)."""

    vertices: Indices
    mean: Points3
    basis: FloatArray

    @classmethod
    def of(cls, model: LinearFace, vertices: Indices) -> _Rows:
        basis = np.concatenate([model.shape_mm[:, vertices], model.expression_mm[:, vertices]])
        return cls(vertices, model.mean_mm[vertices].astype(np.float64), basis.astype(np.float64))

    def points(self, coefficients: FloatArray) -> Points3:
        return np.asarray(self.mean + np.tensordot(coefficients, self.basis, axes=1))


@lru_cache(maxsize=4)
def _landmark_part(model: LinearFace, use_offsets: bool) -> tuple[_Rows, _Rows]:
    """The landmarks' vertices, moved to the landmarks, and those of the jaw's rows."""
    landmarks = _Rows.of(model, model.landmark_vertices)
    if use_offsets:
        landmarks = replace(landmarks, mean=landmarks.mean + model.landmark_offsets_mm)
    return landmarks, _Rows.of(model, model.jaw_rows.ravel())


@dataclass
class _Photo:
    """One photo while it is fitted."""

    model: LinearFace
    part: tuple[_Rows, _Rows]
    points: FacePoints
    settings: LinearFitSettings
    rotation: FloatArray = field(init=False)
    expression: FloatArray = field(init=False)
    scale: float = field(init=False)
    shift: FloatArray = field(init=False)  # (3,), the last is depth

    def __post_init__(self) -> None:
        self.size = self.points.size_px
        self.expression = np.zeros(len(self.model.expression_mm))
        self.has_landmark = self.model.landmark_vertices >= 0
        self.dense = None
        if (dense := self.points.dense) is not None:
            self.dense = _Rows.of(self.model, dense.vertices)
        self._start()

    def _start(self) -> None:
        """Camera of the mean face, from the landmarks that do not move: an affine fit, cleaned."""
        fixed = np.flatnonzero(self.has_landmark & (np.arange(NUM_LANDMARKS) >= JAW.stop))
        mean, wanted = self.part[0].mean[fixed], self.points.landmarks_px[fixed] * (1, -1)
        centred = mean - mean.mean(axis=0)
        # Nearly flat faces leave depth undecided: a little ridge keeps it small.
        gram = centred.T @ centred + 1e-2 * np.trace(centred.T @ centred) * np.eye(3) / 3
        affine = np.linalg.solve(gram, centred.T @ (wanted - wanted.mean(axis=0))).T  # (2, 3)
        self.scale = float(np.linalg.norm(affine, axis=1).mean())
        first = affine[0] / np.linalg.norm(affine[0])
        second = affine[1] - (affine[1] @ first) * first
        second /= np.linalg.norm(second)
        self.rotation = np.stack([first, second, np.cross(first, second)])
        middle = self.scale * self.rotation @ mean.mean(axis=0)
        self.shift = np.append(wanted.mean(axis=0) - middle[:2], 0.0) * _AXES
        if self.dense is not None and self.points.dense is not None:
            depth = self.scale * self.dense.mean @ self.rotation[2]
            self.shift[2] = np.median(self.points.dense.points_px[:, 2] - depth)

    def coefficients(self, shape: FloatArray) -> FloatArray:
        return np.concatenate([shape, self.expression])

    def landmarks(self, shape: FloatArray) -> tuple[_Rows, FloatArray]:
        """The model's rows of the landmarks, the jaw's chosen by the pose, and their normals.

        The normals are (17, 2) unit vectors in the image, y up, away from the face.
        """
        fixed, moving = self.part
        coefficients = self.coefficients(shape)
        rows = (moving.points(coefficients) @ self.rotation.T)[:, :2].reshape(17, -1, 2)
        # Outwards: from the middle of the face to the jaw as the mean face has it, turned in plane.
        mean_rows = moving.mean.reshape(17, -1, 3)
        outwards = (mean_rows[:, 0] - mean_rows[:, -1])[:, :2]
        roll = np.arctan2(self.rotation[1, 0], self.rotation[0, 0])
        turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
        outwards = outwards @ turn.T
        outwards /= np.linalg.norm(outwards, axis=1, keepdims=True)
        best = np.einsum("jrc,jc->jr", rows, outwards).argmax(axis=1)
        at = np.arange(17) * rows.shape[1] + best
        chosen = _Rows(
            np.concatenate([moving.vertices[at], fixed.vertices[17:]]),
            np.concatenate([moving.mean[at], fixed.mean[17:]]),
            np.concatenate([moving.basis[:, at], fixed.basis[:, 17:]], axis=1),
        )
        return chosen, outwards

    def _nearer(self, turned: Points3) -> tuple[FloatArray, float]:
        """(N, 1) how much larger each point appears than at the origin's depth; 1 / distance."""
        lens = self.points.lens
        closeness = 0.0 if lens is None else self.scale / lens.focal_px
        return enlargement(turned[:, 2:], closeness), closeness

    def _centre(self) -> FloatArray:
        return np.zeros(2) if self.points.lens is None else self.points.lens.centre_px

    def project(self, turned: Points3) -> Points3:
        """(N, 3) image x, y and depth."""
        projected: Points3 = self.scale * turned * _AXES + self.shift
        nearer, _ = self._nearer(turned)
        projected[:, :2] = self._centre() + nearer * (projected[:, :2] - self._centre())
        return projected

    def equations(self, shape: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Whitened, robustly weighted Jacobian (N, 7 + K + E) and residuals (N,)."""
        rows, outwards = self.landmarks(shape)
        jacobian, projected = self._jacobian(rows, shape)
        away = projected[:, :2] - self.points.landmarks_px  # (68, 2)
        used = self.has_landmark.copy()
        used[JAW] = True
        noise, size = self.settings, self.size
        whiten = np.repeat(np.eye(2)[None], NUM_LANDMARKS, axis=0) / (noise.landmark_noise * size)
        normal = outwards * (1, -1)
        along = np.stack([-normal[:, 1], normal[:, 0]], axis=1)
        whiten[JAW] = np.stack([normal, along / noise.jaw_slack], axis=1) / (noise.jaw_noise * size)
        if (trust := self.points.landmark_weights) is not None:
            whiten *= np.sqrt(trust)[:, None, None]
        parts = [
            _weighted(
                whiten[used] @ jacobian[used, :2],
                whiten[used] @ away[used, :, None],
                noise.robust_from,
            )
        ]
        upper, lower = np.array(OPENINGS).T
        between = (jacobian[upper, :2] - jacobian[lower, :2]) / (noise.opening_noise * size)
        gap = np.linalg.norm(
            self.points.landmarks_px[upper] - self.points.landmarks_px[lower], axis=1
        )
        closed_below = np.where(upper >= INNER_LIPS.start, noise.closed_lips, noise.closed_lids)
        is_closed = gap < closed_below * size
        apart = np.where(
            is_closed[:, None],
            projected[upper, :2] - projected[lower, :2],
            away[upper] - away[lower],
        )
        opening = apart[..., None] / (noise.opening_noise * size)
        both = used[upper] & used[lower]
        parts.append(_weighted(between[both], opening[both], noise.robust_from))
        if self.dense is not None and (dense := self.points.dense) is not None:
            jacobian, projected = self._jacobian(self.dense, shape)
            spread = np.array([noise.dense_noise, noise.dense_noise, noise.dense_depth_noise])
            whitening = np.sqrt(dense.weights)[:, None, None] / (spread * size)[:, None]
            away = (projected - dense.points_px)[..., None]
            rows_, residuals = _weighted(whitening * jacobian, whitening * away, noise.robust_from)
            slack = np.full(_CAMERA, noise.dense_slack)
            slack[4:] *= size
            parts.append(_forgiving(rows_, residuals, slack))
        if (turn := self.points.turn) is not None:
            away = Rotation.from_matrix(self.rotation @ turn.rotation.T).as_rotvec()
            spread_rad = np.radians(turn.spread_deg)
            parts.append((np.eye(3, jacobian.shape[-1]) / spread_rad, away / spread_rad))
        return np.concatenate([a for a, _ in parts]), np.concatenate([b for _, b in parts])

    def _jacobian(self, rows: _Rows, shape: FloatArray) -> tuple[FloatArray, Points3]:
        """(N, 3, 7 + K + E) derivatives of image x, y and depth, and the (N, 3) points."""
        turned = rows.points(self.coefficients(shape)) @ self.rotation.T
        x, y, z = turned.T
        zero = np.zeros_like(x)
        jacobian = np.empty((len(x), 3, _CAMERA + len(rows.basis)))
        # The turn is a small rotation after the present one: its derivative is a cross product.
        by_turn = np.stack([[zero, z, -y], [-z, zero, x], [y, -x, zero]])  # (3, 3, N)
        jacobian[..., :3] = self.scale * by_turn.transpose(2, 0, 1) * _AXES[:, None]
        jacobian[..., 3] = self.scale * turned * _AXES
        jacobian[..., 4:7] = np.eye(3)
        moved = rows.basis @ (self.scale * self.rotation.T * _AXES)  # (K + E, N, 3)
        jacobian[..., _CAMERA:] = moved.transpose(1, 2, 0)
        nearer, closeness = self._nearer(turned)
        if closeness:
            # image = centre + nearer * flat, and nearer = 1 / (1 - closeness * depth).
            flat = (self.scale * turned * _AXES + self.shift)[:, :2] - self._centre()
            grows = nearer**2 * closeness / self.scale * flat  # (N, 2) for each pixel of depth
            towards = jacobian[:, 2].copy()  # (N, P); a larger scale also comes closer
            towards[:, 6] = 0.0  # the depth's origin is the network's alone
            jacobian[:, :2] *= nearer[..., None]
            jacobian[:, :2] += grows[..., None] * towards[:, None]
        return jacobian, self.project(turned)

    def step_pose(self, shape: FloatArray) -> None:
        """One step of the camera alone."""
        jacobian, residuals = self.equations(shape)
        camera = jacobian[:, :_CAMERA]
        gram = camera.T @ camera + 1e-9 * np.eye(_CAMERA)
        self.move_camera(-np.linalg.solve(gram, camera.T @ residuals))

    def move_camera(self, change: FloatArray) -> None:
        turn = change[:3] * min(1.0, 0.5 / max(float(np.linalg.norm(change[:3])), 1e-12))
        self.rotation = Rotation.from_rotvec(turn).as_matrix() @ self.rotation
        self.scale *= float(np.exp(np.clip(change[3], -0.5, 0.5)))
        self.shift = self.shift + change[4:7]

    def result(self, shape: FloatArray) -> FaceInPhoto:
        vertices = self.landmarks(shape)[0].vertices
        if self.settings.landmark_offsets:
            vertices = np.append(vertices[JAW], self.model.vertices_at_landmarks[JAW.stop :])
        used = vertices >= 0
        on_face = _Rows.of(self.model, vertices[used]).points(self.coefficients(shape))
        camera = ScaledOrthographicCamera(self.rotation, self.scale, self.shift[:2])
        if (lens := self.points.lens) is not None:
            distance = lens.focal_px / self.scale
            camera = PerspectiveCamera(
                self.rotation, self.scale, self.shift[:2], distance, lens.centre_px
            )
        away = camera.project(on_face) - self.points.landmarks_px[used]
        return FaceInPhoto(
            camera, self.expression, vertices, float(np.linalg.norm(away, axis=1).mean())
        )


def _weighted(
    jacobian: FloatArray, residuals: FloatArray, robust_from: float
) -> tuple[FloatArray, FloatArray]:
    """Cauchy's weights on (N, C, P) whitened equations, one for each point; returned flat."""
    norm = np.linalg.norm(residuals[..., 0], axis=1)
    weight = 1.0 / np.sqrt(1.0 + (norm / robust_from) ** 2)
    flat = (jacobian * weight[:, None, None]).reshape(-1, jacobian.shape[-1])
    return flat, (residuals[..., 0] * weight[:, None]).ravel()


def _forgiving(
    jacobian: FloatArray, residuals: FloatArray, slack: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """The same equations, whitened for an error that all points share: a camera slightly off.

    Args:
        jacobian: (N, P) whitened as if the errors were independent; the camera's columns first.
        residuals: (N,).
        slack: (7,) standard deviations of the shared error, in the camera's units.

    A covariance I + Q Q' has the whitening matrix I - U (1 - 1 / sqrt(1 + s^2)) U', where U and s
    are Q's singular vectors and values.
    """
    left, values, _ = np.linalg.svd(jacobian[:, :_CAMERA] * slack, full_matrices=False)
    taken = left * (1.0 - 1.0 / np.sqrt(1.0 + values**2))
    return jacobian - taken @ (left.T @ jacobian), residuals - taken @ (left.T @ residuals)


def _step(photos: list[_Photo], shape: FloatArray, settings: LinearFitSettings) -> FloatArray:
    """One Gauss-Newton step of all photos together; returns the new shape.

    The unknowns are the shape, then each photo's camera and expression.
    """
    num_shape, num_expressions = len(shape), len(photos[0].expression)
    each = _CAMERA + num_expressions
    total = num_shape + each * len(photos)
    gram, right = np.zeros((total, total)), np.zeros(total)
    gram[:num_shape, :num_shape] = np.eye(num_shape) / settings.shape_spread**2
    right[:num_shape] = -shape / settings.shape_spread**2
    expression_prior = _expression_prior(photos[0].model, settings)
    low, high = np.full(total, -np.inf), np.full(total, np.inf)
    for index, photo in enumerate(photos):
        jacobian, residuals = photo.equations(shape)
        begin = num_shape + index * each
        where = np.concatenate(
            [
                np.arange(begin, begin + _CAMERA),
                np.arange(num_shape),
                np.arange(begin + _CAMERA, begin + each),
            ]
        )
        gram[np.ix_(where, where)] += jacobian.T @ jacobian
        right[where] -= jacobian.T @ residuals
        own = slice(begin + _CAMERA, begin + each)
        gram[own, own] += expression_prior
        right[own] -= expression_prior @ photo.expression
        low[own], high[own] = -photo.expression, 1.0 - photo.expression
    gram[np.diag_indices(total)] += 1e-9
    change = _solve_bounded(gram, right, low, high)
    for index, photo in enumerate(photos):
        begin = num_shape + index * each
        photo.move_camera(change[begin : begin + _CAMERA])
        moved = photo.expression + change[begin + _CAMERA : begin + each]
        photo.expression = np.clip(moved, 0.0, 1.0)
    return shape + change[:num_shape]


def _expression_prior(model: LinearFace, settings: LinearFitSettings) -> FloatArray:
    """(E, E) precision of the expressions' weights: small, and alike on both sides."""
    names = model.expression_names
    spread = np.full(len(names), settings.expression_spread)
    for name in settings.rare_expressions:
        if name in names:
            spread[names.index(name)] *= settings.rare_factor
    precision = np.diag(1.0 / spread**2)
    for left, name in enumerate(names):
        if name.endswith("_L") and (other := name[:-1] + "R") in names:
            right = names.index(other)
            strength = 1.0 / settings.asymmetry_spread**2
            precision[left, left] += strength
            precision[right, right] += strength
            precision[left, right] -= strength
            precision[right, left] -= strength
    return precision


def _solve_bounded(
    gram: FloatArray, right: FloatArray, low: FloatArray, high: FloatArray
) -> FloatArray:
    """Minimise x' gram x / 2 - right' x with low <= x <= high, by a few active-set rounds."""
    held = np.zeros(len(right), bool)
    change = np.zeros(len(right))
    for _ in range(6):
        free = ~held
        target = right[free] - gram[np.ix_(free, held)] @ change[held]
        change[free] = np.linalg.solve(gram[np.ix_(free, free)], target)
        outside = free & ((change < low) | (change > high))
        change = np.clip(change, low, high)
        slope = gram @ change - right
        # What is held at a bound but would rather come back is set free again.
        back = held & (((change <= low) & (slope < 0)) | ((change >= high) & (slope > 0)))
        if not outside.any() and not back.any():
            break
        held = (held | outside) & ~back
    return change


def _require_face(points: FacePoints) -> None:
    landmarks = points.landmarks_px
    check_shape(landmarks, (NUM_LANDMARKS, 2), "landmarks")
    if points.landmark_weights is not None:
        check_shape(points.landmark_weights, (NUM_LANDMARKS,), "weights of landmarks")
    if not np.isfinite(landmarks).all():
        raise StageError("the landmarks are not all finite numbers")
    _, _, width, height = bounding_box(landmarks)
    spread = np.linalg.svd(landmarks - landmarks.mean(axis=0), compute_uv=False)
    if max(width, height) < MIN_FACE_PX or spread[1] < 0.01 * spread[0]:
        raise StageError(
            f"the landmarks span {width:.1f} x {height:.1f} px and hold no face",
            hint="give a larger photo, or landmarks of a face",
        )
