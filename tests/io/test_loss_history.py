import csv
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from face3d_cli.errors import OutputError
from face3d_cli.io.loss_history import draw_losses, save_gif, save_loss_csv

LOSSES = [{"mse": 0.5 / (k + 1), "edge": 0.0, "total": 0.5 / (k + 1)} for k in range(5)]


def test_table_holds_every_step(tmp_path: Path) -> None:
    save_loss_csv(tmp_path / "new" / "losses.csv", LOSSES)
    with (tmp_path / "new" / "losses.csv").open(newline="") as handle:
        rows = list(csv.DictReader(handle))
    assert list(rows[0]) == ["step", "total", "mse", "edge"]
    assert [float(row["mse"]) for row in rows] == pytest.approx([r["mse"] for r in LOSSES])


def test_plot_falls_with_the_loss() -> None:
    picture = draw_losses(LOSSES)
    assert picture.shape == (420, 720, 3)
    red = (picture == (200, 60, 50)).all(axis=2)[40:]
    heights = [np.flatnonzero(red[:, x]).mean() for x in (60, 300, 600)]
    assert heights == sorted(heights)  # rows are counted downwards
    assert (draw_losses([]) == 255).all()


def test_animation_keeps_its_frames(tmp_path: Path) -> None:
    frames = [np.full((10, 12, 3), shade, np.uint8) for shade in (0, 120, 250)]
    save_gif(tmp_path / "a.gif", frames)
    with Image.open(tmp_path / "a.gif") as picture:
        assert (picture.n_frames, picture.size) == (3, (12, 10))
    (tmp_path / "taken").mkdir()
    with pytest.raises(OutputError):
        save_gif(tmp_path / "taken", frames)
