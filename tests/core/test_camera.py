"""Projection, the y flip, and the names of angles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from face3d_cli.core.camera import (
    NEAREST,
    PerspectiveCamera,
    PoseDegrees,
    ScaledOrthographicCamera,
    enlargement,
)


def test_up_in_the_head_is_up_in_the_photo():
    camera = ScaledOrthographicCamera(np.eye(3), 2.0, np.array([10.0, 20.0]))
    np.testing.assert_allclose(
        camera.project(np.array([[0, 0, 0], [1, 0, 5], [0, 1, -5.0]])),
        [[10, 20], [12, 20], [10, 18]],
    )


def test_moving_the_origin_keeps_the_picture():
    rotation = Rotation.from_euler("xyz", [10, 30, -20], degrees=True).as_matrix()
    camera = ScaledOrthographicCamera(rotation, 3.0, np.array([5.0, 7.0]))
    points = np.random.default_rng(0).normal(size=(20, 3))
    origin = np.array([0.3, -0.2, 1.0])
    np.testing.assert_allclose(
        camera.with_origin(origin).project(points - origin), camera.project(points)
    )


@pytest.mark.parametrize(
    ("yaw", "pitch", "roll"), [(30, 0, 0), (0, 20, 0), (0, 0, -40), (60, -25, 10), (-85, 5, 170)]
)
def test_angles_come_back_from_the_documented_product(yaw, pitch, roll):
    rotation = (
        Rotation.from_euler("y", yaw, degrees=True)
        * Rotation.from_euler("x", -pitch, degrees=True)
        * Rotation.from_euler("z", roll, degrees=True)
    ).as_matrix()
    found = PoseDegrees.from_rotation(rotation)
    np.testing.assert_allclose([found.yaw, found.pitch, found.roll], [yaw, pitch, roll], atol=1e-9)


def test_signs_read_as_documented():
    left = Rotation.from_euler("y", 30, degrees=True).as_matrix()
    assert (left @ [0, 0, 1])[0] > 0  # the nose points to the viewer's right, the subject's left
    assert PoseDegrees.from_rotation(left).yaw == pytest.approx(30)


def test_looking_straight_up_is_finite():
    up = Rotation.from_euler("x", -90, degrees=True).as_matrix()
    found = PoseDegrees.from_rotation(up)
    assert found.pitch == pytest.approx(90)
    assert np.isfinite([found.yaw, found.roll]).all()


def test_perspective_shows_near_points_larger_and_far_cameras_are_orthographic():
    turn = Rotation.from_euler("YX", [25, 10], degrees=True).as_matrix()
    points = np.random.default_rng(1).normal(0, 60, (50, 3))
    centre = np.array([320.0, 240.0])
    near = PerspectiveCamera(turn, 2.0, np.array([300.0, 200.0]), 500.0, centre)
    # By hand: the pinhole looks along -z from where the principal point's ray says.
    eye = np.array([(centre[0] - 300.0) / 2, -(centre[1] - 200.0) / 2, 500.0])
    from_eye = points @ turn.T - eye
    expected = centre + near.focal_px * from_eye[:, :2] * (1, -1) / -from_eye[:, 2:]
    np.testing.assert_allclose(near.project(points), expected, atol=1e-9)
    far = PerspectiveCamera(turn, 2.0, np.array([300.0, 200.0]), 1e9, centre)
    flat = ScaledOrthographicCamera(turn, 2.0, np.array([300.0, 200.0]))
    np.testing.assert_allclose(far.project(points), flat.project(points), atol=1e-3)


def test_a_perspective_camera_follows_origin_unit_and_cut():
    turn = Rotation.from_euler("YX", [25, 10], degrees=True).as_matrix()
    points = np.random.default_rng(1).normal(0, 60, (50, 3))
    camera = PerspectiveCamera(turn, 2.0, np.array([300.0, 200.0]), 500.0, np.array([320.0, 240]))
    expected = camera.project(points)
    origin = np.array([10.0, -20.0, 30.0])
    np.testing.assert_allclose(camera.with_origin(origin).project(points - origin), expected)
    np.testing.assert_allclose(camera.in_unit(1e-3).project(1e-3 * points), expected)
    np.testing.assert_allclose(camera.in_cut((40.0, 7.0)).project(points), expected - (40, 7))
    np.testing.assert_allclose(camera.of_turned().project(camera.turn(points)), expected)
    assert camera.with_origin(origin).focal_px == pytest.approx(camera.focal_px)


def test_things_halfway_to_the_pinhole_are_twice_as_large():
    depth = np.array([-100.0, 0.0, 50.0, 200.0])
    np.testing.assert_allclose(enlargement(depth, 0.01), [0.5, 1, 2, 1 / NEAREST])
    np.testing.assert_allclose(enlargement(depth, 0.0), 1)
