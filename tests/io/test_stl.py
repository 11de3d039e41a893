"""STL in both kinds, and what is wrong with a file when it is refused."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from face3d_cli.errors import UnreadableInput
from face3d_cli.io.mesh import load_mesh, save_mesh
from tests.helpers.face_mesh import face_mesh


def test_normals_are_unit_and_point_out_of_the_face(tmp_path):
    save_mesh(face_mesh(), tmp_path / "face.stl")
    data = (tmp_path / "face.stl").read_bytes()
    assert not data.startswith(b"solid")  # some readers would take it for a text STL
    rows = np.frombuffer(data[84:], np.dtype([("normal", "<f4", 3), ("rest", "V38")]))
    np.testing.assert_allclose(np.linalg.norm(rows["normal"], axis=1), 1, atol=1e-6)
    assert (rows["normal"][:, 2] > -0.5).all()


def test_a_text_stl_of_another_program(tmp_path):
    box = trimesh.creation.box((1, 2, 3))
    (tmp_path / "box.stl").write_text(trimesh.exchange.stl.export_stl_ascii(box))
    mesh = load_mesh(tmp_path / "box.stl")
    assert mesh.unit == "mm"
    assert len(mesh.vertices) == 8
    np.testing.assert_allclose(mesh.vertices[mesh.triangles], box.triangles)


def test_a_binary_stl_whose_header_says_solid(tmp_path):
    save_mesh(face_mesh(), tmp_path / "face.stl", unit="mm")
    data = (tmp_path / "face.stl").read_bytes()
    (tmp_path / "solid.stl").write_bytes(b"solid" + data[5:])
    assert len(load_mesh(tmp_path / "solid.stl").triangles) == len(face_mesh().triangles)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"short",
        bytes(84),
        b"\0" * 80 + b"\xff\xff\xff\xff" + bytes(50),
        b"\0" * 80 + b"\1\0\0\0" + b"\xff" * 50,
        b"solid x\nvertex 0 0 0\nvertex 0 1 0\nendsolid",
        b"solid x\nvertex 0 0\nvertex 0 1 0\nvertex 1 0 0\nendsolid",
        b"solid x\nvertex 0 0 a\nvertex 0 1 0\nvertex 1 0 0\nendsolid",
        b"solid x\nvertex 0 0 nan\nvertex 0 1 0\nvertex 1 0 0\nendsolid",
        b"solid x\nendsolid",
    ],
)
def test_a_broken_stl_is_unreadable(tmp_path, content):
    (tmp_path / "foreign.stl").write_bytes(content)
    with pytest.raises(UnreadableInput, match=r"foreign\.stl"):
        load_mesh(tmp_path / "foreign.stl")
