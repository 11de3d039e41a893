"""Which meshes make the animatable head of a fit: skin, mouth and two eyes that turn."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.spatial.transform import Rotation

from face3d_cli.arrays import FloatArray, LabelImage, Points3, RgbImage
from face3d_cli.core.head_parts import OBJECTS, REGION_OF_PART, HeadObject
from face3d_cli.core.ict_topology import PARTS
from face3d_cli.core.mesh import Mesh, TextureTile
from face3d_cli.core.segmentation_classes import CLASS_COLORS
from face3d_cli.stages.ict_fit import IctFit
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.ict_segmentation import CLASS_OF_REGION, head_classes, plain_class

SMALLEST_MOVE_MM = 1e-3  # an expression that moves an object less is not a key of it
# Upper and lower landmarks of each eye's lids; closed ones overlap by so much in height.
LID_PAIRS = {"L": ((43, 47), (44, 46)), "R": ((38, 40), (37, 41))}
LIDS_OVERLAP_MM = 0.3
EYE_CLASS = {"eye_left": "left_eye", "eye_right": "right_eye"}
FIRST_TILE = 1001  # of UDIM
LOOK_DEG = 25.0  # how far an eye turns when it looks to a side


@dataclass(frozen=True)
class HeadLooks:
    """What the meshes of a head show.

    Attributes:
        texture: of all of them.
        regions: the squares that it is made of, by the names of `REGIONS`.
        face_classes: (S, S) the class of each texel of the face; None without segmentation.
        in_tiles: give each UDIM tile its own texture.
    """

    texture: RgbImage
    regions: dict[str, RgbImage]
    face_classes: LabelImage | None = None
    in_tiles: bool = False


def head_meshes(
    fit: IctFit, looks: HeadLooks | None, *, with_expression: bool = True
) -> tuple[Mesh, ...]:
    """Head, left eye and right eye in millimetres, in the head frame.

    Args:
        fit: of one photo.
        looks: their textures; None makes none.
        with_expression: begin with the photo's expression on, as weights of the 53 shape keys; the
            vertices are the neutral face either way.

    Returns:
        The head has all 53 blendshapes, an eye the four looks of its side: the model's own move
        the lids alone.
    """
    model = IctModel.load()
    blinks = {f"eyeBlink_{side}": blink_factor(fit.neutral_mm, side) for side in LID_PAIRS}
    meshes = []
    classes = None
    if looks is not None and looks.face_classes is not None:
        classes = head_classes(looks.face_classes, len(looks.texture))
    for name, part in model.objects.items():
        at = part.vertex_of_corner
        is_head = name == "head"
        own_classes = classes
        if classes is not None and not is_head:
            own_classes = plain_class(EYE_CLASS[name])
        blendshapes: dict[str, Points3] = {}
        for expression, delta in zip(model.expression_names, model.expression_cm, strict=True):
            moved = 10.0 * delta[at].astype(np.float64)
            if is_head or np.abs(moved).max() > SMALLEST_MOVE_MM:
                blendshapes[expression] = moved
        weights = dict(fit.expression) if with_expression else {}
        for key, factor in blinks.items():
            if is_head or key in blendshapes:
                blendshapes[key] = factor * blendshapes[key]
            if key in weights:
                weights[key] /= factor  # the photo's expression stays what it was
        vertices = fit.neutral_mm[at]
        pivot = None if is_head else eye_centre(vertices)
        if pivot is not None:
            blendshapes |= look_keys(vertices - pivot, "L" if name == "eye_left" else "R")
        meshes.append(
            Mesh(
                vertices=vertices,
                triangles=part.triangles,
                uv=part.uv,
                texture=looks.texture if looks else None,
                segmentation=own_classes,
                tiles=_tiles(part, looks) if looks is not None and looks.in_tiles else (),
                blendshapes=blendshapes,
                unit="mm",
                name=name,
                weights={key: weights[key] for key in blendshapes if weights.get(key)},
                weld=part.weld,
                pivot=pivot,
            )
        )
    return tuple(meshes)


def blink_factor(neutral_mm: Points3, side: str) -> float:
    """How much further than the model's the lids of this person must go to meet, at least 1.

    The model's `eyeBlink` closes an opening of the mean's height; wider eyes stay ajar by what they
    are wider, up to 3 mm.

    Args:
        neutral_mm: (V, 3) the person without expression.
        side: "L" or "R".
    """
    model = IctModel.load()
    delta = model.expression_cm[model.expression_names.index(f"eyeBlink_{side}")]
    needed = 1.0
    for upper, lower in LID_PAIRS[side]:
        pair = model.landmark_vertices[[upper, lower]]
        opening = float(neutral_mm[pair[0], 1] - neutral_mm[pair[1], 1])
        closing = 10.0 * float(delta[pair[1], 1] - delta[pair[0], 1])
        needed = max(needed, (opening + LIDS_OVERLAP_MM) / closing)
    return needed


def _tiles(part: HeadObject, looks: HeadLooks) -> tuple[TextureTile, ...]:
    """A texture for each tile that the object's parts lie in, in upstream's numbering."""
    names = OBJECTS[part.name]
    tiles = []
    for region in dict.fromkeys(REGION_OF_PART[name] for name in names):
        own = [index for index, name in enumerate(names) if REGION_OF_PART[name] == region]
        classes = None
        if looks.face_classes is not None:
            owner = EYE_CLASS.get(part.name) or CLASS_OF_REGION.get(region)
            classes = CLASS_COLORS[looks.face_classes] if owner is None else plain_class(owner)
        tiles.append(
            TextureTile(
                name=str(FIRST_TILE + PARTS[names[own[0]]].tile),
                triangles=np.flatnonzero(np.isin(part.part_of_triangle, own)),
                uv=part.tile_uv,
                texture=looks.regions[region],
                segmentation=classes,
            )
        )
    return tuple(tiles)


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
