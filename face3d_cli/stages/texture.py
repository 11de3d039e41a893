"""Which colour has each texel? From the photo where it sees the face, filled where it does not."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, Points2, Points3, RgbImage, Triangles, check_shape
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.fill import push_pull
from face3d_cli.core.mesh import vertex_normals
from face3d_cli.core.raster import rasterize
from face3d_cli.core.uv_atlas import UvAtlas
from face3d_cli.errors import UsageError
from face3d_cli.settings import TextureSettings

FILL_PX = 256  # visibility and filled colours are smooth: they are worked out at this size
TONE_BLUR = 8.0  # in texels of FILL_PX
NOTHING_THERE = -1e6  # depth of the background


@dataclass(frozen=True)
class BakedTexture:
    """A texture and how much of it the photo showed.

    Attributes:
        image: (T, T, 3) sRGB.
        visibility: (FILL_PX, FILL_PX) float32, 1 where a texel is taken from the photo alone.
        visible_share: mean visibility over the mesh's texels, 0 to 1.
    """

    image: RgbImage
    visibility: FloatArray
    visible_share: float


def bake_texture(
    image: RgbImage,
    vertices: Points3,
    triangles: Triangles,
    uv: Points2,
    camera: ScaledOrthographicCamera,
    settings: TextureSettings = TextureSettings(),
    usable: FloatArray | None = None,
) -> BakedTexture:
    """Bring the photo into the UV square of a fitted mesh.

    A texel is seen when it faces the camera and no other part of the mesh lies before it
    (z-buffer). What is not seen takes the mirrored texel, matched in lightness by a smooth offset
    learnt where both sides are seen; what neither side shows is diffused from its surroundings.
    Texels off the mesh continue its edge, so that mip-maps show no border.

    Args:
        image: (H, W, 3) photo.
        vertices: (V, 3) fitted vertices in the camera's head frame.
        triangles: (F, 3).
        uv: (V, 2), origin bottom-left.
        camera: projects `vertices` into the photo.
        settings: size of the texture, and what counts as seen.
        usable: (H, W) float 0..1, how far each pixel of the photo shows skin (not hair, glasses or
            background); None uses all of it.

    Raises:
        UsageError: the size is outside 256..4096.
    """
    check_shape(vertices, (len(uv), 3), "vertices")
    if not 256 <= settings.size_px <= 4096:
        raise UsageError(f"texture size must be 256 to 4096 px, got {settings.size_px}")
    fill_atlas = _atlas(_Topology(uv, triangles), FILL_PX)
    photo, photo_from_image = _part_of_photo(image, camera.project(vertices), settings.size_px)
    points_photo = camera.project(vertices) @ photo_from_image[:, :2].T + photo_from_image[:, 2]

    seen = _visibility(vertices, triangles, camera, fill_atlas, settings)
    seen *= _inside(fill_atlas.bake(points_photo), photo.shape[:2])
    if usable is not None:
        where = fill_atlas.bake(camera.project(vertices))
        seen *= cv2.remap(np.asarray(usable, np.float32), where, None, cv2.INTER_LINEAR)
    seen = _feathered(seen)

    # The map from texel to photo is linear in each triangle: half the size is enough to carry it.
    map_atlas = _atlas(_Topology(uv, triangles), settings.size_px // 2)
    square = (settings.size_px, settings.size_px)
    where = cv2.resize(map_atlas.bake(points_photo), square, interpolation=cv2.INTER_LINEAR)
    from_photo = cv2.remap(photo, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    texture = _filled(from_photo, seen, mirror=fill_atlas.is_mirror_symmetric)
    share = float(seen[fill_atlas.is_inside].mean())
    return BakedTexture(texture, seen, share)


class _Topology:
    """UV and triangles as a key: equal when the arrays are."""

    def __init__(self, uv: Points2, triangles: Triangles) -> None:
        self.uv, self.triangles = uv, triangles
        self._key = hash((uv.tobytes(), triangles.tobytes()))

    def __hash__(self) -> int:
        return self._key

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Topology)
            and np.array_equal(self.uv, other.uv)
            and np.array_equal(self.triangles, other.triangles)
        )


@lru_cache(maxsize=8)
def _atlas(topology: _Topology, size_px: int) -> UvAtlas:
    return UvAtlas(topology.uv, topology.triangles, size_px)


def _part_of_photo(
    image: RgbImage, points_img: Points2, texture_px: int
) -> tuple[RgbImage, FloatArray]:
    """The part of the photo that holds the face, at about the texture's scale; (2, 3) map to it."""
    height, width = image.shape[:2]
    low = np.clip(np.floor(points_img.min(axis=0)).astype(int) - 2, 0, (width - 1, height - 1))
    high = np.clip(np.ceil(points_img.max(axis=0)).astype(int) + 3, low + 1, (width, height))
    part = image[low[1] : high[1], low[0] : high[0]]
    scale = texture_px / max(part.shape[:2])
    if scale < 0.75:  # reduced by area, so that no detail aliases
        part = cv2.resize(part, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    ratio = np.array(part.shape[1::-1]) / (high - low)
    # Pixel centres: part = (image - low + 0.5) * ratio - 0.5
    return part, np.column_stack([np.diag(ratio), (0.5 - low) * ratio - 0.5])


def _visibility(
    vertices: Points3,
    triangles: Triangles,
    camera: ScaledOrthographicCamera,
    atlas: UvAtlas,
    settings: TextureSettings,
) -> FloatArray:
    """(FILL_PX, FILL_PX) float32: 1 where the camera sees the texel well, 0 where it does not."""
    turned = camera.turn(vertices)
    low, extent = turned[:, :2].min(axis=0), np.ptp(turned[:, :2], axis=0).max()
    side = settings.depth_map_px
    flat = (turned[:, :2] - low) * ((side - 1) / extent)
    raster = rasterize(flat, triangles, (side, side), towards_viewer=turned[:, 2])
    depth = raster.interpolate(turned[:, 2:].astype(np.float32), triangles)[..., 0]
    depth[~raster.is_covered] = NOTHING_THERE

    normals = vertex_normals(turned, triangles)
    baked = atlas.bake(np.column_stack([flat, turned[:, 2], normals[:, 2]]))
    nearest = cv2.remap(depth, baked[..., :2], None, cv2.INTER_LINEAR, borderValue=(NOTHING_THERE,))
    slack = settings.depth_slack * extent
    is_front = baked[..., 2] > nearest - slack
    facing = np.clip(
        (baked[..., 3] - settings.facing_from) / (settings.facing_to - settings.facing_from), 0, 1
    )
    seen: FloatArray = (is_front * facing * facing * (3 - 2 * facing)).astype(np.float32)
    return seen


def _inside(where_px: FloatArray, size: tuple[int, int]) -> FloatArray:
    """1 where a position falls into the photo."""
    x, y = where_px[..., 0], where_px[..., 1]
    inside = (x >= -0.5) & (y >= -0.5) & (x <= size[1] - 0.5) & (y <= size[0] - 0.5)
    return inside.astype(np.float32)


def _feathered(seen: FloatArray) -> FloatArray:
    """Shrink a little and soften, so that nothing from behind an edge bleeds in."""
    shrunk = cv2.erode(seen, np.ones((5, 5), np.uint8))
    feathered: FloatArray = np.minimum(cv2.GaussianBlur(shrunk, (0, 0), 2.5), seen)
    return feathered


def _filled(from_photo: RgbImage, seen: FloatArray, *, mirror: bool) -> RgbImage:
    """Blend what was seen with its mirror image and with diffused colour."""
    square = from_photo.shape[1::-1]
    small = cv2.resize(from_photo, seen.shape[::-1], interpolation=cv2.INTER_AREA)
    small = small.astype(np.float32)
    fill, fill_known = small, seen
    if mirror:
        mirrored_seen = np.ascontiguousarray(seen[:, ::-1])
        both = seen * mirrored_seen
        # Only lightness is matched, and only in the large: the two sides of a face differ in light.
        lightness = (small - small[:, ::-1]).mean(axis=2) * both
        mass = cv2.GaussianBlur(both, (0, 0), TONE_BLUR)
        difference = cv2.GaussianBlur(lightness, (0, 0), TONE_BLUR) / np.maximum(mass, 1e-4)
        offset = push_pull(difference[..., None], np.minimum(4 * mass, 1.0))
        instead = (1.0 - seen) * mirrored_seen
        fill_known = seen + instead
        mixed = seen[..., None] * small + instead[..., None] * (small[:, ::-1] + offset)
        fill = mixed / np.maximum(fill_known, 1e-6)[..., None]
    diffused = np.clip(push_pull(np.ascontiguousarray(fill), fill_known), 0, 255)
    background = cv2.resize(diffused.astype(np.uint8), square, interpolation=cv2.INTER_LINEAR)
    if mirror:
        offset_full = cv2.resize(np.repeat(offset, 3, axis=2).astype(np.int16), square)
        mirrored = cv2.add(cv2.flip(from_photo, 1), offset_full, dtype=cv2.CV_8U)
        background = _blend(mirrored, background, mirrored_seen)
    return _blend(from_photo, background, seen)


def _blend(front: RgbImage, back: RgbImage, weight_small: FloatArray) -> RgbImage:
    """`front` where the weight is 1, `back` where it is 0."""
    weight = cv2.resize(weight_small, front.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    return np.asarray(cv2.blendLinear(front, back, weight, 1.0 - weight), np.uint8)
