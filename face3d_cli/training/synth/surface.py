"""ICT-FaceKit as a linear model of position maps, and of the head around them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from face3d_cli.arrays import FloatArray, Mask, Points2, Points3, Triangles
from face3d_cli.core.ict_topology import PARTS
from face3d_cli.core.linear_face import LinearFace
from face3d_cli.core.uv_atlas import UvAtlas
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.map_layout import face_layout, face_triangles

FINE_PX = 256
_HEAD_END = PARTS["head_neck"].end_vertex


@dataclass(frozen=True, eq=False)
class FaceSurface:
    """The head's shapes, in centimetres, and its face on a square of texels.

    Attributes:
        mean_cm: (V, 3) vertices of face and head, V = 11248.
        basis_cm: (K, V, 3) identity shapes, then expressions without the eyeballs' turns.
        linear_mm: the same as the fitter takes it.
        head_triangles: (F, 3) of face and head together.
        map_mean_cm: (S, S, 3) the mean face on the square, continued beyond its edge.
        map_basis_cm: (K, S, S, 3) the same for the shapes.
        valid: (S, S) True where the texel's centre lies on the face.
        valid_fine: (FINE_PX, FINE_PX) the same for a large square.
    """

    mean_cm: Points3
    basis_cm: FloatArray
    linear_mm: LinearFace
    head_triangles: Triangles
    uv: Points2
    map_mean_cm: FloatArray
    map_basis_cm: FloatArray
    valid: Mask
    valid_fine: Mask


@lru_cache(maxsize=2)
def face_surface(size: int) -> FaceSurface:
    """Read ICT-FaceKit from the store and unfold its face on a square of that size.

    Raises:
        ModelError: the model is missing or damaged.
    """
    model = IctModel.load()
    kept = [i for i, name in enumerate(model.expression_names) if not name.startswith("eyeLook")]
    inside = (model.triangles < _HEAD_END).all(axis=1)
    inside &= model.polygon_of_triangle < PARTS["head_neck"].end_polygon
    linear = replace(
        model.linear_mm,
        mean_mm=model.linear_mm.mean_mm[:_HEAD_END],
        shape_mm=model.linear_mm.shape_mm[:, :_HEAD_END],
        expression_mm=model.linear_mm.expression_mm[kept][:, :_HEAD_END],
        expression_names=tuple(model.expression_names[i] for i in kept),
        triangles=model.triangles[inside],
    )
    basis = np.concatenate([linear.shape_mm, linear.expression_mm]) / 10.0
    mean = linear.mean_mm.astype(np.float64) / 10.0
    uv = face_layout(model)
    atlas = UvAtlas(uv, face_triangles(model), size)
    end = PARTS["face"].end_vertex
    return FaceSurface(
        mean_cm=mean,
        basis_cm=basis,
        linear_mm=linear,
        head_triangles=linear.triangles,
        uv=uv,
        map_mean_cm=atlas.bake(mean[:end]),
        map_basis_cm=np.stack([atlas.bake(shape[:end]) for shape in basis]),
        valid=atlas.is_inside,
        valid_fine=UvAtlas(uv, face_triangles(model), FINE_PX).is_inside,
    )
