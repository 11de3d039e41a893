"""A head made of the sample photo, brought into Blender: shape keys, eyes, texture, size."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest

from face3d_cli.settings import ReconstructSettings


@pytest.mark.blender
@pytest.mark.skipif(
    not os.environ.get("FACE3D_BPY_PYTHON"), reason="FACE3D_BPY_PYTHON names no Python with bpy"
)
def test_a_head_arrives_upright_at_real_size_with_53_shape_keys_and_eyes_that_turn(
    sample_photo, ict, tmp_path
):
    from face3d_cli.pipeline.single import reconstruct

    result = reconstruct(sample_photo, ReconstructSettings(method="ict"))
    files = [result.save(tmp_path / f"head.{suffix}")[0].mesh for suffix in ("glb", "obj")]
    files.append(result.save(tmp_path / "head.ply", for_blender=True)[0].mesh)
    facts = tmp_path / "facts.json"
    script = str(Path(__file__).with_name("describe.py"))
    command = [os.environ["FACE3D_BPY_PYTHON"], script, str(facts), *map(str, files)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    found = json.loads(facts.read_text())
    for file, objects in found.items():
        points = np.concatenate([each["points"] for each in objects])
        height = np.ptp(points[:, 2])
        assert 0.20 < height < 0.35, file
        nose = points[np.abs(points[:, 0]) < 0.01]
        nose = nose[nose[:, 1].argmin()]
        assert -0.07 < nose[2] < 0.0, file  # in front, a little below the eyes
        assert all(each["smooth"] for each in objects)
        if not file.endswith(".ply"):
            for each in objects:
                assert each["materials"][0]["image"]["has_data"]
                assert each["materials"][0]["image"]["color_space"] == "sRGB"
    objects = {each["name"]: each for each in found[str(files[0])]}
    assert set(objects) == {"head_head", "head_eye_left", "head_eye_right"}
    keys = objects["head_head"]["shape_keys"]
    assert len(keys) == 54  # with the basis
    fitted = result.faces[0].coefficients["expression"]
    for name, key in keys.items():
        assert 0 <= key["value"] <= 1
        if name != "Basis" and not name.startswith("eyeLook"):
            assert 0.0005 < key["moved"] < 0.08, name
            if not name.startswith("eyeBlink"):  # these close this person's lids at 1
                assert key["value"] == pytest.approx(fitted[name], abs=1e-4)
    for side, sign in (("left", 1), ("right", -1)):
        eye = np.array(objects[f"head_eye_{side}"]["points"])
        middle = (eye.min(axis=0) + eye.max(axis=0)) / 2
        assert 0.02 < sign * middle[0] < 0.045
        assert np.linalg.norm(eye - middle, axis=1).max() < 0.02
        assert "eyeLookUp_" + side[0].upper() in objects[f"head_eye_{side}"]["shape_keys"]
