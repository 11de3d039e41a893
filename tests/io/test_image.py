"""Photos as users have them: every format, mode and orientation, and files that are no photos."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pillow_heif
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from face3d_cli.errors import UnreadableInput
from face3d_cli.io.image import encode_png, read_photo, read_photo_argument, save_png
from face3d_cli.settings import ImageSettings

LOSSLESS = {
    "png": {"format": "PNG"},
    "bmp": {"format": "BMP"},
    "webp": {"format": "WEBP", "lossless": True},
    "tiff": {"format": "TIFF"},
    "tiff-lzw": {"format": "TIFF", "compression": "tiff_lzw"},
    "tiff-deflate": {"format": "TIFF", "compression": "tiff_adobe_deflate"},
}
LOSSY = {"jpeg": {"format": "JPEG", "quality": 95}, "heic": {"format": "HEIF", "quality": 95}}
ALL = {**LOSSLESS, **LOSSY}
pillow_heif.register_heif_opener()


def encoded(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """(48, 64, 3): smooth, different in every corner, so that lossy formats stay close."""
    y, x = np.mgrid[0:48, 0:64]
    return np.stack([4 * x, 5 * y, 255 - 2 * x - 2 * y], axis=-1).astype(np.uint8)


def stored_with_orientation(upright: np.ndarray, orientation: int) -> np.ndarray:
    """What a camera stores, pixel by pixel from the table of the EXIF standard (tag 0x0112).

    The table says at which side of the upright picture the stored row 0 and column 0 lie.
    """
    row0, column0 = {
        1: ("top", "left"),
        2: ("top", "right"),
        3: ("bottom", "right"),
        4: ("bottom", "left"),
        5: ("left", "top"),
        6: ("right", "top"),
        7: ("right", "bottom"),
        8: ("left", "bottom"),
    }[orientation]
    height, width = upright.shape[:2]
    shape = (height, width) if row0 in ("top", "bottom") else (width, height)
    stored = np.empty((*shape, 3), np.uint8)
    for r in range(shape[0]):
        for c in range(shape[1]):
            at = {row0: r, column0: c}
            y = at["top"] if "top" in at else height - 1 - at["bottom"]
            x = at["left"] if "left" in at else width - 1 - at["right"]
            stored[r, c] = upright[y, x]
    return stored


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_formats_are_read_exactly(kind, picture):
    photo = read_photo(encoded(Image.fromarray(picture), **LOSSLESS[kind]))
    np.testing.assert_array_equal(photo, picture)
    assert photo.flags.c_contiguous
    assert photo.flags.writeable


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_formats_are_read_closely(kind, picture):
    photo = read_photo(encoded(Image.fromarray(picture), **LOSSY[kind]))
    assert photo.shape == picture.shape
    assert np.abs(photo.astype(int) - picture).mean() < 4


def test_format_is_known_by_content_not_by_suffix(tmp_path, picture):
    path = tmp_path / "photo.txt"
    path.write_bytes(encoded(Image.fromarray(picture), format="PNG"))
    np.testing.assert_array_equal(read_photo(path), picture)


@pytest.mark.parametrize("name", ["a b [1].png", "写真 ü ñ.png", "(x)*?&'.png", "-.png"])
def test_unusual_names_are_read(tmp_path, picture, name):
    path = tmp_path / name
    save_png(path, picture)
    np.testing.assert_array_equal(read_photo(str(path)), picture)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["png", "webp", "tiff", "jpeg", "heic"])
def test_every_exif_orientation_is_undone(kind, orientation, picture):
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = Image.fromarray(stored_with_orientation(picture, orientation))
    photo = read_photo(encoded(stored, exif=exif.tobytes(), **ALL[kind]))
    assert photo.shape == picture.shape
    assert photo.flags.c_contiguous
    # Any other orientation of this picture differs by more than 50 levels on average.
    assert np.abs(photo.astype(int) - picture).mean() < (4 if kind in LOSSY else 0.001)


@pytest.mark.parametrize("value", [0, 9, 77])
def test_senseless_orientation_means_upright(picture, value):
    exif = Image.Exif()
    exif[0x0112] = value
    photo = read_photo(encoded(Image.fromarray(picture), format="PNG", exif=exif))
    np.testing.assert_array_equal(photo, picture)


def test_damaged_exif_block_is_ignored(picture):
    data = encoded(Image.fromarray(picture), format="JPEG", exif=b"Exif\0\0II*\0\xff\xff\xff\xff")
    assert read_photo(data).shape == picture.shape


def test_grey_and_black_and_white_become_rgb(picture):
    grey = Image.fromarray(picture[..., 0])
    np.testing.assert_array_equal(
        read_photo(encoded(grey, format="PNG")), np.repeat(picture[..., :1], 3, axis=2)
    )
    bits = grey.point(lambda v: 255 * (v > 100)).convert("1")
    expected = np.repeat(np.asarray(bits).astype(np.uint8)[..., None] * 255, 3, axis=2)
    np.testing.assert_array_equal(read_photo(encoded(bits, format="PNG")), expected)
    fax = encoded(bits, format="TIFF", compression="group4")
    np.testing.assert_array_equal(read_photo(fax), expected)


@pytest.mark.parametrize("kind", ["png", "bmp", "tiff"])
def test_palette_is_resolved(kind, picture):
    palette = Image.fromarray(picture).quantize(64)
    photo = read_photo(encoded(palette, **LOSSLESS[kind]))
    np.testing.assert_array_equal(photo, np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize("kind", ["png", "webp", "tiff"])
def test_transparency_is_composited_on_white(kind):
    pixels = np.zeros((1, 4, 4), np.uint8)
    pixels[0, :, 0] = 200
    pixels[0, :, 3] = [0, 51, 128, 255]
    options = LOSSLESS[kind] | ({"exact": True} if kind == "webp" else {})
    photo = read_photo(encoded(Image.fromarray(pixels), **options))
    share = pixels[0, :, 3] / 255
    expected = np.stack([200 * share + 255 * (1 - share), 255 * (1 - share), 255 * (1 - share)], -1)
    np.testing.assert_array_equal(photo[0], np.rint(expected).astype(np.uint8))


def test_transparent_palette_and_grey_with_alpha_are_composited_on_white():
    palette = Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putdata([0, 1])
    data = encoded(palette, format="PNG", transparency=0)
    np.testing.assert_array_equal(read_photo(data)[0], [[255, 255, 255], [40, 50, 60]])
    grey = Image.merge("LA", [Image.new("L", (1, 1), 100), Image.new("L", (1, 1), 0)])
    np.testing.assert_array_equal(read_photo(encoded(grey, format="PNG"))[0, 0], [255, 255, 255])


def test_cmyk_without_profile_keeps_its_colours(picture):
    inks = Image.fromarray(picture).convert("CMYK")
    photo = read_photo(encoded(inks, format="TIFF"))
    np.testing.assert_array_equal(photo, np.asarray(inks.convert("RGB")))
    jpeg = read_photo(encoded(inks, format="JPEG", quality=95))  # stored inverted, as Adobe does
    assert np.abs(jpeg.astype(int) - picture).mean() < 6


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_grey_is_scaled_not_clipped(suffix):
    values = np.array([[0, 257, 1000, 32768, 40000, 65535]], np.uint16)
    photo = read_photo(cv2.imencode(suffix, values)[1].tobytes())
    np.testing.assert_array_equal(photo[0, :, 0], np.rint(values[0] / 257))
    np.testing.assert_array_equal(photo[..., 0], photo[..., 2])


def grey_tiff(values: np.ndarray, *, photometric: int, order: str = ">") -> bytes:
    """A minimal uncompressed 16-bit grey TIFF, one strip."""
    raw = values.astype(f"{order}u2").tobytes()
    entries = [
        (256, 4, values.shape[1]),
        (257, 4, values.shape[0]),
        (258, 4, 16),
        (259, 4, 1),
        (262, 4, photometric),
        (273, 4, 8),
        (277, 4, 1),
        (278, 4, values.shape[0]),
        (279, 4, len(raw)),
    ]
    head = (b"MM" if order == ">" else b"II") + struct.pack(f"{order}HI", 42, 8 + len(raw))
    table = b"".join(
        struct.pack(f"{order}HHII", tag, kind, 1, value) for tag, kind, value in entries
    )
    return head + raw + struct.pack(f"{order}H", len(entries)) + table + bytes(4)


@pytest.mark.parametrize("order", ["<", ">"])
def test_16_bit_grey_tiff_of_both_byte_orders(order):
    values = np.array([[0, 1000, 65535]], np.uint16)
    photo = read_photo(grey_tiff(values, photometric=1, order=order))
    np.testing.assert_array_equal(photo[0, :, 0], np.rint(values[0] / 257))


def test_16_bit_grey_tiff_that_counts_from_white():
    values = np.array([[0, 1000, 65535]], np.uint16)
    photo = read_photo(grey_tiff(values, photometric=0, order="<"))
    np.testing.assert_array_equal(photo[0, :, 0], np.rint((65535 - values[0].astype(int)) / 257))


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
def test_16_bit_rgb_is_right_at_8_bits(suffix):
    values = np.random.default_rng(2).integers(0, 65536, (16, 16, 3), dtype=np.uint16)
    photo = read_photo(cv2.imencode(suffix, values[..., ::-1])[1].tobytes())
    assert np.abs(photo.astype(int) - np.rint(values / 257)).max() <= 1
    extremes = np.array([[[0, 65535, 0]]], np.uint16)
    photo = read_photo(cv2.imencode(suffix, extremes)[1].tobytes())
    np.testing.assert_array_equal(photo[0, 0], [0, 255, 0])


def test_float_grey_in_0_to_1_is_scaled_and_any_other_refused():
    fits = Image.fromarray(np.array([[0.0, 0.5, 1.0]], np.float32))
    np.testing.assert_array_equal(read_photo(encoded(fits, format="TIFF"))[0, :, 0], [0, 128, 255])
    for wrong in (3.5, -0.1, np.nan):
        other = Image.fromarray(np.array([[0.0, wrong]], np.float32))
        with pytest.raises(UnreadableInput, match="expected 0 to 1"):
            read_photo(encoded(other, format="TIFF"))


@pytest.mark.parametrize(
    "options",
    [
        {"format": "GIF"},
        {"format": "TIFF"},
        {"format": "PNG"},
        {"format": "WEBP", "lossless": True},
        {"format": "MPO", "quality": 100},
    ],
    ids=lambda options: options["format"],
)
def test_first_frame_of_several_is_taken(options):
    first, second = Image.new("RGB", (5, 4), (250, 0, 0)), Image.new("RGB", (5, 4), (0, 0, 250))
    data = encoded(first, save_all=True, append_images=[second], **options)
    np.testing.assert_allclose(read_photo(data), np.full((4, 5, 3), (250, 0, 0)), atol=2)


def test_heic_without_its_extra_names_the_extra(monkeypatch, tmp_path, picture):
    path = tmp_path / "photo.heic"
    path.write_bytes(encoded(Image.fromarray(picture), format="HEIF"))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(UnreadableInput, match=r"photo\.heic.*pip install 'face3d\[heif\]'"):
        read_photo(path)


def test_dash_reads_standard_input(monkeypatch, picture):
    data = encoded(Image.fromarray(picture), format="PNG")
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(data)))
    np.testing.assert_array_equal(read_photo_argument("-"), picture)
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(b"")))
    with pytest.raises(UnreadableInput, match="standard input is empty"):
        read_photo_argument("-")


@pytest.mark.skipif(not Path("/dev/fd").is_dir(), reason="needs /dev/fd")
def test_a_pipe_is_read(picture):
    reading, writing = os.pipe()
    os.write(writing, encoded(Image.fromarray(picture), format="PNG"))
    os.close(writing)
    np.testing.assert_array_equal(read_photo_argument(f"/dev/fd/{reading}"), picture)
    os.close(reading)


def png_of_size(width: int, height: int) -> bytes:
    """A PNG that promises a size and holds next to nothing."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        checked = kind + body
        return struct.pack(">I", len(body)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + body + chunk(b"IEND", b"")


@pytest.mark.parametrize("side", [14_000, 50_000, 2**31 - 1])
def test_decompression_bombs_are_refused_in_one_line(side, capfd):
    with pytest.raises(UnreadableInput, match="more pixels than the 178,956,970 allowed") as caught:
        read_photo(png_of_size(side, side))
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_pixel_limit_comes_from_the_settings(picture):
    data = encoded(Image.fromarray(picture), format="PNG")
    with pytest.raises(UnreadableInput, match=r"64 x 48"):
        read_photo(data, ImageSettings(max_pixels=64 * 48 - 1))
    assert read_photo(data, ImageSettings(max_pixels=64 * 48)).shape == picture.shape


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "empty"),
        (b"\0", "not a photo"),
        (b"hello, world\n" * 20, "not a photo"),
        (b"%PDF-1.7\n" + bytes(100), "not a photo"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a photo"),
        (b"\xff\xd8\xff", "not a photo"),
        (png_of_size(0, 0), "not a photo"),
        (png_of_size(0, 7), "not a photo"),
    ],
)
def test_what_is_no_photo_is_said_in_one_line(tmp_path, content, said, capfd):
    path = tmp_path / "x.jpg"
    path.write_bytes(content)
    with pytest.raises(UnreadableInput, match=said) as caught:
        read_photo(path)
    assert caught.value.exit_code == 3
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("name", ["missing.jpg", ".", "no/such/folder.jpg", "null\0.jpg"])
def test_missing_files_and_folders_are_unreadable(tmp_path, name):
    with pytest.raises(UnreadableInput, match="cannot read photo"):
        read_photo(f"{tmp_path}/{name}")


@pytest.mark.parametrize("kind", ALL)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.9])
def test_truncated_photos_are_refused(kind, share, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), **ALL[kind])
    with pytest.raises(UnreadableInput) as caught:
        read_photo(data[: int(len(data) * share)])
    assert "\n" not in str(caught.value)
    assert capfd.readouterr().err == ""


def test_errors_that_pillow_logs_do_not_reach_stderr():
    data = bytearray(grey_tiff(np.zeros((1, 3), np.uint16), photometric=1, order="<"))
    samples = data.index(struct.pack("<HH", 277, 4)) + 8
    data[samples : samples + 2] = b"\xff\xff"
    code = (
        "import sys; from face3d_cli.io.image import read_photo\n"
        "try: read_photo(sys.stdin.buffer.read())\nexcept Exception as e: print(type(e).__name__)"
    )
    found = subprocess.run([sys.executable, "-c", code], input=bytes(data), capture_output=True)
    assert found.stdout == b"UnreadableInput\n"
    assert found.stderr == b""


@pytest.mark.parametrize("kind", ["tiff-lzw", "tiff-deflate"])
def test_errors_inside_libtiff_do_not_reach_stderr(kind, capfd):
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    data = bytearray(encoded(Image.fromarray(noise), **LOSSLESS[kind]))
    data[2000:2100] = b"\xff" * 100
    with pytest.raises(UnreadableInput):
        read_photo(bytes(data))
    os.write(2, b"stderr is open again")
    assert capfd.readouterr().err == "stderr is open again"


SEEDS = [
    encoded(Image.effect_noise((24, 16), 50).convert("RGB"), **options) for options in ALL.values()
]
SEEDS += [
    encoded(Image.effect_noise((24, 16), 50).convert("P"), format="GIF"),
    encoded(Image.effect_noise((24, 16), 50).convert("CMYK"), format="TIFF", compression="jpeg"),
    cv2.imencode(".tiff", np.full((9, 9, 3), 40000, np.uint16))[1].tobytes(),
    cv2.imencode(".png", np.full((9, 9), 40000, np.uint16))[1].tobytes(),
]


def read_or_refuse(data: bytes) -> None:
    try:
        photo = read_photo(data, ImageSettings(max_pixels=1_000_000))
    except UnreadableInput as refused:  # anything else fails the test
        message = str(refused)
    else:
        message = ""
        assert photo.dtype == np.uint8
        assert photo.ndim == 3
        assert photo.shape[2] == 3
        assert photo.size > 0
    assert "\n" not in message


@settings(deadline=None)
@given(st.binary(max_size=300))
def test_arbitrary_bytes_are_read_or_refused(data):
    read_or_refuse(data)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.sampled_from(SEEDS),
    edits=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)),
        min_size=1,
        max_size=6,
    ),
    kept=st.floats(0.5, 1),
)
def test_mutated_photos_are_read_or_refused(seed, edits, kept):
    data = bytearray(seed)
    for place, replacement in edits:
        start = int(place * len(data))
        data[start : start + len(replacement)] = replacement
    read_or_refuse(bytes(data[: int(kept * len(data))]))


@pytest.mark.parametrize("shape", [(1, 1, 3), (5, 7, 3), (1, 9, 3), (256, 200, 3), (5, 7), (1, 1)])
def test_saved_png_is_read_back_exactly(tmp_path, shape):
    pixels = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
    save_png(tmp_path / "new" / "x.png", pixels)
    with Image.open(tmp_path / "new" / "x.png") as saved:
        np.testing.assert_array_equal(np.asarray(saved), pixels)
        assert saved.info["srgb"] == 0
    flipped = pixels[::-1, ::-1]  # not contiguous
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(encode_png(flipped)))), flipped)
