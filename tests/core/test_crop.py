"""Crops of faces: positions go there and back, content stays where it was."""

from __future__ import annotations

import numpy as np
import pytest

from face3d_cli.core.crop import crop_face
from face3d_cli.core.face_box import FaceBox


def photo_with_dot(size, at):
    """A soft white dot on black, centred at a sub-pixel position."""
    y, x = np.mgrid[: size[0], : size[1]]
    dot = np.exp(-((x - at[0]) ** 2 + (y - at[1]) ** 2) / (2 * (size[0] / 60) ** 2))
    return np.repeat((255 * dot)[..., None], 3, axis=2).astype(np.uint8)


def center_of_mass(image):
    weight = image[..., 0].astype(float)
    y, x = np.mgrid[: weight.shape[0], : weight.shape[1]]
    return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()


@pytest.mark.parametrize("side", [60.0, 200.0, 900.0])
@pytest.mark.parametrize("roll", [0.0, 0.5, -2.0])
def test_a_dot_is_found_where_the_map_says(side, roll):
    at = np.array([610.3, 580.7])
    image = photo_with_dot((1200, 1300), at)
    box = FaceBox(560.0, 540.0, side, side, roll_rad=roll)
    # The dot is put near the middle of every box.
    box = FaceBox(at[0] - side / 2 + 4, at[1] - side / 2 - 3, side, side, roll_rad=roll)
    crop = crop_face(image, box, face_px=100, crop_px=200)
    assert crop.image.shape == (200, 200, 3)
    found = crop.to_image(center_of_mass(crop.image)[None])[0]
    np.testing.assert_allclose(found, at, atol=0.02 * side / 10 + 0.3)


def test_a_positive_roll_turns_a_clockwise_face_upright():
    roll = np.radians(30)
    along = np.array([np.cos(roll), np.sin(roll)])  # eyes on a line that falls to the right
    crop = crop_face(
        np.zeros((400, 400, 3), np.uint8),
        FaceBox(150, 150, 100, 100, roll_rad=roll),
        face_px=100,
        crop_px=200,
    )
    to_crop = crop.crop_from_image[:, :2]
    np.testing.assert_allclose(to_crop @ along, [1, 0], atol=1e-12)


def test_a_box_outside_the_photo_gives_its_border():
    image = np.full((50, 50, 3), 77, np.uint8)
    crop = crop_face(image, FaceBox(5000, 5000, 3000, 3000), face_px=100, crop_px=200)
    assert (crop.image == 77).all()
