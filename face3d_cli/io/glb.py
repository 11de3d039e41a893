"""Binary glTF 2.0: embedded texture, smooth normals, blendshapes as named morph targets.

Own writer, because trimesh writes neither morph targets nor linear vertex colours. What the field's
importers need is chosen here: `doubleSided`, roughness 0.6, no metal, a mip-mapped sampler, and
`COLOR_0` (linear by the specification) only where there is no texture, since importers multiply
the two.

Source: glTF 2.0 specification, sections 3.6 to 3.9 and 5; section 4.4 for the container.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray, Points3, RgbImage, Triangles
from face3d_cli.core.mesh import METRES_PER_UNIT, Mesh, TextureTile, vertex_normals
from face3d_cli.io.atomic import atomic_path
from face3d_cli.io.image import encode_png
from face3d_cli.settings import MeshFileSettings, TextureFormat, Unit
from face3d_cli.version import __version__

MAGIC, VERSION = 0x46546C67, 2
JSON_CHUNK, BIN_CHUNK = 0x4E4F534A, 0x004E4942
FLOAT, UNSIGNED_SHORT, UNSIGNED_INT = 5126, 5123, 5125
_VERTEX_BUFFER, _INDEX_BUFFER = 34962, 34963
_NEAREST, _LINEAR, _LINEAR_MIPMAP_LINEAR, _CLAMP_TO_EDGE = 9728, 9729, 9987, 33071
VARIANTS = "KHR_materials_variants"
VARIANT_NAMES = ("photo", "segmentation")
_ROUGHNESS = 0.6
_SPARSE_FROM_BYTES = 50_000  # saved by a sparse accessor before it is worth its indices
_TYPE_OF_WIDTH = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


@dataclass(frozen=True)
class FaceNode:
    """One face of a scene: a node whose children are its meshes and its landmarks.

    Attributes:
        name: of the node.
        meshes: head, eyes, ...; each turns about its own pivot.
        landmarks_m: (68, 3), written as empties; None writes none.
        place_m: (3,) where the face stands in the scene.
    """

    name: str
    meshes: tuple[Mesh, ...]
    landmarks_m: Points3 | None = None
    place_m: FloatArray | None = None


def save_glb(
    meshes: Sequence[Mesh | FaceNode],
    path: Path,
    *,
    unit: Unit = "m",
    texture_format: TextureFormat = MeshFileSettings.glb_texture,
    provenance: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write meshes as nodes of one GLB file.

    Args:
        meshes: in the head frame, which is glTF's own: +Y up, +Z forward; a `FaceNode` becomes a
            node with children.
        path: the GLB file.
        unit: of the file; glTF means metres, another unit is noted in `asset.extras`.
        texture_format: how textures are embedded: PNG keeps every pixel, JPEG is much smaller.
        provenance: goes to `asset.extras`: licence, method, photo.

    Returns:
        The one file written.
    """
    scene = _Scene(texture_format)
    for mesh in meshes:
        if isinstance(mesh, Mesh):
            scene.roots.append(scene.add(mesh.in_unit(unit)))
        else:
            scene.roots.append(scene.add_face(mesh, unit))
    extras = dict(provenance or {})
    if unit != "m":
        extras["unit"] = unit
    content = scene.glb(extras)
    with atomic_path(path) as unfinished:
        unfinished.write_bytes(content)
    return [path]


def linear_from_srgb(levels: npt.NDArray[np.uint8]) -> FloatArray:
    """Undo the sRGB transfer curve: levels 0..255 to linear 0..1 (IEC 61966-2-1)."""
    encoded = levels / 255.0
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def srgb_from_linear(linear: FloatArray) -> RgbImage:
    """Apply the sRGB transfer curve: linear 0..1 to levels 0..255, rounded."""
    linear = np.clip(linear, 0.0, 1.0)
    encoded = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    levels: RgbImage = np.rint(encoded * 255).astype(np.uint8)
    return levels


class _Scene:
    """The glTF document while it grows, and the one binary buffer behind it."""

    def __init__(self, texture_format: TextureFormat) -> None:
        self.texture_format = texture_format
        self.buffer = bytearray()
        self.lists: dict[str, list[dict[str, Any]]] = {
            name: []
            for name in (
                "accessors", "bufferViews", "images", "materials", "meshes", "nodes",
                "samplers", "textures",
            )
        }  # fmt: skip
        self.texture_index: dict[int, int] = {}  # id of a texture array: its index
        self.material_index: dict[int, int] = {}  # the same: its material
        self.roots: list[int] = []
        self.has_variants = False

    def add_face(self, face: FaceNode, unit: Unit) -> int:
        """Append a face as a node with children; returns the node."""
        factor = METRES_PER_UNIT["m"] / METRES_PER_UNIT[unit]
        children = [self.add(mesh.in_unit(unit)) for mesh in face.meshes]
        if face.landmarks_m is not None:
            points = (face.landmarks_m * factor).astype(np.float32).tolist()
            empties = [
                self._append("nodes", {"name": f"landmark_{index:02}", "translation": point})
                for index, point in enumerate(points)
            ]
            children.append(self._append("nodes", {"name": "landmarks", "children": empties}))
        node: dict[str, Any] = {"name": face.name, "children": children}
        if face.place_m is not None and np.any(face.place_m):
            node["translation"] = (face.place_m * factor).astype(np.float32).tolist()
        return self._append("nodes", node)

    def add(self, mesh: Mesh) -> int:
        """Append one mesh as a node of its own; returns the node."""
        normals = mesh.normals()
        vertices = mesh.vertices if mesh.pivot is None else mesh.vertices - mesh.pivot
        attributes = {
            "POSITION": self._accessor(vertices, with_bounds=True),
            "NORMAL": self._accessor(normals),
        }
        if mesh.tiles:
            attributes["TEXCOORD_0"] = self._accessor(_flipped(mesh.tiles[0].uv))
        elif mesh.uv is not None:
            attributes["TEXCOORD_0"] = self._accessor(_flipped(mesh.uv))
        if mesh.texture is None and mesh.vertex_colors is not None:
            opaque = np.ones((len(mesh.vertices), 1))
            rgba = np.hstack([linear_from_srgb(mesh.vertex_colors), opaque])
            levels = np.rint(rgba * 65535).astype("<u2")  # 8 bits would merge dark levels
            attributes["COLOR_0"] = self._accessor(levels, UNSIGNED_SHORT, normalized=True)
        index_type, index_dtype = (
            (UNSIGNED_SHORT, "<u2") if len(mesh.vertices) < 65536 else (UNSIGNED_INT, "<u4")
        )
        targets: dict[str, Any] = {}
        if mesh.blendshapes:
            targets["targets"] = [
                {
                    "POSITION": self._displacement(delta, with_bounds=True),
                    "NORMAL": self._displacement(_turned_normals(mesh, normals, delta)),
                }
                for delta in mesh.blendshapes.values()
            ]
        parts: list[tuple[str, Triangles, Mesh | TextureTile]] = [(mesh.name, mesh.triangles, mesh)]
        if mesh.tiles:
            parts = [
                (f"{mesh.name}_{tile.name}", mesh.triangles[tile.triangles], tile)
                for tile in mesh.tiles
            ]
        primitives = [
            {
                "attributes": attributes,
                "indices": self._accessor(
                    triangles.reshape(-1, 1).astype(index_dtype), index_type, _INDEX_BUFFER
                ),
                **self._looks(source.texture, source.segmentation, name),
                **targets,
            }
            for name, triangles, source in parts
        ]
        entry: dict[str, Any] = {"name": mesh.name, "primitives": primitives}
        if mesh.blendshapes:
            entry["weights"] = [float(mesh.weights.get(name, 0.0)) for name in mesh.blendshapes]
            entry["extras"] = {"targetNames": list(mesh.blendshapes)}
        node: dict[str, Any] = {"name": mesh.name, "mesh": self._append("meshes", entry)}
        if mesh.pivot is not None:
            node["translation"] = mesh.pivot.astype(np.float32).tolist()
        return self._append("nodes", node)

    def glb(self, extras: Mapping[str, Any]) -> bytes:
        """Close the document: 12-byte header, JSON chunk, BIN chunk, each padded to 4 bytes."""
        asset: dict[str, Any] = {"version": "2.0", "generator": f"face3d {__version__}"}
        if extras:
            asset["extras"] = dict(extras)
        document = {
            "asset": asset,
            "scene": 0,
            "scenes": [{"nodes": self.roots}],
            **{name: entries for name, entries in self.lists.items() if entries},
            "buffers": [{"byteLength": len(self.buffer)}],
        }
        if self.has_variants:
            names = [{"name": name} for name in VARIANT_NAMES]
            document["extensionsUsed"] = [VARIANTS]
            document["extensions"] = {VARIANTS: {"variants": names}}
        text = json.dumps(document, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        header = _padded(text.encode("utf-8", "replace"), b" ")
        binary = _padded(bytes(self.buffer), b"\0")
        return b"".join(
            (
                struct.pack("<III", MAGIC, VERSION, 12 + 8 + len(header) + 8 + len(binary)),
                struct.pack("<II", len(header), JSON_CHUNK),
                header,
                struct.pack("<II", len(binary), BIN_CHUNK),
                binary,
            )
        )

    def _append(self, name: str, entry: dict[str, Any]) -> int:
        self.lists[name].append(entry)
        return len(self.lists[name]) - 1

    def _view(self, content: bytes, target: int | None = None) -> int:
        self.buffer += b"\0" * (-len(self.buffer) % 4)
        entry = {"buffer": 0, "byteOffset": len(self.buffer), "byteLength": len(content)}
        self.buffer += content
        return self._append("bufferViews", entry if target is None else {**entry, "target": target})

    def _accessor(
        self,
        rows: npt.NDArray[Any],
        component_type: int = FLOAT,
        target: int = _VERTEX_BUFFER,
        *,
        with_bounds: bool = False,
        normalized: bool = False,
    ) -> int:
        if component_type == FLOAT:
            rows = rows.astype("<f4")
        entry: dict[str, Any] = {
            "bufferView": self._view(rows.tobytes(), target),
            "componentType": component_type,
            "count": len(rows),
            "type": _TYPE_OF_WIDTH[rows.shape[1]],
        }
        if normalized:
            entry["normalized"] = True
        if with_bounds:  # of the rounded values, or validators find them off by one bit
            entry["min"], entry["max"] = rows.min(axis=0).tolist(), rows.max(axis=0).tolist()
        return self._append("accessors", entry)

    def _displacement(self, rows: FloatArray, *, with_bounds: bool = False) -> int:
        """A float accessor of three columns, sparse where most rows are zero."""
        rows = rows.astype("<f4")
        (moved,) = np.nonzero(rows.any(axis=1))
        if not len(moved) or rows.nbytes - 16 * len(moved) < _SPARSE_FROM_BYTES:
            return self._accessor(rows, with_bounds=with_bounds)
        index_type, dtype = (UNSIGNED_SHORT, "<u2") if len(rows) < 65536 else (UNSIGNED_INT, "<u4")
        entry: dict[str, Any] = {
            "componentType": FLOAT,
            "count": len(rows),
            "type": "VEC3",
            "sparse": {
                "count": len(moved),
                "indices": {
                    "bufferView": self._view(moved.astype(dtype).tobytes()),
                    "componentType": index_type,
                },
                "values": {"bufferView": self._view(rows[moved].tobytes())},
            },
        }
        if with_bounds:
            entry["min"], entry["max"] = rows.min(axis=0).tolist(), rows.max(axis=0).tolist()
        return self._append("accessors", entry)

    def _looks(
        self, texture: RgbImage | None, segmentation: RgbImage | None, name: str
    ) -> dict[str, Any]:
        """The material of a primitive, and that of its second look where there is one."""
        photo = self._material(texture, name)
        if segmentation is None:
            return {"material": photo}
        # A second picture on the same UVs has no place in glTF's own material; a variant of the
        # material is what viewers and importers know.
        classes = self._material(segmentation, f"{name}_segmentation", is_exact=True)
        self.has_variants = True
        pairs = [{"material": photo, "variants": [0]}, {"material": classes, "variants": [1]}]
        return {"material": photo, "extensions": {VARIANTS: {"mappings": pairs}}}

    def _material(self, texture: RgbImage | None, name: str, *, is_exact: bool = False) -> int:
        if texture is not None and id(texture) in self.material_index:
            return self.material_index[id(texture)]
        shading: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": _ROUGHNESS}
        if texture is not None:
            shading["baseColorTexture"] = {"index": self._texture(texture, name, is_exact)}
        index = self._append(
            "materials", {"name": name, "pbrMetallicRoughness": shading, "doubleSided": True}
        )
        if texture is not None:
            self.material_index[id(texture)] = index
        return index

    def _texture(self, texture: RgbImage, name: str, is_exact: bool) -> int:
        """A texture; an exact one is neither blended between texels nor compressed with loss."""
        if id(texture) in self.texture_index:
            return self.texture_index[id(texture)]
        filters = {"magFilter": _LINEAR, "minFilter": _LINEAR_MIPMAP_LINEAR}
        if is_exact:
            filters = {"magFilter": _NEAREST, "minFilter": _NEAREST}
        sampler = {**filters, "wrapS": _CLAMP_TO_EDGE, "wrapT": _CLAMP_TO_EDGE}
        if sampler not in self.lists["samplers"]:
            self._append("samplers", sampler)
        kind = "png" if is_exact else self.texture_format
        content = encode_png(texture) if kind == "png" else _encode_jpeg(texture)
        image = self._append(
            "images",
            {"name": name, "mimeType": f"image/{kind}", "bufferView": self._view(content)},
        )
        at = self.lists["samplers"].index(sampler)
        index = self._append("textures", {"sampler": at, "source": image})
        self.texture_index[id(texture)] = index
        return index


def _turned_normals(mesh: Mesh, normals: FloatArray, delta: FloatArray) -> FloatArray:
    """(V, 3) how a blendshape changes the normals; only triangles that it moves are looked at."""
    weld = np.arange(len(normals)) if mesh.weld is None else mesh.weld
    count = int(weld.max()) + 1 if len(weld) else 0
    triangles = weld[mesh.triangles].astype(np.int32)
    is_moved = np.zeros(count, bool)
    is_moved[weld[delta.any(axis=1)]] = True
    turned = np.zeros(count, bool)
    turned[triangles[is_moved[triangles].any(axis=1)]] = True
    points = np.zeros((count, 3))
    points[weld] = mesh.vertices + delta
    after = vertex_normals(points, triangles[turned[triangles].any(axis=1)])
    return np.where(turned[weld][:, None], after[weld] - normals, 0.0)


def _flipped(uv: FloatArray) -> FloatArray:
    """From the bottom-left origin of memory to glTF's top-left one: here and nowhere else."""
    return np.stack([uv[:, 0], 1.0 - uv[:, 1]], axis=1)


def _encode_jpeg(texture: RgbImage) -> bytes:
    import cv2

    options = (cv2.IMWRITE_JPEG_QUALITY, MeshFileSettings.jpeg_quality)
    _, encoded = cv2.imencode(".jpg", np.ascontiguousarray(texture[..., ::-1]), options)
    return encoded.tobytes()


def _padded(content: bytes, filler: bytes) -> bytes:
    return content + filler * (-len(content) % 4)
