"""Which point of a triangle mesh's surface is nearest to a given point?"""

from __future__ import annotations

from itertools import chain

import numpy as np
from scipy.spatial import cKDTree

from face3d_cli.arrays import FloatArray, Indices, Points3, Triangles, check_shape
from face3d_cli.errors import ShapeError

NUM_CLASSES = 4


class Surface:
    """A mesh prepared for closest-point queries; the answers are exact."""

    def __init__(self, vertices: Points3, triangles: Triangles) -> None:
        """Prepare (V, 3) vertices and (F, 3) triangles.

        Raises:
            ShapeError: arrays of another shape, or no triangle.
        """
        check_shape(vertices, (None, 3), "vertices")
        check_shape(triangles, (None, 3), "triangles")
        if not len(triangles):
            raise ShapeError("a surface needs at least one triangle")
        corners = np.asarray(vertices, np.float64)[triangles]  # (F, 3, 3)
        centres = corners.mean(axis=1)
        self._reach = np.linalg.norm(corners - centres[:, None], axis=2).max(axis=1)  # (F,)
        self._tree = cKDTree(centres)
        # Triangles of like reach share a tree: small ones need only be looked for nearby.
        self._classes = [
            (members, cKDTree(centres[members]), self._reach[members].max())
            for members in np.array_split(self._reach.argsort(), NUM_CLASSES)
            if len(members)
        ]
        self._corner = corners[:, 0]
        self._sides = corners[:, 1:] - corners[:, :1]  # (F, 2, 3) from the first corner
        self._gram = self._sides @ self._sides.transpose(0, 2, 1)  # (F, 2, 2)

    def closest(self, points: Points3) -> tuple[Points3, FloatArray]:
        """Return (N, 3) nearest points of the surface, and their (N,) distances.

        The triangle with the nearest centre bounds the distance. A triangle lies within its reach
        around its centre, so only those count whose centre is within that bound plus their reach.
        """
        check_shape(points, (None, 3), "points")
        points = np.asarray(points, np.float64)
        if not len(points):
            return np.empty((0, 3)), np.empty(0)
        away, first = self._tree.query(points)
        squared, _ = self._squared_distances(points, first)
        bound = np.sqrt(squared.clip(0)) * (1 + 1e-9) + 1e-9 * (away + self._reach[first])
        rows, candidates = self._within(points, bound)
        offsets = points[rows] - self._tree.data[candidates]
        reachable = bound[rows] + self._reach[candidates]
        near = (offsets**2).sum(axis=1) <= reachable**2
        order = np.flatnonzero(near)[rows[near].argsort(kind="stable")]
        rows, candidates = rows[order], candidates[order]
        squared, shares = self._squared_distances(points[rows], candidates)
        starts = np.searchsorted(rows, np.arange(len(points)))
        least = np.minimum.reduceat(squared, starts)
        ties = np.flatnonzero(squared == least[rows])
        best = ties[np.searchsorted(rows[ties], np.arange(len(points)))]
        winners = candidates[best]
        nearest: Points3 = self._corner[winners] + np.einsum(
            "nk,nkc->nc", shares[best], self._sides[winners]
        )
        return nearest, np.linalg.norm(points - nearest, axis=1)

    def _within(self, points: Points3, bound: FloatArray) -> tuple[Indices, Indices]:
        """Pairs of a point and a triangle that may lie within the point's bound."""
        rows, candidates = [], []
        for members, tree, reach in self._classes:
            balls = tree.query_ball_point(points, bound + reach, return_sorted=False)
            lengths = np.fromiter(map(len, balls), np.int64, len(balls))
            inside = np.fromiter(chain.from_iterable(balls), np.int64, int(lengths.sum()))
            rows.append(np.repeat(np.arange(len(points)), lengths))
            candidates.append(members[inside])
        return np.concatenate(rows), np.concatenate(candidates)

    def _squared_distances(
        self, points: Points3, triangles: Indices
    ) -> tuple[FloatArray, FloatArray]:
        """Squared distance of point i to triangle i, and its nearest point as (N, 2) shares.

        The shares are those of the two sides from the first corner. The foot of the perpendicular
        counts where it falls inside, else the best of the three edges; a degenerate triangle is its
        edges. Source: Ericson 2005, "Real-Time Collision Detection", section 5.1.5.
        """
        from_corner = points - self._corner[triangles]
        sides, gram = self._sides[triangles], self._gram[triangles]
        along_0 = (from_corner * sides[:, 0]).sum(axis=1)
        along_1 = (from_corner * sides[:, 1]).sum(axis=1)
        g00, g01, g11 = gram[:, 0, 0], gram[:, 0, 1], gram[:, 1, 1]

        def clipped_share(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
            safe = np.where(denominator > 0, denominator, 1.0)
            share: FloatArray = np.clip(numerator / safe, 0.0, 1.0)
            return share

        on_0 = clipped_share(along_0, g00)
        on_1 = clipped_share(along_1, g11)
        on_2 = clipped_share(along_1 - along_0 - g01 + g00, g00 - 2 * g01 + g11)
        share_0 = np.stack([on_0, np.zeros_like(on_0), 1 - on_2])
        share_1 = np.stack([np.zeros_like(on_1), on_1, on_2])
        area = g00 * g11 - g01**2
        safe = np.where(area > 0, area, 1.0)
        inner_0 = (g11 * along_0 - g01 * along_1) / safe
        inner_1 = (g00 * along_1 - g01 * along_0) / safe
        inside = (area > 0) & (inner_0 >= 0) & (inner_1 >= 0) & (inner_0 + inner_1 <= 1)
        # |d - a s0 - b s1|^2 for the three edges; inside, the perpendicular is the shortest.
        squared = (
            (from_corner**2).sum(axis=1)
            - 2 * (share_0 * along_0 + share_1 * along_1)
            + share_0**2 * g00
            + 2 * share_0 * share_1 * g01
            + share_1**2 * g11
        )
        edge = squared.argmin(axis=0)
        each = np.arange(len(points))
        shares = np.stack(
            [
                np.where(inside, inner_0, share_0[edge, each]),
                np.where(inside, inner_1, share_1[edge, each]),
            ],
            axis=1,
        )
        perpendicular = (from_corner**2).sum(axis=1) - inner_0 * along_0 - inner_1 * along_1
        return np.where(inside, perpendicular, squared[edge, each]), shares
