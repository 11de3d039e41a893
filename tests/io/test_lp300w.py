"""300W-LP's annotations."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.io import savemat

from face3d_cli.core.landmarks68 import roll_rad
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.lp300w import read_lp_annotation


def write(
    path: Path, pitch: float = 0.0, yaw: float = 0.0, roll: float = 0.0, **more: object
) -> Path:
    content: dict[str, object] = {
        "Pose_Para": np.array([[*np.radians([pitch, yaw, roll]), 100.0, 90.0, -50.0, 1e-3]]),
        "Shape_Para": np.zeros((199, 1)),
        "Exp_Para": np.zeros((29, 1)),
    }
    savemat(path, content | more)
    return path


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [((0, 40, 0), (-40, 0, 0)), ((10, 0, 0), (0, 10, 0)), ((0, 0, 15), (0, 0, -15))],
)
def test_each_angle_has_our_sign(
    tmp_path: Path, theirs: tuple[float, ...], ours: tuple[float, ...]
) -> None:
    pose = read_lp_annotation(write(tmp_path / "a.mat", *theirs)).pose
    np.testing.assert_allclose((pose.yaw, pose.pitch, pose.roll), ours, atol=1e-9)


def test_points_are_counted_from_zero(tmp_path: Path) -> None:
    points = np.arange(136, dtype=float).reshape(2, 68)
    found = read_lp_annotation(write(tmp_path / "a.mat", pt2d=points)).landmarks_px
    assert found is not None
    np.testing.assert_array_equal(found[3], (2.0, 70.0))


def test_without_points_there_are_none(tmp_path: Path) -> None:
    assert read_lp_annotation(write(tmp_path / "a.mat")).landmarks_px is None


@pytest.mark.parametrize("broken", [b"", b"not MATLAB", b"MATLAB 5.0 MAT-file" + bytes(200)])
def test_other_files_are_refused(tmp_path: Path, broken: bytes) -> None:
    path = tmp_path / "a.mat"
    path.write_bytes(broken)
    with pytest.raises(UnreadableInput):
        read_lp_annotation(path)


def test_points_of_another_number_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="68"):
        read_lp_annotation(write(tmp_path / "a.mat", pt2d=np.zeros((2, 21))))


@pytest.mark.shared
def test_poses_of_the_samples_agree_with_their_points(shared: Path) -> None:
    """The eyes' line tells the roll of heads that look ahead; turned pictures count on in yaw."""
    checked = 0
    for path in sorted((shared / "data" / "300w-lp-samples").glob("*.mat")):
        found = read_lp_annotation(path)
        assert found.shape.shape == (199,)
        assert found.expression.shape == (29,)
        if found.landmarks_px is None:
            continue
        if abs(found.pose.yaw) < 15:
            eyes_deg = -np.degrees(roll_rad(found.landmarks_px))  # y down
            assert abs(eyes_deg - found.pose.roll) < 8
            checked += 1
    assert checked > 3
    turned = [shared / "data" / "300w-lp-samples" / f"HELEN_1629243_1_{i}.mat" for i in range(18)]
    yaws = [abs(read_lp_annotation(path).pose.yaw) for path in turned]
    assert yaws == sorted(yaws)
    assert yaws[-1] > 80
