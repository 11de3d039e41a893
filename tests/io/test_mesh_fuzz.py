"""Damaged mesh files of every kind are read or refused in one line; nothing else ever happens."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from face3d_cli.errors import UnreadableInput
from face3d_cli.io.mesh import load_mesh, load_provenance, save_mesh
from tests.helpers.face_mesh import face_mesh, random_colors

QUICK = settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
EDITS = st.lists(
    st.tuples(st.floats(0, 1), st.binary(max_size=6), st.integers(0, 6)), min_size=1, max_size=4
)


@pytest.fixture(scope="module", params=["obj", "mtl", "ply", "stl", "glb", "plain.glb"])
def sound_file(request, tmp_path_factory):
    """A small file of each kind, its folder, and the mesh file to load."""
    folder = tmp_path_factory.mktemp("sound")
    mesh = face_mesh(5, 6, texture_px=8)
    if request.param == "plain.glb":
        mesh = replace(mesh, texture=None, vertex_colors=random_colors(mesh))
    suffix = "obj" if request.param == "mtl" else request.param.split(".")[-1]
    path = save_mesh(mesh, folder / f"face.{suffix}", provenance={"licence": "CC0"})[0]
    return path.with_suffix(".mtl") if request.param == "mtl" else path, path


def damaged(data: bytes, edits: list[tuple[float, bytes, int]]) -> bytes:
    """Replace `removed` bytes at a relative position by others, once per edit."""
    for where, inserted, removed in edits:
        at = int(where * len(data))
        data = data[:at] + inserted + data[at + removed :]
    return data


def is_read_or_refused(path) -> None:
    try:
        mesh = load_mesh(path)
    except UnreadableInput as refusal:
        message = str(refusal)
    else:
        message = ""
        assert mesh.triangles.min() >= 0
        assert mesh.triangles.max() < len(mesh.vertices)
        assert np.isfinite(mesh.vertices).all()
        load_provenance(path)
    assert "\n" not in message


@given(edits=EDITS)
@QUICK
def test_edited_bytes(sound_file, edits):
    target, path = sound_file
    sound = target.read_bytes()
    try:
        target.write_bytes(damaged(sound, edits))
        is_read_or_refused(path)
    finally:
        target.write_bytes(sound)


@given(cut=st.floats(0, 1))
@QUICK
def test_truncated_files(sound_file, cut):
    target, path = sound_file
    sound = target.read_bytes()
    try:
        target.write_bytes(sound[: int(cut * (len(sound) - 1))])
        is_read_or_refused(path)
    finally:
        target.write_bytes(sound)


@given(data=st.binary(max_size=300))
@QUICK
@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "glb"])
def test_arbitrary_bytes(tmp_path, suffix, data):
    path = tmp_path / f"face.{suffix}"
    head = {"ply": b"ply\nformat binary_little_endian 1.0\n", "glb": b"glTF\2\0\0\0"}
    for content in (data, head.get(suffix, b"") + data):
        path.write_bytes(content)
        is_read_or_refused(path)
