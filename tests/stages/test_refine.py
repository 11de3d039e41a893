"""Refining by shading: towards the true shape, not after spots, and never without skin to see."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.primitives import hemisphere
from face3d_cli.diff import cameras
from face3d_cli.diff.fragments import interpolate
from face3d_cli.diff.lighting import constant_harmonics, harmonic_irradiance
from face3d_cli.diff.normals import vertex_normals
from face3d_cli.diff.rasterize import rasterize
from face3d_cli.diff.shading import linear_to_srgb
from face3d_cli.errors import ShapeError, StageError
from face3d_cli.settings import RefineSettings
from face3d_cli.stages.refine import Refinement, delight_texture, refine_by_shading, turn_light

SIZE = 160
DOME = hemisphere()
TRUSTING = RefineSettings(spread=1.0, noise=0.02, albedo_spread=0.02)
TRUTH = np.array([0.8, -0.6])


def head() -> np.ndarray:
    """(V, 3) a dome of 160 x 200 x 80 mm, its pole towards the viewer."""
    return DOME.vertices * (80.0, 100.0, 80.0)


def shapes() -> np.ndarray:
    """(V, 3, 2): a nose, and cheeks."""
    x, y, _ = head().T
    nose = 6.0 * np.exp(-(x**2 + (y + 10) ** 2) / (2 * 18.0**2))
    cheeks = 6.0 * np.exp(-((np.abs(x) - 38) ** 2 + (y + 15) ** 2) / (2 * 16.0**2))
    basis = np.zeros((len(x), 3, 2))
    basis[:, 2, 0], basis[:, 2, 1] = nose, cheeks
    return basis


def camera() -> ScaledOrthographicCamera:
    return ScaledOrthographicCamera(np.eye(3), 0.72, np.array([SIZE / 2, SIZE / 2 + 6.0]))


def lamp() -> torch.Tensor:
    light = constant_harmonics(0.5).double()
    light[1:4, 0] = torch.tensor([0.35, 0.8, 0.4])
    return light


def photo_of(vertices: np.ndarray, *, spot: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Photo and skin of the lit dome; `spot` is the albedo of a patch on the forehead."""
    shape, triangles = torch.from_numpy(vertices)[None], torch.from_numpy(DOME.triangles).long()
    given = camera()
    same = cameras.ScaledOrthographicCamera(
        *(torch.from_numpy(np.asarray(v)) for v in (given.rotation, given.scale_px_per_unit)),
        torch.from_numpy(given.shift_px),
    )
    seen = rasterize(same.project(shape), triangles, SIZE, SIZE)
    normals = torch.nn.functional.normalize(
        interpolate(vertex_normals(shape, triangles), seen), dim=1
    )
    x, y, _ = interpolate(shape, seen).T
    albedo = torch.where((x - 10) ** 2 + (y - 50) ** 2 < 15**2, 0.45 * spot, 0.45)
    color = albedo[:, None] * harmonic_irradiance(normals, lamp()) * torch.tensor([1.1, 0.9, 0.7])
    photo = (linear_to_srgb(seen.to_image(color))[0] * 255).round().to(torch.uint8).numpy()
    return photo, seen.mask[0].double().numpy()


def refined(photo: np.ndarray, skin: np.ndarray, settings: RefineSettings) -> Refinement:
    return refine_by_shading(photo, skin, head(), DOME.triangles, shapes(), camera(), settings)


def test_the_true_shape_is_found_where_shading_is_trusted() -> None:
    photo, skin = photo_of(head() + shapes() @ TRUTH)
    found = refined(photo, skin, replace(TRUSTING, rounds=4))
    np.testing.assert_allclose(found.coefficients, TRUTH, atol=0.2)
    np.testing.assert_allclose(found.displacement_mm, shapes() @ found.coefficients)
    assert found.unexplained_after < found.unexplained_before


def test_by_default_it_goes_a_little_in_that_direction() -> None:
    photo, skin = photo_of(head() + shapes() @ TRUTH)
    found = refined(photo, skin, RefineSettings())
    assert found.agreement > 0.9
    assert found.coefficients @ TRUTH > 0.8 * np.linalg.norm(found.coefficients)
    assert 0.02 < np.linalg.norm(found.coefficients) < 1.0
    assert found.unexplained_after < found.unexplained_before


def test_halves_that_disagree_leave_the_mesh_exactly_as_it_was() -> None:
    one, skin = photo_of(head() + shapes() @ TRUTH)
    other, _ = photo_of(head() - shapes() @ TRUTH)
    middle = round(camera().shift_px[0])
    photo = np.concatenate([one[:, :middle], other[:, middle:]], axis=1)
    trusting = refined(photo, skin, replace(RefineSettings(), agreement=-1.0))
    assert np.abs(trusting.displacement_mm).max() > 0
    found = refined(photo, skin, RefineSettings())
    assert found.agreement == trusting.agreement < 0
    assert not found.displacement_mm.any()
    assert not found.coefficients.any()
    assert found.unexplained_after == found.unexplained_before
    still = refined(photo, skin, replace(RefineSettings(), rounds=0))
    np.testing.assert_array_equal(found.light, still.light)


def test_half_a_face_alone_is_not_believed() -> None:
    photo, skin = photo_of(head() + shapes() @ TRUTH)
    skin[:, round(camera().shift_px[0]) - 1 :] = 0.0
    found = refined(photo, skin, RefineSettings())
    assert found.agreement == 0.0
    assert not found.displacement_mm.any()


def test_a_right_shape_stays() -> None:
    photo, skin = photo_of(head())
    assert np.abs(refined(photo, skin, TRUSTING).coefficients).max() < 0.15
    assert np.abs(refined(photo, skin, RefineSettings()).coefficients).max() < 0.02


def test_a_dark_spot_is_hardly_taken_for_shape() -> None:
    photo, skin = photo_of(head(), spot=0.4)
    assert np.abs(refined(photo, skin, RefineSettings()).coefficients).max() < 0.05


def test_light_is_in_the_head_frame_and_its_colour_in_the_albedo() -> None:
    """What it gives on surfaces that are seen; between harmonics a face's front cannot decide."""
    photo, skin = photo_of(head())
    found = refined(photo, skin, RefineSettings())
    assert found.light.shape == (9, 3)
    assert found.vertex_shading.shape == (len(DOME.vertices), 3)
    normals = vertex_normals(
        torch.from_numpy(head())[None], torch.from_numpy(DOME.triangles).long()
    )
    true = harmonic_irradiance(normals[0], lamp())[:, 0].numpy()
    seen = normals[0, :, 2].numpy() > 0.35
    right, left = seen & (head()[:, 0] > 40), seen & (head()[:, 0] < -40)
    for light, lit in zip(found.light.T, found.vertex_shading.T, strict=True):
        error = lit[seen] / lit[seen].mean() - true[seen] / true[seen].mean()
        assert np.sqrt((error**2).mean()) < 0.03
        wanted = true[right].mean() / true[left].mean()
        assert lit[right].mean() / lit[left].mean() == pytest.approx(wanted, rel=0.1)
        assert light[1:4].min() > 0  # from above, the front and the right


def test_the_light_is_divided_out_of_the_texture() -> None:
    vertices = head()
    photo, skin = photo_of(vertices)
    found = refined(photo, skin, RefineSettings())
    size = 128
    lit = found.vertex_shading[:, 0]
    from face3d_cli.core.uv_atlas import UvAtlas

    baked = UvAtlas(DOME.uv, DOME.triangles, size).bake(0.2 * lit[:, None].repeat(3, axis=1))
    texture = (linear_to_srgb(torch.from_numpy(baked)) * 255).round().to(torch.uint8).numpy()
    albedo = delight_texture(texture, DOME.uv, DOME.triangles, found.vertex_shading)
    wanted = float(linear_to_srgb(torch.tensor(0.2)) * 255)
    inside = UvAtlas(DOME.uv, DOME.triangles, size).is_inside
    assert np.abs(albedo[inside].astype(float) - wanted).mean() < 4
    assert texture[inside].std() > 5 * albedo[inside].std()


def test_turned_light() -> None:
    light = np.zeros((9, 3))
    light[2] = 1.0  # from the front, +z
    quarter = np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]])  # z to x
    turned = turn_light(light, quarter)
    np.testing.assert_allclose(turned[3], 1.0, atol=1e-9)
    np.testing.assert_allclose(np.delete(turned, 3, axis=0), 0.0, atol=1e-9)


def test_without_skin_it_refuses() -> None:
    photo, skin = photo_of(head())
    with pytest.raises(StageError, match="bare skin"):
        refined(photo, 0 * skin, RefineSettings())
    with pytest.raises(StageError, match="bare skin"):
        refined(np.zeros_like(photo), skin, RefineSettings())
    with pytest.raises(ShapeError, match="skin"):
        refined(photo, skin[:-1], RefineSettings())
