"""What is behind a turned head? Surroundings of other faces, a filler, its own photo's rim."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, RgbImage
from face3d_cli.core.fill import push_pull
from face3d_cli.settings import SynthSettings
from face3d_cli.training.augment import clutter, filler
from face3d_cli.training.synth.sample import SAMPLE_PX

Rng = np.random.Generator


@dataclass(frozen=True)
class Backgrounds:
    """Where backgrounds are cut from.

    Attributes:
        fillers: pictures without faces.
        surroundings: what is beside, above and below faces in photos: hair, clothes, rooms.
    """

    fillers: list[RgbImage] = field(default_factory=list)
    surroundings: list[RgbImage] = field(default_factory=list)

    def behind_head(self, source: RgbImage, rng: Rng, settings: SynthSettings) -> RgbImage:
        """Draw what is behind the head that was cut out of the middle of a photo.

        Where there are no surroundings, because all photos are cut closely, fillers are in their
        place.
        """
        draw = rng.random()
        if self.surroundings and draw < settings.clutter_share:
            return clutter(self.surroundings, SAMPLE_PX, rng)
        if draw < settings.clutter_share + settings.filler_share:
            return filler(self.fillers, SAMPLE_PX, rng)
        return _own_rim(source)

    def beyond_photo(self, rng: Rng) -> RgbImage:
        """Draw what a photo is continued with."""
        return filler(self.fillers, SAMPLE_PX, rng)


def surroundings_of_faces(
    labelled: Iterable[tuple[RgbImage, FloatArray]], settings: SynthSettings
) -> list[RgbImage]:
    """Cut what is beside, above and below the face out of photos, where there is enough of it.

    Args:
        labelled: (H, W, 3) photos and (P, >= 2) points of the face in each.
        settings: from which width on, and how large it is kept.
    """
    found = []
    for photo, points in labelled:
        low, high = points[:, :2].min(axis=0), points[:, :2].max(axis=0)
        margin = 0.1 * (high - low)
        left, top = np.maximum(low - margin, 0).astype(int)
        right, bottom = np.maximum(high + margin, 0).astype(int)
        for strip in (photo[:, :left], photo[:, right:], photo[:top], photo[bottom:]):
            short_px = min(strip.shape[:2])
            if short_px >= settings.surroundings_from_px:
                scale = min(1.0, settings.surroundings_px / short_px)
                size = (round(strip.shape[1] * scale), round(strip.shape[0] * scale))
                reduced = cv2.resize(strip, size, interpolation=cv2.INTER_AREA)
                found.append(np.asarray(reduced, np.uint8))
    return found


def _own_rim(source: RgbImage) -> RgbImage:
    """The colours of the photo's rim, above the shoulders, continued smoothly."""
    rim = np.zeros(source.shape[:2], np.float32)
    rim[:12], rim[:80, :12], rim[:80, -12:] = 1, 1, 1
    smooth = push_pull(source.astype(np.float32) * rim[..., None], rim)
    margin = (len(source) - SAMPLE_PX) // 2
    return np.clip(smooth, 0, 255).astype(np.uint8)[margin:-margin, margin:-margin]
