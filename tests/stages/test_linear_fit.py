"""The linear fit: known faces come back, bounds hold, several photos agree on one shape."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import lsq_linear
from scipy.spatial.transform import Rotation

from face3d_cli.core.camera import PerspectiveCamera, ScaledOrthographicCamera
from face3d_cli.errors import ShapeError, StageError
from face3d_cli.settings import LinearFitSettings
from face3d_cli.stages.linear_fit import (
    DensePoints,
    FacePoints,
    Lens,
    RotationPrior,
    _solve_bounded,
    fit_linear_face,
)
from tests.helpers.linear_faces import NUM_EXPRESSIONS, NUM_SHAPES, small_face

SURE = LinearFitSettings(
    landmark_noise=1e-4, jaw_noise=0.5, opening_noise=1e-4, shape_spread=10.0,
    expression_spread=10.0, asymmetry_spread=10.0, steps=25,
)  # fmt: skip


@pytest.fixture(scope="module")
def model():
    return small_face()


def camera_of(yaw=10.0, pitch=-5.0, roll=8.0, scale=2.0):
    turn = Rotation.from_euler("YXZ", [yaw, -pitch, roll], degrees=True).as_matrix()
    return ScaledOrthographicCamera(turn, scale, np.array([200.0, 240.0]))


def seen(model, shape, expression, camera):
    return camera.project(model.vertices_mm(shape, expression)[model.landmark_vertices])


def test_known_face_and_camera_come_back(model):
    shape = np.array([1.0, -0.5, 0.8, 0.0, -1.2, 0.4])
    expression = np.array([0.6, 0.0, 0.9])
    camera = camera_of()
    fit = fit_linear_face(model, [FacePoints(seen(model, shape, expression, camera))], SURE)
    found = fit.photos[0]
    np.testing.assert_allclose(fit.shape, shape, atol=0.1)
    np.testing.assert_allclose(found.expression, expression, atol=0.1)
    np.testing.assert_allclose(found.camera.rotation, camera.rotation, atol=0.02)
    assert found.camera.scale_px_per_unit == pytest.approx(2.0, rel=0.01)


def test_landmarks_beside_their_vertices_do_not_change_the_shape(model):
    offsets = np.zeros((68, 3))
    offsets[17:, :2] = np.random.default_rng(1).normal(0, 3.0, (51, 2))
    beside = replace(model, landmark_offsets_mm=offsets)
    shape, expression = np.array([1.0, -0.5, 0.8, 0.0, -1.2, 0.4]), np.array([0.6, 0.0, 0.9])
    camera = camera_of()
    vertices = model.vertices_mm(shape, expression)[model.landmark_vertices]
    points = [FacePoints(camera.project(vertices + offsets))]
    found = fit_linear_face(beside, points, SURE)
    without = fit_linear_face(beside, points, replace(SURE, landmark_offsets=False))
    np.testing.assert_allclose(found.shape, shape, atol=0.1)
    assert np.abs(without.shape - shape).max() > 0.5


def test_a_near_face_needs_a_perspective_camera(model):
    shape, expression = np.array([1.0, -0.5, 0.8, 0.0, -1.2, 0.4]), np.array([0.6, 0.0, 0.9])
    lens = Lens(700.0, np.array([320.0, 240.0]))
    turn = camera_of().rotation
    camera = PerspectiveCamera(turn, 2.0, np.array([250.0, 260.0]), 350.0, lens.centre_px)
    points = seen(model, shape, expression, camera)
    flat = fit_linear_face(model, [FacePoints(points)], SURE)
    fit = fit_linear_face(model, [FacePoints(points, lens=lens)], SURE)
    found = fit.photos[0]
    np.testing.assert_allclose(fit.shape, shape, atol=0.1)
    np.testing.assert_allclose(found.camera.rotation, turn, atol=0.02)
    assert found.camera.distance == pytest.approx(350.0, rel=0.02)
    assert found.fit_error_px < 0.5 * flat.photos[0].fit_error_px


def test_jacobian_of_the_perspective_camera_is_that_of_differences(model):
    from face3d_cli.stages.linear_fit import _landmark_part, _Photo

    lens = Lens(500.0, np.array([100.0, 90.0]))
    points = FacePoints(seen(model, np.zeros(6), np.zeros(3), camera_of()), lens=lens)
    shape = np.full(NUM_SHAPES, 0.3)

    def state():
        photo = _Photo(model, _landmark_part(model, use_offsets=True), points, SURE)
        photo.shift += np.array([3.0, -2.0, 0.0])
        return photo

    rows = state().part[0]
    jacobian, before = state()._jacobian(rows, shape)
    for column in range(6):
        moved = state()
        change = np.zeros(7)
        change[column] = 1e-6
        moved.move_camera(change)
        _, after = moved._jacobian(rows, shape)
        np.testing.assert_allclose(
            jacobian[:, :2, column], (after - before)[:, :2] / 1e-6, rtol=1e-3, atol=1e-3
        )
    more = shape.copy()
    more[2] += 1e-6
    _, after = state()._jacobian(rows, more)
    np.testing.assert_allclose(
        jacobian[:, :2, 7 + 2], (after - before)[:, :2] / 1e-6, rtol=1e-3, atol=1e-3
    )


def test_a_landmark_without_weight_does_not_count(model):
    points = seen(model, np.full(NUM_SHAPES, 0.5), np.zeros(NUM_EXPRESSIONS), camera_of(0, 0, 0))
    weights = np.ones(68)
    weights[[2, 30]] = 0.0
    clean = fit_linear_face(model, [FacePoints(points, None, weights)])
    wrong = points.copy()
    wrong[[2, 30]] += 40.0
    # The start of the pose looks at all landmarks; the steps forget it.
    wild = fit_linear_face(model, [FacePoints(wrong, None, weights)])
    np.testing.assert_allclose(wild.shape, clean.shape, atol=0.02)


def test_expressions_stay_between_0_and_1(model):
    wanted = np.array([1.8, -0.9, 0.5])
    points = seen(model, np.zeros(NUM_SHAPES), wanted, camera_of())
    fit = fit_linear_face(model, [FacePoints(points)], SURE)
    assert fit.photos[0].expression.min() >= 0.0
    assert fit.photos[0].expression.max() <= 1.0


def test_size_and_place_of_the_face_do_not_change_the_shape(model):
    points = seen(model, np.full(NUM_SHAPES, 0.7), np.full(NUM_EXPRESSIONS, 0.2), camera_of())
    one = fit_linear_face(model, [FacePoints(points)])
    other = fit_linear_face(model, [FacePoints(7.5 * points + (900, -40))])
    np.testing.assert_allclose(one.shape, other.shape, atol=1e-6)
    assert other.photos[0].fit_error_px == pytest.approx(7.5 * one.photos[0].fit_error_px)


def test_several_photos_are_nearer_to_the_truth_than_each_alone(model):
    rng = np.random.default_rng(3)
    shape = rng.normal(size=NUM_SHAPES)
    photos = []
    for yaw in (-30, -10, 0, 15, 35):
        points = seen(model, shape, rng.random(NUM_EXPRESSIONS), camera_of(yaw, 0, 0))
        photos.append(FacePoints(points + rng.normal(0, 4.0, points.shape)))
    together = fit_linear_face(model, photos)
    assert len(together.photos) == 5
    alone = [np.linalg.norm(fit_linear_face(model, [p]).shape - shape) for p in photos]
    assert np.linalg.norm(together.shape - shape) < 0.8 * np.mean(alone)


def test_one_wild_landmark_hardly_moves_the_face(model):
    points = seen(model, np.full(NUM_SHAPES, 0.5), np.zeros(NUM_EXPRESSIONS), camera_of(0, 0, 0))
    clean = fit_linear_face(model, [FacePoints(points)])
    points = points.copy()
    points[30] += (0.0, 120.0)
    wild = fit_linear_face(model, [FacePoints(points)])
    still = np.zeros(NUM_EXPRESSIONS)
    moved = model.vertices_mm(wild.shape, still) - model.vertices_mm(clean.shape, still)
    assert np.linalg.norm(moved, axis=1).mean() < 1.5  # 120 px are 60 mm here


def test_dense_points_bring_the_depth_that_landmarks_lack(model):
    rng = np.random.default_rng(5)
    shape, camera = rng.normal(size=NUM_SHAPES), camera_of(0, 0, 0)
    vertices = model.vertices_mm(shape, np.zeros(NUM_EXPRESSIONS))
    points = seen(model, shape, np.zeros(NUM_EXPRESSIONS), camera)
    some = rng.choice(len(vertices), 300, replace=False)
    depth = camera.scale_px_per_unit * camera.turn(vertices)[some, 2] + 77.0  # any origin
    dense = DensePoints(
        some, np.column_stack([camera.project(vertices)[some], depth]), np.ones(300)
    )
    sparse_fit = fit_linear_face(model, [FacePoints(points)])
    sure = LinearFitSettings(dense_noise=0.03, dense_depth_noise=0.03)
    dense_fit = fit_linear_face(model, [FacePoints(points, dense)], sure)
    assert np.linalg.norm(dense_fit.shape - shape) < 0.5 * np.linalg.norm(sparse_fit.shape - shape)


def test_a_known_turn_is_kept_as_far_as_it_is_sure(model):
    rng = np.random.default_rng(7)
    camera = camera_of()
    points = seen(model, np.zeros(NUM_SHAPES), np.zeros(NUM_EXPRESSIONS), camera)
    points = points + rng.normal(0, 3.0, points.shape)

    def apart_deg(spread_deg):
        turn = None if spread_deg is None else RotationPrior(camera.rotation, spread_deg)
        found = fit_linear_face(model, [FacePoints(points, turn=turn)]).photos[0].camera
        return np.degrees(Rotation.from_matrix(found.rotation @ camera.rotation.T).magnitude())

    free, sure, unsure = apart_deg(None), apart_deg(0.1), apart_deg(1e3)
    assert sure < 0.1 < 0.5 * free
    assert sure < apart_deg(1.0) < free
    assert unsure == pytest.approx(free, rel=1e-3)


def test_closed_lids_and_lips_stay_closed(model):
    points = seen(model, np.zeros(NUM_SHAPES), np.zeros(NUM_EXPRESSIONS), camera_of(0, 0, 0))
    points = points.copy()
    points[[61, 62, 63]] = points[[67, 66, 65]]
    loose = fit_linear_face(model, [FacePoints(points)], LinearFitSettings(opening_noise=1e3))
    tight = fit_linear_face(model, [FacePoints(points)], LinearFitSettings(opening_noise=1e-3))

    def gap(fit):
        photo = fit.photos[0]
        head = model.vertices_mm(fit.shape, photo.expression)[photo.landmark_vertices]
        return np.abs(
            photo.camera.project(head)[[61, 62, 63]] - photo.camera.project(head)[[67, 66, 65]]
        ).max()

    assert gap(tight) < gap(loose)


def test_bounded_solver_agrees_with_scipy():
    rng = np.random.default_rng(0)
    for _ in range(20):
        matrix, right = rng.normal(size=(30, 8)), rng.normal(size=30) * 3
        low, high = np.full(8, -0.3), np.full(8, 0.5)
        low[:3], high[:3] = -np.inf, np.inf
        found = _solve_bounded(matrix.T @ matrix, matrix.T @ right, low, high)
        expected = lsq_linear(matrix, right, (low, high), tol=1e-12).x
        np.testing.assert_allclose(found, expected, atol=1e-5)


def test_what_holds_no_face_is_refused(model):
    with pytest.raises(StageError, match="no photo"):
        fit_linear_face(model, [])
    with pytest.raises(ShapeError, match="landmarks"):
        fit_linear_face(model, [FacePoints(np.zeros((5, 2)))])
    with pytest.raises(StageError, match="hold no face"):
        fit_linear_face(model, [FacePoints(np.zeros((68, 2)))])
    with pytest.raises(StageError, match="finite"):
        fit_linear_face(model, [FacePoints(np.full((68, 2), np.nan))])


def test_surrey_is_fitted_like_any_other_linear_face(surrey):
    from face3d_cli.stages.morphable import load_surrey

    model, rng = load_surrey().linear_mm, np.random.default_rng(4)
    shape = rng.normal(size=63)
    camera = camera_of(20, 5, 0)
    vertices = model.vertices_mm(shape, np.zeros(6))
    used = rng.choice(len(vertices), 300, replace=False)
    at = model.landmark_vertices.copy()
    at[:17] = model.jaw_rows[:, 0]
    points = camera.project(vertices[at])
    dense = DensePoints(
        used,
        np.column_stack([camera.project(vertices)[used], 2.0 * camera.turn(vertices)[used, 2]]),
        np.ones(300),
    )
    sure = LinearFitSettings(dense_noise=0.01, dense_depth_noise=0.01)
    fit = fit_linear_face(model, [FacePoints(points, dense)], sure)
    found = model.vertices_mm(fit.shape, fit.photos[0].expression)
    off = found - found.mean(axis=0) - vertices + vertices.mean(axis=0)
    mean_off = model.mean_mm - model.mean_mm.mean(axis=0) - vertices + vertices.mean(axis=0)
    assert np.linalg.norm(off, axis=1).mean() < 0.5 * np.linalg.norm(mean_off, axis=1).mean()
    np.testing.assert_allclose(fit.photos[0].camera.rotation, camera.rotation, atol=0.05)


def test_jaw_rows_of_surrey_run_from_the_jaw_inwards(surrey):
    from face3d_cli.stages.morphable import load_surrey

    model = load_surrey().linear_mm
    rows = model.mean_mm[model.jaw_rows]
    jaw = rows[:, 0]  # from the right ear over the chin to the left one
    np.testing.assert_allclose(jaw[::-1] * (-1, 1, 1), jaw, atol=4.0)
    assert (np.diff(jaw[:9, 1]) < 0).all()
    assert (np.abs(rows[:7, 0, 0]) > np.abs(rows[:7, -1, 0])).all()


def test_an_error_that_all_dense_points_share_hardly_moves_the_shape(model):
    shape, camera = np.full(NUM_SHAPES, 0.6), camera_of(0, 0, 0)
    vertices = model.vertices_mm(shape, np.zeros(NUM_EXPRESSIONS))
    points = seen(model, shape, np.zeros(NUM_EXPRESSIONS), camera)
    some = np.random.default_rng(5).choice(len(vertices), 300, replace=False)
    places = np.column_stack(
        [camera.project(vertices)[some], camera.scale_px_per_unit * camera.turn(vertices)[some, 2]]
    )
    off = DensePoints(some, 1.04 * places + (9.0, -6.0, 0.0), np.ones(300))

    def away(slack):
        settings = LinearFitSettings(dense_noise=0.03, dense_depth_noise=0.03, dense_slack=slack)
        return np.linalg.norm(
            fit_linear_face(model, [FacePoints(points, off)], settings).shape - shape
        )

    assert away(0.1) < 0.6 * away(0.0)
