"""Which face of ICT-FaceKit lies behind a labelled photo? The linear fit, to the teacher's points.

MediaPipe's points are not marked on ICT-FaceKit, and its landmarks are not those of the 68 (its
brows lie 5 mm beside dlib's). Where they lie is learnt from frontal photos whose faces were fitted
to dlib's landmarks, whose places are known (`stages/ict_points.py`). Near the front dlib's own
landmarks, where both agree, are nearer to the shape; beyond, MediaPipe's stand in for them.
How the head is turned, which landmarks of one photo hardly tell from its shape, is MediaPipe's; the
outline is the middle of both. A second teacher (`heads.py`), where there is one, has its say in the
turn and the jaw. Photos are taken from near, so all of it is seen through a pinhole.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from face3d_cli.arrays import FloatArray, Indices, Points2, Points3, RgbImage
from face3d_cli.core.camera import Perspective
from face3d_cli.core.landmarks68 import JAW, MIRRORED, NUM_LANDMARKS, RIGHT_EYE, bounding_box
from face3d_cli.core.linear_face import LinearFace
from face3d_cli.core.position_map import FACE_CENTRE_CM
from face3d_cli.core.similarity import fit_similarity
from face3d_cli.errors import StageError
from face3d_cli.settings import DetectionSettings, LabelFitSettings
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.linear_fit import (
    DensePoints,
    FaceInPhoto,
    FacePoints,
    Lens,
    RotationPrior,
    fit_linear_face,
)
from face3d_cli.training.synth.heads import (
    HeadConvention,
    SeenHead,
    between,
    learn_convention,
    tilt_between,
)
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
TEACHER_AXES = np.array([1.0, 1.0, -1.0])  # MediaPipe's z is larger farther away
SEEN_WITHIN_MM = 6.0  # of the nearest vertex under a point: the same side of the face


@dataclass(frozen=True)
class FittedFace:
    """A face in one photo, seen along the line to its middle (`FACE_CENTRE_CM`).

    Attributes:
        coefficients: (K,) of `FaceSurface.basis_cm`.
        rotation: (3, 3) from the model's axes to the camera's, y up.
        scale_px_per_cm, middle_px: at the middle of the face, and (2,) where that is seen.
        closeness_per_cm: 1 / distance of the camera from there.
        error: of the teacher's points, a share of their box.
    """

    coefficients: FloatArray
    rotation: FloatArray
    scale_px_per_cm: float
    middle_px: Points2
    closeness_per_cm: float
    error: float

    def place(self, points_cm: Points3) -> Points3:
        """(..., 3) where model points are seen: x right, y down, z nearer; the middle's is 0."""
        turned = (points_cm - FACE_CENTRE_CM) @ self.rotation.T
        placed = turned * (self.scale_px_per_cm * np.array([1.0, -1.0, 1.0]))
        placed[..., :2] += self.middle_px
        closeness = self.closeness_per_cm / self.scale_px_per_cm
        return Perspective(closeness, self.middle_px).apply(placed)


@dataclass(frozen=True, eq=False)
class Correspondence:
    """Where MediaPipe's points are on the model.

    Attributes:
        point: (N,) index into MediaPipe's points of those that are used.
        vertex: (N,) of the model.
        face: the model, whose landmark offsets are those of MediaPipe's 68.
        tilt_rad: by how much more a head looks up in MediaPipe's points, as a rigid body, than in
            dlib's landmarks.
        heads: how to read the second teacher, if there is one.
    """

    point: Indices
    vertex: Indices
    face: LinearFace
    tilt_rad: float
    heads: HeadConvention | None

    @staticmethod
    def of(
        surface: FaceSurface,
        point: Indices,
        vertex: Indices,
        offsets_mm: Points3,
        tilt_rad: float = 0.0,
        heads: HeadConvention | None = None,
    ) -> Correspondence:
        """Put (68, 3) landmark offsets into the surface's model."""
        face = replace(surface.linear_mm, landmark_offsets_mm=offsets_mm)
        return Correspondence(point, vertex, face, tilt_rad, heads)

    def turn_of(self, points: Points3) -> FloatArray:
        """(3, 3) how a head is turned, by (478, 3) of its points."""
        untilted = Rotation.from_euler("x", self.tilt_rad).as_matrix()
        turn: FloatArray = _rigid_turn(self.face, self.vertex, points[self.point]) @ untilted
        return turn


def _rigid_turn(face: LinearFace, vertex: Indices, points: Points3) -> FloatArray:
    """(3, 3) from the mean face to MediaPipe's points."""
    return fit_similarity(face.mean_mm[vertex], points * (1.0, -1.0, -1.0)).rotation


def yaw_of_points_deg(points: Points3) -> FloatArray:
    """(...,) rough yaw from the line between the ears, for (..., 478, 3) points."""
    across = points[..., 454, :] - points[..., 234, :]
    return np.asarray(np.degrees(np.arctan2(across[..., 2], across[..., 0])))


def box_size_px(points: Points3) -> float:
    """sqrt(w h) of the box of the inner landmarks of (478, 3) points."""
    _, _, width, height = bounding_box(points[MEDIAPIPE_68[JAW.stop :], :2])
    return float(np.sqrt(width * height))


def predicted_landmarks(
    photo: RgbImage, points: Points3, settings: LabelFitSettings = LabelFitSettings()
) -> Points2 | None:
    """(68, 2) dlib's landmarks of the labelled face; None where they cannot be trusted."""
    if abs(float(yaw_of_points_deg(points))) > settings.predicted_yaw_deg:
        return None
    features = slice(RIGHT_EYE.start, NUM_LANDMARKS)  # eyes and mouth
    theirs = points[MEDIAPIPE_68[features], :2]
    for box in detect_faces(photo, DetectionSettings(detector="hog")):
        landmarks = predict_landmarks(photo, box)
        away = np.linalg.norm(landmarks[features] - theirs, axis=1).mean()
        if away < settings.max_disagreement * box_size_px(points):
            return landmarks
    return None


def learn_correspondence(
    surface: FaceSurface,
    labelled: Iterable[tuple[RgbImage, Points3, SeenHead | None]],
    settings: LabelFitSettings = LabelFitSettings(),
) -> Correspondence:
    """Find the places of MediaPipe's points on faces that were fitted to dlib's landmarks.

    Args:
        surface: the model.
        labelled: near-frontal photos, (478, 3) MediaPipe's points in them, and what the second
            teacher saw.
        settings: which points are used.

    Raises:
        StageError: dlib and MediaPipe agree on none of the photos.
    """
    model = surface.linear_mm
    places, offsets, fitted, heads = [], [], [], []
    for photo, points, head in labelled:
        landmarks = predicted_landmarks(photo, points, settings)
        if landmarks is None:
            continue
        fit = fit_linear_face(model, [FacePoints(landmarks)])
        (face,) = fit.photos
        shape_mm = model.vertices_mm(fit.shape, face.expression)
        hit = _vertex_under(shape_mm[:NARROW_FACE_END], face, points[:NUM_POINTS, :2])
        beside = _beside(shape_mm[hit], face, points[:NUM_POINTS, :2])
        places.append(model.mean_mm[hit] + beside)
        at_landmarks = shape_mm[model.landmark_vertices]
        offsets.append(_beside(at_landmarks, face, points[MEDIAPIPE_68, :2])[:, :2])
        fitted.append((points[:NUM_POINTS], face.camera.rotation))
        if head is not None:
            heads.append((head, face.camera.rotation, shape_mm))
    if not places:
        raise StageError(
            "no labelled photo shows a frontal face that HOG finds where the labels have it",
            hint="check that --data is the folder that the labels were made in",
        )
    middle = np.median(places, axis=0)
    spread = np.median(np.linalg.norm((np.array(places) - middle)[..., :2], axis=2), axis=0)
    away, vertex = cKDTree(model.mean_mm[:NARROW_FACE_END]).query(middle)
    usable = (spread < settings.max_spread_mm) & (away < settings.max_snap_mm)
    usable[list(OVAL)] = False
    point = np.flatnonzero(usable)
    typical = np.median(offsets, axis=0)
    symmetric = (typical + typical[list(MIRRORED)] * (-1, 1)) / 2
    offsets_mm = np.zeros((NUM_LANDMARKS, 3))
    offsets_mm[JAW.stop :, :2] = symmetric[JAW.stop :]
    tilts_rad = [
        tilt_between(_rigid_turn(model, vertex[point], points[point]), rotation)
        for points, rotation in fitted
    ]
    return Correspondence.of(
        surface,
        point,
        vertex[point],
        offsets_mm,
        float(np.median(tilts_rad)),
        learn_convention(surface, heads) if heads else None,
    )


def _vertex_under(shape_mm: Points3, face: FaceInPhoto, points_px: Points2) -> Indices:
    """(N,) the vertex nearest to each point in the picture, of those in front."""
    distance, index = cKDTree(face.camera.project(shape_mm)).query(points_px, k=8)
    depth_mm = face.camera.turn(shape_mm)[:, 2][index]
    in_front = depth_mm > depth_mm.max(axis=1, keepdims=True) - SEEN_WITHIN_MM
    best = np.where(in_front, distance, np.inf).argmin(axis=1)
    return np.asarray(index[np.arange(len(index)), best], np.int64)


def _beside(vertices_mm: Points3, face: FaceInPhoto, points_px: Points2) -> Points3:
    """(N, 3) by how much points lie beside vertices, in the model's axes, across the view."""
    away = (points_px - face.camera.project(vertices_mm)) * (1, -1)
    flat = np.column_stack([away / face.camera.scale_px_per_unit, np.zeros(len(away))])
    return np.asarray(flat @ face.camera.rotation)


def fit_face(
    surface: FaceSurface,
    photo: RgbImage,
    points: Points3,
    pairs: Correspondence,
    settings: LabelFitSettings = LabelFitSettings(),
    head: SeenHead | None = None,
) -> FittedFace:
    """Fit the model to one labelled photo.

    Args:
        surface: the model.
        photo: upright.
        points: (478, 3) MediaPipe's, pixels, y down, z away from the viewer.
        pairs: where they are on the model.
        settings: whose points are used.
        head: what the second teacher saw; used where `pairs` says how to read it.

    Raises:
        StageError: the points hold no face.
    """
    landmarks = predicted_landmarks(photo, points, settings)
    model = surface.linear_mm
    theirs = points[MEDIAPIPE_68, :2]
    if landmarks is None:
        landmarks, model = theirs, pairs.face
    else:
        outline = (theirs[JAW] + landmarks[JAW]) / 2
        landmarks = np.concatenate([outline, landmarks[JAW.stop :]])
    target = points[pairs.point] * TEACHER_AXES
    dense = DensePoints(pairs.vertex, target, np.ones(len(target)))
    turn = RotationPrior(pairs.turn_of(points), settings.turn_spread_deg)
    guess = fit_similarity(model.mean_mm[pairs.vertex], target * (1.0, -1.0, 1.0))
    if head is not None and pairs.heads is not None:
        middle = between(turn.rotation, pairs.heads.turn_of(head), settings.head_share)
        turn = RotationPrior(middle, settings.agreed_turn_spread_deg)
        jaw = pairs.heads.jaw_of(head, model.mean_mm, guess)
        dense = DensePoints(
            np.concatenate([pairs.vertex, pairs.heads.vertex[JAW]]),
            np.concatenate([target, jaw]),
            np.concatenate([dense.weights, np.full(len(jaw), settings.jaw_weight)]),
        )
    centre_px = guess.apply(10.0 * FACE_CENTRE_CM[None])[0, :2] * (1, -1)
    lens = Lens(10.0 * guess.scale * settings.camera_cm, centre_px)
    known = FacePoints(landmarks, dense, turn=turn, lens=lens)
    fit = fit_linear_face(model, [known], settings.linear)
    (face,) = fit.photos
    shape_mm = model.vertices_mm(fit.shape, face.expression)[pairs.vertex]
    away = np.linalg.norm(face.camera.project(shape_mm) - target[:, :2], axis=1)
    at_middle = face.camera.with_origin(10.0 * FACE_CENTRE_CM)
    return FittedFace(
        np.concatenate([fit.shape, face.expression]),
        at_middle.rotation,
        10.0 * at_middle.scale_px_per_unit,
        at_middle.shift_px,
        10.0 * at_middle.scale_px_per_unit / lens.focal_px,
        float(away.mean() / box_size_px(points)),
    )
