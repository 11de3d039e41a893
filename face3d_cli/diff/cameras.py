"""How does a world point reach the picture? Scaled-orthographic and perspective cameras in torch.

The camera frame is the head frame of a face seen from the front: +X right in the picture, +Y up,
+Z towards the viewer. Image y points down; the sign flips in `_to_image` and nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor


@dataclass(frozen=True)
class ScaledOrthographicCamera:
    """Parallel projection: image = scale * (rotated x, -y) + shift.

    Attributes:
        rotation: (3, 3) or (B, 3, 3), camera from world.
        scale_px_per_unit: () or (B,) pixels per world unit.
        shift_px: (2,) or (B, 2) image position of the world's origin.
    """

    rotation: Tensor
    scale_px_per_unit: Tensor
    shift_px: Tensor
    is_perspective: ClassVar[bool] = False

    def project(self, vertices_world: Tensor) -> Tensor:
        """(B, V, 3) world points to image x, y in pixels and depth in world units.

        Source: Hartley & Zisserman, Multiple View Geometry, 2nd ed., section 6.3.
        """
        in_camera = vertices_world @ self.rotation.transpose(-1, -2)
        return _to_image(in_camera, self.scale_px_per_unit[..., None, None], self.shift_px)

    def towards_camera(self, positions: Tensor, batch_item: Tensor) -> Tensor:
        """(P, 3) unit vectors in the world from surface points to the camera, at infinity."""
        axis = self.rotation[..., 2, :].expand(-1, 3) if self.rotation.ndim == 3 else None
        if axis is None:
            return self.rotation[2].expand_as(positions)
        return axis.index_select(0, batch_item)


@dataclass(frozen=True)
class PerspectiveCamera:
    """Pinhole projection: image = focal * (x, -y) / depth + centre.

    Attributes:
        rotation: (3, 3) or (B, 3, 3), camera from world.
        translation: (3,) or (B, 3), the world's origin in the camera frame; z is negative for
            what lies in front of the camera.
        focal_px: () or (B,).
        centre_px: (2,) or (B, 2) principal point.
        near: points nearer than this depth keep a finite image position with zero gradient;
            the rasteriser leaves their triangles out.
    """

    rotation: Tensor
    translation: Tensor
    focal_px: Tensor
    centre_px: Tensor
    near: float = 1e-6
    is_perspective: ClassVar[bool] = True

    def project(self, vertices_world: Tensor) -> Tensor:
        """(B, V, 3) world points to image x, y in pixels and depth in world units.

        Source: Hartley & Zisserman, Multiple View Geometry, 2nd ed., section 6.1.
        """
        in_camera = vertices_world @ self.rotation.transpose(-1, -2)
        in_camera = in_camera + self.translation[..., None, :]
        depth = -in_camera[..., 2:]
        in_front = depth > self.near
        scale = self.focal_px[..., None, None] / torch.where(in_front, depth, 1.0)
        scale = torch.where(in_front, scale, 0.0)
        return _to_image(in_camera, scale, self.centre_px)

    def towards_camera(self, positions: Tensor, batch_item: Tensor) -> Tensor:
        """(P, 3) unit vectors in the world from surface points to the camera centre."""
        centre = -(self.rotation.transpose(-1, -2) @ self.translation[..., None]).squeeze(-1)
        if centre.ndim == 2:
            centre = centre.index_select(0, batch_item)
        return torch.nn.functional.normalize(centre - positions, dim=-1)


Camera = ScaledOrthographicCamera | PerspectiveCamera


def _to_image(in_camera: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    x, y, z = in_camera[..., :1], in_camera[..., 1:2], in_camera[..., 2:]
    shift = shift[..., None, :]
    return torch.cat([scale * x + shift[..., :1], -scale * y + shift[..., 1:], -z], dim=-1)


def rotation_from_axis_angle(axis_angle: Tensor) -> Tensor:
    """(..., 3) rotation vectors in radians to (..., 3, 3) matrices; zero gives the identity.

    Source: Rodrigues' formula, as the matrix exponential of the cross-product matrix.
    """
    x, y, z = axis_angle.unbind(-1)
    zero = torch.zeros_like(x)
    rows = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1)
    rotation: Tensor = torch.linalg.matrix_exp(rows.reshape(*axis_angle.shape[:-1], 3, 3))
    return rotation
