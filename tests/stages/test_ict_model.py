"""ICT-FaceKit as read from its compact file: what upstream says, and what a head must be."""

from __future__ import annotations

import io
import tarfile
from collections import Counter
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from face3d_cli.core.ict_topology import (
    LEFT_JAWLINE,
    LEFT_LONG_JAWLINE,
    NUM_POLYGONS,
    NUM_VERTICES,
    PARTS,
    RIGHT_JAWLINE,
    RIGHT_LONG_JAWLINE,
)
from face3d_cli.core.mesh import vertex_normals
from face3d_cli.errors import ModelError, ShapeError
from face3d_cli.stages import ict_model
from face3d_cli.stages.ict_model import IctModel

pytestmark = pytest.mark.usefixtures("ict")


@pytest.fixture
def model():
    return IctModel.load()


def obj_of_mirror(shared: Path, name: str) -> str:
    """One of upstream's files, as text."""
    with tarfile.open(shared / "models" / "ict-facekit" / "FaceXModel.tar.xz") as archive:
        for member in archive:
            if member.name.endswith(f"/{name}"):
                stream = archive.extractfile(member)
                assert stream is not None
                return io.TextIOWrapper(stream).read()
    raise AssertionError(f"{name} is not in the archive")


def positions(text: str) -> np.ndarray:
    return np.array([line.split()[1:] for line in text.split("\n") if line.startswith("v ")], float)


@pytest.mark.shared
@pytest.mark.slow
def test_shapes_are_upstream_s(model, shared):
    neutral = positions(obj_of_mirror(shared, "generic_neutral_mesh.obj"))
    np.testing.assert_allclose(model.neutral_cm, neutral, atol=2e-6)
    jaw = positions(obj_of_mirror(shared, "jawOpen.obj"))
    np.testing.assert_allclose(model.vertices(expression={"jawOpen": 1.0}), jaw, atol=2e-3)
    identity = positions(obj_of_mirror(shared, "identity007.obj"))
    one = np.zeros(8)
    one[7] = 1.0
    np.testing.assert_allclose(model.vertices(one), identity, atol=1e-3)


def test_mesh_has_the_counts_of_upstream_s_table(model):
    assert model.neutral_cm.shape == (NUM_VERTICES, 3)
    assert model.polygons.shape == model.polygon_uv.shape == (NUM_POLYGONS, 4)
    assert model.uv.shape == (28911, 2)
    assert len(model.expression_names) == len(model.expression_cm) == 53
    assert len(model.triangles) == len(model.triangle_uv) == 2 * NUM_POLYGONS - 548
    assert np.bincount(model.polygon_of_triangle).max() == 2


def test_parts_cover_the_mesh_without_a_gap():
    parts = list(PARTS.values())
    for before, after in pairwise(parts):
        assert before.end_vertex == after.first_vertex
        assert before.end_polygon == after.first_polygon
    assert (parts[-1].end_vertex, parts[-1].end_polygon) == (NUM_VERTICES, NUM_POLYGONS)


def test_polygons_of_a_part_use_its_vertices_and_its_uv_tile(model):
    for name, part in PARTS.items():
        corners = model.polygons[part.polygons]
        own = corners[(corners >= part.first_vertex) & (corners < part.end_vertex)]
        assert len(own) > 0.9 * (corners >= 0).sum(), name
        uv = model.polygon_uv[part.polygons]
        assert set(np.floor(model.uv[uv[uv >= 0]][:, 0])) == {part.tile}, name


def test_frame_is_upright_facing_z_with_the_subject_s_left_at_x(model):
    points = model.neutral_cm[model.landmark_vertices]
    assert points[36, 0] < points[39, 0] < 0 < points[42, 0] < points[45, 0]  # right eye, left eye
    assert points[8, 1] < points[57, 1] < points[30, 1] < points[27, 1]  # chin, lip, nose, bridge
    assert points[30, 2] > points[0, 2]
    assert points[0, 0] < 0 < points[16, 0]
    assert 8 < points[45, 0] - points[36, 0] < 10  # centimetres


def test_triangles_of_face_and_skull_face_outwards(model):
    normals = vertex_normals(model.neutral_cm, model.triangles)
    skin = slice(0, PARTS["head_neck"].end_vertex)
    outwards = model.neutral_cm[skin] - np.array([0.0, 0.0, 1.0])
    assert (
        np.einsum("vc,vc->v", normals[skin], outwards) > 0
    ).mean() > 0.8  # all but ears, lids and nostrils


def test_jawlines_run_along_the_mesh(model):
    for line in (RIGHT_LONG_JAWLINE, LEFT_LONG_JAWLINE):
        steps = np.diff(model.neutral_cm[list(line)], axis=0)
        assert np.linalg.norm(steps, axis=1).max() < 2.0
    right, left = model.neutral_cm[list(RIGHT_JAWLINE)], model.neutral_cm[list(LEFT_JAWLINE)]
    np.testing.assert_allclose(right * (-1, 1, 1), left[::-1], atol=1e-3)


def test_expressions_move_what_their_names_say(model):
    def moved(name):
        delta = model.expression_cm[model.expression_names.index(name)]
        return delta[model.landmark_vertices]

    assert moved("jawOpen")[8, 1] < -1.0
    assert abs(moved("jawOpen")[27]).max() < 0.02
    assert moved("eyeBlink_L")[[43, 44], 1].max() < -0.3
    assert abs(moved("eyeBlink_L")[[37, 38]]).max() < 0.05
    assert moved("mouthSmile_L")[54, 1] > 0.3
    assert moved("mouthSmile_L")[54, 0] > 0.3
    assert abs(moved("mouthSmile_L")[48]).max() < abs(moved("mouthSmile_L")[54]).max() / 3


def test_weights_by_name_and_by_number_agree(model):
    weights = {"jawOpen": 0.5, "eyeBlink_R": 1.0}
    by_name = model.vertices(expression=weights)
    by_number = model.vertices(expression=model.expression_weights(weights))
    np.testing.assert_array_equal(by_name, by_number)
    assert Counter(model.expression_weights(weights).tolist())[0.0] == 51


@pytest.mark.parametrize("identity", [np.zeros(101), np.zeros((1, 100))])
def test_wrong_coefficients_are_refused(model, identity):
    with pytest.raises(ShapeError, match="identity"):
        model.vertices(identity)
    with pytest.raises(ShapeError, match="frown"):
        model.vertices(expression={"frown": 1.0})
    with pytest.raises(ShapeError, match="expression"):
        model.vertices(expression=np.zeros(52))


def test_missing_and_damaged_models_are_named(ict, tmp_path, monkeypatch):
    monkeypatch.setenv("FACE3D_HOME", str(tmp_path))
    with pytest.raises(ModelError, match=r"ict-facekit\.safetensors is missing"):
        ict_model._load.__wrapped__()
    (tmp_path / "ict-facekit").mkdir()
    whole = (ict / "ict-facekit" / "ict-facekit.safetensors").read_bytes()
    broken = whole[:-1] + bytes([whole[-1] ^ 1])
    (tmp_path / "ict-facekit" / "ict-facekit.safetensors").write_bytes(broken)
    with pytest.raises(ModelError, match="damaged"):
        ict_model._load.__wrapped__()
