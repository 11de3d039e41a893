"""How a photo becomes an upright sRGB array, and how pictures are written.

Decisions, each held by a test:

- The format is recognised by content; the file's suffix means nothing.
- Only the formats listed below are tried: Pillow knows dozens, some of which start other programs.
- Transparency is composited on white, as browsers and picture viewers show it.
- 16-bit grey is scaled by 255/65535 and rounded. Pillow keeps the high byte of 16-bit RGB, which is
  the same to within one level.
- An embedded profile is converted to sRGB (perceptual intent) unless it already is sRGB to within
  one level; a profile that does not fit its photo or cannot be parsed is ignored, as viewers do.
- The first frame of an animation and the first page of a TIFF are taken.
- HEIC without `pillow-heif` is an unreadable photo (exit 3) like any other: what the user sees in a
  batch is one photo that could not be read, and the message names the extra that mends it.
- JPEG's reduced-size decoding (`draft`) is not used: it changes the pixels.
"""

from __future__ import annotations

import io
import logging
import os
import struct
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    ImageCms,
    JpegImagePlugin,
    PngImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)

from face3d_cli.arrays import RgbImage, check_shape
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.atomic import atomic_path
from face3d_cli.settings import ImageSettings

# Importing the plugins registers them; Pillow would otherwise load all of its formats to find WebP.
_FORMATS = tuple(
    plugin.format
    for plugin in (
        JpegImagePlugin.JpegImageFile,
        PngImagePlugin.PngImageFile,
        WebPImagePlugin.WebPImageFile,
        BmpImagePlugin.BmpImageFile,
        GifImagePlugin.GifImageFile,
        TiffImagePlugin.TiffImageFile,
    )
)
# Pillow logs oddities of TIFF files; without any handler Python prints them on stderr.
logging.getLogger("PIL").addHandler(logging.NullHandler())
_READABLE = "JPEG, PNG, WebP, BMP, TIFF, GIF or HEIC"
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_ORIENTATION_TAG = 0x0112
_TIFF_BITS_PER_SAMPLE, _TIFF_PHOTOMETRIC = 258, 262
_WHITE_IS_ZERO = 0


def read_photo(
    source: str | Path | bytes,
    settings: ImageSettings = ImageSettings(),
    *,
    name: str | None = None,
) -> RgbImage:
    """Read a photo as an upright sRGB array.

    Args:
        source: a file, or the bytes of one.
        settings: limits.
        name: what messages call the photo; its path, or "photo" for bytes.

    Returns:
        (H, W, 3) uint8, C-contiguous and writable; H and W are at least 1.

    Raises:
        UnreadableInput: missing, empty, truncated, damaged, not a photo, larger than
            `settings.max_pixels`, or HEIC without pillow-heif.
    """
    shown = name or ("photo" if isinstance(source, bytes) else str(source))
    with _opened(source, shown) as handle, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow warns of oddities; we either read a photo or raise
        try:
            with _identify(handle, shown, settings) as image:
                return _to_upright_srgb(image)
        except UnreadableInput:
            raise
        except Exception as problem:  # decoders raise nearly anything on hostile bytes
            raise UnreadableInput(
                f"{shown} is damaged or truncated: {_first_line(problem)}",
                hint="save it again, or use another copy",
            ) from problem


def read_photo_argument(argument: str, settings: ImageSettings = ImageSettings()) -> RgbImage:
    """Read the photo a command line names: a path, or `-` for the bytes on stdin."""
    if argument == "-":
        return read_photo(sys.stdin.buffer.read(), settings, name="standard input")
    return read_photo(argument, settings)


def encode_png(image: RgbImage) -> bytes:
    """The bytes of a PNG file: (H, W, 3) sRGB, (H, W, 4) with alpha or (H, W) grey.

    Each row is stored as its difference from the row above and compressed by ISA-L, which takes a
    third of the time of OpenCV and an eighth of Pillow's for a 1024 px texture, at the same size
    (`benchmarks/image_io.py`).

    Source: Portable Network Graphics, 3rd edition, sections 5 and 9 (filter type 2, Up).
    """
    from isal import isal_zlib

    has_alpha = image.ndim == 3 and image.shape[2] == 4
    channels = 4 if has_alpha else 3
    check_shape(image, (None, None, channels) if image.ndim == 3 else (None, None), "image")
    height, width = image.shape[:2]
    pixels = np.ascontiguousarray(image).reshape(height, -1)
    rows = np.empty((height, 1 + pixels.shape[1]), np.uint8)
    rows[:, 0] = 2  # filter type of the row
    rows[0, 1:] = pixels[0]
    np.subtract(pixels[1:], pixels[:-1], out=rows[1:, 1:])
    colour_type = 6 if has_alpha else 2 if image.ndim == 3 else 0
    header = struct.pack(">IIBBBBB", width, height, 8, colour_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", isal_zlib.crc32(kind + body))
        for kind, body in (
            (b"IHDR", header),
            (b"sRGB", b"\0"),
            (b"IDAT", isal_zlib.compress(rows, 1)),
            (b"IEND", b""),
        )
    )


def save_png(path: str | Path, image: RgbImage) -> None:
    """Write a PNG file, whole or not at all.

    Raises:
        OutputError: it cannot be written.
    """
    with atomic_path(path) as temporary:
        temporary.write_bytes(encode_png(image))


@contextmanager
def _opened(source: str | Path | bytes, shown: str) -> Iterator[IO[bytes]]:
    """A seekable handle with at least one byte in it."""
    if isinstance(source, bytes):
        handle: IO[bytes] = io.BytesIO(source)
    else:
        try:
            handle = Path(source).open("rb")  # noqa: SIM115 - closed below
            if not handle.seekable():  # a pipe, such as bash's <(...)
                with handle as pipe:
                    handle = io.BytesIO(pipe.read())
        except (OSError, ValueError) as problem:  # ValueError: a null character in the name
            reason = getattr(problem, "strerror", None) or str(problem)
            raise UnreadableInput(f"cannot read photo {shown}: {reason}") from problem
    with handle:
        if not handle.read(1):
            raise UnreadableInput(f"photo {shown} is empty (0 bytes)")
        handle.seek(0)
        yield handle


def _identify(handle: IO[bytes], shown: str, settings: ImageSettings) -> Image.Image:
    """Open the header only: format, size, limits."""
    head = handle.read(12)
    handle.seek(0)
    formats: tuple[Any, ...] = _FORMATS
    if head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS:
        formats = _heif_formats(shown)
    too_large = f"photo {shown} has more pixels than the {settings.max_pixels:,} allowed"
    hint = "scale it down first"
    try:
        image = Image.open(handle, formats=formats)
    except UnidentifiedImageError as problem:
        raise UnreadableInput(
            f"{shown} is not a photo that can be read", hint=f"expected {_READABLE}"
        ) from problem
    except Image.DecompressionBombError as problem:
        raise UnreadableInput(too_large, hint=hint) from problem
    if image.width * image.height > settings.max_pixels:
        raise UnreadableInput(f"{too_large} ({image.width} x {image.height})", hint=hint)
    return image


def _heif_formats(shown: str) -> tuple[str, ...]:
    try:
        import pillow_heif
    except ImportError as problem:
        raise UnreadableInput(
            f"{shown} is a HEIC photo, which needs an optional part",
            hint="pip install 'face3d[heif]'",
        ) from problem
    pillow_heif.register_heif_opener()
    return ("HEIF",)


def _to_upright_srgb(image: Image.Image) -> RgbImage:
    with _libtiff_silenced() if image.format == "TIFF" else nullcontext():
        image.load()  # also turns a TIFF upright, and then drops its orientation tag
    orientation = _orientation(image)
    profile = image.info.get("icc_profile")
    image = _to_8_bit(image)
    alpha = None
    if image.has_transparency_data:
        image = image.convert("RGBA")
        alpha = np.asarray(image.getchannel("A"))
        image = image.convert("RGB")  # drops alpha, keeps the colour under it
    pixels = np.array(_to_srgb(image, profile))
    if alpha is not None:
        pixels = _on_white(pixels, alpha)
    return np.ascontiguousarray(_turned(pixels, orientation))


@contextmanager
def _libtiff_silenced() -> Iterator[None]:
    """Send what the C library writes to stderr nowhere; its errors reach us as exceptions."""
    try:
        kept = os.dup(2)
    except OSError:  # there is no stderr
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _orientation(image: Image.Image) -> int:
    """The EXIF (or XMP) orientation, 1 to 8; 1 when there is none or its block is damaged."""
    try:
        value = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception:  # a damaged EXIF block does not make the photo unreadable
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _turned(pixels: RgbImage, orientation: int) -> RgbImage:
    """Undo an EXIF orientation: 5 to 8 are transposed, then flips set the first corner right."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels


def _to_8_bit(image: Image.Image) -> Image.Image:
    """Scale 12-, 16- and 32-bit grey to 8 bits, rounding; other modes are returned as they are.

    Raises:
        UnreadableInput: values that have no agreed white, such as 32-bit or negative ones.
    """
    if not image.mode.startswith(("I", "F")):
        return image
    tags = getattr(image, "tag_v2", {})  # TIFF only
    values = np.asarray(image).astype(np.float64)
    bits = tags.get(_TIFF_BITS_PER_SAMPLE, (16,))[0]
    white = 1.0 if image.mode == "F" else 2.0**12 - 1 if bits == 12 else 2.0**16 - 1
    if not (values.min() >= 0 and values.max() <= white):  # also refuses NaN
        raise UnreadableInput(
            f"grey photo with values {values.min():g} to {values.max():g}: "
            f"expected 0 to {white:g}, or 8 bits",
        )
    values /= white
    if tags.get(_TIFF_PHOTOMETRIC) == _WHITE_IS_ZERO:
        values = 1.0 - values
    return Image.fromarray(np.rint(values * 255).astype(np.uint8))


def _on_white(pixels: RgbImage, alpha: RgbImage) -> RgbImage:
    weight = alpha[..., None].astype(np.uint16)
    blended = pixels * weight + 255 * (255 - weight)  # at most 255 * 255
    return ((blended + 127) // 255).astype(np.uint8)


def _to_srgb(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert any 8-bit mode to RGB, through the embedded profile when it fits the photo."""
    if image.mode == "LAB":
        return ImageCms.applyTransform(image, _lab_to_srgb())  # type: ignore[return-value]
    if profile:
        space, transform = _profile_to_srgb(profile)
        if transform is not None:
            if space == "RGB" and image.mode != "CMYK":
                image = image.convert("RGB")
            if image.mode == transform.input_mode:
                return ImageCms.applyTransform(image, transform)  # type: ignore[return-value]
    return image if image.mode == "RGB" else image.convert("RGB")


@lru_cache(maxsize=8)
def _profile_to_srgb(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """The transform of an ICC profile to sRGB and its colour space; None where none is needed."""
    try:
        parsed = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        space = str(parsed.profile.xcolor_space).strip()
        mode = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}[space]
        transform = ImageCms.buildTransform(parsed, _srgb(), mode, "RGB")
        transform.input_mode = mode
    except (ImageCms.PyCMSError, OSError, KeyError, ValueError, TypeError):
        return "", None
    if mode == "RGB" and _is_identity(transform):
        return space, None
    return space, transform


def _is_identity(transform: ImageCms.ImageCmsTransform) -> bool:
    """Whether a transform moves no colour of a 9 x 9 x 9 grid by more than one level."""
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    grid = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
    moved = np.asarray(ImageCms.applyTransform(Image.fromarray(grid), transform))
    return bool(np.abs(moved.astype(int) - grid).max() <= 1)


@lru_cache(maxsize=1)
def _srgb() -> ImageCms.ImageCmsProfile:
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))


@lru_cache(maxsize=1)
def _lab_to_srgb() -> ImageCms.ImageCmsTransform:
    return ImageCms.buildTransform(ImageCms.createProfile("LAB"), _srgb(), "LAB", "RGB")


def _first_line(problem: BaseException) -> str:
    lines = str(problem).strip().splitlines()
    return lines[0] if lines else type(problem).__name__
