"""How bright is a surface under a light of spherical harmonics, and which light explains one?

The same formulas as in `diff/lighting.py` and `diff/shading.py`, without torch.
Source: Ramamoorthi & Hanrahan, An Efficient Representation for Irradiance Environment Maps,
SIGGRAPH 2001, equations 3 and 7 to 9.
"""

from __future__ import annotations

import numpy as np

from face3d_cli.arrays import FloatArray

_BANDS = (0.282095, 0.488603, 1.092548, 0.315392, 0.546274)
_KERNEL = np.array([1.0, *(3 * [2.0 / 3.0]), *(5 * [0.25])])
MIN_SHADING = 0.15  # of the mean
STIFFNESS, ROUNDS, TUNING = 3e-4, 6, 2.385


def irradiance_basis(normals: FloatArray) -> FloatArray:
    """(N, 9) brightness of unit normals under each harmonic alone, divided by pi."""
    return np.asarray(radiance_basis(normals) * _KERNEL)


def radiance_basis(directions: FloatArray) -> FloatArray:
    """(N, 9) how much light comes from (N, 3) unit directions under each harmonic alone."""
    x, y, z = np.asarray(directions, np.float64).T
    c0, c1, c2, c3, c4 = _BANDS
    bands = [
        c0 * np.ones_like(x), c1 * y, c1 * z, c1 * x, c2 * x * y, c2 * y * z,
        c3 * (3.0 * z * z - 1.0), c2 * x * z, c4 * (x * x - y * y),
    ]  # fmt: skip
    return np.stack(bands, axis=1)


def shading(normals: FloatArray, light: FloatArray) -> FloatArray:
    """(N, C) brightness of (N, 3) unit normals under a (9, C) light, at least `MIN_SHADING`."""
    return np.asarray(np.maximum(irradiance_basis(normals) @ light, MIN_SHADING))


def estimate_light(normals: FloatArray, brightness: FloatArray) -> FloatArray:
    """(9, C) the light under which a surface of one albedo looks so; its mean shading is 1.

    Ridge towards a uniform light, Cauchy weights against what is no bare skin.

    Args:
        normals: (N, 3) unit.
        brightness: (N, C) linear; its scale goes into the albedo.
    """
    basis = irradiance_basis(normals)
    columns = []
    for channel in np.asarray(brightness, np.float64).T:
        wanted = channel / max(channel.mean(), 1e-8)
        ambient = np.zeros(9)
        ambient[0] = 1.0 / _BANDS[0]
        away = wanted - basis @ ambient
        weight = np.ones(len(wanted))
        light = ambient
        for _ in range(ROUNDS):
            weighted = basis * weight[:, None]
            square = weighted.T @ basis + STIFFNESS * len(basis) * np.eye(9)
            light = ambient + np.linalg.solve(square, weighted.T @ away)
            residual = wanted - basis @ light
            spread = max(1.4826 * float(np.median(np.abs(residual))), 1e-4)
            weight = 1.0 / (1.0 + (residual / (TUNING * spread)) ** 2)
        columns.append(light / np.maximum(basis @ light, MIN_SHADING).mean())
    return np.stack(columns, axis=1)


def turned_light(light: FloatArray, rotation: FloatArray) -> FloatArray:
    """The (9, C) light of a scene that was turned by a (3, 3) rotation: L'(R n) = L(n)."""
    normals = np.random.default_rng(0).normal(size=(64, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    turned, *_ = np.linalg.lstsq(
        irradiance_basis(normals @ rotation.T), irradiance_basis(normals) @ light, rcond=None
    )
    return np.asarray(turned)
