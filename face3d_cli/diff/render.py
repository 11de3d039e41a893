"""From mesh, camera and shading to a picture: the steps of the renderer in order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from face3d_cli.diff.antialias import antialias
from face3d_cli.diff.backends import Rasterizer
from face3d_cli.diff.cameras import Camera
from face3d_cli.diff.edges import EdgeTopology, silhouette_edges
from face3d_cli.diff.fragments import Fragments, interpolate
from face3d_cli.diff.normals import vertex_normals
from face3d_cli.diff.rasterize import rasterize


@dataclass(frozen=True)
class Surface:
    """What shading may look at: one entry per covered pixel.

    Attributes:
        albedo: (P, C) interpolated vertex colours.
        normals: (P, 3) unit, in the world.
        positions: (P, 3) in the world.
        towards_camera: (P, 3) unit.
        batch_item: (P,)
    """

    albedo: Tensor
    normals: Tensor
    positions: Tensor
    towards_camera: Tensor
    batch_item: Tensor


Shader = Callable[[Surface], Tensor]  # Surface -> (P, C) colours


@dataclass(frozen=True)
class Picture:
    """A rendered batch: colours with coverage, and what was seen where.

    Attributes:
        color: (B, H, W, C).
        coverage: (B, H, W) share of the mesh in each pixel; 0 or 1 without antialiasing.
        fragments: the visible surface.
    """

    color: Tensor
    coverage: Tensor
    fragments: Fragments


def unlit(surface: Surface) -> Tensor:
    """Show the albedo as it is."""
    return surface.albedo


def render(
    vertices: Tensor,
    triangles: Tensor,
    colors: Tensor,
    camera: Camera,
    height: int,
    width: int,
    *,
    shader: Shader = unlit,
    background: Tensor | float = 0.0,
    topology: EdgeTopology | None = None,
    rasterizer: Rasterizer = rasterize,
) -> Picture:
    """Render vertex-coloured meshes.

    Args:
        vertices: (B, V, 3) in the world.
        triangles: (F, 3) vertex indices.
        colors: (B, V, C) or (V, C) vertex colours, linear factors of the light.
        camera: projects the world to pixels.
        height: rows.
        width: columns.
        shader: surface to colours.
        background: a number or a tensor that broadcasts to (B, H, W, C).
        topology: edges of the triangles; given, silhouettes are antialiased and carry gradients.
        rasterizer: the backend's `rasterize`.
    """
    points_img = camera.project(vertices)
    fragments = rasterizer(points_img, triangles, height, width, perspective=camera.is_perspective)
    attributes = torch.cat(
        [vertices, vertex_normals(vertices, triangles), colors.expand(len(vertices), -1, -1)],
        dim=-1,
    )
    values = interpolate(attributes, fragments)
    positions, albedo = values[:, :3], values[:, 6:]
    normals = torch.nn.functional.normalize(values[:, 3:6], dim=1)
    batch_item = fragments.batch_item
    towards_camera = camera.towards_camera(positions, batch_item)
    shaded = shader(Surface(albedo, normals, positions, towards_camera, batch_item))
    color = fragments.to_image(shaded, background)
    coverage = fragments.mask.to(color.dtype)
    if topology is None:
        return Picture(color, coverage, fragments)
    near = 0.0 if camera.is_perspective else None
    silhouette = silhouette_edges(points_img, triangles, topology, near=near)
    both = torch.cat([color, coverage.unsqueeze(-1)], dim=-1)
    both = antialias(both, fragments, silhouette)
    return Picture(both[..., :-1], both[..., -1], fragments)
