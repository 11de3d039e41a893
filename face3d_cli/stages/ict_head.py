"""Which meshes make the animatable head of a fit: skin, mouth and two eyes that turn."""

from __future__ import annotations

import numpy as np

from face3d_cli.arrays import FloatArray, Points3, RgbImage
from face3d_cli.core.mesh import Mesh
from face3d_cli.stages.ict_fit import IctFit
from face3d_cli.stages.ict_model import IctModel

SMALLEST_MOVE_MM = 1e-3  # an expression that moves an object less is not a key of it


def head_meshes(
    fit: IctFit, texture: RgbImage | None, *, with_expression: bool = True
) -> tuple[Mesh, ...]:
    """Head, left eye and right eye in millimetres, in the head frame.

    Args:
        fit: of one photo.
        texture: of all three; None makes none.
        with_expression: begin with the photo's expression on, as weights of the 53 shape keys; the
            vertices are the neutral face either way.

    Returns:
        The head has all 53 blendshapes, an eye those that move it.
    """
    model = IctModel.load()
    meshes = []
    for name, part in model.objects.items():
        at = part.vertex_of_corner
        is_head = name == "head"
        blendshapes: dict[str, Points3] = {}
        for expression, delta in zip(model.expression_names, model.expression_cm, strict=True):
            moved = 10.0 * delta[at].astype(np.float64)
            if is_head or np.abs(moved).max() > SMALLEST_MOVE_MM:
                blendshapes[expression] = moved
        weights = fit.expression if with_expression else {}
        vertices = fit.neutral_mm[at]
        meshes.append(
            Mesh(
                vertices=vertices,
                triangles=part.triangles,
                uv=part.uv,
                texture=texture,
                blendshapes=blendshapes,
                unit="mm",
                name=name,
                weights={key: weights[key] for key in blendshapes if weights.get(key)},
                weld=part.weld,
                pivot=None if is_head else eye_centre(vertices),
            )
        )
    return tuple(meshes)


def eye_centre(vertices: Points3) -> FloatArray:
    """(3,) centre of the sphere that fits an eyeball's vertices best, by linear least squares."""
    system = np.column_stack([2.0 * vertices, np.ones(len(vertices))])
    solution = np.linalg.lstsq(system, (vertices**2).sum(axis=1), rcond=None)[0]
    return np.asarray(solution[:3])
