"""The sample photo, reconstructed and brought into Blender."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest


@pytest.mark.blender
@pytest.mark.skipif(
    not os.environ.get("FACE3D_BPY_PYTHON"), reason="FACE3D_BPY_PYTHON names no Python with bpy"
)
def test_a_reconstructed_photo_arrives_upright_at_real_size_with_its_texture_and_shape_keys(
    sample_photo, surrey, tmp_path
):
    from face3d_cli.pipeline.single import reconstruct

    result = reconstruct(sample_photo)
    files = [result.save(tmp_path / f"my face.{suffix}")[0].mesh for suffix in ("glb", "obj")]
    facts = tmp_path / "facts.json"
    script = str(Path(__file__).with_name("describe.py"))
    command = [os.environ["FACE3D_BPY_PYTHON"], script, str(facts), *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    mesh = result.faces[0].mesh
    for objects in json.loads(facts.read_text()).values():
        (face,) = objects
        points = np.array(face["points"])
        assert points.shape == (3448, 3)
        width, depth, height = np.ptp(points, axis=0)
        assert 0.12 < width < 0.18
        assert 0.15 < height < 0.22
        assert depth < width < height
        nose = points[points[:, 1].argmin()]
        assert abs(nose[0]) < 0.01  # in the middle, in front, below the eyes
        assert -0.07 < nose[2] < -0.02
        (material,) = face["materials"]
        assert material["image"]["size"] == list(mesh.texture.shape[:2])
        assert face["uv_layers"] == ["UVMap"]
        assert face["smooth"]
    shape_keys = json.loads(facts.read_text())[str(files[0])][0]["shape_keys"]
    names = ["anger", "disgust", "fear", "happiness", "sadness", "surprise"]
    assert list(shape_keys) == ["Basis", *names]
    assert all(
        shape_keys[name]["value"] == 0 and shape_keys[name]["moved"] > 0.001 for name in names
    )
