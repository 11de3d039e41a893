"""What mesh is a position map? Its texels as vertices, in the head frame, and the camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from face3d_cli.arrays import Mask, Points2, Points3, Triangles
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.landmarks68 import INNER_LIPS, LEFT_EYE, RIGHT_EYE
from face3d_cli.core.map_topology import MapTopology, map_topology
from face3d_cli.stages.position_map import PositionMap

MM_PER_CM = 10.0
OPENINGS = (RIGHT_EYE, LEFT_EYE, INNER_LIPS)  # of the square, which membranes close


@dataclass(frozen=True)
class MapMesh:
    """The face of one position map.

    Attributes:
        vertices_mm: (V, 3) head frame, origin between the eyes, the expression on.
        triangles: (F, 3).
        uv: (V, 2) origin bottom-left.
        landmarks_mm: (68, 3) in the same frame.
        camera: projects the millimetres into the photo.
    """

    vertices_mm: Points3
    triangles: Triangles
    uv: Points2
    landmarks_mm: Points3
    camera: ScaledOrthographicCamera


def mesh_of_map(position_map: PositionMap, size: int) -> MapMesh:
    """A vertex for each texel of the surface on a square of that size; it never changes its order.

    Membranes close the eyes and the mouth, so that the photo's eyes and teeth have a surface. The
    size in millimetres is the mean face's: a photo does not tell it.
    """
    outline = position_map.valid
    openings = np.array([position_map.landmark_uv[part].mean(axis=0) for part in OPENINGS])
    topology = _topology(outline.tobytes(), len(outline), size, openings.tobytes())
    texels_cm = position_map.head_cm(position_map.fine_map(size).reshape(-1, 3))
    placed_cm = topology.places(texels_cm)
    landmarks_cm = position_map.head_cm(position_map.landmarks)
    eyes_cm = (landmarks_cm[RIGHT_EYE].mean(axis=0) + landmarks_cm[LEFT_EYE].mean(axis=0)) / 2
    camera = position_map.camera.with_origin(eyes_cm)
    return MapMesh(
        (placed_cm - eyes_cm) * MM_PER_CM,
        topology.triangles,
        topology.uv,
        (landmarks_cm - eyes_cm) * MM_PER_CM,
        camera.in_unit(MM_PER_CM),
    )


@lru_cache(maxsize=4)
def _topology(outline: bytes, fine: int, size: int, openings: bytes) -> MapTopology:
    valid: Mask = np.frombuffer(outline, np.bool_).reshape(fine, fine)
    return map_topology(valid, size, list(np.frombuffer(openings).reshape(-1, 2)))
