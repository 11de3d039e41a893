"""`face3d segment`: which part of a photo is skin, hair, eyes, nose, mouth, clothes, and so on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from face3d_cli.cli.options import ClassBalanceOpt, JsonOpt, OutOpt, PhotosArg, parse_faces
from face3d_cli.cli.photos import PhotoOutcome, run_photos, targets_of
from face3d_cli.errors import UsageError
from face3d_cli.settings import ClassSet, SegmentationSettings


def segment(
    photos: PhotosArg,
    out: OutOpt,
    overlay: Annotated[
        Path | None,
        typer.Option(metavar="PNG", help="Photo with tinted classes; a folder for several photos."),
    ] = None,
    probabilities: Annotated[
        Path | None,
        typer.Option(
            metavar="NPZ", help="Probability of every class at every pixel; a folder for several."
        ),
    ] = None,
    classes: Annotated[
        ClassSet,
        typer.Option(help="all: the eighteen classes; fasseg: FASSEG's six, in its colours."),
    ] = "all",
    faces: Annotated[
        str | None,
        typer.Option(
            metavar="largest|all|N", help="Find faces, and look at these again from close by."
        ),
    ] = None,
    size: Annotated[
        int | None,
        typer.Option(
            min=0, metavar="PX", help="Long side at which the network sees the photo; 0: its own."
        ),
    ] = None,
    class_balance: ClassBalanceOpt = SegmentationSettings.class_balance,
    weights: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Weights of your own from face3d train unet."
        ),
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Label every pixel of a photo; writes an indexed PNG whose pixels are class numbers.

    With --faces all small faces of a group keep their eyes and lips, and --json lists each face.

    Example: face3d segment photo.jpg -o labels.png --overlay overlay.png
    """
    files = {"labels": targets_of(photos, out, "png")}
    if overlay is not None:
        files["overlay"] = targets_of(photos, overlay, "overlay.png")
    if probabilities is not None:
        files["probabilities"] = targets_of(photos, probabilities, "npz")
    everything = [path for paths in files.values() for path in paths.values()]
    if len(set(everything)) < len(everything):
        raise UsageError("-o and --overlay name the same file", hint="give one another name")

    settings = segmentation_settings(size, class_balance)
    wanted = parse_faces(faces) if faces else None
    from face3d_cli.pipeline.segment import segment_file

    def one_photo(photo: str) -> PhotoOutcome:
        written = {what: paths[photo] for what, paths in files.items()}
        report = segment_file(
            photo, written, settings, class_set=classes, faces=wanted, weights=weights
        )
        return PhotoOutcome(report, list(written.values()))

    run_photos(photos, one_photo, as_json=as_json, text="segmenting")


def segmentation_settings(size: int | None, class_balance: float) -> SegmentationSettings:
    """What `--size` and `--class-balance` say, for one photo, a batch or a data set."""
    return SegmentationSettings(long_side_px=size, class_balance=class_balance)
