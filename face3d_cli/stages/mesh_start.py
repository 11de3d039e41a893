"""From what does the mesh optimisation start? The square of the photo, the template, its colours.

The view frame: x right and y up from -1 to 1 over the square, z towards the viewer, one unit being
half the square's side on every axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from scipy.spatial import ConvexHull

from face3d_cli.arrays import FloatArray, LabelImage, Mask, Points2, Points3, RgbImage
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.fill import push_pull
from face3d_cli.core.landmarks68 import bounding_box
from face3d_cli.core.mesh import Mesh
from face3d_cli.core.primitives import hemisphere, icosphere
from face3d_cli.core.segmentation_classes import CLASS_COLORS, INDEX, visible_skin_mask
from face3d_cli.stages.meshnet import MeshTarget

OUTER_EYE_CORNERS_MM = 90.0  # of the mean adult face: the only scale a photo without model has
FOREHEAD = 0.35  # of the landmarks' height, above the brows
REACH = 0.03  # of the square: how far the face may reach beyond its outline
DOME_DEPTH = 0.8  # of the dome's half-width


@dataclass(frozen=True)
class Square:
    """The part of the photo around the face, in image pixels.

    Attributes:
        left, top: integer position of its first pixel; may be outside the photo.
        side: in pixels.
    """

    left: int
    top: int
    side: int

    def to_view(self, points_img: Points2) -> Points2:
        """(N, 2) image pixels to the view frame's x and y."""
        share = (points_img - (self.left, self.top) + 0.5) / self.side
        return (2.0 * share - 1.0) * (1.0, -1.0)

    def to_image(self, points_view: Points2) -> Points2:
        """(N, 2) view x and y to image pixels."""
        share = (points_view * (1.0, -1.0) + 1.0) / 2.0
        return share * self.side - 0.5 + (self.left, self.top)


def square_around(points_img: Points2, margin: float) -> Square:
    """The square around points, `margin` times as large as they are."""
    x, y, width, height = bounding_box(points_img)
    side = max(2, round(margin * max(width, height)))
    left = round(x + width / 2 - side / 2)
    top = round(y + height / 2 - side / 2)
    return Square(left, top, side)


def face_outline(landmarks_px: Points2) -> Points2:
    """The landmarks, and a guess where the forehead ends above them."""
    _, _, _, height = bounding_box(landmarks_px)
    up = landmarks_px[27] - landmarks_px[8]  # chin to the bridge of the nose
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    return np.concatenate([landmarks_px, landmarks_px[17:27] + FOREHEAD * height * up])


def look_at(
    image: RgbImage, labels: LabelImage, outline_px: Points2, square: Square, size_px: int
) -> MeshTarget:
    """Cut out the photo, the face's mask and the segmentation, all `size_px` a side.

    The mask holds skin, brows, eyes, nose and mouth in and a little around the convex hull of
    `outline_px`, (N, 2) image points of the face: neither another face in the square nor an ear
    counts. Beyond the photo's border it is 0.
    """
    mask = visible_skin_mask(labels) | (labels == INDEX["inner_mouth"])
    mask &= _around(outline_px, mask.shape, REACH * square.side)
    photo = cut_square(image, square, size_px).astype(np.float32) / 255.0
    share = cut_square((mask * np.float32(1)), square, size_px)
    colors = cut_square(CLASS_COLORS[labels], square, size_px).astype(np.float32) / 255.0
    return MeshTarget(photo, share, colors)


def _around(points: Points2, shape: tuple[int, ...], reach_px: float) -> Mask:
    """The convex hull of the points, widened."""
    hull = np.zeros(shape, np.uint8)
    corners = np.round(points[ConvexHull(points).vertices]).astype(np.int32)
    cv2.fillConvexPoly(hull, corners, 1)
    cv2.polylines(hull, [corners], True, 1, thickness=max(1, round(2 * reach_px)))
    found: Mask = hull > 0
    return found


def cut_square(picture: FloatArray | RgbImage, square: Square, size_px: int) -> FloatArray:
    """The square at `size_px`, averaged by area; black beyond the picture."""
    height, width = picture.shape[:2]
    left, top = max(square.left, 0), max(square.top, 0)
    right, bottom = min(square.left + square.side, width), min(square.top + square.side, height)
    whole = np.zeros((square.side, square.side, *picture.shape[2:]), picture.dtype)
    if right > left and bottom > top:
        x, y = left - square.left, top - square.top
        whole[y : y + bottom - top, x : x + right - left] = picture[top:bottom, left:right]
    way = cv2.INTER_AREA if square.side > size_px else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(whole, (size_px, size_px), interpolation=way))


@dataclass(frozen=True)
class MeshStart:
    """Where the optimisation starts, and the way back to the head frame.

    Attributes:
        template: in the view frame.
        colors: (V, 3) in [0, 1].
        rotation: (3, 3) of the head in the photo, camera axes from head frame.
        unit_mm: millimetres of one view unit.
        origin_view: (3,) the head frame's origin in the view frame.
    """

    template: Mesh
    colors: FloatArray
    rotation: FloatArray
    unit_mm: float
    origin_view: FloatArray

    def to_head_mm(self, points_view: Points3) -> Points3:
        """(N, 3) view frame to head-frame millimetres."""
        points: Points3 = ((points_view - self.origin_view) * self.unit_mm) @ self.rotation
        return points

    def camera(self, square: Square) -> ScaledOrthographicCamera:
        """Projects head-frame millimetres into the photo."""
        shift = square.to_image(self.origin_view[None, :2])[0]
        return ScaledOrthographicCamera(self.rotation, square.side / 2 / self.unit_mm, shift)


def start_from_fit(
    vertices_mm: Points3,
    triangles: np.ndarray,
    uv: Points2,
    texture: RgbImage,
    camera: ScaledOrthographicCamera,
    square: Square,
) -> MeshStart:
    """Start from a fitted mesh in head-frame millimetres, coloured by its texture."""
    unit_mm = square.side / 2 / camera.scale_px_per_unit
    turned = camera.turn(vertices_mm) / unit_mm
    origin = np.append(square.to_view(np.asarray(camera.shift_px)[None])[0], 0.0)
    template = Mesh(turned + origin, triangles, uv=uv, name="face")
    height, width = texture.shape[:2]
    at = (uv * (1.0, -1.0) + (0.0, 1.0)) * (width, height) - 0.5
    colors = _bilinear(texture.astype(np.float32) / 255.0, at)
    return MeshStart(template, colors, camera.rotation, unit_mm, origin)


def start_from_dome(
    target: MeshTarget, landmarks_px: Points2, square: Square, *, sphere: bool = False
) -> MeshStart:
    """Start from a hemisphere (or icosphere) laid over the face, coloured by the photo."""
    outline = square.to_view(face_outline(landmarks_px))
    in_mask = np.argwhere(target.mask > 0.5)
    if len(in_mask) > 2:
        size = len(target.mask)
        seen = (in_mask[:, ::-1] + 0.5) / size * 2 - 1
        outline = np.concatenate([outline, seen * (1.0, -1.0)])
    x, y, width, height = bounding_box(outline)
    shape = icosphere() if sphere else hemisphere()
    radii = np.array([width / 2, height / 2, DOME_DEPTH * width / 2]) * 1.02
    vertices = shape.vertices * radii + (x + width / 2, y + height / 2, 0.0)
    template = Mesh(vertices, shape.triangles, uv=shape.uv, name="face")
    size = len(target.photo)
    at = (vertices[:, :2] * (1.0, -1.0) + 1.0) / 2.0 * size - 0.5
    filled = push_pull(np.asarray(target.photo, np.float32), np.asarray(target.mask, np.float32))
    corners = square.to_view(landmarks_px[[36, 45]])
    unit_mm = OUTER_EYE_CORNERS_MM / max(float(np.linalg.norm(corners[1] - corners[0])), 1e-6)
    middle = corners.mean(axis=0)
    nearest = np.linalg.norm(vertices[:, :2] - middle, axis=1) - vertices[:, 2]
    origin = np.append(middle, vertices[int(nearest.argmin()), 2])
    return MeshStart(template, _bilinear(filled, at), np.eye(3), unit_mm, origin)


def _bilinear(picture: FloatArray, at: Points2) -> FloatArray:
    """(N, 3) colours at (N, 2) pixel positions; the border is repeated."""
    places = np.asarray(at, np.float32)[None]
    colors = cv2.remap(
        np.asarray(picture, np.float32),
        places,
        None,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(colors[0], np.float64)
