"""Reads OBJ with the one texture its MTL names: our files whole, others as a triangle mesh.

Files that an OBJ names are looked for in its own folder and nowhere else.
"""

from __future__ import annotations

import re
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from face3d_cli.arrays import FloatArray, RgbImage
from face3d_cli.core.mesh import Mesh
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.frame import FileFrame, from_file, read_tag
from face3d_cli.io.image import read_photo

_MAX_INDEX = np.iinfo(np.int32).max


def load_obj(path: Path) -> Mesh:
    """Read an OBJ: vertices keep their order, polygons become fans, one texture at most.

    Where a vertex has several texture coordinates (a UV seam), the first one stays and the vertex
    is repeated at the end for each other one.

    Raises:
        UnreadableInput: broken numbers or indices, a missing MTL or texture, several textures, or
            names that lead out of the OBJ's folder.
    """
    text = path.read_text("utf-8", "replace").replace("\\\r\n", " ").replace("\\\n", " ")
    reader = _ObjReader(path)
    for line in text.split("\n"):
        reader.read_line(line)
    return reader.mesh()


class _ObjReader:
    """Collects the statements of one OBJ."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.frame: FileFrame | None = None
        self.positions: list[list[str]] = []
        self.uv: list[list[str]] = []
        self.polygons: list[list[tuple[int, int]]] = []  # (vertex, uv or -1) per corner
        self.libraries: list[str] = []
        self.materials: list[str] = []  # used, in order
        self.name = path.stem
        self._corners: dict[str, tuple[int, int]] = {}

    def read_line(self, line: str) -> None:
        keyword, _, rest = line.strip().replace("\t", " ").partition(" ")
        if keyword == "v":
            self.positions.append(rest.split())
        elif keyword == "vt":
            self.uv.append(rest.split())
        elif keyword == "f":
            self._read_polygon(rest)
        elif keyword == "mtllib":
            self.libraries.append(rest.strip())
        elif keyword == "usemtl" and rest.strip() not in self.materials:
            self.materials.append(rest.strip())
        elif keyword == "o" and rest.strip():
            self.name = rest.strip()
        elif keyword == "#" and self.frame is None:
            self.frame = read_tag(rest)

    def _read_polygon(self, rest: str) -> None:
        counts = len(self.positions), len(self.uv)
        polygon = []
        for token in rest.split("#")[0].split():
            # Negative indices count back from here, so they are never reused.
            corner = self._corners.get(token)
            if corner is None:
                corner = self._corner(token, *counts)
                if "-" not in token:
                    self._corners[token] = corner
            polygon.append(corner)
        if len(polygon) < 3:
            raise self._broken(f"a polygon of {len(polygon)} corners")
        self.polygons.append(polygon)

    def _corner(self, token: str, num_positions: int, num_uv: int) -> tuple[int, int]:
        parts = token.split("/")
        try:
            vertex = int(parts[0])
            uv = int(parts[1]) if len(parts) > 1 and parts[1] else 0
        except ValueError:
            raise self._broken(f"the corner {token[:40]!r}") from None
        vertex = vertex - 1 if vertex > 0 else num_positions + vertex
        has_uv = uv != 0
        uv = uv - 1 if uv > 0 else num_uv + uv if has_uv else 0
        if not 0 <= vertex <= _MAX_INDEX or int(parts[0]) == 0 or not 0 <= uv <= _MAX_INDEX:
            raise self._broken(f"the index {token[:40]!r}")
        return vertex, uv if has_uv else -1

    def mesh(self) -> Mesh:
        vertices, colors = self._vertices()
        uv_values = self._uv()
        corners = [
            corner
            for polygon in self.polygons
            for second, third in pairwise(polygon[1:])
            for corner in (polygon[0], second, third)
        ]
        if not corners:
            raise self._broken("no polygon", expected="an OBJ with polygons")
        pairs = np.array(corners, dtype=np.int64)  # (3F, 2)
        if pairs[:, 0].max() >= len(vertices) or pairs[:, 1].max() >= len(uv_values):
            raise self._broken("an index beyond the last vertex")
        corner_vertices, uv, source = _one_uv_per_vertex(pairs, len(vertices), uv_values)
        mesh = Mesh(
            vertices=vertices[source],
            triangles=corner_vertices.reshape(-1, 3).astype(np.int32),
            uv=uv,
            texture=self._texture() if uv is not None else None,
            vertex_colors=None if colors is None else colors[source],
            name=self.name,
        )
        return from_file(mesh, self.frame or FileFrame("m", "y"))

    def _vertices(self) -> tuple[FloatArray, RgbImage | None]:
        widths = {len(row) for row in self.positions}
        if not widths or min(widths) < 3:
            raise self._broken("vertices of fewer than three numbers", expected="x y z per vertex")
        if widths == {6} or widths == {7}:
            rows = self._numbers(self.positions)
            colors = np.clip(np.rint(rows[:, 3:6] * 255), 0, 255).astype(np.uint8)
            return rows[:, :3], colors
        return self._numbers([row[:3] for row in self.positions]), None

    def _uv(self) -> FloatArray:
        if not self.uv:
            return np.zeros((0, 2))
        if min(len(row) for row in self.uv) < 2:
            raise self._broken("a vt of fewer than two numbers")
        return self._numbers([row[:2] for row in self.uv])

    def _numbers(self, rows: list[list[str]]) -> FloatArray:
        try:
            values: FloatArray = np.array(rows, dtype=np.str_).astype(np.float64)
        except ValueError:
            raise self._broken("something else than numbers in v or vt") from None
        if not np.isfinite(values).all():
            raise self._broken("a number that is not finite")
        return values

    def _texture(self) -> RgbImage | None:
        pictures: dict[str, str] = {}
        for library in self.libraries:
            library_path = self._beside(library)
            pictures.update(_pictures_of(library_path.read_text("utf-8", "replace")))
        used = {pictures[name] for name in self.materials if name in pictures}
        if len(used) > 1:
            raise self._broken(f"{len(used)} textures", expected="one texture")
        return read_photo(self._beside(used.pop())) if used else None

    def _beside(self, name: str) -> Path:
        """Find a file the OBJ names, in the OBJ's folder and nowhere else."""
        folder = self.path.parent.resolve()
        try:
            for inside in (name, Path(name.replace("\\", "/")).name):
                candidate = (folder / inside).resolve()
                if candidate.is_relative_to(folder) and candidate.is_file():
                    return candidate
        except (OSError, ValueError):  # a name with NUL, or longer than the system allows
            pass
        raise UnreadableInput(
            f"{self.path.name} needs {name[:80]!r}, which is not in its folder",
            hint="put that file beside the OBJ",
        )

    def _broken(self, found: str, *, expected: str = "a valid OBJ") -> UnreadableInput:
        return UnreadableInput(f"{self.path.name}: expected {expected}, found {found}")


def _pictures_of(material_text: str) -> dict[str, str]:
    """Material name to the file of its `map_Kd`, options left out."""
    pictures: dict[str, str] = {}
    material = ""
    for line in material_text.split("\n"):
        keyword, _, rest = line.strip().replace("\t", " ").partition(" ")
        if keyword == "newmtl":
            material = rest.strip()
        elif keyword == "map_Kd":
            name = re.sub(r"^(-\w+(\s+(on|off|[-+]?[\d.]+))+\s+)*", "", rest.strip())
            pictures[material] = name.strip().strip('"')
    return pictures


def _one_uv_per_vertex(
    pairs: np.ndarray[Any, Any], num_vertices: int, uv_values: FloatArray
) -> tuple[np.ndarray[Any, Any], FloatArray | None, np.ndarray[Any, Any]]:
    """Give each vertex one UV, repeating it at the end for each further UV.

    Args:
        pairs: (C, 2) vertex and UV index per corner, UV -1 when absent.
        num_vertices: V.
        uv_values: (T, 2).

    Returns:
        (C,) vertex per corner, (V', 2) UV or None, (V',) original vertex of each vertex.
    """
    everyone = np.arange(num_vertices)
    if pairs[:, 1].max() < 0:
        return pairs[:, 0], None, everyone
    if len(uv_values) == num_vertices and (pairs[:, 0] == pairs[:, 1]).all():
        return pairs[:, 0], uv_values, everyone
    unique, where, inverse = np.unique(pairs, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(where, kind="stable")  # pairs in order of first use
    unique = unique[order]
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    _, first = np.unique(unique[:, 0], return_index=True)
    is_first = np.zeros(len(unique), dtype=bool)
    is_first[first] = True
    target = unique[:, 0].copy()
    target[~is_first] = num_vertices + np.arange((~is_first).sum())
    source = np.concatenate([everyone, unique[~is_first, 0]])
    uv = np.zeros((len(source), 2))
    has_uv = unique[:, 1] >= 0
    uv[target[has_uv]] = uv_values[unique[has_uv, 1]]
    return target[rank[inverse.ravel()]], uv, source
