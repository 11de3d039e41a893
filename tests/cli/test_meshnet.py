"""`meshnet` as the shell sees it: files, report, refusals, and what a run gone wrong leaves."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from face3d_cli.cli.app import app
from face3d_cli.io.mesh import load_mesh
from face3d_cli.stages.morphable import load_surrey
from face3d_cli.weights.store import model_state

QUICK = ("--size", 64, "--steps", 6)


def meshnet(*arguments):
    return CliRunner().invoke(app, ["meshnet", *(str(a) for a in arguments)])


def files_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.usefixtures("surrey")
def test_a_ply_holds_the_optimised_colours(sample_photo, tmp_path):
    result = meshnet(sample_photo, "-o", tmp_path / "face.ply", *QUICK)
    assert result.exit_code == 0, result.stderr
    assert load_mesh(tmp_path / "face.ply").vertex_colors.std(axis=0).min() > 5


@pytest.mark.usefixtures("surrey")
def test_writes_mesh_history_plot_animation_and_report(sample_photo, tmp_path):
    extras = {"history": "l.csv", "plot": "l.png", "gif": "l.gif", "compare": "c.png"}
    asked = [part for name, file in extras.items() for part in (f"--{name}", tmp_path / file)]
    result = meshnet(sample_photo, "-o", tmp_path / "face.obj", *QUICK, *asked, "--json")
    assert result.exit_code == 0, result.stderr
    assert files_in(tmp_path) == {"face.obj", "face.mtl", "face.png", *extras.values()}
    report = json.loads(result.stdout)
    assert (report["status"], report["method"]) == ("ok", "meshnet-surrey")
    face = report["faces"][0]
    assert (face["steps"], face["stop_reason"]) == (6, "steps")
    assert face["perceptual_model"] in ("unet-face", "vgg19")
    assert 15 < face["psnr_db"] < 60
    assert 0 < face["ssim"] <= 1
    with (tmp_path / "l.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 6
    assert {"mse", "perceptual", "chamfer", "edge", "normal", "laplacian", "total"} <= set(rows[0])
    with Image.open(tmp_path / "l.gif") as film:
        assert film.n_frames > 2  # equal ones are one
    mesh = load_mesh(tmp_path / "face.obj")
    assert mesh.texture is not None
    assert np.ptp(mesh.vertices, axis=0).max() == pytest.approx(0.2, abs=0.08)  # metres


def test_dome_needs_no_face_model_and_has_vertex_colours(sample_photo, tmp_path, monkeypatch):
    monkeypatch.setenv("FACE3D_HOME", str(tmp_path / "empty"))
    monkeypatch.setenv("FACE3D_OFFLINE", "1")
    out = tmp_path / "dome.ply"
    result = meshnet(sample_photo, "-o", out, "--init", "hemisphere", *QUICK)
    assert result.exit_code == 0, result.stderr
    assert result.stdout.strip() == str(out)
    mesh = load_mesh(out)
    assert len(mesh.vertices) == 2113
    assert mesh.vertex_colors.std(axis=0).min() > 5
    load_surrey.cache_clear()  # other tests have read it


def test_diverging_run_keeps_the_best_mesh_and_exits_5(sample_photo, tmp_path):
    out = tmp_path / "dome.ply"
    wild = ("--optimizer", "sgd", "--learning-rate", 1e8, "--size", 64, "--steps", 40)
    result = meshnet(sample_photo, "-o", out, "--init", "hemisphere", *wild)
    assert result.exit_code == 5
    assert "diverged" in result.stderr
    assert "--learning-rate" in result.stderr
    mesh = load_mesh(out)
    assert np.isfinite(mesh.vertices).all()
    assert np.abs(mesh.vertices).max() < 0.5


def test_a_checkpoint_is_continued_from(sample_photo, tmp_path):
    checkpoint = ("--checkpoint", tmp_path / "run.pt", "--init", "hemisphere")
    out = tmp_path / "dome.ply"
    first = meshnet(sample_photo, "-o", out, "--size", 64, "--steps", 25, *checkpoint)
    assert first.exit_code == 0, first.stderr
    history = tmp_path / "history.csv"
    more = ("--size", 64, "--steps", 30, "--history", history)
    assert meshnet(sample_photo, "-o", out, *more, *checkpoint).exit_code == 0
    assert len(history.read_text().splitlines()) == 1 + 30
    other = meshnet(sample_photo, "-o", out, "--size", 128, *checkpoint)
    assert other.exit_code == 2
    assert "other settings" in other.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--size", 100), "64, 128 or 256"),
        (("--init", "sphere"), "hemisphere"),
        (("--parameters", "meshnet"), "the template has 3517"),
        (("--weight-mse", -1), "weight-mse"),
    ],
)
@pytest.mark.usefixtures("surrey")
def test_what_cannot_be_done_is_refused_as_usage(sample_photo, tmp_path, options, said):
    result = meshnet(sample_photo, "-o", tmp_path / "face.obj", *options)
    assert result.exit_code == 2
    assert said in " ".join(result.stderr.split())
    assert files_in(tmp_path) == set()


@pytest.mark.parametrize("name", ["face.png", "face.mtl", "face.obj", "losses.csv"])
def test_no_file_is_written_over_another(sample_photo, tmp_path, name):
    given = ("--plot", tmp_path / name, "--history", tmp_path / "losses.csv")
    result = meshnet(sample_photo, "-o", tmp_path / "face.obj", *given)
    assert result.exit_code == 2
    assert "written twice" in " ".join(result.stderr.split())
    assert files_in(tmp_path) == set()


def test_position_maps_are_a_start_where_their_network_is(sample_photo, tmp_path):
    out = tmp_path / "face.ply"
    result = meshnet(sample_photo, "-o", out, "--init", "prnet", *QUICK, "--json")
    if model_state("prnet-resnet18").state != "present":
        assert result.exit_code == 4
        assert "prnet-resnet18" in result.stderr
        assert files_in(tmp_path) == set()
        return
    assert result.exit_code == 0, result.stderr
    report = json.loads(result.stdout)
    assert report["method"] == "meshnet-prnet"
    assert report["faces"][0]["psnr_db"] > 15
    assert len(load_mesh(out).vertices) == report["faces"][0]["vertices"]


def test_every_option_has_a_help_line():
    import typer.main

    command = typer.main.get_command(app).get_command(None, "meshnet")
    for parameter in command.params:
        assert getattr(parameter, "help", None), parameter.name
