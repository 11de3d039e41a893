"""Training samples: the surface, the fit behind the points, photos turned in depth, the folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from face3d_cli.core.camera import PoseDegrees
from face3d_cli.core.position_map import landmarks_of
from face3d_cli.core.raster import rasterize
from face3d_cli.errors import UnreadableInput
from face3d_cli.training.synth.fit import (
    Correspondence,
    FitSettings,
    FittedFace,
    fit_face,
    landmark_correspondence,
)
from face3d_cli.training.synth.folder import SampleFolder, read_labels
from face3d_cli.training.synth.surface import FaceSurface, face_surface
from face3d_cli.training.synth.turn import make_relief, render_turned
from tests.helpers.position_maps import turn_about_y
from tests.helpers.samples import write_samples


@pytest.fixture
def surface(ict: Path) -> FaceSurface:
    return face_surface(64)


def test_the_layout_is_symmetric_and_hardly_folds(surface: FaceSurface) -> None:
    uv = surface.uv
    from scipy.spatial import cKDTree

    away, _ = cKDTree(uv).query(uv * (-1, 1) + (1, 0))
    assert away.max() < 2e-3
    assert uv.min() >= 0
    assert uv.max() <= 1
    from face3d_cli.stages.ict_model import IctModel
    from face3d_cli.stages.map_layout import face_triangles

    a, b, c = (uv[face_triangles(IctModel.load())[:, k]] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area <= 0).mean() < 0.002


def test_landmarks_of_the_mean_map_are_the_models(surface: FaceSurface) -> None:
    """Eyes, base of the nose and lips are the README's vertices; jaw and brows are moved."""
    ours = landmarks_of(surface.map_mean_cm)
    theirs = surface.mean_cm[surface.landmark_vertices]
    away_cm = np.linalg.norm(ours - theirs, axis=1)[31:]
    assert np.median(away_cm) < 0.05
    assert away_cm.max() < 0.4  # the map is coarse where lips and lids fold


def fake_points(surface: FaceSurface, fitted: FittedFace, pairs: Correspondence) -> np.ndarray:
    """MediaPipe's points as they would be of a known face."""
    head = surface.mean_cm + np.tensordot(fitted.coefficients, surface.basis_cm, axes=1)
    points = np.zeros((478, 3))
    points[pairs.point] = fitted.place(head[pairs.vertex]) * (1, 1, -1)
    return points


def test_the_fit_finds_a_known_face_again(surface: FaceSurface) -> None:
    rng = np.random.default_rng(0)
    coefficients = np.zeros(len(surface.basis_cm))
    coefficients[:5] = rng.normal(0, 1, 5)
    known = FittedFace(coefficients, turn_about_y(20), 9.0, np.array([300.0, -200.0, 0.0]), 0.0)
    settings = FitSettings(depth_weight=1.0)
    pairs = landmark_correspondence(surface, settings)
    found = fit_face(surface, fake_points(surface, known, pairs), pairs, settings)
    assert found.error < 0.005
    assert found.scale_px_per_cm == pytest.approx(9.0, rel=0.02)
    assert PoseDegrees.from_rotation(found.rotation).yaw == pytest.approx(20, abs=1.5)


def test_points_that_are_no_face_fit_badly(surface: FaceSurface) -> None:
    points = np.random.default_rng(0).uniform(0, 100, (478, 3))
    pairs = landmark_correspondence(surface, FitSettings())
    assert fit_face(surface, points, pairs, FitSettings()).error > FitSettings().max_error


def test_a_relief_that_is_not_turned_is_the_photo(surface: FaceSurface) -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8).repeat(12, 0).repeat(12, 1)
    head = surface.mean_cm * 6.0 * (1, -1, 1) + (120, 120, 0)
    person = np.ones((240, 240), bool)
    centre = np.array([120.0, 120.0, 0.0])
    relief = make_relief(photo, person, head, surface.head_triangles, centre, 6.0)
    drawn, alpha, _ = render_turned(relief, np.eye(3), centre, np.array([79.5, 79.5]), 1.0, 160)
    part = photo[41:199, 41:199]
    inner = slice(10, 140)
    assert alpha[inner, inner].min() > 0.99
    # Half a pixel lies between the two centres.
    away = np.abs(drawn[1:159, 1:159].astype(int) - part)[inner, inner]
    assert np.median(away) <= 1


def test_turning_moves_the_nose_as_the_model_says(surface: FaceSurface) -> None:
    """A white nose on a black head turns up where the turned model has its nose."""
    head = surface.mean_cm * 6.0 * (1, -1, 1) + (120, 120, 0)
    tip = head[surface.landmark_vertices[30]]
    photo = np.zeros((240, 240, 3), np.uint8)
    rows, columns = np.mgrid[:240, :240]
    photo[np.hypot(columns - tip[0], rows - tip[1]) < 5] = 255
    seen = rasterize(head[:, :2], surface.head_triangles, (240, 240), head[:, 2]).is_covered
    centre = np.array([120.0, 120.0, 0.0])
    relief = make_relief(photo, seen, head, surface.head_triangles, centre, 6.0)
    turn = turn_about_y(45)
    drawn, _, _ = render_turned(relief, turn, centre, np.array([80.0, 80.0]), 1.0, 160)
    white = np.argwhere(drawn[..., 0] > 128)
    moved = ((tip - centre) * (1, -1, 1)) @ turn.T * (1, -1, 1) + (80, 80, 0)
    np.testing.assert_allclose(white.mean(axis=0)[::-1], moved[:2], atol=4)


def test_a_folder_gives_pictures_and_maps(tmp_path: Path) -> None:
    write_samples(tmp_path, count=5, parts=2)
    samples = SampleFolder.open(tmp_path)
    assert len(samples) == 10
    assert samples.image(7).shape == (160, 160, 3)
    maps = samples.position_maps([1, 7])
    np.testing.assert_allclose(maps[1], samples.position_map(7), atol=1e-4)
    index = 7
    shape = samples.mean_cm + np.tensordot(samples.coefficients[index], samples.basis_cm, axes=1)
    placed = samples.px_per_cm * shape @ samples.rotation[index].T * (1, -1, 1)
    np.testing.assert_allclose(maps[1], placed + samples.shift_px[index], atol=1e-2)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="no training samples"):
        SampleFolder.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing"])
def test_other_files_are_no_labels(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.npz"
    path.write_bytes(content)
    with pytest.raises(UnreadableInput, match="no labels"):
        read_labels(path)


def test_labels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    np.savez(path, names=np.array(["a.jpg"]), points=np.zeros((1, 478, 3), np.float32))
    assert read_labels(path).names == ("a.jpg",)
