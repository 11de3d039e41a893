"""Pictures of a position map: alignment over the photo, depth, the map itself as a 16-bit PNG."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray, Points3, RgbImage
from face3d_cli.core.mesh import vertex_normals
from face3d_cli.core.raster import rasterize
from face3d_cli.stages.map_mesh import MapMesh
from face3d_cli.stages.position_map import PositionMap

DEPTH_LONG_SIDE_PX = 1280
NEAR, FAR = 255, 40


def draw_dense(image: RgbImage, meshes: Sequence[MapMesh]) -> RgbImage:
    """Every second vertex that faces the viewer, over the photo: blue is far, red is near."""
    picture = image.copy()
    for mesh in meshes:
        points = mesh.camera.project(mesh.vertices_mm)
        turned = mesh.camera.turn(mesh.vertices_mm)
        facing = vertex_normals(turned, mesh.triangles)[:, 2] > 0.05
        depth = turned[:, 2]
        level = np.interp(depth, (depth.min(), depth.max()), (0, 255)).astype(np.uint8)
        colors = cv2.applyColorMap(level[:, None], cv2.COLORMAP_JET)[:, 0, ::-1]
        extent = float(np.ptp(points, axis=0).max())
        radius = max(1, round(extent / 300))
        step = max(1, round(len(points) / max(extent, 1) ** 2 * 8))
        for index in np.flatnonzero(facing)[::step]:
            x, y = (round(float(value)) for value in points[index])
            cv2.circle(picture, (x, y), radius, colors[index].tolist(), -1, cv2.LINE_AA)
    return picture


def draw_depth(image_size: tuple[int, int], meshes: Sequence[MapMesh]) -> npt.NDArray[np.uint8]:
    """(H, W) depth of the faces, 255 at the nearest place of each, 0 where no face is.

    Long photos are drawn at `DEPTH_LONG_SIDE_PX`.
    """
    height, width = image_size
    scale = min(1.0, DEPTH_LONG_SIDE_PX / max(height, width))
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    picture = np.zeros(size, np.uint8)
    for mesh in meshes:
        points = (mesh.camera.project(mesh.vertices_mm) + 0.5) * scale - 0.5
        turned = mesh.camera.turn(mesh.vertices_mm)[:, 2]
        raster = rasterize(points, mesh.triangles, size, towards_viewer=turned)
        level = np.interp(turned, (turned.min(), turned.max()), (FAR, NEAR))[:, None]
        drawn = raster.interpolate(level, mesh.triangles)[..., 0]
        picture = np.where(raster.is_covered, drawn.astype(np.uint8), picture)
    return picture


@dataclass(frozen=True)
class PackedMap:
    """A position map in whole numbers: place = origin + pixel / 65535 * side.

    Attributes:
        pixels: (M, M, 3) uint16.
        origin_px: (3,) x, y, z of 0.
        side_px: of the cube.
    """

    pixels: npt.NDArray[np.uint16]
    origin_px: FloatArray
    side_px: float

    def unpacked(self) -> Points3:
        """(M, M, 3) the map again, to a 65,535th of the cube's side."""
        return self.origin_px + self.pixels * (self.side_px / 65535)


def pack_map(position_map: PositionMap, size: int) -> PackedMap:
    """The map in the smallest cube that holds it."""
    places = position_map.fine_map(size).astype(np.float64)
    flat = places.reshape(-1, 3)
    low, high = flat.min(axis=0), flat.max(axis=0)
    side = float((high - low).max())
    origin = (low + high - side) / 2
    levels = np.clip(np.round((places - origin) / side * 65535), 0, 65535)
    return PackedMap(levels.astype(np.uint16), origin, side)
