"""How did the mesh get there? Pictures of its shape along the way."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from face3d_cli.arrays import Points3, RgbImage, Triangles
from face3d_cli.diff.cameras import ScaledOrthographicCamera, rotation_from_axis_angle
from face3d_cli.diff.edges import edge_topology
from face3d_cli.diff.lighting import DirectionalLight, phong
from face3d_cli.diff.render import Surface, render
from face3d_cli.diff.threads import limited_threads
from face3d_cli.stages.meshnet import FitResult, MeshTarget

_VIEW_YAWS_RAD = (0.0, 0.7)
_GREY = 0.72


def draw_deformation(
    shapes: Sequence[Points3], triangles: Triangles, size_px: int = 224
) -> list[RgbImage]:
    """Draw each shape in grey, from the front and turned, (size, 2 size, 3) a frame.

    Args:
        shapes: (V, 3) each, y up, z towards the viewer; all drawn at the scale of the first.
        triangles: (F, 3).
        size_px: side of one view.
    """
    first = torch.from_numpy(np.asarray(shapes[0])).float()
    middle = (first.amin(0) + first.amax(0)) / 2
    scale = 0.9 * size_px / (first.amax(0) - first.amin(0)).max()
    corners = torch.from_numpy(triangles.astype(np.int64))
    topology = edge_topology(corners)
    colors = torch.full((len(first), 3), _GREY)
    frames = []
    for shape in shapes:
        vertices = (torch.from_numpy(np.asarray(shape)).float() - middle)[None]
        views = []
        for yaw in _VIEW_YAWS_RAD:
            rotation = rotation_from_axis_angle(torch.tensor([0.0, yaw, 0.0]))
            camera = ScaledOrthographicCamera(rotation, scale, torch.full((2,), (size_px - 1) / 2))
            sun = DirectionalLight(torch.tensor([0.4, 0.5, 1.0]) @ rotation, torch.full((3,), 0.8))

            def shade(surface: Surface, sun: DirectionalLight = sun) -> Tensor:
                return phong(
                    surface.albedo,
                    surface.normals,
                    surface.positions,
                    surface.towards_camera,
                    [sun],
                    ambient=0.2,
                    specular=0.1,
                )

            with torch.no_grad(), limited_threads(1):
                picture = render(
                    vertices,
                    corners,
                    colors,
                    camera,
                    size_px,
                    size_px,
                    shader=shade,
                    background=1.0,
                    topology=topology,
                )
            views.append(picture.color[0].clamp(0, 1).numpy())
        frames.append((np.concatenate(views, axis=1) * 255).round().astype(np.uint8))
    return frames


def draw_comparison(target: MeshTarget, fit: FitResult) -> RgbImage:
    """Photo, masked photo, masked picture of the mesh and whole picture, side by side."""
    mask = np.asarray(target.mask)[..., None]
    tiles = [target.photo, target.photo * mask, fit.rendered * mask, fit.rendered]
    row = np.clip(np.concatenate(tiles, axis=1), 0, 1)
    return (row * 255).round().astype(np.uint8)
