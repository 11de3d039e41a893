"""`face3d view`: a mesh file as an interactive page in the browser."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from face3d_cli.cli import output


def view(
    mesh_file: Annotated[
        Path, typer.Argument(metavar="MESH", help="GLB, OBJ, PLY or STL file to look at.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="HTML", help="The page; MESH.html if not given."),
    ] = None,
    opens: Annotated[
        bool, typer.Option("--open/--no-open", help="Show the page in the browser.")
    ] = True,
) -> None:
    """Write one HTML page that shows a mesh: turn it, move the light, see its wires, pose it.

    The page holds all it needs, works offline and can be sent. Every blendshape is a slider. Prints
    the page.

    Example: face3d view head.glb
    """
    from face3d_cli.io.mesh import load_meshes, load_provenance
    from face3d_cli.io.mesh_page import write_mesh_page

    page = out or mesh_file.with_suffix(".html")
    meshes = load_meshes(mesh_file)
    write_mesh_page(page, mesh_file.stem, meshes, load_provenance(mesh_file))
    output.result(str(page))
    if opens:
        import webbrowser

        if not webbrowser.open(page.absolute().as_uri()):
            output.talk("no browser could be started: open the page yourself")
