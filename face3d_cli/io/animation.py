"""How a row of pictures becomes a moving one: GIF, WebP or MP4, by the suffix of the file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from face3d_cli.errors import OutputError, UsageError
from face3d_cli.io.atomic import atomic_path

SUFFIXES = (".gif", ".webp", ".mp4")


def save_animation(
    path: Path, frames: Sequence[npt.NDArray[np.uint8]], frames_per_second: float
) -> None:
    """Write frames that repeat for ever (GIF, WebP) or are shown once (MP4).

    Args:
        path: ends in .gif, .webp or .mp4.
        frames: (H, W, 4) sRGB with straight alpha; MP4 shows them over black.
        frames_per_second: GIF keeps hundredths of a second.

    Raises:
        UsageError: another suffix.
        OutputError: it cannot be written.
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UsageError(f"expected a name ending in {', '.join(SUFFIXES)}, found {path.name}")
    with atomic_path(path) as unfinished:
        if suffix == ".mp4":
            _write_mp4(unfinished, frames, frames_per_second)
            return
        pictures = [Image.fromarray(frame) for frame in frames]
        is_opaque = all((frame[..., 3] == 255).all() for frame in frames)
        if is_opaque:
            pictures = [picture.convert("RGB") for picture in pictures]
        more = {"quality": 88, "method": 2} if suffix == ".webp" else {"disposal": 2}
        pictures[0].save(
            unfinished,
            format=suffix[1:].upper(),
            save_all=True,
            append_images=pictures[1:],
            duration=round(1000 / frames_per_second),
            loop=0,
            **more,
        )


def _write_mp4(
    path: Path, frames: Sequence[npt.NDArray[np.uint8]], frames_per_second: float
) -> None:
    """MPEG-4 by OpenCV, whose sides must be even."""
    import cv2

    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    writer = cv2.VideoWriter(
        str(path), cv2.VideoWriter.fourcc(*"mp4v"), frames_per_second, (width, height)
    )
    if not writer.isOpened():
        raise OutputError(f"OpenCV cannot write {path.suffix} here", hint="write .webp or .gif")
    for frame in frames:
        alpha = frame[..., 3:].astype(np.uint16)
        shown = (frame[..., :3] * alpha // 255).astype(np.uint8)
        writer.write(np.ascontiguousarray(shown[:height, :width, ::-1]))
    writer.release()
