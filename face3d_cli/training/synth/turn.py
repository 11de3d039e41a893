"""A photo of a face, seen from elsewhere: the whole picture's surface is turned in depth.

The photo becomes a relief: inside the head the depth is that of the fitted head, around it (hair,
shoulders) the depth goes on smoothly, and behind the outline the surface is closed backwards with
the outline's own colours, so that hair, ears and neck turn with the face and a profile has a back
of the head. Only what lies behind everything is another picture.

After Zhu et al. 2016, "Face Alignment Across Large Poses" (3DDFA), section 4 (face profiling).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, Mask, Points3, RgbImage, Triangles
from face3d_cli.core.camera import enlargement
from face3d_cli.core.fill import push_pull
from face3d_cli.core.raster import Raster, rasterize

GRID_STEP_PX = 3
CLOSE_OVER_PX = 22  # width of the band around the outline that becomes the back
BACK_DEPTH_CM = 8.5  # how far the back of the head lies behind its middle,
NECK_DEPTH_CM = 4.0  # and that of the neck and the shoulders
HEAD_CENTRE_CM = np.array([0.0, 0.0, -1.0])


@dataclass(frozen=True)
class Relief:
    """A photo as a surface in the camera's axes of the photo.

    Attributes:
        points_px: (V, 3) x right, y down, z nearer, in pixels of the source square.
        places_px: (V, 2) where in the source square each point has its colour.
        triangles: (F, 3).
        head: which triangle of the head each point lies on, as a picture.
    """

    source: RgbImage
    points_px: Points3
    places_px: FloatArray
    triangles: Triangles
    head: Raster

    def deformed(self, moves_px: Points3, head_triangles: Triangles) -> Relief:
        """The surface when (V, 3) the head's vertices move; what is around it moves along."""
        covered = self.head.is_covered.astype(np.float32)
        on_head = self.head.interpolate(moves_px.astype(np.float32), head_triangles)
        around = push_pull(on_head, covered)
        moves = np.where(covered[..., None] > 0, on_head, around)
        return replace(self, points_px=self.points_px + moves.reshape(-1, 3))


def make_relief(
    source: RgbImage,
    person: Mask,
    head_px: Points3,
    head_triangles: Triangles,
    centre_px: FloatArray,
    scale_px_per_cm: float,
) -> Relief:
    """Give every pixel of a photo a depth.

    Args:
        source: (S, S, 3) square around the head.
        person: (S, S) True on hair, skin, neck and clothes.
        head_px: (V, 3) vertices of the fitted head in the square.
        head_triangles: (F, 3).
        centre_px: (3,) where the middle of the head lies.
        scale_px_per_cm: of the square.
    """
    size = len(source) // GRID_STEP_PX
    flat = head_px[:, :2] / GRID_STEP_PX
    raster = rasterize(flat, head_triangles, (size, size), towards_viewer=head_px[:, 2])
    depth = raster.interpolate(head_px[:, 2:].astype(np.float32), head_triangles)[..., 0]
    head = raster.is_covered
    # The relief is torn less where the rim of the head does not count.
    inner = cv2.erode(head.astype(np.uint8), np.ones((3, 3), np.uint8)).astype(np.float32)
    smooth = push_pull(depth[..., None] * inner[..., None], inner)[..., 0]
    depth = np.where(inner > 0, depth, smooth)
    blurred = cv2.GaussianBlur(depth, (0, 0), 1.5)
    depth = np.where(inner > 0, depth, blurred)

    mask = person[::GRID_STEP_PX, ::GRID_STEP_PX][:size, :size] | head
    grid_y, grid_x = np.mgrid[:size, :size].astype(np.float32) * GRID_STEP_PX
    away, labels = cv2.distanceTransformWithLabels(
        (~mask).astype(np.uint8), cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
    )
    away = away * GRID_STEP_PX
    owner = np.zeros(labels.max() + 1, np.int64)
    on_mask = np.flatnonzero(mask)
    owner[labels.ravel()[on_mask]] = on_mask
    nearest = owner[labels]
    calm = cv2.GaussianBlur(depth, (0, 0), 2.5)  # the rim of the ears would draw ridges
    rim_x, rim_y = (plane.ravel()[nearest] for plane in (grid_x, grid_y))
    share = np.clip(away / 8.0, 0, 1)
    rim_z = depth.ravel()[nearest] * (1 - share) + calm.ravel()[nearest] * share
    angle = np.clip(away / CLOSE_OVER_PX, 0, 1) * (np.pi / 2)
    inward = np.cos(angle)
    x = centre_px[0] + (rim_x - centre_px[0]) * inward
    above = rim_y < centre_px[1]
    y = np.where(above, centre_px[1] + (rim_y - centre_px[1]) * inward, rim_y)
    below_cm = (rim_y - centre_px[1]) / scale_px_per_cm
    back_cm = np.interp(below_cm, (0.0, 8.0), (BACK_DEPTH_CM, NECK_DEPTH_CM))
    back_z = np.minimum(centre_px[2] - back_cm * scale_px_per_cm, rim_z - scale_px_per_cm)
    z = rim_z + (back_z - rim_z) * np.sin(angle)
    # Colours of the back: those a little inside the outline.
    step = np.minimum(0.4 * away, 6.0) / np.maximum(away, 1e-3)
    place_x = rim_x - (grid_x - rim_x) * step
    place_y = rim_y - (grid_y - rim_y) * step
    colors = _of_person_only(source, person)
    triangles = _grid_triangles(size)
    closed = (away >= CLOSE_OVER_PX).ravel()
    triangles = triangles[~closed[triangles].all(axis=1)]
    return Relief(
        colors,
        np.stack([x, y, z], axis=2).reshape(-1, 3),
        np.stack([place_x, place_y], axis=2).reshape(-1, 2),
        triangles,
        raster,
    )


def _of_person_only(source: RgbImage, person: Mask) -> RgbImage:
    """The photo, whose background is replaced by the colours of the person's outline."""
    sure = cv2.erode(person.astype(np.uint8), np.ones((5, 5), np.uint8))
    weight = sure.astype(np.float32)
    filled = push_pull(source.astype(np.float32) * weight[..., None], weight)
    mixed = np.where(sure[..., None] > 0, source, np.clip(filled, 0, 255))
    return np.asarray(mixed, np.uint8)


def _grid_triangles(size: int) -> Triangles:
    number = np.arange(size * size, dtype=np.int32).reshape(size, size)
    a, b, c, d = (
        number[:-1, :-1].ravel(),
        number[:-1, 1:].ravel(),
        number[1:, :-1].ravel(),
        number[1:, 1:].ravel(),
    )
    return np.concatenate([np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)])


@dataclass(frozen=True)
class Drawn:
    """A turned relief as a picture; everything is zero where nothing is.

    Attributes:
        colors: (H, W, 3).
        alpha: (H, W) coverage, 0..1.
        normals: (H, W, 3) y up.
        places_px: (H, W, 2) where in the source square each pixel has its colour.
        points_px: (H, W, 3) what point of the relief it shows.
    """

    colors: RgbImage
    alpha: FloatArray
    normals: FloatArray
    places_px: FloatArray
    points_px: FloatArray


def render_turned(
    relief: Relief,
    turn: FloatArray,
    centre_px: FloatArray,
    target_centre_px: FloatArray,
    zoom: float,
    size: int,
    closeness_per_px: float = 0.0,
) -> Drawn:
    """Turn a relief about a point and draw it.

    Args:
        relief: the photo's surface.
        turn: (3, 3) rotation in the camera's axes (x right, y up, z nearer).
        centre_px: (3,) the point that it is turned about, in the source square (y down).
        target_centre_px: (2,) where that point is drawn.
        zoom: pixels drawn for each pixel of the source.
        size: side of the picture.
        closeness_per_px: 1 / distance of the pinhole from that point, in pixels of the picture.
    """
    up = np.array([1.0, -1.0, 1.0])
    turned = ((relief.points_px - centre_px) * up) @ turn.T * (zoom * up)
    flat = turned[:, :2] * enlargement(turned[:, 2:], closeness_per_px) + target_centre_px
    raster = rasterize(flat, relief.triangles, (size, size), towards_viewer=turned[:, 2])
    places = raster.interpolate(relief.places_px.astype(np.float32), relief.triangles)
    covered = raster.is_covered.astype(np.float32)
    colors = cv2.remap(
        relief.source, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    depth = raster.interpolate(turned[:, 2:].astype(np.float32), relief.triangles)[..., 0]
    depth = cv2.GaussianBlur(depth, (0, 0), 1.5)
    normals = np.dstack(
        [-cv2.Sobel(depth, cv2.CV_32F, 1, 0, scale=0.125),
         cv2.Sobel(depth, cv2.CV_32F, 0, 1, scale=0.125),
         np.ones_like(depth)]
    )  # fmt: skip
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    return Drawn(
        np.asarray(colors, np.uint8),
        cv2.GaussianBlur(covered, (0, 0), 0.6),
        normals,
        places,
        raster.interpolate(relief.points_px.astype(np.float32), relief.triangles),
    )
