"""Embedded colour profiles: the photo comes out in sRGB, as the formulas of the ICC say."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms

from face3d_cli.io.image import read_photo

# Columns of the RGB-to-XYZ matrices, adapted to D50 (ICC profile connection space).
SRGB_D50 = np.array([[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7141]])
P3_D50 = np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]])
D50 = np.array([0.9642, 1.0, 0.8249])


def icc_profile(space: bytes, pcs: bytes, kind: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A version 2 ICC profile of the given tags (ICC.1:2001-04, section 6)."""
    tags = {
        b"desc": b"desc" + bytes(4) + struct.pack(">I", 5) + b"test\0" + bytes(78),
        b"cprt": b"text" + bytes(4) + b"none\0",
        b"wtpt": xyz(D50),
        **tags,
    }
    offset = 128 + 4 + 12 * len(tags)
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        padded = content + bytes(-len(content) % 4)
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += padded
    head = struct.pack(">I", offset + len(body)) + bytes(4) + b"\x02\x10\0\0" + kind + space + pcs
    head += bytes(12) + b"acsp" + bytes(28) + b"".join(fixed(v) for v in D50)
    return head + bytes(128 - len(head)) + table + body


def fixed(value: float) -> bytes:
    return struct.pack(">i", round(value * 65536))


def xyz(values: np.ndarray) -> bytes:
    return b"XYZ " + bytes(4) + b"".join(fixed(v) for v in values)


def gamma(exponent: float) -> bytes:
    return b"curv" + bytes(4) + struct.pack(">IH", 1, round(exponent * 256)) + bytes(2)


def rgb_profile(matrix: np.ndarray, exponent: float) -> bytes:
    tags = {
        name: xyz(column)
        for name, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T, strict=True)
    }
    tags |= dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), gamma(exponent))
    return icc_profile(b"RGB ", b"XYZ ", b"mntr", tags)


def cmyk_profile() -> bytes:
    """Four inks: lightness is 100 (1 - K), cyan alone has a colour, b* = -50 (1 - K)."""
    corners = bytearray()
    for c in (0, 1):
        for _m in (0, 1):
            for _y in (0, 1):
                for k in (0, 1):
                    corners += bytes([255 * (1 - k), 128, 128 - 50 * c * (1 - k)])
    ramp = bytes(range(256))
    identity = b"".join(fixed(v) for v in np.eye(3).ravel())
    head = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity
    return icc_profile(
        b"CMYK", b"Lab ", b"prtr", {b"A2B0": head + ramp * 4 + bytes(corners) + ramp * 3}
    )


def to_srgb(linear_xyz_d50: np.ndarray) -> np.ndarray:
    linear = np.clip(np.linalg.solve(SRGB_D50, linear_xyz_d50), 0, 1)
    encoded = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    return np.rint(255 * encoded)


def lab_to_srgb(lightness: float, a: float, b: float) -> np.ndarray:
    fy = (lightness + 16) / 116
    f = np.array([fy + a / 500, fy, fy - b / 200])
    return to_srgb(D50 * np.where(f > 6 / 29, f**3, 3 * (6 / 29) ** 2 * (f - 4 / 29)))


def saved(image: Image.Image, profile: bytes, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, icc_profile=profile, **{"format": "PNG", **options})
    return buffer.getvalue()


COLOURS = np.array(
    [
        [
            [0, 0, 0],
            [255, 255, 255],
            [200, 100, 50],
            [90, 140, 200],
            [128, 128, 128],
            [180, 150, 140],
        ]
    ],
    np.uint8,
)


@pytest.mark.parametrize("options", [{"format": "PNG"}, {"format": "TIFF"}])
@pytest.mark.parametrize(("matrix", "exponent"), [(P3_D50, 2.2), (SRGB_D50, 1.8)])
def test_rgb_profile_is_converted_to_srgb(matrix, exponent, options):
    photo = read_photo(saved(Image.fromarray(COLOURS), rgb_profile(matrix, exponent), **options))
    for stored, found in zip(COLOURS[0], photo[0], strict=True):
        expected = to_srgb(matrix @ (stored / 255.0) ** exponent)
        np.testing.assert_allclose(found, expected, atol=2)
    assert np.abs(photo.astype(int) - COLOURS).max() > 5  # the profile made a difference


def test_srgb_profile_changes_nothing():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise = np.random.default_rng(0).integers(0, 256, (50, 50, 3), dtype=np.uint8)
    np.testing.assert_array_equal(read_photo(saved(Image.fromarray(noise), profile)), noise)


@pytest.mark.parametrize("mode", ["P", "RGBA", "L"])
def test_rgb_profile_serves_palette_transparent_and_grey_photos(mode):
    flat = Image.new("RGB", (2, 2), (100, 100, 100)).convert(mode)
    photo = read_photo(saved(flat, rgb_profile(SRGB_D50, 1.8)))
    expected = to_srgb(SRGB_D50 @ np.full(3, (100 / 255) ** 1.8))
    np.testing.assert_allclose(photo[0, 0], expected, atol=2)


def test_grey_profile_is_converted_to_srgb():
    profile = icc_profile(b"GRAY", b"XYZ ", b"mntr", {b"kTRC": gamma(1.0)})  # linear light
    photo = read_photo(saved(Image.new("L", (1, 1), 128), profile))
    np.testing.assert_allclose(photo[0, 0], to_srgb(D50 * 128 / 255), atol=2)
    assert photo[0, 0, 0] > 180


@pytest.mark.parametrize("options", [{"format": "TIFF"}, {"format": "JPEG", "quality": 100}])
def test_cmyk_profile_decides_over_the_naive_formula(options):
    for inks, expected in (
        ((0, 0, 0, 0), (255, 255, 255)),
        ((0, 0, 0, 255), (0, 0, 0)),
        ((0, 255, 255, 0), (255, 255, 255)),  # magenta and yellow are white in this profile
        ((255, 0, 0, 128), lab_to_srgb(50, 0, -25)),
    ):
        flat = Image.new("CMYK", (8, 8), inks)
        photo = read_photo(saved(flat, cmyk_profile(), **options))
        np.testing.assert_allclose(photo[4, 4], expected, atol=5)


@pytest.mark.parametrize(
    "profile",
    [b"nonsense", b"\0" * 200, cmyk_profile(), cmyk_profile()[:300]],
    ids=["text", "zeros", "cmyk", "cut"],
)
def test_profile_that_does_not_fit_is_ignored(profile, capfd):
    np.testing.assert_array_equal(read_photo(saved(Image.fromarray(COLOURS), profile)), COLOURS)
    assert capfd.readouterr().err == ""


def test_lab_tiff_is_converted():
    lab = Image.new("LAB", (1, 1), (128, 128 + 20, 128 - 40))
    buffer = io.BytesIO()
    lab.save(buffer, format="TIFF")
    photo = read_photo(buffer.getvalue())
    np.testing.assert_allclose(photo[0, 0], lab_to_srgb(128 / 2.55, 20, -40), atol=3)
