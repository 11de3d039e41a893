"""Which meshes make the animatable head of a fit: skin, mouth and two eyes that turn."""

from __future__ import annotations

import numpy as np
from scipy.spatial.transform import Rotation

from face3d_cli.arrays import FloatArray, Points3, RgbImage
from face3d_cli.core.mesh import Mesh
from face3d_cli.stages.ict_fit import IctFit
from face3d_cli.stages.ict_model import IctModel

SMALLEST_MOVE_MM = 1e-3  # an expression that moves an object less is not a key of it
LOOK_DEG = 25.0  # how far an eye turns when it looks to a side


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
        The head has all 53 blendshapes, an eye the four looks of its side: the model's own move
        the lids alone.
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
        pivot = None if is_head else eye_centre(vertices)
        if pivot is not None:
            blendshapes |= look_keys(vertices - pivot, "L" if name == "eye_left" else "R")
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
                pivot=pivot,
            )
        )
    return tuple(meshes)


def look_keys(from_centre: Points3, side: str) -> dict[str, Points3]:
    """Displacements that turn an eyeball as the model's `eyeLook` shapes move its lids.

    Args:
        from_centre: (N, 3) the eyeball's vertices, from its centre.
        side: "L" or "R".
    """
    outwards = 1.0 if side == "L" else -1.0  # +X is the subject's left
    turns = {
        "eyeLookUp": (-LOOK_DEG, 0.0, 0.0),
        "eyeLookDown": (LOOK_DEG, 0.0, 0.0),
        "eyeLookOut": (0.0, outwards * LOOK_DEG, 0.0),
        "eyeLookIn": (0.0, -outwards * LOOK_DEG, 0.0),
    }
    return {
        f"{name}_{side}": Rotation.from_euler("xyz", turn, degrees=True).apply(from_centre)
        - from_centre
        for name, turn in turns.items()
    }


def eye_centre(vertices: Points3) -> FloatArray:
    """(3,) centre of the sphere that fits an eyeball's vertices best, by linear least squares."""
    system = np.column_stack([2.0 * vertices, np.ones(len(vertices))])
    solution = np.linalg.lstsq(system, (vertices**2).sum(axis=1), rcond=None)[0]
    return np.asarray(solution[:3])
