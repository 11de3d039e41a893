"""Is a deformed mesh still sound? Triangles that flipped over or cross others."""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from face3d_cli.arrays import FloatArray, Mask, Points3, Triangles
from face3d_cli.core.mesh import triangle_normals

PATIENCE = 10  # rounds of unfolding
RINGS_BACK = 1  # of vertices around what goes back to where it was


def flipped_triangles(vertices: Points3, before: Points3, triangles: Triangles) -> Mask:
    """(F,) true where a triangle faces away from where it faced before the deformation."""
    now, then = triangle_normals(vertices, triangles), triangle_normals(before, triangles)
    flipped: Mask = np.einsum("fk,fk->f", now, then) < 0
    return flipped


def crossing_triangles(vertices: Points3, triangles: Triangles) -> Mask:
    """(F,) true where a triangle is crossed by another that shares no edge with it.

    Two triangles cross when an edge of one passes through the inside of the other
    (Moeller & Trumbore, Fast, Minimum Storage Ray-Triangle Intersection, 1997); edges that start at
    a common vertex are no crossing. Neighbours along an edge can only fold onto one another, which
    `flipped_triangles` finds.
    """
    corners = vertices[triangles]
    centres = corners.mean(axis=1)
    radii = np.linalg.norm(corners - centres[:, None], axis=2).max(axis=1)
    pairs = cKDTree(centres).query_pairs(2 * radii.max(initial=0.0), output_type="ndarray")
    one, two = pairs.T
    close = np.linalg.norm(centres[one] - centres[two], axis=1) < radii[one] + radii[two]
    one, two = one[close], two[close]
    same = triangles[one][:, :, None] == triangles[two][:, None, :]  # (N, 3, 3)
    apart = same.sum(axis=(1, 2)) < 2
    one, two, same = one[apart], two[apart], same[apart]
    crossing = _edge_passes(corners[one], corners[two], same.any(axis=2))
    crossing |= _edge_passes(corners[two], corners[one], same.any(axis=1))
    found = np.zeros(len(triangles), bool)
    found[one[crossing]] = True
    found[two[crossing]] = True
    return found


def _edge_passes(edges_of: FloatArray, through: FloatArray, is_common: Mask) -> Mask:
    """(N,) true where an edge of one (N, 3, 3) triangle passes through the other's inside.

    Edges at a corner that is also the other's, (N, 3), are left out: they touch there.
    """
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
            inside = (u > 0) & (v > 0) & (u + v < 1) & (t > 0) & (t < 1)
            passes |= inside & ~is_common[:, corner] & ~is_common[:, (corner + 1) % 3]
    return passes


def unfold(vertices: Points3, before: Points3, triangles: Triangles, rounds: int = 40) -> Points3:
    """Undo flips and crossings of a deformation by smoothing its displacements around them.

    In every round the displacements of the vertices around bad triangles become the mean of their
    neighbours'; where the displacement is even, nothing can be flipped. The rest of the mesh stays
    as it is. It ends when all are sound, or when `PATIENCE` rounds bettered none; what is bad then
    goes back to where it was before, with ever more around it.

    Args:
        vertices: (V, 3) deformed.
        before: (V, 3) sound.
        triangles: (F, 3).
        rounds: most rounds; a mesh that crossed itself before may keep its bad triangles.
    """
    moved = vertices - before
    pairs = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    ends = np.unique(np.sort(pairs, axis=1), axis=0)
    rows, columns = np.concatenate([ends, ends[:, ::-1]]).T
    adjacency = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(vertices),) * 2)
    degrees = np.maximum(adjacency.sum(axis=1), 1.0)[:, None]
    hopeless = crossing_triangles(before, triangles)
    around = np.zeros(len(vertices))
    fewest, best_round = len(triangles) + 1, 0
    for turn in range(rounds):
        now = before + moved
        bad = flipped_triangles(now, before, triangles)
        bad |= crossing_triangles(now, triangles) & ~hopeless
        if bad.sum() < fewest:
            fewest, best_round = int(bad.sum()), turn
        if fewest == 0 or turn - best_round >= PATIENCE:
            break
        seeds = np.zeros(len(vertices))
        seeds[triangles[bad].ravel()] = 1.0
        around += seeds + adjacency @ (seeds + adjacency @ seeds)  # and two rings further
        smoothed = (adjacency @ moved) / degrees
        moved = np.where(around[:, None] > 0, smoothed, moved)
    share = np.ones(len(vertices))
    for _ in range(rounds):
        now = before + share[:, None] * moved
        bad = flipped_triangles(now, before, triangles)
        bad |= crossing_triangles(now, triangles) & ~hopeless
        if not bad.any():
            break
        near = np.zeros(len(vertices))
        near[triangles[bad].ravel()] = 1.0
        for _ in range(RINGS_BACK):
            near = np.maximum(near, (adjacency @ near > 0) * 1.0)
        kept = 1.0 - near
        for _ in range(RINGS_BACK):  # an even way from what goes back to what stays
            kept = np.where(near > 0, kept, (adjacency @ kept) / degrees[:, 0])
        share = np.minimum(share, kept)
    unfolded: Points3 = before + share[:, None] * moved
    return unfolded
