"""From labelled photos to a folder of training samples: photos as they are, and photos turned.

A sample is a square picture in which the head has always the same size (`PX_PER_CM`), and the
numbers of its face: shape coefficients, rotation, shift. The position map is made of those when it
is needed, from `surface.npz` beside them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, RgbImage
from face3d_cli.core.fill import push_pull
from face3d_cli.io.image import read_photo
from face3d_cli.settings import SegmentationSettings, SynthSettings
from face3d_cli.stages.segmentation import segment_photo
from face3d_cli.training.augment import filler
from face3d_cli.training.synth.fit import Correspondence, FittedFace, fit_face
from face3d_cli.training.synth.surface import FaceSurface
from face3d_cli.training.synth.turn import HEAD_CENTRE_CM, Relief, make_relief, render_turned

Rng = np.random.Generator
SAMPLE_PX = 160
PX_PER_CM = 5.82  # 22 cm are 128 px
SOURCE_PX = 240
# Whatever the pose, the landmarks' box is nearly centred on this place of the model.
FACE_CENTRE_CM = np.array([0.0, -1.8, 7.0])
MAP_PX = 64


@dataclass(frozen=True)
class Sample:
    """One training picture and its face.

    Attributes:
        image: (SAMPLE_PX, SAMPLE_PX, 3).
        coefficients: (K,).
        rotation: (3, 3) model to camera, y up.
        shift_px: (3,) x right, y down, z nearer; the scale is `PX_PER_CM`.
        yaw_deg: of the face in the picture.
        is_turned: whether it was rendered.
    """

    image: RgbImage
    coefficients: FloatArray
    rotation: FloatArray
    shift_px: FloatArray
    yaw_deg: float
    is_turned: bool


def samples_of_photo(
    path: Path,
    points: FloatArray,
    surface: FaceSurface,
    pairs: Correspondence,
    fillers: list[RgbImage],
    rng: Rng,
    settings: SynthSettings = SynthSettings(),
) -> Iterator[Sample]:
    """Make the samples of one labelled photo; none when the face fits too badly."""
    photo = read_photo(path)
    fitted = fit_face(surface, photo, points, pairs, settings.fit)
    if fitted.error > settings.fit.max_error:
        return
    coefficients = fitted.coefficients.astype(np.float32)
    head_cm = surface.mean_cm + np.tensordot(coefficients, surface.basis_cm, axes=1)
    source, known, place = _source_square(photo, fitted)
    head_px = place(fitted.place(head_cm))
    centre_px = place(fitted.place(HEAD_CENTRE_CM[None]))[0]
    face_px = place(fitted.place(FACE_CENTRE_CM[None]))[0]
    yield _photo_itself(source, known, fitted, coefficients, face_px, fillers, rng)
    person = (segment_photo(source, SegmentationSettings(long_side_px=160)).labels > 0) & known
    person = _around_head(person, centre_px)
    relief = make_relief(source, person, head_px, surface.head_triangles, centre_px, PX_PER_CM)
    for _ in range(settings.turned_per_photo):
        yield _turned(relief, source, fitted, coefficients, face_px, fillers, rng, settings)


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
    fillers: list[RgbImage],
    rng: Rng,
) -> Sample:
    """The photo; what lies beyond its edges is continued, or another picture, or one colour."""
    corner = np.round(face_px[:2] - (SAMPLE_PX - 1) / 2).astype(int)
    left, top = np.clip(corner, 0, SOURCE_PX - SAMPLE_PX)
    cut = (slice(top, top + SAMPLE_PX), slice(left, left + SAMPLE_PX))
    image, inside = source[cut].copy(), known[cut]
    draw = rng.random()
    if draw < 0.35:
        image[~inside] = filler(fillers, SAMPLE_PX, rng)[~inside]
    elif draw < 0.5:
        image[~inside] = rng.integers(0, 256, 3) if rng.random() < 0.5 else rng.choice((0, 255))
    place_px = face_px - (left, top, 0.0)
    return _sample(image, coefficients, fitted.rotation, place_px, is_turned=False)


def _sample(
    image: RgbImage,
    coefficients: FloatArray,
    rotation: FloatArray,
    face_px: FloatArray,
    *,
    is_turned: bool,
) -> Sample:
    """The sample whose middle of the face is at `face_px`, at depth 0."""
    offset = (rotation @ FACE_CENTRE_CM) * PX_PER_CM * (1.0, -1.0, 1.0)
    shift = np.array([face_px[0], face_px[1], 0.0]) - offset
    yaw = float(np.degrees(np.arctan2(rotation[0, 2], rotation[2, 2])))
    return Sample(
        image,
        coefficients,
        rotation.astype(np.float32),
        shift.astype(np.float32),
        yaw,
        is_turned,
    )


def _turned(
    relief: Relief,
    source: RgbImage,
    fitted: FittedFace,
    coefficients: FloatArray,
    face_px: FloatArray,
    fillers: list[RgbImage],
    rng: Rng,
    settings: SynthSettings,
) -> Sample:
    """Draw the relief at a random pose, with other light, before another background."""
    yaw, pitch, roll = _angles_deg(fitted.rotation)
    # Rather further round the way it already looks: that side of the face is in the photo.
    same_way = rng.random() < np.clip(0.5 + yaw / 20, 0.08, 0.92)
    low, high = settings.yaw_deg
    target_yaw = rng.uniform(low, high) * (1 if same_way else -1)
    target_pitch = np.clip(pitch + rng.normal(0, settings.pitch_deg), -40, 40)
    rotation = _rotation(target_yaw, target_pitch, roll)
    turn = rotation @ fitted.rotation.T
    middle = np.full(2, (SAMPLE_PX - 1) / 2)
    colors, alpha, normals = render_turned(relief, turn, face_px, middle, 1.0, SAMPLE_PX)
    light = rng.normal(0, 1, 3)
    light[2] = abs(light[2])
    light /= np.linalg.norm(light)
    facing = np.maximum(normals @ light, 0.0)
    shade = 1 + rng.uniform(0, settings.relight) * (2 * facing - 1)
    lit = np.clip(colors * shade[..., None], 0, 255)
    behind = _background(source, fillers, rng, settings)
    image = lit * alpha[..., None] + behind * (1 - alpha[..., None])
    return _sample(image.astype(np.uint8), coefficients, rotation, middle, is_turned=True)


def _background(
    source: RgbImage, fillers: list[RgbImage], rng: Rng, settings: SynthSettings
) -> RgbImage:
    if rng.random() < settings.filler_share:
        return filler(fillers, SAMPLE_PX, rng)
    rim = np.zeros(source.shape[:2], np.float32)
    rim[:12], rim[:80, :12], rim[:80, -12:] = 1, 1, 1  # of the photo's own, above the shoulders
    smooth = push_pull(source.astype(np.float32) * rim[..., None], rim)
    margin = (SOURCE_PX - SAMPLE_PX) // 2
    return np.clip(smooth, 0, 255).astype(np.uint8)[margin:-margin, margin:-margin]


def _angles_deg(rotation: FloatArray) -> tuple[float, float, float]:
    from face3d_cli.core.camera import PoseDegrees

    pose = PoseDegrees.from_rotation(rotation)
    return pose.yaw, pose.pitch, pose.roll


def _rotation(yaw_deg: float, pitch_deg: float, roll_deg: float) -> FloatArray:
    """R = R_y(yaw) R_x(-pitch) R_z(roll), as `core.camera.PoseDegrees` names the angles."""
    y, p, r = np.radians([yaw_deg, -pitch_deg, roll_deg])
    about_y = np.array([[np.cos(y), 0, np.sin(y)], [0, 1, 0], [-np.sin(y), 0, np.cos(y)]])
    about_x = np.array([[1, 0, 0], [0, np.cos(p), -np.sin(p)], [0, np.sin(p), np.cos(p)]])
    about_z = np.array([[np.cos(r), -np.sin(r), 0], [np.sin(r), np.cos(r), 0], [0, 0, 1]])
    rotation: FloatArray = about_y @ about_x @ about_z
    return rotation
