"""Writes OBJ with its MTL and PNG: Blender, MeshLab and trimesh read it without a question.

Every vertex has one `v`, one `vt` and one `vn` of the same index, in the order of the mesh;
vertices without a triangle stay where they are. Names inside the files are bare, ASCII and without
spaces, because Blender does not find others; the OBJ itself keeps the name asked for.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import numpy as np

from face3d_cli.arrays import FloatArray, RgbImage, Triangles
from face3d_cli.core.mesh import Mesh
from face3d_cli.errors import OutputError
from face3d_cli.io.atomic import atomic_paths
from face3d_cli.io.frame import FileFrame, to_file
from face3d_cli.io.image import encode_png

_MATERIAL = "face"
_SAFE_STEM = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def save_obj(
    mesh: Mesh, path: Path, *, frame: FileFrame, comments: tuple[str, ...] = ()
) -> list[Path]:
    """Write an OBJ, and beside it the MTL and PNG when the mesh has a texture.

    Vertex colours are written as `v x y z r g b` only when there is no texture.

    Args:
        mesh: in the head frame.
        path: the OBJ file.
        frame: unit and up axis of the file.
        comments: lines for the top of the file, such as the licence.

    Returns:
        The files written: OBJ first, then PNG and MTL.
    """
    mesh = to_file(mesh, frame)
    files: list[tuple[Path, bytes]] = []
    head = [frame.tag(), *comments]
    lines = ["".join(f"# {_one_line(line)}\n" for line in head)]
    if mesh.texture is not None:
        stem = safe_stem(path.stem)
        material_path = path.with_name(f"{stem}.mtl")
        picture_path = _picture_path(material_path)
        files.append((picture_path, encode_png(mesh.texture)))
        files.append((material_path, _material_text(picture_path.name).encode("ascii")))
        lines.append(f"mtllib {material_path.name}\n")
    lines.append(f"o {_one_line(mesh.name)}\n")
    if mesh.texture is None and mesh.vertex_colors is not None:
        rows = np.hstack([mesh.vertices, _color_fractions(mesh.vertex_colors)])
        lines.append(_rows("v %.7g %.7g %.7g %.5f %.5f %.5f\n", rows))
    else:
        lines.append(_rows("v %.7g %.7g %.7g\n", mesh.vertices))
    if mesh.uv is not None:
        lines.append(_rows("vt %.7g %.7g\n", mesh.uv))
    lines.append(_rows("vn %.6f %.6f %.6f\n", mesh.normals()))
    if mesh.texture is not None:
        lines.append(f"usemtl {_MATERIAL}\n")
    lines.append("s 1\n")
    lines.append(_triangle_lines(mesh.triangles, len(mesh.vertices), mesh.uv is not None))
    files.insert(0, (path, "".join(lines).encode("utf-8", "replace")))
    with atomic_paths(*(final for final, _ in files)) as temporaries:
        for temporary, (_, content) in zip(temporaries, files, strict=True):
            temporary.write_bytes(content)
    return [final for final, _ in files]


def safe_stem(stem: str) -> str:
    """Return a name that every OBJ reader finds: ASCII, no spaces, no leading dash.

    A changed name gets a hash of the one asked for, so that `face (1)` and `face_1_` in one folder
    never share a texture.
    """
    if _SAFE_STEM.fullmatch(stem):
        return stem
    digest = hashlib.sha256(stem.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    kept = re.sub(r"[^A-Za-z0-9]+", "_", stem).strip("_")
    return f"{kept or 'face'}-{digest}"


def _picture_path(material_path: Path) -> Path:
    """Where the texture goes: `face.png`, or `face_texture.png` when `face.png` is not ours.

    `face3d reconstruct face.png -o face.obj` must not overwrite the photo.
    """
    stem = material_path.stem
    ours = ""
    if material_path.is_file():
        ours = material_path.read_text("utf-8", "replace")
    for name in (f"{stem}.png", f"{stem}_texture.png"):
        candidate = material_path.with_name(name)
        if not candidate.exists() or f"map_Kd {name}\n" in ours:
            return candidate
    raise OutputError(
        f"{stem}.png and {stem}_texture.png in {material_path.parent} belong to something else",
        hint="choose another output name",
    )


def _material_text(picture_name: str) -> str:
    return (
        f"newmtl {_MATERIAL}\nKa 0 0 0\nKd 1 1 1\nKs 0 0 0\nNs 0\nd 1\nillum 1\n"
        f"map_Kd {picture_name}\n"
    )


def _color_fractions(levels: RgbImage) -> FloatArray:
    """0..255 as 0..1, a trace above the exact value: MeshLab cuts off where others round."""
    fractions: FloatArray = np.where(
        (levels > 0) & (levels < 255), levels / 255 + 1e-5, levels / 255
    )
    return fractions


def _rows(line_format: str, rows: FloatArray) -> str:
    """Format all rows with one `%`, which is several times quicker than row by row."""
    text: str = (line_format * len(rows)) % tuple(rows.ravel().tolist())
    return text


def _triangle_lines(triangles: Triangles, num_vertices: int, has_uv: bool) -> str:
    """`f 1/1/1 2/2/2 3/3/3` lines; each corner's text is made once per vertex."""
    corner = "{0}/{0}/{0}" if has_uv else "{0}//{0}"
    corners = np.array([corner.format(i) for i in range(1, num_vertices + 1)], dtype=object)
    text: str = ("f %s %s %s\n" * len(triangles)) % tuple(corners[triangles.ravel()].tolist())
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split()) or "face"
