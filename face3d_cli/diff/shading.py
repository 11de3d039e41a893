"""Which light explains the brightness of a known shape, and what is left when it is taken away?"""

from __future__ import annotations

import torch
from torch import Tensor

from face3d_cli.diff.lighting import constant_harmonics, harmonic_irradiance

MIN_SHADING = 0.15  # of the mean: darker places hold no albedo
_TUNING = 2.385  # of the Cauchy weights: 95 % efficient for normal errors


def srgb_to_linear(values: Tensor) -> Tensor:
    """SRGB in [0, 1] to amounts of light. Source: IEC 61966-2-1."""
    return torch.where(
        values <= 0.04045, values / 12.92, ((values.clamp(min=0.04045) + 0.055) / 1.055) ** 2.4
    )


def linear_to_srgb(values: Tensor) -> Tensor:
    """Amounts of light to sRGB in [0, 1]; brighter ones are cut. Source: IEC 61966-2-1."""
    values = values.clamp(0.0, 1.0)
    bright = 1.055 * values.clamp(min=0.0031308) ** (1 / 2.4) - 0.055
    return torch.where(values <= 0.0031308, values * 12.92, bright)


def shading(normals: Tensor, light: Tensor) -> Tensor:
    """(..., C) brightness of (..., 3) unit normals under a (9, C) light, at least `MIN_SHADING`."""
    flat = harmonic_irradiance(normals.reshape(-1, 3), light).clamp(min=MIN_SHADING)
    return flat.reshape(*normals.shape[:-1], light.shape[1])


def estimate_light(
    normals: Tensor, brightness: Tensor, *, rounds: int = 6, stiffness: float = 3e-4
) -> Tensor:
    """Least-squares second-order harmonics of a surface of one albedo, robust to what is not.

    Directions that the surface does not show are held near a uniform light by a ridge. In each
    round points whose residual is large (lips, brows, cast shadows) lose weight (Cauchy).

    Args:
        normals: (N, 3) unit.
        brightness: (N,) linear; its scale goes into the albedo.
        rounds: of reweighting.
        stiffness: of the ridge, for each point.

    Returns:
        (9, 1) light under which the points' mean shading is 1.

    Source: Ramamoorthi & Hanrahan, A Signal-Processing Framework for Inverse Rendering, SIGGRAPH
    2001; weights: Holland & Welsch, Robust Regression, 1977.
    """
    identity = torch.eye(9, dtype=normals.dtype, device=normals.device)
    basis = harmonic_irradiance(normals, identity)  # (N, 9): under each harmonic alone
    wanted = brightness / brightness.mean().clamp(min=1e-8)
    ambient = constant_harmonics(1.0).to(basis)
    away = wanted - (basis @ ambient).squeeze(1)
    weight = torch.ones_like(wanted)
    light = ambient
    for _ in range(rounds):
        weighted = basis * weight.unsqueeze(1)
        square = weighted.T @ basis + stiffness * len(basis) * identity
        light = ambient + torch.linalg.solve(square, weighted.T @ away).unsqueeze(1)
        residual = wanted - (basis @ light).squeeze(1)
        spread = residual.abs().median().clamp(min=1e-4) * 1.4826
        weight = 1.0 / (1.0 + (residual / (_TUNING * spread)) ** 2)
    return light / shading(normals, light).mean()


def turned_light(light: Tensor, rotation: Tensor) -> Tensor:
    """The (9, C) light of a scene that was turned by a (3, 3) rotation.

    A surface turned with its light looks the same: L'(R n) = L(n). Harmonics of a degree turn into
    one another, so nine directions in general position determine the result.
    """
    generator = torch.Generator().manual_seed(0)
    normals = torch.randn(64, 3, generator=generator, dtype=torch.float64)
    normals = torch.nn.functional.normalize(normals, dim=1).to(light)
    identity = torch.eye(9, dtype=light.dtype, device=light.device)
    before = harmonic_irradiance(normals, light)
    basis = harmonic_irradiance(normals @ rotation.T.to(light), identity)
    turned: Tensor = torch.linalg.lstsq(basis, before).solution
    return turned
