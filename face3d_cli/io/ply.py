"""PLY: binary little endian with normals, vertex colours and `s t`; every kind is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray, Points2, RgbImage
from face3d_cli.core.mesh import Mesh
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.atomic import atomic_path
from face3d_cli.io.frame import FileFrame, from_file, read_tag, to_file

_TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4",
    "float": "f4", "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2",
    "int32": "i4", "uint32": "u4", "float32": "f4", "float64": "f8",
}  # fmt: skip
_BYTE_ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">", "ascii": "="}
_TRIANGLE = np.dtype([("count", "u1"), ("corners", "<i4", 3)])
_MAX_HEADER_BYTES = 65536


def save_ply(
    mesh: Mesh, path: Path, *, frame: FileFrame, comments: tuple[str, ...] = ()
) -> list[Path]:
    """Write a binary PLY. It has no texture: without vertex colours the texture gives them.

    Args:
        mesh: in the head frame.
        path: the PLY file.
        frame: unit and up axis of the file.
        comments: header lines, such as the licence.

    Returns:
        The one file written.
    """
    mesh = to_file(mesh, frame)
    columns: list[tuple[str, npt.NDArray[np.generic]]] = [
        (name, values.astype("<f4"))
        for names, rows in (
            (("x", "y", "z"), mesh.vertices),
            (("nx", "ny", "nz"), mesh.normals()),
            (("s", "t"), mesh.uv),
        )
        if rows is not None
        for name, values in zip(names, rows.T, strict=True)
    ]
    colors = mesh.vertex_colors
    if colors is None and mesh.texture is not None and mesh.uv is not None:
        colors = colors_from_texture(mesh.uv, mesh.texture)
    if colors is not None:
        columns += zip(("red", "green", "blue"), colors.astype(np.uint8).T, strict=True)
    vertices = np.zeros(len(mesh.vertices), [(name, values.dtype) for name, values in columns])
    for name, values in columns:
        vertices[name] = values
    triangles = np.zeros(len(mesh.triangles), _TRIANGLE)
    triangles["count"] = 3
    triangles["corners"] = mesh.triangles
    header = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {' '.join(line.split())}" for line in (frame.tag(), *comments)),
        f"element vertex {len(vertices)}",
        *(
            f"property {'uchar' if values.dtype == np.uint8 else 'float'} {name}"
            for name, values in columns
        ),
        f"element face {len(triangles)}",
        "property list uchar int vertex_indices",
        "end_header",
    ]
    with atomic_path(path) as unfinished, unfinished.open("wb") as file:
        file.write(("\n".join(header) + "\n").encode("ascii", "replace"))
        file.write(vertices.tobytes())
        file.write(triangles.tobytes())
    return [path]


def colors_from_texture(uv: Points2, texture: RgbImage) -> RgbImage:
    """Sample a texture bilinearly at each UV (origin bottom-left), clamped at its border.

    Texel (0, 0) is the top-left one; its centre lies at u = 0.5 / width, v = 1 - 0.5 / height.

    Returns:
        (V, 3) sRGB uint8.
    """
    height, width = texture.shape[:2]
    x = np.clip(uv[:, 0] * width - 0.5, 0, width - 1)
    y = np.clip((1 - uv[:, 1]) * height - 0.5, 0, height - 1)
    x0, y0 = np.floor(x).astype(np.intp), np.floor(y).astype(np.intp)
    x1, y1 = np.minimum(x0 + 1, width - 1), np.minimum(y0 + 1, height - 1)
    wx, wy = (x - x0)[:, None], (y - y0)[:, None]
    upper = texture[y0, x0] * (1 - wx) + texture[y0, x1] * wx
    lower = texture[y1, x0] * (1 - wx) + texture[y1, x1] * wx
    colors: RgbImage = np.rint(upper * (1 - wy) + lower * wy).astype(np.uint8)
    return colors


@dataclass
class _Element:
    """One `element` of a PLY header: its name, length and properties in order."""

    name: str
    length: int
    scalars: list[tuple[str, str]] = field(default_factory=list)  # name, numpy type
    lists: list[tuple[str, str, str]] = field(default_factory=list)  # name, type of count, of item


def load_ply(path: Path) -> Mesh:
    """Read a PLY: vertices keep their order, polygons become fans.

    Colours may be uchar or float in 0..1; UV may be called `s t`, `u v` or `texture_u texture_v`.

    Raises:
        UnreadableInput: broken header, declared counts that the file does not hold, broken indices.
    """
    return _PlyReader(path).mesh()


class _PlyReader:
    """Reads the header first, then each element from the bytes behind it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.data = path.read_bytes()
        self.frame: FileFrame | None = None
        self.byte_order = ""
        self.elements: list[_Element] = []
        self.position = self._read_header()
        self.numbers: FloatArray | None = None
        if self.byte_order == "=":
            self.numbers = self._text_numbers()
            self.position = 0

    def mesh(self) -> Mesh:
        vertices: dict[str, npt.NDArray[np.generic]] = {}
        triangles = np.zeros((0, 3), np.int64)
        for element in self.elements:
            if element.name == "face":
                triangles = self._read_polygons(element)
            else:
                columns = self._read_table(element)
                if element.name == "vertex":
                    vertices = columns
        if not {"x", "y", "z"} <= vertices.keys():
            raise self._broken("no x y z")
        points = np.stack([vertices[axis].astype(np.float64) for axis in "xyz"], axis=1)
        if not np.isfinite(points).all():
            raise self._broken("a coordinate that is not finite")
        if not len(triangles):
            raise self._broken("no polygon")
        if triangles.min() < 0 or triangles.max() >= len(points):
            raise self._broken("an index beyond the last vertex")
        mesh = Mesh(
            vertices=points,
            triangles=triangles.astype(np.int32),
            uv=self._uv(vertices),
            vertex_colors=self._colors(vertices),
            name=self.path.stem,
        )
        return from_file(mesh, self.frame or FileFrame("m", "y"))

    def _uv(self, columns: dict[str, npt.NDArray[np.generic]]) -> Points2 | None:
        for names in (("s", "t"), ("u", "v"), ("texture_u", "texture_v")):
            if set(names) <= columns.keys():
                uv = np.stack([columns[name].astype(np.float64) for name in names], axis=1)
                if not np.isfinite(uv).all():
                    raise self._broken("a texture coordinate that is not finite")
                return uv
        return None

    def _colors(self, columns: dict[str, npt.NDArray[np.generic]]) -> RgbImage | None:
        names = ("red", "green", "blue")
        if not set(names) <= columns.keys():
            return None
        colors = np.stack([columns[name] for name in names], axis=1)
        if colors.dtype.kind == "f" and self.numbers is None:
            colors = np.rint(np.nan_to_num(colors) * 255)
        return np.clip(colors, 0, 255).astype(np.uint8)

    def _read_header(self) -> int:
        """Fill frame, byte order and elements; return where the data begins."""
        end = self.data.find(b"end_header", 0, _MAX_HEADER_BYTES)
        line_end = self.data.find(b"\n", end, end + 16)
        if not self.data.startswith(b"ply") or end < 0 or line_end < 0:
            raise self._broken("no PLY header")
        for line in self.data[:end].decode("ascii", "replace").splitlines()[1:]:
            words = line.split()
            try:
                self._read_header_line(words)
            except (ValueError, KeyError, IndexError):
                raise self._broken(f"the header line {line[:60]!r}") from None
        if not self.byte_order:
            raise self._broken("no format line")
        return line_end + 1

    def _read_header_line(self, words: list[str]) -> None:
        if words[:1] == ["format"]:
            self.byte_order = _BYTE_ORDERS[words[1]]
        elif words[:1] == ["comment"] and self.frame is None:
            self.frame = read_tag(" ".join(words[1:]))
        elif words[:1] == ["element"]:
            length = int(words[2])
            if not 0 <= length <= len(self.data):  # each row takes a byte or more
                raise self._broken(f"{length} rows declared in {len(self.data)} bytes")
            self.elements.append(_Element(words[1], length))
        elif words[:2] == ["property", "list"]:
            self.elements[-1].lists.append((words[4], _TYPES[words[2]], _TYPES[words[3]]))
        elif words[:1] == ["property"]:
            self.elements[-1].scalars.append((words[2], _TYPES[words[1]]))

    def _text_numbers(self) -> FloatArray:
        try:
            return np.array(self.data[self.position :].split(), np.bytes_).astype(np.float64)
        except ValueError:
            raise self._broken("something else than numbers") from None

    def _take(self, dtype: np.dtype[np.void], count: int) -> npt.NDArray[np.void]:
        size = dtype.itemsize * count
        if self.position + size > len(self.data):
            raise self._broken("too few bytes", expected=f"{count} rows of {dtype.itemsize} bytes")
        rows = np.frombuffer(self.data, dtype, count, self.position)
        self.position += size
        return rows

    def _take_numbers(self, count: int) -> FloatArray:
        assert self.numbers is not None
        if count < 0 or self.position + count > len(self.numbers):
            raise self._broken("too few numbers", expected=f"{count} more")
        rows = self.numbers[self.position : self.position + count]
        self.position += count
        return rows

    def _read_table(self, element: _Element) -> dict[str, npt.NDArray[np.generic]]:
        names = [name for name, _ in element.scalars]
        if element.lists or len(set(names)) != len(names):
            raise self._broken(f"lists or repeated properties in element {element.name[:40]!r}")
        if self.numbers is not None:
            table = self._take_numbers(element.length * len(names)).reshape(element.length, -1)
            return dict(zip(names, table.T, strict=True))
        dtype = np.dtype([(name, self.byte_order + kind) for name, kind in element.scalars])
        rows = self._take(dtype, element.length)
        return {name: rows[name] for name in names}

    def _read_polygons(self, element: _Element) -> npt.NDArray[np.int64]:
        if len(element.lists) != 1 or element.scalars:
            raise self._broken("faces with other properties than one list of vertex indices")
        _, count_type, item_type = element.lists[0]
        count_dtype = np.dtype(self.byte_order + count_type)
        item_dtype = np.dtype(self.byte_order + item_type)
        if self.numbers is None and not {count_dtype.kind, item_dtype.kind} <= set("iu"):
            raise self._broken("face indices that are not integers")
        triangle = np.dtype([("count", count_dtype), ("corners", item_dtype, 3)])
        start = self.position
        if self.numbers is None and start + triangle.itemsize * element.length <= len(self.data):
            rows = self._take(triangle, element.length)
            if (rows["count"] == 3).all():
                return rows["corners"].astype(np.int64)
            self.position = start
        corners: list[tuple[int, int, int]] = []
        for _ in range(element.length):
            polygon = self._read_polygon(count_dtype, item_dtype)
            corners += ((polygon[0], second, third) for second, third in pairwise(polygon[1:]))
        return np.array(corners, np.int64).reshape(-1, 3)

    def _read_polygon(
        self, count_dtype: np.dtype[np.generic], item_dtype: np.dtype[np.generic]
    ) -> list[int]:
        if self.numbers is not None:
            length = self._take_numbers(1)[0]
            if not (length >= 3 and length == int(length)):
                raise self._broken(f"a polygon of {length} corners")
            items = self._take_numbers(int(length))
            if not np.isfinite(items).all() or (np.abs(items) > np.iinfo(np.int32).max).any():
                raise self._broken("an index that is not a number")
            return [int(item) for item in items]
        length = int(self._take(np.dtype([("n", count_dtype)]), 1)["n"][0])
        if length < 3:
            raise self._broken(f"a polygon of {length} corners")
        polygon = self._take(np.dtype([("i", item_dtype)]), length)["i"]
        return [int(item) for item in polygon]

    def _broken(self, found: str, *, expected: str = "a valid PLY") -> UnreadableInput:
        return UnreadableInput(f"{self.path.name}: expected {expected}, found {found}")
