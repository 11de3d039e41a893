"""Which mesh format a file name asks for: one call writes any of them, one call reads any."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from pathlib import Path
from typing import Any

import numpy as np

from face3d_cli.core.mesh import Mesh, merged, with_one_texture
from face3d_cli.errors import OutputError, UnreadableInput, UsageError
from face3d_cli.io.frame import FileFrame
from face3d_cli.io.provenance import from_comments, to_comments
from face3d_cli.settings import MeshFileSettings, TextureFormat, Unit, UpAxis

SUFFIXES = (".obj", ".ply", ".glb", ".stl")
_HELD = {
    ".obj": {"uv", "texture", "vertex_colors"},
    ".ply": {"uv", "vertex_colors"},
    ".glb": {"uv", "texture", "vertex_colors", "blendshapes"},
    ".stl": set[str](),
}


def save_mesh(
    mesh: Mesh,
    path: str | Path,
    *,
    unit: Unit | None = None,
    up: UpAxis | None = None,
    for_blender: bool = False,
    texture_format: TextureFormat = MeshFileSettings.glb_texture,
    provenance: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write a mesh as OBJ, PLY, GLB or STL, by the suffix of the path.

    Args:
        mesh: in the head frame, in any unit.
        path: where to; OBJ writes an MTL and a PNG beside it when there is a texture.
        unit: of the file; None is metres, and millimetres in STL.
        up: up axis of the file; None is "y".
        for_blender: choose unit and axes so that Blender's importer with its defaults shows the
            face upright, facing -Y, in metres: PLY and STL become Z-up, STL metres.
        texture_format: how a GLB embeds its texture.
        provenance: licence, method, photo; kept as JSON in the GLB, as comments in OBJ and PLY.

    Returns:
        The files written, the mesh file first.

    Raises:
        UsageError: the suffix is unknown, or `up="z"` for a GLB, which is +Y up by specification.
        OutputError: the mesh is empty, has broken indices or non-finite numbers, or the files
            cannot be written.
    """
    path = Path(path)
    suffix = require_mesh_suffix(path)
    _require_sound(mesh)
    if suffix != ".glb":
        mesh = mesh.posed()
    frame = frame_of(path, unit=unit, up=up, for_blender=for_blender)
    comments = to_comments(provenance)
    if suffix == ".obj":
        from face3d_cli.io.obj import save_obj

        return save_obj(mesh, path, frame=frame, comments=comments)
    if suffix == ".ply":
        from face3d_cli.io.ply import save_ply

        return save_ply(mesh, path, frame=frame, comments=comments)
    if suffix == ".stl":
        from face3d_cli.io.stl import save_stl

        return save_stl(mesh, path, frame=frame)
    if frame.up == "z":
        raise UsageError(
            "GLB files are +Y up by specification, found up z", hint="every importer turns them"
        )
    from face3d_cli.io.glb import save_glb

    return save_glb(
        [mesh], path, unit=frame.unit, texture_format=texture_format, provenance=provenance
    )


def frame_of(
    path: str | Path,
    *,
    unit: Unit | None = None,
    up: UpAxis | None = None,
    for_blender: bool = False,
) -> FileFrame:
    """Unit and up axis that `save_mesh` gives a file; arguments as there."""
    suffix = Path(path).suffix.lower()
    turned_by_default = for_blender and suffix in {".ply", ".stl"}
    return FileFrame(
        unit or ("mm" if suffix == ".stl" and not for_blender else "m"),
        up or ("z" if turned_by_default else "y"),
    )


def load_mesh(path: str | Path) -> Mesh:
    """Read an OBJ, PLY, GLB or STL file, by its suffix.

    A GLB of several meshes, such as a head with its eyes, becomes one mesh; several textures are
    put side by side into one.
    Files of ours come back in the head frame and in the unit they were written in; others are taken
    as +Y up, in metres (STL: millimetres). Vertex order and count are kept, except where the format
    has several UVs per vertex (OBJ) or no vertices at all (STL).

    Raises:
        UsageError: the suffix is unknown.
        UnreadableInput: the file is missing or damaged, holds no triangles, or has several meshes
            of which only some have UVs.
    """
    path = Path(path)
    meshes = load_meshes(path)
    if len(meshes) == 1:
        return meshes[0]
    meshes = with_one_texture(meshes)
    if any(mesh.texture is not meshes[0].texture for mesh in meshes):
        raise UnreadableInput(
            f"{path.name}: expected textures on meshes with UVs, found meshes without them"
        )
    return merged(meshes)


def load_meshes(path: str | Path) -> list[Mesh]:
    """Read all meshes of a file; only a GLB has several.

    Raises:
        UsageError, UnreadableInput: as `load_mesh`.
    """
    path = Path(path)
    suffix = require_mesh_suffix(path)
    try:
        if suffix == ".obj":
            from face3d_cli.io.obj_reader import load_obj

            return [load_obj(path)]
        if suffix == ".ply":
            from face3d_cli.io.ply import load_ply

            return [load_ply(path)]
        if suffix == ".stl":
            from face3d_cli.io.stl import load_stl

            return [load_stl(path)]
        from face3d_cli.io.glb_reader import load_glb

        return load_glb(path)
    except OSError as problem:
        raise UnreadableInput(
            f"cannot read mesh {path}: {problem.strerror or problem}"
        ) from problem


def load_provenance(path: str | Path) -> dict[str, Any]:
    """Licence, method and photo that a GLB, or an OBJ or PLY of ours, names; empty for an STL.

    Raises:
        UsageError, UnreadableInput: as `load_mesh`.
    """
    path = Path(path)
    suffix = require_mesh_suffix(path)
    if suffix == ".stl":
        return {}
    try:
        if suffix == ".glb":
            from face3d_cli.io.glb_reader import load_extras

            return load_extras(path)
        mark, end = ("#", "v ") if suffix == ".obj" else ("comment", "end_header")
        with path.open(encoding="utf-8", errors="replace") as file:
            header = takewhile(lambda line: not line.startswith(end), file)
            return from_comments(
                line.removeprefix(mark).strip() for line in header if line.startswith(mark)
            )
    except OSError as problem:
        raise UnreadableInput(
            f"cannot read mesh {path}: {problem.strerror or problem}"
        ) from problem


def lost_in(mesh: Mesh, path: str | Path) -> list[str]:
    """What the format of `path` cannot hold of this mesh, in words for the user."""
    suffix = require_mesh_suffix(Path(path))
    held = _HELD[suffix]
    lost = []
    if mesh.texture is not None and "texture" not in held:
        baked = suffix == ".ply" and mesh.vertex_colors is None
        lost.append("the texture (its colours are kept per vertex)" if baked else "the texture")
    if mesh.uv is not None and "uv" not in held:
        lost.append("texture coordinates")
    shadowed = mesh.texture is not None and "texture" in held
    if mesh.vertex_colors is not None and ("vertex_colors" not in held or shadowed):
        lost.append("vertex colours" + (" (the texture replaces them)" if shadowed else ""))
    if mesh.blendshapes and "blendshapes" not in held:
        lost.append(f"{len(mesh.blendshapes)} blendshapes")
    if suffix == ".stl":
        lost.append("vertex order, licence and origin")
    return lost


def require_mesh_suffix(path: Path) -> str:
    """Return the lower-case suffix.

    Raises:
        UsageError: it names no format of ours.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(
            f"expected a mesh file name ending in {', '.join(SUFFIXES)}, found {path.name!r}",
            hint=f"try {path.stem or 'face'}.glb",
        )
    return suffix


def require_apart(mesh: Path, others: Iterable[Path | None]) -> None:
    """Refuse names of which one file would overwrite another.

    Raises:
        UsageError: two names are the same, or one is that of the OBJ's texture or material.
    """
    taken = [mesh]
    if mesh.suffix.lower() == ".obj":
        taken += [mesh.with_suffix(suffix) for suffix in (".mtl", ".png", ".jpg")]
    places = {path.resolve() for path in taken}
    for path in others:
        if path is None:
            continue
        if path.resolve() in places:
            raise UsageError(
                f"{path} would be written twice: the mesh, its texture and every other file "
                "need names of their own",
                hint=f"try {path.with_stem(path.stem + '_2')}",
            )
        places.add(path.resolve())


def _require_sound(mesh: Mesh) -> None:
    """Refuse what would make a broken file: better no mesh than a wrong one."""
    found = ""
    if not len(mesh.triangles):
        found = "no triangles"
    elif mesh.triangles.min() < 0 or mesh.triangles.max() >= len(mesh.vertices):
        found = "a triangle index beyond the last vertex"
    elif not all(
        np.isfinite(values).all()
        for values in (mesh.vertices, *mesh.blendshapes.values())
        + (() if mesh.uv is None else (mesh.uv,))
    ):
        found = "numbers that are not finite"
    elif mesh.texture is not None and (mesh.uv is None or mesh.texture.ndim != 3):
        found = "a texture without texture coordinates or colour channels"
    if found:
        raise OutputError(f"expected a mesh that can be written, found {found}")
