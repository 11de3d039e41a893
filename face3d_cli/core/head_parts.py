"""What of ICT-FaceKit's head is exported, as which objects, and where it lies in the one texture.

Left out is what only means something to a film renderer's shaders: tear fluid, the shadow and blend
meshes around the eyes, lashes, and the iris that lies behind the closed front of the eyeball.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray, Points2, Triangles
from face3d_cli.core.ict_topology import PARTS


@dataclass(frozen=True)
class Region:
    """A square of the texture: left and bottom edge and side, in fractions of the texture."""

    left: float
    bottom: float
    side: float


# The texture has its origin at the bottom left. The face has half of it; what photos do not show
# has little.
REGIONS: dict[str, Region] = {
    "face": Region(0.0, 0.28, 0.72),
    "skull": Region(0.72, 0.72, 0.28),
    "gums": Region(0.72, 0.44, 0.28),
    "teeth": Region(0.72, 0.16, 0.28),
    "eye": Region(0.44, 0.0, 0.28),
}
REGION_OF_PART: dict[str, str] = {
    "face": "face",
    "head_neck": "skull",
    "mouth_socket": "skull",
    "eye_socket_left": "skull",
    "eye_socket_right": "skull",
    "gums_tongue": "gums",
    "teeth": "teeth",
    "sclera_left": "eye",
    "sclera_right": "eye",
}
OBJECTS: dict[str, tuple[str, ...]] = {
    "head": tuple(part for part in REGION_OF_PART if not part.startswith("sclera")),
    "eye_left": ("sclera_left",),
    "eye_right": ("sclera_right",),
}


@dataclass(frozen=True, eq=False)
class HeadObject:
    """One exported object: a corner for each pair of a vertex and a texture coordinate.

    Attributes:
        name: head, eye_left or eye_right.
        vertex_of_corner: (N,) the model's vertex.
        uv: (N, 2) in the one texture, origin bottom-left.
        tile_uv: (N, 2) in the corner's own region, 0..1.
        part_of_triangle: (F,) index into `OBJECTS[name]`.
        triangles: (F, 3) of corners.
    """

    name: str
    vertex_of_corner: npt.NDArray[np.int64]
    uv: Points2
    tile_uv: Points2
    part_of_triangle: npt.NDArray[np.int64]
    triangles: Triangles

    @cached_property
    def weld(self) -> npt.NDArray[np.int64]:
        """(N,) corners of one vertex have one number."""
        return np.unique(self.vertex_of_corner, return_inverse=True)[1].ravel()

    def triangles_of(self, *parts: str) -> Triangles:
        """(F', 3) of some parts."""
        wanted = [OBJECTS[self.name].index(part) for part in parts]
        return self.triangles[np.isin(self.part_of_triangle, wanted)]


def head_objects(
    triangles: Triangles,
    triangle_uv: Triangles,
    polygon_of_triangle: npt.NDArray[np.int64],
    uv: FloatArray,
) -> dict[str, HeadObject]:
    """Cut the model's mesh into objects.

    Args:
        triangles: (F, 3) vertices.
        triangle_uv: (F, 3) the same corners' indices into `uv`.
        polygon_of_triangle: (F,).
        uv: (T, 2) UDIM coordinates.
    """
    objects = {}
    for name, parts in OBJECTS.items():
        rows, owners = [], []
        for number, part in enumerate(parts):
            polygons = PARTS[part].polygons
            (inside,) = np.nonzero(
                (polygon_of_triangle >= polygons.start) & (polygon_of_triangle < polygons.stop)
            )
            rows.append(inside)
            owners.append(np.full(len(inside), number))
        row, owner = np.concatenate(rows), np.concatenate(owners)
        # A texture coordinate belongs to one tile, and so to one region.
        pairs = np.stack([triangles[row], triangle_uv[row]], axis=-1).reshape(-1, 2)
        corners, corner_of = np.unique(pairs, axis=0, return_inverse=True)
        corner_of = corner_of.reshape(-1, 3)
        tile_uv = uv[corners[:, 1]].astype(np.float64)
        tile_uv[:, 0] -= np.floor(tile_uv[:, 0])
        atlas_uv = np.empty_like(tile_uv)
        for number, part in enumerate(parts):
            region = REGIONS[REGION_OF_PART[part]]
            own = np.unique(corner_of[owner == number])
            atlas_uv[own] = (region.left, region.bottom) + region.side * tile_uv[own]
        objects[name] = HeadObject(
            name=name,
            vertex_of_corner=corners[:, 0].astype(np.int64),
            uv=atlas_uv,
            tile_uv=tile_uv,
            part_of_triangle=owner,
            triangles=corner_of.astype(np.int32),
        )
    return objects
