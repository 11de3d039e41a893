"""`face3d landmarks`: where faces and their 68 points are, as JSON, iBUG points and a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from face3d_cli.cli.options import (
    BoxOpt,
    DetectorOpt,
    FacesOpt,
    JsonOpt,
    PhotosArg,
    parse_box,
    parse_faces,
)
from face3d_cli.cli.photos import PhotoOutcome, run_photos, targets_of
from face3d_cli.errors import UsageError
from face3d_cli.settings import DetectionSettings, ReconstructSettings

SUFFIXES = (".json", ".pts", ".png")


def landmarks(
    photos: PhotosArg,
    outs: Annotated[
        list[Path] | None,
        typer.Option(
            "--output", "-o", metavar="OUT", help="File .json, .pts or .png; may be repeated."
        ),
    ] = None,
    faces: FacesOpt = "largest",
    detector: DetectorOpt = DetectionSettings.detector,
    box: BoxOpt = None,
    as_json: JsonOpt = False,
) -> None:
    """Find faces and their 68 landmarks.

    Writes the report (.json), iBUG points (.pts) or a picture with the points drawn in (.png).
    Several faces become NAME_0.pts, NAME_1.pts, ... from left to right. For several photos OUT is
    a folder, which gets all three of each.

    Example: face3d landmarks photo.jpg -o points.pts -o overlay.png
    """
    if not outs and not as_json:
        raise UsageError("nothing to write: expected -o FILE or --json")
    targets = _targets(photos, outs or [])
    settings = ReconstructSettings(detection=DetectionSettings(detector=detector))
    wanted, known_box = parse_faces(faces), parse_box(box)
    from face3d_cli.pipeline.locate import locate

    def one_photo(photo: str) -> PhotoOutcome:
        found = locate(photo, settings, faces=wanted, box=known_box)
        files = [file for target in targets[photo] for file in found.save(target)]
        return PhotoOutcome(found.to_json(), files)

    run_photos(photos, one_photo, as_json=as_json, text="landmarks")


def _targets(photos: list[str], outs: list[Path]) -> dict[str, list[Path]]:
    """The files that each photo is written to."""
    targets: dict[str, list[Path]] = {photo: [] for photo in photos}
    for out in outs:
        is_folder = not out.suffix or out.is_dir()
        if not is_folder and out.suffix not in SUFFIXES:
            raise UsageError(f"landmarks are written as {', '.join(SUFFIXES)}, found {out.name}")
        for suffix in SUFFIXES if is_folder else (out.suffix,):
            for photo, target in targets_of(photos, out, suffix[1:]).items():
                targets[photo].append(target)
    return targets
