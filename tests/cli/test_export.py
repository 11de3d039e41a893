"""`face3d export`: every pair of formats, what it says, and how it fails."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import trimesh
from typer.testing import CliRunner

from face3d_cli.cli.app import app
from face3d_cli.io.mesh import load_mesh, load_provenance, save_mesh
from tests.helpers.face_mesh import face_mesh, random_colors


def export(*arguments):
    return CliRunner().invoke(app, ["export", *map(str, arguments)])


@pytest.fixture
def glb(tmp_path):
    return save_mesh(face_mesh(), tmp_path / "in.glb", provenance={"licence": "CC BY 4.0"})[0]


@pytest.mark.parametrize(("source", "target"), list(permutations(["obj", "ply", "glb", "stl"], 2)))
def test_geometry_goes_from_every_format_to_every_other(tmp_path, source, target):
    mesh = face_mesh()
    save_mesh(mesh, tmp_path / f"in.{source}")
    result = export(tmp_path / f"in.{source}", "-o", tmp_path / f"out.{target}")
    assert result.exit_code == 0, result.stderr
    again = load_mesh(tmp_path / f"out.{target}")
    assert again.unit == ("mm" if target == "stl" else "m")
    again = again.in_unit("m")
    np.testing.assert_allclose(
        again.vertices[again.triangles], mesh.vertices[mesh.triangles], atol=5e-8
    )
    if "stl" not in (source, target):
        np.testing.assert_array_equal(again.triangles, mesh.triangles)
        np.testing.assert_allclose(again.uv, mesh.uv, atol=1e-6)


def test_texture_and_licence_go_along_and_the_files_are_named_on_stdout(tmp_path, glb):
    result = export(glb, "-o", tmp_path / "out.obj")
    names = ["out.obj", "out.png", "out.mtl"]
    assert result.stdout.splitlines() == [str(tmp_path / name) for name in names]
    assert result.stderr == ".obj does not hold: 2 blendshapes\n"
    np.testing.assert_array_equal(load_mesh(tmp_path / "out.obj").texture, face_mesh().texture)
    assert load_provenance(tmp_path / "out.obj") == {"licence": "CC BY 4.0"}


def test_nothing_is_said_when_nothing_is_lost(tmp_path, glb):
    result = export(glb, "-o", tmp_path / "out.glb")
    assert result.exit_code == 0
    assert result.stderr == ""
    before, after = load_mesh(glb), load_mesh(tmp_path / "out.glb")
    np.testing.assert_array_equal(after.vertices, before.vertices)
    np.testing.assert_array_equal(after.triangles, before.triangles)
    np.testing.assert_array_equal(after.texture, before.texture)
    assert after.blendshapes.keys() == before.blendshapes.keys()
    for name, delta in before.blendshapes.items():
        np.testing.assert_array_equal(after.blendshapes[name], delta)


def test_vertex_colours_survive_the_tour_through_all_formats_that_hold_them(tmp_path):
    mesh = replace(face_mesh(), texture=None, vertex_colors=random_colors(face_mesh()))
    path = save_mesh(mesh, tmp_path / "0.ply")[0]
    for step, suffix in enumerate(["obj", "glb", "ply"], start=1):
        following = tmp_path / f"{step}.{suffix}"
        assert export(path, "-o", following).exit_code == 0
        path = following
    np.testing.assert_array_equal(load_mesh(path).vertex_colors, mesh.vertex_colors)


def test_for_blender_turns_a_ply_to_z_up(tmp_path, glb):
    assert export(glb, "-o", tmp_path / "out.ply", "--for", "blender").exit_code == 0
    x, y, z = face_mesh().vertices.T
    seen = trimesh.load(tmp_path / "out.ply", process=False).vertices
    np.testing.assert_allclose(seen, np.stack([x, -z, y], axis=1), atol=1e-7)


def test_unit_and_up_can_be_chosen(tmp_path, glb):
    assert export(glb, "-o", tmp_path / "out.obj", "--unit", "cm", "--up", "z").exit_code == 0
    x, y, z = 100 * face_mesh().vertices.T
    seen = trimesh.load(tmp_path / "out.obj", process=False).vertices
    np.testing.assert_allclose(seen, np.stack([x, -z, y], axis=1), atol=1e-5)


def test_jpeg_textures(tmp_path, glb):
    assert export(glb, "-o", tmp_path / "out.glb", "--texture", "jpeg").exit_code == 0
    assert b"image/jpeg" in (tmp_path / "out.glb").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["in.glb", "-o", "out.fbx"], 2, "expected a mesh file name"),
        (["in.jpg", "-o", "out.glb"], 2, "expected a mesh file name"),
        (["in.glb", "-o", "out.glb", "--up", "z"], 2, "up z"),
        (["in.glb", "-o", "out.glb", "--unit", "inch"], 2, "inch"),
        (["none.glb", "-o", "out.glb"], 3, "cannot read mesh"),
        (["broken.glb", "-o", "out.obj"], 3, "expected a valid GLB"),
        (["in.glb", "-o", "folder.obj"], 5, "folder"),
    ],
)
def test_failures_have_their_exit_code_one_line_and_leave_nothing(
    tmp_path, glb, monkeypatch, arguments, code, words
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "broken.glb").write_bytes(glb.read_bytes()[:-7])
    (tmp_path / "folder.obj").mkdir()
    before = sorted(tmp_path.iterdir())
    result = export(*arguments)
    assert result.exit_code == code
    assert words in result.stderr
    assert result.stdout == ""
    assert sorted(tmp_path.iterdir()) == before
