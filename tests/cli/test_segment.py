from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from face3d_cli.cli.app import app
from face3d_cli.core import segmentation_classes as classes
from face3d_cli.io.image import read_photo


def run(*arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    path = tmp_path / "in" / "photo.png"
    path.parent.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (60, 80, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def test_all_results_of_one_photo(photo: Path, tmp_path: Path) -> None:
    labels, overlay, chances = tmp_path / "l.png", tmp_path / "o.png", tmp_path / "p.npz"
    done = run(
        "segment", photo, "-o", labels, "--overlay", overlay, "--probabilities", chances, "--json"
    )
    assert done.exit_code == 0, done.stderr
    record = json.loads(done.stdout)
    assert record["status"] == "ok"
    assert record["labels"] == str(labels)
    assert set(record["areas"]) == set(classes.CLASS_NAMES)
    assert sum(record["areas"].values()) == pytest.approx(1.0)
    with Image.open(labels) as picture:
        assert picture.mode == "P"
        indices = np.array(picture)
        palette = np.array(picture.getpalette()).reshape(-1, 3)[:18]
    assert indices.shape == (60, 80)
    assert (palette == classes.CLASS_COLORS).all()
    counts = np.bincount(indices.ravel(), minlength=18) / indices.size
    assert counts == pytest.approx(list(record["areas"].values()))
    with Image.open(overlay) as picture:
        assert picture.size == (80, 60)
    with np.load(chances) as stored:
        assert stored["classes"].tolist() == list(classes.CLASS_NAMES)
        assert stored["probabilities"].shape == (18, 60, 80)
        agrees = stored["probabilities"].argmax(axis=0) == indices
    assert agrees.mean() > 0.99  # half precision makes ties


def test_fasseg_classes_in_fasseg_colours(photo: Path, tmp_path: Path) -> None:
    done = run("segment", photo, "-o", tmp_path / "l.png", "--classes", "fasseg", "--json")
    assert list(json.loads(done.stdout)["areas"]) == list(classes.FASSEG_NAMES)
    with Image.open(tmp_path / "l.png") as picture:
        colours = np.array(picture.convert("RGB"))
    assert (classes.FASSEG_COLORS[classes.snap_to_fasseg(colours)] == colours).all()


def test_a_folder_of_results_goes_on_after_a_bad_photo(photo: Path, tmp_path: Path) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"nothing")
    out = tmp_path / "out"
    done = run("segment", bad, photo, "-o", out, "--overlay", out, "--json")
    assert done.exit_code == 6
    first, second = map(json.loads, done.stdout.splitlines())
    assert (first["status"], second["status"]) == ("unreadable", "ok")
    assert sorted(p.name for p in out.iterdir()) == ["photo.overlay.png", "photo.png"]
    assert "bad.jpg" in done.stderr


def test_one_bad_photo_is_exit_3_and_leaves_nothing(tmp_path: Path) -> None:
    done = run("segment", tmp_path / "none.jpg", "-o", tmp_path / "l.png", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["status"] == "unreadable"
    assert not (tmp_path / "l.png").exists()


def test_stdin_is_a_photo(photo: Path, tmp_path: Path) -> None:
    done = run("segment", "-", "-o", tmp_path / "out.png", stdin=photo.read_bytes())
    assert done.exit_code == 0, done.stderr
    assert done.stdout.strip() == str(tmp_path / "out.png")


def test_results_that_would_overwrite_each_other_are_refused(photo: Path, tmp_path: Path) -> None:
    assert run("segment", photo, photo, "-o", tmp_path / "out").exit_code == 2
    same = tmp_path / "same.png"
    assert run("segment", photo, "-o", same, "--overlay", same).exit_code == 2
    assert not same.exists()


@pytest.mark.shared
def test_each_face_of_a_group_photo(shared: Path, tmp_path: Path) -> None:
    one = read_photo(shared / "photos" / "prnet_0.jpg")
    Image.fromarray(np.hstack([one, one[:, ::-1]])).save(tmp_path / "two.png")
    done = run(
        "segment", tmp_path / "two.png", "-o", tmp_path / "l.png", "--faces", "all", "--json"
    )
    faces = json.loads(done.stdout)["faces"]
    assert [face["index"] for face in faces] == [0, 1]
    assert faces[0]["box_px"][0] < 450 < faces[1]["box_px"][0]
    assert all(face["visible_skin"] > 0.6 for face in faces)


def test_faces_that_are_not_there_are_exit_3(photo: Path, tmp_path: Path) -> None:
    done = run("segment", photo, "-o", tmp_path / "l.png", "--faces", "largest", "--json")
    assert done.exit_code == 3
    assert json.loads(done.stdout)["status"] == "no-face"
    assert run("segment", photo, "-o", tmp_path / "l.png", "--faces", "some").exit_code == 2


def test_weights_that_are_none_are_exit_4(photo: Path, tmp_path: Path) -> None:
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"torn")
    done = run("segment", photo, "-o", tmp_path / "l.png", "--weights", torn)
    assert done.exit_code == 4
    assert "not a U-Net weights file" in done.stderr


def test_train_smoke_writes_weights_that_segment_and_evaluate_take(
    photo: Path, tmp_path: Path
) -> None:
    data = tmp_path / "fasseg"
    rng = np.random.default_rng(1)
    for split in ("train", "test"):
        for kind in ("rgb", "labels"):
            (data / split / kind).mkdir(parents=True)
        for name in ("1", "2"):
            truth = rng.integers(0, 6, (6, 5)).repeat(16, axis=0).repeat(16, axis=1)
            Image.fromarray(classes.FASSEG_COLORS[truth]).save(data / split / f"labels/{name}.png")
            Image.fromarray((truth * 40).astype(np.uint8)).save(data / split / f"rgb/{name}.png")
    done = run("train", "unet", "--data", f"{data}=2", "--out", tmp_path / "run", "--smoke")
    assert done.exit_code == 0, done.stderr
    assert "step 4: " in done.stderr  # no terminal, no bar
    weights = Path(done.stdout.strip())
    assert weights == tmp_path / "run" / "unet-face.safetensors"
    done = run("segment", photo, "-o", tmp_path / "l.png", "--weights", weights)
    assert done.exit_code == 0, done.stderr
    third = ("--classes", "fasseg", "--start-from", weights, "--smoke")
    done = run("train", "unet", "--data", data, "--out", tmp_path / "six", *third)
    assert done.exit_code == 0, done.stderr
    six = done.stdout.strip()
    done = run("evaluate", "segmentation", data, "--weights", six, "--json")
    report = json.loads(done.stdout)
    assert report["photos"] == 2
    assert set(report["per_class"]) <= set(classes.FASSEG_NAMES)
    assert 0 <= report["mean_iou"] <= report["mean_f1"] <= 1


@pytest.mark.parametrize("entry", ["x=0", "x=-1", "x=nan", "x=much"])
def test_a_weight_has_to_be_positive(entry: str, tmp_path: Path) -> None:
    done = run("train", "unet", "--data", entry, "--out", tmp_path, "--smoke")
    assert done.exit_code == 2
