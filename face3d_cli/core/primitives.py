"""The template shapes that deformation starts from: icosphere and hemisphere."""

from __future__ import annotations

import numpy as np

from face3d_cli.arrays import Points3, Triangles
from face3d_cli.core.mesh import Mesh

HEMISPHERE_RINGS = 33
HEMISPHERE_SECTORS = 64
ICOSPHERE_LEVEL = 4


def icosphere(level: int = ICOSPHERE_LEVEL) -> Mesh:
    """The unit sphere as an icosahedron whose triangles are cut in four `level` times.

    Level 4 has 2,562 vertices and 5,120 triangles.
    """
    golden = (1 + 5**0.5) / 2
    vertices: Points3 = np.array(
        [[-1, golden, 0], [1, golden, 0], [-1, -golden, 0], [1, -golden, 0]], np.float64
    )
    vertices = np.concatenate(
        [vertices, np.roll(vertices, 1, axis=1), np.roll(vertices, 2, axis=1)]
    )
    triangles = _convex_hull_of_icosahedron(vertices)
    vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    for _ in range(level):
        vertices, triangles = _subdivide(vertices, triangles)
        vertices /= np.linalg.norm(vertices, axis=1, keepdims=True)
    return Mesh(vertices, triangles, name="icosphere")


def _convex_hull_of_icosahedron(vertices: Points3) -> Triangles:
    """The 20 triples of mutually nearest vertices, counter-clockwise from outside."""
    near = np.linalg.norm(vertices[:, None] - vertices[None], axis=2) < 2.1  # edges have length 2
    found = []
    for a in range(12):
        for b in range(a + 1, 12):
            for c in range(b + 1, 12):
                if near[a, b] and near[b, c] and near[a, c]:
                    outwards = np.linalg.det(vertices[[a, b, c]]) > 0
                    found.append((a, b, c) if outwards else (a, c, b))
    return np.array(found, np.int32)


def _subdivide(vertices: Points3, triangles: Triangles) -> tuple[Points3, Triangles]:
    """Cut every triangle in four at the middles of its edges; old vertices keep their index."""
    sides = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    edges, index = np.unique(np.sort(sides, axis=1), axis=0, return_inverse=True)
    middles = vertices[edges].mean(axis=1)
    ab, bc, ca = (len(vertices) + index.reshape(3, -1)).astype(np.int32)
    a, b, c = triangles.T
    parts = [(a, ab, ca), (b, bc, ab), (c, ca, bc), (ab, bc, ca)]
    cut = np.concatenate([np.stack(part, axis=1) for part in parts])
    return np.concatenate([vertices, middles]), cut.astype(np.int32)


def hemisphere(rings: int = HEMISPHERE_RINGS, sectors: int = HEMISPHERE_SECTORS) -> Mesh:
    """The front half of the unit sphere: the pole at +Z, then rings out to the rim at z = 0.

    Vertex 0 is the pole; vertex 1 + ring * sectors + sector follows, rings from the pole outwards,
    sectors counter-clockwise from +X as the viewer sees them. The default has 2,113 vertices.
    The UV map is the view from the front.
    """
    polar = np.arange(1, rings + 1)[:, None] * (np.pi / 2 / rings)
    around = np.arange(sectors) * (2 * np.pi / sectors)
    x, y = np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around)
    z = np.broadcast_to(np.cos(polar), x.shape)
    dome = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    vertices = np.concatenate([[[0.0, 0.0, 1.0]], dome])
    sector = np.arange(sectors)
    following = (sector + 1) % sectors
    fan = np.stack([np.zeros_like(sector), 1 + sector, 1 + following], axis=1)
    inner = 1 + np.arange(rings - 1)[:, None] * sectors
    a, b = (inner + sector).ravel(), (inner + following).ravel()
    c, d = a + sectors, b + sectors
    strips = np.concatenate([np.stack([a, c, b], axis=1), np.stack([b, c, d], axis=1)])
    triangles = np.concatenate([fan, strips]).astype(np.int32)
    return Mesh(vertices, triangles, uv=(vertices[:, :2] + 1) / 2, name="hemisphere")
