"""How irregular is a mesh? Edge length, normal consistency, Laplacians."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity

from face3d_cli.diff.edges import EdgeTopology
from face3d_cli.diff.fragments import gather_rows


def edge_length_errors(
    vertices: Tensor, topology: EdgeTopology, target_length: float = 0.0
) -> Tensor:
    """(B, E) squared difference of each edge's length from the target: (|a - b| - l)^2.

    Source: Wang et al., Pixel2Mesh, ECCV 2018, section 3.4 (l = 0).
    """
    a, b = vertices[:, topology.vertices[:, 0]], vertices[:, topology.vertices[:, 1]]
    if target_length == 0.0:
        return (a - b).square().sum(dim=-1)
    lengths: Tensor = (a - b).norm(dim=-1)
    return (lengths - target_length).square()


def normal_inconsistency(vertices: Tensor, topology: EdgeTopology) -> Tensor:
    """(B, E') 1 - cos of the angle between the two triangles at each inner edge.

    Zero where the surface is flat; a degenerate triangle counts as 1.
    Source: Desbrun et al., Implicit Fairing, SIGGRAPH 1999, as the normal-consistency loss of
    Ravi et al., Accelerating 3D Deep Learning with PyTorch3D, 2020.
    """
    inner = ~topology.is_border
    a, b = topology.vertices[inner].unbind(1)
    c, d = topology.opposite[inner].unbind(1)
    along = vertices[:, b] - vertices[:, a]
    one: Tensor = torch.linalg.cross(along, vertices[:, c] - vertices[:, a])
    two: Tensor = torch.linalg.cross(vertices[:, d] - vertices[:, a], along)
    return 1.0 - cosine_similarity(one, two, dim=-1, eps=1e-20)


@dataclass(frozen=True)
class Laplacian:
    """A linear operator that gives, per vertex, the weighted mean of its neighbours minus itself.

    Attributes:
        matrix: (V, V) sparse; rows sum to zero (a lone vertex has an empty row).
    """

    matrix: Tensor

    def __call__(self, vertices: Tensor) -> Tensor:
        """(B, V, 3) Laplacian coordinates of (B, V, 3) vertices."""
        batch, num_vertices, axes = vertices.shape
        flat = vertices.transpose(0, 1).reshape(num_vertices, -1)
        return (self.matrix @ flat).reshape(num_vertices, batch, axes).transpose(0, 1)


def uniform_laplacian(topology: EdgeTopology, num_vertices: int, like: Tensor) -> Laplacian:
    """All neighbours count the same. Source: Taubin, A Signal Processing Approach, SIGGRAPH 1995.

    Args:
        topology: edges of the mesh.
        num_vertices: V.
        like: gives dtype and device.
    """
    return _laplacian(topology, num_vertices, like.new_ones(len(topology.vertices)))


def cotangent_laplacian(vertices: Tensor, topology: EdgeTopology) -> Laplacian:
    """Neighbours count by the cotangents of the two angles opposite to the edge.

    The weights are taken from (V, 3) `vertices` once and held fixed.
    Source: Meyer et al., Discrete Differential-Geometry Operators, VisMath 2002, equation 5.
    """
    with torch.no_grad():
        ends = vertices[topology.vertices]  # (E, 2, 3)
        weight = vertices.new_zeros(len(topology.vertices))
        for side in range(2):
            third = topology.opposite[:, side]
            one, two = (ends - vertices[third.clamp(min=0)].unsqueeze(1)).unbind(1)
            double_area = torch.linalg.cross(one, two).norm(dim=1).clamp(min=1e-10)
            weight += torch.where(third >= 0, (one * two).sum(dim=1) / double_area, 0.0)
    return _laplacian(topology, len(vertices), weight)


def _laplacian(topology: EdgeTopology, num_vertices: int, weight: Tensor) -> Laplacian:
    a, b = topology.vertices.unbind(1)
    row, column = torch.cat([a, b]), torch.cat([b, a])
    weight = weight.repeat(2)
    total = weight.new_zeros(num_vertices).index_add(0, row, weight)
    has_neighbours = total.abs() > 1e-20
    weight = torch.where(has_neighbours[row], weight / total[row], 0.0)
    diagonal = torch.arange(num_vertices, device=row.device)
    index = torch.stack([torch.cat([row, diagonal]), torch.cat([column, diagonal])])
    values = torch.cat([weight, -has_neighbours.to(weight)])
    size = (num_vertices, num_vertices)
    matrix = torch.sparse_coo_tensor(index, values, size, check_invariants=False).coalesce()
    return Laplacian(matrix)


def laplacian_lengths(vertices: Tensor, laplacian: Laplacian) -> Tensor:
    """(B, V) length of the Laplacian coordinates |L v|: zero where each vertex is its own mean.

    Source: Nealen et al., Laplacian Mesh Optimization, GRAPHITE 2006.
    """
    lengths: Tensor = laplacian(vertices).norm(dim=-1)
    return lengths


def laplacian_change(vertices: Tensor, reference: Tensor, laplacian: Laplacian) -> Tensor:
    """(B, V) squared change of the Laplacian coordinates |L v - L v0|^2.

    Keeps the detail of the reference instead of flattening it.
    Source: Sorkine et al., Laplacian Surface Editing, SGP 2004; as a loss: Wang et al.,
    Pixel2Mesh, ECCV 2018, section 3.4.
    """
    return laplacian(vertices - reference).square().sum(dim=-1)


def displacement_squares(vertices: Tensor, reference: Tensor) -> Tensor:
    """(B, V) squared distance each vertex has moved |v - v0|^2."""
    return (vertices - reference).square().sum(dim=-1)


def neighbour_differences(values: Tensor, topology: EdgeTopology) -> Tensor:
    """(B, E, C) difference of a vertex attribute (B, V, C) along each edge."""
    batch, num_vertices, channels = values.shape
    first = torch.arange(batch, device=values.device).view(batch, 1, 1) * num_vertices
    ends = gather_rows(values.reshape(-1, channels), topology.vertices + first)
    return ends[:, :, 0] - ends[:, :, 1]
