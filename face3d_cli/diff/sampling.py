"""How to draw points evenly from a surface, differentiably."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import normalize

from face3d_cli.diff.normals import triangle_corners


def sample_surface(
    vertices: Tensor, triangles: Tensor, num_points: int, generator: torch.Generator | None = None
) -> tuple[Tensor, Tensor]:
    """Draw points with a density that is even over the area.

    A triangle is chosen with a chance proportional to its area; inside it the point is
    (1 - sqrt(u)) a + sqrt(u) (1 - v) b + sqrt(u) v c with u, v uniform in [0, 1].

    Args:
        vertices: (B, V, 3).
        triangles: (F, 3) or (B, F, 3); at least one must have an area.
        num_points: N.
        generator: source of chance, for repeatable runs.

    Returns:
        (B, N, 3) points and (B, N, 3) unit normals, both differentiable.

    Source: Osada et al., Shape Distributions, ACM TOG 2002, section 4.2.
    """
    corners = triangle_corners(vertices, triangles)  # (B, F, 3, 3)
    a, b, c = corners.unbind(2)
    normals: Tensor = torch.linalg.cross(b - a, c - a)
    area = normals.detach().norm(dim=-1)
    chosen = torch.multinomial(area, num_points, replacement=True, generator=generator)  # (B, N)
    u, v = torch.rand(
        2, *chosen.shape, dtype=vertices.dtype, device=vertices.device, generator=generator
    )
    root = u.sqrt()
    weights = torch.stack([1.0 - root, root * (1.0 - v), root * v], dim=-1)
    rows = chosen[..., None, None].expand(-1, -1, 3, 3)
    points = (weights.unsqueeze(-1) * corners.gather(1, rows)).sum(dim=2)
    normals = normals.gather(1, chosen.unsqueeze(-1).expand(-1, -1, 3))
    return points, normalize(normals, dim=-1)
