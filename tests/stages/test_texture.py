"""Textures: the photo where it sees the face, and nothing stretched or foreign elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.errors import UsageError
from face3d_cli.settings import TextureSettings
from face3d_cli.stages.texture import bake_texture
from tests.helpers.face_mesh import face_mesh

SIZE = TextureSettings(size_px=256)


def camera(yaw_deg=0.0, size=400):
    yaw = np.radians(yaw_deg)
    turn = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
    return ScaledOrthographicCamera(turn, 1500.0, np.array([size / 2, size / 2]))


def position_photo(size=400):
    """Every pixel's colour says where it is."""
    y, x = np.mgrid[:size, :size] * (255 / size)
    return np.stack([x, y, np.full_like(x, 128)], axis=2).astype(np.uint8)


def bake(mesh, image, view, settings=SIZE, **more):
    return bake_texture(image, mesh.vertices, mesh.triangles, mesh.uv, view, settings, **more)


@pytest.mark.parametrize("size_px", [256, 512])
def test_seen_texels_show_their_own_place_in_the_photo(size_px):
    mesh, image = face_mesh(), position_photo()
    baked = bake(mesh, image, camera(), TextureSettings(size_px=size_px))
    assert baked.image.shape == (size_px, size_px, 3)
    seen = np.isin(np.arange(len(mesh.uv)), np.flatnonzero(np.abs(mesh.uv - 0.5).max(axis=1) < 0.2))
    points = camera().project(mesh.vertices[seen])
    texels = (np.column_stack([mesh.uv[seen, 0], 1 - mesh.uv[seen, 1]]) * size_px).astype(int)
    found = baked.image[texels[:, 1], texels[:, 0], :2].astype(float)
    assert len(found) > 50
    np.testing.assert_allclose(found, points * 255 / 400, atol=4)


def test_the_hidden_side_is_the_mirror_image_of_the_seen_one():
    """A photo that is red on the seen cheek: the turned-away cheek becomes red, not background."""
    mesh = face_mesh()
    view = camera(70)
    image = np.full((400, 400, 3), (0, 0, 255), np.uint8)  # blue background
    points = view.project(mesh.vertices)
    turned = view.turn(mesh.vertices)
    for point in points[turned[:, 2] > np.median(turned[:, 2])]:
        x, y = np.round(point).astype(int)
        image[max(y - 14, 0) : y + 15, max(x - 14, 0) : x + 15] = (220, 30, 30)
    baked = bake(mesh, image, view)
    u = mesh.uv[:, 0]
    hidden_side = u > 0.5 if turned[u < 0.5, 2].mean() > turned[u > 0.5, 2].mean() else u < 0.5
    texels = (np.column_stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]]) * 255).astype(int)
    middle = hidden_side & (np.abs(mesh.uv[:, 1] - 0.5) < 0.3) & (np.abs(u - 0.5) < 0.35)
    colors = baked.image[texels[middle, 1], texels[middle, 0]].astype(float)
    assert (colors[:, 0] > colors[:, 2]).mean() > 0.95
    assert baked.visible_share < 0.6


def test_what_another_part_hides_is_not_seen():
    """A plate before half of a wall: the wall behind it must not take the plate's colour."""
    wall = np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    plate = np.array([[-0.5, -0.9, 1], [0.9, -0.9, 1], [0.9, 0.9, 1], [-0.5, 0.9, 1]], float)
    vertices = np.concatenate([wall, plate])
    triangles = np.array([[0, 1, 2], [0, 2, 3], [4, 5, 6], [4, 6, 7]], np.int32)
    uv = np.array([[0, 0], [0.45, 0], [0.45, 1], [0, 1], [0.6, 0], [0.9, 0], [0.9, 1], [0.6, 1]])
    uv[:, 1] = 0.1 + 0.8 * uv[:, 1]
    view = ScaledOrthographicCamera(np.eye(3), 100.0, np.array([150.0, 150.0]))
    image = np.full((300, 300, 3), (0, 200, 0), np.uint8)
    image[60:240, 100:240] = (200, 0, 0)  # the plate as the photo shows it
    baked = bake_texture(image, vertices, triangles, uv, view, SIZE)
    wall_texels = baked.image[60:200, 10:100].astype(int)
    assert (wall_texels[..., 1] > wall_texels[..., 0]).all()


def test_unusable_pixels_are_filled_from_the_other_side():
    mesh = face_mesh()
    image = np.full((400, 400, 3), (200, 150, 120), np.uint8)
    image[:, :200] = (20, 250, 20)  # green hair over the subject's right half
    usable = np.ones((400, 400), np.float32)
    usable[:, :204] = 0
    baked = bake(mesh, image, camera(), usable=usable)
    greenish = baked.image[..., 1].astype(int) - baked.image[..., 0] > 0
    assert not greenish[60:200, 40:216].any()


def test_texels_off_the_mesh_bleed_its_edge():
    mesh = face_mesh()
    inner = type(mesh)(mesh.vertices, mesh.triangles, uv=0.25 + 0.5 * mesh.uv)
    image = np.full((400, 400, 3), (10, 20, 30), np.uint8)
    view = camera()
    points = view.project(mesh.vertices)
    low, high = points.min(axis=0).astype(int), points.max(axis=0).astype(int)
    image[low[1] - 3 : high[1] + 3, low[0] - 3 : high[0] + 3] = (180, 140, 120)
    baked = bake(inner, image, view)
    assert np.abs(baked.image.astype(int) - (180, 140, 120)).max() < 40


def test_a_face_partly_outside_the_photo_is_still_whole():
    mesh, image = face_mesh(), np.full((400, 400, 3), 190, np.uint8)
    view = ScaledOrthographicCamera(np.eye(3), 1500.0, np.array([0.0, 200.0]))
    baked = bake(mesh, image, view)
    assert np.abs(baked.image.astype(int) - 190).max() <= 2
    assert baked.visible_share < bake(mesh, image, camera()).visible_share


@pytest.mark.parametrize("size_px", [255, 5000])
def test_sizes_out_of_range_are_refused(size_px):
    with pytest.raises(UsageError):
        bake(face_mesh(), position_photo(), camera(), TextureSettings(size_px=size_px))
