"""iBUG landmark files: counted from 1 in the file, from 0 here; strict, with line numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from face3d_cli.errors import OutputError, ShapeError, UnreadableInput
from face3d_cli.io.points import read_pts, save_pts

GOOD = "version: 1\nn_points: 3\n{\n1 1\n10.5 20.25\n-3 4e2\n}\n"


def written(tmp_path, text):
    path = tmp_path / "a.pts"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_first_pixel_of_the_file_is_our_zero(tmp_path):
    points = read_pts(written(tmp_path, GOOD), num_points=3)
    np.testing.assert_array_equal(points, [[0, 0], [9.5, 19.25], [-4, 399]])


@pytest.mark.parametrize(
    "text",
    [
        GOOD.replace("\n", "\r\n"),
        GOOD.replace("n_points: 3", "n_points:  3 "),
        GOOD.rstrip("\n"),
        GOOD + "\n\n",
        "\ufeff" + GOOD,
        GOOD.replace("10.5 20.25", "  10.5\t20.25 "),
    ],
)
def test_white_space_and_line_ends_do_not_matter(tmp_path, text):
    np.testing.assert_array_equal(
        read_pts(written(tmp_path, text), num_points=3), [[0, 0], [9.5, 19.25], [-4, 399]]
    )


@pytest.mark.parametrize(
    ("text", "line", "expected"),
    [
        ("", 1, "'version: NUMBER'"),
        ("version 1\n", 1, "'version: NUMBER'"),
        ("version: 2\n", 1, "'version: 1'"),
        ("version: 1\n", 2, "'n_points: NUMBER'"),
        ("version: 1\nn_points: -3\n", 2, "'n_points: NUMBER'"),
        ("version: 1\nn_points: 3\n1 1\n", 3, "'{'"),
        ("version: 1\nn_points: 3\n{\n1 1\n", 5, "point 2 of 3"),
        (GOOD.replace("10.5 20.25", "10.5"), 5, "point 2 of 3"),
        (GOOD.replace("10.5 20.25", "10.5 20 30"), 5, "point 2 of 3"),
        (GOOD.replace("10.5", "ten"), 5, "point 2 of 3"),
        (GOOD.replace("10.5", "nan"), 5, "point 2 of 3"),
        (GOOD.replace("10.5", "1e999"), 5, "point 2 of 3"),
        (GOOD.replace("}", "5 5\n}"), 7, "'}' after 3 points"),
        (GOOD + "more\n", 8, "nothing after"),
    ],
)
def test_malformed_files_name_the_line(tmp_path, text, line, expected):
    with pytest.raises(UnreadableInput) as caught:
        read_pts(written(tmp_path, text), num_points=3)
    assert f", line {line}: expected {expected}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_another_number_of_points_than_asked_is_refused(tmp_path):
    path = written(tmp_path, GOOD)
    with pytest.raises(UnreadableInput, match="line 2: expected 'n_points: 68'"):
        read_pts(path)
    assert read_pts(path, num_points=None).shape == (3, 2)


@pytest.mark.parametrize("content", [b"\xff\xfe\0v", b"1 2\n" * 300_000])
def test_binary_and_huge_files_are_refused(tmp_path, content):
    with pytest.raises(UnreadableInput):
        read_pts(written(tmp_path, content))


def test_missing_file_is_unreadable(tmp_path):
    with pytest.raises(UnreadableInput, match="No such file"):
        read_pts(tmp_path / "none.pts")


def test_shape_is_checked_when_saving(tmp_path):
    with pytest.raises(ShapeError):
        save_pts(tmp_path / "a.pts", np.zeros((68, 3)))
    (tmp_path / "folder.pts").mkdir()
    with pytest.raises(OutputError):
        save_pts(tmp_path / "folder.pts", np.zeros((68, 2)))


points68 = st.lists(
    st.tuples(st.floats(-1e6, 1e6), st.floats(-1e6, 1e6)), min_size=68, max_size=68
).map(np.array)


@settings(deadline=None, max_examples=20)
@given(points68)
def test_saved_points_come_back_to_six_decimals(tmp_path_factory, points):
    path = tmp_path_factory.getbasetemp() / "round_trip.pts"
    save_pts(path, points)
    np.testing.assert_allclose(read_pts(path), points, atol=1e-6)


def read_or_refuse(path) -> None:
    try:
        points = read_pts(path, num_points=None)
    except UnreadableInput as refused:
        assert "\n" not in str(refused)  # noqa: PT017
    else:
        assert points.ndim == 2
        assert np.isfinite(points).all()


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_arbitrary_bytes_are_read_or_refused(tmp_path_factory, content):
    path = tmp_path_factory.getbasetemp() / "arbitrary.pts"
    path.write_bytes(content)
    read_or_refuse(path)


@settings(deadline=None)
@given(st.integers(0, len(GOOD)), st.text(max_size=6), st.integers(0, 6))
def test_mutated_files_are_read_or_refused(tmp_path_factory, place, inserted, removed):
    path = tmp_path_factory.getbasetemp() / "mutated.pts"
    path.write_bytes((GOOD[:place] + inserted + GOOD[place + removed :]).encode())
    read_or_refuse(path)


@pytest.mark.shared
def test_files_of_300w_and_eos_are_read(shared):
    paths = [*(shared / "data/300w-samples").glob("*.pts"), shared / "photos/image_0010.pts"]
    assert len(paths) == 30
    for path in paths:
        assert read_pts(path).shape == (68, 2)
    # First line of eos's image_0010.pts: 611.284152 272.773913, counted from 1.
    np.testing.assert_allclose(read_pts(paths[-1])[0], [610.284152, 271.773913])
