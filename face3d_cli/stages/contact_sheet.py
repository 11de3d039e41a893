"""One picture that shows whether a reconstruction is right: photo, points, overlay, three views."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, Points2, Points3, RgbImage
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import STROKES, bounding_box
from face3d_cli.core.mesh import Mesh, vertex_normals
from face3d_cli.core.raster import rasterize

TILE_PX = 384
BACKGROUND = 40
VIEW_YAWS_DEG = (0.0, 50.0, -50.0)
GREEN, RED = (80, 230, 80), (255, 60, 60)


def draw_landmarks(
    image: RgbImage, faces: Sequence[tuple[FaceBox, Points2]], *, numbers: bool = False
) -> RgbImage:
    """Draw boxes and 68 landmarks of each face into a copy of the photo."""
    picture = image.copy()
    for box, points in faces:
        thick = max(1, round(box.width / 200))
        corners = cv2.boxPoints((box.center, (box.width, box.height), np.degrees(box.roll_rad)))
        cv2.polylines(picture, [_fixed(corners)], True, RED, thick, cv2.LINE_AA, 4)
        for first, last, is_closed in STROKES:
            line = _fixed(points[first : last + 1])
            cv2.polylines(picture, [line], is_closed, GREEN, thick, cv2.LINE_AA, 4)
        for index, point in enumerate(points):
            at = tuple(_fixed(point).tolist())
            cv2.circle(picture, at, (thick + 1) << 4, (255, 255, 255), -1, cv2.LINE_AA, 4)
            if numbers:
                where = (round(point[0]) + 3, round(point[1]) - 3)
                cv2.putText(picture, str(index), where, 0, box.width / 700, RED, 1, cv2.LINE_AA)
    return picture


def draw_contact_sheet(
    image: RgbImage,
    box: FaceBox,
    landmarks_px: Points2,
    mesh: Mesh,
    camera: ScaledOrthographicCamera,
) -> RgbImage:
    """Six tiles: photo, landmarks, mesh overlay; textured front and both sides.

    Args:
        image: (H, W, 3) photo.
        box: the face.
        landmarks_px: (68, 2).
        mesh: textured or with vertex colours (grey without either), in the head frame.
        camera: projects the mesh into the photo.

    Returns:
        (2 TILE_PX, 3 TILE_PX, 3) picture.
    """
    points = camera.project(mesh.vertices)
    overlay = _overlay(image, points, camera.turn(mesh.vertices), mesh)
    marked = draw_landmarks(image, [(box, landmarks_px)])
    x, y, width, height = bounding_box(np.concatenate([points, landmarks_px]))
    photos = [_tile_of_photo(each, (x, y, width, height)) for each in (image, marked, overlay)]
    views = [render_view(mesh, yaw_deg, TILE_PX) for yaw_deg in VIEW_YAWS_DEG]
    return np.vstack([np.hstack(photos), np.hstack(views)])


def render_view(mesh: Mesh, yaw_deg: float, size_px: int) -> RgbImage:
    """The mesh turned about its vertical axis, lightly shaded, in its texture or vertex colours."""
    yaw = np.radians(yaw_deg)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    vertices = mesh.vertices @ turn.T
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    vertices -= (low + high) / 2
    extent = np.ptp(mesh.vertices, axis=0).max() * 1.1
    camera = ScaledOrthographicCamera(
        np.eye(3), size_px / extent, np.array([(size_px - 1) / 2, (size_px - 1) / 2])
    )
    return _shaded(mesh, camera.project(vertices), vertices, (size_px, size_px))


def _shaded(mesh: Mesh, points: Points2, turned: Points3, size: tuple[int, int]) -> RgbImage:
    raster = rasterize(points, mesh.triangles, size, towards_viewer=turned[:, 2])
    facing = vertex_normals(turned, mesh.triangles)[:, 2:]
    picture = np.full((*size, 3), BACKGROUND, np.uint8)
    covered = raster.is_covered
    light = 0.55 + 0.45 * np.clip(np.abs(raster.interpolate(facing, mesh.triangles)), 0, 1)
    color: FloatArray = np.full((*size, 3), 200.0)
    if mesh.texture is not None and mesh.uv is not None:
        side = np.array(mesh.texture.shape[1::-1])
        texels = np.column_stack([mesh.uv[:, 0], 1.0 - mesh.uv[:, 1]]) * side - 0.5
        where = raster.interpolate(texels, mesh.triangles).astype(np.float32)
        color = cv2.remap(mesh.texture, where, None, cv2.INTER_LINEAR).astype(np.float64)
    elif mesh.vertex_colors is not None:
        color = raster.interpolate(mesh.vertex_colors.astype(np.float64), mesh.triangles)
    picture[covered] = (color * light)[covered].astype(np.uint8)
    return picture


def _overlay(image: RgbImage, points: Points2, turned: Points3, mesh: Mesh) -> RgbImage:
    """The mesh's wireframe, front faces only, over the photo."""
    picture = image.copy()
    corners = points[mesh.triangles]
    (ax, ay), (bx, by), (cx, cy) = (corners[:, k].T for k in range(3))
    is_front = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax) < 0  # y points down
    cv2.polylines(picture, list(_fixed(corners[is_front])), True, GREEN, 1, cv2.LINE_AA, 4)
    return np.asarray(cv2.addWeighted(image, 0.45, picture, 0.55, 0), np.uint8)


def _tile_of_photo(image: RgbImage, box: tuple[float, float, float, float]) -> RgbImage:
    """The surroundings of the face as a square tile."""
    x, y, width, height = box
    side = 1.5 * max(width, height)
    scale = TILE_PX / side
    shift = TILE_PX / 2 - scale * np.array([x + width / 2, y + height / 2])
    transform = np.column_stack([np.eye(2) * scale, shift])
    flags = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    border = (BACKGROUND,) * 3
    return np.asarray(
        cv2.warpAffine(image, transform, (TILE_PX, TILE_PX), flags=flags, borderValue=border),
        np.uint8,
    )


def _fixed(points: FloatArray) -> np.ndarray:
    """Fixed-point pixels with four fractional bits, as OpenCV's drawing takes them."""
    return np.round(np.asarray(points) * 16).astype(np.int32)
