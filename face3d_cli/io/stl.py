"""Binary STL: triangles and nothing else, for printing; millimetres unless asked otherwise."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from face3d_cli.arrays import FloatArray
from face3d_cli.core.mesh import Mesh, triangle_normals
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.atomic import atomic_path
from face3d_cli.io.frame import FileFrame, from_file, read_tag, to_file

_HEADER_BYTES = 80
_TRIANGLE = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


def save_stl(mesh: Mesh, path: Path, *, frame: FileFrame) -> list[Path]:
    """Write a binary STL: no UV, texture, colours, blendshapes or vertex order."""
    mesh = to_file(mesh, frame)
    triangles = np.zeros(len(mesh.triangles), _TRIANGLE)
    normals = triangle_normals(mesh.vertices, mesh.triangles)
    lengths = np.linalg.norm(normals, axis=1, keepdims=True)
    triangles["normal"] = normals / np.maximum(lengths, np.finfo(np.float64).tiny)
    triangles["corners"] = mesh.vertices[mesh.triangles]
    with atomic_path(path) as unfinished, unfinished.open("wb") as file:
        file.write(frame.tag().encode("ascii").ljust(_HEADER_BYTES))
        file.write(np.uint32(len(triangles)).astype("<u4").tobytes())
        file.write(triangles.tobytes())
    return [path]


def load_stl(path: Path) -> Mesh:
    """Read an STL, binary or text; corners at exactly the same place become one vertex.

    Vertices come in order of first use. A file without our tag is taken as millimetres, +Y up.

    Raises:
        UnreadableInput: the size does not match the declared count, or numbers are broken.
    """
    data = path.read_bytes()
    count_end = _HEADER_BYTES + 4
    count = int.from_bytes(data[_HEADER_BYTES:count_end], "little")
    if len(data) >= count_end and len(data) == count_end + count * _TRIANGLE.itemsize:
        frame = read_tag(data[:_HEADER_BYTES].decode("ascii", "replace"))
        corners = np.frombuffer(data, _TRIANGLE, count, count_end)["corners"].reshape(-1, 3)
    elif data.lstrip()[:5].lower() == b"solid":
        frame = read_tag(data[: data.find(b"\n")].decode("ascii", "replace"))
        corners = _text_corners(data, path)
    else:
        raise UnreadableInput(
            f"{path.name}: expected an STL, found {len(data)} bytes that are neither a text STL "
            f"nor a binary one of {count} triangles"
        )
    if not len(corners) or not np.isfinite(corners).all():
        raise UnreadableInput(f"{path.name}: expected triangles with finite corners, found none")
    unique, where, inverse = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    order = np.argsort(where)
    rank = np.empty_like(order)
    rank[order] = np.arange(len(order))
    mesh = Mesh(
        vertices=unique[order].astype(np.float64),
        triangles=rank[inverse.ravel()].reshape(-1, 3).astype(np.int32),
        name=path.stem,
    )
    return from_file(mesh, frame or FileFrame("mm", "y"))


def _text_corners(data: bytes, path: Path) -> FloatArray:
    rows = [line.split()[1:] for line in data.splitlines() if line.split()[:1] == [b"vertex"]]
    try:
        corners: FloatArray = np.array(rows, dtype=np.bytes_).astype(np.float64)
    except ValueError:
        corners = np.zeros((0, 3))
    if corners.ndim != 2 or corners.shape[1] != 3 or len(corners) % 3:
        raise UnreadableInput(f"{path.name}: expected three corners of x y z per triangle")
    return corners
