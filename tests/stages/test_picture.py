"""Pictures of meshes: known colours at known places, coverage, views, and refusals."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from face3d_cli.cli.app import app
from face3d_cli.core.camera import PerspectiveCamera, ScaledOrthographicCamera
from face3d_cli.core.mesh import Mesh
from face3d_cli.core.primitives import icosphere
from face3d_cli.errors import UnreadableInput, UsageError
from face3d_cli.io.animation import save_animation
from face3d_cli.io.mesh import save_mesh
from face3d_cli.settings import PictureSettings
from face3d_cli.stages.picture import Shot, View, draw_mesh, parse_view, shot_from_json

RED, BLUE = (220, 30, 30), (30, 30, 220)
CAMERA_JSON = ScaledOrthographicCamera(np.eye(3), 30.0, np.array([31.5, 31.5])).to_json()
PLAIN = PictureSettings(size_px=64, lighting="none", margin=0.0, background=None)


@pytest.fixture
def square():
    """Red above blue, 2 wide, in the plane z = 0."""
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:32], picture[32:] = RED, BLUE
    return Mesh(
        vertices=np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]]),
        triangles=np.array([[0, 1, 2], [0, 2, 3]], np.int32),
        uv=np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),
        texture=picture,
    )


def test_texture_is_upright_and_exact_without_light(square):
    picture = draw_mesh(square, View(), PLAIN)
    np.testing.assert_allclose(picture[20, 32], (*RED, 255), atol=1)
    np.testing.assert_allclose(picture[44, 32], (*BLUE, 255), atol=1)
    assert picture[0, 0, 3] == 0
    side = np.sqrt(2) / 2  # of the picture, whose half holds the corners
    assert (picture[..., 3] > 0).mean() == pytest.approx(side**2, abs=0.03)


def test_background_is_blended_at_the_edges(square):
    over = draw_mesh(square, View(30.0, 20.0), replace(PLAIN, background=(0, 128, 0)))
    assert (over[..., 3] == 255).all()
    assert tuple(over[0, 0, :3]) == (0, 128, 0)
    alpha = draw_mesh(square, View(30.0, 20.0), PLAIN)[..., 3]
    assert ((alpha > 0) & (alpha < 255)).any()


def test_a_positive_yaw_turns_the_face_to_the_picture_s_right():
    nose = Mesh(
        vertices=np.array([[0.0, 0, 1], [0.1, 0, 1], [0, 0.1, 1], [0, 0, -1], [0, -0.1, -1.0]]),
        triangles=np.array([[0, 1, 2]], np.int32),
    )
    for yaw_deg, is_right in ((40.0, True), (-40.0, False)):
        covered = draw_mesh(nose, View(yaw_deg), replace(PLAIN, style="clay"))[..., 3] > 0
        assert (np.nonzero(covered)[1].mean() > 32) == is_right


def test_the_nearer_surface_hides_the_farther():
    square = np.array([[-1.0, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]])
    near, far = 0.5 * square + (0, 0, 0.5), square
    colors = np.array([RED] * 4 + [BLUE] * 4, np.uint8)
    one = np.array([[0, 1, 2], [0, 2, 3]], np.int32)
    mesh = Mesh(np.concatenate([near, far]), np.concatenate([one, one + 4]), vertex_colors=colors)
    np.testing.assert_allclose(draw_mesh(mesh, View(), PLAIN)[32, 32, :3], RED, atol=1)
    np.testing.assert_allclose(draw_mesh(mesh, View(180.0), PLAIN)[32, 32, :3], BLUE, atol=1)


def test_depth_is_brightest_where_it_is_nearest_and_normals_look_at_the_viewer():
    ball = icosphere(3)
    depth = draw_mesh(ball, View(), replace(PLAIN, style="depth"))
    assert depth[32, 32, 0] > depth[32, 58, 0] + 60
    normals = draw_mesh(ball, View(), replace(PLAIN, style="normals"))
    np.testing.assert_allclose(normals[32, 32, :3], (128, 128, 255), atol=6)
    assert normals[32, 60, 0] > 220  # right is red
    assert normals[4, 32, 1] > 220  # up is green


def test_wires_are_thin_and_follow_the_triangles(square):
    picture = draw_mesh(square, View(), replace(PLAIN, style="wireframe", size_px=128))
    dark = (picture[..., 0] < 170) & (picture[..., 3] == 255)
    # The diagonal from the lower left to the upper right, and nothing beside it.
    assert all(dark[64 - k - 1 : 64 - k + 2, 64 + k].any() for k in range(-30, 31, 5))
    assert not dark[40:50, 40:50].any()
    assert not dark[80:90, 80:90].any()
    assert dark.sum() / (picture[..., 3] == 255).sum() < 0.15


def test_a_caster_throws_a_shadow():
    ball = icosphere(2)
    vertices, triangles = ball.vertices, ball.triangles
    floor = np.array([[-3.0, -1.2, -3], [3, -1.2, -3], [3, -1.2, 3], [-3, -1.2, 3]])
    mesh = Mesh(
        np.concatenate([vertices, floor]),
        np.concatenate([triangles, np.array([[0, 2, 1], [0, 3, 2]]) + len(vertices)]).astype(
            np.int32
        ),
    )
    lit = PictureSettings(size_px=96, style="clay", background=None)
    with_shadow = draw_mesh(mesh, View(0, 40), lit).astype(int)
    without = draw_mesh(mesh, View(0, 40), replace(lit, shadows=False)).astype(int)
    darker = (without - with_shadow)[..., 0] > 20
    assert 0.01 < darker.mean() < 0.3


def test_views_are_read_by_name_or_in_degrees():
    assert parse_view("side") == View(-90.0, 0.0)
    assert parse_view("20,-5") == View(20.0, -5.0)
    assert parse_view("35") == View(35.0, 0.0)
    for wrong in ("sideways", "1,2,3", "nan", ""):
        with pytest.raises(UsageError, match="view"):
            parse_view(wrong)


@pytest.mark.parametrize("distance", [None, 6.0])
def test_the_photo_s_view_shows_the_mesh_where_its_camera_does(square, distance):
    turn = View(20.0, 10.0).rotation()
    shift, centre = np.array([70.0, 30.0]), np.array([59.5, 39.5])
    camera = ScaledOrthographicCamera(turn, 15.0, shift)
    if distance is not None:
        camera = PerspectiveCamera(turn, 15.0, shift, distance, centre)
    settings = replace(PLAIN, size_px=160, supersampling=1)  # twice the photo
    picture = draw_mesh(square, View(in_photo=True), settings, Shot(camera, 120, 80))
    assert picture.shape == (160, 240, 4)
    inside = np.array([[-0.9, 0.9, 0], [0.9, 0.9, 0], [-0.9, -0.9, 0], [0.9, -0.9, 0]])
    places = np.rint((camera.project(inside) + 0.5) * 2 - 0.5).astype(int)
    for (column, row), color in zip(places, (RED, RED, BLUE, BLUE), strict=True):
        np.testing.assert_allclose(picture[row, column], (*color, 255), atol=2)
    outside = np.rint((camera.project(1.2 * inside) + 0.5) * 2 - 0.5).astype(int)
    assert all(picture[row, column, 3] == 0 for column, row in outside)


def test_the_photo_s_light_stays_when_the_head_turns(square):
    light = np.zeros((9, 3))
    light[0], light[3] = 3.5, 1.0  # brighter from the picture's right
    shot = Shot(ScaledOrthographicCamera(np.eye(3), 30.0, np.array([31.5, 31.5])), 64, 64, light)
    lit = replace(PLAIN, lighting="photo")
    own = draw_mesh(square, View(in_photo=True), lit, shot)
    np.testing.assert_allclose(own[20, 32], (*RED, 255), atol=1)  # the texture holds the light
    towards, away = (draw_mesh(square, View(yaw), lit, shot)[20, 32, 0] for yaw in (50.0, -50.0))
    assert towards > own[20, 32, 0] > away
    clay = replace(lit, style="clay")
    towards, away = (draw_mesh(square, View(yaw), clay, shot)[32, 32, 0] for yaw in (50.0, -50.0))
    assert towards > away + 20


def test_what_knows_no_photo_is_refused(square):
    with pytest.raises(UsageError, match="camera of a photo"):
        draw_mesh(square, parse_view("photo"), PLAIN)
    with pytest.raises(UsageError, match="light of a photo"):
        draw_mesh(square, View(), replace(PLAIN, lighting="photo"))
    for damaged in (
        {},
        {"camera": {"model": "fisheye"}, "photo_size_px": [4, 4]},
        {"camera": CAMERA_JSON, "photo_size_px": [0, 4]},
        {"camera": CAMERA_JSON, "photo_size_px": [4, 4], "light_rgb": [1.0]},
    ):
        with pytest.raises(UnreadableInput, match="damaged"):
            shot_from_json(damaged, 1.0)
    assert shot_from_json({"camera": CAMERA_JSON, "photo_size_px": [4, 5]}, 1e-3).height_px == 5


def test_mitsuba_traces_the_same_picture(square):
    pytest.importorskip("mitsuba", reason="needs face3d[mitsuba]")
    settings = replace(PLAIN, renderer="mitsuba", samples=32)
    traced = draw_mesh(square, View(), settings).astype(float)
    drawn = draw_mesh(square, View(), replace(PLAIN, margin=settings.margin)).astype(float)
    assert np.abs(traced[..., 3] - drawn[..., 3]).mean() < 6.0
    red, blue = traced[20, 24:40, :3].mean(axis=0), traced[44, 24:40, :3].mean(axis=0)
    assert red[0] > 2 * red[2]
    assert blue[2] > 2 * blue[0]
    with pytest.raises(UsageError, match="mitsuba draws"):
        draw_mesh(square, View(), replace(settings, style="depth"))


@pytest.mark.parametrize("distance", [None, 6.0])
def test_mitsuba_has_the_photo_s_camera_and_light(square, distance):
    pytest.importorskip("mitsuba", reason="needs face3d[mitsuba]")
    light = np.zeros((9, 3))
    light[0], light[3], light[1] = 3.2, 0.9, -0.5  # brighter from the right and from below
    turn, shift = View(20.0, 10.0).rotation(), np.array([52.0, 40.0])
    camera = ScaledOrthographicCamera(turn, 20.0, shift)
    if distance is not None:
        camera = PerspectiveCamera(turn, 20.0, shift, distance, np.array([54.5, 42.5]))
    shot = Shot(camera, 100, 80, light)
    settings = replace(PLAIN, size_px=80, lighting="photo", samples=64)
    traced_by = replace(settings, renderer="mitsuba")
    photo = View(in_photo=True)
    drawn = draw_mesh(square, photo, settings, shot).astype(float)
    traced = draw_mesh(square, photo, traced_by, shot).astype(float)
    assert traced.shape == drawn.shape == (80, 100, 4)
    assert np.abs(traced[..., 3] - drawn[..., 3]).mean() < 5.0
    both = (traced[..., 3] > 250) & (drawn[..., 3] > 250)
    assert np.abs(traced[both] - drawn[both]).mean() < 16.0
    # On a ball the light comes from where it does in the built-in renderer.
    ball, clay = icosphere(4), replace(settings, style="clay")
    drawn = draw_mesh(ball, photo, clay, shot).astype(float)
    traced = draw_mesh(ball, photo, replace(clay, renderer="mitsuba"), shot).astype(float)
    smaller = replace(ball, vertices=0.75 * ball.vertices)  # its rim shines
    inner = draw_mesh(smaller, photo, clay, shot)[..., 3] == 255
    assert np.corrcoef(traced[inner][:, 0], drawn[inner][:, 0])[0, 1] > 0.95
    assert np.abs(traced[inner] - drawn[inner]).mean() < 16.0


def test_a_mesh_without_uv_shows_none():
    with pytest.raises(UsageError, match="texture coordinates"):
        draw_mesh(icosphere(1), View(), replace(PLAIN, style="uv"))


@pytest.mark.parametrize("suffix", ["gif", "webp", "mp4"])
def test_animations_hold_their_frames(tmp_path, suffix):
    frames = [np.full((32, 48, 4), (level, 40, 90, 255), np.uint8) for level in (10, 120, 240)]
    path = tmp_path / f"turn.{suffix}"
    save_animation(path, frames, 10.0)
    if suffix == "mp4":
        import cv2

        video = cv2.VideoCapture(str(path))
        found = []
        while (read := video.read())[0]:
            found.append(read[1][16, 24, 2])
        video.release()
    else:
        with Image.open(path) as picture:
            assert picture.info.get("loop") == 0
            found = []
            for index in range(picture.n_frames):
                picture.seek(index)
                found.append(picture.convert("RGB").getpixel((24, 16))[0])
    np.testing.assert_allclose(np.array(found, float), (10, 120, 240), atol=16)


def test_the_command_draws_views_side_by_side_and_turntables(tmp_path, square):
    file = save_mesh(square, tmp_path / "square.glb")[0]
    run = CliRunner()
    wanted = ["--size", "40", "--view", "front side", "--background", "none"]
    result = run.invoke(app, ["render", str(file), "-o", str(tmp_path / "a.png"), *wanted])
    assert result.exit_code == 0, result.output
    with Image.open(tmp_path / "a.png") as picture:
        assert (picture.size, picture.mode) == ((80, 40), "RGBA")
    moving = [str(file), "-o", str(tmp_path / "a.gif"), "--size", "24", "--frames", "4"]
    assert run.invoke(app, ["render", *moving]).exit_code == 0
    with Image.open(tmp_path / "a.gif") as picture:
        assert picture.n_frames == 4
    for wrong in (
        ["-o", "a.tiff"],
        ["-o", "a.png", "--background", "red"],
        ["-o", "a.png", "--view", " "],
    ):
        assert run.invoke(app, ["render", str(file), *wrong]).exit_code == 2
