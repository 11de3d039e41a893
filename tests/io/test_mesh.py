"""One mesh through every format and back, and through trimesh as an independent reader."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import trimesh

from face3d_cli.core.mesh import Mesh
from face3d_cli.errors import OutputError, UnreadableInput, UsageError
from face3d_cli.io.mesh import load_mesh, load_provenance, lost_in, save_mesh
from tests.helpers.face_mesh import face_mesh, random_colors

FORMATS_WITH_ORDER = ("obj", "ply", "glb")
PROVENANCE = {
    "licence": "CC BY 4.0: some one",
    "photo": "my face (1) 顔.jpg",
    "version": "1.0",
    "pose": {"yaw_deg": -3.5},
    "note": "two\nlines",
}


def coloured(mesh: Mesh) -> Mesh:
    return replace(mesh, texture=None, vertex_colors=random_colors(mesh))


def with_unreferenced_vertices(mesh: Mesh) -> Mesh:
    """Take the triangles around the first, a middle and the last vertex away."""
    alone = [0, 300, len(mesh.vertices) - 1]
    return replace(mesh, triangles=mesh.triangles[~np.isin(mesh.triangles, alone).any(axis=1)])


@pytest.mark.parametrize("suffix", FORMATS_WITH_ORDER)
@pytest.mark.parametrize("change", [lambda m: m, coloured, with_unreferenced_vertices])
def test_a_saved_mesh_loads_as_it_was(tmp_path, suffix, change):
    mesh = change(face_mesh())
    path = tmp_path / f"face.{suffix}"
    save_mesh(mesh, path)
    again = load_mesh(path)
    np.testing.assert_allclose(again.vertices, mesh.vertices, atol=3e-8)
    np.testing.assert_array_equal(again.triangles, mesh.triangles)
    np.testing.assert_allclose(again.uv, mesh.uv, atol=1e-6)
    assert again.unit == "m"
    assert again.name == "face"
    if mesh.vertex_colors is not None:
        np.testing.assert_array_equal(again.vertex_colors, mesh.vertex_colors)
    if mesh.texture is not None and suffix != "ply":
        np.testing.assert_array_equal(again.texture, mesh.texture)
    if suffix == "glb":
        assert list(again.blendshapes) == list(mesh.blendshapes)
        for name, delta in mesh.blendshapes.items():
            np.testing.assert_allclose(again.blendshapes[name], delta, atol=3e-9)


@pytest.mark.parametrize("suffix", FORMATS_WITH_ORDER)
def test_trimesh_reads_the_same_geometry(tmp_path, suffix):
    mesh = face_mesh()
    save_mesh(mesh, tmp_path / f"face.{suffix}")
    seen = trimesh.load(tmp_path / f"face.{suffix}", process=False, force="mesh")
    np.testing.assert_allclose(seen.vertices, mesh.vertices, atol=3e-8)
    np.testing.assert_array_equal(seen.faces, mesh.triangles)


@pytest.mark.parametrize("suffix", ["obj", "glb"])
def test_trimesh_finds_uv_and_texture(tmp_path, suffix):
    mesh = face_mesh()
    save_mesh(mesh, tmp_path / f"face.{suffix}")
    seen = trimesh.load(tmp_path / f"face.{suffix}", process=False, force="mesh")
    np.testing.assert_allclose(seen.visual.uv, mesh.uv, atol=1e-6)
    material = seen.visual.material
    picture = material.image if suffix == "obj" else material.baseColorTexture
    np.testing.assert_array_equal(np.asarray(picture.convert("RGB")), mesh.texture)


@pytest.mark.parametrize("suffix", ["obj", "ply"])
def test_trimesh_reads_srgb_vertex_colors(tmp_path, suffix):
    mesh = coloured(face_mesh())
    save_mesh(replace(mesh, uv=None), tmp_path / f"face.{suffix}")
    seen = trimesh.load(tmp_path / f"face.{suffix}", process=False, force="mesh")
    np.testing.assert_array_equal(seen.visual.vertex_colors[:, :3], mesh.vertex_colors)


def test_stl_keeps_the_triangles_in_order_and_in_millimetres(tmp_path):
    mesh = face_mesh()
    save_mesh(mesh, tmp_path / "face.stl")
    seen = trimesh.load(tmp_path / "face.stl", process=False)
    corners = mesh.vertices[mesh.triangles] * 1000
    np.testing.assert_allclose(seen.triangles, corners, atol=1e-5)
    again = load_mesh(tmp_path / "face.stl")
    assert again.unit == "mm"
    assert len(again.vertices) == len(mesh.vertices)  # shared corners found again
    np.testing.assert_allclose(again.vertices[again.triangles], corners, atol=1e-5)


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl"])
def test_z_up_turns_the_face_towards_minus_y(tmp_path, suffix):
    mesh = face_mesh()
    save_mesh(mesh, tmp_path / f"face.{suffix}", up="z", unit="m")
    seen = trimesh.load(tmp_path / f"face.{suffix}", process=False, force="mesh")
    x, y, z = mesh.vertices[mesh.triangles].reshape(-1, 3).T
    got = np.asarray(seen.vertices)[np.asarray(seen.faces)].reshape(-1, 3)
    np.testing.assert_allclose(got, np.stack([x, -z, y], axis=1), atol=3e-8)


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "glb"])
@pytest.mark.parametrize("unit", ["m", "cm", "mm"])
def test_unit_and_axes_of_our_files_are_undone_on_reading(tmp_path, suffix, unit):
    mesh = face_mesh()
    save_mesh(mesh, tmp_path / f"face.{suffix}", unit=unit, up="y" if suffix == "glb" else "z")
    again = load_mesh(tmp_path / f"face.{suffix}")
    assert again.unit == unit
    again = again.in_unit("m")
    np.testing.assert_allclose(
        again.vertices[again.triangles], mesh.vertices[mesh.triangles], atol=3e-8
    )
    if suffix == "glb":
        np.testing.assert_allclose(
            again.blendshapes["jaw open"], mesh.blendshapes["jaw open"], atol=3e-9
        )


@pytest.mark.parametrize("suffix", FORMATS_WITH_ORDER)
def test_provenance_survives(tmp_path, suffix):
    path = tmp_path / f"face.{suffix}"
    save_mesh(face_mesh(), path, provenance=PROVENANCE)
    assert load_provenance(path) == PROVENANCE


def test_each_format_says_what_it_loses():
    mesh = face_mesh()
    assert lost_in(mesh, "a.glb") == []
    assert lost_in(mesh, "a.obj") == ["2 blendshapes"]
    assert lost_in(mesh, "a.ply") == [
        "the texture (its colours are kept per vertex)",
        "2 blendshapes",
    ]
    assert lost_in(mesh, "a.stl") == [
        "the texture",
        "texture coordinates",
        "2 blendshapes",
        "vertex order, licence and origin",
    ]
    both = replace(mesh, vertex_colors=random_colors(mesh))
    assert lost_in(both, "a.glb") == ["vertex colours (the texture replaces them)"]
    assert lost_in(both, "a.ply") == ["the texture", "2 blendshapes"]


@pytest.mark.parametrize("call", [load_mesh, lambda path: save_mesh(face_mesh(), path)])
@pytest.mark.parametrize("name", ["face.fbx", "face", "face.obj.txt"])
def test_unknown_suffix_is_a_usage_error(tmp_path, call, name):
    with pytest.raises(UsageError, match="expected a mesh file name"):
        call(tmp_path / name)


def test_a_glb_with_z_up_is_refused(tmp_path):
    with pytest.raises(UsageError, match="up z"):
        save_mesh(face_mesh(), tmp_path / "face.glb", up="z")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "glb"])
def test_missing_file_and_folder_are_unreadable(tmp_path, suffix):
    with pytest.raises(UnreadableInput, match="cannot read mesh"):
        load_mesh(tmp_path / f"none.{suffix}")
    (tmp_path / f"folder.{suffix}").mkdir()
    with pytest.raises(UnreadableInput, match="cannot read mesh"):
        load_mesh(tmp_path / f"folder.{suffix}")


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "glb"])
@pytest.mark.parametrize(
    ("broken", "found"),
    [
        (lambda m: replace(m, triangles=m.triangles[:0]), "no triangles"),
        (lambda m: replace(m, triangles=m.triangles + 1), "beyond the last vertex"),
        (lambda m: replace(m, triangles=m.triangles - 1), "beyond the last vertex"),
        (lambda m: replace(m, vertices=m.vertices * np.nan), "not finite"),
        (lambda m: replace(m, uv=m.uv + np.inf), "not finite"),
        (lambda m: replace(m, uv=None), "without texture coordinates"),
    ],
)
def test_a_broken_mesh_is_never_written(tmp_path, suffix, broken, found):
    mesh = broken(face_mesh())
    with pytest.raises(OutputError, match=found):
        save_mesh(mesh, tmp_path / f"face.{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", ["obj", "ply", "stl", "glb"])
def test_wide_characters_spaces_and_brackets_in_names(tmp_path, suffix):
    mesh = face_mesh()
    path: Path = tmp_path / "my dir [x]" / f"顔 (1) ü.{suffix}"
    written = save_mesh(mesh, path)
    assert written[0] == path
    assert all(file.is_file() for file in written)
    assert sorted(path.parent.iterdir()) == sorted(written)
    assert len(load_mesh(path).triangles) == len(mesh.triangles)
