"""What is on the sides of a turned head? A photo from the front does not tell.

Where the photo ends on the surface, its outline runs down cheek and jaw as a dark seam, and behind
it colours are smeared. So the sides are often painted anew: the front's colours go on without a
seam, and hair of any cut lies where hair may lie.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, Mask, RgbImage
from face3d_cli.core.fill import push_pull

Rng = np.random.Generator
# Heights in the head's frame (cm, y up; eyes at 3.4, chin at -7.6), from the crown down.
_HEIGHTS_CM = np.array([14.0, 9.0, 6.0, 3.0, 0.0, -3.0, -8.0])
# How far forward (z, cm) hair may reach at these heights: cut short, and hanging over the face.
_SHORT_CM = np.array([9.0, 6.0, 3.5, 1.0, 0.0, -1.5, -3.0])
_LONG_CM = np.array([11.0, 9.5, 8.0, 6.5, 5.5, 5.0, 5.0])


def without_seam(source: RgbImage, head_cm: FloatArray, person: Mask, rng: Rng) -> RgbImage:
    """Continue the front's colours over the sides of the head, from a random line on.

    Args:
        source: (S, S, 3) the photo.
        head_cm: (S, S, 3) where on the head each pixel lies, in the head's frame.
        person: (S, S) True where the photo shows the person.
        rng: draws the line.
    """
    line_cm = rng.uniform(1.5, 6.5) + rng.uniform(-0.25, 0.25) * head_cm[..., 1]
    side = (head_cm[..., 2] < line_cm) & (np.abs(head_cm[..., 0]) > 4.0)
    side &= head_cm[..., 1] > -11.0
    known = cv2.erode((person & ~side).astype(np.uint8), np.ones((3, 3), np.uint8))
    weight = known.astype(np.float32)
    filled = push_pull(source.astype(np.float32) * weight[..., None], weight)
    share = cv2.GaussianBlur((side | ~person).astype(np.float32), (0, 0), rng.uniform(1.0, 5.0))
    share = np.maximum(share, ~person)[..., None]
    grain = rng.normal(0, rng.uniform(0, 5), source.shape[:2])[..., None]
    mixed = source * (1 - share) + (filled + grain) * share
    return np.asarray(np.clip(mixed, 0, 255), np.uint8)


@dataclass(frozen=True)
class Haircut:
    """Where hair lies: behind a line on the sides, above a height.

    Attributes:
        reach_cm: (7,) how far forward it reaches at `_HEIGHTS_CM`.
        ends_cm: the height down to which it hangs.
        color: (3,).
        streaks: how strongly its brightness changes from strand to strand.
    """

    reach_cm: FloatArray
    ends_cm: float
    color: FloatArray
    streaks: float

    @staticmethod
    def draw(own_color: FloatArray | None, rng: Rng) -> Haircut:
        """A random one, mostly of the colour that the photo's hair has."""
        is_long = rng.random() < 0.45
        share = np.clip(rng.uniform(0, 1) + rng.normal(0, 0.12, len(_HEIGHTS_CM)), 0, 1)
        if not is_long:
            share = share * rng.uniform(0.2, 0.7)
        reach = _SHORT_CM + share * (_LONG_CM - _SHORT_CM)
        ends = rng.uniform(-16, -4) if is_long else rng.uniform(-4.0, 2.5)
        if own_color is None or rng.random() < 0.25:
            own_color = rng.uniform(8, 150) * np.array([1.0, rng.uniform(0.7, 1), 0.0])
            own_color[2] = own_color[1] * rng.uniform(0.6, 1.0)
        return Haircut(reach, float(ends), own_color, float(rng.uniform(0.05, 0.4)))


def paint_hair(colors: FloatArray, head_cm: FloatArray, cut: Haircut, rng: Rng) -> FloatArray:
    """Put hair on a drawn head.

    Args:
        colors: (H, W, 3).
        head_cm: (H, W, 3) where on the head each pixel lies, in the head's frame.
        cut: what hair.
        rng: draws strands and the waves of the line.
    """
    height, width = colors.shape[:2]
    y, z = head_cm[..., 1], head_cm[..., 2]
    waves = cv2.resize(rng.normal(0, 0.45, (12, 12)).astype(np.float32), (width, height))
    reach = np.interp(y, _HEIGHTS_CM[::-1], cut.reach_cm[::-1])
    inside = np.minimum(reach + waves - z, y - cut.ends_cm + waves)  # cm into the hair
    alpha = 1 / (1 + np.exp(-inside / rng.uniform(0.08, 0.4)))
    strands = rng.normal(0, 1, (height, width)).astype(np.float32)
    strands = cv2.GaussianBlur(strands, (0, 0), 0.6, sigmaY=rng.uniform(1.5, 5.0))
    strands /= strands.std()
    hair = cut.color * (1 + cut.streaks * strands)[..., None]
    mixed = colors * (1 - alpha[..., None]) + hair * alpha[..., None]
    return np.asarray(np.clip(mixed, 0, 255), np.float64)
