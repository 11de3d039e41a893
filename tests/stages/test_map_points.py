"""Points of position maps: places of the model's vertices, how far each is trusted."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from face3d_cli.core.camera import Perspective
from face3d_cli.core.landmarks68 import JAW
from face3d_cli.core.uv_atlas import UvAtlas
from face3d_cli.errors import StageError
from face3d_cli.io.image import read_photo
from face3d_cli.pipeline.locate import locate
from face3d_cli.settings import DensePointSettings, LinearFitSettings
from face3d_cli.stages.ict_model import IctModel
from face3d_cli.stages.linear_fit import FacePoints, fit_linear_face
from face3d_cli.stages.map_layout import face_layout, face_triangles
from face3d_cli.stages.map_points import (
    dense_points,
    dense_points_of,
    face_points,
    lens_of,
    map_landmark_weights,
)
from face3d_cli.stages.position_map import PositionMap, predict_position_maps

pytestmark = pytest.mark.usefixtures("ict")


def map_of(vertices_px: np.ndarray, size: int = 64) -> np.ndarray:
    """(size, size, 3) the map that a perfect network would draw."""
    model = IctModel.load()
    return UvAtlas(face_layout(model), face_triangles(model), size).bake(vertices_px[:9409])


def seen(shape: np.ndarray, yaw_deg: float) -> np.ndarray:
    """(V, 3) vertices in pixels, y down, larger is nearer."""
    turn = Rotation.from_euler("y", yaw_deg, degrees=True)
    head = 20.0 * turn.apply(IctModel.load().vertices(shape).astype(np.float64))
    return head * (1, -1, 1) + (300, 250, 0)


def test_points_lie_where_the_map_was_drawn_from():
    head = seen(np.zeros(100), 15.0)
    found = dense_points_of(map_of(head))
    away = np.linalg.norm(found.points_px - head[found.vertices], axis=1)
    assert np.median(away) < 1.0  # half a millimetre, by the map's 64 texels
    assert len(np.unique(found.vertices)) == len(found.vertices) > 400


def test_what_is_turned_away_counts_less():
    settings = DensePointSettings(hidden_weight=0.1)
    found = dense_points_of(map_of(seen(np.zeros(100), 70.0)), settings)
    # Turned to its left, the head hides its left cheek; it lies on the map's right side.
    side = IctModel.load().neutral_cm[found.vertices, 0]
    assert found.weights[side < -3].mean() > 0.7
    assert found.weights[side > 4].mean() < 0.25
    assert found.weights.min() == pytest.approx(0.1)


def test_a_perfect_map_tells_the_shape_that_landmarks_do_not():
    rng = np.random.default_rng(0)
    shape = rng.normal(size=100)
    head, model = seen(shape, 10.0), IctModel.load().linear_mm
    points = FacePoints(head[model.landmark_vertices, :2])
    both = replace(points, dense=dense_points_of(map_of(head, 128)))
    truth = model.vertices_mm(shape, np.zeros(53))[:6706]

    sure = LinearFitSettings(dense_noise=0.02, dense_depth_noise=0.02)

    def off(known):
        fit = fit_linear_face(model, [known], sure)
        found = model.vertices_mm(fit.shape, np.zeros(53))[:6706]
        return np.linalg.norm((found - found.mean(0)) - (truth - truth.mean(0)), axis=1).mean()

    assert off(both) < 0.8 * off(points)


@pytest.fixture(scope="module")
def sample_map(sample_photo) -> PositionMap:
    image = read_photo(sample_photo)
    (box, _), *_ = locate(sample_photo).faces
    return predict_position_maps(image, [box])[0]


def test_landmarks_of_the_map_replace_others_from_some_yaw_on(sample_map):
    given = sample_map.landmarks_px + np.random.default_rng(0).normal(0, 2, (68, 2))
    front = face_points(sample_map, given)
    assert front.landmarks_px is given
    assert front.landmark_weights is None
    turned = face_points(sample_map, given, DensePointSettings(map_landmarks_from_yaw_deg=0.0))
    np.testing.assert_array_equal(turned.landmarks_px, sample_map.landmarks_px)
    np.testing.assert_array_equal(turned.landmark_weights, map_landmark_weights())
    assert not turned.landmark_weights[JAW].any()


@pytest.mark.parametrize(("turn_deg", "is_replaced"), [(20, False), (-90, True), (180, True)])
def test_landmarks_of_the_map_replace_others_that_lie_at_another_roll(
    sample_map, turn_deg, is_replaced
):
    turn = np.radians(turn_deg)
    rotation = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
    middle = sample_map.landmarks_px.mean(axis=0)
    given = (sample_map.landmarks_px - middle) @ rotation.T + middle
    assert sample_map.roll_apart_deg(given) == pytest.approx(abs(turn_deg))
    found = face_points(sample_map, given)
    assert (found.landmarks_px is given) is not is_replaced


def test_the_fit_s_pinhole_is_the_one_that_saw_the_map(sample_map):
    lens, camera = lens_of(sample_map), sample_map.camera
    assert lens.focal_px == pytest.approx(camera.focal_px)
    np.testing.assert_allclose(lens.centre_px, camera.centre_px)
    assert face_points(sample_map, sample_map.landmarks_px).lens.focal_px == lens.focal_px
    assert lens_of(replace(sample_map, perspective=Perspective(0.0, np.zeros(2)))) is None


def test_a_map_of_another_layout_is_refused(sample_map):
    other = replace(sample_map, landmark_uv=sample_map.landmark_uv + 0.01)
    with pytest.raises(StageError, match="layout"):
        dense_points(other)
