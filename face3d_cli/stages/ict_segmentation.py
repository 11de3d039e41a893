"""Which class has each texel of a head? The photo's segmentation says it, else the model.

The classes and their colours are those of `core/segmentation_classes.py`.
"""

from __future__ import annotations

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, LabelImage, Mask, Points3, RgbImage
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.head_parts import REGIONS, HeadObject
from face3d_cli.core.segmentation_classes import CLASS_COLORS, CLASS_NAMES, INDEX, MIRRORED
from face3d_cli.core.uv_atlas import UvAtlas
from face3d_cli.stages.ict_texture import face_of

REACH = 0.06  # how far a class spreads, in sides of the face's square
SMALL_PX = 8  # of a picture of one class
LABEL_PX = 256  # the map from texel to photo is smooth
_MIRRORED = np.array([INDEX[MIRRORED.get(name, name)] for name in CLASS_NAMES], np.uint8)
# What a photo says nothing of. The skull has no class: it may be hair or a hat or skin.
CLASS_OF_REGION = {"gums": "inner_mouth", "teeth": "inner_mouth", "skull": "background"}


def face_classes(
    labels: LabelImage,
    vertices: Points3,
    head: HeadObject,
    camera: ScaledOrthographicCamera,
    visibility: FloatArray,
    size_px: int,
) -> LabelImage:
    """(S, S) the class of each texel of the face's own square.

    Where the photo sees the face, its segmentation; else that of the mirrored texel, left and
    right exchanged; else that of the nearest texel known; far from all of them skin.

    Args:
        labels: (H, W) of the photo.
        vertices: (V, 3) the model's fitted vertices in the camera's head frame.
        head: the object "head".
        camera: projects `vertices` into the photo.
        visibility: (N, N) 1 where a texel is seen.
        size_px: S.
    """
    corners, triangles = face_of(head)
    atlas = UvAtlas(head.tile_uv[corners], triangles, LABEL_PX)
    where = atlas.bake(camera.project(vertices[head.vertex_of_corner[corners]]))
    square = (size_px, size_px)
    where = cv2.resize(where, square, interpolation=cv2.INTER_LINEAR)
    seen = cv2.resize(visibility, square, interpolation=cv2.INTER_LINEAR) > 0.25
    found = cv2.remap(
        labels, where, None, cv2.INTER_NEAREST, borderMode=cv2.BORDER_CONSTANT, borderValue=(0,)
    )
    # What hides the face is seen where the face is not: hair before the forehead, say.
    hides = np.isin(found, [INDEX[name] for name in ("hair", "glasses", "hat", "clothes")])
    in_photo = found != INDEX["background"]
    front = seen | (hides & in_photo)
    mirrored_seen = np.ascontiguousarray(front[:, ::-1])
    classes = np.full(square, INDEX["skin"], np.uint8)
    classes[mirrored_seen] = _MIRRORED[found[:, ::-1][mirrored_seen]]
    classes[front] = found[front]
    return _spread(classes, front | mirrored_seen)


def _spread(classes: LabelImage, known: Mask) -> LabelImage:
    """Give texels near known ones, such as the inside of lips and lids, the nearest one's class."""
    if not known.any():
        return classes
    away, labels = cv2.distanceTransformWithLabels(
        (~known).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    of_label = np.zeros(labels.max() + 1, np.uint8)
    of_label[labels[known]] = classes[known]
    return np.where(away < REACH * len(classes), of_label[labels], classes)


def head_classes(face: LabelImage, size_px: int) -> RgbImage:
    """(S, S, 3) colours of the classes on the texture of a whole head (`REGIONS`)."""
    picture = np.zeros((size_px, size_px, 3), np.uint8)
    squares = {name: plain_class(owner) for name, owner in CLASS_OF_REGION.items()}
    squares["face"] = CLASS_COLORS[face]
    for name, square in squares.items():
        region = REGIONS[name]
        left, right = round(region.left * size_px), round((region.left + region.side) * size_px)
        top = round((1.0 - region.bottom - region.side) * size_px)
        bottom = round((1.0 - region.bottom) * size_px)
        picture[top:bottom, left:right] = cv2.resize(
            square, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST
        )
    return picture


def plain_class(name: str) -> RgbImage:
    """A small picture in the colour of one class."""
    return np.broadcast_to(CLASS_COLORS[INDEX[name]], (SMALL_PX, SMALL_PX, 3)).copy()
