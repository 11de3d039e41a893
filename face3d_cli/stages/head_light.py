"""Under which light was the photo of a fitted head taken? Harmonics, from its bare skin."""

from __future__ import annotations

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, Points3, RgbImage, Triangles
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.harmonics import estimate_light
from face3d_cli.core.mesh import vertex_normals

LEAST_FACING = 0.35
LEAST_VERTICES = 80  # of bare skin


def head_light(
    image: RgbImage,
    skin: FloatArray,
    vertices: Points3,
    triangles: Triangles,
    camera: ScaledOrthographicCamera,
) -> FloatArray | None:
    """(9, 3) light in the head frame under which the skin's mean brightness is 1, for each colour.

    Args:
        image: (H, W, 3) photo.
        skin: (H, W) 0..1, where it shows bare skin.
        vertices: (V, 3) the fitted face, without what lies behind it.
        triangles: (F, 3).
        camera: projects the vertices into the photo.

    Returns:
        None where hardly any skin is seen.
    """
    normals = vertex_normals(vertices, triangles)
    where = camera.project(vertices).astype(np.float32)[:, None]
    share = cv2.remap(np.asarray(skin, np.float32), where, None, cv2.INTER_LINEAR)[:, 0]
    smooth = cv2.GaussianBlur(image, (0, 0), 1.0)
    found = cv2.remap(smooth, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    levels = found[:, 0] / 255.0
    linear = np.where(levels <= 0.04045, levels / 12.92, ((levels + 0.055) / 1.055) ** 2.4)
    facing = camera.turn(normals)[:, 2]
    kept = (share > 0.6) & (facing > LEAST_FACING)
    if kept.sum() < LEAST_VERTICES:
        return None
    return estimate_light(normals[kept], linear[kept])
