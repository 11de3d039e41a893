"""Which rasteriser draws? The built-in one, or PyTorch3D where it is installed."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor

from face3d_cli.diff.fragments import Fragments
from face3d_cli.diff.rasterize import rasterize
from face3d_cli.errors import MissingExtra
from face3d_cli.settings import RendererName


class Rasterizer(Protocol):
    """Image points and triangles in, fragments out; see `rasterize` for the arguments."""

    def __call__(
        self,
        points_img: Tensor,
        triangles: Tensor,
        height: int,
        width: int,
        *,
        perspective: bool = False,
    ) -> Fragments:
        """Find the nearest triangle at every pixel centre."""


def rasterizer_named(name: RendererName) -> Rasterizer:
    """Look up a backend.

    Raises:
        MissingExtra: PyTorch3D was asked for and cannot be imported.
    """
    if name == "torch":
        return rasterize
    try:
        import pytorch3d.renderer.mesh.rasterize_meshes  # noqa: F401
    except ImportError as problem:
        raise MissingExtra(
            f"the renderer pytorch3d needs PyTorch3D, which cannot be imported ({problem})",
            hint="build it from github.com/facebookresearch/pytorch3d, or use --renderer torch",
        ) from problem
    return rasterize_with_pytorch3d


def rasterize_with_pytorch3d(
    points_img: Tensor,
    triangles: Tensor,
    height: int,
    width: int,
    *,
    perspective: bool = False,
) -> Fragments:
    """The same as `rasterize`, drawn by PyTorch3D (one face per pixel, no blur)."""
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

    batch, num_vertices = points_img.shape[:2]
    corners = triangles.expand(batch, -1, -1)
    side = min(height, width)
    x, y, depth = points_img.unbind(-1)
    # PyTorch3D's axes: x left, y up, the shorter side spans [-1, 1]; it drops negative depths.
    shift = 0.0 if perspective else 1.0 - float(depth.detach().min())
    ndc = torch.stack([(width - 1 - 2 * x) / side, (height - 1 - 2 * y) / side, depth + shift], -1)
    face, z, barycentric, _ = rasterize_meshes(
        Meshes(ndc, corners),
        image_size=(height, width),
        blur_radius=0.0,
        faces_per_pixel=1,
        perspective_correct=perspective,
    )
    num_triangles = corners.shape[1]
    flat_face = face.reshape(-1)
    pixel = (flat_face >= 0).nonzero().squeeze(1)
    owner = flat_face[pixel]
    first_vertex = torch.arange(batch, device=corners.device).view(-1, 1, 1) * num_vertices
    seen = (corners + first_vertex).reshape(-1, 3)[owner]
    first_triangle = torch.arange(batch, device=corners.device).view(-1, 1, 1) * num_triangles
    triangle = torch.where(face[..., 0] >= 0, face[..., 0] - first_triangle, -1)
    return Fragments(
        triangle,
        pixel,
        seen,
        barycentric.reshape(-1, 3)[pixel],
        z.reshape(-1)[pixel] - shift,
        num_vertices,
    )
