"""`face3d render`: pictures and turntables of a mesh file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from face3d_cli.cli import output
from face3d_cli.errors import UsageError
from face3d_cli.settings import LightingName, PictureRenderer, PictureSettings, PictureStyle

if TYPE_CHECKING:
    from face3d_cli.core.mesh import Mesh
    from face3d_cli.stages.picture import Shot

_DEFAULT = PictureSettings()


def render(
    mesh_file: Annotated[
        Path, typer.Argument(metavar="MESH", help="GLB, OBJ, PLY or STL file to draw.")
    ],
    out: Annotated[
        Path,
        typer.Option(
            "--output", "-o", metavar="OUT", help=".png; or a turntable: .gif, .webp or .mp4."
        ),
    ],
    views: Annotated[
        str,
        typer.Option(
            "--view",
            metavar="NAME|YAW,PITCH",
            help="photo, front, three-quarter, side, back, above, below, ...; or degrees. "
            "Several, with blanks between, stand side by side.",
        ),
    ] = "front",
    style: Annotated[PictureStyle, typer.Option(help="What is shown.")] = _DEFAULT.style,
    lighting: Annotated[
        LightingName, typer.Option(help="Which lights; photo: those it was taken in.")
    ] = _DEFAULT.lighting,
    shadows: Annotated[
        bool, typer.Option("--shadows/--no-shadows", help="Whether lights cast shadows.")
    ] = _DEFAULT.shadows,
    renderer: Annotated[
        PictureRenderer, typer.Option(help="torch is built in; mitsuba path-traces.")
    ] = _DEFAULT.renderer,
    size: Annotated[
        int, typer.Option(min=16, max=4096, metavar="PX", help="Side of a picture.")
    ] = _DEFAULT.size_px,
    background: Annotated[
        str, typer.Option(metavar="RRGGBB|none", help="Hexadecimal sRGB; none is transparent.")
    ] = "2e3034",
    frames: Annotated[
        int, typer.Option(min=2, max=720, help="Pictures of a turntable.")
    ] = _DEFAULT.turntable_frames,
    samples: Annotated[
        int, typer.Option(min=1, max=4096, help="Rays for each pixel (mitsuba).")
    ] = _DEFAULT.samples,
) -> None:
    """Draw a mesh: one or more views as a PNG, or a turntable as GIF, WebP or MP4.

    Prints the file.

    Example: face3d render head.glb -o head.png --view "front three-quarter side"
    """
    settings = PictureSettings(
        style=style,
        lighting=lighting,
        shadows=shadows,
        renderer=renderer,
        size_px=size,
        background=parse_background(background),
        samples=samples,
        turntable_frames=frames,
    )
    is_moving = out.suffix.lower() in (".gif", ".webp", ".mp4")
    if not is_moving and out.suffix.lower() != ".png":
        raise UsageError(f"expected a name ending in .png, .gif, .webp or .mp4, found {out.name}")
    import numpy as np

    from face3d_cli.io.mesh import load_mesh
    from face3d_cli.stages.picture import View, draw_mesh, parse_view

    wanted = [parse_view(text) for text in views.split()]
    if not wanted:
        raise UsageError("no view was named", hint="try --view front")
    if is_moving and wanted[0].in_photo:
        raise UsageError("a turntable begins at a named view or an angle, found photo")
    mesh = load_mesh(mesh_file)
    shot = _shot_of(mesh_file, mesh)
    if is_moving:
        from face3d_cli.io.animation import save_animation

        turns = [wanted[0].yaw_deg + 360.0 * index / frames for index in range(frames)]
        pictures = []
        with output.progress(frames, "turntable") as advance:
            for yaw_deg in turns:
                turned = View(yaw_deg, wanted[0].pitch_deg)
                pictures.append(draw_mesh(mesh, turned, settings, shot))
                advance()
        save_animation(out, pictures, settings.frames_per_second)
    else:
        from face3d_cli.io.image import save_png

        save_png(out, np.hstack([draw_mesh(mesh, view, settings, shot) for view in wanted]))
    output.result(str(out))


def _shot_of(mesh_file: Path, mesh: Mesh) -> Shot | None:
    """How the photo shows the mesh; None where the file does not say it of exactly one face."""
    if mesh_file.suffix.lower() != ".glb":
        return None
    from face3d_cli.core.mesh import METRES_PER_UNIT
    from face3d_cli.io.glb_reader import load_shots
    from face3d_cli.stages.picture import shot_from_json

    found = load_shots(mesh_file)
    return shot_from_json(found[0], METRES_PER_UNIT[mesh.unit]) if len(found) == 1 else None


def parse_background(text: str) -> tuple[int, int, int] | None:
    """Read `--background`.

    Raises:
        UsageError: neither "none" nor six hexadecimal digits.
    """
    if text == "none":
        return None
    digits = text.removeprefix("#")
    try:
        levels = bytes.fromhex(digits)
    except ValueError:
        levels = b""
    if len(levels) != 3 or len(digits) != 6:
        raise UsageError(f"--background must be none or RRGGBB, found '{text}'")
    return levels[0], levels[1], levels[2]
