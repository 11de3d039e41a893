"""`reconstruct`, `landmarks` and `fit` as the shell sees them: exit code, stdout, stderr apart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from face3d_cli.cli.app import app
from face3d_cli.cli.photos import tell_doubts
from face3d_cli.io.image import read_photo
from face3d_cli.io.points import read_pts, save_pts

pytestmark = pytest.mark.usefixtures("surrey")


def face3d(*arguments, stdin=None):
    return CliRunner().invoke(app, [str(a) for a in arguments], input=stdin)


def quick(*arguments, **more):
    return face3d("reconstruct", *arguments, "--texture-size", 256, "--no-mask", **more)


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_prints_the_mesh_file_on_stdout_and_talks_on_stderr(sample_photo, tmp_path):
    result = quick(sample_photo, "-o", tmp_path / "face.obj")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == f"{tmp_path / 'face.obj'}\n"
    assert "surrey" in result.stderr
    assert files_in(tmp_path) == {"face.obj", "face.mtl", "face.png"}


def test_a_contact_sheet_may_not_have_the_name_of_the_texture(sample_photo, tmp_path):
    result = quick(sample_photo, "-o", tmp_path / "face.obj", "--render", tmp_path / "face.png")
    assert result.exit_code == 2
    assert "face.png would be written twice" in result.stderr
    assert files_in(tmp_path) == set()


def test_quiet_says_nothing_but_results(sample_photo, tmp_path):
    result = face3d("--quiet", "reconstruct", sample_photo, "-o", tmp_path / "f.ply", "--no-mask")
    assert (result.exit_code, result.stderr) == (0, "")


@pytest.mark.parametrize("suffix", ["obj", "ply", "glb", "stl"])
def test_every_format_by_its_suffix(sample_photo, tmp_path, suffix):
    assert quick(sample_photo, "-o", tmp_path / f"face.{suffix}").exit_code == 0
    assert (tmp_path / f"face.{suffix}").stat().st_size > 50_000


def test_unknown_suffix_is_usage_and_comes_before_the_work(sample_photo, tmp_path):
    result = quick(sample_photo, "-o", tmp_path / "face.fbx")
    assert result.exit_code == 2
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize("name", ["photo (1).jpg", "photos[red].jpg", "фото 写真.jpg", "-dash.jpg"])
def test_names_with_spaces_brackets_and_wide_characters(sample_photo, tmp_path, name):
    photo = tmp_path / name
    photo.write_bytes(sample_photo.read_bytes())
    result = quick(photo, "-o", tmp_path / f"{photo.stem}.glb", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["photo"] == str(photo)


def test_stdin_is_a_photo(sample_photo, tmp_path):
    result = quick("-", "-o", tmp_path / "face.glb", stdin=sample_photo.read_bytes())
    assert result.exit_code == 0, result.stderr


def test_upside_down_exif_gives_the_same_face(sample_photo, tmp_path):
    image = Image.open(sample_photo)
    exif = Image.Exif()
    exif[274] = 3
    image.rotate(180).save(tmp_path / "turned.png", exif=exif)
    image.save(tmp_path / "plain.png")
    reports = [
        json.loads(quick(tmp_path / f"{name}.png", "-o", tmp_path / f"{name}.ply", "--json").stdout)
        for name in ("turned", "plain")
    ]
    assert reports[0]["faces"][0]["landmarks_px"] == reports[1]["faces"][0]["landmarks_px"]


def test_several_photos_go_into_a_folder_and_failures_do_not_stop_them(sample_photo, tmp_path):
    broken, empty_scene = tmp_path / "broken.jpg", tmp_path / "scene.png"
    broken.write_bytes(b"not a photo")
    Image.new("RGB", (64, 64)).save(empty_scene)
    result = quick(broken, empty_scene, sample_photo, "-o", tmp_path / "out", "--json")
    assert result.exit_code == 6
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["status"] for line in lines] == ["unreadable", "no-face", "ok"]
    assert "broken.jpg" in lines[0]["error"]
    assert files_in(tmp_path / "out") == {"eileen_collins.glb"}
    assert "Traceback" not in result.stderr


def test_two_photos_of_one_name_are_refused_before_the_work(sample_photo, tmp_path):
    (tmp_path / "a").mkdir()
    twin = tmp_path / "a" / sample_photo.name
    twin.write_bytes(sample_photo.read_bytes())
    result = quick(sample_photo, twin, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "same name" in result.stderr
    assert quick(sample_photo, twin, "-o", tmp_path / "one.glb").exit_code == 2


@pytest.mark.parametrize(
    ("content", "words"),
    [(b"", "empty"), (b"hello", ""), (b"\xff\xd8\xff\xe0" + b"\0" * 40, "")],
)
def test_bad_photos_exit_3_with_one_line(tmp_path, content, words):
    photo = tmp_path / "bad.jpg"
    photo.write_bytes(content)
    result = quick(photo, "-o", tmp_path / "face.obj")
    assert result.exit_code == 3
    lines = [line for line in result.stderr.splitlines() if line.startswith("error")]
    assert len(lines) == 1
    assert "bad.jpg" in lines[0]
    assert words in lines[0]
    assert files_in(tmp_path) == {"bad.jpg"}


def test_a_photo_without_a_face_exits_3_and_says_what_to_try(tmp_path):
    Image.new("RGB", (80, 60)).save(tmp_path / "dark.png")
    result = quick(tmp_path / "dark.png", "-o", tmp_path / "face.obj")
    assert result.exit_code == 3
    assert "no face in" in result.stderr
    assert "--box" in result.stderr


def test_a_missing_model_exits_4_and_names_the_command(sample_photo, tmp_path, monkeypatch):
    monkeypatch.setenv("FACE3D_HOME", str(tmp_path / "none"))
    result = quick(sample_photo, "-o", tmp_path / "face.obj")
    assert result.exit_code == 4
    assert "face3d models pull surrey" in result.stderr


def test_an_unwritable_place_exits_5(sample_photo, tmp_path):
    (tmp_path / "file").write_text("")
    result = quick(sample_photo, "-o", tmp_path / "file" / "face.obj")
    assert result.exit_code == 5


@pytest.mark.parametrize(
    "options",
    [
        ["--faces", "some"],
        ["--faces", "0"],
        ["--box", "1,2,3"],
        ["--box", "1,2,-3,4"],
        ["--box", "nan,2,3,4"],
        ["--texture-size", "100"],
        ["--iterations", "0"],
        ["--method", "magic"],
    ],
)
def test_bad_options_exit_2(sample_photo, tmp_path, options):
    result = face3d("reconstruct", sample_photo, "-o", tmp_path / "face.obj", *options)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert files_in(tmp_path) == set()


def test_the_contact_sheet_shows_photo_and_views(sample_photo, tmp_path):
    result = quick(sample_photo, "-o", tmp_path / "f.glb", "--render", tmp_path / "sheet.png")
    assert result.exit_code == 0
    sheet = read_photo(tmp_path / "sheet.png")
    assert sheet.shape == (768, 1152, 3)
    photo, overlay, front = sheet[:384, :384], sheet[:384, 768:], sheet[384:, :384]
    greener = overlay[..., 1].astype(int) - overlay[..., 0] > 30
    assert greener.mean() > 0.05 > (photo[..., 1].astype(int) - photo[..., 0] > 30).mean()
    middle = front[150:250, 150:230].astype(int)
    assert (middle[..., 0] > middle[..., 2]).mean() > 0.9  # skin, not background


def test_landmarks_writes_points_report_and_picture(sample_photo, tmp_path):
    outs = [tmp_path / f"l.{suffix}" for suffix in ("pts", "json", "png")]
    result = face3d("landmarks", sample_photo, *(x for out in outs for x in ("-o", out)))
    assert result.exit_code == 0, result.stderr
    assert result.stdout.split() == [str(out) for out in outs]
    report = json.loads(outs[1].read_text())
    np.testing.assert_allclose(read_pts(outs[0]), report["faces"][0]["landmarks_px"], atol=1e-3)
    difference = np.abs(read_photo(outs[2]).astype(int) - read_photo(sample_photo)).max(axis=2)
    ys, xs = np.nonzero(difference > 60)
    assert 150 < xs.min() < xs.max() < 300  # drawn on the face alone
    assert 60 < ys.min() < ys.max() < 220


def test_landmarks_needs_somewhere_to_write(sample_photo, tmp_path):
    assert face3d("landmarks", sample_photo).exit_code == 2
    assert face3d("landmarks", sample_photo, "-o", tmp_path / "l.txt").exit_code == 2


def test_fit_takes_landmarks_from_a_file(sample_photo, tmp_path):
    points = read_points(sample_photo, tmp_path)
    save_pts(tmp_path / "moved.pts", points)
    result = face3d(
        "fit",
        sample_photo,
        "--landmarks",
        tmp_path / "moved.pts",
        "--json",
        "-o",
        tmp_path / "f.obj",
    )
    assert result.exit_code == 0, result.stderr
    (face,) = json.loads(result.stdout)["faces"]
    np.testing.assert_allclose(face["landmarks_px"], points, atol=1e-3)
    assert face["texture"] is None
    assert len(face["coefficients"]["shape"]) == 63
    ten = face3d(
        "fit",
        sample_photo,
        "--landmarks",
        tmp_path / "moved.pts",
        "--json",
        "--shape-components",
        10,
    )
    assert len(json.loads(ten.stdout)["faces"][0]["coefficients"]["shape"]) == 10


def read_points(photo, tmp_path):
    face3d("landmarks", photo, "-o", tmp_path / "found.pts")
    return read_pts(tmp_path / "found.pts")


def test_damaged_landmark_files_exit_3(sample_photo, tmp_path):
    bad = tmp_path / "bad.pts"
    bad.write_text("version: 1\nn_points: 68\n{\n1 2\n}\n")
    result = face3d("fit", sample_photo, "--landmarks", bad, "--json")
    assert result.exit_code == 3
    assert "bad.pts" in result.stderr


def test_interrupting_leaves_no_partial_file_and_exits_130(sample_photo, tmp_path):
    """Ctrl-C in a real process, in the middle of many photos."""
    photos = []
    for index in range(40):
        photos.append(tmp_path / f"p{index}.jpg")
        photos[-1].write_bytes(sample_photo.read_bytes())
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-m", "face3d_cli", "reconstruct", *photos, "-o", out, "--format", "obj"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=dict(os.environ),
    )
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline and not (out.is_dir() and len(list(out.glob("*.obj"))) >= 2):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert b"Traceback" not in stderr
    assert {path.suffix for path in out.iterdir()} == {".obj", ".mtl", ".png"}
    for kind in (".mtl", ".png"):
        assert {p.stem for p in out.glob(f"*{kind}")} == {p.stem for p in out.glob("*.obj")}


@pytest.mark.parametrize("command", [("reconstruct",), ("fit", "--model", "surrey")])
def test_a_perspective_camera_is_for_heads(sample_photo, tmp_path, command):
    out = tmp_path / "face.obj"
    result = face3d(*command, sample_photo, "-o", out, "--camera", "perspective")
    assert result.exit_code == 2
    assert "ICT-FaceKit only" in result.stderr
    assert files_in(tmp_path) == set()


def test_faces_in_doubt_are_told_on_stderr(capsys):
    sure, unsure, fitted = (SimpleNamespace(doubt=doubt) for doubt in (0.01, 0.08, None))
    tell_doubts("a.jpg", [sure, unsure, fitted])
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert "a.jpg: face 1 is in doubt (8 %" in told.err
