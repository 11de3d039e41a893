"""Reads binary glTF: our own files whole, foreign ones as far as a triangle mesh goes.

Nothing outside the file is opened, and no declared size is believed before it was compared with the
bytes that are there.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray, RgbImage
from face3d_cli.core.mesh import Mesh
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.glb import BIN_CHUNK, JSON_CHUNK, MAGIC, VERSION, srgb_from_linear
from face3d_cli.io.image import read_photo
from face3d_cli.settings import Unit

_COMPONENTS = {5120: "<i1", 5121: "<u1", 5122: "<i2", 5123: "<u2", 5125: "<u4", 5126: "<f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
_TRIANGLES = 4
_MAX_DEPTH = 64
_MAX_VALUES = 200_000_000  # a small file can ask for the same data many times
_UNDERSTOOD = {"KHR_materials_unlit", "KHR_materials_specular", "KHR_mesh_quantization"}


def load_glb(path: Path) -> list[Mesh]:
    """Read the triangle meshes of a GLB's scene, one per node and primitive, in file order.

    Node transforms are applied; vertex order is kept.

    Raises:
        UnreadableInput: broken container, JSON or indices, data outside the file, or a required
            extension that is not understood (mesh compression).
    """
    data = path.read_bytes()
    try:
        document, binary = _chunks(data)
        with np.errstate(all="ignore"):  # overflow shows as numbers that are not finite
            return _Reader(path, document, binary).meshes()
    except _BROKEN as problem:
        what = str(problem).splitlines()[0] if str(problem) else type(problem).__name__
        raise UnreadableInput(f"{path.name}: expected a valid GLB, found {what[:120]}") from problem


def load_extras(path: Path) -> dict[str, Any]:
    """What `asset.extras` says of the file's origin; `asset.copyright` is kept too.

    Our notes of the unit and of how the photo shows the faces (`load_shots`) are left out.

    Raises:
        UnreadableInput: broken container or JSON.
    """
    try:
        document, _ = _chunks(path.read_bytes())
        asset = document.get("asset", {})
        extras = dict(asset.get("extras", {}))
        if "copyright" in asset:
            extras.setdefault("copyright", asset["copyright"])
    except _BROKEN as problem:
        raise UnreadableInput(f"{path.name}: expected a valid GLB") from problem
    extras.pop("unit", None)
    extras.pop("faces", None)
    return extras


def load_shots(path: Path) -> list[dict[str, Any]]:
    """How the photo shows the faces of a file of ours: `camera`, `photo_size_px`, `light_rgb`.

    Cameras take metres. Empty for files of others.

    Raises:
        UnreadableInput: broken container or JSON.
    """
    try:
        document, _ = _chunks(path.read_bytes())
        found = document.get("asset", {}).get("extras", {}).get("faces", [])
    except _BROKEN as problem:
        raise UnreadableInput(f"{path.name}: expected a valid GLB") from problem
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


class _Broken(Exception):
    """What was found instead of valid glTF."""


# A document of the wrong shape shows as one of these where it is used.
_BROKEN = (_Broken, KeyError, IndexError, TypeError, ValueError, AttributeError, OverflowError)


def _chunks(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Take the container apart: the JSON document and the binary buffer."""
    if len(data) < 20:
        raise _Broken(f"{len(data)} bytes")
    magic, version, length = struct.unpack_from("<III", data)
    if magic != MAGIC or version != VERSION:
        raise _Broken("another file type or version")
    if length != len(data):
        raise _Broken(f"{len(data)} bytes where {length} are declared")
    chunks: dict[int, bytes] = {}
    position = 12
    while position + 8 <= length:
        size, kind = struct.unpack_from("<II", data, position)
        position += 8
        if position + size > length:
            raise _Broken("a chunk that ends beyond the file")
        chunks.setdefault(kind, data[position : position + size])
        position += size
    if JSON_CHUNK not in chunks:
        raise _Broken("no JSON chunk")
    try:
        document = json.loads(chunks[JSON_CHUNK], parse_constant=_refuse_constant)
    except RecursionError:
        raise _Broken("JSON nested too deeply") from None
    if not isinstance(document, dict):
        raise _Broken("JSON that is no object")
    return document, chunks.get(BIN_CHUNK, b"")


def _refuse_constant(text: str) -> None:
    raise _Broken(f"{text} in JSON")


class _Reader:
    """Follows the indices of one glTF document."""

    def __init__(self, path: Path, document: dict[str, Any], binary: bytes) -> None:
        self.path = path
        self.document = document
        self.binary = binary
        self.textures: dict[int, RgbImage] = {}
        self.values_left = _MAX_VALUES

    def meshes(self) -> list[Mesh]:
        strange = set(self.document.get("extensionsRequired", [])) - _UNDERSTOOD
        if strange:
            raise _Broken(f"the extensions {', '.join(sorted(strange))}")
        unit = self.document.get("asset", {}).get("extras", {}).get("unit", "m")
        if unit not in get_args(Unit):
            raise _Broken(f"the unit {unit!r}")
        meshes = [
            replace(self._mesh(entry, primitive, transform), unit=unit)
            for entry, transform in self._nodes_with_mesh()
            for primitive in entry["primitives"]
            if primitive.get("mode", _TRIANGLES) == _TRIANGLES
        ]
        if not meshes:
            raise _Broken("no triangle mesh in the scene")
        return meshes

    def _nodes_with_mesh(self) -> Iterator[tuple[dict[str, Any], FloatArray]]:
        """Walk the scene: each mesh entry with its (4, 4) transform into the scene."""
        scenes = self.document.get("scenes", [])
        nodes = self.document["nodes"]
        roots = scenes[_index(self.document.get("scene", 0))]["nodes"]
        waiting = [(_index(root), np.eye(4), 0) for root in reversed(roots)]
        visited: set[int] = set()
        while waiting:
            number, parent, depth = waiting.pop()
            if number in visited or depth > _MAX_DEPTH:
                raise _Broken("nodes that are no tree")
            visited.add(number)
            node = nodes[number]
            transform = parent @ _local_transform(node)
            if "mesh" in node:
                yield self.document["meshes"][_index(node["mesh"])], transform
            waiting += [
                (_index(child), transform, depth + 1)
                for child in reversed(node.get("children", []))
            ]

    def _mesh(
        self, entry: dict[str, Any], primitive: dict[str, Any], transform: FloatArray
    ) -> Mesh:
        attributes = primitive["attributes"]
        points = self._rows(attributes["POSITION"], 3)
        count = len(points)
        if "indices" in primitive:
            indices = self._integers(primitive["indices"])
        else:
            indices = np.arange(count)
        if not len(indices) or len(indices) % 3 or indices.max() >= count:
            raise _Broken("triangle indices that do not fit the vertices")
        triangles = indices.reshape(-1, 3).astype(np.int32)
        if np.linalg.det(transform[:3, :3]) < 0:
            triangles = triangles[:, ::-1].copy()  # a mirrored node turns its triangles round
        uv = colors = None
        if "TEXCOORD_0" in attributes:
            uv = self._rows(attributes["TEXCOORD_0"], 2, count)
            uv = np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1)
        if "COLOR_0" in attributes:
            colors = srgb_from_linear(self._rows(attributes["COLOR_0"], None, count)[:, :3])
        weld = None
        if uv is not None and "NORMAL" in attributes:
            # Vertices that differ only in UV are one point of the surface.
            both = np.hstack([points, self._rows(attributes["NORMAL"], 3, count)])
            groups = np.unique(both, axis=0, return_inverse=True)[1].ravel()
            weld = groups.astype(np.int64) if groups.max() + 1 < count else None
        name = entry.get("name")
        blendshapes = self._blendshapes(entry, primitive, count)
        weights = entry.get("weights", [0.0] * len(blendshapes))
        if len(weights) != len(blendshapes):
            raise _Broken(f"{len(weights)} weights of {len(blendshapes)} morph targets")
        on = {key: float(w) for key, w in zip(blendshapes, weights, strict=True) if w}
        return Mesh(
            vertices=_finite(points @ transform[:3, :3].T + transform[:3, 3]),
            triangles=triangles,
            uv=uv,
            texture=self._texture(primitive) if uv is not None else None,
            vertex_colors=colors,
            blendshapes={
                name: _finite(delta @ transform[:3, :3].T) for name, delta in blendshapes.items()
            },
            weld=weld,
            weights={key: weight for key, weight in on.items() if np.isfinite(weight)},
            name=name if isinstance(name, str) and name else self.path.stem,
        )

    def _blendshapes(
        self, entry: dict[str, Any], primitive: dict[str, Any], count: int
    ) -> dict[str, FloatArray]:
        targets = primitive.get("targets", [])
        names = entry.get("extras", {}).get("targetNames", [])
        if len(names) != len(targets) or len(set(names)) != len(names):
            names = [f"target_{number}" for number in range(len(targets))]
        return {
            str(name): self._rows(target["POSITION"], 3, count)
            if "POSITION" in target
            else np.zeros((count, 3))
            for name, target in zip(names, targets, strict=True)
        }

    def _texture(self, primitive: dict[str, Any]) -> RgbImage | None:
        if "material" not in primitive:
            return None
        material = self.document["materials"][_index(primitive["material"])]
        reference = material.get("pbrMetallicRoughness", {}).get("baseColorTexture")
        if reference is None:
            return None
        if reference.get("texCoord", 0) != 0:
            raise _Broken("a texture that does not use TEXCOORD_0")
        source = _index(self.document["textures"][_index(reference["index"])]["source"])
        if source not in self.textures:
            image = self.document["images"][source]
            if "bufferView" not in image:
                raise _Broken("a texture outside the file")
            content, _ = self._view(image["bufferView"])
            self.textures[source] = read_photo(content, name=f"the texture of {self.path.name}")
        return self.textures[source]

    def _view(self, number: int) -> tuple[bytes, int]:
        """The bytes of a buffer view and its stride (0: tightly packed)."""
        view = self.document["bufferViews"][_index(number)]
        if _index(view["buffer"]) != 0 or "uri" in self.document["buffers"][0]:
            raise _Broken("data outside the file")
        start, length = _index(view.get("byteOffset", 0)), _index(view["byteLength"])
        if start + length > len(self.binary):
            raise _Broken("a buffer view that ends beyond the file")
        return self.binary[start : start + length], _index(view.get("byteStride", 0))

    def _rows(self, number: int, width: int | None, count: int | None = None) -> FloatArray:
        """An accessor as (count, width) floats, normalised and finite."""
        accessor = self.document["accessors"][_index(number)]
        declared = _index(accessor["count"])
        if count is not None and declared != count:
            raise _Broken(f"{declared} values for {count} vertices")
        columns = _WIDTHS[accessor["type"]]
        self.values_left -= declared * columns
        if self.values_left < 0:
            raise _Broken(f"more than {_MAX_VALUES:,} numbers")
        if width is not None and columns != width:
            raise _Broken(f"{accessor['type']} where {width} numbers are needed")
        kind = np.dtype(_COMPONENTS[accessor["componentType"]])
        if "bufferView" in accessor:
            rows = self._packed(accessor, declared, columns, kind)
        elif count is not None:  # all zero, by specification; its size is that of the vertices
            rows = np.zeros((count, columns), kind)
        else:
            raise _Broken("positions without data")
        if "sparse" in accessor:
            rows = self._with_sparse(rows, accessor["sparse"], columns, kind)
        values: FloatArray = rows.astype(np.float64)
        if accessor.get("normalized") and kind.kind in "iu":
            values = np.maximum(values / np.iinfo(kind).max, -1.0)
        return _finite(values)

    def _integers(self, number: int) -> npt.NDArray[np.int64]:
        values = self._rows(number, 1)[:, 0]
        if (values < 0).any() or (values != np.floor(values)).any():
            raise _Broken("indices that are no whole numbers")
        return values.astype(np.int64)

    def _packed(
        self, source: dict[str, Any], count: int, columns: int, kind: np.dtype[Any]
    ) -> npt.NDArray[Any]:
        """(count, columns) values of a buffer view, after a check that it holds them."""
        content, stride = self._view(source["bufferView"])
        start = _index(source.get("byteOffset", 0))
        size = columns * kind.itemsize
        stride = stride or size
        if stride < size or start + (count - 1) * stride + size > len(content) or count < 1:
            raise _Broken("an accessor that ends beyond its buffer view")
        return np.ndarray((count, columns), kind, content, start, (stride, kind.itemsize)).copy()

    def _with_sparse(
        self, rows: npt.NDArray[Any], sparse: dict[str, Any], columns: int, kind: np.dtype[Any]
    ) -> npt.NDArray[Any]:
        count = _index(sparse["count"])
        index_kind = np.dtype(_COMPONENTS[sparse["indices"]["componentType"]])
        where = self._packed(sparse["indices"], count, 1, index_kind)[:, 0]
        if index_kind.kind != "u" or where.max() >= len(rows):
            raise _Broken("sparse indices beyond the accessor")
        rows[where] = self._packed(sparse["values"], count, columns, kind)
        return rows


def _index(value: Any) -> int:
    """A whole number from 0 on; JSON may hold anything."""
    if not isinstance(value, int) or isinstance(value, bool) or value < 0:
        raise _Broken(f"{str(value)[:40]!r} where a whole number is needed")
    return value


def _finite(values: FloatArray) -> FloatArray:
    if not np.isfinite(values).all():
        raise _Broken("a number that is not finite")
    return values


def _local_transform(node: dict[str, Any]) -> FloatArray:
    """(4, 4) transform of a node: its matrix, or translation · rotation · scale."""
    if "matrix" in node:
        matrix = np.array(node["matrix"], np.float64).reshape(4, 4).T  # stored column by column
    else:
        x, y, z, w = (float(number) for number in node.get("rotation", (0, 0, 0, 1)))
        matrix = np.eye(4)
        matrix[:3, :3] = np.array(
            [
                [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
                [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
                [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
            ]
        ) * np.array(node.get("scale", (1, 1, 1)), np.float64)
        matrix[:3, 3] = node.get("translation", (0, 0, 0))
    return _finite(matrix)
