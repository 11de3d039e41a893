"""Which vertices of ICT-FaceKit does a position map place, and how far is each to be trusted?

The square of the map is the model's own layout, so that a vertex has a fixed place in it
(`stages/map_layout.py`), whatever network drew the map.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from face3d_cli.arrays import FloatArray, Indices, Points2, check_shape
from face3d_cli.core.camera import PoseDegrees
from face3d_cli.core.ict_topology import NARROW_FACE
from face3d_cli.core.landmarks68 import (
    JAW,
    LEFT_BROW,
    NOSE_BRIDGE,
    NUM_LANDMARKS,
    RIGHT_BROW,
)
from face3d_cli.core.position_map import LANDMARK_UV, sample_map
from face3d_cli.errors import StageError
from face3d_cli.settings import DensePointSettings
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.linear_fit import DensePoints, FacePoints, Lens
from face3d_cli.stages.map_layout import face_layout
from face3d_cli.stages.position_map import PositionMap

UP = np.array([1.0, -1.0, 1.0])


def face_points(
    position_map: PositionMap,
    landmarks_px: Points2,
    settings: DensePointSettings = DensePointSettings(),
) -> FacePoints:
    """A face's landmarks, and a map's points and perspective.

    Beyond some yaw, and on faces that the detector took for upright ones, landmarks that were
    predicted for frontal faces fail and the map's are taken instead: those that mean the same
    places as predicted ones (`core/position_map.py`).

    Args:
        position_map: of the face.
        landmarks_px: (68, 2) predicted ones.
        settings: which points, and from which yaw on the map's landmarks.

    Raises:
        StageError: the map's square is of another layout.
    """
    dense, lens = dense_points(position_map, settings), lens_of(position_map)
    yaw_deg = PoseDegrees.from_rotation(position_map.camera.rotation).yaw
    roll_apart_deg = position_map.roll_apart_deg(landmarks_px)
    if (
        abs(yaw_deg) < settings.map_landmarks_from_yaw_deg
        and roll_apart_deg < settings.map_landmarks_from_roll_apart_deg
    ):
        return FacePoints(landmarks_px, dense, lens=lens)
    trust = map_landmark_weights(settings)
    return FacePoints(position_map.landmarks_px, dense, trust, lens)


def map_landmark_weights(settings: DensePointSettings = DensePointSettings()) -> FloatArray:
    """(68,) 0 where LANDMARK_UV follows the annotation of 300W-LP, not the fit's landmarks."""
    weights = np.full(NUM_LANDMARKS, settings.map_landmark_weight)
    for group in (JAW, RIGHT_BROW, LEFT_BROW, NOSE_BRIDGE):
        weights[group] = 0.0
    return weights


def lens_of(position_map: PositionMap) -> Lens | None:
    """The pinhole that the map was seen by, looking at the face's middle; None: far away."""
    if position_map.perspective.closeness == 0.0:
        return None
    focal_px = 1.0 / position_map.perspective.closeness
    return Lens(focal_px, position_map.perspective.centre / UP[:2])


def dense_points(
    position_map: PositionMap, settings: DensePointSettings = DensePointSettings()
) -> DensePoints:
    """Where the map sees vertices of the face, in the photo's pixels.

    Ears and neck are left out, for networks guess them. What is turned away from the viewer is a
    guess too, from the part that is seen, and counts less.

    Raises:
        StageError: the map's square is of another layout (that of the published network).
        ModelError: ICT-FaceKit is missing or damaged.
    """
    if not np.array_equal(position_map.landmark_uv, LANDMARK_UV):
        raise StageError(
            "dense points need a map of ICT-FaceKit's layout, found another square",
            hint="use a network that face3d trained, such as prnet-resnet18",
        )
    return dense_points_of(position_map.map_px, settings)


def dense_points_of(
    map_px: FloatArray, settings: DensePointSettings = DensePointSettings()
) -> DensePoints:
    """The same of the bare (M, M, 3) map."""
    check_shape(map_px, (None, None, 3), "map_px")
    vertices, uv = _spread_vertices(settings.grid)
    low, high = settings.hidden_below, settings.seen_from
    seen = np.clip((facing(map_px, uv) - low) / (high - low), 0.0, 1.0)
    weights = settings.hidden_weight + (1.0 - settings.hidden_weight) * seen
    return DensePoints(vertices, sample_map(map_px, uv).astype(np.float64), weights)


def facing(map_px: FloatArray, uv: Points2) -> FloatArray:
    """(N,) cosine between the normal at places of the square and the viewer's direction."""
    right, up = 1.5 / len(map_px) * np.eye(2)
    along_u = sample_map(map_px, uv + right) - sample_map(map_px, uv - right)
    along_v = sample_map(map_px, uv + up) - sample_map(map_px, uv - up)
    normals = np.cross(along_u * UP, along_v * UP)
    length = np.maximum(np.linalg.norm(normals, axis=1), 1e-9)
    return np.asarray(normals[:, 2] / length, np.float64)


@lru_cache(maxsize=4)
def _spread_vertices(grid: int) -> tuple[Indices, Points2]:
    """Vertices of the narrow face (no ears, no neck), one for each cell of a grid on the square."""
    vertices = np.arange(NARROW_FACE.first_vertex, NARROW_FACE.end_vertex)
    uv = face_layout(IctModel.load())[vertices]
    scaled = uv * grid
    cell = np.floor(scaled).astype(np.int64)
    off = np.linalg.norm(scaled - cell - 0.5, axis=1)
    nearest_first = np.argsort(off, kind="stable")
    key = cell[:, 0] * grid + cell[:, 1]
    _, first = np.unique(key[nearest_first], return_index=True)
    chosen = np.sort(nearest_first[first])
    return vertices[chosen], uv[chosen]
