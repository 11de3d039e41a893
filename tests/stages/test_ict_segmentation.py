"""Classes on a head's texture: what the photo shows, mirrored, spread, and plain for the rest."""

from __future__ import annotations

import numpy as np
import pytest

from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.head_parts import REGIONS
from face3d_cli.core.position_map import sample_map
from face3d_cli.core.segmentation_classes import CLASS_COLORS, INDEX
from face3d_cli.stages.ict_head import HeadLooks, head_meshes
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.ict_segmentation import face_classes, head_classes

pytestmark = pytest.mark.usefixtures("ict")
CAMERA = ScaledOrthographicCamera(np.eye(3), 2.0, np.array([250.0, 250.0]))


def classes_of(labels: np.ndarray, visibility: np.ndarray) -> np.ndarray:
    model = IctModel.load()
    vertices = 10.0 * model.neutral_cm.astype(np.float64)
    return face_classes(labels, vertices, model.objects["head"], CAMERA, visibility, 256)


def at_landmark(classes: np.ndarray, landmark: int) -> int:
    model = IctModel.load()
    head = model.objects["head"]
    corner = int(np.flatnonzero(head.vertex_of_corner == model.landmark_vertices[landmark])[0])
    uv = head.tile_uv[corner]
    return int(classes[int((1 - uv[1]) * 256), int(uv[0] * 256)])


@pytest.fixture(scope="module")
def labels(ict_home):
    """Skin, and on the subject's right half of the photo a brow over all of it."""
    found = np.full((500, 500), INDEX["skin"], np.uint8)
    found[:, :250] = INDEX["right_brow"]
    return found


def test_seen_texels_have_the_photo_s_class(labels):
    classes = classes_of(labels, np.ones((256, 256), np.float32))
    assert at_landmark(classes, 19) == INDEX["right_brow"]
    assert at_landmark(classes, 24) == INDEX["skin"]


def test_unseen_texels_take_the_mirrored_class_with_its_side_exchanged(labels):
    visibility = np.ones((256, 256), np.float32)
    visibility[:, 128:] = 0.0  # the subject's left
    classes = classes_of(labels, visibility)
    assert at_landmark(classes, 19) == INDEX["right_brow"]
    assert at_landmark(classes, 24) == INDEX["left_brow"]


def test_nothing_seen_is_skin():
    classes = classes_of(np.zeros((500, 500), np.uint8), np.zeros((256, 256), np.float32))
    assert (classes == INDEX["skin"]).all()


def test_the_head_s_picture_has_each_part_in_its_square():
    picture = head_classes(np.full((64, 64), INDEX["nose"], np.uint8), 512)
    for name, owner in (("face", "nose"), ("teeth", "inner_mouth"), ("skull", "background")):
        region = REGIONS[name]
        middle = np.array([[region.left + region.side / 2, region.bottom + region.side / 2]])
        np.testing.assert_allclose(sample_map(picture, middle)[0], CLASS_COLORS[INDEX[owner]])


def test_tiles_hold_every_triangle_once_with_uv_of_their_own(ict_home):
    from face3d_cli.stages.ict_fit import fit_ict
    from face3d_cli.stages.linear_fit import FacePoints

    model = IctModel.load()
    head = 10 * model.neutral_cm.astype(np.float64)
    (fit,) = fit_ict([FacePoints(CAMERA.project(head[model.landmark_vertices]))])
    regions = {
        name: np.full((16, 16, 3), level, np.uint8)
        for level, name in enumerate(("face", "skull", "gums", "teeth", "eye"))
    }
    looks = HeadLooks(np.zeros((64, 64, 3), np.uint8), regions, np.zeros((8, 8), np.uint8), True)
    meshes = head_meshes(fit, looks)
    assert [tile.name for tile in meshes[0].tiles] == ["1001", "1002", "1003", "1004"]
    assert [int(tile.texture[0, 0, 0]) for tile in meshes[0].tiles] == [0, 1, 2, 3]
    assert [int(tile.texture[0, 0, 0]) for mesh in meshes[1:] for tile in mesh.tiles] == [4, 4]
    for mesh in meshes:
        rows = np.concatenate([tile.triangles for tile in mesh.tiles])
        np.testing.assert_array_equal(np.sort(rows), np.arange(len(mesh.triangles)))
        assert mesh.tiles[0].uv.min() >= 0.0
        assert mesh.tiles[0].uv.max() <= 1.0
    eyes = [mesh.segmentation[0, 0] for mesh in meshes[1:]]
    np.testing.assert_array_equal(eyes[0], CLASS_COLORS[INDEX["left_eye"]])
    np.testing.assert_array_equal(eyes[1], CLASS_COLORS[INDEX["right_eye"]])
