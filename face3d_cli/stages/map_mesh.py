"""What mesh is a position map? Its texels as vertices, in the head frame, and the camera."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from face3d_cli.arrays import Mask, Points2, Points3, Triangles
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.landmarks68 import LEFT_EYE, RIGHT_EYE
from face3d_cli.core.position_map import map_triangles, texel_uv
from face3d_cli.stages.position_map import PositionMap

MM_PER_CM = 10.0


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

    The size in millimetres is the mean face's: a photo does not tell it.
    """
    topology = _topology(position_map.valid.tobytes(), len(position_map.valid), size)
    places = position_map.fine_map(size)[topology.valid]
    placed_cm = position_map.head_cm(places)
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


@dataclass(frozen=True)
class _Topology:
    valid: Mask
    triangles: Triangles
    uv: Points2


@lru_cache(maxsize=4)
def _topology(packed: bytes, fine: int, size: int) -> _Topology:
    """The outline at another size: a texel counts where all the fine ones in it do."""
    mask: Mask = np.frombuffer(packed, np.bool_).reshape(fine, fine)
    if size < fine:
        step = fine // size
        blocks = mask[: size * step, : size * step].reshape(size, step, size, step)
        mask = np.asarray(blocks.all(axis=(1, 3)))
    elif size > fine:
        mask = mask.repeat(size // fine, axis=0).repeat(size // fine, axis=1)
    triangles = map_triangles(mask)
    used = np.unique(triangles)
    if len(used) < mask.sum():  # single texels at the rim that no quad holds
        kept = np.zeros(int(mask.sum()), bool)
        kept[used] = True
        flat = np.flatnonzero(mask)
        mask = np.zeros((size, size), np.bool_)
        mask.ravel()[flat[kept]] = True
        triangles = map_triangles(mask)
    return _Topology(mask, triangles, texel_uv(mask))
