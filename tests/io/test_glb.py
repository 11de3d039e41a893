"""GLB chunk by chunk, linear colours, the Khronos validator; foreign and hostile documents."""

from __future__ import annotations

import json
import os
import shutil
import struct
import subprocess
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from face3d_cli import __version__
from face3d_cli.core.mesh import TextureTile, vertex_normals
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.glb import linear_from_srgb, save_glb, srgb_from_linear
from face3d_cli.io.glb_reader import load_glb
from face3d_cli.io.mesh import load_mesh, save_mesh
from tests.helpers.face_mesh import face_mesh, random_colors

WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4}
KINDS = {5123: "<u2", 5125: "<u4", 5126: "<f4"}


def parts(path):
    """Document and binary chunk, read with nothing but `struct`."""
    data = Path(path).read_bytes()
    magic, version, length, size, kind = struct.unpack_from("<4sIII4s", data)
    assert (magic, version, length, kind) == (b"glTF", 2, len(data), b"JSON")
    assert struct.unpack_from("<I4s", data, 20 + size)[1] == b"BIN\0"
    return json.loads(data[20 : 20 + size]), data[28 + size :]


def assemble(document, binary):
    """A GLB of any document, valid or not."""
    text = json.dumps(document).encode()
    text += b" " * (-len(text) % 4)
    binary += b"\0" * (-len(binary) % 4)
    size = 28 + len(text) + len(binary)
    head = struct.pack("<4sIII4s", b"glTF", 2, size, len(text), b"JSON")
    return head + text + struct.pack("<I4s", len(binary), b"BIN\0") + binary


def values(path, number):
    document, binary = parts(path)
    accessor = document["accessors"][number]
    view = document["bufferViews"][accessor["bufferView"]]
    kind = np.dtype(KINDS[accessor["componentType"]])
    width = WIDTHS[accessor["type"]]
    rows = np.frombuffer(binary, kind, accessor["count"] * width, view["byteOffset"])
    return rows.reshape(-1, width)


def test_material_sampler_and_provenance_are_what_blender_users_want(tmp_path):
    path = save_mesh(face_mesh(), tmp_path / "a.glb", provenance={"licence": "CC BY 4.0"})[0]
    document, binary = parts(path)
    assert document["asset"] == {
        "version": "2.0",
        "generator": f"face3d {__version__}",
        "extras": {"licence": "CC BY 4.0"},
    }
    (material,) = document["materials"]
    assert material["doubleSided"] is True
    shading = {"metallicFactor": 0.0, "roughnessFactor": 0.6, "baseColorTexture": {"index": 0}}
    assert material["pbrMetallicRoughness"] == shading
    sampler = {"magFilter": 9729, "minFilter": 9987, "wrapS": 33071, "wrapT": 33071}
    assert document["samplers"] == [sampler]
    (image,) = document["images"]
    view = document["bufferViews"][image["bufferView"]]
    content = binary[view["byteOffset"] : view["byteOffset"] + view["byteLength"]]
    assert image["mimeType"] == "image/png"
    decoded = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR_RGB)
    np.testing.assert_array_equal(decoded, face_mesh().texture)


def test_attributes_are_the_mesh_with_v_flipped_and_no_color_beside_a_texture(tmp_path):
    mesh = replace(face_mesh(), vertex_colors=random_colors(face_mesh()))
    path = save_mesh(mesh, tmp_path / "a.glb")[0]
    (primitive,) = parts(path)[0]["meshes"][0]["primitives"]
    attributes = primitive["attributes"]
    assert set(attributes) == {"POSITION", "NORMAL", "TEXCOORD_0"}
    np.testing.assert_array_equal(values(path, attributes["POSITION"]), mesh.vertices.astype("f4"))
    flipped = np.stack([mesh.uv[:, 0], 1 - mesh.uv[:, 1]], axis=1)
    np.testing.assert_allclose(values(path, attributes["TEXCOORD_0"]), flipped, atol=1e-7)
    normals = vertex_normals(mesh.vertices, mesh.triangles)
    np.testing.assert_allclose(values(path, attributes["NORMAL"]), normals, atol=1e-7)
    indices = values(path, primitive["indices"]).reshape(-1, 3)
    np.testing.assert_array_equal(indices, mesh.triangles)


def test_blendshapes_are_named_morph_targets_at_rest(tmp_path):
    mesh = face_mesh()
    path = save_mesh(mesh, tmp_path / "a.glb")[0]
    document, _ = parts(path)
    (entry,) = document["meshes"]
    assert entry["extras"] == {"targetNames": ["jaw open", "Lächeln"]}
    assert entry["weights"] == [0.0, 0.0]
    normals = vertex_normals(mesh.vertices, mesh.triangles)
    targets = entry["primitives"][0]["targets"]
    for target, delta in zip(targets, mesh.blendshapes.values(), strict=True):
        stored = values(path, target["POSITION"])
        np.testing.assert_array_equal(stored, delta.astype("f4"))
        accessor = document["accessors"][target["POSITION"]]
        assert accessor["min"] == stored.min(axis=0).tolist()
        assert accessor["max"] == stored.max(axis=0).tolist()
        moved = vertex_normals(mesh.vertices + delta, mesh.triangles)
        np.testing.assert_allclose(values(path, target["NORMAL"]), moved - normals, atol=1e-7)


@pytest.mark.parametrize(  # IEC 61966-2-1; 0.5 in sRGB is the well-known 0.214 in linear light
    ("level", "linear"),
    [(0, 0.0), (1, 0.000303527), (10, 0.00303527), (128, 0.2158605), (188, 0.5028865), (255, 1.0)],
)
def test_known_values_of_the_srgb_curve(level, linear):
    assert linear_from_srgb(np.array([level], np.uint8))[0] == pytest.approx(linear, rel=1e-5)


def test_the_srgb_curve_comes_back_to_every_level():
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(srgb_from_linear(linear_from_srgb(levels)), levels)


def test_vertex_colors_are_linear_and_opaque_and_come_back_exactly(tmp_path):
    mesh = replace(face_mesh(), texture=None, vertex_colors=random_colors(face_mesh()))
    path = save_mesh(mesh, tmp_path / "a.glb")[0]
    document, _ = parts(path)
    number = document["meshes"][0]["primitives"][0]["attributes"]["COLOR_0"]
    assert document["accessors"][number]["normalized"] is True
    stored = values(path, number) / 65535
    expected = linear_from_srgb(mesh.vertex_colors)
    np.testing.assert_allclose(stored[:, :3], expected, atol=0.5 / 65535 + 1e-9)
    assert (stored[:, 3] == 1).all()
    np.testing.assert_array_equal(load_mesh(path).vertex_colors, mesh.vertex_colors)


def test_jpeg_textures_are_smaller_and_close(tmp_path):
    mesh = face_mesh(texture_px=256)
    path = save_mesh(mesh, tmp_path / "a.glb", texture_format="jpeg")[0]
    assert parts(path)[0]["images"][0]["mimeType"] == "image/jpeg"
    error = load_mesh(path).texture.astype(float) - mesh.texture
    assert np.sqrt((error**2).mean()) < 8


def test_several_meshes_are_several_nodes_and_share_a_texture(tmp_path):
    face = face_mesh(name="face")
    other = replace(face_mesh(5, 6, texture_px=0, name="eyes"), texture=face.texture)
    save_glb([face, other], tmp_path / "a.glb")
    document, _ = parts(tmp_path / "a.glb")
    assert [node["name"] for node in document["nodes"]] == ["face", "eyes"]
    assert document["scenes"][0]["nodes"] == [0, 1]
    assert len(document["images"]) == len(document["textures"]) == 1
    again = load_glb(tmp_path / "a.glb")
    assert [mesh.name for mesh in again] == ["face", "eyes"]
    assert [len(mesh.vertices) for mesh in again] == [768, 30]
    assert len(load_mesh(tmp_path / "a.glb").vertices) == 768 + 30  # one texture: one mesh


def test_several_textures_come_back_side_by_side_in_one(tmp_path):
    red, blue = (
        np.broadcast_to(np.array(c, np.uint8), (8, 8, 3)) for c in ((200, 0, 0), (0, 0, 9))
    )
    one, two = face_mesh(5, 6, name="one"), face_mesh(4, 6, name="two")
    plain = face_mesh(3, 6, texture_px=0, name="plain")
    meshes = [replace(one, texture=red), replace(two, texture=blue), plain]
    save_glb(meshes, tmp_path / "a.glb")
    whole = load_mesh(tmp_path / "a.glb")
    assert len(whole.vertices) == 30 + 24 + 18
    size = len(whole.texture)
    rows = np.floor((1 - whole.uv[:, 1]) * size).astype(int)
    columns = np.floor(whole.uv[:, 0] * size).astype(int)
    colors = whole.texture[rows, columns]
    assert (colors[:30] == (200, 0, 0)).all()
    assert (colors[30:54] == (0, 0, 9)).all()
    assert (colors[54:] == colors[54, 0]).all()  # grey


def test_several_meshes_of_which_some_have_no_uv_are_refused(tmp_path):
    bare = replace(face_mesh(5, 6, texture_px=0, name="bare"), uv=None)
    save_glb([face_mesh(5, 6, name="face"), bare], tmp_path / "b.glb")
    with pytest.raises(UnreadableInput, match="without them"):
        load_mesh(tmp_path / "b.glb")


def test_a_second_picture_is_a_variant_of_the_material(tmp_path):
    face = face_mesh(5, 6)
    classes = np.zeros((4, 4, 3), np.uint8)
    classes[0] = (233, 190, 150)
    save_glb([replace(face, segmentation=classes)], tmp_path / "a.glb")
    document, _ = parts(tmp_path / "a.glb")
    names = document["extensions"]["KHR_materials_variants"]["variants"]
    assert [each["name"] for each in names] == ["photo", "segmentation"]
    (primitive,) = document["meshes"][0]["primitives"]
    mappings = primitive["extensions"]["KHR_materials_variants"]["mappings"]
    by_variant = {m["variants"][0]: m["material"] for m in mappings}
    assert by_variant[0] == primitive["material"] != by_variant[1]
    texture = document["textures"][
        document["materials"][by_variant[1]]["pbrMetallicRoughness"]["baseColorTexture"]["index"]
    ]
    sampler = document["samplers"][texture["sampler"]]
    assert sampler["magFilter"] == sampler["minFilter"] == 9728  # classes must not be blended
    again = load_mesh(tmp_path / "a.glb")
    np.testing.assert_array_equal(again.texture, face.texture)


def test_a_texture_for_each_tile_is_a_primitive_with_its_own_material(tmp_path):
    face = face_mesh(5, 6)
    half = len(face.triangles) // 2
    tiles = tuple(
        TextureTile(name, rows, face.uv, np.full((4, 4, 3), level, np.uint8))
        for name, rows, level in (
            ("1001", np.arange(half), 50),
            ("1002", np.arange(half, len(face.triangles)), 90),
        )
    )
    save_glb([replace(face, tiles=tiles)], tmp_path / "a.glb")
    document, _ = parts(tmp_path / "a.glb")
    first, second = document["meshes"][0]["primitives"]
    assert first["attributes"] == second["attributes"]  # vertices are there once
    assert first["targets"] == second["targets"]
    assert [m["name"] for m in document["materials"]] == ["face_1001", "face_1002"]
    read = load_glb(tmp_path / "a.glb")
    assert [int(mesh.texture[0, 0, 0]) for mesh in read] == [50, 90]
    np.testing.assert_array_equal(np.concatenate([mesh.triangles for mesh in read]), face.triangles)


@pytest.mark.parametrize(("rows", "kind"), [(257, 5123), (258, 5125)])  # 65535 and 65790 vertices
def test_index_type_never_meets_the_restart_value(tmp_path, rows, kind):
    mesh = face_mesh(255, rows, texture_px=0)
    path = save_mesh(replace(mesh, blendshapes={}), tmp_path / "a.glb")[0]
    document, _ = parts(path)
    assert (
        document["accessors"][document["meshes"][0]["primitives"][0]["indices"]]["componentType"]
        == kind
    )
    np.testing.assert_array_equal(load_mesh(path).triangles, mesh.triangles)


def validator_report(path):
    """Run Khronos' validator from the node module that FACE3D_GLTF_VALIDATOR names."""
    module = os.environ.get("FACE3D_GLTF_VALIDATOR")
    if not module or not shutil.which("node"):
        pytest.skip("FACE3D_GLTF_VALIDATOR does not name the node module gltf-validator")
    script = (
        "const v = require(process.argv[1]), fs = require('fs');"
        "v.validateBytes(new Uint8Array(fs.readFileSync(process.argv[2])))"
        ".then(r => console.log(JSON.stringify(r.issues)));"
    )
    command = ["node", "-e", script, str(Path(module).resolve()), str(path)]
    return json.loads(subprocess.run(command, capture_output=True, check=True).stdout)


@pytest.mark.parametrize("texture_format", ["png", "jpeg"])
@pytest.mark.parametrize("content", ["textured", "coloured", "bare", "several", "many vertices"])
def test_khronos_validator_finds_nothing(tmp_path, content, texture_format):
    mesh = face_mesh(name="顔 (1)")
    plain = replace(mesh, texture=None)
    meshes = {
        "textured": [mesh],
        "coloured": [replace(plain, vertex_colors=random_colors(mesh))],
        "bare": [replace(plain, uv=None, blendshapes={})],
        "several": [mesh, face_mesh(7, 9, name="teeth")],
        "many vertices": [face_mesh(256, 258)],
    }[content]
    path = tmp_path / "a.glb"
    provenance = {"licence": "CC BY 4.0", "pose": {"yaw_deg": 1.5}}
    save_glb(meshes, path, texture_format=texture_format, provenance=provenance)
    report = validator_report(path)
    assert (report["numErrors"], report["numWarnings"]) == (0, 0), report["messages"]


def test_the_validator_can_find_something(tmp_path):
    save_mesh(face_mesh(), tmp_path / "a.glb")
    document, binary = parts(tmp_path / "a.glb")
    document["accessors"][0]["max"][0] += 1
    (tmp_path / "a.glb").write_bytes(assemble(document, binary))
    assert validator_report(tmp_path / "a.glb")["numErrors"] > 0


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    path = tmp_path_factory.mktemp("glb") / "a.glb"
    save_mesh(face_mesh(5, 6, texture_px=8), path)
    return parts(path)


def loaded(tmp_path, document, binary):
    path = tmp_path / "edited.glb"
    path.write_bytes(assemble(document, binary))
    return load_glb(path)


def copied(document):
    return json.loads(json.dumps(document))


def test_node_transforms_are_applied_through_the_tree(tmp_path, sound):
    document, binary = copied(sound[0]), sound[1]
    half = np.sqrt(0.5)
    document["nodes"][0] |= {"scale": [2, 2, 2]}
    document["nodes"].append({"children": [0], "rotation": [half, 0, 0, half]})  # +90 about x
    document["nodes"].append(
        {"children": [1], "matrix": [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 5, 6, 7, 1]}
    )
    document["scenes"][0]["nodes"] = [2]
    mesh = face_mesh(5, 6)
    (got,) = loaded(tmp_path, document, binary)
    x, y, z = 2 * mesh.vertices.T
    np.testing.assert_allclose(got.vertices, np.stack([x + 5, 6 - z, y + 7], 1), atol=1e-6)
    x, y, z = 2 * mesh.blendshapes["jaw open"].T
    np.testing.assert_allclose(got.blendshapes["jaw open"], np.stack([x, -z, y], 1), atol=1e-6)
    np.testing.assert_array_equal(got.triangles, mesh.triangles)


def test_a_mirrored_node_keeps_its_outside_outside(tmp_path, sound):
    document, binary = copied(sound[0]), sound[1]
    document["nodes"][0]["scale"] = [-1, 1, 1]
    (got,) = loaded(tmp_path, document, binary)
    assert vertex_normals(got.vertices, got.triangles)[:, 2].mean() > 0.2


def test_sparse_morph_targets_as_blender_writes_them(tmp_path, sound):
    document, binary = copied(sound[0]), sound[1]
    binary += b"\0" * (-len(binary) % 4)
    start = len(binary)
    binary += np.array([2, 7], "<u2").tobytes() + np.array([[1, 2, 3], [4, 5, 6]], "<f4").tobytes()
    document["buffers"][0]["byteLength"] = len(binary)
    document["bufferViews"] += [
        {"buffer": 0, "byteOffset": start, "byteLength": 4},
        {"buffer": 0, "byteOffset": start + 4, "byteLength": 24},
    ]
    last = len(document["bufferViews"])
    number = document["meshes"][0]["primitives"][0]["targets"][0]["POSITION"]
    document["accessors"][number] = {
        "componentType": 5126,
        "count": 30,
        "type": "VEC3",
        "sparse": {
            "count": 2,
            "indices": {"bufferView": last - 2, "componentType": 5123},
            "values": {"bufferView": last - 1},
        },
    }
    delta = loaded(tmp_path, document, binary)[0].blendshapes["jaw open"]
    assert delta[2].tolist() == [1, 2, 3]
    assert delta[7].tolist() == [4, 5, 6]
    assert np.count_nonzero(delta) == 6


HUGE = 4_000_000_000


@pytest.mark.parametrize(
    ("where", "value"),
    [
        (("accessors", 0, "count"), HUGE),
        (("accessors", 0, "count"), 31),
        (("accessors", 0, "count"), 0),
        (("accessors", 0, "count"), -1),
        (("accessors", 0, "count"), 1.5),
        (("accessors", 0, "bufferView"), 99),
        (("accessors", 0, "byteOffset"), HUGE),
        (("bufferViews", 0, "byteLength"), HUGE),
        (("bufferViews", 0, "byteOffset"), HUGE),
        (("bufferViews", 0, "byteStride"), 1),
        (("bufferViews", 0, "byteStride"), HUGE),
        (("buffers", 0, "uri"), "../secret.bin"),
        (("images", 0), {"uri": "../secret.png"}),
        (("scenes", 0, "nodes"), [0, 0]),
        (("nodes", 0, "children"), [0]),
        (("nodes", 0, "matrix"), [1.7e308] * 16),
        (("nodes", 0, "mesh"), True),
        (("extensionsRequired",), ["KHR_draco_mesh_compression"]),
        (("meshes", 0, "primitives", 0, "mode"), 0),
        (("asset",), {"version": "2.0", "extras": {"unit": "inch"}}),
    ],
)
def test_a_document_that_lies_is_unreadable(tmp_path, sound, where, value):
    document = copied(sound[0])
    place = document
    for step in where[:-1]:
        place = place[step]
    place[where[-1]] = value
    with pytest.raises(UnreadableInput, match=r"edited\.glb"):
        loaded(tmp_path, document, sound[1])


def container(*chunks, magic=b"glTF", version=2, extra=0):
    body = b"".join(struct.pack("<I4s", len(content), kind) + content for kind, content in chunks)
    return struct.pack("<4sII", magic, version, 12 + len(body) + extra) + body


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"glTF",
        container((b"JSON", b"{}  "), magic=b"FTlg"),
        container((b"JSON", b"{}  "), version=1),
        container((b"JSON", b"{}  "), extra=4),
        container((b"JSON", b"{}  ")),
        container((b"JSON", b"[]  ")),
        container((b"JSON", b'{"a": NaN}  ')),
        container((b"JSON", b"\xff\xff\xff\xff")),
        container((b"JSON", b"[" * 200_000)),
        container((b"BIN\0", bytes(20))),
        container((b"JSON", b"{}  "))[:-4] + struct.pack("<I", 7),
        struct.pack("<4sIII4s", b"glTF", 2, 24, HUGE, b"JSON") + b"{}  ",
    ],
)
def test_a_broken_container_is_unreadable(tmp_path, content):
    (tmp_path / "foreign.glb").write_bytes(content)
    with pytest.raises(UnreadableInput, match=r"foreign\.glb: expected a valid GLB"):
        load_mesh(tmp_path / "foreign.glb")


def places(document, prefix=()):
    """Every place of a JSON document, as a path of keys."""
    inside = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in inside:
        yield (*prefix, key)
        if isinstance(value, dict | list):
            yield from places(value, (*prefix, key))


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)


@given(choice=st.randoms(use_true_random=False), value=JSON, drop=st.booleans())
@settings(
    max_examples=200,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_any_value_anywhere_in_the_document_is_read_or_refused(
    tmp_path, sound, choice, value, drop
):
    document = copied(sound[0])
    where = choice.choice(list(places(document)))
    place = document
    for step in where[:-1]:
        place = place[step]
    if drop:
        del place[where[-1]]
    else:
        place[where[-1]] = value
    try:
        meshes = loaded(tmp_path, document, sound[1])
    except UnreadableInput:
        return
    for mesh in meshes:
        assert np.isfinite(mesh.vertices).all()
        assert mesh.triangles.max() < len(mesh.vertices)
