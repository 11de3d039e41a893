"""How the 154 text files of ICT-FaceKit become one small one.

390 MB of OBJ hold one topology 154 times over. The compact file holds it once, with the identity
shapes as half floats and of each expression only the vertices that it moves. Its bytes depend on
the upstream files alone, so that the registry pins its hash like that of any other file.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray
from face3d_cli.errors import ModelError

NUM_VERTICES = 26719
NUM_IDENTITIES = 100
SMALLEST_MOVE_CM = 1e-4  # upstream's numbers are rounded to about a tenth of it


def convert(sources: Path, target: Path) -> None:
    """Write the compact file from upstream's folder.

    It is a safetensors file of these arrays, V vertices, P polygons, T texture coordinates:

    - `neutral_cm` (V, 3) float32, `identity_cm` (100, V, 3) float16, displacements;
    - `expression_cm` (N, 3) float16, the displacements of vertices `expression_vertices` (N,)
      uint16; those of expression number e are the rows `expression_starts` [e] to [e + 1];
    - `polygons`, `polygon_uv` (P, 4) int32 into vertices and `uv`; -1 ends a triangle;
    - `uv` (T, 2) float32, origin bottom-left; the whole part is the UDIM tile.

    Its one metadata entry is `expressions`, their names with commas between.

    Args:
        sources: upstream's `FaceXModel`; its files are whole.
        target: written in place: the caller renames it.

    Raises:
        ModelError: the files are not what the pinned ones hold.
    """
    try:
        names = json.loads((sources / "vertex_indices.json").read_text("ascii"))["expressions"]
        neutral, uv, polygons, polygon_uv = _read_mesh(sources / "generic_neutral_mesh.obj")
        identities = np.empty((NUM_IDENTITIES, NUM_VERTICES, 3), np.float16)
        for index in range(NUM_IDENTITIES):
            identities[index] = _read_vertices(sources / f"identity{index:03}.obj") - neutral
        vertices, deltas, starts = [], [], [0]
        for name in names:
            delta = _read_vertices(sources / f"{name}.obj") - neutral
            (moved,) = np.nonzero(np.abs(delta).max(axis=1) > SMALLEST_MOVE_CM)
            vertices.append(moved)
            deltas.append(delta[moved])
            starts.append(starts[-1] + len(moved))
    except (OSError, ValueError, KeyError) as problem:
        raise ModelError(
            f"cannot convert {sources}: {problem}", hint="face3d models pull ict-facekit"
        ) from problem
    _write_safetensors(
        target,
        {
            "neutral_cm": neutral.astype("<f4"),
            "identity_cm": identities.astype("<f2"),
            "expression_cm": np.concatenate(deltas).astype("<f2"),
            "expression_vertices": np.concatenate(vertices).astype("<u2"),
            "expression_starts": np.array(starts, "<i4"),
            "polygons": polygons.astype("<i4"),
            "polygon_uv": polygon_uv.astype("<i4"),
            "uv": uv.astype("<f4"),
        },
        {"expressions": ",".join(names)},
    )


def _read_vertices(path: Path) -> FloatArray:
    """(V, 3) the positions of one OBJ."""
    with path.open("rb") as handle:
        rows = [line[2:].split() for line in handle if line.startswith(b"v ")]
    positions: FloatArray = np.array(rows, np.float64)
    if positions.shape != (NUM_VERTICES, 3):
        raise ValueError(f"{path.name} has vertices of shape {positions.shape}")
    return positions


def _read_mesh(
    path: Path,
) -> tuple[FloatArray, FloatArray, npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Positions, texture coordinates, and both indices of every polygon, from 0."""
    uv = []
    corners = []
    for line in path.read_text("ascii").split("\n"):
        if line.startswith("vt "):
            uv.append(line.split()[1:3])
        elif line.startswith("f "):
            polygon = [corner.split("/") for corner in line.split()[1:]]
            corners.append(polygon + [["0", "0"]] * (4 - len(polygon)))
    indices = np.array(corners, np.int32) - 1  # (P, 4, 2)
    return _read_vertices(path), np.array(uv, np.float64), indices[..., 0], indices[..., 1]


def _write_safetensors(
    path: Path, arrays: dict[str, npt.NDArray[Any]], metadata: dict[str, str]
) -> None:
    """Write the format by hand: the library's own writer does not promise the same bytes for ever.

    Format: https://github.com/huggingface/safetensors#format
    """
    kinds = {"<f4": "F32", "<f2": "F16", "<i4": "I32", "<u2": "U16"}
    header: dict[str, Any] = {"__metadata__": metadata}
    start = 0
    for name, array in arrays.items():
        header[name] = {
            "dtype": kinds[array.dtype.newbyteorder("<").str],
            "shape": array.shape,
            "data_offsets": [start, start + array.nbytes],
        }
        start += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    with path.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            out.write(np.ascontiguousarray(array).tobytes())
