"""PLY byte for byte, colours from a texture; foreign and hostile PLY files."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from face3d_cli.core.mesh import vertex_normals
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.mesh import load_mesh, save_mesh
from face3d_cli.io.ply import colors_from_texture
from tests.helpers.face_mesh import face_mesh, random_colors


def test_the_header_names_what_blender_and_meshlab_look_for(tmp_path):
    mesh = replace(face_mesh(), texture=None, vertex_colors=random_colors(face_mesh()))
    data = save_mesh(mesh, tmp_path / "face.ply")[0].read_bytes()
    header, _, body = data.partition(b"end_header\n")
    lines = header.decode("ascii").splitlines()
    assert lines[:2] == ["ply", "format binary_little_endian 1.0"]
    assert lines[3:] == [
        "element vertex 768",
        *(f"property float {name}" for name in ["x", "y", "z", "nx", "ny", "nz", "s", "t"]),
        *(f"property uchar {name}" for name in ["red", "green", "blue"]),
        "element face 1426",
        "property list uchar int vertex_indices",
    ]
    row = np.dtype([("floats", "<f4", 8), ("colors", "u1", 3)])
    rows = np.frombuffer(body, row, 768)
    np.testing.assert_array_equal(rows["colors"], mesh.vertex_colors)
    np.testing.assert_allclose(
        rows["floats"][:, 3:6], vertex_normals(mesh.vertices, mesh.triangles), atol=1e-6
    )
    assert len(body) == 768 * 35 + 1426 * 13


def test_texture_colours_are_sampled_at_texel_centres():
    texture = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3) * 10
    u, v = np.meshgrid((np.arange(3) + 0.5) / 3, 1 - (np.arange(2) + 0.5) / 2)
    exact = colors_from_texture(np.stack([u.ravel(), v.ravel()], 1), texture)
    np.testing.assert_array_equal(exact, texture.reshape(-1, 3))
    corners = np.array([[0.0, 1.0], [1.0, 0.0], [-5.0, 9.0]])
    np.testing.assert_array_equal(
        colors_from_texture(corners, texture), [texture[0, 0], texture[1, 2], texture[0, 0]]
    )
    middle = colors_from_texture(np.array([[1 / 3, 0.5]]), texture)
    np.testing.assert_array_equal(middle[0], texture[:, :2].reshape(-1, 3).mean(axis=0))


def test_without_vertex_colours_the_texture_gives_them(tmp_path):
    mesh = face_mesh()
    save_mesh(mesh, tmp_path / "face.ply")
    np.testing.assert_array_equal(
        load_mesh(tmp_path / "face.ply").vertex_colors, colors_from_texture(mesh.uv, mesh.texture)
    )


ASCII = """ply
format ascii 1.0
comment made elsewhere
element vertex 4
property float x
property float y
property float z
property uchar red
property uchar green
property uchar blue
element face 1
property list uchar int vertex_indices
end_header
0 0 0 255 0 0
1 0 0 0 255 0
1 1 0 0 0 255
0 1 0 1 2 3
4 0 1 2 3
"""


def write(tmp_path, content):
    path = tmp_path / "foreign.ply"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_a_text_ply_with_a_quad(tmp_path):
    mesh = load_mesh(write(tmp_path, ASCII))
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.vertex_colors.tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [1, 2, 3]]


@pytest.mark.parametrize(("order", "name"), [("<", "little"), (">", "big")])
def test_binary_quads_and_float_colours_in_both_byte_orders(tmp_path, order, name):
    kinds = [("p", order + "f8", 3), ("c", order + "f4", 3)]
    vertices = np.zeros(4, kinds)
    vertices["p"] = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    vertices["c"] = [[1, 0, 0], [0, 0.5, 0], [0, 0, 2], [0, 0, 0]]
    faces = b"\4" + np.array([0, 1, 2, 3], order + "u2").tobytes()
    faces += b"\3" + np.array([0, 1, 2], order + "u2").tobytes()
    header = (
        f"ply\nformat binary_{name}_endian 1.0\nelement vertex 4\n"
        + "".join(f"property double {axis}\n" for axis in "xyz")
        + "".join(f"property float {color}\n" for color in ("red", "green", "blue"))
        + "element face 2\nproperty list uchar ushort vertex_index\nend_header\n"
    )
    mesh = load_mesh(write(tmp_path, header.encode() + vertices.tobytes() + faces))
    assert mesh.triangles.tolist() == [[0, 1, 2], [0, 2, 3], [0, 1, 2]]
    assert mesh.vertices.tolist() == vertices["p"].tolist()
    assert mesh.vertex_colors.tolist() == [[255, 0, 0], [0, 128, 0], [0, 0, 255], [0, 0, 0]]


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("ply\n", "plx\n"),
        ("end_header", "end_heade"),
        ("format ascii 1.0\n", ""),
        ("format ascii", "format utf8"),
        ("vertex 4", "vertex four"),
        ("vertex 4", "vertex -1"),
        ("vertex 4", "vertex 999999999999"),
        ("vertex 4", "vertex 5"),
        ("face 1", "face 2"),
        ("float x", "float w"),
        ("float x", "quad x"),
        ("float y", "float x"),
        ("uchar int vertex_indices", "uchar"),
        ("0 0 0 255 0 0", "nan 0 0 255 0 0"),
        ("0 0 0 255 0 0", "a 0 0 255 0 0"),
        ("4 0 1 2 3", "4 0 1 2 4"),
        ("4 0 1 2 3", "4 0 1 2 -1"),
        ("4 0 1 2 3", "2 0 1"),
        ("4 0 1 2 3", "1e300 0 1 2 3"),
        ("4 0 1 2 3", "4 0 1 2 inf"),
    ],
)
def test_a_broken_ply_is_unreadable(tmp_path, old, new):
    assert old in ASCII
    with pytest.raises(UnreadableInput, match=r"foreign\.ply"):
        load_mesh(write(tmp_path, ASCII.replace(old, new, 1)))


def test_a_truncated_binary_ply_is_unreadable(tmp_path):
    data = save_mesh(face_mesh(), tmp_path / "face.ply")[0].read_bytes()
    for length in (10, 100, len(data) // 2, len(data) - 1):
        with pytest.raises(UnreadableInput, match=r"foreign\.ply"):
            load_mesh(write(tmp_path, data[:length]))
