import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import normalize

from face3d_cli.diff.lighting import (
    DirectionalLight,
    PointLight,
    blinn_phong,
    constant_harmonics,
    harmonic_irradiance,
    lambert,
    phong,
    spherical_harmonics,
)


def directions(count: int, seed: int = 0) -> Tensor:
    points = torch.randn(count, 3, generator=torch.Generator().manual_seed(seed)).double()
    return normalize(points, dim=1)


def even_directions(count: int = 40_000) -> Tensor:
    """A Fibonacci sphere: every direction stands for the same solid angle."""
    at = torch.arange(count).double() + 0.5
    z = 1 - 2 * at / count
    around = at * math.pi * (1 + 5**0.5)
    radius = (1 - z * z).sqrt()
    return torch.stack([radius * around.cos(), radius * around.sin(), z], dim=1)


def test_harmonics_are_orthonormal() -> None:
    basis = spherical_harmonics(even_directions())
    product = basis.T @ basis * (4 * math.pi / len(basis))
    torch.testing.assert_close(product, torch.eye(9).double(), atol=1e-3, rtol=0)


def test_irradiance_equals_the_integral_over_the_hemisphere() -> None:
    """Against brute force: the sum over all directions of radiance times the clamped cosine."""
    coefficients = torch.randn(9, 3, generator=torch.Generator().manual_seed(1)).double()
    around = even_directions()
    radiance = spherical_harmonics(around) @ coefficients
    normals = directions(8)
    cosine = (normals @ around.T).clamp(min=0)
    expected = cosine @ radiance * (4 * math.pi / len(around)) / math.pi
    torch.testing.assert_close(
        harmonic_irradiance(normals, coefficients), expected, atol=2e-3, rtol=0
    )


def test_constant_environment_has_constant_brightness() -> None:
    light = harmonic_irradiance(directions(5), constant_harmonics(0.7, 3).double())
    torch.testing.assert_close(light, torch.full((5, 3), 0.7).double())


def test_lights_by_hand() -> None:
    normals = torch.tensor([[0.0, 0, 1], [0, 0, 1], [0, 0, -1]])
    positions = torch.tensor([[0.0, 0, 0], [3, 0, 0], [0, 0, 0]])
    lamp = PointLight(torch.tensor([0.0, 0, 4]), torch.ones(3))
    torch.testing.assert_close(
        lambert(normals, lamp.towards(positions)), torch.tensor([[1.0], [0.8], [0]])
    )
    sun = DirectionalLight(torch.tensor([0.0, 5, 5]), torch.ones(3))
    torch.testing.assert_close(
        lambert(normals, sun.towards(positions))[:, 0], torch.tensor([0.5**0.5, 0.5**0.5, 0])
    )
    towards_camera = torch.tensor([[0.0, 0, 1]]).expand(3, 3)
    shine = blinn_phong(normals, sun.towards(positions), towards_camera, 2.0)[:, 0]
    half = math.cos(math.pi / 8) ** 2
    torch.testing.assert_close(shine, torch.tensor([half, half, 0]))


def test_phong_adds_up_and_shadows_take_away() -> None:
    normals = torch.tensor([[0.0, 0, 1]])
    sun = DirectionalLight(torch.tensor([0.0, 0, 1]), torch.tensor([1.0, 0.5, 0]))
    albedo = torch.tensor([[0.4, 0.6, 0.8]])
    arguments = (albedo, normals, torch.zeros(1, 3), normals, [sun])
    lit = phong(*arguments, ambient=0.25, specular=0.1)
    torch.testing.assert_close(
        lit, albedo * torch.tensor([1.25, 0.75, 0.25]) + torch.tensor([0.1, 0.05, 0])
    )
    dark = phong(*arguments, ambient=0.25, specular=0.1, visibility=[torch.zeros(1, 1)])
    torch.testing.assert_close(dark, albedo * 0.25)


@pytest.mark.parametrize("point_light", [False, True])
def test_gradients_of_everything_that_lights_a_surface(point_light: bool) -> None:
    generator = torch.Generator().manual_seed(4)
    albedo, positions = torch.rand(2, 6, 3, generator=generator).double()
    normals, towards_camera = directions(6, 1), directions(6, 2)
    place, color = torch.tensor([[0.4, 1.0, 2.0], [0.9, 0.8, 0.7]]).double()
    inputs = [t.clone().requires_grad_(True) for t in (albedo, normals, positions, place, color)]

    def shade(
        albedo: Tensor, normals: Tensor, positions: Tensor, place: Tensor, color: Tensor
    ) -> Tensor:
        light = PointLight(place, color) if point_light else DirectionalLight(place, color)
        return phong(albedo, normals, positions, towards_camera, [light], shininess=5.0)

    assert torch.autograd.gradcheck(shade, inputs)


def test_gradients_of_harmonic_light() -> None:
    coefficients = torch.randn(9, 3, generator=torch.Generator().manual_seed(1)).double()
    assert torch.autograd.gradcheck(
        harmonic_irradiance,
        (directions(5).requires_grad_(True), coefficients.requires_grad_(True)),
    )
