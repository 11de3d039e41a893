"""Small closed and open meshes for geometry tests, as float64 torch tensors."""

from __future__ import annotations

import torch

Shape = tuple[torch.Tensor, torch.Tensor]  # (V, 3) float64, (F, 3) int64, counter-clockwise outside


def tetrahedron() -> Shape:
    vertices = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    return vertices, torch.tensor([[0, 1, 2], [0, 3, 1], [0, 2, 3], [1, 3, 2]])


def octahedron() -> Shape:
    eye = torch.eye(3, dtype=torch.float64)
    vertices = torch.cat([eye, -eye])  # +x +y +z -x -y -z
    faces = [[0, 1, 2], [1, 3, 2], [3, 4, 2], [4, 0, 2], [1, 0, 5], [3, 1, 5], [4, 3, 5], [0, 4, 5]]
    return vertices, torch.tensor(faces)


def sphere(rings: int = 12, sectors: int = 18) -> Shape:
    """A unit sphere of latitude rings with two poles on the y axis."""
    polar = torch.linspace(0, torch.pi, rings + 1, dtype=torch.float64)[1:-1, None]
    around = torch.arange(sectors, dtype=torch.float64) * (2 * torch.pi / sectors)
    x, z = torch.sin(polar) * torch.sin(around), torch.sin(polar) * torch.cos(around)
    middle = torch.stack([x, torch.cos(polar).expand_as(x), z], dim=-1).reshape(-1, 3)
    poles = torch.tensor([[0, 1, 0], [0, -1, 0]], dtype=torch.float64)
    south = len(middle) + 1
    faces = []
    for sector in range(sectors):
        following = (sector + 1) % sectors
        faces.append([len(middle), sector, following])
        for ring in range(rings - 2):
            a, b = ring * sectors + sector, ring * sectors + following
            faces += [[a, a + sectors, b], [b, a + sectors, b + sectors]]
        last = (rings - 2) * sectors
        faces.append([south, last + following, last + sector])
    return torch.cat([middle, poles]), torch.tensor(faces)


def patch(side: int = 4, seed: int = 0) -> Shape:
    """A bumpy open patch, seen from +z."""
    y, x = torch.meshgrid(torch.arange(side), torch.arange(side), indexing="ij")
    height = torch.rand(side, side, generator=torch.Generator().manual_seed(seed))
    vertices = torch.stack([x, y, height], dim=-1).reshape(-1, 3).double()
    corner = (torch.arange(side - 1)[:, None] * side + torch.arange(side - 1)).reshape(-1)
    lower = torch.stack([corner, corner + 1, corner + side], dim=1)
    upper = torch.stack([corner + 1, corner + side + 1, corner + side], dim=1)
    return vertices, torch.cat([lower, upper])
