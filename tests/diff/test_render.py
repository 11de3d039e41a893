import pytest
import torch
from torch import Tensor

from face3d_cli.diff.backends import rasterizer_named
from face3d_cli.diff.cameras import ScaledOrthographicCamera, rotation_from_axis_angle
from face3d_cli.diff.edges import edge_topology
from face3d_cli.diff.lighting import DirectionalLight, Light, PointLight, harmonic_irradiance, phong
from face3d_cli.diff.normals import triangle_normals, vertex_normals
from face3d_cli.diff.render import Surface, render
from face3d_cli.diff.shadows import light_visibility
from tests.helpers.shapes import octahedron, sphere

SIZE = 32


def camera() -> ScaledOrthographicCamera:
    return ScaledOrthographicCamera(
        rotation_from_axis_angle(torch.tensor([0.31, 0.42, 0.17]).double()),
        torch.tensor(11.0).double(),
        torch.tensor([15.6, 15.4]).double(),
    )


def test_vertex_normals_of_a_sphere_point_outwards() -> None:
    vertices, triangles = sphere(24, 36)
    normals = vertex_normals(torch.stack([vertices, 3 * vertices]), triangles)
    torch.testing.assert_close(normals, vertices.expand(2, -1, -1), atol=0.03, rtol=0)
    assert triangle_normals(vertices[None], triangles)[0].shape == (len(triangles), 3)
    lonely = vertex_normals(torch.zeros(1, 3, 3, requires_grad=True), torch.tensor([[0, 1, 2]]))
    assert torch.equal(lonely, torch.zeros(1, 3, 3))
    assert torch.autograd.gradcheck(
        lambda v: vertex_normals(v, octahedron()[1]), octahedron()[0][None].requires_grad_(True)
    )


def test_lit_sphere_equals_the_formula_at_every_pixel() -> None:
    vertices, triangles = sphere(60, 90)
    sun = DirectionalLight(torch.tensor([1.0, 1, 2]).double(), torch.ones(3).double())

    def shader(surface: Surface) -> Tensor:
        return phong(
            surface.albedo,
            surface.normals,
            surface.positions,
            surface.towards_camera,
            [sun],
            ambient=0.1,
            specular=0.0,
        )

    colors = torch.full((len(vertices), 3), 0.5).double()
    picture = render(vertices[None], triangles, colors, camera(), SIZE, SIZE, shader=shader)
    pixel = picture.fragments.pixel_xy.double()
    x, y = (pixel - camera().shift_px).unbind(1)
    x, y = x / 11, -y / 11
    z = (1 - x * x - y * y).clamp(min=0).sqrt()
    normals = torch.stack([x, y, z], dim=1) @ camera().rotation
    towards = torch.tensor([1.0, 1, 2]).double() / 6**0.5
    expected = 0.5 * (0.1 + (normals @ towards).clamp(min=0))
    inner = z > 0.3
    found = picture.color.reshape(-1, 3)[picture.fragments.pixel, 0]
    torch.testing.assert_close(found[inner], expected[inner], atol=5e-3, rtol=0)
    assert inner.sum() > 250
    assert (picture.color[~picture.fragments.mask] == 0).all()


def test_background_shows_where_nothing_is_seen() -> None:
    vertices, triangles = octahedron()
    wall = torch.rand(SIZE, SIZE, 3).double()
    colors = torch.zeros(6, 3).double()
    picture = render(vertices[None], triangles, colors, camera(), SIZE, SIZE, background=wall)
    empty = ~picture.fragments.mask
    assert torch.equal(picture.color[empty], wall.expand(1, -1, -1, -1)[empty])
    assert (picture.color[picture.fragments.mask] == 0).all()


def test_colour_light_and_shape_each_get_or_refuse_gradients() -> None:
    vertices, triangles = octahedron()
    vertices = vertices[None].clone()
    colors = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)).double()
    light = torch.rand(9, 3, generator=torch.Generator().manual_seed(1)).double()
    topology = edge_topology(triangles)
    everything = [vertices, colors, light]
    for free in range(3):
        for number, tensor in enumerate(everything):
            tensor.requires_grad_(number == free)
            tensor.grad = None
        picture = render(
            vertices,
            triangles,
            colors,
            camera(),
            SIZE,
            SIZE,
            shader=lambda s: s.albedo * harmonic_irradiance(s.normals, light),
            topology=topology,
        )
        picture.color.square().sum().backward()
        for number, tensor in enumerate(everything):
            if number == free:
                assert tensor.grad.isfinite().all()
                assert tensor.grad.abs().sum() > 0
            else:
                assert tensor.grad is None


def test_gradient_of_a_whole_picture() -> None:
    vertices, triangles = octahedron()
    colors = torch.rand(6, 3, generator=torch.Generator().manual_seed(0)).double()
    light = torch.rand(9, 3, generator=torch.Generator().manual_seed(1)).double()
    topology = edge_topology(triangles)

    def picture(vertices: Tensor, colors: Tensor, light: Tensor) -> Tensor:
        return render(
            vertices,
            triangles,
            colors,
            camera(),
            12,
            12,
            shader=lambda s: s.albedo * harmonic_irradiance(s.normals, light),
            topology=topology,
        ).color

    inputs = [t.requires_grad_(True) for t in (vertices[None].clone(), colors, light)]
    assert torch.autograd.gradcheck(picture, inputs, eps=1e-7, atol=1e-4)


@pytest.mark.parametrize("point_light", [False, True])
def test_a_ball_casts_its_shadow_on_the_wall_behind(point_light: bool) -> None:
    ball, ball_triangles = sphere(16, 24)
    wall = torch.tensor([[-6.0, -6, -3], [6, -6, -3], [6, 6, -3], [-6, 6, -3]]).double()
    vertices = torch.cat([ball, wall])[None]
    wall_triangles = torch.tensor([[0, 1, 2], [0, 2, 3]]) + len(ball)
    triangles = torch.cat([ball_triangles, wall_triangles])
    light: Light = DirectionalLight(torch.tensor([1.0, 0, 1]).double(), torch.ones(3).double())
    shadow_at = -3.0  # 45 degrees: three units behind, three to the side
    if point_light:
        light = PointLight(torch.tensor([9.0, 0, 9]).double(), torch.ones(3).double())
    places = torch.tensor(
        [[shadow_at, 0, -3], [shadow_at, 0.5, -3], [0, 0, -3], [shadow_at, 4, -3], [0.6, 0, 0.8]]
    ).double()
    item = torch.zeros(5, dtype=torch.int64)
    lit = light_visibility(places, item, vertices, triangles, light)[:, 0]
    torch.testing.assert_close(lit, torch.tensor([0.0, 0, 1, 1, 1]).double(), atol=0.1, rtol=0)


def test_shadows_carry_gradients_to_the_caster() -> None:
    ball, triangles = sphere(10, 14)
    caster = (ball * 0.5 + torch.tensor([0.0, 0, 0.03]).double())[None].requires_grad_(True)
    light = DirectionalLight(torch.tensor([0.0, 0, 1]).double(), torch.ones(3).double())
    places = torch.tensor([[0.05, 0.02, 0.52]], dtype=torch.float64, requires_grad=True)
    lit = light_visibility(
        places, torch.zeros(1, dtype=torch.int64), caster, triangles, light, softness=0.1
    )
    lit.sum().backward()
    assert 0.1 < float(lit.detach().sum()) < 0.9
    assert float(caster.grad[..., 2].sum()) < 0  # raising the caster darkens
    assert float(places.grad[0, 2]) > 0  # raising the point brightens


def test_unknown_backend_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    from face3d_cli.errors import MissingExtra

    monkeypatch.setitem(sys.modules, "pytorch3d", None)
    with pytest.raises(MissingExtra, match="use --renderer torch"):
        rasterizer_named("pytorch3d")
