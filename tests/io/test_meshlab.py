"""MeshLab's own readers on our files; FACE3D_PYMESHLAB_PYTHON names a Python with pymeshlab."""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace

import numpy as np
import pytest

from face3d_cli.io.mesh import save_mesh
from tests.helpers.face_mesh import face_mesh, random_colors

pytestmark = pytest.mark.skipif(
    not os.environ.get("FACE3D_PYMESHLAB_PYTHON"),
    reason="FACE3D_PYMESHLAB_PYTHON names no Python with pymeshlab",
)
DESCRIBE = """
import json, sys, pymeshlab
facts = {}
for name in sys.argv[1:]:
    meshes = pymeshlab.MeshSet()
    meshes.load_new_mesh(name)
    mesh = meshes.current_mesh()
    facts[name.rpartition(".")[2]] = {
        "points": mesh.vertex_matrix().tolist(),
        "triangles": mesh.face_matrix().tolist(),
        "colors": mesh.vertex_color_matrix().tolist() if mesh.has_vertex_color() else None,
        "uv": mesh.wedge_tex_coord_matrix().tolist() if mesh.has_wedge_tex_coord() else None,
        "textures": [[t.width(), t.height()] for t in mesh.textures().values()],
    }
print("FACTS" + json.dumps(facts))
"""


def opened(paths):
    command = [os.environ["FACE3D_PYMESHLAB_PYTHON"], "-c", DESCRIBE, *map(str, paths)]
    environment = {**os.environ, "QT_QPA_PLATFORM": "offscreen"}
    run = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-2000:]
    return json.loads(run.stdout.rpartition("FACTS")[2])


def test_geometry_uv_and_texture(tmp_path):
    mesh = face_mesh()
    stem = "my face [1]"
    paths = [save_mesh(mesh, tmp_path / f"{stem}.{suffix}")[0] for suffix in ("obj", "ply", "glb")]
    facts = opened(paths)
    for suffix in ("obj", "ply", "glb"):
        np.testing.assert_allclose(facts[suffix]["points"], mesh.vertices, atol=1e-7)
        np.testing.assert_array_equal(facts[suffix]["triangles"], mesh.triangles)
    for suffix in ("obj", "glb"):
        uv = np.array(facts[suffix]["uv"]).reshape(-1, 2)
        np.testing.assert_allclose(uv, mesh.uv[mesh.triangles.ravel()], atol=1e-6)
        assert facts[suffix]["textures"] == [[256, 256]]


def test_vertex_colours_level_by_level(tmp_path):
    mesh = replace(face_mesh(), texture=None, vertex_colors=random_colors(face_mesh()))
    paths = [save_mesh(mesh, tmp_path / f"a.{suffix}")[0] for suffix in ("obj", "ply")]
    for facts in opened(paths).values():
        colors = np.rint(np.array(facts["colors"])[:, :3] * 255)
        np.testing.assert_array_equal(colors, mesh.vertex_colors)


def test_stl_in_millimetres(tmp_path):
    mesh = face_mesh()
    facts = opened(save_mesh(mesh, tmp_path / "a.stl"))["stl"]
    corners = np.array(facts["points"])[np.array(facts["triangles"])]
    np.testing.assert_allclose(corners, 1000 * mesh.vertices[mesh.triangles], atol=1e-4)
