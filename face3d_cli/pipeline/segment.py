"""Which steps label the pixels of one photo, and what does the report say?"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from face3d_cli.arrays import RgbImage
from face3d_cli.core.face_box import FaceBox
from face3d_cli.errors import NoFaceFound
from face3d_cli.pipeline.result import StageTimings
from face3d_cli.settings import ClassSet, FacesChoice, SegmentationSettings
from face3d_cli.version import __version__

if TYPE_CHECKING:
    from face3d_cli.stages.segmentation import Segmentation

Targets = dict[str, Path]


def segment_file(
    photo: str,
    files: Targets,
    settings: SegmentationSettings = SegmentationSettings(),
    *,
    class_set: ClassSet = "all",
    faces: FacesChoice | int | None = None,
    weights: Path | None = None,
) -> dict[str, Any]:
    """Segment one photo, write its files, and return its report.

    Args:
        photo: a file, or "-" for standard input.
        files: where to write "labels" and, if wanted, "overlay" and "probabilities".
        settings: sizes at which the network looks.
        class_set: "all", or FASSEG's six.
        faces: which faces are looked at again from close by; None looks for none.
        weights: another weights file than the shipped one.

    Raises:
        UnreadableInput: the photo cannot be read.
        NoFaceFound: faces were asked for, and there is none.
        ModelError: the weights are missing or damaged.
        OutputError: a file cannot be written.
    """
    from face3d_cli.io.image import read_photo_argument
    from face3d_cli.stages.segmentation import segment_photo

    timings = StageTimings()
    with timings.measure("read"):
        image = read_photo_argument(photo)
    boxes: list[FaceBox] = []
    if faces is not None:
        with timings.measure("detect"):
            boxes = _find_faces(image, photo, faces)
    with timings.measure("segment"):
        found = segment_photo(image, settings, faces=boxes, weights=weights, classes=class_set)
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
        **({"faces": _face_records(found, boxes, class_set)} if boxes else {}),
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
    from face3d_cli.core import segmentation_classes as core
    from face3d_cli.io.segmentation_files import save_label_png, save_overlay, save_probabilities

    labels, names, colors = found.labels, core.CLASS_NAMES, core.CLASS_COLORS
    if class_set == "fasseg":
        names, colors = core.FASSEG_NAMES, core.FASSEG_COLORS
    save_label_png(files["labels"], labels, colors)
    if "overlay" in files:
        save_overlay(files["overlay"], image, labels, colors)
    if "probabilities" in files:
        save_probabilities(files["probabilities"], found.probabilities(), names)
    return core.class_areas(labels, names)


def _face_records(
    found: Segmentation, boxes: Sequence[FaceBox], class_set: ClassSet
) -> list[dict[str, Any]]:
    """What each face's box shows."""
    from face3d_cli.core import segmentation_classes as core

    records = []
    for index, box in enumerate(boxes):
        left, top = max(0, round(box.x)), max(0, round(box.y))
        inside = found.labels[
            top : max(top, round(box.y + box.height)), left : max(left, round(box.x + box.width))
        ]
        record: dict[str, Any] = {
            "index": index,
            "box_px": [round(v, 1) for v in (box.x, box.y, box.width, box.height)],
        }
        if class_set == "all":
            skin = core.visible_skin_mask(inside)
            record["visible_skin"] = float(skin.mean()) if inside.size else 0.0
        names = core.CLASS_NAMES if class_set == "all" else core.FASSEG_NAMES
        records.append({**record, "areas": core.class_areas(inside, names)})
    return records
