"""How losses went, as a table and as a picture."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from face3d_cli.arrays import RgbImage
from face3d_cli.io.atomic import atomic_path

_COLORS = ((20, 20, 20), (200, 60, 50), (40, 110, 200), (40, 150, 80), (230, 150, 30))
_MORE_COLORS = ((140, 80, 190), (0, 160, 170), (160, 110, 60))
_MARGIN = 40


def save_loss_csv(path: str | Path, losses: Sequence[dict[str, float]]) -> None:
    """Write one line a step: the step from 0, then every loss.

    Raises:
        OutputError: the file cannot be written.
    """
    names = _names(losses)
    with (
        atomic_path(path) as unfinished,
        unfinished.open("w", newline="", encoding="utf-8") as handle,
    ):
        writer = csv.writer(handle)
        writer.writerow(["step", *names])
        for step, record in enumerate(losses):
            writer.writerow([step, *(f"{record[name]:.8g}" for name in names)])


def draw_losses(losses: Sequence[dict[str, float]], size: tuple[int, int] = (720, 420)) -> RgbImage:
    """Draw every loss over the steps on a logarithmic axis; values of zero are left out."""
    width, height = size
    picture = Image.new("RGB", size, (255, 255, 255))
    draw = ImageDraw.Draw(picture)
    names = _names(losses)
    table = np.array([[record[name] for name in names] for record in losses]).reshape(
        -1, len(names)
    )
    positive = table[table > 0]
    if len(positive) == 0:
        return np.asarray(picture)
    low, high = np.floor(np.log10(positive.min())), np.ceil(np.log10(positive.max()) + 1e-9)
    low = max(low, high - 6)

    def at(step: float, value: float) -> tuple[float, float]:
        x = _MARGIN + (width - 2 * _MARGIN) * step / max(len(table) - 1, 1)
        share = (np.log10(value) - low) / (high - low)
        return x, height - _MARGIN - (height - 2 * _MARGIN) * share

    for power in range(int(low), int(high) + 1):
        y = at(0, 10.0**power)[1]
        draw.line([(_MARGIN, y), (width - _MARGIN, y)], fill=(220, 220, 220))
        draw.text((4, y - 6), f"1e{power}", fill=(90, 90, 90))
    draw.text((width - 2 * _MARGIN, height - 24), f"step {len(table) - 1}", fill=(90, 90, 90))
    for number, (name, column) in enumerate(zip(names, table.T, strict=True)):
        color = (_COLORS + _MORE_COLORS)[number % 8]
        points = [at(step, value) for step, value in enumerate(column) if value >= 10.0**low]
        if len(points) > 1:
            draw.line(points, fill=color, width=2)
        draw.text((_MARGIN + 88 * number, 12), name, fill=color)
    return np.asarray(picture)


def _names(losses: Sequence[dict[str, float]]) -> list[str]:
    """The total first, then the losses in their order."""
    found = dict.fromkeys(name for record in losses for name in record)
    return ["total", *(name for name in found if name != "total")]


def save_gif(path: str | Path, frames: Sequence[RgbImage], frames_per_second: float = 12.0) -> None:
    """Write an endless animation; the last frame stays for a second.

    Raises:
        OutputError: the file cannot be written.
    """
    pictures = [Image.fromarray(frame) for frame in frames]
    durations = [round(1000 / frames_per_second)] * (len(pictures) - 1) + [1000]
    with atomic_path(path) as unfinished:
        pictures[0].save(
            unfinished,
            format="GIF",
            save_all=True,
            append_images=pictures[1:],
            duration=durations,
            loop=0,
        )
