"""Which edges does a topology have, and which of them are silhouettes in a view?"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from face3d_cli.diff.fragments import gather_rows


@dataclass(frozen=True)
class EdgeTopology:
    """The E undirected edges of a triangle list; computed once per topology.

    Attributes:
        vertices: (E, 2) vertex indices, smaller first.
        triangles: (E, 2) the triangles beside each edge, -1 for the missing one of a border.
            Of more than two triangles around an edge the first two are kept.
        opposite: (E, 2) the third vertex of each of those triangles, -1 where missing.
    """

    vertices: Tensor
    triangles: Tensor
    opposite: Tensor

    @property
    def is_border(self) -> Tensor:
        """(E,) true for edges with one triangle."""
        return self.triangles[:, 1] < 0


def edge_topology(triangles: Tensor) -> EdgeTopology:
    """Collect the edges of (F, 3) triangles."""
    num_triangles = len(triangles)
    pairs = torch.cat([triangles[:, [1, 2]], triangles[:, [2, 0]], triangles[:, [0, 1]]])
    third = torch.cat([triangles[:, 0], triangles[:, 1], triangles[:, 2]])
    owner = torch.arange(num_triangles, device=triangles.device).repeat(3)
    pairs = pairs.sort(dim=1).values
    base = int(pairs.max()) + 1 if len(pairs) else 1
    keys = pairs[:, 0] * base + pairs[:, 1]  # one number sorts far quicker than a row
    keys, edge, counts = torch.unique(keys, return_inverse=True, return_counts=True)
    vertices = torch.stack([keys // base, keys % base], dim=1)
    order = torch.argsort(edge, stable=True)  # edge by edge, lower triangle first
    first = counts.cumsum(0) - counts
    has_two = counts > 1
    one = order[first]
    two = order[(first + 1).clamp(max=len(order) - 1)]
    beside = torch.stack([owner[one], torch.where(has_two, owner[two], -1)], dim=1)
    opposite = torch.stack([third[one], torch.where(has_two, third[two], -1)], dim=1)
    return EdgeTopology(vertices, beside, opposite)


@dataclass(frozen=True)
class SilhouetteEdges:
    """The S edges of a batch where the surface turns away or ends, in image space.

    Attributes:
        start: (S, 3) image x, y and depth of one end; differentiable.
        end: (S, 3) of the other end.
        inward: (S, 2) unit image direction, normal to the edge, on the surface's side.
        batch_item: (S,)
    """

    start: Tensor
    end: Tensor
    inward: Tensor
    batch_item: Tensor


def silhouette_edges(
    points_img: Tensor, triangles: Tensor, topology: EdgeTopology, *, near: float | None = None
) -> SilhouetteEdges:
    """Find borders and folds of (B, V, 3) image points; depths below `near` are left out.

    A fold is an edge between a triangle seen from the front and one seen from behind, so both lie
    on the same side of it. Degenerate and non-finite triangles count as missing.
    """
    batch, num_vertices = points_img.shape[:2]
    with torch.no_grad():
        corner = points_img[:, triangles.reshape(-1)].reshape(batch, -1, 3, 3)
        a, b, c = corner.unbind(2)
        ab, ac = b - a, c - a
        facing = (ab[..., 1] * ac[..., 0] - ab[..., 0] * ac[..., 1]).sign()  # (B, F)
        usable = corner.sum(dim=(2, 3)).isfinite()
        if near is not None:
            usable &= corner[..., 2].amin(-1) > near
        facing = torch.where(usable, facing, 0.0)
        facing = torch.cat([facing, facing.new_zeros(batch, 1)], dim=1)  # -1 looks up a zero
        sides = facing[:, topology.triangles]  # (B, E, 2)
        seen = sides != 0
        is_silhouette = (seen[..., 0] != seen[..., 1]) | (sides.prod(-1) < 0)
        batch_item, edge = is_silhouette.nonzero(as_tuple=True)
        ends = topology.vertices[edge] + (batch_item * num_vertices).unsqueeze(1)
        side = torch.where(seen[batch_item, edge, 0], 0, 1)
        opposite = topology.opposite[edge, side] + batch_item * num_vertices
    flat = points_img.reshape(-1, 3)
    start, end = gather_rows(flat, ends).unbind(1)
    with torch.no_grad():
        along = end[:, :2] - start[:, :2]
        normal = torch.stack([-along[:, 1], along[:, 0]], dim=1)
        normal = torch.nn.functional.normalize(normal, dim=1, eps=1e-20)
        third = flat.detach()[opposite, :2] - start[:, :2]
        inward = normal * (normal * third).sum(dim=1, keepdim=True).sign()
    return SilhouetteEdges(start, end, inward, batch_item)
