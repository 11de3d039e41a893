"""`face3d export`: one mesh file into another format, keeping all that the format can hold."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from face3d_cli.cli import output
from face3d_cli.settings import MeshFileSettings, TextureFormat, Unit, UpAxis


def export(
    mesh_file: Annotated[
        Path, typer.Argument(metavar="MESH", help="OBJ, PLY, GLB or STL file to read.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT", help="File to write: .obj, .ply, .glb or .stl."
        ),
    ],
    made_for: Annotated[
        Literal["blender"] | None,
        typer.Option(
            "--for", help="Unit and axes that this program's importer expects by default."
        ),
    ] = None,
    unit: Annotated[
        Unit | None,
        typer.Option(help="Unit of the file written; otherwise metres, and millimetres in STL."),
    ] = None,
    up: Annotated[
        UpAxis | None,
        typer.Option(help="Up axis of the file written; otherwise y. With z, it faces -y."),
    ] = None,
    texture: Annotated[
        TextureFormat,
        typer.Option(help="How a GLB embeds its texture: png is exact, jpeg is smaller."),
    ] = MeshFileSettings.glb_texture,
) -> None:
    """Convert a mesh between OBJ, PLY, GLB and STL.

    What the format can hold is kept: vertex order, UV, texture, colours, blendshapes, licence.
    What it cannot hold is said on stderr. Prints the files written, the mesh file first.

    Example: face3d export face.glb -o face.ply --for blender
    """
    from face3d_cli.io.mesh import (
        load_mesh,
        load_provenance,
        lost_in,
        require_mesh_suffix,
        save_mesh,
    )

    require_mesh_suffix(out)  # before the work, not after it
    mesh = load_mesh(mesh_file)
    lost = lost_in(mesh, out)
    if lost:
        output.talk(f"{out.suffix.lower()} does not hold: {', '.join(lost)}")
    written = save_mesh(
        mesh,
        out,
        unit=unit,
        up=up,
        for_blender=made_for == "blender",
        texture_format=texture,
        provenance=load_provenance(mesh_file),
    )
    for path in written:
        output.result(str(path))
