"""Which surface closes the slit in a mesh? Rows of quads from one lip to the other."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from face3d_cli.arrays import FloatArray, Points2, Points3, Triangles

ROWS = 3  # of new vertices between the lips
UV_HALF_HEIGHT = 0.012  # to which the slit is opened in the middle of its texture
UV_REACH = 0.04  # from the slit, over which the texture's layout gives way


@dataclass(frozen=True)
class ClosedMesh:
    """A mesh without its slit; the vertices from before come first and keep their index.

    Attributes:
        vertices: (V + N, 3).
        triangles: (F + M, 3).
        uv: (V + N, 2).
    """

    vertices: Points3
    triangles: Triangles
    uv: Points2


def boundary_loops(triangles: Triangles) -> list[list[int]]:
    """Vertices around each hole, along the triangles' edges; the longest loop first."""
    edges = np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])
    directed = set(map(tuple, edges.tolist()))
    following = {start: end for start, end in directed if (end, start) not in directed}
    loops = []
    while following:
        loop = [min(following)]
        while (at := following.pop(loop[-1])) != loop[0]:
            loop.append(at)
        loops.append(loop)
    return sorted(loops, key=len, reverse=True)


def close_slit(
    vertices: Points3, triangles: Triangles, uv: Points2, rows: int = ROWS
) -> ClosedMesh:
    """Close the only hole that is not the mesh's border, and make room for it in the texture.

    The hole's loop is cut at its two corners (farthest apart in the texture) into two lips of
    equally many vertices; between each pair of them `rows` vertices are laid on a straight line.
    In the texture the lips are moved apart, and their neighbourhood gives way.

    Args:
        vertices: (V, 3), the slit open or closed.
        triangles: (F, 3).
        uv: (V, 2), with the slit along u.
        rows: of new vertices, at least one.

    Returns:
        The closed mesh; without such a hole, the mesh as it is.

    Raises:
        ValueError: there are several holes, or its lips do not pair.
    """
    loops = boundary_loops(triangles)
    if len(loops) < 2:
        return ClosedMesh(vertices, triangles, uv)
    if len(loops) > 2 or len(loops[1]) % 2:
        raise ValueError("expected one hole of an even number of vertices besides the border")
    loop = np.array(loops[1])
    first = int(uv[loop, 0].argmin())
    loop = np.roll(loop, -first)
    half = len(loop) // 2
    one, other = loop[1:half], loop[:half:-1]  # from the first corner to the second
    opened = _opened_uv(uv, loop, one, other)
    share = np.arange(1, rows + 1)[:, None, None] / (rows + 1)
    between = _rows_between(vertices, one, other, share)
    texture = _rows_between(opened, one, other, share)
    numbers = len(vertices) + np.arange(rows * len(one)).reshape(rows, len(one))
    grid = np.concatenate([one[None], numbers, other[None]])  # (rows + 2, N), one lip to the other
    a, b = grid[:-1, :-1].ravel(), grid[:-1, 1:].ravel()
    c, d = grid[1:, :-1].ravel(), grid[1:, 1:].ravel()
    ends = []
    for column, corner, turn in ((grid[:, 0], loop[0], 1), (grid[:, -1], loop[half], -1)):
        fan = np.stack([column[:-1], np.full(rows + 1, corner), column[1:]], axis=1)
        ends.append(fan[:, ::turn])
    # The loop runs along the mesh's edges; the patch runs against it.
    patch = np.concatenate([np.stack([b, a, c], 1), np.stack([b, c, d], 1), *ends])
    closed = np.concatenate([triangles, patch.astype(triangles.dtype)])
    return ClosedMesh(
        np.concatenate([vertices, between]), closed, np.concatenate([opened, texture])
    )


def _rows_between(
    values: FloatArray, one: FloatArray, other: FloatArray, share: FloatArray
) -> FloatArray:
    """(rows * N, C) values on the straight lines from one lip to the other, row by row."""
    rows: FloatArray = values[one] + share * (values[other] - values[one])
    return rows.reshape(-1, values.shape[1])


def _opened_uv(uv: Points2, loop: FloatArray, one: FloatArray, other: FloatArray) -> Points2:
    """The texture's layout with the slit opened: widest in its middle, closed at its corners."""
    u, v = uv.T
    left, right = uv[loop, 0].min(), uv[loop, 0].max()
    along = np.clip((u - left) / (right - left), 0, 1)
    middle = uv[loop, 1].mean()
    side = np.sign(v - middle)
    upper, lower = (one, other) if uv[one, 1].mean() > uv[other, 1].mean() else (other, one)
    side[upper], side[lower] = 1.0, -1.0
    opening = UV_HALF_HEIGHT * np.sqrt(4 * along * (1 - along))
    moved = uv.copy()
    moved[:, 1] += side * opening * np.exp(-np.abs(v - middle) / UV_REACH)
    return moved
