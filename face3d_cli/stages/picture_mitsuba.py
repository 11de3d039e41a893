"""The same pictures, path-traced by Mitsuba 3: soft shadows, light that bounces, skin's soft sheen.

The variant `scalar_rgb` needs neither LLVM nor a GPU.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from face3d_cli.arrays import FloatArray
from face3d_cli.core.mesh import Mesh
from face3d_cli.errors import MissingExtra, UsageError
from face3d_cli.settings import PictureSettings

STYLES = ("textured", "clay")


def trace_mesh(mesh: Mesh, rotation: FloatArray, settings: PictureSettings) -> Any:
    """(H, W, 4) uint8 picture of a mesh in the head frame, turned by `rotation` (3, 3).

    Raises:
        MissingExtra: Mitsuba is not installed.
        UsageError: a style that a path tracer does not have.
    """
    if settings.style not in STYLES:
        raise UsageError(
            f"mitsuba draws {' or '.join(STYLES)}, not {settings.style}",
            hint="use --renderer torch",
        )
    try:
        import mitsuba as mi
    except ImportError as problem:
        raise MissingExtra(
            f"the renderer mitsuba needs Mitsuba 3, which is not installed ({problem})",
            hint="pip install 'face3d[mitsuba]'",
        ) from problem
    from face3d_cli.io.frame import FileFrame
    from face3d_cli.io.obj import save_obj
    from face3d_cli.stages.picture import finished

    mi.set_variant("scalar_rgb")
    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    radius = float(np.linalg.norm(mesh.vertices - middle, axis=1).max())
    vertices = (mesh.vertices - middle) @ rotation.T / radius
    placed = replace(mesh, vertices=vertices, blendshapes={}, weights={}, name="mesh", unit="m")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.obj"
        save_obj(replace(placed, texture=None, vertex_colors=None), path, frame=FileFrame("m", "y"))
        scene = mi.load_dict(_scene(mi, str(path), mesh, settings))
        picture = np.array(mi.render(scene, spp=settings.samples), np.float64)
    return finished(picture[..., :4], settings)


def _scene(mi: Any, path: str, mesh: Mesh, settings: PictureSettings) -> dict[str, Any]:
    reach = 1.0 + settings.margin
    place = mi.ScalarTransform4f
    lights: dict[str, Any] = {"sky": {"type": "constant", "radiance": _grey(0.28)}}
    if settings.lighting == "none":
        lights = {"sky": {"type": "constant", "radiance": _grey(1.0)}}
    else:
        places = {"key": ((-2.4, 2.0, 3.4), 9.0), "fill": ((3.4, 0.4, 2.4), 2.5)}
        if settings.lighting == "three-point":
            places["rim"] = ((0.8, 2.8, -3.2), 7.0)
        for name, (origin, brightness) in places.items():
            lights[name] = {
                "type": "rectangle",
                "to_world": place().look_at(origin=origin, target=(0, 0, 0), up=(0, 1, 0))
                @ place().scale(0.9),
                "emitter": {"type": "area", "radiance": _grey(brightness)},
            }
    return {
        "type": "scene",
        "integrator": {"type": "path", "max_depth": 6, "hide_emitters": True},
        "sensor": {
            "type": "orthographic",
            "to_world": place().look_at(origin=(0, 0, 4), target=(0, 0, 0), up=(0, 1, 0))
            @ place().scale((reach, reach, 1.0)),
            "film": {
                "type": "hdrfilm",
                "width": settings.size_px,
                "height": settings.size_px,
                "pixel_format": "rgba",
            },
        },
        "face": {"type": "obj", "filename": path, "bsdf": _material(mi, mesh, settings)},
        **lights,
    }


def _material(mi: Any, mesh: Mesh, settings: PictureSettings) -> dict[str, Any]:
    """Skin's look: rough, a faint highlight, and some light that seems to come from below."""
    color: dict[str, Any] = {"type": "rgb", "value": (0.48, 0.48, 0.48)}
    if settings.style == "textured" and mesh.texture is not None and mesh.uv is not None:
        color = {"type": "bitmap", "bitmap": mi.Bitmap(np.ascontiguousarray(mesh.texture))}
    principled = {
        "type": "principled",
        "base_color": color,
        "roughness": 0.5,
        "specular": 0.35,
        "flatness": 0.35,
        "sheen": 0.1,
    }
    return {"type": "twosided", "material": principled}


def _grey(level: float) -> dict[str, Any]:
    return {"type": "rgb", "value": (level, level, level)}
