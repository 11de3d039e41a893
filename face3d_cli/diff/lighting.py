"""How bright is a surface point? Spherical-harmonic, directional and point lights.

All functions work on compact lists of P surface points in the world frame and give linear factors
of the albedo; any tensor may be optimised or frozen.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

# Real spherical harmonics up to degree two, and the clamped-cosine kernel of each degree.
_SH_BAND = (0.282095, 0.488603, 1.092548, 0.315392, 0.546274)
_COSINE_KERNEL = (torch.pi, 2.0 * torch.pi / 3.0, torch.pi / 4.0)


def spherical_harmonics(normals: Tensor) -> Tensor:
    """(P, 9) real spherical harmonics of unit normals, degrees 0 to 2.

    Source: Ramamoorthi & Hanrahan, An Efficient Representation for Irradiance Environment Maps,
    SIGGRAPH 2001, equation 3.
    """
    x, y, z = normals.unbind(-1)
    c0, c1, c2, c3, c4 = _SH_BAND
    one = torch.ones_like(x)
    bands = [
        c0 * one,
        c1 * y,
        c1 * z,
        c1 * x,
        c2 * x * y,
        c2 * y * z,
        c3 * (3.0 * z * z - 1.0),
        c2 * x * z,
        c4 * (x * x - y * y),
    ]
    return torch.stack(bands, dim=-1)


def harmonic_irradiance(normals: Tensor, coefficients: Tensor) -> Tensor:
    """Brightness under a distant light given as second-order spherical harmonics.

    Args:
        normals: (P, 3) unit.
        coefficients: (9, C) or (P, 9, C) radiance coefficients; C is 1 or 3.

    Returns:
        (P, C) irradiance divided by pi, so a constant unit environment gives 1.

    Source: Ramamoorthi & Hanrahan 2001, equations 7 to 9.
    """
    kernel = normals.new_tensor([_COSINE_KERNEL[d] for d in (0, 1, 1, 1, 2, 2, 2, 2, 2)])
    basis = spherical_harmonics(normals) * (kernel / torch.pi)
    if coefficients.ndim == 2:
        return basis @ coefficients
    return (basis.unsqueeze(-1) * coefficients).sum(dim=1)


def constant_harmonics(brightness: float, channels: int = 1) -> Tensor:
    """(9, C) coefficients of a uniform environment: `harmonic_irradiance` is `brightness`."""
    coefficients = torch.zeros(9, channels)
    coefficients[0] = brightness / _SH_BAND[0]
    return coefficients


@dataclass(frozen=True)
class DirectionalLight:
    """A light at infinity.

    Attributes:
        direction: (3,) from the surface towards the light, any length above zero.
        color: (3,) or (1,) brightness.
    """

    direction: Tensor
    color: Tensor

    def towards(self, positions: Tensor) -> Tensor:
        """(P, 3) unit vectors from the surface to the light."""
        return normalize(self.direction, dim=-1).expand_as(positions)


@dataclass(frozen=True)
class PointLight:
    """A light at a place, without fall-off.

    Attributes:
        location: (3,) in the world.
        color: (3,) or (1,) brightness.
    """

    location: Tensor
    color: Tensor

    def towards(self, positions: Tensor) -> Tensor:
        """(P, 3) unit vectors from the surface to the light; zero at the light itself."""
        return normalize(self.location - positions, dim=-1)


Light = DirectionalLight | PointLight


def lambert(normals: Tensor, towards_light: Tensor) -> Tensor:
    """(P, 1) diffuse factor max(n . l, 0). Source: Lambert, Photometria, 1760."""
    return (normals * towards_light).sum(dim=-1, keepdim=True).clamp(min=0.0)


def blinn_phong(
    normals: Tensor, towards_light: Tensor, towards_camera: Tensor, shininess: float = 64.0
) -> Tensor:
    """(P, 1) specular factor max(n . h, 0)^shininess with the half vector h; zero facing away.

    Source: Blinn, Models of Light Reflection for Computer Synthesized Pictures, SIGGRAPH 1977.
    """
    half = normalize(towards_light + towards_camera, dim=-1)
    along = (normals * half).sum(dim=-1, keepdim=True).clamp(min=0.0)
    lit = (normals * towards_light).sum(dim=-1, keepdim=True) > 0
    return torch.where(lit, along**shininess, 0.0)


def phong(
    albedo: Tensor,
    normals: Tensor,
    positions: Tensor,
    towards_camera: Tensor,
    lights: list[Light],
    *,
    ambient: float = 0.5,
    specular: float = 0.2,
    shininess: float = 64.0,
    visibility: list[Tensor] | None = None,
) -> Tensor:
    """(P, 3) colour: albedo * (ambient + sum of Lambert) + sum of Blinn-Phong highlights.

    Args:
        albedo: (P, 3).
        normals: (P, 3) unit.
        positions: (P, 3) in the world.
        towards_camera: (P, 3) unit.
        lights: directional or point lights.
        ambient: brightness everywhere.
        specular: strength of the highlights.
        shininess: exponent of the highlights.
        visibility: (P, 1) for each light, 0 in its shadow; None casts no shadows.
    """
    diffuse = torch.full_like(albedo, ambient)
    highlight = torch.zeros_like(albedo)
    for number, light in enumerate(lights):
        towards_light = light.towards(positions)
        color = light.color if visibility is None else light.color * visibility[number]
        diffuse = diffuse + color * lambert(normals, towards_light)
        if specular:
            shine = blinn_phong(normals, towards_light, towards_camera, shininess)
            highlight = highlight + specular * color * shine
    return albedo * diffuse + highlight
