import math

import pytest
import torch

from face3d_cli.diff.antialias import antialias
from face3d_cli.diff.cameras import (
    PerspectiveCamera,
    ScaledOrthographicCamera,
    rotation_from_axis_angle,
)
from face3d_cli.diff.edges import edge_topology, silhouette_edges
from face3d_cli.diff.rasterize import rasterize
from face3d_cli.diff.silhouette import soft_silhouette
from tests.helpers.shapes import octahedron, patch, sphere

SIZE = 40


def front_camera(scale: float = 14.3) -> ScaledOrthographicCamera:
    """From slightly above and beside: no triangle of the test shapes is seen edge-on."""
    return ScaledOrthographicCamera(
        rotation_from_axis_angle(torch.tensor([0.31, 0.42, 0.17], dtype=torch.float64)),
        torch.tensor(scale, dtype=torch.float64),
        torch.tensor([19.27, 19.61], dtype=torch.float64),
    )


def coverage(points_img: torch.Tensor, triangles: torch.Tensor, size: int = SIZE) -> torch.Tensor:
    seen = rasterize(points_img, triangles, size, size)
    edges = silhouette_edges(points_img, triangles, edge_topology(triangles))
    return antialias(seen.mask[..., None].to(points_img), seen, edges)[..., 0]


def test_topology_of_closed_and_open_meshes() -> None:
    _, faces = octahedron()
    closed = edge_topology(faces)
    assert len(closed.vertices) == 12
    assert not closed.is_border.any()
    for edge in range(12):
        for side in range(2):
            triangle = set(faces[closed.triangles[edge, side]].tolist())
            ends = set(closed.vertices[edge].tolist())
            assert triangle - ends == {int(closed.opposite[edge, side])}
    _, faces = patch(4)
    border = edge_topology(faces)
    assert int(border.is_border.sum()) == 12  # 3 on each side
    assert len(border.vertices) == 33


def test_silhouette_of_a_sphere_is_its_rim() -> None:
    vertices, faces = sphere(20, 30)
    points = front_camera().project(vertices[None])
    rim = silhouette_edges(points, faces, edge_topology(faces))
    centre = torch.tensor([19.27, 19.61], dtype=torch.float64)
    radius = (rim.start[:, :2] - centre).norm(dim=1) / 14.3
    assert 30 <= len(rim.start) <= 70
    assert (radius > 0.97).all()
    towards = centre - (rim.start + rim.end)[:, :2] / 2
    assert ((rim.inward * towards).sum(1) > 0).all()


def test_antialiased_area_equals_the_true_area() -> None:
    corners = torch.tensor([[[3.3, 30.1, 1.0], [36.2, 25.7, 1], [12.9, 2.4, 1]]]).double()
    triangle = torch.tensor([[0, 1, 2]])
    a, b, c = corners[0, :, :2]
    area = abs(float((b - a)[0] * (c - a)[1] - (b - a)[1] * (c - a)[0])) / 2
    hard = float(rasterize(corners, triangle, SIZE, SIZE).mask.sum())
    smooth = float(coverage(corners, triangle).sum())
    assert abs(smooth - area) / area < 0.002
    assert abs(smooth - area) < abs(hard - area)


def test_antialiased_values_lie_between_the_two_colours() -> None:
    vertices, faces = sphere(24, 36)
    for scale in (3.0, 9.7, 17.0):
        share = coverage(front_camera(scale).project(vertices[None]), faces)
        assert share.min() >= 0
        assert share.max() <= 1
        assert ((share > 0) & (share < 1)).any()
        assert abs(float(share.sum()) / (math.pi * scale**2) - 1) < 0.06


def test_hidden_silhouettes_leave_the_picture_alone() -> None:
    vertices, faces = sphere(10, 16)
    behind = vertices * 0.5 - 3 * front_camera().rotation[2]
    both = torch.cat([vertices, behind])[None]
    faces_of_both = torch.cat([faces, faces + len(vertices)])
    with_hidden = coverage(front_camera().project(both), faces_of_both)
    torch.testing.assert_close(with_hidden, coverage(front_camera().project(vertices[None]), faces))


def finite_difference(
    function, points: torch.Tensor, direction: torch.Tensor, step: float
) -> float:
    return float(
        (function(points + step * direction) - function(points - step * direction)) / (2 * step)
    )


@pytest.mark.parametrize("seed", range(5))
def test_silhouette_gradient_matches_finite_differences(seed: int) -> None:
    """Area under a random smooth weight: what an outline fit descends."""
    generator = torch.Generator().manual_seed(seed)
    vertices, faces = sphere(16, 24)
    vertices = vertices * torch.tensor([0.9, 1.1, 1.0]).double()
    points = front_camera().project(vertices[None]).requires_grad_(True)
    ramp = torch.rand(2, generator=generator).double() * 2 - 1
    at = torch.arange(SIZE).double() / SIZE
    weight = 1 + ramp[0] * at[:, None] + ramp[1] * at
    direction = torch.randn(1, 1, 3, generator=generator).double() + 0.02 * torch.randn(
        points.shape, generator=generator
    )

    def weighted_area(points: torch.Tensor) -> torch.Tensor:
        return (coverage(points, faces) * weight).sum()

    weighted_area(points).backward()
    ours = float((points.grad * direction).sum())
    steps = [
        finite_difference(weighted_area, points.detach(), direction, s) for s in (0.2, 0.35, 0.5)
    ]
    measured = sum(steps) / len(steps)
    reach = float(points.grad.norm() * direction.norm()) * 0.02
    assert abs(ours - measured) < max(0.12 * abs(measured), reach)


@pytest.mark.parametrize("seed", range(5))
def test_soft_silhouette_gradient_matches_finite_differences(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    vertices, faces = sphere(10, 14)
    points = front_camera().project(vertices[None]).requires_grad_(True)
    weight = torch.rand(SIZE, SIZE, generator=generator).double()
    direction = torch.randn(points.shape, generator=generator).double()
    topology = edge_topology(faces)

    def weighted(points: torch.Tensor) -> torch.Tensor:
        seen = rasterize(points, faces, SIZE, SIZE)
        soft = soft_silhouette(seen, silhouette_edges(points, faces, topology), 2.0)
        return (soft * weight).sum()

    weighted(points).backward()
    ours = float((points.grad * direction).sum())
    measured = finite_difference(weighted, points.detach(), direction, 1e-5)
    assert ours == pytest.approx(measured, rel=2e-3)


def test_soft_silhouette_is_the_sigmoid_of_the_signed_distance() -> None:
    half_plane = torch.tensor(
        [[[-300.0, -300, 1], [20.25, -300, 1], [20.25, 900, 1], [-300, 900, 1]]]
    )
    triangles = torch.tensor([[0, 2, 1], [0, 3, 2]])
    seen = rasterize(half_plane, triangles, SIZE, SIZE)
    edges = silhouette_edges(half_plane, triangles, edge_topology(triangles))
    soft = soft_silhouette(seen, edges, 4.0)[0, 20]
    distance = 20.25 - torch.arange(SIZE)
    expected = torch.sigmoid(distance.sign() * distance**2 / 4.0)
    torch.testing.assert_close(soft, expected, atol=2e-4, rtol=0)


def test_soft_silhouette_ignores_folds_inside_the_outline() -> None:
    big, faces = sphere(16, 24)
    small = big * 0.3 + 2 * front_camera().rotation[2]
    both = front_camera().project(torch.cat([big, small])[None])
    alone = front_camera().project(big[None])
    faces_of_both = torch.cat([faces, faces + len(big)])
    results = [
        soft_silhouette(
            rasterize(points, f, SIZE, SIZE), silhouette_edges(points, f, edge_topology(f)), 1.5
        )
        for points, f in ((both, faces_of_both), (alone, faces))
    ]
    torch.testing.assert_close(results[0], results[1])


def test_batch_of_silhouettes_equals_one_by_one() -> None:
    vertices, faces = sphere(8, 12)
    points = torch.cat(
        [front_camera(9.0).project(vertices[None]), front_camera(15.0).project(vertices[None])]
    )
    together = coverage(points, faces)
    topology = edge_topology(faces)
    soft = soft_silhouette(
        rasterize(points, faces, SIZE, SIZE), silhouette_edges(points, faces, topology)
    )
    for item in range(2):
        alone = points[item : item + 1]
        torch.testing.assert_close(together[item], coverage(alone, faces)[0])
        soft_alone = soft_silhouette(
            rasterize(alone, faces, SIZE, SIZE), silhouette_edges(alone, faces, topology)
        )
        torch.testing.assert_close(soft[item], soft_alone[0])


def test_mesh_outside_the_view_has_zero_gradients() -> None:
    vertices, faces = sphere(8, 12)
    points = (front_camera().project(vertices[None]) + 500.0).requires_grad_(True)
    seen = rasterize(points, faces, SIZE, SIZE)
    edges = silhouette_edges(points, faces, edge_topology(faces))
    soft = soft_silhouette(seen, edges)
    image = antialias(seen.mask[..., None].double(), seen, edges)
    (soft.sum() + image.sum()).backward()
    assert float(soft.detach().sum()) == 0
    assert torch.equal(points.grad, torch.zeros_like(points))


def test_mesh_behind_a_perspective_camera_has_zero_gradients() -> None:
    vertices, faces = sphere(8, 12)
    vertices = (vertices + torch.tensor([0.0, 0, 9]).double())[None].requires_grad_(True)
    camera = PerspectiveCamera(
        torch.eye(3).double(),
        torch.zeros(3).double(),
        torch.tensor(40.0).double(),
        torch.tensor([20.0, 20.0]).double(),
    )
    points = camera.project(vertices)
    seen = rasterize(points, faces, SIZE, SIZE, perspective=True)
    edges = silhouette_edges(points, faces, edge_topology(faces), near=0.0)
    (soft_silhouette(seen, edges).sum() + points.sum() * 0).backward()
    assert not seen.mask.any()
    assert torch.equal(vertices.grad, torch.zeros_like(vertices))
