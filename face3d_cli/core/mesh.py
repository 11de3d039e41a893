"""What is a mesh here: the one type that stages hand on and writers take."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np

from face3d_cli.arrays import FloatArray, Points2, Points3, RgbImage, Triangles, check_shape
from face3d_cli.settings import Unit

METRES_PER_UNIT: dict[Unit, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}


@dataclass(frozen=True)
class Mesh:
    """A triangle mesh with one UV per vertex, an optional texture and named blendshapes.

    Attributes:
        vertices: (V, 3) positions in `unit`. Every mesh that leaves the tool is in the head frame:
            right-handed, +Y up, +Z out of the face, +X to the subject's left, origin between the
            eyes.
        triangles: (F, 3) vertex indices, counter-clockwise seen from outside.
        uv: (V, 2) texture coordinates, origin bottom-left, or None.
        texture: (T, T, 3) sRGB image, or None.
        vertex_colors: (V, 3) sRGB uint8, or None.
        blendshapes: name to (V, 3) displacement in `unit`.
        unit: length of one unit of the vertices.
        name: what Blender calls the object.
    """

    vertices: Points3
    triangles: Triangles
    uv: Points2 | None = None
    texture: RgbImage | None = None
    vertex_colors: RgbImage | None = None
    blendshapes: dict[str, Points3] = field(default_factory=dict)
    unit: Unit = "m"
    name: str = "face"

    def __post_init__(self) -> None:
        check_shape(self.vertices, (None, 3), "vertices")
        check_shape(self.triangles, (None, 3), "triangles")
        if self.uv is not None:
            check_shape(self.uv, (len(self.vertices), 2), "uv")
        if self.vertex_colors is not None:
            check_shape(self.vertex_colors, (len(self.vertices), 3), "vertex_colors")
        for name, displacement in self.blendshapes.items():
            check_shape(displacement, (len(self.vertices), 3), f"blendshape {name}")

    def in_unit(self, unit: Unit) -> Mesh:
        """Return the same mesh with its lengths in another unit."""
        factor = METRES_PER_UNIT[self.unit] / METRES_PER_UNIT[unit]
        if factor == 1.0:
            return self
        return replace(
            self,
            vertices=self.vertices * factor,
            blendshapes={name: delta * factor for name, delta in self.blendshapes.items()},
            unit=unit,
        )


def triangle_normals(vertices: Points3, triangles: Triangles) -> FloatArray:
    """(F, 3) normals whose length is twice the triangle's area; zero for a degenerate triangle."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    normals: FloatArray = np.cross(b - a, c - a)
    return normals


def vertex_normals(vertices: Points3, triangles: Triangles) -> FloatArray:
    """(V, 3) unit normals, area-weighted over the triangles around each vertex.

    A vertex without a triangle of non-zero area gets (0, 0, 1): writers never see a zero normal.
    """
    weighted = triangle_normals(vertices, triangles)
    flat = triangles.ravel()
    sums = np.stack(
        [np.bincount(flat, np.repeat(weighted[:, axis], 3), len(vertices)) for axis in range(3)],
        axis=1,
    )
    lengths = np.linalg.norm(sums, axis=1, keepdims=True)
    normals: FloatArray = np.where(
        lengths > 1e-20, sums / np.maximum(lengths, 1e-20), (0.0, 0.0, 1.0)
    )
    return normals
