"""Option types that several commands share, so that each reads the same everywhere."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from face3d_cli.errors import UsageError
from face3d_cli.settings import CameraName, DetectorName, FacesChoice, MapModelName, MeshFormat

if TYPE_CHECKING:
    from face3d_cli.arrays import Points2
    from face3d_cli.core.face_box import FaceBox

PhotosArg = Annotated[list[str], typer.Argument(metavar="PHOTO...", help="Photos; - is stdin.")]
PhotoArg = Annotated[str, typer.Argument(metavar="PHOTO", help="Photo file; - is stdin.")]
OutOpt = Annotated[
    Path, typer.Option("--output", "-o", metavar="OUT", help="Result file, or folder for several.")
]
FormatOpt = Annotated[
    MeshFormat, typer.Option("--format", help="File format when OUT is a folder.")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="One JSON object per photo on stdout.")]
JsonObjectOpt = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
FacesOpt = Annotated[
    str, typer.Option(metavar="largest|all|N", help="Which faces; kept from left to right.")
]
ClassBalanceOpt = Annotated[
    float,
    typer.Option(
        min=0.0, max=1.0, metavar="0..1",
        help="Prefer rare classes: finds more of eyes and lips, and claims too much of them.",
    ),
]  # fmt: skip
DetectorOpt = Annotated[
    DetectorName, typer.Option(help="auto: HOG, then YuNet if pulled, else dlib's CNN.")
]
BoxOpt = Annotated[
    str | None, typer.Option(metavar="X,Y,W,H", help="Take this face box; nothing is detected.")
]
LandmarksOpt = Annotated[
    Path | None,
    typer.Option(metavar="FILE.pts", help="Take these 68 landmarks; nothing is detected."),
]
IterationsOpt = Annotated[int, typer.Option(min=1, max=100, help="Fitting iterations.")]
ComponentsOpt = Annotated[
    int | None, typer.Option(min=1, max=63, help="Shape components to fit; all if not given.")
]
ExpressionsOpt = Annotated[
    bool, typer.Option("--expressions/--no-expressions", help="Keep the expression, or neutral.")
]

CameraOpt = Annotated[
    CameraName,
    typer.Option(help="How the photo was seen (ict); auto: from where the position map says."),
]
FieldOfViewOpt = Annotated[
    float, typer.Option(metavar="DEG", help="Across the photo's longer side (perspective).")
]
DenseOpt = Annotated[
    bool, typer.Option("--dense/--no-dense", help="Also fit to a position map's points (ict).")
]
MapModelOpt = Annotated[
    MapModelName, typer.Option(help="Network of the position map; prnet-resfcn256 is PRNet's own.")
]


def require_ict_for_perspective(camera: CameraName, method: str) -> None:
    """Only heads are fitted through a perspective camera.

    Raises:
        UsageError: another method is to be.
    """
    if camera == "perspective" and method != "ict":
        raise UsageError(
            f"a perspective camera is fitted to ICT-FaceKit only, found {method}",
            hint="use ict, or leave --camera away",
        )


def parse_faces(text: str) -> FacesChoice | int:
    """Read `--faces`.

    Raises:
        UsageError: neither "largest", "all" nor a positive number.
    """
    if text == "largest":
        return "largest"
    if text == "all":
        return "all"
    if text.isascii() and text.isdigit() and int(text) > 0:
        return int(text)
    raise UsageError(f"--faces must be largest, all or a positive number, found '{text}'")


def parse_box(text: str | None) -> FaceBox | None:
    """Read `--box x,y,w,h` in pixels.

    Raises:
        UsageError: not four numbers, or no extent.
    """
    if text is None:
        return None
    from face3d_cli.core.face_box import FaceBox

    try:
        x, y, width, height = (float(part) for part in text.split(","))
    except ValueError:
        raise UsageError(f"--box must be four numbers x,y,w,h, found '{text}'") from None
    if not (math.isfinite(x + y + width + height) and width > 0 and height > 0):
        raise UsageError(f"--box must have a positive width and height, found '{text}'")
    return FaceBox(x, y, width, height)


def parse_landmarks(path: Path | None) -> Points2 | None:
    """Read `--landmarks FILE.pts` as (68, 2) image pixels.

    Raises:
        UnreadableInput: not a file of 68 points.
    """
    if path is None:
        return None
    from face3d_cli.io.points import read_pts

    return read_pts(path)
