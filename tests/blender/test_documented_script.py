"""The script of docs/blender.md, run as it stands: the picture shows the face the right way up."""

from __future__ import annotations

import os
import re
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from face3d_cli.io.mesh import save_mesh
from tests.helpers.face_mesh import face_mesh

PAGE = Path(__file__).parents[2] / "docs" / "blender.md"
FOREHEAD, CHIN, LEFT, RIGHT = (200, 40, 40), (40, 60, 200), (40, 160, 70), (220, 200, 40)


@pytest.mark.blender
@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("FACE3D_BPY_PYTHON"), reason="FACE3D_BPY_PYTHON names no Python with bpy"
)
def test_the_rendered_front_shows_forehead_chin_left_and_right_where_they_belong(tmp_path):
    code = re.search(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert code is not None
    (tmp_path / "front.py").write_text(code[1])
    save_mesh(replace(face_mesh(name="ann"), unit="m"), tmp_path / "face.glb")
    command = [os.environ["FACE3D_BPY_PYTHON"], "front.py", "face.glb", "front.png"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "shape keys: ['Basis', 'jaw open', 'Lächeln']" in run.stdout
    assert "size in metres: [0.154, 0.094, 0.22]" in run.stdout
    picture = cv2.imread(str(tmp_path / "front.png"), cv2.IMREAD_UNCHANGED)
    covered = np.argwhere(picture[..., 3] > 250)
    assert len(covered) > 0.2 * picture.shape[0] ** 2
    (top, left), (bottom, right) = covered.min(axis=0), covered.max(axis=0)
    middle_row, middle_column = (top + bottom) // 2, (left + right) // 2
    seen = {
        FOREHEAD: picture[top + 12, middle_column],
        CHIN: picture[bottom - 12, middle_column],
        LEFT: picture[middle_row, right - 8],  # the subject's left is on our right
        RIGHT: picture[middle_row, left + 8],
    }
    for color, bgra in seen.items():
        direction = np.array(color) / np.linalg.norm(color)
        got = bgra[2::-1].astype(float)
        assert direction @ got / np.linalg.norm(got) > 0.96, (color, bgra)


@pytest.mark.blender
@pytest.mark.skipif(
    not os.environ.get("FACE3D_BPY_PYTHON"), reason="FACE3D_BPY_PYTHON names no Python with bpy"
)
def test_a_folder_becomes_one_blend_file(tmp_path):
    (code,) = [
        block
        for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
        if "save_as_mainfile" in block
    ]
    (tmp_path / "gather.py").write_text(code)
    for name in ("ann", "bob"):
        mesh = replace(face_mesh(name=name), unit="m")
        save_mesh(mesh, tmp_path / "meshes" / f"{name}.glb")
    command = [os.environ["FACE3D_BPY_PYTHON"], "gather.py", "meshes", "faces.blend"]
    run = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert "ann.glb objects: 1 shape keys: 2" in run.stdout
    assert "bob.glb objects: 1 shape keys: 2" in run.stdout
    assert (tmp_path / "faces.blend").stat().st_size > 10_000
