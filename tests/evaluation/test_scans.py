from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.spatial.transform import Rotation
from typer.testing import CliRunner

from face3d_cli.cli.app import app
from face3d_cli.core.mesh import vertex_normals
from face3d_cli.core.similarity import Similarity
from face3d_cli.errors import InputError, NoFaceFound, UnreadableInput
from face3d_cli.evaluation.scans import (
    SEVEN,
    TIGHT,
    Convergence,
    PredictedFace,
    Scan,
    evaluate_scans,
    read_scan,
    scan_to_mesh_mm,
    seven_points_mm,
)
from tests.helpers.face_mesh import face_mesh

FACE = face_mesh(48, 56, texture_px=0)
PX_PER_METRE = 3000.0


def pixels_of(vertices: np.ndarray) -> np.ndarray:
    return vertices[:, :2] * (PX_PER_METRE, -PX_PER_METRE) + 500


def predicted_face() -> PredictedFace:
    """Landmarks spread over the mesh, the seven at eyes, nose base and mouth."""
    places = {36: (0.32, 0.64), 39: (0.44, 0.64), 42: (0.56, 0.64), 45: (0.68, 0.64)}
    places |= {33: (0.5, 0.4), 48: (0.4, 0.3), 54: (0.6, 0.3)}
    uv = np.array([places.get(index, (0.5, 0.5)) for index in range(68)])
    assert FACE.uv is not None
    at = np.linalg.norm(FACE.uv[None] - uv[:, None], axis=2).argmin(axis=1)
    points = FACE.vertices[at]
    return PredictedFace(FACE.vertices, FACE.triangles, points, pixels_of(points))


TO_SCAN = Similarity(
    Rotation.from_euler("xyz", [0.3, -0.5, 0.2]).as_matrix(), 1130.0, np.array([40.0, -200, 900])
)


def scan_of(vertices: np.ndarray, photo: Path = Path("photo.jpg")) -> Scan:
    """The scan lies elsewhere, turned, and is 13 % larger than the prediction."""
    return Scan(photo, TO_SCAN.apply(vertices), pixels_of(FACE.vertices))


def test_the_same_surface_is_at_no_distance() -> None:
    distances = scan_to_mesh_mm(scan_of(FACE.vertices), predicted_face())
    assert np.median(distances) < 0.05
    assert distances.max() < 0.5
    away_mm = 1130 * np.linalg.norm(FACE.vertices - predicted_face().landmarks[33], axis=1)
    assert len(distances) == pytest.approx((away_mm <= 80).sum(), rel=0.05)
    assert len(distances) < len(FACE.vertices)  # forehead and ears are beyond 80 mm


def test_a_tight_alignment_ends_nearer() -> None:
    scan, face = scan_of(FACE.vertices), predicted_face()
    usual, tight = (scan_to_mesh_mm(scan, face, end).mean() for end in (Convergence(), TIGHT))
    assert tight < 0.5 * usual


def test_a_rough_scan_is_as_far_as_it_is_rough() -> None:
    """Every vertex is 1.5 mm out or in, at random."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], len(FACE.vertices))
    normals = vertex_normals(FACE.vertices, FACE.triangles)
    rough = FACE.vertices + (0.0015 * signs)[:, None] * normals
    distances = scan_to_mesh_mm(scan_of(rough), predicted_face())
    assert np.median(distances) == pytest.approx(1.13 * 1.5, rel=0.05)


def test_spikes_count_in_the_mean_but_do_not_move_the_alignment() -> None:
    spiked = FACE.vertices.copy()
    spikes = np.random.default_rng(1).choice(len(spiked), 60, replace=False)
    spiked[spikes, 2] += 0.02
    distances = scan_to_mesh_mm(scan_of(spiked), predicted_face())
    assert np.median(distances) < 0.1
    assert distances.mean() > 0.1
    assert np.mean(distances > 5) == pytest.approx(60 / len(spiked), abs=0.02)


def test_the_seven_points_are_medians_so_that_one_spike_does_not_move_them() -> None:
    face = predicted_face()
    clean = seven_points_mm(scan_of(FACE.vertices), face.landmarks_px)
    assert np.linalg.norm(clean - TO_SCAN.apply(face.landmarks[list(SEVEN)]), axis=1).max() < 5
    spiked = FACE.vertices.copy()
    spiked[np.linalg.norm(spiked - face.landmarks[33], axis=1).argmin(), 2] += 0.3
    moved = seven_points_mm(scan_of(spiked), face.landmarks_px)
    assert np.linalg.norm(moved - clean, axis=1).max() < 5


def test_a_hole_at_a_landmark_skips_the_scan() -> None:
    face = predicted_face()
    scan = scan_of(FACE.vertices)
    kept = np.linalg.norm(scan.pixels - face.landmarks_px[54], axis=1) > 30
    holed = Scan(scan.photo, scan.vertices_mm[kept], scan.pixels[kept])
    with pytest.raises(InputError, match="hole at landmark 54"):
        scan_to_mesh_mm(holed, face)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three scans: as predicted, with a photo that has no face, and with a hole."""
    scan = scan_of(FACE.vertices)
    holed = np.linalg.norm(scan.pixels - predicted_face().landmarks_px[36], axis=1) > 30
    for name, grey, kept in (("a", 10, ...), ("b", 200, ...), ("c", 10, holed)):
        np.savez(
            tmp_path / f"{name}.npz", vertices_mm=scan.vertices_mm[kept], pixels=scan.pixels[kept]
        )
        Image.fromarray(np.full((40, 50), grey, np.uint8)).save(tmp_path / f"{name}.jpg")
    return tmp_path


def test_totals_and_skipped_scans(folder: Path) -> None:
    def predict(image: np.ndarray) -> PredictedFace:
        assert image.shape == (40, 50, 3)  # grey photos arrive as colour
        if image.mean() > 100:
            raise NoFaceFound("no face")
        return predicted_face()

    seen: list[tuple[int, int]] = []
    report = evaluate_scans(
        folder, predict=predict, on_scan=lambda done, total: seen.append((done, total))
    )
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert [row["scan"] for row in report["per_scan"]] == ["a"]
    assert report["median_of_medians_mm"] == report["per_scan"][0]["median_mm"]
    assert report["mean_of_means_mm"] == report["per_scan"][0]["mean_mm"]
    reasons = {row["scan"]: row["reason"] for row in report["skipped"]}
    assert reasons["b"] == "no face"
    assert "hole at landmark 36" in reasons["c"]


def test_when_every_scan_is_skipped_there_is_no_total(folder: Path) -> None:
    def predict(image: np.ndarray) -> PredictedFace:
        raise NoFaceFound("no face")

    report = evaluate_scans(folder, predict=predict)
    assert report["median_of_medians_mm"] is None
    assert len(report["skipped"]) == report["scans"] == 3


def test_folders_and_files_that_are_no_scans_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match=r"no NAME\.npz"):
        evaluate_scans(tmp_path)
    (tmp_path / "x.npz").write_bytes(b"PK\x03\x04 cut off")
    with pytest.raises(UnreadableInput, match=r"x\.npz"):
        read_scan(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", vertices_mm=np.zeros((9, 3)), pixels=np.zeros((8, 2)))
    with pytest.raises(UnreadableInput, match=r"\(9, 3\) and \(8, 2\)"):
        read_scan(tmp_path / "y.npz")


def test_the_command_reports_real_scans(shared: Path, surrey: Path, tmp_path: Path) -> None:
    """Two of the scans; each is within a few millimetres of its reconstruction."""
    names = sorted(path.stem for path in (shared / "data" / "york3d").glob("*.npz"))[:2]
    for name in names:
        for suffix in (".npz", ".jpg"):
            source = shared / "data" / "york3d" / (name + suffix)
            (tmp_path / source.name).write_bytes(source.read_bytes())
    done = CliRunner().invoke(app, ["evaluate", "scans", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert [row["scan"] for row in report["per_scan"]] == names
    assert report["skipped"] == []
    assert 0.5 < report["median_of_medians_mm"] < 2.5
    assert 0.5 < report["mean_of_means_mm"] < 4.0
    table = CliRunner().invoke(app, ["evaluate", "scans", str(tmp_path)]).stdout
    assert names[0] in table
    assert "median of medians" in table
