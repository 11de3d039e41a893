"""One photo to meshes: what comes out, in which frame, and what the report says."""

from __future__ import annotations

import json
from dataclasses import replace

import cv2
import numpy as np
import pytest

from face3d_cli.core.face_box import FaceBox
from face3d_cli.errors import ModelError, NoFaceFound, UsageError
from face3d_cli.io.image import read_photo
from face3d_cli.io.mesh import load_mesh
from face3d_cli.pipeline.locate import locate
from face3d_cli.pipeline.single import choose_method, reconstruct
from face3d_cli.settings import (
    MorphableSettings,
    ReconstructSettings,
    RefineSettings,
    TextureSettings,
    TurnedFaceSettings,
)

pytestmark = pytest.mark.usefixtures("surrey")
QUICK = ReconstructSettings(texture=TextureSettings(size_px=256))
BARE = ReconstructSettings(texture=None)


@pytest.fixture(scope="module")
def photo(sample_photo):
    return read_photo(sample_photo)


@pytest.fixture(scope="module")
def group(photo):
    """Two faces side by side, the right one smaller."""
    small = cv2.resize(photo, (420, 420), interpolation=cv2.INTER_AREA)
    return np.hstack([photo, np.pad(small, ((46, 46), (0, 0), (0, 0)))])


@pytest.fixture(scope="module")
def result(photo, model_home):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACE3D_HOME", str(model_home))
        return reconstruct(photo, QUICK)


def test_the_mesh_is_a_head_in_metres_facing_the_viewer(result):
    (face,) = result.faces
    mesh = face.mesh
    assert mesh.unit == "m"
    assert (len(mesh.vertices), len(mesh.triangles)) == (3448, 6736)
    height = np.ptp(mesh.vertices[:, 1])
    assert 0.15 < height < 0.30
    nose = mesh.vertices[np.argmax(mesh.vertices[:, 2])]
    assert abs(nose[0]) < 0.01
    assert -0.06 < nose[1] < 0  # below the eyes
    normals = np.cross(
        mesh.vertices[mesh.triangles[:, 1]] - mesh.vertices[mesh.triangles[:, 0]],
        mesh.vertices[mesh.triangles[:, 2]] - mesh.vertices[mesh.triangles[:, 0]],
    )
    assert (normals[:, 2] > 0).mean() > 0.9  # counter-clockwise seen from outside


def test_the_camera_puts_the_mesh_landmarks_onto_the_photo(result):
    (face,) = result.faces
    projected = face.camera.project(face.landmarks_3d_m)
    assert np.linalg.norm(projected - face.landmarks_px, axis=1).mean() == pytest.approx(
        face.fit_error_px, abs=1e-6
    )


def test_the_texture_shows_the_photo(result, photo):
    """Texels of the nose and cheeks have the photo's colours there."""
    (face,) = result.faces
    points = face.camera.project(face.mesh.vertices)
    texels = np.column_stack([face.mesh.uv[:, 0], 1 - face.mesh.uv[:, 1]]) * 256
    front = np.flatnonzero(face.mesh.vertices[:, 2] > -0.01)
    columns, rows = np.clip(texels[front].astype(int), 0, 255).T
    x, y = np.round(points[front]).astype(int).T
    difference = np.abs(face.mesh.texture[rows, columns].astype(int) - photo[y, x]).mean(axis=1)
    assert np.median(difference) < 10


def test_pose_image_turns_mesh_landmarks_and_blendshapes_together(photo, result):
    turned = reconstruct(photo, replace(BARE, pose="image")).faces[0]
    (frontal,) = result.faces
    rotation = frontal.camera.rotation
    np.testing.assert_allclose(turned.mesh.vertices, frontal.mesh.vertices @ rotation.T, atol=1e-9)
    np.testing.assert_allclose(
        turned.mesh.blendshapes["happiness"],
        frontal.mesh.blendshapes["happiness"] @ rotation.T,
        atol=1e-9,
    )
    np.testing.assert_allclose(
        turned.camera.project(turned.landmarks_3d_m), frontal.camera.project(frontal.landmarks_3d_m)
    )
    assert turned.pose == frontal.pose


def test_faces_are_chosen_by_size_and_kept_left_to_right(group):
    largest = reconstruct(group, BARE)
    assert [face.box.center[0] < 512 for face in largest.faces] == [True]
    both = reconstruct(group, BARE, faces="all")
    assert [face.box.center[0] < 512 for face in both.faces] == [True, False]
    assert len(reconstruct(group, BARE, faces=2).faces) == 2
    with pytest.raises(UsageError):
        reconstruct(group, BARE, faces=0)


def test_several_faces_become_numbered_files(group, tmp_path):
    both = reconstruct(group, BARE, faces="all")
    saved = both.save(tmp_path / "out.obj")
    assert [each.mesh.name for each in saved] == ["out_0.obj", "out_1.obj"]
    assert [face["mesh"] for face in both.to_json(saved)["faces"]] == [
        str(each.mesh) for each in saved
    ]


def test_a_box_and_landmarks_bypass_detection(photo, monkeypatch, result):
    from face3d_cli.stages import detection

    def fail(*arguments, **more):
        raise AssertionError("detection ran")

    monkeypatch.setattr(detection, "detect_faces", fail)
    (face,) = result.faces
    with_box = reconstruct(photo, BARE, box=FaceBox(179, 83, 88, 88)).faces[0]
    np.testing.assert_allclose(with_box.landmarks_px, face.landmarks_px, atol=1e-9)
    with_points = reconstruct(photo, BARE, landmarks_px=face.landmarks_px).faces[0]
    assert with_points.coefficients == face.coefficients


def test_the_report_is_json_as_the_contract_says(result, tmp_path):
    saved = result.save(tmp_path / "face.obj")
    report = json.loads(json.dumps(result.to_json(saved), allow_nan=False))
    assert report["status"] == "ok"
    assert report["method"] == "surrey"
    assert set(report["timings_ms"]) >= {"detect", "landmarks", "fit", "texture", "write"}
    (face,) = report["faces"]
    assert len(face["box_px"]) == 4
    assert np.shape(face["landmarks_px"]) == (68, 2)
    assert np.shape(face["landmarks_3d"]) == (68, 3)
    assert set(face["pose_deg"]) == {"yaw", "pitch", "roll"}
    assert face["camera"]["model"] == "scaled_orthographic"
    assert face["mesh"] == str(tmp_path / "face.obj")
    assert face["texture"] == str(tmp_path / "face.png")
    assert (face["vertices"], face["triangles"], face["unit"]) == (3448, 6736, "m")
    assert len(face["coefficients"]["shape"]) == 63
    assert set(face["coefficients"]["expression"]) == {
        "anger", "disgust", "fear", "happiness", "sadness", "surprise",
    }  # fmt: skip
    assert 0.5 < face["occlusion"]["visible_skin"] < 0.95  # she has a fringe
    assert face["occlusion"]["hair"] > 0.05
    assert {each["what"] for each in report["licences"]} >= {"dlib", "surrey"}


@pytest.mark.parametrize(
    ("name", "more", "unit", "per_metre"),
    [
        ("face.stl", {}, "mm", 1000),
        ("face.stl", {"for_blender": True}, "m", 1),
        ("face.ply", {"for_blender": True}, "m", 1),
        ("face.glb", {"unit": "cm"}, "cm", 100),
    ],
)
def test_reported_landmarks_lie_on_the_mesh_file(result, tmp_path, name, more, unit, per_metre):
    """Same frame and unit as the file: for another reader, every landmark is a vertex."""
    import trimesh

    saved = result.save(tmp_path / name, **more)
    (face,) = result.to_json(saved)["faces"]
    assert face["unit"] == unit
    vertices = trimesh.load(tmp_path / name, force="mesh", process=False).vertices
    landmarks = np.array(face["landmarks_3d"])
    away = np.linalg.norm(landmarks[:, None] - vertices[None], axis=2).min(axis=1)
    assert away.max() < 2e-6 * per_metre
    assert np.ptp(vertices, axis=0).max() > 0.15 * per_metre


def test_the_glb_carries_six_named_blendshapes_and_the_licence(result, tmp_path):
    from face3d_cli.io.mesh import load_provenance

    result.save(tmp_path / "face.glb")
    mesh = load_mesh(tmp_path / "face.glb")
    assert list(mesh.blendshapes) == list(result.faces[0].mesh.blendshapes)
    np.testing.assert_allclose(
        mesh.blendshapes["surprise"], result.faces[0].mesh.blendshapes["surprise"], atol=1e-6
    )
    assert "non-commercial" in json.dumps(load_provenance(tmp_path / "face.glb"))


def test_running_twice_gives_the_same_bytes(photo, tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        reconstruct(photo, QUICK).save(tmp_path / name / "face.glb")
    assert (tmp_path / "a/face.glb").read_bytes() == (tmp_path / "b/face.glb").read_bytes()


def test_no_expressions_gives_the_identity_alone(photo, result):
    settings = replace(BARE, morphable=MorphableSettings(use_expressions=False))
    neutral = reconstruct(photo, settings).faces[0]
    (smiling,) = result.faces
    assert neutral.coefficients["shape"] == smiling.coefficients["shape"]
    lips = [63, 67]
    gap = [np.ptp(face.landmarks_3d_m[lips, 1]) for face in (smiling, neutral)]
    assert gap[1] < gap[0]


def test_a_photo_without_a_face_says_so_with_its_size():
    with pytest.raises(NoFaceFound, match=r"no face in image \(120x90\)"):
        reconstruct(np.zeros((90, 120, 3), np.uint8), BARE)
    with pytest.raises(NoFaceFound):
        locate(np.zeros((90, 120, 3), np.uint8))


def test_unknown_methods_and_missing_models_are_refused(tmp_path, monkeypatch):
    with pytest.raises(UsageError, match="no method 'magic'"):
        choose_method("magic")
    monkeypatch.setenv("FACE3D_HOME", str(tmp_path))
    with pytest.raises(ModelError, match="face3d models pull surrey"):
        choose_method("auto")


def test_the_package_itself_offers_reconstruct(sample_photo, tmp_path):
    import face3d_cli

    assert face3d_cli.reconstruct is reconstruct
    saved = face3d_cli.reconstruct(str(sample_photo), QUICK).save(tmp_path / "face.glb")
    assert saved[0].mesh.stat().st_size > 100_000
    with pytest.raises(AttributeError):
        face3d_cli.nothing  # noqa: B018


@pytest.mark.usefixtures("model_home")
class TestTurnedFaces:
    """Of "auto": the map is asked where landmarks are in doubt, and taken where it is turned."""

    @staticmethod
    def auto(photo, **limits):
        settings = ReconstructSettings(texture=None, turned=TurnedFaceSettings(**limits))
        return reconstruct(photo, settings)

    def test_a_face_that_looks_ahead_is_fitted(self, photo):
        assert self.auto(photo).method == "surrey"

    def test_a_doubtful_face_is_fitted_all_the_same_where_the_map_looks_ahead(self, photo):
        result = self.auto(photo, doubt_from_yaw_deg=0.0)
        assert result.method == "surrey"
        assert "position_map" in result.timings.elapsed_ms

    def test_a_turned_face_is_taken_from_the_map(self, photo):
        result = self.auto(photo, doubt_from_yaw_deg=0.0, map_from_yaw_deg=0.0)
        assert result.method == "prnet"
        assert len(result.faces[0].mesh.vertices) > 10_000

    def test_a_face_that_the_landmarks_have_upside_down_is_taken_from_the_map(self, photo, result):
        turned = np.ascontiguousarray(photo[::-1, ::-1])
        height, width = turned.shape[:2]
        box = result.faces[0].box
        there = FaceBox(
            width - box.x - box.width, height - box.y - box.height, box.width, box.height
        )
        settings = ReconstructSettings(texture=None)
        found = reconstruct(turned, settings, box=there)
        assert found.method == "prnet"
        (face,) = found.faces
        assert abs(abs(face.pose.roll) - 180) < 10
        assert face.doubt < settings.position_map.doubt_from
        upright = (width - 1, height - 1) - face.landmarks_px
        wrong_px = np.linalg.norm(upright - result.faces[0].landmarks_px, axis=1)[17:]
        assert wrong_px.mean() < 0.05 * box.width
        assert found.to_json()["faces"][0]["doubt"] == round(face.doubt, 4)

    def test_without_limits_or_with_landmarks_nothing_is_asked(self, photo, result):
        settings = ReconstructSettings(texture=None, turned=None)
        assert "position_map" not in reconstruct(photo, settings).timings.elapsed_ms
        limits = TurnedFaceSettings(doubt_from_yaw_deg=0.0, map_from_yaw_deg=0.0)
        settings = ReconstructSettings(texture=None, turned=limits)
        points = result.faces[0].landmarks_px
        assert reconstruct(photo, settings, landmarks_px=points).method == "surrey"


def test_a_refined_mesh_is_said_to_be_so_and_one_left_alone_is_exactly_the_same(photo):
    (plain,) = reconstruct(photo, BARE).faces
    reports = []
    for agreement in (-1.0, 1.1):  # always, never
        settings = replace(BARE, refine=RefineSettings(agreement=agreement))
        found = reconstruct(photo, settings)
        same = np.array_equal(found.faces[0].mesh.vertices, plain.mesh.vertices)
        (look,) = (face["relighting"] for face in found.to_json()["faces"])
        assert look["refined"] is not same
        assert (look["moved_mm"] == 0) is same
        assert (look["unexplained_after"] == look["unexplained_before"]) is same
        reports.append(look)
    assert [look["refined"] for look in reports] == [True, False]
    assert reports[0]["halves_agree"] == reports[1]["halves_agree"]
