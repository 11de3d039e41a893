"""From a labelled photo to training samples: the photo as it is, and pictures turned in depth."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, RgbImage
from face3d_cli.core.camera import Perspective
from face3d_cli.core.fill import push_pull
from face3d_cli.core.position_map import FACE_CENTRE_CM
from face3d_cli.io.image import read_photo
from face3d_cli.settings import SegmentationSettings, SynthSettings
from face3d_cli.stages.segmentation import segment_photo
from face3d_cli.training.synth.backgrounds import Backgrounds
from face3d_cli.training.synth.fit import Correspondence, FittedFace, fit_face
from face3d_cli.training.synth.heads import SeenHead
from face3d_cli.training.synth.sample import (
    PX_PER_CM,
    SAMPLE_PX,
    Sample,
    sample_at,
)
from face3d_cli.training.synth.surface import FaceSurface
from face3d_cli.training.synth.turn import HEAD_CENTRE_CM, make_relief
from face3d_cli.training.synth.turned import FaceInSquare, turned_samples

Rng = np.random.Generator
SOURCE_PX = 240


def samples_of_photo(
    path: Path,
    points: FloatArray,
    head: SeenHead | None,
    surface: FaceSurface,
    pairs: Correspondence,
    backgrounds: Backgrounds,
    rng: Rng,
    settings: SynthSettings = SynthSettings(),
) -> Iterator[Sample]:
    """Make the samples of one labelled photo; none when the face fits too badly."""
    photo = read_photo(path)
    fitted = fit_face(surface, photo, points, pairs, settings.fit, head)
    if fitted.error > settings.fit.max_error:
        return
    coefficients = fitted.coefficients.astype(np.float32)
    head_cm = surface.mean_cm + np.tensordot(coefficients, surface.basis_cm, axes=1)
    source, known, place = _source_square(photo, fitted)
    head_px = place(fitted.place(head_cm))
    centre_px = place(fitted.place(HEAD_CENTRE_CM[None]))[0]
    face_px = place(fitted.place(FACE_CENTRE_CM[None]))[0]
    yield _photo_itself(source, known, fitted, coefficients, face_px, backgrounds, rng)
    labels = segment_photo(source, SegmentationSettings(long_side_px=160)).labels
    person = _around_head((labels > 0) & known, centre_px)
    relief = make_relief(source, person, head_px, surface.head_triangles, centre_px, PX_PER_CM)
    seen = Perspective(fitted.closeness_per_cm / PX_PER_CM, face_px[:2])
    relief = replace(relief, points_px=seen.undo(relief.points_px))
    face = FaceInSquare(
        source, labels, person, relief, fitted, coefficients, surface, head_cm, face_px
    )
    yield from turned_samples(face, backgrounds, rng, settings)


def _source_square(
    photo: RgbImage, fitted: FittedFace
) -> tuple[RgbImage, Any, Callable[[FloatArray], FloatArray]]:
    """The photo around the head at `PX_PER_CM`; where it is known; the map of points to there.

    Beyond the photo's edges it is continued smoothly.
    """
    zoom = PX_PER_CM / fitted.scale_px_per_cm
    centre = fitted.place(HEAD_CENTRE_CM[None])[0, :2]
    if zoom < 0.6:
        reduced = cv2.resize(photo, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_AREA)
        ratio = np.array(reduced.shape[1::-1]) / photo.shape[1::-1]
    else:
        reduced, ratio = photo, np.ones(2)
    middle = (SOURCE_PX - 1) / 2
    linear = np.diag(zoom / ratio)
    offset = middle - zoom * centre + (zoom / ratio) * (0.5 - 0.5 * ratio)
    to_square = np.column_stack([linear, offset])
    shape = (SOURCE_PX, SOURCE_PX)
    square = cv2.warpAffine(reduced, to_square, shape, flags=cv2.INTER_LINEAR)
    ones = np.full(reduced.shape[:2], 255, np.uint8)
    known = cv2.warpAffine(ones, to_square, shape, flags=cv2.INTER_LINEAR) == 255
    weight = known.astype(np.float32)
    filled = push_pull(square.astype(np.float32) * weight[..., None], weight)
    square = np.where(known[..., None], square, np.clip(filled, 0, 255)).astype(np.uint8)

    def place(points: FloatArray) -> FloatArray:
        moved = points * zoom
        moved[..., :2] += middle - zoom * centre
        return moved

    return square, known, place


def _around_head(person: Any, centre_px: FloatArray) -> Any:
    """The connected part of the person mask that holds the head."""
    _, labels = cv2.connectedComponents(person.astype(np.uint8))
    column, row = centre_px[:2].round().astype(int)
    mine = labels[row, column]
    return labels == mine if mine else person


def _photo_itself(
    source: RgbImage,
    known: Any,
    fitted: FittedFace,
    coefficients: FloatArray,
    face_px: FloatArray,
    backgrounds: Backgrounds,
    rng: Rng,
) -> Sample:
    """The photo; what lies beyond its edges is continued, or another picture, or one colour."""
    corner = np.round(face_px[:2] - (SAMPLE_PX - 1) / 2).astype(int)
    left, top = np.clip(corner, 0, SOURCE_PX - SAMPLE_PX)
    cut = (slice(top, top + SAMPLE_PX), slice(left, left + SAMPLE_PX))
    image, inside = source[cut].copy(), known[cut]
    draw = rng.random()
    if draw < 0.35:
        image[~inside] = backgrounds.beyond_photo(rng)[~inside]
    elif draw < 0.5:
        image[~inside] = rng.integers(0, 256, 3) if rng.random() < 0.5 else rng.choice((0, 255))
    place_px = face_px - (left, top, 0.0)
    return sample_at(
        image, coefficients, fitted.rotation, place_px,
        is_turned=False, closeness_per_cm=fitted.closeness_per_cm,
    )  # fmt: skip
