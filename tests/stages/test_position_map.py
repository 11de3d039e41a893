"""From a face box to a map, its pose, its mesh and its pictures."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from face3d_cli.core.camera import Perspective, PerspectiveCamera, PoseDegrees
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.position_map import FACE_CENTRE_CM, LANDMARK_UV, landmarks_of, to_texels
from face3d_cli.core.similarity import Similarity
from face3d_cli.errors import ModelError, ShapeError
from face3d_cli.settings import PositionMapSettings
from face3d_cli.stages import position_map
from face3d_cli.stages.map_mesh import MapMesh, mesh_of_map
from face3d_cli.stages.map_pictures import draw_dense, draw_depth, pack_map
from face3d_cli.stages.position_map import (
    CROP_CM,
    UP,
    PositionMap,
    face_square,
    predict_position_maps,
    rigid_pose,
    start_square,
)
from tests.helpers.position_maps import canonical_face_cm, constant_weights, outline, turn_about_y

PHOTO = np.full((240, 320, 3), 90, np.uint8)
BOX = FaceBox(100, 60, 80, 80)


def settings_with(weights: Path, passes: int = 1) -> PositionMapSettings:
    return PositionMapSettings(
        weights=str(weights), passes=passes, boxes={"box": (1.5, 0.0)}, mesh_px=32
    )


@pytest.fixture
def frontal(tmp_path: Path) -> Path:
    return constant_weights(tmp_path / "frontal.safetensors")


def test_a_map_comes_back_in_the_photos_pixels(frontal: Path) -> None:
    (found,) = predict_position_maps(PHOTO, [BOX], settings_with(frontal))
    side = 1.5 * 80
    canonical = canonical_face_cm(16)
    wanted = canonical * (1, -1, 1) * side / 22
    np.testing.assert_allclose(found.map_px[..., :2], wanted[..., :2] + (140, 100), atol=0.3)
    np.testing.assert_allclose(found.map_px[..., 2], wanted[..., 2], atol=0.3)
    np.testing.assert_allclose(found.landmarks, landmarks_of(found.map_px))
    assert found.box == BOX


@pytest.mark.parametrize("yaw_deg", [-80.0, 0.0, 35.0])
def test_the_pose_is_read_off_the_map(tmp_path: Path, yaw_deg: float) -> None:
    weights = constant_weights(tmp_path / "turned.safetensors", turn_about_y(yaw_deg))
    (found,) = predict_position_maps(PHOTO, [BOX], settings_with(weights))
    pose = PoseDegrees.from_rotation(found.camera.rotation)
    assert abs(pose.yaw - yaw_deg) < 0.5
    assert abs(pose.pitch) < 0.5
    assert abs(pose.roll) < 0.5


def test_a_second_pass_looks_where_the_first_found_the_face(frontal: Path) -> None:
    once, twice = (
        predict_position_maps(PHOTO, [BOX], settings_with(frontal, passes))[0] for passes in (1, 2)
    )
    wanted = face_square(once.camera_from_mean)
    for edge in ("x", "y", "width", "height", "roll_rad"):
        assert getattr(twice.crop_box, edge) == pytest.approx(getattr(wanted, edge), abs=1e-3)


def test_faces_share_a_pass_and_keep_their_order(frontal: Path) -> None:
    boxes = [BOX, FaceBox(10, 20, 40, 40), FaceBox(200, 100, 60, 60)]
    together = predict_position_maps(PHOTO, boxes, settings_with(frontal))
    for box, found in zip(boxes, together, strict=True):
        (alone,) = predict_position_maps(PHOTO, [box], settings_with(frontal))
        np.testing.assert_allclose(found.map_px, alone.map_px, atol=1e-3)
    assert predict_position_maps(PHOTO, [], settings_with(frontal)) == []


def test_a_rolled_box_gives_a_rolled_map(frontal: Path) -> None:
    roll = np.radians(20)
    rolled = FaceBox(BOX.x, BOX.y, BOX.width, BOX.height, roll_rad=roll)
    (found,) = predict_position_maps(PHOTO, [rolled], settings_with(frontal))
    pose = PoseDegrees.from_rotation(found.camera.rotation)
    assert pose.roll == pytest.approx(-20, abs=0.5)  # clockwise in the photo


def test_the_square_of_a_pose_is_centred_and_upright() -> None:
    roll = np.radians(15)
    rotation = np.array(
        [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    )
    pose = Similarity(rotation, 4.0, np.array([120.0, -80.0, 0.0]))
    square = face_square(pose)
    centre = pose.apply(FACE_CENTRE_CM[None])[0]
    np.testing.assert_allclose(square.center, (centre[0], -centre[1]))
    assert square.width == pytest.approx(4.0 * CROP_CM)
    assert square.roll_rad == pytest.approx(-roll)


def test_pose_ignores_the_jaw() -> None:
    canonical = canonical_face_cm(16)
    opened = canonical * (3, -3, 3) + (50, 60, 0)
    opened[10:, :, 1] += 8
    found = rigid_pose(opened.astype(np.float32), canonical, outline())
    np.testing.assert_allclose(found.rotation, np.eye(3), atol=1e-3)
    assert found.scale == pytest.approx(3.0, rel=1e-3)


class UprightOnly:
    """Draws a face that looks ahead where the picture's upper half is bright, else nonsense."""

    input_px, is_symmetric, prior = 64, True, None
    landmark_uv = LANDMARK_UV
    canonical_cm = canonical_face_cm(16)
    valid = outline()

    def __init__(self, noise_px: float = 0.0) -> None:
        self.noise_px = noise_px
        self.pictures = 0

    def maps(self, crops: np.ndarray) -> np.ndarray:
        self.pictures += len(crops)
        face = self.canonical_cm * (1, -1, 1) * 64 / 22 + (31.5, 31.5, 0)
        nonsense = face + np.array([20, 0, 0])  # to the right, even in the mirror
        upright = [crop[:24].mean() > crop[-24:].mean() + 20 for crop in crops]
        drawn = np.stack([face if ahead else nonsense for ahead in upright]).astype(np.float32)
        return drawn + np.array([self.noise_px, 0, 0], np.float32)


@pytest.mark.parametrize("quarters", [0, 1, 2, 3])
def test_a_face_on_its_side_is_looked_at_from_there(
    monkeypatch: pytest.MonkeyPatch, quarters: int
) -> None:
    photo = np.full((240, 240, 3), 40, np.uint8)
    photo[:120] = 200
    network = UprightOnly()
    monkeypatch.setattr(position_map, "_network", lambda *_: network)
    box = FaceBox(80, 80, 80, 80)
    settings = PositionMapSettings(boxes={"box": (1.5, 0.0)})
    (found,) = predict_position_maps(np.rot90(photo, quarters).copy(), [box], settings)
    assert found.doubt < settings.doubt_from
    assert found.box == box
    pose = PoseDegrees.from_rotation(found.camera.rotation)
    away = (pose.roll - 90 * quarters + 180) % 360 - 180
    assert abs(away) < 1
    if not quarters:  # two looks and one in the mirror
        assert network.pictures == 3


def test_a_face_that_is_never_understood_stays_as_it_was_and_is_doubted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(position_map, "_network", lambda *_: UprightOnly())
    (found,) = predict_position_maps(PHOTO, [BOX])
    assert found.doubt > PositionMapSettings.doubt_from
    assert abs(PoseDegrees.from_rotation(found.camera.rotation).roll) < 1


def test_what_is_seen_straight_and_in_the_mirror_is_averaged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    photo = np.full((240, 320, 3), 40, np.uint8)
    photo[:100] = 200
    settings = PositionMapSettings(passes=1, boxes={"box": (1.5, 0.0)})
    sharp, shifted = UprightOnly(), UprightOnly(noise_px=0.4)
    monkeypatch.setattr(position_map, "_network", lambda *_: sharp)
    (wanted,) = predict_position_maps(photo, [BOX], settings)
    monkeypatch.setattr(position_map, "_network", lambda *_: shifted)
    (found,) = predict_position_maps(photo, [BOX], settings)
    np.testing.assert_allclose(found.map_px, wanted.map_px, atol=1e-3)
    assert found.doubt == pytest.approx(0.8 / 64, rel=1e-3)


def test_detectors_have_squares_of_their_own() -> None:
    settings = PositionMapSettings(boxes={"hog": (2.0, 0.1), "box": (1.0, 0.0)})
    square = start_square(FaceBox(0, 0, 10, 10, detector="hog"), settings)
    assert (square.width, square.height) == (20, 20)
    np.testing.assert_allclose(square.center, (5, 7))
    other = start_square(FaceBox(0, 0, 10, 10, detector="unheard of"), settings)
    assert other.width == 10


def inside_of(mesh: MapMesh, position_map: PositionMap) -> tuple[np.ndarray, np.ndarray]:
    """(V,) vertices not at the square's edge, where the mesh is smoothed; (N, 2) their pixels."""
    inner = np.abs(mesh.uv - 0.5).max(axis=1) < 0.5 - 1.4 / 16
    rows, columns = (to_texels(mesh.uv[inner], 16).round().astype(int).T)[::-1]
    return inner, position_map.map_px[rows, columns, :2]


def test_the_mesh_projects_onto_the_map(tmp_path: Path) -> None:
    weights = constant_weights(tmp_path / "turned.safetensors", turn_about_y(40))
    (found,) = predict_position_maps(PHOTO, [BOX], settings_with(weights))
    mesh = mesh_of_map(found, 16)
    inner, seen = inside_of(mesh, found)
    assert inner.sum() == 14 * 14 - 2  # the mouth, which is not where the landmarks are
    np.testing.assert_allclose(mesh.camera.project(mesh.vertices_mm)[inner], seen, atol=1e-2)
    np.testing.assert_allclose(
        mesh.camera.project(mesh.landmarks_mm), found.landmarks_px, atol=1e-2
    )


def test_the_mesh_projects_onto_a_map_seen_from_near(tmp_path: Path) -> None:
    """The camera is a pinhole then, and undoes what the map's perspective does."""
    weights = constant_weights(tmp_path / "turned.safetensors", turn_about_y(40))
    (flat,) = predict_position_maps(PHOTO, [BOX], settings_with(weights))
    centre = flat.camera.project(FACE_CENTRE_CM[None])[0] * (1, -1)
    view = Perspective(0.01 / flat.camera.scale_px_per_unit, centre)
    near = replace(
        flat,
        map_px=(view.apply(flat.map_px * UP) * UP).astype(np.float32),
        landmarks=view.apply(flat.landmarks * UP) * UP,
        perspective=view,
    )
    mesh = mesh_of_map(near, 16)
    np.testing.assert_allclose(mesh.vertices_mm, mesh_of_map(flat, 16).vertices_mm, atol=1e-2)
    inner, seen = inside_of(mesh, near)
    np.testing.assert_allclose(mesh.camera.project(mesh.vertices_mm)[inner], seen, atol=1e-2)
    assert np.abs(seen - inside_of(mesh, flat)[1]).max() > 3
    assert isinstance(mesh.camera, PerspectiveCamera)
    # 100 cm from the middle of the face, which is some centimetres in front of the eyes' middle.
    assert mesh.camera.distance == pytest.approx(1000, abs=80)


def test_the_mesh_is_upright_in_millimetres_with_its_origin_between_the_eyes(
    tmp_path: Path,
) -> None:
    weights = constant_weights(tmp_path / "turned.safetensors", turn_about_y(-50))
    (found,) = predict_position_maps(PHOTO, [BOX], settings_with(weights))
    mesh = mesh_of_map(found, 16)
    width, height, depth = np.ptp(mesh.vertices_mm, axis=0)
    assert width == pytest.approx(150, rel=0.03)  # 16 cm from edge to edge, 15 between texels
    assert height == pytest.approx(206, rel=0.03)
    assert depth < 110
    np.testing.assert_allclose(mesh.landmarks_mm[36:48].mean(axis=0), 0, atol=1e-3)


def test_meshes_of_another_size_are_the_same_surface(frontal: Path) -> None:
    (found,) = predict_position_maps(PHOTO, [BOX], settings_with(frontal))
    coarse, fine = mesh_of_map(found, 16), mesh_of_map(found, 64)
    assert len(fine.vertices_mm) > 14 * len(coarse.vertices_mm)
    from scipy.spatial import cKDTree

    away, _ = cKDTree(fine.vertices_mm).query(coarse.vertices_mm)
    assert np.percentile(away, 90) < 4


def test_a_packed_map_unpacks_to_itself(frontal: Path) -> None:
    (found,) = predict_position_maps(PHOTO, [BOX], settings_with(frontal))
    packed = pack_map(found, 32)
    assert packed.pixels.dtype == np.uint16
    away = np.abs(packed.unpacked() - found.fine_map(32)).max()
    assert away <= packed.side_px / 65535


def test_depth_is_brightest_at_the_nose_and_dark_beside_the_face(frontal: Path) -> None:
    (found,) = predict_position_maps(PHOTO, [BOX], settings_with(frontal))
    depth = draw_depth(PHOTO.shape[:2], [mesh_of_map(found, 32)])
    assert depth.shape == PHOTO.shape[:2]
    row, column = np.unravel_index(int(depth.argmax()), depth.shape)
    assert abs(column - 140) < 8
    assert abs(row - 91) < 10
    assert (depth[:, :60] == 0).all()


def test_dense_alignment_is_drawn_on_the_face_alone(frontal: Path) -> None:
    (found,) = predict_position_maps(PHOTO, [BOX], settings_with(frontal))
    picture = draw_dense(PHOTO, [mesh_of_map(found, 32)])
    changed = (picture != PHOTO).any(axis=2)
    assert changed[50:150, 105:175].mean() > 0.2
    assert not changed[:, :90].any()


def test_missing_weights_are_an_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError):
        predict_position_maps(PHOTO, [BOX], settings_with(tmp_path / "none.safetensors"))


def test_grey_photos_are_refused(frontal: Path) -> None:
    with pytest.raises(ShapeError):
        predict_position_maps(PHOTO[..., 0], [BOX], settings_with(frontal))
