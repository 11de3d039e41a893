"""What is a mesh here: the one type that stages hand on and writers take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray, Points2, Points3, RgbImage, Triangles, check_shape
from face3d_cli.settings import Unit

METRES_PER_UNIT: dict[Unit, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}


_GREY = np.full((4, 4, 3), 184, np.uint8)  # of what has no texture beside what has one


@dataclass(frozen=True)
class TextureTile:
    """Some triangles of a mesh and their own texture.

    Attributes:
        name: the UDIM tile's number, 1001 and on.
        triangles: (F',) indices into the mesh's triangles.
        uv: (V, 2) of the mesh's vertices, from the bottom-left corner of their own tile.
        texture: (T, T, 3) sRGB.
        segmentation: (S, S, 3) the classes' colours, or None.
    """

    name: str
    triangles: npt.NDArray[np.int64]
    uv: Points2
    texture: RgbImage
    segmentation: RgbImage | None = None


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
        weights: how far each blendshape is on to begin with, by name; 0 where it is not named.
        weld: (V,) vertices of the same number are one point with several UVs, and share a normal;
            None where each is its own.
        pivot: (3,) the point about which the object turns, an eye's centre; None is the origin.
        segmentation: (S, S, 3) a second picture on the same UVs: the colour of each texel's class
            (`core/segmentation_classes.py`), or None.
        tiles: a texture for each UDIM tile, which GLB files then hold instead of `texture`; every
            triangle is in one of them. Empty where one texture is enough.
    """

    vertices: Points3
    triangles: Triangles
    uv: Points2 | None = None
    texture: RgbImage | None = None
    vertex_colors: RgbImage | None = None
    blendshapes: dict[str, Points3] = field(default_factory=dict)
    unit: Unit = "m"
    name: str = "face"
    weights: dict[str, float] = field(default_factory=dict)
    weld: npt.NDArray[np.int64] | None = None
    pivot: FloatArray | None = None
    segmentation: RgbImage | None = None
    tiles: tuple[TextureTile, ...] = ()

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
            pivot=None if self.pivot is None else self.pivot * factor,
            unit=unit,
        )

    def posed(self) -> Mesh:
        """The mesh with its blendshapes as far on as `weights` says, for formats without them."""
        moved = self.vertices
        for name, weight in self.weights.items():
            if weight:
                moved = moved + weight * self.blendshapes[name]
        return self if moved is self.vertices else replace(self, vertices=moved, weights={})

    def normals(self) -> FloatArray:
        """(V, 3) unit normals, alike where vertices are one point."""
        return welded_normals(self.vertices, self.triangles, self.weld)


def welded_normals(
    vertices: Points3, triangles: Triangles, weld: npt.NDArray[np.int64] | None
) -> FloatArray:
    """(V, 3) unit normals as `vertex_normals`, taken over all vertices of the same number."""
    if weld is None:
        return vertex_normals(vertices, triangles)
    points = np.zeros((int(weld.max()) + 1, 3))
    points[weld] = vertices
    return vertex_normals(points, weld[triangles].astype(np.int32))[weld]


def merged(meshes: Sequence[Mesh]) -> Mesh:
    """One mesh of several that share a unit and a texture, for formats that hold one object.

    Blendshapes are joined by name; a mesh that lacks one does not move.
    """
    first = meshes[0]
    starts = np.cumsum([0, *(len(mesh.vertices) for mesh in meshes)])
    names = list(dict.fromkeys(name for mesh in meshes for name in mesh.blendshapes))
    welds = [np.arange(len(m.vertices)) if m.weld is None else m.weld for m in meshes]
    weld_starts = np.cumsum([0, *(int(weld.max()) + 1 for weld in welds)])
    return replace(
        first,
        vertices=np.concatenate([mesh.vertices for mesh in meshes]),
        triangles=np.concatenate(
            [m.triangles + start for m, start in zip(meshes, starts, strict=False)]
        ).astype(np.int32),
        uv=None
        if any(mesh.uv is None for mesh in meshes)
        else np.concatenate([mesh.uv for mesh in meshes if mesh.uv is not None]),
        blendshapes={
            name: np.concatenate(
                [m.blendshapes.get(name, np.zeros_like(m.vertices)) for m in meshes]
            )
            for name in names
        },
        vertex_colors=None
        if any(mesh.vertex_colors is None for mesh in meshes)
        else np.concatenate([m.vertex_colors for m in meshes if m.vertex_colors is not None]),
        weights={name: weight for mesh in meshes for name, weight in mesh.weights.items()},
        weld=np.concatenate(
            [weld + start for weld, start in zip(welds, weld_starts, strict=False)]
        ),
        pivot=None,
        segmentation=None,
        tiles=(),
    )


def with_one_texture(meshes: Sequence[Mesh]) -> list[Mesh]:
    """The same meshes, whose pictures stand side by side in one: each in a cell of a grid.

    Cells have the side of the largest picture. A mesh without a texture gets a grey one.
    """
    pictures: dict[int, RgbImage] = {}
    for mesh in meshes:
        picture = mesh.texture if mesh.texture is not None else _GREY
        pictures.setdefault(id(picture), picture)
    if len(pictures) == 1 or any(mesh.uv is None for mesh in meshes):
        return list(meshes)
    side = max(max(picture.shape[:2]) for picture in pictures.values())
    columns = int(np.ceil(np.sqrt(len(pictures))))
    whole = np.zeros((columns * side, columns * side, 3), np.uint8)
    place_of: dict[int, tuple[int, int]] = {}
    for number, (key, picture) in enumerate(pictures.items()):
        row, column = divmod(number, columns)
        rows = np.arange(side) * picture.shape[0] // side
        across = np.arange(side) * picture.shape[1] // side
        cell = picture[rows][:, across]
        whole[row * side : (row + 1) * side, column * side : (column + 1) * side] = cell
        place_of[key] = column, columns - 1 - row
    moved = []
    for mesh in meshes:
        assert mesh.uv is not None
        picture = mesh.texture if mesh.texture is not None else _GREY
        # Half a texel inside the cell: its neighbour must not shine through.
        inside = np.clip(mesh.uv, 0.5 / side, 1.0 - 0.5 / side)
        moved.append(replace(mesh, uv=(inside + place_of[id(picture)]) / columns, texture=whole))
    return moved


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
