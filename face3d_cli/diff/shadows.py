"""Which surface points does a light reach? A soft, differentiable shadow map."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from face3d_cli.diff.cameras import Camera, PerspectiveCamera, ScaledOrthographicCamera
from face3d_cli.diff.lighting import DirectionalLight, Light
from face3d_cli.diff.rasterize import rasterize


def light_visibility(
    positions: Tensor,
    batch_item: Tensor,
    vertices: Tensor,
    triangles: Tensor,
    light: Light,
    *,
    size_px: int = 256,
    bias: float = 0.02,
    softness: float = 0.004,
) -> Tensor:
    """How much of the light reaches each point: 1 in full light, 0 in shadow.

    The scene is rasterised from the light; a point is lit where nothing lies nearer to the light.
    The comparison is a sigmoid, averaged bilinearly over the four nearest places of the map, so
    gradients reach both the shadowed point and the caster's depth.

    Args:
        positions: (P, 3) surface points in the world.
        batch_item: (P,) which item of the batch they belong to.
        vertices: (B, V, 3) the casters.
        triangles: (F, 3) or (B, F, 3).
        light: where the light is.
        size_px: side of the shadow map.
        bias: depth margin against a surface shadowing itself, as a share of the scene's radius.
        softness: width of the sigmoid, as a share of the scene's radius.

    Returns:
        (P, 1).

    Source: Williams, Casting Curved Shadows on Curved Surfaces, SIGGRAPH 1978; averaging: Reeves
    et al., Rendering Antialiased Shadows with Depth Maps, SIGGRAPH 1987.
    """
    camera, radius = _camera_of_light(light, vertices.detach(), size_px)
    fragments = rasterize(
        camera.project(vertices), triangles, size_px, size_px, perspective=camera.is_perspective
    )
    far = vertices.new_tensor(1e6) * radius
    depth_map = fragments.to_image(fragments.depth, far).reshape(-1)
    x, y, depth = _project_points(camera, positions).unbind(-1)
    total = torch.zeros_like(depth)
    left, top = x.detach().floor(), y.detach().floor()
    for column, row in ((0, 0), (1, 0), (0, 1), (1, 1)):
        at_x, at_y = left + column, top + row
        share = (1.0 - (x - at_x).abs()) * (1.0 - (y - at_y).abs())
        in_map = (at_x >= 0) & (at_x < size_px) & (at_y >= 0) & (at_y < size_px)
        place = (batch_item * size_px + at_y.long().clamp(0, size_px - 1)) * size_px
        nearest = depth_map.gather(0, place + at_x.long().clamp(0, size_px - 1))
        margin = (nearest - depth + bias * radius) / (softness * radius)
        total = total + share * torch.where(in_map, torch.sigmoid(margin), 1.0)
    return total.unsqueeze(-1)


def _project_points(camera: Camera, positions: Tensor) -> Tensor:
    return camera.project(positions.unsqueeze(0)).squeeze(0)


def _camera_of_light(light: Light, vertices: Tensor, size_px: int) -> tuple[Camera, Tensor]:
    """A camera at the light that sees the whole scene, and the scene's radius."""
    flat = vertices.reshape(-1, 3)
    middle = (flat.amin(0) + flat.amax(0)) / 2
    radius = (flat - middle).norm(dim=1).max()
    centre_px = flat.new_tensor([(size_px - 1) / 2, (size_px - 1) / 2])
    fill = 0.48 * size_px
    if isinstance(light, DirectionalLight):
        rotation = _look_along(light.direction.detach().to(flat))
        scale = fill / radius
        in_view = scale * (rotation @ middle)[:2] * flat.new_tensor([1.0, -1.0])
        return ScaledOrthographicCamera(rotation, scale, centre_px - in_view), radius
    location = light.location.detach().to(flat)
    distance = (location - middle).norm()
    rotation = _look_along(location - middle)
    sine = (radius / distance).clamp(max=0.99)
    focal = fill * (1.0 - sine * sine).sqrt() / sine
    return PerspectiveCamera(rotation, -rotation @ location, focal, centre_px), radius


def _look_along(towards_camera: Tensor) -> Tensor:
    """(3, 3) rotation whose camera +Z is the given world direction."""
    z = normalize(towards_camera, dim=0)
    helper = torch.eye(3, dtype=z.dtype, device=z.device)[int(z.abs().argmin())]
    x = normalize(torch.linalg.cross(helper, z), dim=0)
    return torch.stack([x, torch.linalg.cross(z, x), z])
