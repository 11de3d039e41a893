"""How meshes lie in an HTML page: as script elements that `mesh_view.js` reads.

Vertices are 16-bit steps of their bounding box, textures small JPEGs, shape keys the vertices they
move; triangles and UVs of a topology are held once for all meshes of a page that share them.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Sequence
from importlib.resources import files
from io import BytesIO
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from face3d_cli.arrays import RgbImage
from face3d_cli.core.mesh import Mesh

_STEPS = 65535
_HALF_STEPS = 32767


def view_script() -> str:
    """The JavaScript that shows meshes; it expects a canvas and a button, see the file."""
    return (files(__package__) / "mesh_view.js").read_text(encoding="utf-8")


def mesh_blocks(
    meshes: Sequence[Mesh],
    names: Sequence[str],
    keys: Sequence[str],
    shared: set[str],
    texture_px: int,
    *,
    with_blendshapes: bool = False,
) -> str:
    """The script elements that hold meshes of one scene; those of a known topology are left out.

    Args:
        meshes: in one unit and frame.
        names: what the page calls each.
        keys: id of each mesh's element.
        shared: ids that the page already holds; grows.
        texture_px: longest side of the textures.
        with_blendshapes: as sliders; else the meshes are shown as they are posed.
    """
    scene = meshes if with_blendshapes else [mesh.posed() for mesh in meshes]
    every = np.concatenate([mesh.vertices for mesh in scene])
    middle = (every.min(axis=0) + every.max(axis=0)) / 2
    scale = 2.0 / max(float(np.ptp(every, axis=0).max()), float(np.finfo(np.float32).tiny))
    blocks: list[str] = []
    for mesh, name, key in zip(scene, names, keys, strict=True):
        about = {"name": name, "scale": scale}
        blocks.append(_blocks(mesh, about, middle, key, shared, texture_px, with_blendshapes))
    return "".join(blocks)


def _blocks(
    mesh: Mesh,
    about: dict[str, Any],
    scene_middle: npt.NDArray[np.floating[Any]],
    key: str,
    shared: set[str],
    texture_px: int,
    with_blendshapes: bool,
) -> str:
    blocks: list[str] = []

    def hold(block_key: str, data: bytes) -> str:
        blocks.append(_block(block_key, base64.b64encode(data).decode()))
        return block_key

    def share(data: bytes) -> str:
        block_key = "t" + hashlib.sha256(data).hexdigest()[:16]
        if block_key not in shared:
            shared.add(block_key)
            hold(block_key, data)
        return block_key

    low, high = mesh.vertices.min(axis=0), mesh.vertices.max(axis=0)
    extent = np.maximum(high - low, np.finfo(np.float32).tiny)
    index = "<u4" if len(mesh.vertices) > _STEPS else "<u2"
    about |= {
        "vertexCount": len(mesh.vertices),
        "extent": extent.tolist(),
        "middle": ((low + high) / 2 - scene_middle).tolist(),
        "vertices": hold(f"{key}v", _steps((mesh.vertices - low) / extent)),
        "triangles": share(mesh.triangles.astype(index).tobytes()),
        "keys": [],
    }
    if mesh.weld is not None:
        # Any vertex may stand for the points that are one: the first of them does.
        first = np.unique(mesh.weld, return_index=True)[1]
        about["weld"] = share(
            first[np.unique(mesh.weld, return_inverse=True)[1]].astype(index).tobytes()
        )
    if mesh.texture is not None and mesh.uv is not None:
        picture = Image.fromarray(mesh.texture)
        picture.thumbnail((texture_px, texture_px))
        about["uv"] = share(_steps(np.clip(mesh.uv, 0.0, 1.0)))
        text = jpeg_text(np.asarray(picture))
        about["texture"] = "p" + hashlib.sha256(text.encode()).hexdigest()[:16]
        if about["texture"] not in shared:
            shared.add(about["texture"])
            blocks.append(_block(about["texture"], text))
    elif mesh.vertex_colors is not None:
        about["colors"] = hold(f"{key}c", np.ascontiguousarray(mesh.vertex_colors).tobytes())
    for number, (name, delta) in enumerate(mesh.blendshapes.items() if with_blendshapes else ()):
        (moved,) = np.nonzero(delta.any(axis=1))
        step = max(float(np.abs(delta).max()) / _HALF_STEPS, 1e-30)
        moves = np.rint(delta[moved] / step).astype("<i2")
        about["keys"].append(
            {
                "name": name,
                "weight": float(mesh.weights.get(name, 0.0)),
                "step": step,
                "at": hold(f"{key}a{number}", moved.astype(index).tobytes()),
                "moves": hold(f"{key}m{number}", moves.tobytes()),
            }
        )
    return "".join(blocks) + _block(key, json.dumps(about).replace("<", "\\u003c"))


def _steps(fractions: npt.NDArray[np.floating[Any]]) -> bytes:
    return bytes(np.rint(fractions * _STEPS).astype("<u2").tobytes())


def jpeg_text(image: RgbImage) -> str:
    """A picture as the text of a data address."""
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=85)
    return base64.b64encode(file.getvalue()).decode()


def _block(key: str, content: str) -> str:
    return f'<script type="text/plain" id="{key}">{content}</script>'
