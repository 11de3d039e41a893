"""How a segmentation is written: palette PNG, overlay on the photo, probabilities as NPZ."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from face3d_cli.arrays import FloatArray, LabelImage, RgbImage, check_shape
from face3d_cli.io.atomic import atomic_path
from face3d_cli.io.image import save_png


def save_label_png(path: Path, labels: LabelImage, colors: RgbImage) -> None:
    """Write an indexed PNG: each pixel holds its class index, the palette holds (K, 3) `colors`.

    Viewers show the colours; Pillow reads the indices (OpenCV would read the colours).

    Raises:
        OutputError: it cannot be written.
    """
    check_shape(labels, (None, None), "labels")
    picture = Image.fromarray(labels).convert("P")
    picture.putpalette(colors.tobytes())
    with atomic_path(path) as temporary:
        picture.save(temporary, "PNG")


def overlay(
    image: RgbImage, labels: LabelImage, colors: RgbImage, opacity: float = 0.5
) -> RgbImage:
    """The photo tinted with class colours, every class outlined; background stays as it is."""
    tinted = cv2.addWeighted(image, 1 - opacity, colors[labels], opacity, 0)
    kernel = np.ones((3, 3), np.uint8)
    border = cv2.dilate(labels, kernel) != cv2.erode(labels, kernel)
    drawn = np.where((labels == 0)[..., None], image, tinted)
    drawn[border] = colors[labels][border] // 2
    return np.asarray(drawn, np.uint8)


def save_overlay(path: Path, image: RgbImage, labels: LabelImage, colors: RgbImage) -> None:
    """Write `overlay` as PNG."""
    save_png(path, overlay(image, labels, colors))


def save_probabilities(path: Path, probabilities: FloatArray, names: Sequence[str]) -> None:
    """Write a compressed NPZ: `probabilities` (K, H, W) float16 and `classes`, their K names."""
    with atomic_path(path) as temporary, temporary.open("wb") as handle:
        np.savez_compressed(
            handle, probabilities=probabilities.astype(np.float16), classes=np.array(names)
        )
