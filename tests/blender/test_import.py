"""What Blender's own importers, with their defaults, make of our files.

Opt-in: FACE3D_BPY_PYTHON names a Python with `bpy` (docs/blender.md); one Blender run serves all.
"""

from __future__ import annotations

import json
import os
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from face3d_cli.core.mesh import vertex_normals
from face3d_cli.io.mesh import save_mesh
from face3d_cli.io.ply import colors_from_texture
from tests.helpers.face_mesh import face_mesh, random_colors

pytestmark = [
    pytest.mark.blender,
    pytest.mark.skipif(
        not os.environ.get("FACE3D_BPY_PYTHON"), reason="FACE3D_BPY_PYTHON names no Python with bpy"
    ),
]
NAMES = ["plain", "my face", "face (1) [x]", "顔 写真", "Müller", "-dash", "#1", "it's", "a;b&c"]
ALONE = [0, 300, 767]  # vertices that "alone" files leave without a triangle
BLENDER_FILES = ["plain.glb", "plain.obj", "plain.ply", "plain.stl"]


def z_up(points):
    """The head frame as Blender should show it: +Z up, facing -Y."""
    return np.stack([points[:, 0], -points[:, 2], points[:, 1]], axis=1)


@pytest.fixture(scope="module")
def mesh():
    return face_mesh()


@pytest.fixture(scope="module")
def imported(mesh, tmp_path_factory):
    """File name to the objects that Blender made of it."""
    folder = tmp_path_factory.mktemp("blender")
    colored = replace(mesh, texture=None, vertex_colors=random_colors(mesh))
    alone = ~np.isin(mesh.triangles, ALONE).any(axis=1)
    made = {f"{name}.{suffix}": mesh for name in NAMES for suffix in ("obj", "glb")}
    made |= {f"colors.{suffix}": colored for suffix in ("obj", "ply", "glb")}
    made |= {
        f"alone.{suffix}": replace(colored, triangles=mesh.triangles[alone])
        for suffix in ("obj", "ply", "glb")
    }
    made |= {"plain.ply": mesh, "plain.stl": mesh, "lost.obj": mesh}
    made["jpeg.glb"] = mesh
    for name, content in made.items():
        texture_format = "jpeg" if name == "jpeg.glb" else "png"
        save_mesh(content, folder / name, for_blender=True, texture_format=texture_format)
    (folder / "lost.png").unlink()
    facts = folder / "facts.json"
    command = [
        os.environ["FACE3D_BPY_PYTHON"],
        str(Path(__file__).with_name("describe.py")),
        str(facts),
        *(str(folder / name) for name in made),
    ]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-3000:]
    return {Path(name).name: objects for name, objects in json.loads(facts.read_text()).items()}


@pytest.fixture
def arrived(imported, request):
    """The one object of the file the test is about."""
    (thing,) = imported[request.param]
    return thing


def per_file(names):
    return pytest.mark.parametrize("arrived", names, indirect=True)


@per_file(BLENDER_FILES)
def test_the_face_stands_upright_looks_at_the_front_view_and_measures_metres(arrived, mesh):
    points = np.array(arrived["points"])
    expected = z_up(mesh.vertices)
    np.testing.assert_allclose(points.min(axis=0), expected.min(axis=0), atol=1e-6)
    np.testing.assert_allclose(points.max(axis=0), expected.max(axis=0), atol=1e-6)
    nose = points[points[:, 1].argmin()]
    assert abs(nose[0]) < 0.01
    assert arrived["unit_scale"] == 1.0


@per_file(["plain.glb", "plain.obj", "plain.ply", "colors.obj", "colors.ply", "colors.glb"])
def test_vertex_order_winding_and_uv_are_ours(arrived, mesh):
    np.testing.assert_allclose(arrived["points"], z_up(mesh.vertices), atol=1e-6)
    np.testing.assert_array_equal(arrived["triangles"], mesh.triangles)
    assert arrived["uv_layers"] == ["UVMap"]
    uv = [arrived["uv"][str(vertex)] for vertex in range(len(mesh.vertices))]
    np.testing.assert_allclose(uv, mesh.uv, atol=1e-6)


@per_file(["plain.glb", "plain.obj", "plain.ply"])
def test_shading_is_smooth_with_our_normals(arrived, mesh):
    assert arrived["smooth"]
    expected = z_up(vertex_normals(mesh.vertices, mesh.triangles))[arrived["corner_vertices"]]
    cosine = (np.array(arrived["normals"]) * expected).sum(axis=1)
    assert cosine.min() > 0.9999  # Blender stores custom normals in 16 bits


@per_file([f"{name}.{suffix}" for name in NAMES for suffix in ("obj", "glb")] + ["jpeg.glb"])
def test_the_texture_is_linked_and_really_loaded_whatever_the_file_is_called(arrived, mesh):
    (material,) = arrived["materials"]
    assert material["base_color_from"] == "TEX_IMAGE"
    image = material["image"]
    assert image["size"] == list(mesh.texture.shape[:2])
    assert image["has_data"]
    assert image["color_space"] == "sRGB"
    tolerance = 0.02
    np.testing.assert_allclose(image["bottom_left"], mesh.texture[-2, 1] / 255, atol=tolerance)
    np.testing.assert_allclose(image["top_right"], mesh.texture[1, -2] / 255, atol=tolerance)


@per_file(["lost.obj"])
def test_a_lost_texture_would_be_noticed(arrived, mesh):
    image = arrived["materials"][0]["image"]
    assert image is None or image["size"] != list(mesh.texture.shape[:2])


@per_file(["plain.obj", "plain.glb", "colors.glb"])
def test_skin_is_neither_metal_nor_mirror_and_the_inside_is_visible(arrived):
    (material,) = arrived["materials"]
    assert material["metallic"] == 0
    assert material["roughness"] >= 0.599
    assert not material["culls_back"]


@per_file(["plain.glb", "顔 写真.glb"])
def test_shape_keys_carry_their_names_and_rest_at_zero(arrived, mesh):
    keys = arrived["shape_keys"]
    assert list(keys) == ["Basis", *mesh.blendshapes]
    for name, delta in mesh.blendshapes.items():
        assert keys[name]["value"] == 0
        longest = np.linalg.norm(delta, axis=1).max()
        assert keys[name]["moved"] == pytest.approx(longest, abs=1e-6)


@per_file(["plain.glb", "plain.obj"])
def test_the_object_is_called_as_the_mesh(arrived):
    assert arrived["name"] == "face"


@per_file(["colors.obj", "colors.ply", "colors.glb"])
def test_vertex_colors_have_their_srgb_values(arrived, mesh):
    ((_, layer),) = arrived["colors"].items()
    expected = random_colors(mesh)
    if layer["domain"] == "CORNER":
        expected = expected[arrived["corner_vertices"]]
    np.testing.assert_allclose(np.array(layer["srgb"]) * 255, expected, atol=0.1)


@per_file(["plain.ply"])
def test_a_textured_mesh_as_ply_brings_the_colours_of_its_texture(arrived, mesh):
    expected = colors_from_texture(mesh.uv, mesh.texture)
    np.testing.assert_allclose(np.array(arrived["colors"]["Col"]["srgb"]) * 255, expected, atol=0.1)


@per_file(["colors.glb"])
def test_vertex_colors_of_a_glb_reach_its_material(arrived):
    assert arrived["materials"][0]["base_color_from"] == "VERTEX_COLOR"


@per_file(["alone.obj", "alone.ply", "alone.glb"])
def test_vertices_without_a_triangle_do_not_disturb_the_others(arrived, mesh):
    """Blender's OBJ and GLB importers leave such vertices out, its PLY importer keeps them."""
    ((layer_name, layer),) = arrived["colors"].items()
    is_obj = (layer_name, layer["domain"]) == ("Color", "POINT")
    if is_obj and arrived["blender"] < [4, 3, 0]:
        pytest.skip("Blender before 4.3 mixes up the colours of such an OBJ")
    kept = np.arange(len(mesh.vertices))
    if len(arrived["points"]) < len(kept):
        kept = np.setdiff1d(kept, ALONE)
    np.testing.assert_allclose(arrived["points"], z_up(mesh.vertices[kept]), atol=1e-6)
    expected = random_colors(mesh)[kept]
    if layer["domain"] == "CORNER":
        expected = expected[arrived["corner_vertices"]]
    np.testing.assert_allclose(np.array(layer["srgb"]) * 255, expected, atol=0.1)
