"""Where are the faces of a photo, and their landmarks?"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from face3d_cli.arrays import Points2, RgbImage
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import bounding_box
from face3d_cli.errors import NoFaceFound, UsageError
from face3d_cli.pipeline.result import StageTimings, box_json, numbered
from face3d_cli.settings import FacesChoice, ReconstructSettings
from face3d_cli.version import __version__
from face3d_cli.weights.registry import licence_records


@dataclass(frozen=True)
class LocatedFaces:
    """The faces of one photo, left to right, each a box and (68, 2) landmarks in image pixels."""

    photo: str
    image: RgbImage
    faces: tuple[tuple[FaceBox, Points2], ...]
    timings: StageTimings

    def save(self, path: str | Path) -> list[Path]:
        """Write the report (.json), the points (.pts, a file for each face) or a picture (.png).

        Raises:
            UsageError: another suffix.
            OutputError: a file cannot be written.
        """
        path = Path(path)
        if path.suffix == ".pts":
            from face3d_cli.io.points import save_pts

            files = numbered(path, len(self.faces))
            for file, (_, points) in zip(files, self.faces, strict=True):
                save_pts(file, points)
            return files
        if path.suffix == ".png":
            from face3d_cli.io.image import save_png
            from face3d_cli.stages.contact_sheet import draw_landmarks

            save_png(path, draw_landmarks(self.image, self.faces))
            return [path]
        if path.suffix == ".json":
            from face3d_cli.io.atomic import atomic_path

            with atomic_path(path) as unfinished:
                unfinished.write_text(json.dumps(self.to_json(), indent=1), encoding="utf-8")
            return [path]
        raise UsageError(f"landmarks are written as .json, .pts or .png, found {path.name}")

    def to_json(self) -> dict[str, Any]:
        """The report."""
        return {
            "photo": self.photo,
            "status": "ok",
            "version": __version__,
            "timings_ms": self.timings.to_json(),
            "faces": [
                {"index": index, **box_json(box), "landmarks_px": points.round(3).tolist()}
                for index, (box, points) in enumerate(self.faces)
            ],
            "licences": licence_records(["dlib"]),
        }


def locate(
    photo: str | Path | RgbImage,
    settings: ReconstructSettings = ReconstructSettings(),
    *,
    faces: FacesChoice | int = "largest",
    box: FaceBox | None = None,
) -> LocatedFaces:
    """Find faces and their 68 landmarks; arguments and errors as those of `reconstruct`."""
    timings = StageTimings()
    name, image = read_input(photo, settings, timings)
    found = locate_faces(image, name, settings, timings, faces=faces, box=box)
    return LocatedFaces(name, image, tuple(found), timings)


def locate_faces(
    image: RgbImage,
    name: str,
    settings: ReconstructSettings,
    timings: StageTimings,
    *,
    faces: FacesChoice | int = "largest",
    box: FaceBox | None = None,
    landmarks_px: Points2 | None = None,
) -> list[tuple[FaceBox, Points2]]:
    """Boxes and (68, 2) landmarks of the faces asked for, left to right.

    Raises:
        NoFaceFound: there is none.
        UsageError: `faces` is not positive.
    """
    found = find_boxes(
        image, name, settings, timings, faces=faces, box=box, landmarks_px=landmarks_px
    )
    if landmarks_px is not None:
        return [(found[0], landmarks_px)]
    from face3d_cli.stages.landmarks import predict_landmarks

    with timings.measure("landmarks"):
        return [(each, predict_landmarks(image, each, settings.landmarks)) for each in found]


def find_boxes(
    image: RgbImage,
    name: str,
    settings: ReconstructSettings,
    timings: StageTimings,
    *,
    faces: FacesChoice | int = "largest",
    box: FaceBox | None = None,
    landmarks_px: Points2 | None = None,
) -> list[FaceBox]:
    """Boxes of the faces asked for, left to right; a box or landmarks that are given are taken.

    Raises:
        NoFaceFound: there is none.
        UsageError: `faces` is not positive.
    """
    if isinstance(faces, int) and faces < 1:
        raise UsageError(f"the number of faces must be positive, got {faces}")
    if landmarks_px is not None:
        x, y, width, height = bounding_box(landmarks_px)
        return [FaceBox(x, y, width, height, detector="landmarks")]
    if box is not None:
        found = [box]
    else:
        from face3d_cli.stages.detection import detect_faces

        with timings.measure("detect"):
            found = detect_faces(image, settings.detection, want_all=faces not in ("largest", 1))
    if not found:
        height, width = image.shape[:2]
        raise NoFaceFound(
            f"no face in {name} ({width}x{height})",
            hint="try a closer or larger photo, --detector cnn, or --box x,y,w,h",
        )
    wanted = len(found) if faces == "all" else 1 if faces == "largest" else faces
    largest = sorted(found, key=lambda each: each.area, reverse=True)[:wanted]
    return sorted(largest, key=lambda each: each.center)


def read_input(
    photo: str | Path | RgbImage, settings: ReconstructSettings, timings: StageTimings
) -> tuple[str, RgbImage]:
    """Name and pixels of a photo given as a file, "-" for standard input, or an image."""
    if isinstance(photo, np.ndarray):
        return "image", photo
    from face3d_cli.io.image import read_photo_argument

    with timings.measure("read"):
        return str(photo), read_photo_argument(str(photo), settings.image)
