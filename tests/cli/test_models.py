"""`face3d models`, `doctor` and `licenses` as the shell sees them."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from face3d_cli.cli.app import app
from face3d_cli.weights.registry import model_names, model_spec

run = CliRunner().invoke


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """An empty store, no mirror, no network."""
    monkeypatch.setenv("FACE3D_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("FACE3D_OFFLINE", "1")
    monkeypatch.delenv("FACE3D_MIRROR", raising=False)
    return tmp_path / "home"


def mirror_of(tmp_path, monkeypatch, name: str):
    """A mirror that holds a damaged copy of a model: right sizes, wrong content."""
    folder = tmp_path / "mirror" / name
    folder.mkdir(parents=True)
    for file in model_spec(name).files:
        (folder / file.name).write_bytes(bytes(file.size))
    monkeypatch.setenv("FACE3D_MIRROR", str(tmp_path / "mirror"))
    return folder


def test_list_names_every_model_and_its_state(home):
    result = run(app, ["models", "list", "--json"])
    assert result.exit_code == 0
    listed = json.loads(result.stdout)
    assert listed["store"] == str(home)
    assert [each["name"] for each in listed["models"]] == model_names()
    states = {each["name"]: each["state"] for each in listed["models"]}
    assert states["dlib"] == "present"
    assert states["surrey"] == "missing"
    table = run(app, ["models", "list"]).stdout.splitlines()
    assert len(table) == 1 + len(model_names())
    assert all(line.count("\t") == 4 for line in table)


def test_offline_pull_exits_4_and_names_file_and_address():
    result = run(app, ["models", "pull", "surrey"])
    assert result.exit_code == 4
    assert result.stdout == ""
    assert "surrey/sfm_shape_3448.bin" in result.stderr
    assert model_spec("surrey").files[0].url in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_wrong_name_stops_before_any_pull(tmp_path, monkeypatch, home):
    mirror_of(tmp_path, monkeypatch, "yunet")
    result = run(app, ["models", "pull", "yunet", "nope"])
    assert result.exit_code == 4
    assert "no model named 'nope'" in result.stderr
    assert not home.exists()


def test_pull_of_a_damaged_mirror_exits_4_and_keeps_nothing(tmp_path, monkeypatch, home):
    mirror_of(tmp_path, monkeypatch, "yunet")
    result = run(app, ["models", "pull", "yunet"])
    assert result.exit_code == 4
    assert "yunet_n_dynamic.onnx is not the pinned file" in result.stderr
    assert [path.name for path in (home / "yunet").iterdir() if path.name != ".lock"] == []


def test_verify_names_the_damaged_file_and_exits_4(tmp_path, monkeypatch, home):
    mirror_of(tmp_path, monkeypatch, "yunet").rename(home.parent / "yunet")
    home.mkdir()
    (home.parent / "yunet").rename(home / "yunet")
    assert run(app, ["models", "path", "yunet"]).stdout == f"{home / 'yunet'}\n"  # sizes fit
    result = run(app, ["models", "verify"])
    assert result.exit_code == 4
    shipped = {name for name in model_names() if model_spec(name).origin == "shipped"}
    said = [each for each in result.stdout.splitlines() if each.split(":")[0] not in shipped]
    assert said == ["dlib: present", "yunet: damaged"]
    assert "yunet_n_dynamic.onnx has sha256" in result.stderr


def test_verify_of_a_named_missing_model_exits_4():
    result = run(app, ["models", "verify", "surrey"])
    assert result.exit_code == 4
    assert result.stdout == "surrey: missing\n"


def test_path_of_a_missing_model_names_the_command():
    result = run(app, ["models", "path", "surrey"])
    assert result.exit_code == 4
    assert "face3d models pull surrey" in result.stderr


@pytest.mark.parametrize("name", model_names())
def test_info_tells_terms_and_addresses(name):
    record = json.loads(run(app, ["models", "info", name, "--json"]).stdout)
    assert record["licence"] == model_spec(name).licence
    assert {each["name"] for each in record["files"]} == {f.name for f in model_spec(name).files}
    shown = run(app, ["models", "info", name]).stdout
    assert model_spec(name).paper in shown


@pytest.mark.shared
def test_real_pull_prints_the_folder_and_the_terms(shared, monkeypatch, home):
    pytest.importorskip("eos", reason="eos-py has no wheel for this Python")
    monkeypatch.setenv("FACE3D_MIRROR", str(shared / "models"))
    result = run(app, ["models", "pull", "surrey", "yunet"])
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(home / "surrey"), str(home / "yunet")]
    assert "non-commercial" in result.stderr
    assert run(app, ["models", "verify", "surrey", "yunet"]).exit_code == 0
    report = json.loads(run(app, ["doctor", "--json"]).stdout)
    assert report["ok"]
    assert report["methods"]["surrey"]


def test_doctor_without_models_says_what_to_pull_and_exits_1():
    result = run(app, ["doctor", "--json"])
    assert result.exit_code == 1
    report = json.loads(result.stdout)
    assert not report["ok"]
    checks = {check["name"]: check for check in report["checks"]}
    assert checks["surrey"]["state"] == "missing"
    assert checks["surrey"]["remedy"] == "face3d models pull surrey"
    assert "face3d fit" in checks["surrey"]["costs"]
    assert checks["numpy"]["state"] == "ok"
    table = run(app, ["doctor"])
    assert table.exit_code == 1
    assert "method surrey: cannot run" in table.stdout


def test_doctor_tells_missing_parts_from_broken_ones(tmp_path, monkeypatch):
    (tmp_path / "pillow_heif.py").write_text("raise OSError('libheif.so: not\\nfound')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "pillow_heif", raising=False)
    checks = {
        check["name"]: check
        for check in json.loads(run(app, ["doctor", "--json"]).stdout)["checks"]
    }
    assert checks["pillow_heif"]["state"] == "damaged"
    assert checks["pillow_heif"]["problem"] == "does not import: libheif.so: not found"
    assert checks["pillow_heif"]["remedy"] == "pip install 'face3d[heif]'"


@pytest.mark.shared
@pytest.mark.parametrize("part", ["dlib", "eos", "cv2"])
def test_doctor_exits_1_when_a_needed_part_is_gone(shared, monkeypatch, part):
    pytest.importorskip("eos", reason="eos-py has no wheel for this Python")
    monkeypatch.setenv("FACE3D_HOME", str(shared / "models"))  # laid out like a store
    assert run(app, ["doctor", "--json"]).exit_code == 0
    monkeypatch.setitem(sys.modules, part, None)
    result = run(app, ["doctor", "--json"])
    assert result.exit_code == 1
    assert not json.loads(result.stdout)["ok"]


def test_licenses_say_what_binds_a_result():
    everything = json.loads(run(app, ["licenses", "--json"]).stdout)["licences"]
    assert [each["what"] for each in everything] == ["face3d (code)", *model_names()]
    surrey = json.loads(run(app, ["licenses", "--for", "surrey", "--json"]).stdout)["licences"]
    assert [each["what"] for each in surrey] == ["dlib", "surrey", "unet-face"]
    head = json.loads(run(app, ["licenses", "--for", "ict", "--json"]).stdout)["licences"]
    assert {"ict-facekit", "prnet-resnet18"} < {each["what"] for each in head}
    assert all(each["non_commercial"] for each in surrey)
    shown = run(app, ["licenses", "--for", "surrey"]).stdout.splitlines()
    assert [line.split("\t")[2] for line in shown[:3]] == ["commercial use", "no", "no"]
    assert f"surrey: {model_spec('surrey').licence_url}" in shown
    wrong = run(app, ["licenses", "--for", "nope"])
    assert wrong.exit_code == 2
    assert "expected one of surrey" in wrong.stderr


def test_these_commands_load_no_heavy_library():
    code = (
        "import sys; from face3d_cli.cli import models, doctor, licenses; "
        "heavy = ('torch', 'cv2', 'dlib', 'eos', 'numpy', 'PIL', 'rich', 'urllib.request'); "
        "print([name for name in heavy if name in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"
