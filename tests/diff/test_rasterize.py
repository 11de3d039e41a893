import numpy as np
import pytest
import torch

from face3d_cli.diff.cameras import PerspectiveCamera
from face3d_cli.diff.fragments import interpolate
from face3d_cli.diff.rasterize import rasterize, rasterize_layers
from face3d_cli.errors import ShapeError
from tests.helpers.naive_rasterizer import rasterize_naive


def random_soup(
    seed: int, num_triangles: int, size: int, dtype: torch.dtype = torch.float64
) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(num_triangles, 1, 3, generator=generator) * size
    points = centre + torch.randn(num_triangles, 3, 3, generator=generator) * size / 4
    triangles = torch.arange(3 * num_triangles).view(-1, 3)
    return points.reshape(1, -1, 3).to(dtype), triangles


def grid_mesh(columns: int, rows: int, size: float) -> tuple[torch.Tensor, torch.Tensor]:
    """A flat grid over [0, size]^2 in image coordinates."""
    y, x = torch.meshgrid(
        torch.linspace(0, size, rows + 1), torch.linspace(0, size, columns + 1), indexing="ij"
    )
    points = torch.stack([x, y, torch.ones_like(x)], dim=-1).reshape(1, -1, 3)
    corner = (torch.arange(rows)[:, None] * (columns + 1) + torch.arange(columns)).reshape(-1)
    lower = torch.stack([corner, corner + columns + 1, corner + 1], dim=1)
    upper = torch.stack([corner + 1, corner + columns + 1, corner + columns + 2], dim=1)
    return points, torch.cat([lower, upper])


@pytest.mark.parametrize("seed", range(6))
def test_agrees_with_the_naive_loop(seed: int) -> None:
    points, triangles = random_soup(seed, 25, 24)
    ours = rasterize(points, triangles, 20, 24)
    found, barycentric, depth = rasterize_naive(points[0].numpy(), triangles.numpy(), 20, 24)
    assert (found >= 0).mean() > 0.1
    np.testing.assert_array_equal(ours.triangle[0].numpy(), found)
    np.testing.assert_allclose(ours.barycentric_image()[0].numpy(), barycentric, atol=1e-9)
    np.testing.assert_allclose(ours.depth_image()[0].numpy(), depth, atol=1e-9)


def test_single_precision_shows_the_same_triangles() -> None:
    points, triangles = random_soup(3, 200, 96)
    exact = rasterize(points, triangles, 96, 96)
    single = rasterize(points.float(), triangles, 96, 96)
    assert single.weights.dtype == torch.float32
    assert (exact.triangle == single.triangle).double().mean() > 0.998


def test_top_left_pixel_centre_is_the_origin() -> None:
    around_origin = torch.tensor([[[-0.4, -0.4, 1.0], [-0.4, 0.6, 1.0], [0.6, -0.4, 1.0]]])
    triangle = torch.tensor([[0, 1, 2]])
    seen = rasterize(around_origin, triangle, 4, 4)
    assert seen.mask.nonzero().tolist() == [[0, 0, 0]]
    moved = rasterize(around_origin + torch.tensor([2.0, 1.0, 0.0]), triangle, 4, 4)
    assert moved.mask.nonzero().tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("size", [7.0, 16.0, 12.34])
def test_shared_edges_are_covered_exactly_once(dtype: torch.dtype, size: float) -> None:
    points, triangles = grid_mesh(5, 7, size)
    points = points.to(dtype)
    layers = rasterize_layers(points, triangles, 20, 20, 2)
    assert not layers[1].mask.any()  # no pixel is covered twice
    reach = int(np.ceil(size))
    expected = torch.zeros(20, 20, dtype=torch.bool)
    expected[:reach, :reach] = True
    assert torch.equal(layers[0].mask[0], expected)  # and none is left out


def test_equal_depths_go_to_the_lower_triangle() -> None:
    points, triangles = grid_mesh(3, 3, 10.0)
    twice = torch.cat([triangles, triangles])
    assert int(rasterize(points, twice, 12, 12).triangle.max()) < len(triangles)


def test_nearer_triangle_hides_the_farther_one_in_any_order() -> None:
    square = grid_mesh(1, 1, 8.0)[0][0]
    near, far = square, square + torch.tensor([0.0, 0.0, 5.0])
    points = torch.cat([far, near])[None]
    _, triangles = grid_mesh(1, 1, 8.0)
    both = torch.cat([triangles, triangles + 4])
    assert torch.equal(rasterize(points, both, 8, 8).triangle >= 2, torch.ones(1, 8, 8) > 0)
    assert torch.equal(rasterize(points, both.flip(0), 8, 8).triangle < 2, torch.ones(1, 8, 8) > 0)


def test_layers_peel_from_front_to_back() -> None:
    points, triangles = random_soup(1, 40, 30)
    layers = rasterize_layers(points, triangles, 30, 30, 40)
    depths = torch.stack([layer.depth_image() for layer in layers])
    finite = depths.isfinite()
    assert finite[1:].any()
    assert not (finite[1:] & ~finite[:-1]).any()  # a layer lies only behind another
    assert (depths[1:][finite[1:]] >= depths[:-1][finite[1:]] - 1e-6).all()
    count = sum(layer.mask for layer in layers)
    alone = sum(rasterize(points, t[None], 30, 30).mask.long() for t in triangles)
    assert torch.equal(count, alone)


def test_batch_equals_one_by_one_with_shared_and_own_triangles() -> None:
    one, triangles = random_soup(5, 30, 24)
    two, _ = random_soup(6, 30, 24)
    points = torch.cat([one, two])
    shared = rasterize(points, triangles, 20, 24)
    own = rasterize(points, torch.stack([triangles, triangles.flip(0)]), 20, 24)
    for item, points_of_item in enumerate((one, two)):
        alone = rasterize(points_of_item, triangles, 20, 24)
        assert torch.equal(shared.triangle[item], alone.triangle[0])
        torch.testing.assert_close(shared.depth_image()[item], alone.depth_image()[0])
    second = own.triangle[1]
    assert torch.equal(torch.where(second >= 0, 29 - second, -1), shared.triangle[1])
    colors = torch.rand(2, 90, 4, dtype=torch.float64)
    values = interpolate(colors, shared)
    for item in range(2):
        alone = rasterize(points[item : item + 1], triangles, 20, 24)
        torch.testing.assert_close(
            values[shared.batch_item == item], interpolate(colors[item], alone)
        )


def test_perspective_interpolation_recovers_the_world() -> None:
    camera = PerspectiveCamera(
        torch.eye(3, dtype=torch.float64),
        torch.tensor([0.1, -0.2, -4.0], dtype=torch.float64),
        torch.tensor(40.0, dtype=torch.float64),
        torch.tensor([15.5, 15.5], dtype=torch.float64),
    )
    world = torch.tensor([[[-2.0, -1, 1], [2, -1.5, -2], [0, 2, 0.5]]], dtype=torch.float64)
    image = camera.project(world)
    seen = rasterize(image, torch.tensor([[0, 1, 2]]), 32, 32, perspective=True)
    assert len(seen.pixel) > 100
    back = camera.project(interpolate(world, seen)[None])[0]
    torch.testing.assert_close(back[:, :2], seen.pixel_xy.double())
    torch.testing.assert_close(back[:, 2], seen.depth)


def test_perspective_resolves_depth_by_distance() -> None:
    camera = PerspectiveCamera(
        torch.eye(3), torch.zeros(3), torch.tensor(50.0), torch.tensor([16.0, 16.0])
    )
    # A steep sheet passing through a wall at depth 3.
    sheet = torch.tensor([[-1.0, -0.5, -1], [-1, 0.5, -1], [1, 0, -9]])
    wall = torch.tensor([[-3.0, -3, -3], [9, -3, -3], [-3, 9, -3]])
    image = camera.project(torch.cat([sheet, wall])[None])
    seen = rasterize(image, torch.tensor([[0, 1, 2], [3, 4, 5]]), 33, 33, perspective=True)
    wall_alone = rasterize(image, torch.tensor([[3, 4, 5]]), 33, 33, perspective=True)
    sheet_alone = rasterize(image, torch.tensor([[0, 1, 2]]), 33, 33, perspective=True)
    expected = torch.minimum(wall_alone.depth_image(), sheet_alone.depth_image())
    torch.testing.assert_close(seen.depth_image(), expected)
    assert (seen.triangle == 0).any()
    assert (sheet_alone.mask & (seen.triangle == 1)).any()


def test_huge_triangles_and_many_chunks_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    points, triangles = random_soup(2, 60, 40)
    huge = torch.tensor([[[-1e6, -1e6, 99], [2e6, -1e6, 99], [0, 3e6, 99.0]]], dtype=torch.float64)
    points = torch.cat([points, huge], dim=1)
    triangles = torch.cat([triangles, torch.tensor([[180, 181, 182]])])
    whole = rasterize(points, triangles, 40, 40)
    assert whole.mask.all()
    monkeypatch.setattr("face3d_cli.diff.rasterize._CHUNK", 50)
    assert torch.equal(rasterize(points, triangles, 40, 40).triangle, whole.triangle)


@pytest.mark.parametrize(
    ("corners", "perspective"),
    [
        ([[2, 2, 1], [6, 6, 1], [10, 10, 1]], False),  # a line
        ([[5, 5, 1], [5, 5, 1], [5, 5, 1]], False),  # a point
        ([[100, 100, 1], [110, 100, 1], [100, 110, 1]], False),  # outside the view
        ([[-9, -9, 1], [-1, -9, 1], [-9, -1, 1]], False),
        ([[float("nan"), 2, 1], [9, 2, 1], [2, 9, 1]], False),
        ([[2, 2, float("inf")], [9, 2, 1], [2, 9, 1]], False),
        ([[2, 2, -1], [9, 2, -1], [2, 9, -1]], True),  # behind the camera
        ([[2, 2, 0], [9, 2, 1], [2, 9, 1]], True),  # through it
    ],
)
def test_useless_triangles_give_no_pixels_and_zero_gradients(
    corners: list[list[float]], perspective: bool
) -> None:
    points = torch.tensor([corners], dtype=torch.float32, requires_grad=True)
    seen = rasterize(points, torch.tensor([[0, 1, 2]]), 16, 16, perspective=perspective)
    assert not seen.mask.any()
    image = seen.to_image(interpolate(torch.rand(1, 3, 3), seen), 0.25)
    assert (image == 0.25).all()
    (interpolate(torch.rand(1, 3, 3), seen).sum() + seen.depth.sum()).backward()
    assert torch.equal(points.grad, torch.zeros_like(points))


def test_backfaces_can_be_left_out() -> None:
    # Counter-clockwise with y up is clockwise on the screen, where y points down.
    front = torch.tensor([[[2.0, 10, 1], [10, 10, 1], [2, 2, 1]]])
    triangle = torch.tensor([[0, 1, 2]])
    assert rasterize(front, triangle, 12, 12, cull_backfaces=True).mask.any()
    assert not rasterize(front, triangle.flip(1), 12, 12, cull_backfaces=True).mask.any()


def test_empty_meshes_and_wrong_shapes() -> None:
    empty = rasterize(torch.zeros(2, 0, 3), torch.zeros(0, 3, dtype=torch.int64), 4, 5)
    assert empty.triangle.shape == (2, 4, 5)
    assert not empty.mask.any()
    with pytest.raises(ShapeError, match="points_img"):
        rasterize(torch.zeros(4, 3), torch.zeros(1, 3, dtype=torch.int64), 4, 4)
    with pytest.raises(ShapeError, match="2 vertex sets but 3"):
        rasterize(torch.zeros(2, 4, 3), torch.zeros(3, 1, 3, dtype=torch.int64), 4, 4)


@pytest.mark.parametrize("perspective", [False, True])
def test_gradients_of_weights_depth_and_attributes(perspective: bool) -> None:
    generator = torch.Generator().manual_seed(7)
    points, triangles = random_soup(11, 12, 12)
    points = points - points[..., 2:].amin() * torch.tensor([0.0, 0, 1]) + torch.tensor([0.0, 0, 2])
    points.requires_grad_(True)
    colors = torch.rand(36, 2, dtype=torch.float64, generator=generator, requires_grad=True)

    def picture(points: torch.Tensor, colors: torch.Tensor) -> torch.Tensor:
        seen = rasterize(points, triangles, 9, 11, perspective=perspective)
        return torch.cat([interpolate(colors, seen), seen.weights, seen.depth[:, None]], dim=1)

    assert len(picture(points, colors)) > 10
    assert torch.autograd.gradcheck(picture, (points, colors), eps=1e-7)
