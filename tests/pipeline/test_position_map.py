"""`face3d prnet` as a Python call and from the shell, with a network that always says the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner

from face3d_cli.cli.app import app
from face3d_cli.core.face_box import FaceBox
from face3d_cli.errors import NoFaceFound
from face3d_cli.io.obj_reader import load_obj
from face3d_cli.pipeline.locate import locate
from face3d_cli.pipeline.position_map import map_faces
from face3d_cli.pipeline.single import reconstruct
from face3d_cli.settings import PositionMapSettings, ReconstructSettings, TextureSettings
from tests.helpers.position_maps import constant_weights, turn_about_y

PHOTO = np.random.default_rng(0).integers(60, 200, (200, 260, 3)).astype(np.uint8)
BOX = FaceBox(90, 60, 70, 70)


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    return constant_weights(tmp_path / "net.safetensors", turn_about_y(30))


@pytest.fixture
def settings(weights: Path) -> ReconstructSettings:
    return ReconstructSettings(
        method="prnet",
        position_map=PositionMapSettings(weights=str(weights), mesh_px=32),
        texture=TextureSettings(size_px=256, mask=False),
    )


def test_a_reconstruction_is_complete(settings: ReconstructSettings) -> None:
    (face,) = map_faces(PHOTO, settings, box=BOX).result.faces
    assert face.mesh.unit == "m"
    assert face.mesh.texture is not None
    assert face.pose.yaw == pytest.approx(30, abs=0.5)
    assert 0.1 < np.ptp(face.mesh.vertices[:, 1]) < 0.3
    projected = face.camera.project(face.landmarks_3d_m)
    np.testing.assert_allclose(projected, face.landmarks_px, atol=0.05)
    assert face.visible_share is not None
    assert 0.2 < face.visible_share < 1.0


def test_pose_image_keeps_the_head_turned(settings: ReconstructSettings) -> None:
    turned = map_faces(PHOTO, replace(settings, pose="image"), box=BOX).result.faces[0]
    frontal = map_faces(PHOTO, settings, box=BOX).result.faces[0]
    np.testing.assert_allclose(turned.mesh.vertices, frontal.camera.turn(frontal.mesh.vertices))
    np.testing.assert_allclose(turned.camera.rotation, np.eye(3))


def test_reconstruct_with_method_prnet_is_the_same(
    settings: ReconstructSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("face3d_cli.pipeline.single.choose_method", lambda asked: "prnet")
    result = reconstruct(PHOTO, settings, box=BOX)
    assert result.method == "prnet"
    wanted = map_faces(PHOTO, settings, box=BOX).result.faces[0]
    np.testing.assert_array_equal(result.faces[0].mesh.vertices, wanted.mesh.vertices)


def test_landmarks_that_are_given_say_where_the_face_is(settings: ReconstructSettings) -> None:
    points = np.column_stack([np.linspace(90, 160, 68), np.linspace(130, 60, 68)])
    (face,) = map_faces(PHOTO, settings, landmarks_px=points).result.faces
    assert face.box.detector == "landmarks"
    assert face.box.width == pytest.approx(70)


def test_extras_are_written(settings: ReconstructSettings, tmp_path: Path) -> None:
    found = map_faces(PHOTO, settings, box=BOX)
    files = {path.name for path in found.save_extras(tmp_path / "maps", "a")}
    assert files == {
        "a.sparse.png", "a.dense.png", "a.depth.png",
        "a.position.npy", "a.position.png", "a.visibility.png",
    }  # fmt: skip
    places = np.load(tmp_path / "maps" / "a.position.npy")
    assert places.shape == (256, 256, 3)
    scale = found.to_json()["faces"][0]["position_map"]
    pixels = cv2.imread(str(tmp_path / "maps" / "a.position.png"), cv2.IMREAD_UNCHANGED)
    assert pixels.dtype == np.uint16
    again = np.array(scale["origin_px"]) + pixels[..., ::-1] / 65535 * scale["side_px"]
    np.testing.assert_allclose(again, places, atol=2 * scale["side_px"] / 65535 + 1e-3)


def test_the_command_writes_a_mesh_and_a_report(weights: Path, tmp_path: Path) -> None:
    photo = tmp_path / "photo.png"
    cv2.imwrite(str(photo), PHOTO)
    out = tmp_path / "face.obj"
    arguments = ["prnet", str(photo), "-o", str(out), "--weights", str(weights), "--json"]
    arguments += ["--box", "90,60,70,70", "--no-mask", "--mesh-size", "64", "--texture-size", "256"]
    done = CliRunner().invoke(app, [*arguments, "--extras", str(tmp_path / "maps")])
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["method"] == "prnet"
    (face,) = report["faces"]
    assert len(face["landmarks_px"]) == len(face["landmarks_3d"]) == 68
    assert face["pose_deg"]["yaw"] == pytest.approx(30, abs=0.5)
    assert {Path(name).exists() for name in report["files"]} == {True}
    mesh = load_obj(out)
    assert len(mesh.vertices) == face["vertices"]
    assert {licence["what"] for licence in report["licences"]} == {"dlib", "prnet-resnet18"}


def test_a_photo_without_a_face_is_an_error(settings: ReconstructSettings) -> None:
    with pytest.raises(NoFaceFound):
        map_faces(np.full((120, 120, 3), 127, np.uint8), settings)


@pytest.mark.parametrize("model", ["prnet-resnet18", "prnet-mobilenetv2"])
def test_the_shipped_networks_find_the_face_where_dlib_does(sample_photo: Path, model: str) -> None:
    settings = ReconstructSettings(
        method="prnet", position_map=PositionMapSettings(model=model), texture=None
    )
    result = map_faces(sample_photo, settings).result
    (face,) = result.faces
    (_, expected), *_ = locate(sample_photo).faces
    away = np.linalg.norm(face.landmarks_px - expected, axis=1)[17:]
    assert away.mean() < 0.05 * face.box.width
    assert {licence["what"] for licence in result.licences()} == {"dlib", model}
