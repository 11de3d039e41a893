"""How a command goes over several photos: targets, progress, results, failures, exit code."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from face3d_cli.cli import output
from face3d_cli.errors import Face3dError, UsageError
from face3d_cli.settings import PositionMapSettings

if TYPE_CHECKING:
    from face3d_cli.pipeline.result import FaceReconstruction

FAILURES = 6


@dataclass(frozen=True)
class PhotoOutcome:
    """What one photo gave: its report, and the files written, for people."""

    report: dict[str, Any]
    files: Sequence[Path] = ()


def tell_doubts(photo: str, faces: Sequence[FaceReconstruction]) -> None:
    """Say on stderr which faces the position map network contradicts itself about."""
    for index, face in enumerate(faces):
        if face.doubt is not None and face.doubt > PositionMapSettings.doubt_from:
            output.talk(
                f"{photo}: face {index} is in doubt ({100 * face.doubt:.0f} % apart in the mirror, "
                f"{100 * PositionMapSettings.doubt_from:.1f} % is usual at most): look at it"
            )


def run_photos(
    photos: Sequence[str],
    one_photo: Callable[[str], PhotoOutcome],
    *,
    as_json: bool,
    text: str,
) -> None:
    """Do every photo; a failure is reported and the next one goes on.

    Raises:
        Face3dError: the only photo failed.
        typer.Exit: with 6 when some of several photos failed.
    """
    from face3d_cli.pipeline.result import failure_json

    problems: list[Face3dError] = []
    with output.progress(len(photos), text) as advance:
        for photo in photos:
            advance(0, text=f"{text} {Path(photo).name}")
            try:
                outcome = one_photo(photo)
            except Face3dError as problem:
                problems.append(problem)
                if as_json:
                    output.json_line(failure_json(photo, problem))
                if len(photos) > 1:
                    output.error(problem)
            else:
                if as_json:
                    output.json_line(outcome.report)
                else:
                    for file in outcome.files:
                        output.result(str(file))
            advance()
    if problems and len(photos) == 1:
        raise problems[0]
    if problems:
        output.talk(f"ok={len(photos) - len(problems)} failed={len(problems)}")
        raise typer.Exit(FAILURES)


def targets_of(photos: Sequence[str], out: Path, suffix: str) -> dict[str, Path]:
    """The file that each photo becomes: OUT itself for one photo, OUT/NAME.SUFFIX in a folder.

    Raises:
        UsageError: OUT is a file for several photos, or two photos would become one file.
    """
    is_file = bool(out.suffix) and not out.is_dir()
    if is_file and len(photos) == 1:
        return {photos[0]: out}
    if is_file:
        raise UsageError(
            f"{len(photos)} photos cannot become the one file {out}", hint="name a folder instead"
        )
    targets = {
        photo: out / f"{'stdin' if photo == '-' else Path(photo).stem}.{suffix}" for photo in photos
    }
    if len(set(targets.values())) < len(photos):
        raise UsageError(
            "two of the photos have the same name and would become one file",
            hint="run them into different folders",
        )
    return targets
