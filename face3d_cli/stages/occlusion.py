"""Which pixels around a fitted face show its skin, and what hides the rest?"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, LabelImage, Points2, RgbImage
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.landmarks68 import bounding_box
from face3d_cli.core.segmentation_classes import (
    FACE_SKIN,
    mask_of,
    occlusion_shares,
    visible_skin_mask,
)
from face3d_cli.settings import SegmentationSettings, TextureSettings
from face3d_cli.stages.segmentation import segment_photo

MARGIN = 0.25  # of the face's extent, on every side: the network wants to see hair and neck too


@dataclass(frozen=True)
class FaceOcclusion:
    """What of a face the photo shows.

    Attributes:
        left, top: where `usable` lies in the photo, in pixels.
        usable: (h, w) float32, 1 on the bare face with brows, eyes and mouth, 0 on hair, glasses,
            clothes and background.
        skin: (h, w) float32, 1 on bare skin alone: what has one albedo, nearly.
        labels: (h, w) the class of each pixel.
        shares: what the outline of the face shows, as fractions: `visible_skin` and each occluder.
    """

    left: int
    top: int
    usable: FloatArray
    skin: FloatArray
    labels: LabelImage
    shares: dict[str, float]

    def cut(self, image: RgbImage) -> RgbImage:
        """The part of the photo that the masks are of."""
        height, width = self.usable.shape
        return image[self.top : self.top + height, self.left : self.left + width]

    def camera(self, camera: ScaledOrthographicCamera) -> ScaledOrthographicCamera:
        """The photo's camera for that part."""
        return camera.in_cut((self.left, self.top))


def find_occlusion(
    image: RgbImage, points_px: Points2, settings: TextureSettings = TextureSettings()
) -> FaceOcclusion:
    """Segment the surroundings of a fitted face.

    Args:
        image: (H, W, 3) photo.
        points_px: (V, 2) the fitted vertices in the photo.
        settings: size at which the network sees the face.

    Raises:
        ModelError: the segmentation weights are missing or damaged.
    """
    x, y, width, height = bounding_box(points_px)
    margin = MARGIN * max(width, height)
    right_end, bottom_end = image.shape[1], image.shape[0]
    left, right = (int(np.clip(v, 0, right_end)) for v in (x - margin, x + width + margin + 1))
    top, bottom = (int(np.clip(v, 0, bottom_end)) for v in (y - margin, y + height + margin + 1))
    if right - left < 2 or bottom - top < 2:
        nothing = np.zeros(image.shape[:2], np.float32)
        return FaceOcclusion(
            0, 0, nothing, nothing, nothing.astype(np.uint8), {"visible_skin": 0.0}
        )
    part = image[top:bottom, left:right]
    seen = replace(SegmentationSettings(), long_side_px=settings.mask_px)
    labels = segment_photo(part, seen).labels
    usable = visible_skin_mask(labels) | mask_of(labels, ("inner_mouth",))
    skin = mask_of(labels, FACE_SKIN)
    outline = np.zeros(labels.shape, np.uint8)
    hull = cv2.convexHull(np.asarray(points_px - (left, top), np.float32))
    cv2.fillConvexPoly(outline, np.round(hull).astype(np.int32), 1)
    shares = occlusion_shares(labels, outline.astype(bool))
    return FaceOcclusion(
        left, top, usable.astype(np.float32), skin.astype(np.float32), labels, shares
    )
