"""How a turned, scaled square is cut out of a photo, and how its points go back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, Points2, RgbImage
from face3d_cli.core.face_box import FaceBox


@dataclass(frozen=True)
class Crop:
    """A square picture of one face, upright, and the way back into the photo.

    Attributes:
        image: (S, S, 3).
        crop_from_image: (2, 3) affine map of pixel positions (pixel centres are whole numbers).
    """

    image: RgbImage
    crop_from_image: FloatArray

    def to_image(self, points_crop: Points2) -> Points2:
        """(N, 2) positions in the photo."""
        back = np.linalg.inv(self.crop_from_image[:, :2])
        points: Points2 = (points_crop - self.crop_from_image[:, 2]) @ back.T
        return points


def crop_face(image: RgbImage, box: FaceBox, *, face_px: float, crop_px: int) -> Crop:
    """Cut a face out upright: `box` ends up `face_px` wide in the middle of a `crop_px` square.

    The photo is turned by `box.roll_rad`; beyond its edges the border is repeated. A photo much
    larger than the crop is reduced by area first, so that nothing aliases.
    """
    scale = face_px / box.width
    cos, sin = scale * np.cos(box.roll_rad), scale * np.sin(box.roll_rad)
    turn = np.array([[cos, sin], [-sin, cos]])
    shift = (crop_px - 1) / 2 - turn @ np.asarray(box.center)
    crop_from_image = np.column_stack([turn, shift])
    source, crop_from_source = _reduced(image, crop_from_image, crop_px, scale)
    picture = cv2.warpAffine(
        source,
        crop_from_source,
        (crop_px, crop_px),
        flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return Crop(np.asarray(picture, np.uint8), crop_from_image)


def _reduced(
    image: RgbImage, crop_from_image: FloatArray, crop_px: int, scale: float
) -> tuple[RgbImage, FloatArray]:
    """The part of the photo around the crop at about the crop's scale, and the map from there."""
    if scale >= 0.5:
        return image, crop_from_image
    corners = np.array([[0, 0], [crop_px, 0], [0, crop_px], [crop_px, crop_px]], float)
    spread = Crop(image, crop_from_image).to_image(corners)
    low = np.maximum(np.floor(spread.min(axis=0)).astype(int), 0)
    high = np.minimum(np.ceil(spread.max(axis=0)).astype(int) + 1, image.shape[1::-1])
    if (high - low).min() < 4 / scale:
        return image, crop_from_image  # the face lies outside the photo: only its border is seen
    part = image[low[1] : high[1], low[0] : high[0]]
    reduced = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    ratio = np.array(reduced.shape[1::-1]) / part.shape[1::-1]
    # Pixel centres: reduced = (photo - low + 0.5) * ratio - 0.5
    linear = crop_from_image[:, :2] / ratio
    shift = crop_from_image[:, 2] + crop_from_image[:, :2] @ (low - 0.5) + linear @ [0.5, 0.5]
    return np.asarray(reduced, np.uint8), np.column_stack([linear, shift])
