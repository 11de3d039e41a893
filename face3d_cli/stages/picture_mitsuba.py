"""The same pictures, path-traced by Mitsuba 3: soft shadows, light that bounces, skin's soft sheen.

The variant `scalar_rgb` needs neither LLVM nor a GPU.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from face3d_cli.arrays import FloatArray
from face3d_cli.core.camera import PerspectiveCamera, ScaledOrthographicCamera
from face3d_cli.core.fill import push_pull
from face3d_cli.core.harmonics import radiance_basis, shading, turned_light
from face3d_cli.core.mesh import Mesh
from face3d_cli.core.raster import rasterize
from face3d_cli.errors import MissingExtra, UsageError
from face3d_cli.io.glb import linear_from_srgb, srgb_from_linear
from face3d_cli.settings import PictureSettings

if TYPE_CHECKING:
    from face3d_cli.stages.picture import Shot, View

STYLES = ("textured", "clay")
SKY_PX = 64  # height of the picture of a photo's light
LEAST_BRIGHTNESS = 0.4  # what is darker in the photo is brightened no more than this


def trace_mesh(mesh: Mesh, view: View, settings: PictureSettings, shot: Shot | None) -> Any:
    """(H, W, 4) uint8 picture of a mesh in the head frame; arguments as those of `draw_mesh`.

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
    if view.in_photo and shot is not None:
        camera = shot.camera.with_origin(middle).in_unit(1.0 / radius)
        rotation, sensor = camera.rotation, _photo_sensor(mi, camera, shot, settings)
    else:
        rotation, sensor = view.rotation(), _view_sensor(mi, settings)
    vertices = (mesh.vertices - middle) @ rotation.T / radius
    light = shot.light if settings.lighting == "photo" and shot is not None else None
    if light is not None and shot is not None:
        material = _material(mi, _without_light(mesh, light), settings)
        emitters = {"sky": _sky(mi, turned_light(light, shot.camera.rotation))}
    else:
        material, emitters = _material(mi, mesh, settings), _lamps(mi, settings)
    placed = replace(mesh, vertices=vertices, blendshapes={}, weights={}, name="mesh", unit="m")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "mesh.obj"
        save_obj(replace(placed, texture=None, vertex_colors=None), path, frame=FileFrame("m", "y"))
        scene = mi.load_dict(
            {
                "type": "scene",
                "integrator": {"type": "path", "max_depth": 6, "hide_emitters": True},
                "sensor": sensor,
                "face": {"type": "obj", "filename": str(path), "bsdf": material},
                **emitters,
            }
        )
        picture = np.array(mi.render(scene, spp=settings.samples), np.float64)
    return finished(picture[..., :4], settings)


def _film(width: int, height: int) -> dict[str, Any]:
    return {"type": "hdrfilm", "width": width, "height": height, "pixel_format": "rgba"}


def _view_sensor(mi: Any, settings: PictureSettings) -> dict[str, Any]:
    """Sees the unit sphere and the margin, from the front."""
    reach = 1.0 + settings.margin
    place = mi.ScalarTransform4f
    return {
        "type": "orthographic",
        "to_world": place().look_at(origin=(0, 0, 4), target=(0, 0, 0), up=(0, 1, 0))
        @ place().scale((reach, reach, 1.0)),
        "film": _film(settings.size_px, settings.size_px),
    }


def _photo_sensor(
    mi: Any, camera: ScaledOrthographicCamera, shot: Shot, settings: PictureSettings
) -> dict[str, Any]:
    """The photo's camera, for vertices in the unit sphere and in the camera's axes."""
    place = mi.ScalarTransform4f
    size_px = np.array([shot.width_px, shot.height_px])
    film = _film(max(1, round(settings.size_px * size_px[0] / size_px[1])), settings.size_px)
    if isinstance(camera, PerspectiveCamera):
        aside = (camera.centre_px - camera.shift_px) * (1, -1) / camera.scale_px_per_unit
        x, y = float(aside[0]), float(aside[1])
        beside = ((size_px - 1) / 2 - camera.centre_px) / size_px
        return {
            "type": "perspective",
            "fov": float(np.degrees(2 * np.arctan(size_px[0] / 2 / camera.focal_px))),
            "fov_axis": "x",
            "principal_point_offset_x": float(beside[0]),
            "principal_point_offset_y": float(beside[1]),
            "to_world": place().look_at(
                origin=(x, y, camera.distance), target=(x, y, 0), up=(0, 1, 0)
            ),
            "film": film,
        }
    middle = ((size_px - 1) / 2 - camera.shift_px) * (1, -1) / camera.scale_px_per_unit
    x, y = float(middle[0]), float(middle[1])
    half = float(size_px[0] / 2 / camera.scale_px_per_unit)
    return {
        "type": "orthographic",
        "to_world": place().look_at(origin=(x, y, 4), target=(x, y, 0), up=(0, 1, 0))
        @ place().scale((half, half, 1.0)),
        "film": film,
    }


def _lamps(mi: Any, settings: PictureSettings) -> dict[str, Any]:
    """The named lights, in the camera's axes."""
    if settings.lighting == "none":
        return {"sky": {"type": "constant", "radiance": _grey(1.0)}}
    lights: dict[str, Any] = {"sky": {"type": "constant", "radiance": _grey(0.28)}}
    place = mi.ScalarTransform4f
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
    return lights


def _sky(mi: Any, light: FloatArray) -> dict[str, Any]:
    """The light of (9, 3) harmonics in the camera's axes, from all around."""
    down, around = np.meshgrid(
        (np.arange(SKY_PX) + 0.5) / SKY_PX * np.pi,
        (np.arange(2 * SKY_PX) + 0.5) / SKY_PX * np.pi,
        indexing="ij",
    )
    towards = np.stack(
        [np.sin(down) * np.sin(around), np.cos(down), -np.sin(down) * np.cos(around)], axis=-1
    )
    found = radiance_basis(towards.reshape(-1, 3)) @ light
    picture = np.maximum(found, 0.0).reshape(SKY_PX, 2 * SKY_PX, 3).astype(np.float32)
    return {"type": "envmap", "bitmap": mi.Bitmap(picture)}


def _without_light(mesh: Mesh, light: FloatArray) -> Mesh:
    """The mesh with a texture that does not hold the photo's light any more."""
    if mesh.texture is None or mesh.uv is None:
        return mesh
    height, width = mesh.texture.shape[:2]
    places = np.column_stack([mesh.uv[:, 0] * width, (1.0 - mesh.uv[:, 1]) * height]) - 0.5
    raster = rasterize(places, mesh.triangles, (height, width))
    normals = raster.interpolate(mesh.normals().astype(np.float32), mesh.triangles)
    lengths = np.linalg.norm(normals, axis=2, keepdims=True)
    known = (raster.is_covered & (lengths[..., 0] > 0)).astype(np.float32)
    brightness = np.ones((height, width, light.shape[1]), np.float32)
    fallen = shading((normals / np.maximum(lengths, 1e-9))[known > 0], light)
    brightness[known > 0] = np.maximum(fallen, LEAST_BRIGHTNESS)
    brightness = np.where(
        known[..., None] > 0, brightness, push_pull(brightness * known[..., None], known)
    )
    color = linear_from_srgb(mesh.texture) / brightness
    return replace(mesh, texture=srgb_from_linear(np.clip(color, 0.0, 1.0)))


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
