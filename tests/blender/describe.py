"""Import mesh files with Blender's own importers, defaults untouched, and say as JSON what arrived.

Runs in Blender's Python, outside the test environment: `python describe.py FILE...`, or
`blender -b --python describe.py -- FILE...`.
"""

import json
import sys
from pathlib import Path

import bpy
import numpy as np


def import_file(path):
    """Import one file into an empty scene and return its mesh objects."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    suffix = Path(path).suffix.lower()
    if suffix == ".glb":
        bpy.ops.import_scene.gltf(filepath=str(path))
    else:
        {
            ".obj": bpy.ops.wm.obj_import,
            ".ply": bpy.ops.wm.ply_import,
            ".stl": bpy.ops.wm.stl_import,
        }[suffix](filepath=str(path))
    return [thing for thing in bpy.context.scene.objects if thing.type == "MESH"]


def describe(thing):
    """Facts about one imported object, in world coordinates."""
    mesh = thing.data
    points = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", points)
    world = np.array(thing.matrix_world)
    points = points.reshape(-1, 3) @ world[:3, :3].T + world[:3, 3]
    triangles = [list(polygon.vertices) for polygon in mesh.polygons]
    uv = {}
    if mesh.uv_layers.active:
        for loop, corner in zip(mesh.loops, mesh.uv_layers.active.data, strict=True):
            uv.setdefault(loop.vertex_index, list(corner.uv))
    return {
        "name": thing.name,
        "points": points.tolist(),
        "triangles": triangles,
        "normals": (np.array([n.vector for n in mesh.corner_normals]) @ world[:3, :3].T).tolist(),
        "corner_vertices": [loop.vertex_index for loop in mesh.loops],
        "uv_layers": [layer.name for layer in mesh.uv_layers],
        "uv": uv,
        "smooth": all(polygon.use_smooth for polygon in mesh.polygons),
        "materials": [describe_material(slot.material) for slot in thing.material_slots],
        "shape_keys": {
            key.name: {
                "value": key.value,
                "moved": float(
                    max(
                        (a.co - b.co).length
                        for a, b in zip(key.data, key.relative_key.data, strict=True)
                    )
                ),
            }
            for key in (mesh.shape_keys.key_blocks if mesh.shape_keys else ())
        },
        "colors": {
            layer.name: {
                "domain": layer.domain,
                "srgb": [list(item.color_srgb)[:3] for item in layer.data],
            }
            for layer in mesh.color_attributes
        },
        "blender": list(bpy.app.version),
        "unit_scale": bpy.context.scene.unit_settings.scale_length,
    }


def describe_material(material):
    """The principled shader of a material, and the picture that feeds its base colour."""
    nodes = material.node_tree.nodes
    shader = next(node for node in nodes if node.type == "BSDF_PRINCIPLED")
    links = shader.inputs["Base Color"].links
    image = None
    if links and links[0].from_node.type == "TEX_IMAGE":
        picture = links[0].from_node.image
        image = {
            "size": list(picture.size),  # asking for the size loads the file
            "has_data": picture.has_data,
            "color_space": picture.colorspace_settings.name,
        }
        if picture.size[0]:
            pixels = np.array(picture.pixels[:]).reshape(picture.size[1], picture.size[0], -1)
            image["bottom_left"] = pixels[1, 1, :3].tolist()
            image["top_right"] = pixels[-2, -2, :3].tolist()
    return {
        "metallic": shader.inputs["Metallic"].default_value,
        "roughness": shader.inputs["Roughness"].default_value,
        "specular": shader.inputs["Specular IOR Level"].default_value,
        "base_color_from": links[0].from_node.type if links else None,
        "culls_back": material.use_backface_culling,
        "image": image,
    }


if __name__ == "__main__":
    files = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else sys.argv[1:]
    target, *files = files
    facts = {name: [describe(thing) for thing in import_file(name)] for name in files}
    Path(target).write_text(json.dumps(facts))
