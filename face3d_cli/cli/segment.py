"""`face3d segment`: which part of a photo is skin, hair, eyes, nose, mouth, clothes, and so on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from face3d_cli import __version__
from face3d_cli.cli.options import JsonOpt, OutOpt, PhotosArg, parse_faces
from face3d_cli.cli.photos import PhotoOutcome, run_photos, targets_of
from face3d_cli.errors import NoFaceFound, UsageError
from face3d_cli.settings import FacesChoice

if TYPE_CHECKING:
    from face3d_cli.arrays import RgbImage
    from face3d_cli.core.face_box import FaceBox
    from face3d_cli.stages.segmentation import Segmentation

ClassSet = Literal["all", "fasseg"]


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

    wanted = parse_faces(faces) if faces else None

    def one_photo(photo: str) -> PhotoOutcome:
        written = {what: paths[photo] for what, paths in files.items()}
        report = _segment_one(photo, written, classes, wanted, size, weights)
        return PhotoOutcome(report, list(written.values()))

    run_photos(photos, one_photo, as_json=as_json, text="segmenting")


Targets = dict[str, Path]


def _segment_one(
    photo: str,
    files: Targets,
    class_set: ClassSet,
    faces: FacesChoice | int | None,
    size: int | None,
    weights: Path | None,
) -> dict[str, Any]:
    """Segment one photo, write its files, and return its JSON record."""
    from dataclasses import replace

    from face3d_cli.io.image import read_photo_argument
    from face3d_cli.pipeline.result import StageTimings
    from face3d_cli.settings import SegmentationSettings
    from face3d_cli.stages.segmentation import segment_photo

    settings = SegmentationSettings()
    if size is not None:
        settings = replace(settings, long_side_px=size or None)
    timings = StageTimings()
    with timings.measure("read"):
        image = read_photo_argument(photo)
    boxes: list[FaceBox] = []
    if faces is not None:
        with timings.measure("detect"):
            boxes = _find_faces(image, photo, faces)
    with timings.measure("segment"):
        found = segment_photo(image, settings, faces=boxes, weights=weights)
    with timings.measure("write"):
        areas = _write(image, found, files, class_set)
    return {
        "photo": photo,
        "status": "ok",
        "version": __version__,
        "width": image.shape[1],
        "height": image.shape[0],
        **{name: str(path) for name, path in files.items()},
        "areas": areas,
        **({"faces": _face_records(found, boxes)} if boxes else {}),
        "timings_ms": timings.to_json(),
    }


def _find_faces(image: RgbImage, photo: str, faces: FacesChoice | int) -> list[FaceBox]:
    """Boxes of the faces asked for, left to right."""
    from face3d_cli.stages.detection import detect_faces

    found = detect_faces(image, want_all=faces not in ("largest", 1))
    if not found:
        raise NoFaceFound(
            f"no face in {photo} ({image.shape[1]}x{image.shape[0]})",
            hint="leave --faces out to segment the photo as a whole",
        )
    count = len(found) if faces == "all" else 1 if faces == "largest" else faces
    largest = sorted(found, key=lambda box: -box.area)[:count]
    return sorted(largest, key=lambda box: box.center)


def _write(
    image: RgbImage, found: Segmentation, files: Targets, class_set: ClassSet
) -> dict[str, float]:
    """Write the files asked for; returns the share of the photo that each class covers."""
    import numpy as np

    from face3d_cli.core import segmentation_classes as core
    from face3d_cli.io.segmentation_files import save_label_png, save_overlay, save_probabilities

    labels, names, colors = found.labels, core.CLASS_NAMES, core.CLASS_COLORS
    chances = found.probabilities() if class_set == "fasseg" or "probabilities" in files else None
    if class_set == "fasseg" and chances is not None:
        chances = core.merge_probabilities(chances, core.FASSEG)
        labels = chances.argmax(axis=0).astype(np.uint8)
        names, colors = core.FASSEG_NAMES, core.FASSEG_COLORS
    save_label_png(files["labels"], labels, colors)
    if "overlay" in files:
        save_overlay(files["overlay"], image, labels, colors)
    if "probabilities" in files and chances is not None:
        save_probabilities(files["probabilities"], chances, names)
    return core.class_areas(labels, names)


def _face_records(found: Segmentation, boxes: Sequence[FaceBox]) -> list[dict[str, Any]]:
    """What each face's box shows."""
    from face3d_cli.core import segmentation_classes as core

    records = []
    for index, box in enumerate(boxes):
        left, top = max(0, round(box.x)), max(0, round(box.y))
        inside = found.labels[
            top : max(top, round(box.y + box.height)), left : max(left, round(box.x + box.width))
        ]
        records.append(
            {
                "index": index,
                "box_px": [round(v, 1) for v in (box.x, box.y, box.width, box.height)],
                "visible_skin": float(core.visible_skin_mask(inside).mean()) if inside.size else 0,
                "areas": core.class_areas(inside),
            }
        )
    return records
