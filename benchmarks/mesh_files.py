"""How long mesh files take to write and read, and how large they are.

    python benchmarks/mesh_files.py PHOTO

The mesh is as large as the Surrey Face Model (3,472 vertices, 6,710 triangles), with six
blendshapes; the texture is the photo, scaled to 1024 px. trimesh writes the same for comparison.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from face3d_cli.io.image import encode_png, read_photo
from face3d_cli.io.mesh import load_mesh, save_mesh

sys.path.insert(0, str(Path(__file__).parents[1]))
from benchmarks.image_io import milliseconds
from tests.helpers.face_mesh import face_mesh


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo")
    photo = Image.fromarray(read_photo(parser.parse_args().photo))
    texture = np.asarray(photo.resize((1024, 1024)))
    face = replace(face_mesh(56, 62, texture_px=0), texture=texture)
    jaw = face.blendshapes["jaw open"]
    face = replace(face, blendshapes={f"shape {i}": jaw * (i + 1) for i in range(6)})
    plain = replace(face, texture=None)
    twin = trimesh.Trimesh(face.vertices, face.triangles, process=False)
    twin.visual = trimesh.visual.TextureVisuals(face.uv, image=Image.fromarray(texture))
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:

        def measure(name: str, suffix: str, mesh=face, **options: object) -> None:
            path = Path(folder) / f"{name.replace(' ', '_')}.{suffix}"
            written = save_mesh(mesh, path, **options)
            size = sum(file.stat().st_size for file in written)
            figures[f"write {name}"] = milliseconds(lambda: save_mesh(mesh, path, **options)) | {
                "bytes": size
            }
            figures[f"read {name}"] = milliseconds(lambda: load_mesh(path))

        measure("OBJ", "obj", plain)
        measure("OBJ with texture", "obj")
        measure("PLY", "ply", plain)
        measure("PLY, colours from the texture", "ply")
        measure("STL", "stl")
        measure("GLB", "glb", plain)
        measure("GLB with PNG texture", "glb")
        measure("GLB with JPEG texture", "glb", texture_format="jpeg")
        figures["encode the PNG alone"] = milliseconds(lambda: encode_png(texture))
        figures["trimesh: OBJ with texture, to memory"] = milliseconds(
            lambda: trimesh.exchange.obj.export_obj(twin, return_texture=True)
        )
        figures["trimesh: GLB with texture, no blendshapes, to memory"] = milliseconds(
            lambda: io.BytesIO(twin.export(file_type="glb"))
        )
    print(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
