"""How far apart are two point sets? Chamfer distance, normals of neighbours, quadrics."""

from __future__ import annotations

import torch
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn.functional import cosine_similarity, normalize

from face3d_cli.diff.fragments import scatter_rows
from face3d_cli.diff.normals import triangle_normals

_PAIRS_AT_A_TIME = 1 << 22


def nearest_indices(points: Tensor, others: Tensor) -> Tensor:
    """(B, N) index of the nearest of (B, M, 3) others for each of (B, N, 3) points.

    A k-d tree answers on the CPU; on a GPU a table of distances, computed in chunks.
    """
    if points.device.type == "cpu":
        return _nearest_by_tree(points.detach(), others.detach())
    return _nearest_by_table(points, others)


def _nearest_by_tree(points: Tensor, others: Tensor) -> Tensor:
    found = [
        torch.from_numpy(cKDTree(tree.numpy()).query(queries.numpy())[1])
        for queries, tree in zip(points, others, strict=True)
    ]
    return torch.stack(found).long()


def _nearest_by_table(points: Tensor, others: Tensor) -> Tensor:
    rows = max(1, _PAIRS_AT_A_TIME // max(1, others.shape[0] * others.shape[1]))
    with torch.no_grad():
        parts = [
            torch.cdist(part, others, compute_mode="donot_use_mm_for_euclid_dist").argmin(dim=2)
            for part in torch.split(points, rows, dim=1)
        ]
    return torch.cat(parts, dim=1)


def nearest_squared_distances(points: Tensor, others: Tensor) -> Tensor:
    """(B, N) squared distance from each point to the nearest of the others (one direction).

    d(p) = min_q |p - q|^2. Source: Barrow et al., Parametric Correspondence and Chamfer Matching,
    IJCAI 1977; as a loss: Fan et al., A Point Set Generation Network, CVPR 2017, section 4.2.
    """
    return (points - pick(others, nearest_indices(points, others))).square().sum(dim=-1)


def pick(rows: Tensor, index: Tensor) -> Tensor:
    """(B, N, C) rows of (B, M, C) at (B, N) indices."""
    return rows.gather(1, index.unsqueeze(-1).expand(-1, -1, rows.shape[-1]))


def mean_chamfer(points: Tensor, others: Tensor) -> Tensor:
    """Both directions: mean_p min_q |p - q|^2 + mean_q min_p |p - q|^2, averaged over the batch.

    To compare surfaces rather than vertex sets, hand in `sample_surface` of both.
    """
    there = nearest_squared_distances(points, others).mean()
    return there + nearest_squared_distances(others, points).mean()


def nearest_normal_errors(
    points: Tensor, normals: Tensor, others: Tensor, other_normals: Tensor
) -> Tensor:
    """(B, N) 1 - |cos| between each point's normal and its nearest neighbour's.

    Source: Gkioxari et al., Mesh R-CNN, ICCV 2019, equation 1 (normal distance).
    """
    theirs = pick(other_normals, nearest_indices(points, others))
    return 1.0 - cosine_similarity(normals, theirs, dim=-1, eps=1e-6).abs()


def mean_normal_chamfer(
    points: Tensor, normals: Tensor, others: Tensor, other_normals: Tensor
) -> Tensor:
    """Normal errors in both directions, averaged over points and batch."""
    there = nearest_normal_errors(points, normals, others, other_normals).mean()
    return there + nearest_normal_errors(others, other_normals, points, normals).mean()


def vertex_quadrics(vertices: Tensor, triangles: Tensor) -> Tensor:
    """(B, V, 3, 3) sum of n n^T over the unit normals of the triangles around each vertex.

    Source: Garland & Heckbert, Surface Simplification Using Quadric Error Metrics, SIGGRAPH 1997.
    Their 4 x 4 form measures the same for planes through the vertex.
    """
    batch, num_vertices = vertices.shape[:2]
    normals = normalize(triangle_normals(vertices, triangles), dim=-1)  # (B, F, 3)
    outer = (normals.unsqueeze(-1) * normals.unsqueeze(-2)).flatten(2)  # (B, F, 9)
    first = torch.arange(batch, device=vertices.device).view(batch, 1, 1) * num_vertices
    rows = outer.unsqueeze(2).expand(-1, -1, 3, -1)
    sums = scatter_rows(rows, triangles + first, batch * num_vertices)
    return sums.reshape(batch, num_vertices, 3, 3)


def quadric_errors(points: Tensor, target_vertices: Tensor, quadrics: Tensor) -> Tensor:
    """(B, N) squared distances to all planes that meet in the nearest target vertex.

    With t the vertex nearest to s: (s - t)^T Q_t (s - t) = sum over its planes of (n . (s - t))^2.
    Moving along the target's surface costs nothing, leaving it does: sharp edges are kept.

    Args:
        points: (B, N, 3).
        target_vertices: (B, V, 3).
        quadrics: (B, V, 3, 3) from `vertex_quadrics` of the target.

    Source: Agarwal, Yoon & Gopi, Learning Embedding of 3D Models with Quadric Loss, BMVC 2019.
    """
    nearest = nearest_indices(points, target_vertices)
    offset = points - pick(target_vertices, nearest)
    quadric = pick(quadrics.flatten(2), nearest).reshape(*offset.shape, 3)
    along = (quadric * offset.unsqueeze(-2)).sum(dim=-1)  # (B, N, 3)
    return (along * offset).sum(dim=-1)
