"""Which vertices and triangles does the square of a position map give, and where do they lie?

A vertex for each texel of the surface. Holes, such as the eyes and the mouth, can be closed by
membranes, and the surface's rim, which texels make a staircase of, is smoothed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from scipy import sparse

from face3d_cli.arrays import Indices, Mask, Points2, Points3, Triangles
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
    from_texels: sparse.csr_array

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
    triangles, is_outermost = map_triangles(mask), _is_outermost(mask)
    triangles = triangles[~_is_ear(triangles, is_outermost)]
    used, corners = np.unique(triangles, return_inverse=True)  # single texels are in no quad
    triangles = corners.reshape(-1, 3).astype(np.int32)
    smooth = _smoothed_rim(triangles, is_outermost[used])
    texels = np.flatnonzero(mask)[used]
    return MapTopology(triangles, smooth @ texel_uv(mask)[used], smooth @ _membranes(texels, holes))


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


def _membranes(texels: Indices, holes: Mask) -> sparse.csr_array:
    """(V, T T) weights that take (V,) texels as they are, but those of holes, which are harmonic.

    A texel of a hole is the mean of its four neighbours (Laplace's equation, the hole's edge held).
    """
    size = len(holes)
    in_hole = holes.ravel()[texels]
    own, inside = np.flatnonzero(~in_hole), texels[in_hole]
    around = inside[:, None] + (-size, -1, 1, size)
    edge = np.setdiff1d(around, inside)
    number = np.full(size * size, -1)
    number[edge], number[inside] = np.arange(len(edge)), len(edge) + np.arange(len(inside))
    mean = np.zeros((len(inside), len(edge) + len(inside)))
    np.add.at(mean, (np.arange(len(inside))[:, None], number[around]), 0.25)
    weights = np.linalg.solve(np.eye(len(inside)) - mean[:, len(edge) :], mean[:, : len(edge)])
    rows = np.concatenate([own, np.repeat(np.flatnonzero(in_hole), len(edge))])
    columns = np.concatenate([texels[own], np.tile(edge, len(inside))])
    values = np.concatenate([np.ones(len(own)), weights.ravel()])
    seen = values > 1e-12  # other holes' edges
    return sparse.csr_array((values[seen], (rows[seen], columns[seen])), (len(texels), size * size))


def _rim_edges(triangles: Triangles, is_outermost: Mask) -> tuple[Indices, Indices]:
    """(E, 2) edges of one triangle only, at the rim, and (F,) how many each triangle has."""
    sides = np.sort(triangles[:, [[0, 1], [1, 2], [2, 0]]].astype(np.int64), axis=2)  # (F, 3, 2)
    near = np.argwhere(is_outermost[sides].all(axis=2))  # triangle and side
    edges, which, times = np.unique(
        sides[near[:, 0], near[:, 1]], axis=0, return_inverse=True, return_counts=True
    )
    is_open = times == 1
    count = np.bincount(near[is_open[which.ravel()], 0], minlength=len(triangles))
    return edges[is_open], count


def _is_ear(triangles: Triangles, is_outermost: Mask) -> Mask:
    """(F,) True for corners that stick out; the smoothed rim would fold them."""
    _, count = _rim_edges(triangles, is_outermost)
    return count > 1


def _smoothed_rim(triangles: Triangles, is_outermost: Mask) -> sparse.csr_array:
    """(V, V) weights that smooth the line of the outermost vertices and keep the others."""
    count = len(is_outermost)
    rim, edges = np.unique(_rim_edges(triangles, is_outermost)[0], return_inverse=True)
    start, end = edges.reshape(-1, 2).T
    joined = sparse.csr_array(
        (np.ones(2 * len(start)), (np.append(start, end), np.append(end, start))),
        (len(rim), len(rim)),
    )
    moves = joined.sum(axis=1) == 2
    step = sparse.diags_array(np.where(moves, 0.25, 0.0)) @ joined
    step = sparse.csr_array(step + sparse.diags_array(np.where(moves, 0.5, 1.0)))
    smooth = step
    for _ in range(RIM_ROUNDS - 1):
        smooth = step @ smooth
    found = sparse.coo_array(smooth)
    kept = np.setdiff1d(np.arange(count), rim)
    rows, columns = (np.append(kept, rim[index]) for index in (found.row, found.col))
    values = np.append(np.ones(len(kept)), found.data)
    return sparse.csr_array((values, (rows, columns)), (count, count))


def _is_outermost(mask: Mask) -> Mask:
    """(V,) of the vertices, those that touch what is outside, not merely a hole."""
    padded = np.pad(~mask, 1, constant_values=True).astype(np.uint8)
    _, labels = cv2.connectedComponents(padded, connectivity=4)
    outside = (labels == labels[0, 0]).astype(np.uint8)
    touches = cv2.dilate(outside, np.ones((3, 3), np.uint8))[1:-1, 1:-1] > 0
    return np.asarray(touches[mask])
