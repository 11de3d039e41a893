"""Is a deformed mesh still sound? Triangles that flipped over or cross others."""

from __future__ import annotations

import numpy as np
from scipy.spatial import cKDTree

from face3d_cli.arrays import FloatArray, Mask, Points3, Triangles
from face3d_cli.core.mesh import triangle_normals


def flipped_triangles(vertices: Points3, before: Points3, triangles: Triangles) -> Mask:
    """(F,) true where a triangle faces away from where it faced before the deformation."""
    now, then = triangle_normals(vertices, triangles), triangle_normals(before, triangles)
    flipped: Mask = np.einsum("fk,fk->f", now, then) < 0
    return flipped


def crossing_triangles(vertices: Points3, triangles: Triangles) -> Mask:
    """(F,) true where a triangle is crossed by another that shares no vertex with it.

    Two triangles cross when an edge of one passes through the inside of the other
    (Moeller & Trumbore, Fast, Minimum Storage Ray-Triangle Intersection, 1997).
    """
    corners = vertices[triangles]
    centres = corners.mean(axis=1)
    radii = np.linalg.norm(corners - centres[:, None], axis=2).max(axis=1)
    pairs = cKDTree(centres).query_pairs(2 * radii.max(initial=0.0), output_type="ndarray")
    one, two = pairs.T
    close = np.linalg.norm(centres[one] - centres[two], axis=1) < radii[one] + radii[two]
    one, two = one[close], two[close]
    shares = (triangles[one][:, :, None] == triangles[two][:, None, :]).any(axis=(1, 2))
    one, two = one[~shares], two[~shares]
    crossing = _edge_passes(corners[one], corners[two]) | _edge_passes(corners[two], corners[one])
    found = np.zeros(len(triangles), bool)
    found[one[crossing]] = True
    found[two[crossing]] = True
    return found


def _edge_passes(edges_of: FloatArray, through: FloatArray) -> Mask:
    """(N,) true where an edge of one (N, 3, 3) triangle passes through the other's inside."""
    a, b, c = through[:, 0], through[:, 1], through[:, 2]
    ab, ac = b - a, c - a
    passes = np.zeros(len(through), bool)
    for corner in range(3):
        start = edges_of[:, corner]
        along = edges_of[:, (corner + 1) % 3] - start
        normal = np.cross(along, ac)
        area = np.einsum("nk,nk->n", ab, normal)
        with np.errstate(divide="ignore", invalid="ignore"):
            offset = start - a
            u = np.einsum("nk,nk->n", offset, normal) / area
            across = np.cross(offset, ab)
            v = np.einsum("nk,nk->n", along, across) / area
            t = np.einsum("nk,nk->n", ac, across) / area
            passes |= (u > 0) & (v > 0) & (u + v < 1) & (t > 0) & (t < 1)
    return passes
