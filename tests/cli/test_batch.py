"""`face3d batch` as a user meets it: with real photos, models and signals."""

from __future__ import annotations

import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from face3d_cli.errors import ModelError
from face3d_cli.weights.store import find_model

FACE3D = [sys.executable, "-m", "face3d_cli"]
LAST_LINE = re.compile(r"ok=(\d+) no-face=(\d+) failed=(\d+) skipped=(\d+) \d+\.\d photos/s$")


def face3d(*arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [*FACE3D, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=600, **options)


def counts_in(result: subprocess.CompletedProcess[str]) -> tuple[int, ...]:
    found = LAST_LINE.search(result.stderr.strip().splitlines()[-1])
    assert found, result.stderr
    return tuple(int(count) for count in found.groups())


def outputs_in(out: Path) -> dict[str, bytes]:
    """Every result, without what the batch keeps for itself."""
    own = {"manifest.jsonl", "manifest.lock", "summary.json"}
    return {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name not in own
    }


@pytest.fixture
def photos(tmp_path: Path, sample_photo: Path) -> Path:
    """Two photos of one name in two folders, and one of another suffix."""
    folder = tmp_path / "photos"
    with Image.open(sample_photo) as image:
        small = image.convert("RGB").resize((320, round(320 * image.height / image.width)))
    for name in ("a/x.jpg", "b/x.jpg", "b/x.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        small.save(folder / name)
    return folder


@pytest.mark.usefixtures("surrey")
def test_all_faces_of_a_photo_can_share_one_file(sample_photo, tmp_path):
    from face3d_cli.io.mesh import load_meshes

    with Image.open(sample_photo) as image:
        one = np.asarray(
            image.convert("RGB").resize((400, round(400 * image.height / image.width)))
        )
    (tmp_path / "photos").mkdir()
    Image.fromarray(np.hstack([one, one[:, ::-1]])).save(tmp_path / "photos" / "two.png")
    more = ("--faces", "all", "--layout", "photo", "--format", "glb", "--no-mask")
    result = face3d("batch", tmp_path / "photos", "-o", tmp_path / "out", *more)
    assert result.returncode == 0, result.stderr
    assert list(outputs_in(tmp_path / "out")) == ["two.png.glb"]
    assert len(load_meshes(tmp_path / "out" / "two.png.glb")) == 2


def test_landmarks_of_a_folder_tree(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = face3d("batch", photos, "-o", out, "--task", "landmarks", "--json", "--jobs", 2)
    assert result.returncode == 0, result.stderr
    assert counts_in(result) == (3, 0, 0, 0)
    lines = result.stdout.splitlines()
    assert sorted(lines) == sorted((out / "manifest.jsonl").read_text().splitlines())
    by_name = {record["name"]: record for record in map(json.loads, lines)}
    assert sorted(by_name) == ["a/x.jpg", "b/x.jpg", "b/x.png"]
    assert len(by_name["a/x.jpg"]["faces"][0]["landmarks_px"]) == 68
    assert sorted(outputs_in(out)) == sorted(
        f"{name}.{suffix}" for name in by_name for suffix in ("pts", "landmarks.png")
    )
    for record in by_name.values():
        for output in record["outputs"]:
            assert (out / output["path"]).stat().st_size == output["bytes"]
    again = face3d("batch", photos, "-o", out, "--task", "landmarks")
    assert (again.returncode, counts_in(again)) == (0, (0, 0, 0, 3))


def test_batch_gives_what_the_command_gives(photos: Path, tmp_path: Path, surrey: Path) -> None:
    out, alone = tmp_path / "out", tmp_path / "x.jpg.obj"
    options = ["--format", "obj", "--no-expressions", "--texture-size", "256"]
    assert face3d("batch", photos, "-o", out, "--limit", 1, *options).returncode == 0
    assert face3d("reconstruct", photos / "a" / "x.jpg", "-o", alone, *options).returncode == 0
    made = outputs_in(out)
    assert sorted(made) == ["a/x.jpg.mtl", "a/x.jpg.obj", "a/x.jpg.png"]
    for name, content in made.items():
        assert content == (tmp_path / Path(name).name).read_bytes(), name


def test_meshes_are_optimised_and_extras_go_to_folders_of_their_own(
    photos: Path, tmp_path: Path, surrey: Path
) -> None:
    options = ["--task", "meshnet", "--steps", 3, "--size", 64, "--weight-perceptual", 0]
    extras = ["--history", tmp_path / "csv", "--gif", tmp_path / "gif", "--format", "ply"]
    result = face3d("batch", photos, "-o", tmp_path / "out", "-j", 1, *options, *extras, "--json")
    assert result.returncode == 0, result.stderr
    assert sorted(outputs_in(tmp_path / "out")) == [
        "a/x.jpg.ply", "b/x.jpg.ply", "b/x.png.ply",
    ]  # fmt: skip
    assert (tmp_path / "csv" / "b" / "x.png.losses.csv").read_text().count("\n") == 4
    with Image.open(tmp_path / "gif" / "a" / "x.jpg.gif") as animation:
        assert animation.n_frames > 1
    record = json.loads(result.stdout.splitlines()[0])
    assert record["faces"][0]["steps"] == 3
    assert len(record["outputs"]) == 3
    shutil.rmtree(tmp_path / "gif")
    again = face3d(
        "batch", photos, "-o", tmp_path / "out", "-j", 1, *options, *extras, "--limit", 1
    )
    assert counts_in(again) == (1, 0, 0, 0)  # the animation is part of what is done


def test_position_maps_of_a_folder_tree(photos: Path, tmp_path: Path) -> None:
    try:
        find_model("prnet-resnet18")
    except ModelError as problem:
        pytest.skip(str(problem))
    options = ["--task", "prnet", "--format", "ply", "--limit", 1, "--extras", tmp_path / "maps"]
    result = face3d("batch", photos, "-o", tmp_path / "out", *options)
    assert result.returncode == 0, result.stderr
    assert sorted(outputs_in(tmp_path / "out")) == ["a/x.jpg.ply"]
    extras = {path.name for path in (tmp_path / "maps" / "a").iterdir()}
    assert {"x.jpg.position.npy", "x.jpg.depth.png", "x.jpg.sparse.png"} <= extras


def test_a_missing_model_ends_with_4_and_no_photo_is_tried(photos: Path, tmp_path: Path) -> None:
    model = ["--task", "prnet", "--model", "prnet-resfcn256"]
    home = {**os.environ, "FACE3D_HOME": str(tmp_path / "home"), "FACE3D_OFFLINE": "1"}
    result = face3d("batch", photos, "-o", tmp_path / "out", *model, env=home)
    assert result.returncode == 4
    assert "face3d models pull prnet-resfcn256" in result.stderr
    assert (tmp_path / "out" / "manifest.jsonl").read_bytes() == b""


def test_contact_sheets_are_not_taken_for_photos(
    photos: Path, tmp_path: Path, surrey: Path
) -> None:
    sheets = photos / "sheets"
    command = ["batch", photos, "-o", tmp_path / "out", "--limit", 1, "--render", sheets]
    assert face3d(*command).returncode == 0
    assert [path.name for path in sheets.rglob("*.png")] == ["x.jpg.sheet.png"]
    listed = face3d(*command[:4], "--render", sheets, "--dry-run")
    assert [line.split("\t")[0] for line in listed.stdout.splitlines()] == [
        "skipped", "to-do", "to-do",
    ]  # fmt: skip


def test_results_go_to_stdout_while_a_bar_is_on_the_terminal(photos: Path, tmp_path: Path) -> None:
    (photos / "[red]text.jpg").write_text("no photo")
    terminal, theirs = pty.openpty()
    with subprocess.Popen(
        [*FACE3D, "batch", photos, "-o", tmp_path / "out", "--task", "landmarks", "--json"],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
    ) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how a terminal without a program ends
            while read := os.read(terminal, 4096):
                shown += read
        results = process.stdout.read() if process.stdout else ""
    os.close(terminal)
    statuses = [json.loads(line)["status"] for line in results.splitlines()]
    assert sorted(statuses) == ["ok", "ok", "ok", "unreadable"]
    assert b"photos/s" in shown
    assert b"landmarks_px" not in shown
    assert re.search(rb"error: unreadable: [^\r\n]*\[red\]text.jpg is not a photo", shown)


def test_broken_photos_are_named_and_the_others_done(photos: Path, tmp_path: Path) -> None:
    whole = (photos / "a" / "x.jpg").read_bytes()
    (photos / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "empty.jpg").write_bytes(b"")
    (photos / "text.jpg").write_text("not a photo")
    (photos / "gone.jpg").symlink_to("nowhere.jpg")
    Image.fromarray(np.zeros((400, 400, 3), np.uint8)).save(photos / "black.png")
    Image.new("1", (14_000, 14_000)).save(photos / "bomb.png")
    result = face3d("batch", photos, "-o", tmp_path / "out", "--task", "landmarks", "--json")
    assert result.returncode == 6
    assert counts_in(result) == (3, 1, 5, 0)
    records = [json.loads(line) for line in result.stdout.splitlines()]
    bad = {each["name"]: each["status"] for each in records if each["status"] != "ok"}
    assert bad == {
        "truncated.jpg": "unreadable",
        "empty.jpg": "unreadable",
        "text.jpg": "unreadable",
        "gone.jpg": "unreadable",
        "bomb.png": "unreadable",
        "black.png": "no-face",
    }
    for name in bad:
        assert name in result.stderr
    assert "Traceback" not in result.stderr


def test_a_list_on_stdin(photos: Path, tmp_path: Path) -> None:
    result = face3d(
        *("batch", "-", "-o", tmp_path / "out", "--task", "landmarks"),
        input="b/x.png\na/x.jpg\n",
        cwd=photos,
    )
    assert result.returncode == 0, result.stderr
    assert {name.rsplit("/", 1)[0] for name in outputs_in(tmp_path / "out")} == {"a", "b"}


def test_a_folder_without_photos_is_refused_and_an_empty_list_is_nothing_to_do(
    photos: Path, tmp_path: Path
) -> None:
    result = face3d("batch", photos, "-o", tmp_path / "out", "--include", "*.gif")
    assert result.returncode == 3
    assert "found none among 3 other files; look at --include" in result.stderr
    assert not (tmp_path / "out").exists()
    result = face3d("batch", "-", "-o", tmp_path / "out", input="")
    assert (result.returncode, counts_in(result)) == (0, (0, 0, 0, 0))


def test_a_dry_run_does_nothing(photos: Path, tmp_path: Path) -> None:
    result = face3d("batch", photos, "-o", tmp_path / "out", "--dry-run", "--exclude", "*.png")
    assert result.returncode == 0
    assert result.stdout.split() == ["to-do", f"{photos}/a/x.jpg", "to-do", f"{photos}/b/x.jpg"]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--task", "nonsense"], "there is no task 'nonsense'"),
        (["--pose", "sideways"], "Invalid value for '--pose'"),
        (["--nonsense", "1"], "No such option: --nonsense"),
        (["--landmarks", "x.pts"], "--landmarks cannot be used in a batch"),
        (["--faces", "0"], "--faces must be"),
        (["--num-gpus", "1"], "are for --engine ray"),
        (["other"], "a batch takes one folder"),
        (["--task", "landmarks", "--format", "obj"], "No such option: --format"),
        (["--task", "prnet", "--passes", "9"], "Invalid value for '--passes'"),
        (["--task", "meshnet", "--size", "100"], "--size must be 64, 128 or 256"),
        (["--task", "meshnet", "--checkpoint", "x"], "--checkpoint cannot be used in a batch"),
    ],
)
def test_options_are_refused_as_the_command_refuses_them(
    photos: Path, tmp_path: Path, options: list[str], said: str
) -> None:
    result = face3d("batch", photos, "-o", tmp_path / "out", *options)
    assert (result.returncode, result.stdout) == (2, "")
    assert said in result.stderr
    assert not (tmp_path / "out").exists()


def test_ctrl_c_ends_with_130_and_nothing_unfinished(photos: Path, tmp_path: Path) -> None:
    for index in range(30):
        shutil.copy(photos / "a" / "x.jpg", photos / f"{index}.jpg")
    out = tmp_path / "out"
    command = [*FACE3D, "batch", str(photos), "-o", str(out), "--task", "landmarks", "--json"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as in a terminal
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.killpg(process.pid, signal.SIGINT)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 130
    assert said.strip().splitlines()[-1].startswith("interrupted")
    assert "Traceback" not in said
    assert not [name for name in outputs_in(out) if Path(name).name.startswith(".")]


def test_help_shows_an_example() -> None:
    result = face3d("batch", "--help")
    assert result.returncode == 0
    assert "Example: face3d batch photos/ -o meshes/" in " ".join(result.stdout.split())
