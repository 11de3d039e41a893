"""OBJ, MTL and PNG as other programs need them; foreign and hostile OBJ files."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

from face3d_cli.core.mesh import vertex_normals
from face3d_cli.errors import OutputError, UnreadableInput
from face3d_cli.io.image import save_png
from face3d_cli.io.mesh import load_mesh, save_mesh
from face3d_cli.io.obj import safe_stem
from tests.helpers.face_mesh import face_mesh, lettered_texture, random_colors


def rows_of(path, keyword):
    lines = path.read_text().splitlines()
    return [line.split()[1:] for line in lines if line.split()[:1] == [keyword]]


def test_material_and_texture_have_bare_names_and_a_matt_surface(tmp_path):
    written = save_mesh(face_mesh(), tmp_path / "face.obj")
    assert [path.name for path in written] == ["face.obj", "face.png", "face.mtl"]
    assert rows_of(written[0], "mtllib") == [["face.mtl"]]
    material = written[2].read_text().splitlines()
    for line in ("illum 1", "Ks 0 0 0", "Ns 0", "map_Kd face.png"):
        assert line in material


def test_every_corner_uses_one_index_and_the_shading_is_smooth(tmp_path):
    mesh = face_mesh()
    path = save_mesh(mesh, tmp_path / "face.obj")[0]
    assert rows_of(path, "s") == [["1"]]
    corners = np.array([[corner.split("/") for corner in row] for row in rows_of(path, "f")], int)
    assert corners.shape == (len(mesh.triangles), 3, 3)
    for column in range(3):
        np.testing.assert_array_equal(corners[..., column], mesh.triangles + 1)
    normals = np.array(rows_of(path, "vn"), float)
    expected = vertex_normals(mesh.vertices, mesh.triangles)
    np.testing.assert_allclose(normals, expected, atol=1e-6)


def test_coordinates_have_seven_significant_digits(tmp_path):
    mesh = replace(face_mesh(), vertices=np.tile([1.2345678, 0.0001234567, 123456.7], (768, 1)))
    path = save_mesh(mesh, tmp_path / "face.obj")[0]
    assert rows_of(path, "v")[0] == ["1.234568", "0.0001234567", "123456.7"]


def test_vertex_colors_are_written_only_without_a_texture(tmp_path):
    mesh = replace(face_mesh(), vertex_colors=random_colors(face_mesh()))
    assert len(rows_of(save_mesh(mesh, tmp_path / "a.obj")[0], "v")[0]) == 3
    plain = save_mesh(replace(mesh, texture=None), tmp_path / "b.obj")
    assert [path.name for path in plain] == ["b.obj"]
    assert len(rows_of(plain[0], "v")[0]) == 6
    assert not rows_of(plain[0], "usemtl")


def test_every_colour_level_survives_readers_that_round_and_readers_that_cut_off(tmp_path):
    mesh = replace(face_mesh(), texture=None, vertex_colors=random_colors(face_mesh()))
    rows = rows_of(save_mesh(mesh, tmp_path / "a.obj")[0], "v")
    fractions = np.array(rows, np.float32)[:, 3:]
    assert fractions.max() == 1
    for precision in (np.float32, np.float64):
        scaled = fractions.astype(precision) * 255
        np.testing.assert_array_equal(np.rint(scaled), mesh.vertex_colors)
        np.testing.assert_array_equal(np.floor(scaled), mesh.vertex_colors)


@pytest.mark.parametrize(
    "stem", ["my face", "face (1) [x]", "顔", "-dash", "#1", "..", "a;b", "quote'", 'q"', "ü" * 80]
)
def test_names_inside_the_files_are_plain_while_the_obj_keeps_its_own(tmp_path, stem):
    path = save_mesh(face_mesh(), tmp_path / f"{stem}.obj")[0]
    assert path.name == f"{stem}.obj"
    material_name = rows_of(path, "mtllib")[0]
    assert len(material_name) == 1
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.mtl", material_name[0])
    picture_name = rows_of(tmp_path / material_name[0], "map_Kd")[0]
    assert re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\.png", picture_name[0])
    np.testing.assert_array_equal(load_mesh(path).texture, face_mesh().texture)


def test_names_that_look_alike_never_share_a_texture():
    stems = ["face 1", "face_1", "face (1)", "face  1", "face-1"]
    assert len({safe_stem(stem) for stem in stems}) == len(stems)
    assert safe_stem("face_1") == "face_1"


def test_a_photo_of_the_same_name_is_not_overwritten(tmp_path):
    photo = tmp_path / "face.png"
    save_png(photo, lettered_texture(64))
    before = photo.read_bytes()
    for _ in range(2):  # a second run overwrites its own texture only
        written = save_mesh(face_mesh(), tmp_path / "face.obj")
        assert written[1].name == "face_texture.png"
        assert photo.read_bytes() == before
    np.testing.assert_array_equal(load_mesh(written[0]).texture, face_mesh().texture)


def test_a_second_run_replaces_its_own_texture(tmp_path):
    save_mesh(face_mesh(), tmp_path / "face.obj")
    written = save_mesh(face_mesh(texture_px=64), tmp_path / "face.obj")
    assert written[1].name == "face.png"
    assert load_mesh(written[0]).texture.shape == (64, 64, 3)


def test_no_free_name_for_the_texture_is_an_error(tmp_path):
    for name in ("face.png", "face_texture.png"):
        save_png(tmp_path / name, lettered_texture(16))
    with pytest.raises(OutputError, match="belong to something else"):
        save_mesh(face_mesh(), tmp_path / "face.obj")
    assert not (tmp_path / "face.obj").exists()


def write(tmp_path, text):
    path = tmp_path / "foreign.obj"
    path.write_bytes(text.encode())
    return path


TRIANGLE = "v 0 0 0\nv 1 0 0\nv 0 1 0\n"


def test_polygons_negative_indices_and_continued_lines(tmp_path):
    mesh = load_mesh(write(tmp_path, TRIANGLE + "v 1 1 0\nf 1 2 4 3\nf -4 \\\n-3 -1 # end\n"))
    assert mesh.triangles.tolist() == [[0, 1, 3], [0, 3, 2], [0, 1, 3]]
    assert mesh.uv is None


def test_windows_line_ends_and_tabs(tmp_path):
    text = TRIANGLE + "f 1 2 \\\n3\n"
    mesh = load_mesh(write(tmp_path, text.replace("\n", "\r\n").replace("v 0", "v\t0")))
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    assert mesh.triangles.tolist() == [[0, 1, 2]]


def test_a_vertex_with_two_uv_is_repeated_at_the_end(tmp_path):
    text = TRIANGLE + "v 1 1 0\n" + "vt 0 0\nvt 1 0\nvt 0 1\nvt .5 .5\nvt .25 .75\n"
    mesh = load_mesh(write(tmp_path, text + "f 1/1 2/2 3/3\nf 2/4 4/5 3/3\n"))
    assert mesh.triangles.tolist() == [[0, 1, 2], [4, 3, 2]]
    np.testing.assert_array_equal(mesh.vertices[4], mesh.vertices[1])
    assert mesh.uv.tolist() == [[0, 0], [1, 0], [0, 1], [0.25, 0.75], [0.5, 0.5]]


def test_texture_coordinates_in_another_order_reach_their_vertices(tmp_path):
    text = TRIANGLE + "vt .3 .3\nvt .1 .1\nvt .2 .2\nf 1/2 2/3 3/1\n"
    assert load_mesh(write(tmp_path, text)).uv.tolist() == [[0.1, 0.1], [0.2, 0.2], [0.3, 0.3]]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "v 0 0 0\n",
        TRIANGLE,
        TRIANGLE + "f 1 2\n",
        TRIANGLE + "f 1 2 4\n",
        TRIANGLE + "f 0 1 2\n",
        TRIANGLE + "f 1 2 -4\n",
        TRIANGLE + "f 1 2 x\n",
        TRIANGLE + "f 1/1 2/1 3/1\n",
        TRIANGLE + "f 1 2 99999999999999999999\n",
        "v 0 0\nv 1 0\nv 0 1\nf 1 2 3\n",
        "v 0 0 nan\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        "v 0 0 zero\nv 1 0 0\nv 0 1 0\nf 1 2 3\n",
        TRIANGLE + "vt 0\nf 1/1 2/1 3/1\n",
    ],
)
def test_a_broken_obj_is_unreadable(tmp_path, text):
    with pytest.raises(UnreadableInput, match=r"foreign\.obj"):
        load_mesh(write(tmp_path, text))


TEXTURED = TRIANGLE + "vt 0 0\nvt 1 0\nvt 0 1\nusemtl m\nf 1/1 2/2 3/3\n"


@pytest.mark.parametrize("name", ["../secret.png", "{outside}/secret.png", "sub/../../secret.png"])
def test_a_texture_outside_the_folder_is_never_read(tmp_path, name):
    folder = tmp_path / "inside"
    folder.mkdir()
    save_png(tmp_path / "secret.png", lettered_texture(16))
    (folder / "m.mtl").write_text(f"newmtl m\nmap_Kd {name.format(outside=tmp_path)}\n")
    path = write(folder, "mtllib m.mtl\n" + TEXTURED)
    with pytest.raises(UnreadableInput, match="not in its folder"):
        load_mesh(path)
    save_png(folder / "secret.png", lettered_texture(32))  # moved beside the OBJ: found by its name
    assert load_mesh(path).texture.shape == (32, 32, 3)


def test_a_link_out_of_the_folder_is_not_followed(tmp_path):
    folder = tmp_path / "inside"
    folder.mkdir()
    save_png(tmp_path / "secret.png", lettered_texture(16))
    (folder / "face.png").symlink_to(tmp_path / "secret.png")
    (folder / "m.mtl").write_text("newmtl m\nmap_Kd face.png\n")
    with pytest.raises(UnreadableInput, match="not in its folder"):
        load_mesh(write(folder, "mtllib m.mtl\n" + TEXTURED))


def test_a_missing_material_file_is_said(tmp_path):
    with pytest.raises(UnreadableInput, match=r"gone\.mtl"):
        load_mesh(write(tmp_path, "mtllib gone.mtl\n" + TEXTURED))


def test_map_options_and_spaces_in_texture_names_are_understood(tmp_path):
    save_png(tmp_path / "my face.png", lettered_texture(16))
    (tmp_path / "m.mtl").write_text("newmtl m\nmap_Kd -s 1 1 1 -clamp on my face.png\n")
    assert load_mesh(write(tmp_path, "mtllib m.mtl\n" + TEXTURED)).texture.shape == (16, 16, 3)


def test_two_textures_do_not_fit_one_mesh(tmp_path):
    (tmp_path / "m.mtl").write_text("newmtl m\nmap_Kd a.png\nnewmtl n\nmap_Kd b.png\n")
    text = "mtllib m.mtl\n" + TEXTURED + "usemtl n\nf 1/1 3/3 2/2\n"
    with pytest.raises(UnreadableInput, match="2 textures"):
        load_mesh(write(tmp_path, text))
