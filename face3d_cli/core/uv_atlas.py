"""Where each texel of a fixed topology lies on the mesh; worked out once for each size."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from scipy import sparse
from scipy.spatial import cKDTree

from face3d_cli.arrays import FloatArray, Mask, Points2, Triangles
from face3d_cli.core.raster import Raster, rasterize


@dataclass(frozen=True, eq=False)
class UvAtlas:
    """The UV square of one topology, at one size.

    Attributes:
        uv: (V, 2), origin bottom-left.
        triangles: (F, 3).
        size_px: side of the square in texels.
    """

    uv: Points2
    triangles: Triangles
    size_px: int

    @cached_property
    def raster(self) -> Raster:
        """The triangle of each texel; rows run from the top of the square (v = 1)."""
        texels = np.column_stack([self.uv[:, 0], 1.0 - self.uv[:, 1]]) * self.size_px - 0.5
        return rasterize(texels, self.triangles, (self.size_px, self.size_px))

    @property
    def is_inside(self) -> Mask:
        """(T, T) True where the texel lies on the mesh."""
        return self.raster.is_covered

    @cached_property
    def _texel_from_vertex(self) -> sparse.csr_matrix:
        """(T T, V) weights; a texel off the mesh has those of the nearest texel on it."""
        off = (~self.is_inside).astype(np.uint8)
        _, labels = cv2.distanceTransformWithLabels(
            off, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL
        )
        owner_of_label = np.zeros(labels.max() + 1, np.int64)
        flat = np.flatnonzero(off == 0)
        owner_of_label[labels.ravel()[flat]] = flat
        nearest = owner_of_label[labels.ravel()]
        corners = self.triangles[self.raster.triangle_id.ravel()[nearest]]  # (T T, 3)
        weights = self.raster.barycentrics.reshape(-1, 3)[nearest]
        rows = np.arange(0, 3 * len(nearest) + 1, 3, dtype=np.int32)
        shape = (len(nearest), len(self.uv))
        return sparse.csr_matrix((weights.ravel(), corners.ravel().astype(np.int32), rows), shape)

    def bake(self, attributes: FloatArray) -> FloatArray:
        """(T, T, C) float32 vertex attributes at every texel, continued beyond the mesh's edge."""
        dense = np.ascontiguousarray(attributes, np.float32)
        baked: FloatArray = self._texel_from_vertex @ dense
        return baked.reshape(self.size_px, self.size_px, -1)

    @cached_property
    def is_mirror_symmetric(self) -> bool:
        """Whether the layout maps onto itself under u -> 1 - u."""
        flipped = self.uv * (-1.0, 1.0) + (1.0, 0.0)
        away, _ = cKDTree(self.uv).query(flipped)
        return bool(away.max() < 0.5 / self.size_px)
