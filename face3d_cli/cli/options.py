"""Option types that several commands share, so that each reads the same everywhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

PhotosArg = Annotated[
    list[str], typer.Argument(metavar="PHOTO...", help="Photos; - is stdin.")
]
PhotoArg = Annotated[str, typer.Argument(metavar="PHOTO", help="Photo file; - is stdin.")]
OutOpt = Annotated[
    Path, typer.Option("--output", "-o", metavar="OUT", help="Result file, or folder for several.")
]
JsonOpt = Annotated[bool, typer.Option("--json", help="One JSON object per photo on stdout.")]
JsonObjectOpt = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
