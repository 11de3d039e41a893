"""Which vertices and triangles does the square of a position map give, and where do they lie?

A vertex for each texel of the surface. Eyes, which the square leaves open, are closed by a
membrane between the lids, and the surface's rim, which texels make a staircase of, is smoothed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse
from scipy.sparse.linalg import spsolve

from face3d_cli.arrays import Mask, Points2, Points3, Triangles
from face3d_cli.core.linear_face import Indices
from face3d_cli.core.position_map import map_triangles, texel_uv, to_texels

RIM_ROUNDS = 6  # each moves the rim's vertices halfway to the middle of their neighbours


@dataclass(frozen=True, eq=False)
class MapTopology:
    """The mesh of every map on one square, at one size.

    Attributes:
        triangles: (F, 3) counter-clockwise seen from outside.
        uv: (V, 2) origin bottom-left.
        from_texels: (V, size * size) weights of the map's texels, row by row, at each vertex.
    """

    triangles: Triangles
    uv: Points2
    from_texels: sparse.csr_matrix

    def places(self, texels: Points3) -> Points3:
        """(V, 3) the vertices, of (size * size, 3) places of the texels, row by row."""
        found: Points3 = self.from_texels @ texels
        return found


def map_topology(valid: Mask, size: int, filled_at: Sequence[Points2]) -> MapTopology:
    """The topology of a square at another size; equal arguments give equal order of vertices.

    Args:
        valid: (FINE, FINE) True where the square holds surface.
        size: side of the maps.
        filled_at: (2,) places in holes that a membrane closes; where there is no hole nothing is.
    """
    surface = _at_size(valid, size)
    holes = _holes_at(surface, size, filled_at)
    mask = surface | holes
    triangles = map_triangles(mask)
    triangles = triangles[~_is_ear(triangles, _is_outermost(mask))]
    used, corners = np.unique(triangles, return_inverse=True)  # single texels are in no quad
    triangles = corners.reshape(-1, 3).astype(np.int32)
    smooth = _smoothed_rim(triangles, _is_outermost(mask)[used])
    from_texels = smooth @ _membranes(holes)[np.flatnonzero(mask)[used]]
    return MapTopology(triangles, smooth @ texel_uv(mask)[used], sparse.csr_matrix(from_texels))


def _at_size(valid: Mask, size: int) -> Mask:
    """The outline at another size: a texel counts where all the fine ones in it do."""
    fine = len(valid)
    if size > fine:
        return valid.repeat(size // fine, axis=0).repeat(size // fine, axis=1)
    step = fine // size
    blocks = valid[: size * step, : size * step].reshape(size, step, size, step)
    return np.asarray(blocks.all(axis=(1, 3)))


def _holes_at(surface: Mask, size: int, places: Sequence[Points2]) -> Mask:
    """(size, size) True in the holes that enclose the places."""
    _, labels = cv2.connectedComponents((~surface).astype(np.uint8), connectivity=4)
    rim = np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]])
    found = np.zeros_like(surface)
    for place in places:
        column, row = to_texels(place[None], size)[0].round().astype(int).clip(0, size - 1)
        if not surface[row, column] and labels[row, column] not in rim:
            found |= labels == labels[row, column]
    return found


def _membranes(holes: Mask) -> sparse.csr_matrix:
    """(T T, T T) weights that keep every texel but those of holes, which are harmonic.

    A texel of a hole is the mean of its four neighbours (Laplace's equation, the hole's edge held).
    """
    size, inside = len(holes), np.flatnonzero(holes)
    keep = sparse.diags_array((~holes.ravel()).astype(float), format="csr")
    if not len(inside):
        return sparse.csr_matrix(keep)
    around = (inside[:, None] + (-size, -1, 1, size)).ravel()
    rows = np.repeat(np.arange(len(inside)), 4)
    shape = (len(inside), size * size)
    mean = sparse.csr_array((np.full(len(rows), 0.25), (rows, around)), shape)
    among = sparse.eye_array(len(inside), format="csc") - mean[:, inside].tocsc()
    outside = (mean @ keep).tocsc()
    edge = np.flatnonzero(np.diff(outside.indptr))
    weights = spsolve(among, outside[:, edge].toarray())
    filled = sparse.coo_array(weights)
    return sparse.csr_matrix(
        keep + sparse.csr_array((filled.data, (inside[filled.row], edge[filled.col])), keep.shape)
    )


def _rim_edges(triangles: Triangles, is_outermost: Mask) -> tuple[Indices, Indices]:
    """(E, 2) edges of one triangle only, at the rim, and (F,) how many each triangle has."""
    edges = np.sort(triangles[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2), axis=1)
    edges, which, times = np.unique(edges, axis=0, return_inverse=True, return_counts=True)
    at_rim = (times == 1) & is_outermost[edges].all(axis=1)
    return edges[at_rim], at_rim[which.ravel()].reshape(-1, 3).sum(axis=1)


def _is_ear(triangles: Triangles, is_outermost: Mask) -> Mask:
    """(F,) True for corners that stick out; the smoothed rim would fold them."""
    _, count = _rim_edges(triangles, is_outermost)
    return count > 1


def _smoothed_rim(triangles: Triangles, is_outermost: Mask) -> sparse.csr_matrix:
    """(V, V) weights that smooth the line of the outermost vertices and keep the others."""
    count = len(is_outermost)
    rim, _ = _rim_edges(triangles, is_outermost)
    neighbours = sparse.coo_array(
        (np.ones(2 * len(rim)), (rim.ravel(), rim[:, ::-1].ravel())), (count, count)
    ).tocsr()
    moves = np.asarray(neighbours.sum(axis=1)).ravel() == 2
    step = sparse.diags_array(np.where(moves, 0.5, 1.0)) + 0.25 * (
        sparse.diags_array(moves.astype(float)) @ neighbours
    )
    smooth = sparse.eye_array(count, format="csr")
    for _ in range(RIM_ROUNDS):
        smooth = step @ smooth
    return sparse.csr_matrix(smooth)


def _is_outermost(mask: Mask) -> Mask:
    """(V,) of the vertices, those that touch what is outside, not merely a hole."""
    padded = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(padded, connectivity=4)
    outside = (labels == labels[0, 0]).astype(np.uint8)
    touches = cv2.dilate(outside, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    return np.asarray(touches[mask])
