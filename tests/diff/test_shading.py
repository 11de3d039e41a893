"""Light from shading: known lights are found again, spots are ignored, colour spaces invert."""

from __future__ import annotations

import pytest
import torch

from face3d_cli.diff.cameras import rotation_from_axis_angle
from face3d_cli.diff.lighting import constant_harmonics, harmonic_irradiance
from face3d_cli.diff.shading import (
    MIN_SHADING,
    estimate_light,
    linear_to_srgb,
    shading,
    srgb_to_linear,
    turned_light,
)


def normals_of_a_ball(count: int = 4000, *, only_front: bool = False) -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    normals = torch.randn(count, 3, generator=generator, dtype=torch.float64)
    if only_front:
        normals[:, 2] = normals[:, 2].abs()
    return torch.nn.functional.normalize(normals, dim=1)


def some_light() -> torch.Tensor:
    light = constant_harmonics(1.0).double()
    light[1:4, 0] = torch.tensor([0.5, 0.9, -0.4])
    light[4:, 0] = torch.tensor([0.1, -0.1, 0.2, 0.15, 0.05])
    return light


def test_colour_spaces_invert_and_have_known_values() -> None:
    values = torch.linspace(0, 1, 256, dtype=torch.float64)
    torch.testing.assert_close(linear_to_srgb(srgb_to_linear(values)), values)
    assert float(srgb_to_linear(torch.tensor(0.5))) == pytest.approx(0.21404, abs=1e-5)
    assert float(linear_to_srgb(torch.tensor(1.7))) == pytest.approx(1.0)


def test_a_known_light_is_found_up_to_its_scale() -> None:
    normals, light = normals_of_a_ball(), some_light()
    brightness = 0.37 * harmonic_irradiance(normals, light)[:, 0]
    found = estimate_light(normals, brightness, stiffness=1e-6)
    torch.testing.assert_close(found / found[0], light / light[0], atol=2e-3, rtol=0)
    assert float(shading(normals, found).mean()) == pytest.approx(1.0)


def test_spots_of_another_albedo_hardly_matter() -> None:
    normals, light = normals_of_a_ball(only_front=True), some_light()
    brightness = harmonic_irradiance(normals, light)[:, 0]
    clean = estimate_light(normals, brightness)
    spots = (normals[:, 0] > 0.3) & (normals[:, 1] > 0.3)
    spotted = estimate_light(normals, torch.where(spots, 0.3 * brightness, brightness))
    error = (shading(normals, spotted) / shading(normals, clean) - 1).abs()
    assert float(error.mean()) < 0.03
    assert float(spots.float().mean()) > 0.1


def test_unseen_directions_do_not_run_away() -> None:
    normals = torch.nn.functional.normalize(
        torch.tensor([[0.0, 0.0, 1.0]]).double() + 0.05 * normals_of_a_ball(500), dim=1
    )
    found = estimate_light(normals, 1.0 + 0.02 * normals[:, 0])
    everywhere = harmonic_irradiance(normals_of_a_ball(), found)
    assert float(everywhere.abs().max()) < 3


def test_shading_is_never_dark() -> None:
    light = constant_harmonics(1.0).double()
    light[2] = 3.0
    dark = shading(torch.tensor([[[0.0, 0.0, -1.0]]]).double(), light)
    assert dark.shape == (1, 1, 1)
    assert float(dark) == MIN_SHADING


def test_a_scene_turned_with_its_light_looks_the_same() -> None:
    light = torch.cat([some_light(), 2 * some_light().flip(0)], dim=1)
    rotation = rotation_from_axis_angle(torch.tensor([0.4, -1.1, 0.3], dtype=torch.float64))
    normals = normals_of_a_ball(50)
    torch.testing.assert_close(
        harmonic_irradiance(normals @ rotation.T, turned_light(light, rotation)),
        harmonic_irradiance(normals, light),
    )
