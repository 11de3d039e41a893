"""Agreement with PyTorch3D, where it is installed (see docs/benchmarks.md for how to build it)."""

import warnings

import pytest
import torch
from torch import Tensor

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    pytest.importorskip("pytorch3d", reason="PyTorch3D is not installed; it is optional")
    from pytorch3d import loss as theirs
    from pytorch3d.renderer.blending import BlendParams, sigmoid_alpha_blend
    from pytorch3d.renderer.mesh.rasterize_meshes import rasterize_meshes
    from pytorch3d.structures import Meshes

from face3d_cli.diff.backends import rasterize_with_pytorch3d, rasterizer_named
from face3d_cli.diff.cameras import PerspectiveCamera
from face3d_cli.diff.edges import edge_topology, silhouette_edges
from face3d_cli.diff.fragments import interpolate
from face3d_cli.diff.losses import chamfer, smoothness
from face3d_cli.diff.normals import vertex_normals
from face3d_cli.diff.rasterize import rasterize
from face3d_cli.diff.silhouette import soft_silhouette
from tests.helpers.shapes import Shape, patch, sphere

pytestmark = [pytest.mark.pytorch3d, pytest.mark.filterwarnings("ignore")]

SHAPES = {"sphere": sphere(20, 30), "patch": patch(9)}


def bumpy_sphere() -> tuple[Tensor, Tensor]:
    vertices, triangles = sphere(40, 60)
    generator = torch.Generator().manual_seed(0)
    noise = 1 + 0.1 * torch.rand(len(vertices), 1, generator=generator)
    return (vertices * noise).float(), triangles


@pytest.mark.parametrize(("height", "width"), [(128, 128), (96, 140), (140, 96)])
@pytest.mark.parametrize("perspective", [False, True])
def test_same_triangles_away_from_edges(height: int, width: int, perspective: bool) -> None:
    vertices, triangles = bumpy_sphere()
    if perspective:
        camera = PerspectiveCamera(
            torch.eye(3),
            torch.tensor([0.1, -0.1, -3.0]),
            torch.tensor(110.0),
            torch.tensor([width / 2 - 0.3, height / 2 + 0.2]),
        )
        points = camera.project(torch.stack([vertices, vertices.roll(1, 1)]))
    else:
        scale = torch.tensor([41.0, -41.0, -1.0])
        shift = torch.tensor([width / 2 - 0.3, height / 2 + 0.2, 0.0])
        points = torch.stack([vertices, vertices.roll(1, 1)]) * scale + shift
    ours = rasterize(points, triangles, height, width, perspective=perspective)
    other = rasterize_with_pytorch3d(points, triangles, height, width, perspective=perspective)
    weights = ours.barycentric_image()
    away = (weights.amin(-1) > 1e-3) | ~(ours.mask | other.mask)
    assert ours.mask.float().mean() > 0.2
    same = ours.triangle == other.triangle
    assert float(same[away].float().mean()) >= 0.999
    assert float(same.float().mean()) >= 0.995
    both = same & ours.mask
    torch.testing.assert_close(
        weights[both], other.barycentric_image()[both], atol=2e-3, rtol=0
    )  # theirs adds 1e-8 to areas in normalised units
    torch.testing.assert_close(
        ours.depth_image()[both], other.depth_image()[both], atol=1e-3, rtol=1e-4
    )


def test_backend_gives_the_same_gradients() -> None:
    vertices, triangles = bumpy_sphere()
    colors = torch.rand(len(vertices), 3, generator=torch.Generator().manual_seed(1))
    gradients = []
    for name in ("torch", "pytorch3d"):
        points = vertices * torch.tensor([30.0, -30.0, -1.0]) + torch.tensor([31.7, 32.2, 0])
        points = points[None].requires_grad_(True)
        seen = rasterizer_named(name)(points, triangles, 64, 64)
        interpolate(colors, seen).square().sum().backward()
        gradients.append(points.grad)
    cosine = torch.nn.functional.cosine_similarity(
        gradients[0].flatten(), gradients[1].flatten(), 0
    )
    assert float(cosine) > 0.99


def test_soft_silhouette_of_one_triangle_is_the_same() -> None:
    size, sigma = 48, 1e-3
    points = torch.tensor([[[5.3, 8.1, 1.0], [14.2, 40.7, 1], [41.9, 20.4, 1]]])
    triangle = torch.tensor([[0, 1, 2]])
    ndc = torch.cat([(size - 1 - 2 * points[..., :2]) / size, points[..., 2:]], dim=-1)
    face, _, _, distance = rasterize_meshes(
        Meshes(ndc, triangle[None]), size, blur_radius=10 * sigma, faces_per_pixel=1
    )

    class Found:
        pix_to_face, dists = face, distance

    colors = torch.ones(*face.shape, 3)
    expected = sigmoid_alpha_blend(colors, Found, BlendParams(sigma=sigma))[..., 3]
    seen = rasterize(points, triangle, size, size)
    edges = silhouette_edges(points, triangle, edge_topology(triangle))
    soft = soft_silhouette(seen, edges, sigma_px2=sigma * (size / 2) ** 2)
    torch.testing.assert_close(soft, expected, atol=2e-4, rtol=0)


@pytest.mark.parametrize("name", SHAPES)
def test_losses_agree(name: str) -> None:
    shape: Shape = SHAPES[name]
    vertices, triangles = shape[0].float(), shape[1]
    generator = torch.Generator().manual_seed(3)
    other = vertices + 0.1 * torch.randn(vertices.shape, generator=generator)
    meshes = Meshes([other], [triangles])
    topology = edge_topology(triangles)
    batch, target = other[None], vertices[None]
    normals, target_normals = vertex_normals(batch, triangles), vertex_normals(target, triangles)
    distance, normal_distance = theirs.chamfer_distance(
        batch, target, x_normals=normals, y_normals=target_normals
    )
    uniform = smoothness.uniform_laplacian(topology, len(vertices), other)
    cotangent = smoothness.cotangent_laplacian(other, topology)
    pairs = {
        "chamfer": (chamfer.mean_chamfer(batch, target), distance),
        "normals": (
            chamfer.mean_normal_chamfer(batch, normals, target, target_normals),
            normal_distance,
        ),
        "edge": (
            smoothness.edge_length_errors(batch, topology, 0.1).mean(),
            theirs.mesh_edge_loss(meshes, 0.1),
        ),
        "normal consistency": (
            smoothness.normal_inconsistency(batch, topology).mean(),
            theirs.mesh_normal_consistency(meshes),
        ),
        "uniform Laplacian": (
            smoothness.laplacian_lengths(batch, uniform).mean(),
            theirs.mesh_laplacian_smoothing(meshes, "uniform"),
        ),
        "cotangent Laplacian": (
            smoothness.laplacian_lengths(batch, cotangent).mean(),
            theirs.mesh_laplacian_smoothing(meshes, "cot"),
        ),
        "vertex normals": (normals[0], meshes.verts_normals_packed()),
    }
    for what, (ours, expected) in pairs.items():
        torch.testing.assert_close(
            ours, expected, atol=1e-5, rtol=1e-5, msg=lambda m, what=what: f"{what}: {m}"
        )
