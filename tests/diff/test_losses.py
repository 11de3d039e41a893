from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from face3d_cli.diff.edges import edge_topology
from face3d_cli.diff.losses import chamfer, image, perceptual, smoothness
from face3d_cli.diff.normals import vertex_normals
from face3d_cli.diff.sampling import sample_surface
from tests.helpers import naive_losses as naive
from tests.helpers.shapes import octahedron, patch, sphere, tetrahedron

SHAPES = {"tetrahedron": tetrahedron(), "patch": patch(5), "sphere": sphere(5, 7)}


def cloud(seed: int, count: int, width: int = 3) -> Tensor:
    return torch.randn(2, count, width, generator=torch.Generator().manual_seed(seed)).double()


def test_chamfer_agrees_with_the_loop_and_ignores_order() -> None:
    one, two = cloud(0, 30), cloud(1, 21)
    expected = np.mean([naive.chamfer(a.numpy(), b.numpy()) for a, b in zip(one, two, strict=True)])
    assert float(chamfer.mean_chamfer(one, two)) == pytest.approx(expected)
    assert float(chamfer.mean_chamfer(two, one)) == pytest.approx(expected)
    assert float(chamfer.mean_chamfer(one, one[:, torch.randperm(30)])) == 0


def test_neighbours_by_tree_by_table_and_in_chunks_are_the_same(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    one, two = cloud(0, 40), cloud(1, 23)
    by_tree = chamfer.nearest_indices(one, two)
    assert torch.equal(chamfer._nearest_by_table(one, two), by_tree)
    monkeypatch.setattr(chamfer, "_PAIRS_AT_A_TIME", 100)
    assert torch.equal(chamfer._nearest_by_table(one, two), by_tree)


def test_normal_errors_agree_with_the_loop() -> None:
    one, two, n_one, n_two = cloud(0, 20), cloud(1, 25), cloud(2, 20), cloud(3, 25)
    ours = chamfer.nearest_normal_errors(one, n_one, two, n_two)
    for item in range(2):
        loop = naive.normal_errors(*(x[item].numpy() for x in (one, n_one, two, n_two)))
        np.testing.assert_allclose(ours[item], loop, atol=1e-12)
    both = chamfer.mean_normal_chamfer(one, n_one, two, n_two)
    back = chamfer.nearest_normal_errors(two, n_two, one, n_one)
    assert float(both) == pytest.approx(float(ours.mean() + back.mean()))


@pytest.mark.parametrize("name", SHAPES)
def test_quadric_errors_agree_with_homogeneous_quadrics(name: str) -> None:
    vertices, triangles = SHAPES[name]
    points = cloud(5, 12)[:1]
    quadrics = chamfer.vertex_quadrics(vertices[None], triangles)
    ours = chamfer.quadric_errors(points, vertices[None], quadrics)[0]
    loop = [naive.quadric_error(p, vertices.numpy(), triangles.numpy()) for p in points[0].numpy()]
    np.testing.assert_allclose(ours, loop, rtol=1e-9)


def test_quadric_error_is_free_along_a_plane() -> None:
    vertices, triangles = patch(5)
    vertices = vertices * torch.tensor([1.0, 1, 0])
    quadrics = chamfer.vertex_quadrics(vertices[None], triangles)
    points = torch.tensor([[[1.3, 2.2, 0.0], [1.3, 2.2, 0.5]]]).double()
    along, above = chamfer.quadric_errors(points, vertices[None], quadrics)[0]
    assert float(along) == pytest.approx(0, abs=1e-12)
    assert float(above) == pytest.approx(6 * 0.25)  # six triangles meet at an inner vertex


@pytest.mark.parametrize("name", SHAPES)
def test_edge_lengths_agree_with_the_loop(name: str) -> None:
    vertices, triangles = SHAPES[name]
    ours = smoothness.edge_length_errors(vertices[None], edge_topology(triangles), 0.3)[0]
    at = vertices.numpy()
    loop = np.array([np.linalg.norm(at[a] - at[b]) for a, b in naive.edges(triangles.numpy())])
    np.testing.assert_allclose(ours, (loop - 0.3) ** 2)
    bare = smoothness.edge_length_errors(vertices[None], edge_topology(triangles))[0]
    np.testing.assert_allclose(bare, loop**2)


@pytest.mark.parametrize("name", SHAPES)
def test_normal_consistency_agrees_with_the_loop(name: str) -> None:
    vertices, triangles = SHAPES[name]
    ours = smoothness.normal_inconsistency(vertices[None], edge_topology(triangles))[0]
    loop = naive.normal_inconsistency(vertices.numpy(), triangles.numpy())
    np.testing.assert_allclose(ours, loop, atol=1e-12)


def test_normal_consistency_of_a_cube_corner_and_a_plane() -> None:
    vertices, triangles = octahedron()
    errors = smoothness.normal_inconsistency(vertices[None], edge_topology(triangles))
    torch.testing.assert_close(errors, torch.full((1, 12), 2 / 3).double())  # cos = 1 / 3
    flat = patch(4)[0] * torch.tensor([1.0, 1, 0])
    errors = smoothness.normal_inconsistency(flat[None], edge_topology(patch(4)[1]))
    torch.testing.assert_close(errors, torch.zeros_like(errors))


@pytest.mark.parametrize("name", SHAPES)
@pytest.mark.parametrize("cotangent", [False, True])
def test_laplacians_agree_with_the_loop(name: str, cotangent: bool) -> None:
    vertices, triangles = SHAPES[name]
    topology = edge_topology(triangles)
    operator = (
        smoothness.cotangent_laplacian(vertices, topology)
        if cotangent
        else smoothness.uniform_laplacian(topology, len(vertices), vertices)
    )
    loop = naive.laplacian(vertices.numpy(), triangles.numpy(), cotangent=cotangent)
    two = torch.stack([vertices, 2 * vertices])
    np.testing.assert_allclose(operator(two)[0], loop, atol=1e-12)
    np.testing.assert_allclose(operator(two)[1], 2 * loop, atol=1e-12)
    lengths = smoothness.laplacian_lengths(two, operator)
    np.testing.assert_allclose(lengths[0], np.linalg.norm(loop, axis=1))


def test_laplacian_change_ignores_translation_and_lone_vertices() -> None:
    vertices, triangles = patch(4)
    vertices = torch.cat([vertices, torch.zeros(1, 3).double()])  # belongs to no triangle
    topology = edge_topology(triangles)
    for operator in (
        smoothness.uniform_laplacian(topology, len(vertices), vertices),
        smoothness.cotangent_laplacian(vertices, topology),
    ):
        moved = vertices + torch.tensor([3.0, -1, 2])
        change = smoothness.laplacian_change(moved[None], vertices[None], operator)[0, :-1]
        torch.testing.assert_close(change, torch.zeros_like(change))
        assert float(smoothness.laplacian_lengths(vertices[None], operator)[0, -1]) == 0
        scaled = smoothness.laplacian_change(2 * vertices[None], vertices[None], operator)
        torch.testing.assert_close(
            scaled, smoothness.laplacian_lengths(vertices[None], operator) ** 2
        )


def test_samples_lie_on_the_surface_and_fill_it_evenly() -> None:
    vertices, triangles = octahedron()
    stretched = torch.stack([vertices, vertices * torch.tensor([1.0, 1.0, 4.0])])
    generator = torch.Generator().manual_seed(0)
    points, normals = sample_surface(stretched, triangles, 6000, generator)
    for item, axes in enumerate(([1.0, 1, 1], [1.0, 1, 4])):
        on_surface = (points[item] / torch.tensor(axes)).abs().sum(dim=1)  # |x| + |y| + |z| = 1
        torch.testing.assert_close(on_surface, torch.ones_like(on_surface))
        octants = (points[item] > 0).long() @ torch.tensor([1, 2, 4])
        shares = torch.bincount(octants, minlength=8) / 6000
        assert (shares - 1 / 8).abs().max() < 0.02
    torch.testing.assert_close(normals.norm(dim=-1), torch.ones(2, 6000).double())
    assert ((points * normals).sum(-1) > 0).all()
    middle = points[0].abs().mean(dim=0)  # of a triangle with unit corners: its centroid
    torch.testing.assert_close(middle, torch.full((3,), 1 / 3).double(), atol=0.01, rtol=0)


def test_larger_triangles_get_more_samples() -> None:
    vertices = torch.tensor([[[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 9], [3, 0, 9], [0, 3, 9]]])
    points, _ = sample_surface(
        vertices, torch.tensor([[0, 1, 2], [3, 4, 5]]), 4000, torch.Generator().manual_seed(1)
    )
    assert float((points[..., 2] > 5).float().mean()) == pytest.approx(0.9, abs=0.02)


def test_masked_error_psnr_and_landmarks_by_hand() -> None:
    a = torch.zeros(1, 2, 2, 3)
    b = torch.full((1, 2, 2, 3), 0.1)
    b[0, 1, 1] = 1.0
    mask = torch.tensor([[[1.0, 1], [1, 0]]])
    assert float(image.mean_masked_squared_error(a, b, mask)) == pytest.approx(0.01)
    assert float(image.masked_psnr_db(a, b, mask)) == pytest.approx(20.0, abs=1e-4)
    assert float(image.mean_masked_squared_error(a, b, mask * 0)) == 0
    points, truth = torch.tensor([[[3.0, 4.0]]]), torch.tensor([[[0.0, 0.0]]])
    assert float(image.landmark_errors(points, truth, 10.0)) == pytest.approx(0.25)


def test_ssim_agrees_with_the_loop() -> None:
    one, two = torch.rand(2, 1, 24, 20, 1, generator=torch.Generator().manual_seed(0)).double()
    ours = image.ssim_map(one, two)[0, :, :, 0]
    for row, column in ((5, 5), (12, 9), (18, 14)):
        loop = naive.ssim_at(one[0, :, :, 0].numpy(), two[0, :, :, 0].numpy(), row, column)
        assert float(ours[row, column]) == pytest.approx(loop, rel=1e-9)
    torch.testing.assert_close(image.ssim_map(one, one), torch.ones_like(one))
    assert float(image.mean_masked_ssim(one, one, torch.ones(1, 24, 20))) == pytest.approx(1)


def test_silhouette_error_is_one_minus_intersection_over_union() -> None:
    a, b = torch.zeros(2, 4, 4), torch.zeros(2, 4, 4)
    a[0, :2], b[0, 1:3] = 1, 1  # two rows each, one in common
    a[1], b[1] = 1, 1
    torch.testing.assert_close(image.silhouette_errors(a, b), torch.tensor([1 - 4 / 12, 0.0]))


def pyramid(picture: Tensor) -> list[Tensor]:
    half = torch.nn.functional.avg_pool2d(picture, 2)
    return [picture.sin(), half.cos()]


def test_perceptual_distance_is_zero_for_equal_pictures_and_scale_free() -> None:
    one, two = torch.rand(2, 2, 8, 8, 3, generator=torch.Generator().manual_seed(0)).double()
    assert float(perceptual.perceptual_distances(one, one, pyramid).max()) == 0
    plain = perceptual.perceptual_distances(one, two, pyramid)
    louder = perceptual.perceptual_distances(one, two, lambda p: [100 * f for f in pyramid(p)])
    assert plain.shape == (2, 2)
    torch.testing.assert_close(plain, louder)


VERTICES, TRIANGLES = patch(4)
TOPOLOGY = edge_topology(TRIANGLES)
OTHER = VERTICES + 0.2 * torch.randn(VERTICES.shape, generator=torch.Generator().manual_seed(9))
UNIFORM = smoothness.uniform_laplacian(TOPOLOGY, len(VERTICES), VERTICES)
COTANGENT = smoothness.cotangent_laplacian(OTHER, TOPOLOGY)
NORMALS = torch.nn.functional.normalize(cloud(4, 16)[:1], dim=-1)
QUADRICS = chamfer.vertex_quadrics(OTHER[None], TRIANGLES)


def resampled(vertices: Tensor) -> Tensor:
    points, _ = sample_surface(vertices, TRIANGLES, 40, torch.Generator().manual_seed(2))
    return points


MESH_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "chamfer": lambda v: chamfer.mean_chamfer(v, OTHER[None]),
    "chamfer one way": lambda v: chamfer.nearest_squared_distances(v, OTHER[None]),
    "chamfer resampled": lambda v: chamfer.mean_chamfer(resampled(v), OTHER[None]),
    "normals": lambda v: chamfer.nearest_normal_errors(
        v, vertex_normals(v, TRIANGLES), OTHER[None], NORMALS
    ),
    "quadric": lambda v: chamfer.quadric_errors(v, OTHER[None], QUADRICS),
    "quadrics of the mesh": lambda v: chamfer.vertex_quadrics(v, TRIANGLES),
    "edge": lambda v: smoothness.edge_length_errors(v, TOPOLOGY, 0.7),
    "edge without target": lambda v: smoothness.edge_length_errors(v, TOPOLOGY),
    "normal consistency": lambda v: smoothness.normal_inconsistency(v, TOPOLOGY),
    "uniform Laplacian": lambda v: smoothness.laplacian_lengths(v, UNIFORM),
    "cotangent Laplacian": lambda v: smoothness.laplacian_lengths(v, COTANGENT),
    "change of Laplacian": lambda v: smoothness.laplacian_change(v, OTHER[None], UNIFORM),
    "displacement": lambda v: smoothness.displacement_squares(v, OTHER[None]),
    "differences": lambda v: smoothness.neighbour_differences(v, TOPOLOGY),
    "samples": lambda v: torch.cat(
        sample_surface(v, TRIANGLES, 30, torch.Generator().manual_seed(3))
    ),
}


@pytest.mark.parametrize("name", MESH_LOSSES)
def test_mesh_loss_gradient(name: str) -> None:
    assert torch.autograd.gradcheck(MESH_LOSSES[name], VERTICES[None].requires_grad_(True))


MASK = (torch.rand(1, 6, 7, generator=torch.Generator().manual_seed(5)) > 0.3).double()
TARGET = torch.rand(1, 6, 7, 3, generator=torch.Generator().manual_seed(6)).double()
IMAGE_LOSSES: dict[str, Callable[[Tensor], Tensor]] = {
    "squared": lambda p: image.masked_squared_errors(p, TARGET, MASK),
    "mean squared": lambda p: image.mean_masked_squared_error(p, TARGET, MASK),
    "psnr": lambda p: image.masked_psnr_db(p, TARGET, MASK),
    "ssim": lambda p: image.ssim_map(p, TARGET),
    "mean ssim": lambda p: image.mean_masked_ssim(p, TARGET, MASK),
    "silhouette": lambda p: image.silhouette_errors(p[..., 0], MASK),
    "landmarks": lambda p: image.landmark_errors(p[0, :, :, :2], TARGET[0, :, :, 1:], 3.0),
    "perceptual": lambda p: perceptual.perceptual_distances(p, TARGET, pyramid),
}


@pytest.mark.parametrize("name", IMAGE_LOSSES)
def test_image_loss_gradient(name: str) -> None:
    picture = torch.rand(1, 6, 7, 3, generator=torch.Generator().manual_seed(7)).double()
    assert torch.autograd.gradcheck(IMAGE_LOSSES[name], picture.requires_grad_(True))
