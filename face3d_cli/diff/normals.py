"""Which way does the surface face? Triangle and vertex normals in torch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from face3d_cli.diff.fragments import gather_rows, scatter_rows


def triangle_corners(vertices: Tensor, triangles: Tensor) -> Tensor:
    """(B, F, 3, 3) corner positions from (B, V, 3) vertices and (F, 3) or (B, F, 3) triangles."""
    batch, num_vertices = vertices.shape[:2]
    first = torch.arange(batch, device=vertices.device).view(batch, 1, 1) * num_vertices
    return gather_rows(vertices.reshape(-1, 3), triangles + first)


def triangle_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """(B, F, 3) outward normals, length twice the area; zero for a degenerate triangle."""
    a, b, c = triangle_corners(vertices, triangles).unbind(-2)
    normals: Tensor = torch.linalg.cross(b - a, c - a)
    return normals


def vertex_normals(vertices: Tensor, triangles: Tensor) -> Tensor:
    """(B, V, 3) unit normals, area-weighted over the triangles around each vertex.

    A vertex without a triangle of non-zero area gets the zero vector and a zero gradient.
    """
    batch, num_vertices = vertices.shape[:2]
    weighted = triangle_normals(vertices, triangles)
    first = torch.arange(batch, device=vertices.device).view(batch, 1, 1) * num_vertices
    index = (triangles + first).transpose(1, 2)  # (B, 3, F)
    rows = weighted.unsqueeze(1).expand(-1, 3, -1, -1)
    sums = scatter_rows(rows, index, batch * num_vertices)
    return normalize(sums, dim=-1, eps=1e-20).reshape(batch, num_vertices, 3)
