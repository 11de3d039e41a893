"""What does a mesh look like from here, under this light? Pictures with coverage, by our renderer.

Lights and shadows are those of `diff/`; textures are looked up per sample, several samples to a
pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, grid_sample, normalize

from face3d_cli.arrays import FloatArray, check_shape
from face3d_cli.core import camera as core_camera
from face3d_cli.core.harmonics import shading, turned_light
from face3d_cli.core.mesh import Mesh
from face3d_cli.diff.backends import rasterizer_named
from face3d_cli.diff.cameras import Camera, PerspectiveCamera, ScaledOrthographicCamera
from face3d_cli.diff.fragments import Fragments, interpolate
from face3d_cli.diff.lighting import DirectionalLight, Light, phong
from face3d_cli.diff.shadows import light_visibility
from face3d_cli.errors import ShapeError, UnreadableInput, UsageError
from face3d_cli.settings import LightingName, PictureSettings

Rgba = npt.NDArray[np.uint8]  # (H, W, 4) sRGB, straight alpha

CLAY = 0.72
MOST_PX = 100_000  # a side of a photo
CHECKS = 16  # squares along each side of the UV checker
LINE_PX = 1.1  # half the width of a wire, in samples
_KEY, _FILL, _RIM = (-0.6, 0.5, 0.9), (0.9, 0.1, 0.6), (0.2, 0.8, -0.9)
NAMED_VIEWS: dict[str, tuple[float, float]] = {
    "front": (0.0, 0.0),
    "three-quarter": (-35.0, -5.0),
    "three-quarter-left": (35.0, -5.0),
    "side": (-90.0, 0.0),
    "side-left": (90.0, 0.0),
    "back": (180.0, 0.0),
    "above": (0.0, 60.0),
    "below": (0.0, -40.0),
}


@dataclass(frozen=True)
class View:
    """Where the mesh is seen from: it is turned by yaw, positive to its left, then pitched.

    Attributes:
        yaw_deg, pitch_deg: positive pitch shows it from above.
        in_photo: as the photo that the mesh was made of shows it, instead.
    """

    yaw_deg: float = 0.0
    pitch_deg: float = 0.0
    in_photo: bool = False

    def rotation(self) -> FloatArray:
        """(3, 3) from the head frame to the camera's axes."""
        yaw, pitch = np.radians([self.yaw_deg, self.pitch_deg])
        about_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
        about_x = [
            [1, 0, 0],
            [0, np.cos(pitch), -np.sin(pitch)],
            [0, np.sin(pitch), np.cos(pitch)],
        ]
        return np.array(about_x) @ np.array(about_y)


@dataclass(frozen=True)
class Shot:
    """How a photo shows a mesh.

    Attributes:
        camera: projects the mesh, in its own unit, into the photo.
        width_px, height_px: of the photo.
        light: (9, 3) harmonics in the frame of the mesh; None where it was not estimated.
    """

    camera: core_camera.ScaledOrthographicCamera
    width_px: int
    height_px: int
    light: FloatArray | None = None


def shot_from_json(found: dict[str, Any], metres_per_unit: float) -> Shot:
    """Read what a GLB of ours says of a face (`io/glb_reader.py`).

    Raises:
        UnreadableInput: it says something else.
    """
    try:
        camera = core_camera.camera_from_json(found["camera"]).in_unit(1.0 / metres_per_unit)
        width, height = (int(number) for number in found["photo_size_px"])
        light = np.array(found["light_rgb"], np.float64) if "light_rgb" in found else None
        if light is not None:
            check_shape(light, (9, 3), "light_rgb")
    except (KeyError, TypeError, ValueError, ShapeError) as problem:
        raise UnreadableInput(f"the note of the photo's camera is damaged: {problem}") from problem
    if not (0 < width <= MOST_PX and 0 < height <= MOST_PX):
        raise UnreadableInput(f"the note of the photo's size is damaged: {width} x {height}")
    return Shot(camera, width, height, light)


def parse_view(text: str) -> View:
    """Read a view's name, or YAW or YAW,PITCH in degrees.

    Raises:
        UsageError: neither.
    """
    if text in NAMED_VIEWS:
        return View(*NAMED_VIEWS[text])
    if text == "photo":
        return View(in_photo=True)
    try:
        numbers = [float(part) for part in text.split(",")]
        if len(numbers) in (1, 2) and np.isfinite(numbers).all():
            return View(numbers[0], numbers[1] if len(numbers) == 2 else 0.0)
    except ValueError:
        pass
    raise UsageError(
        f"there is no view '{text}'",
        hint=f"expected photo, {', '.join(NAMED_VIEWS)}, or YAW,PITCH in degrees",
    )


def draw_mesh(
    mesh: Mesh,
    view: View = View(),
    settings: PictureSettings = PictureSettings(),
    shot: Shot | None = None,
) -> Rgba:
    """Draw a mesh as it is posed.

    Args:
        mesh: in the head frame, in any unit.
        view: where from; the scale is the same from everywhere.
        settings: style, light, size, background.
        shot: how the photo shows the mesh, for the view and the light that are the photo's.

    Returns:
        (size_px, size_px, 4), as wide as the photo where the view is the photo's; opaque where
        there is a background.

    Raises:
        UsageError: UVs are to be shown of a mesh that has none, or the photo's view or light of one
            that does not know them.
        MissingExtra: the renderer asked for is not installed.
    """
    mesh = mesh.posed()
    if settings.style == "uv" and mesh.uv is None:
        raise UsageError(f"{mesh.name} has no texture coordinates to show")
    if view.in_photo and shot is None:
        raise UsageError(
            "the photo's view needs a GLB of face3d with one face, found no camera of a photo"
        )
    if settings.lighting == "photo" and (shot is None or shot.light is None):
        raise UsageError(
            "the photo's light needs a GLB of --method ict or --refine, found no light of a photo",
            hint="use --lighting soft",
        )
    if settings.renderer == "mitsuba":
        from face3d_cli.stages.picture_mitsuba import trace_mesh

        traced: Rgba = trace_mesh(mesh, view, settings, shot)
        return traced
    middle = (mesh.vertices.min(axis=0) + mesh.vertices.max(axis=0)) / 2
    radius = float(np.linalg.norm(mesh.vertices - middle, axis=1).max())
    height = settings.size_px * settings.supersampling
    if view.in_photo and shot is not None:
        width = settings.supersampling * max(
            1, round(settings.size_px * shot.width_px / shot.height_px)
        )
        camera = _photo_camera(shot, middle, radius, height)
    else:
        width = height
        camera = ScaledOrthographicCamera(
            torch.as_tensor(view.rotation(), dtype=torch.float32),
            torch.tensor(height / (2.0 * (1.0 + settings.margin)), dtype=torch.float32),
            torch.full((2,), (height - 1) / 2),
        )
    vertices = torch.as_tensor((mesh.vertices - middle) / radius, dtype=torch.float32)[None]
    triangles = torch.as_tensor(mesh.triangles, dtype=torch.int64)
    with torch.inference_mode():
        rasterizer = rasterizer_named(settings.renderer)
        fragments = rasterizer(camera.project(vertices), triangles, height, width)
        color = _color(mesh, vertices, triangles, camera, fragments, settings, shot)
        picture = fragments.to_image(torch.cat([color, torch.ones_like(color[:, :1])], dim=1))
        # Means of light, not of levels: edges are blended in the linear range.
        packed = avg_pool2d(picture.permute(0, 3, 1, 2), settings.supersampling)[0]
    return finished(packed.permute(1, 2, 0).numpy(), settings)


def _photo_camera(shot: Shot, middle: FloatArray, radius: float, height_px: int) -> Camera:
    """The photo's camera for vertices brought to the unit sphere, in a picture of that height."""
    seen = shot.camera.with_origin(middle).in_unit(1.0 / radius)
    zoom = height_px / shot.height_px

    def place(point_px: FloatArray) -> Tensor:  # centres of pixels stay centres
        return torch.as_tensor((point_px + 0.5) * zoom - 0.5, dtype=torch.float32)

    rotation = torch.as_tensor(seen.rotation, dtype=torch.float32)
    if isinstance(seen, core_camera.PerspectiveCamera):
        aside = (seen.shift_px - seen.centre_px) * (1, -1) / seen.scale_px_per_unit
        return PerspectiveCamera(
            rotation,
            torch.as_tensor([*aside, -seen.distance], dtype=torch.float32),
            torch.tensor(seen.focal_px * zoom, dtype=torch.float32),
            place(seen.centre_px),
        )
    scale = torch.tensor(seen.scale_px_per_unit * zoom, dtype=torch.float32)
    return ScaledOrthographicCamera(rotation, scale, place(seen.shift_px))


def _color(
    mesh: Mesh,
    vertices: Tensor,
    triangles: Tensor,
    camera: Camera,
    fragments: Fragments,
    settings: PictureSettings,
    shot: Shot | None,
) -> Tensor:
    """(P, 3) linear colour of each covered sample."""
    normals = torch.as_tensor(mesh.normals(), dtype=torch.float32)[None]
    values = interpolate(torch.cat([vertices, normals], dim=-1), fragments)
    positions, facing = values[:, :3], normalize(values[:, 3:], dim=1)
    towards_camera = camera.towards_camera(positions, fragments.batch_item)
    away = (facing * towards_camera).sum(dim=1, keepdim=True) < 0
    facing = torch.where(away, -facing, facing)  # surfaces have two sides
    if settings.style == "normals":
        turned = facing @ camera.rotation.T
        return _linear((turned + 1.0) / 2.0)
    if settings.style == "depth":
        near, far = fragments.depth.min(), fragments.depth.max()
        share = 1.0 - (fragments.depth - near) / (far - near).clamp(min=1e-9)
        return _linear(0.1 + 0.9 * share)[:, None].expand(-1, 3)
    albedo = _albedo(mesh, fragments, settings)
    if settings.lighting == "none":
        return albedo
    if settings.lighting == "photo" and shot is not None and shot.light is not None:
        return albedo * _photo_light(mesh, facing, camera, shot.light, shot, settings)
    lights, ambient = _lights(settings.lighting, camera.rotation)
    visibility = None
    if settings.shadows:
        visibility = [
            light_visibility(
                positions, fragments.batch_item, vertices, triangles, light,
                size_px=settings.shadow_map_px,
            )
            for light in lights
        ]  # fmt: skip
    return phong(
        albedo, facing, positions, towards_camera, lights,
        ambient=ambient, specular=0.04, shininess=24.0, visibility=visibility,
    )  # fmt: skip


def _photo_light(
    mesh: Mesh,
    facing: Tensor,
    camera: Camera,
    light: FloatArray,
    shot: Shot,
    settings: PictureSettings,
) -> Tensor:
    """(P, 3) how much brighter than its texture the surface is when the head turns in the light.

    The light stays where it was in the photo. A texture holds it already, as it fell on the head
    then; so that in the photo's own view nothing changes. Clay and vertex colours hold none.
    """
    now = camera.rotation.numpy().astype(np.float64)
    turned = turned_light(light, now.T @ shot.camera.rotation)
    normals = facing.numpy()
    brightness = shading(normals, turned)
    if settings.style == "textured" and mesh.texture is not None:
        brightness = brightness / shading(normals, light)
    return torch.as_tensor(brightness, dtype=torch.float32)


def _albedo(mesh: Mesh, fragments: Fragments, settings: PictureSettings) -> Tensor:
    """(P, 3) linear."""
    count = len(fragments.pixel)
    if settings.style == "clay":
        return torch.full((count, 3), _linear(torch.tensor(CLAY)).item())
    if settings.style == "wireframe":
        # Distance to the nearest edge of the triangle, in samples, from the barycentrics' slope.
        corners = fragments.weights
        xy = fragments.pixel_xy.to(torch.float32)
        reach = _edge_distances(corners, fragments, xy)
        is_line = reach < LINE_PX
        return torch.where(is_line[:, None], torch.tensor(0.02), torch.tensor(0.6)).expand(-1, 3)
    if settings.style == "uv" and mesh.uv is not None:
        uv = interpolate(torch.as_tensor(mesh.uv, dtype=torch.float32)[None], fragments)
        squares = (uv * CHECKS).floor().sum(dim=1, keepdim=True) % 2
        tint = torch.cat([uv, 1.0 - uv[:, :1]], dim=1).clamp(0, 1)
        return _linear(0.25 + 0.35 * squares + 0.4 * tint)
    if mesh.texture is not None and mesh.uv is not None:
        uv = interpolate(torch.as_tensor(mesh.uv, dtype=torch.float32)[None], fragments)
        picture = torch.from_numpy(np.ascontiguousarray(mesh.texture)).permute(2, 0, 1)[None]
        where = torch.stack([2.0 * uv[:, 0] - 1.0, 1.0 - 2.0 * uv[:, 1]], dim=1)[None, None]
        found = grid_sample(
            picture.float() / 255.0, where, padding_mode="border", align_corners=False
        )
        return _linear(found[0, :, 0].T)
    if mesh.vertex_colors is not None:
        levels = torch.as_tensor(mesh.vertex_colors, dtype=torch.float32)[None] / 255.0
        return interpolate(_linear(levels), fragments)
    return torch.full((count, 3), _linear(torch.tensor(CLAY)).item())


def _edge_distances(weights: Tensor, fragments: Fragments, xy: Tensor) -> Tensor:
    """(P,) distance in samples to the nearest edge of the covering triangle.

    A barycentric weight falls evenly from 1 to 0 towards its edge: its slope is that of the
    neighbouring sample of the same triangle, and its value over the slope the distance.
    """
    _, height, width = fragments.triangle.shape
    full = torch.zeros(height * width, 3)
    full[fragments.pixel] = weights
    owner = fragments.triangle.reshape(-1)
    slopes = torch.zeros_like(weights)
    for step, limit in ((1, xy[:, 0] < width - 1), (width, xy[:, 1] < height - 1)):
        for sign in (1, -1):
            inside = limit if sign > 0 else (xy[:, 0] > 0 if step == 1 else xy[:, 1] > 0)
            beside = (fragments.pixel + sign * step).clamp(0, height * width - 1)
            same = inside & (owner[beside] == owner[fragments.pixel])
            slope = (full[beside] - weights).abs() * same[:, None]
            slopes = torch.maximum(slopes, slope)
    # A triangle of one sample has no slope that could be seen: it is all line.
    return (weights / slopes.clamp(min=1e-6)).amin(dim=1)


def _lights(name: LightingName, rotation: Tensor) -> tuple[list[Light], float]:
    """Lights that stand beside the camera, and the light that comes from everywhere."""

    def light(place: tuple[float, float, float], brightness: float) -> Light:
        return DirectionalLight(torch.tensor(place) @ rotation, torch.full((3,), brightness))

    if name == "soft":
        return [light((0.0, 0.3, 1.0), 0.45)], 0.6
    return [light(_KEY, 0.75), light(_FILL, 0.3), light(_RIM, 0.35)], 0.28


def _linear(srgb: Tensor) -> Tensor:
    """Undo the sRGB curve (IEC 61966-2-1)."""
    return torch.where(
        srgb <= 0.04045, srgb / 12.92, ((srgb.clamp(min=0.0) + 0.055) / 1.055) ** 2.4
    )


def finished(premultiplied: FloatArray, settings: PictureSettings) -> Rgba:
    """Linear premultiplied colour and coverage as 8-bit sRGB, over the background."""
    from face3d_cli.io.glb import linear_from_srgb, srgb_from_linear

    color, alpha = premultiplied[..., :3].clip(0, None), premultiplied[..., 3:]
    if settings.background is None:
        straight = color / np.maximum(alpha, 1e-6)
        return np.dstack([srgb_from_linear(straight), np.rint(255 * alpha).astype(np.uint8)])
    behind = linear_from_srgb(np.array(settings.background, np.uint8))
    over = srgb_from_linear(color + (1.0 - alpha) * behind)
    return np.dstack([over, np.full(over.shape[:2], 255, np.uint8)])
