"""Random changes of a labelled photo: geometry, colour, blur, noise, occluders, backgrounds.

Everything is drawn from the generator handed in, so a sample is a pure function of its seed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import LabelImage, RgbImage
from face3d_cli.settings import AugmentSettings

Rng = np.random.Generator
OUTSIDE = 254  # label of canvas pixels that the photo does not cover, while a sample is made


@dataclass(frozen=True)
class Labelled:
    """A photo and its raw labels at the same size, and the raw label of its background."""

    image: RgbImage
    labels: LabelImage
    mirror: npt.NDArray[np.uint8]  # (256,) raw label after a flip
    background: int = 0


def augment(
    sample: Labelled,
    settings: AugmentSettings,
    crop_px: int,
    label_stride: int,
    fillers: list[RgbImage],
    rng: Rng,
) -> tuple[RgbImage, LabelImage]:
    """Make one training sample.

    Args:
        sample: the photo and its labels.
        settings: how often and how strongly.
        crop_px: height and width of the photo that comes out.
        label_stride: photo pixels per label pixel.
        fillers: pictures without faces, for backgrounds and occluders.
        rng: source of every random choice.

    Returns:
        (crop_px, crop_px, 3) photo and (crop_px / label_stride,) * 2 raw labels.
    """
    transform, flipped = _random_placement(sample.image.shape, settings, crop_px, rng)
    image = _warp(sample.image, transform, crop_px, 1, cv2.INTER_LINEAR, (0, 0, 0))
    labels = _warp(sample.labels, transform, crop_px, label_stride, cv2.INTER_NEAREST, (OUTSIDE,))
    if flipped:
        labels = sample.mirror[labels]
    inside = _warp(
        np.full(sample.labels.shape, 255, np.uint8), transform, crop_px, 1, cv2.INTER_LINEAR, (0,)
    )
    if inside.min() < 255:
        image = _blend(filler(fillers, crop_px, rng), image, inside)
    labels[labels == OUTSIDE] = sample.background
    if rng.random() < settings.background_share:
        image = _replace_background(image, labels == sample.background, fillers, rng)
    if rng.random() < settings.occluder_share:
        texture = filler(fillers, crop_px, rng)
        image, labels = occlude(image, labels, sample.background, label_stride, texture, rng)
    image = recolor(image, settings, rng)
    return degrade(image, settings, rng), labels


def _random_placement(
    shape: tuple[int, ...], settings: AugmentSettings, crop_px: int, rng: Rng
) -> tuple[npt.NDArray[np.float64], bool]:
    """(2, 3) map from canvas pixels to photo pixels."""
    height, width = shape[:2]
    flipped = bool(rng.random() < 0.5)
    low, high = settings.small_scale if rng.random() < settings.small_share else settings.scale
    size = crop_px / max(height, width) * np.exp(rng.uniform(np.log(low), np.log(high)))
    if rng.random() < settings.steep_share:
        angle = rng.uniform(-settings.max_rotation_deg, settings.max_rotation_deg)
    else:
        angle = rng.normal(0.0, settings.usual_rotation_deg)
    angle = np.deg2rad(angle)
    stretch = np.exp(rng.normal(0.0, 0.05))
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    shear = np.array([[1.0, rng.normal(0.0, 0.05)], [0.0, 1.0]])
    linear = turn @ shear @ np.diag([size * stretch * (-1 if flipped else 1), size / stretch])
    # Where the photo is smaller than the canvas it stays inside; where larger, it covers it.
    extent = np.abs(linear) @ (width, height)
    slack = np.abs(extent - crop_px) / 2 + settings.shift * crop_px
    centre = crop_px / 2 - 0.5 + rng.uniform(-1, 1, 2) * slack
    inverse = np.linalg.inv(linear)
    offset = np.array([width / 2 - 0.5, height / 2 - 0.5]) - inverse @ centre
    return np.hstack([inverse, offset[:, None]]), flipped


def _warp(
    picture: npt.NDArray[np.uint8],
    canvas_to_photo: npt.NDArray[np.float64],
    crop_px: int,
    stride: int,
    interpolation: int,
    border: tuple[int, ...],
) -> npt.NDArray[np.uint8]:
    """Sample a photo on the canvas, at every `stride`-th pixel (in the middle of its block)."""
    coarse = canvas_to_photo.copy()
    coarse[:, 2] += canvas_to_photo[:, :2] @ np.full(2, (stride - 1) / 2)
    coarse[:, :2] *= stride
    zoom_out = np.sqrt(abs(np.linalg.det(coarse[:, :2])))
    if interpolation == cv2.INTER_LINEAR and zoom_out > 1.3:  # against aliasing
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), 0.4 * zoom_out), np.uint8)
    size = crop_px // stride
    warped = cv2.warpAffine(
        picture,
        coarse,
        (size, size),
        flags=interpolation | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT,
        borderValue=border,
    )
    return np.asarray(warped, np.uint8)


def _blend(under: RgbImage, over: RgbImage, alpha: npt.NDArray[np.uint8]) -> RgbImage:
    weight = alpha[..., None].astype(np.uint16)
    # `over` was warped onto black, so it is already multiplied by its coverage.
    return (over + under.astype(np.uint16) * (255 - weight) // 255).clip(0, 255).astype(np.uint8)


def filler(fillers: list[RgbImage], size_px: int, rng: Rng) -> RgbImage:
    """A picture without a face: part of a filler photo, a gradient, or plain colour with noise."""
    kind = rng.random()
    if fillers and kind < 0.6:
        source = fillers[rng.integers(len(fillers))]
        height, width = source.shape[:2]
        side = int(min(height, width) * rng.uniform(0.5, 1.0))
        top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
        part = source[top : top + side, left : left + side]
        if rng.random() < 0.5:
            part = part[:, ::-1]
        picture = cv2.resize(np.ascontiguousarray(part), (size_px, size_px))
        if rng.random() < 0.4:
            picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(1, 12))
        return np.asarray(picture, np.uint8)
    if kind < 0.8:
        corners = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8)
        return np.asarray(cv2.resize(corners, (size_px, size_px)), np.uint8)
    plain = rng.integers(0, 256) + rng.normal(0, 15, 3)
    cells = rng.normal(0, rng.uniform(0, 30), (rng.integers(4, 48),) * 2)
    texture = cv2.resize(cells, (size_px, size_px))[..., None] + plain
    return np.asarray(texture.clip(0, 255), np.uint8)


def clutter(pictures: list[RgbImage], size_px: int, rng: Rng) -> RgbImage:
    """Parts of pictures, up to six before others, of any shape; sometimes out of focus.

    It has the edges and textures of photos, which `filler` has not.
    """
    picture = _part(pictures, size_px, rng)
    for _ in range(rng.integers(0, 7)):
        alpha = _random_shape(size_px, rng.uniform(0.1, 0.5) * size_px, rng)
        picture = _before(picture, _part(pictures, size_px, rng), alpha)
    if rng.random() < 0.4:  # out of focus
        sigma = np.exp(rng.uniform(np.log(0.005), np.log(0.05))) * size_px
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), sigma), np.uint8)
    return picture


def _part(pictures: list[RgbImage], size_px: int, rng: Rng) -> RgbImage:
    """A square of a picture, mirrored and turned by quarters at random."""
    picture = pictures[rng.integers(len(pictures))]
    height, width = picture.shape[:2]
    side = int(min(height, width) * rng.uniform(0.5, 1.0))
    top, left = rng.integers(height - side + 1), rng.integers(width - side + 1)
    part = np.rot90(picture[top : top + side, left : left + side], int(rng.integers(4)))
    if rng.random() < 0.5:
        part = part[:, ::-1]
    return np.asarray(cv2.resize(np.ascontiguousarray(part), (size_px, size_px)), np.uint8)


def _replace_background(
    image: RgbImage, background: npt.NDArray[np.bool_], fillers: list[RgbImage], rng: Rng
) -> RgbImage:
    size = image.shape[0]
    alpha = cv2.resize(background.astype(np.float32), (size, size), interpolation=cv2.INTER_LINEAR)
    alpha = cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.6, 2.0))[..., None]
    return np.asarray(image * (1 - alpha) + filler(fillers, size, rng) * alpha, np.uint8)


def occlude(
    image: RgbImage,
    labels: LabelImage,
    background: int,
    stride: int,
    texture: RgbImage,
    rng: Rng,
) -> tuple[RgbImage, LabelImage]:
    """Put one object in front: a part of a texture of the picture's size, of any shape."""
    size = image.shape[0]
    mask = _random_shape(size, rng.uniform(0.05, 0.25) * size, rng)
    half = stride // 2
    covered = mask[half::stride, half::stride] > 127
    hidden = np.where(covered, np.uint8(background), labels).astype(np.uint8)
    return _before(image, texture, mask), hidden


def _random_shape(size: int, radius: float, rng: Rng) -> npt.NDArray[np.uint8]:
    """(size, size) 255 inside an ellipse or a polygon, or a bar."""
    mask = np.zeros((size, size), np.uint8)
    centre = rng.uniform(0.1, 0.9, 2) * size
    kind = rng.random()
    if kind < 0.4:
        axes = (int(radius), int(radius * rng.uniform(0.4, 1.0)))
        middle = (int(centre[0]), int(centre[1]))
        cv2.ellipse(mask, middle, axes, rng.uniform(0, 180), 0, 360, 255, -1, cv2.LINE_AA)
    elif kind < 0.8:
        angles = np.sort(rng.uniform(0, 2 * np.pi, rng.integers(4, 9)))
        reach = radius * rng.uniform(0.4, 1.2, angles.size)
        corners = centre + np.stack([np.cos(angles), np.sin(angles)], 1) * reach[:, None]
        cv2.fillPoly(mask, [corners.astype(np.int32)], 255, cv2.LINE_AA)
    else:
        far = rng.uniform(-0.2, 1.2, (2, 2)) * size
        ends = [(int(x), int(y)) for x, y in far]
        cv2.line(mask, ends[0], ends[1], 255, max(2, int(radius * 0.4)), cv2.LINE_AA)
    return mask


def _before(behind: RgbImage, in_front: RgbImage, mask: npt.NDArray[np.uint8]) -> RgbImage:
    alpha = mask[..., None].astype(np.float32) / 255
    return np.asarray(behind * (1 - alpha) + in_front * alpha, np.uint8)


def cast_shadow(image: RgbImage, rng: Rng) -> RgbImage:
    """Darken what lies beyond a line near the middle of the picture, with a soft or hard edge."""
    softness = image.shape[0] * np.exp(rng.uniform(np.log(0.01), np.log(0.2)))
    share = 1 / (1 + np.exp(-_beyond_line(image.shape[0], -0.15, 0.15, rng) / softness))
    kept = 1 - share * rng.uniform(0.4, 0.92)
    return np.asarray(image * kept[..., None], np.uint8)


def cut_off(image: RgbImage, rng: Rng) -> RgbImage:
    """Put one colour beyond a line that cuts a part of the picture off, as a photo's edge does."""
    beyond = _beyond_line(image.shape[0], 0.2, 0.42, rng) > 0
    color = rng.integers(0, 256, 3) if rng.random() < 0.5 else rng.choice((0, 255))
    return np.asarray(np.where(beyond[..., None], color, image), np.uint8)


def _beyond_line(size: int, nearest: float, farthest: float, rng: Rng) -> npt.NDArray[np.float64]:
    """(size, size) pixels beyond a line of any direction, so many sides from the middle."""
    angle = rng.uniform(0, 2 * np.pi)
    rows, columns = np.mgrid[:size, :size] - (size - 1) / 2
    along = np.cos(angle) * columns + np.sin(angle) * rows
    return np.asarray(along - size * rng.uniform(nearest, farthest))


def recolor(image: RgbImage, settings: AugmentSettings, rng: Rng) -> RgbImage:
    """Brightness, contrast, gamma and white balance as one table; saturation; side light."""
    strength = settings.color
    levels = np.arange(256, dtype=np.float64)[:, None] / 255
    gains = np.exp(rng.normal(0, 0.07 * strength, 3))
    gamma = np.exp(rng.normal(0, 0.25 * strength))
    contrast, brightness = np.exp(rng.normal(0, 0.18 * strength)), rng.normal(0, 0.08 * strength)
    table = (levels**gamma * gains - 0.5) * contrast + 0.5 + brightness
    image = np.asarray(cv2.LUT(image, (table.clip(0, 1) * 255).astype(np.uint8)[None]), np.uint8)
    draw = rng.random()
    if draw < settings.grey_share:
        keep = 0.0
    else:
        keep = float(np.exp(rng.normal(0, 0.3 * strength))) if draw < 0.6 else 1.0
    if keep != 1.0:
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = np.asarray(cv2.addWeighted(image, keep, grey, 1 - keep, 0), np.uint8)
    if rng.random() < settings.light_share:
        shade = np.exp(rng.normal(0, 0.45, (2, 2))).astype(np.float32)
        light = cv2.resize(shade, image.shape[1::-1])[..., None]
        image = np.asarray((image * light).clip(0, 255), np.uint8)
    return image


def degrade(image: RgbImage, settings: AugmentSettings, rng: Rng) -> RgbImage:
    """Low resolution, blur, noise and JPEG artefacts, each now and then."""
    size = image.shape[0]
    picture: Any = image
    if rng.random() < settings.degrade_share:
        small = max(32, int(size * rng.uniform(0.25, 0.8)))
        picture = cv2.resize(picture, (small, small), interpolation=cv2.INTER_AREA)
        picture = cv2.resize(picture, (size, size), interpolation=cv2.INTER_LINEAR)
    if rng.random() < settings.degrade_share:
        picture = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 2.0))
    if rng.random() < settings.degrade_share:
        grain = rng.integers(-128, 128, (*picture.shape[:2], 3), dtype=np.int8)
        level = rng.uniform(0.02, 0.16)
        picture = (picture + grain * level).clip(0, 255).astype(np.uint8)
    if rng.random() < settings.degrade_share:
        quality = int(rng.integers(25, 90))
        _, packed = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])
        picture = cv2.imdecode(packed, cv2.IMREAD_COLOR)
    return np.ascontiguousarray(picture, np.uint8)
