"""What colour has each texel of a whole head? The photo's where it sees skin, plausible else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache

import cv2
import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.sparse.linalg import spsolve

from face3d_cli.arrays import FloatArray, Mask, Points2, Points3, RgbImage, Triangles
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.head_parts import REGIONS, HeadObject, Region
from face3d_cli.core.ict_topology import PARTS
from face3d_cli.core.uv_atlas import UvAtlas
from face3d_cli.settings import HeadColors, TextureSettings
from face3d_cli.stages.texture import BakedTexture, bake_texture

# Of the eyeball's texture, whose middle is the pupil's: measured on the model, which has an iris of
# 5.8 mm radius there.
PUPIL_RADIUS, IRIS_RADIUS = 0.045, 0.115
USUAL_SKIN_LEVEL = 165.0  # mean level of skin in an evenly lit photo
SKIN_PULL = 2e-3  # how strongly the skull's colour tends to the skin's mean
SMALLEST_FACE_PX = 256
RIM = 0.012  # of the head's extent in the photo
HAIRLINE = (0.012, 0.045)  # the same: skin so near to hair is not used, and used from there on


@dataclass(frozen=True)
class HeadTexture:
    """The texture of a head.

    Attributes:
        baked: all of it in one square, and what of the face the photo showed.
        regions: the squares that it is made of, by the names of `REGIONS`.
    """

    baked: BakedTexture
    regions: dict[str, RgbImage]


def bake_head(
    image: RgbImage,
    vertices: Points3,
    head: HeadObject,
    camera: ScaledOrthographicCamera,
    settings: TextureSettings = TextureSettings(),
    usable: FloatArray | None = None,
    hair: Mask | None = None,
    colors: HeadColors = HeadColors(),
) -> HeadTexture:
    """Make the one texture of head and eyes.

    The face is taken from the photo, mirrored and filled. Skull and neck continue its border
    smoothly; teeth, gums, mouth and eyes are plain colours, darkened to the photo's exposure.

    Args:
        image: (H, W, 3) photo.
        vertices: (V, 3) the model's fitted vertices in the camera's head frame.
        head: the object "head".
        camera: projects `vertices` into the photo.
        settings: side of the whole texture, and what counts as seen.
        usable: (H, W) float 0..1, how far each pixel shows skin; None uses all of it.
        hair: (H, W) True on hair and hats; the skin beside them is left out softly.
        colors: of what photos do not show.

    Raises:
        UsageError: the size is outside 256..4096.
    """
    if usable is not None:
        extent_px = np.ptp(camera.project(vertices[head.vertex_of_corner]), axis=0)
        usable = _without_rim(usable, extent_px)
        if hair is not None:
            usable = usable * _away_from(hair, float(extent_px.max()))
    corners, triangles = face_of(head)
    side = max(SMALLEST_FACE_PX, _region_px(REGIONS["face"], settings.size_px))
    face = bake_texture(
        image,
        vertices[head.vertex_of_corner[corners]],
        triangles,
        head.tile_uv[corners],
        camera,
        replace(settings, size_px=side),
        usable,
    )
    small = cv2.resize(
        face.image, (SMALLEST_FACE_PX, SMALLEST_FACE_PX), interpolation=cv2.INTER_AREA
    )
    skin = small[_atlas(head, "face", SMALLEST_FACE_PX).is_inside].mean(axis=0)
    exposure = float(np.clip(skin.mean() / USUAL_SKIN_LEVEL, 0.45, 1.1))
    texture = np.zeros((settings.size_px, settings.size_px, 3), np.uint8)
    skull_px = _region_px(REGIONS["skull"], settings.size_px)
    pictures = {
        "face": face.image,
        "skull": _skull(small, head, skin, exposure, colors, skull_px),
        "gums": _plain(colors.gums, exposure),
        "teeth": _plain(colors.teeth, exposure),
        "eye": _eye(_region_px(REGIONS["eye"], settings.size_px), exposure, colors),
    }
    for name, picture in pictures.items():
        _paste(texture, REGIONS[name], picture)
    return HeadTexture(replace(face, image=texture), pictures)


def _without_rim(usable: FloatArray, extent_px: FloatArray) -> FloatArray:
    """Leave out the rim of the usable skin: hair and shadow mix into it."""
    radius = max(1, round(RIM * float(extent_px.max())))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    return np.asarray(cv2.erode(np.asarray(usable, np.float32), kernel), np.float32)


def _away_from(hair: Mask, extent_px: float) -> FloatArray:
    """0 near hair, 1 far from it: at a hairline skin is seen through hairs, and in their shade."""
    away = cv2.distanceTransform((~hair).astype(np.uint8), cv2.DIST_L2, 5) / max(extent_px, 1.0)
    near, far = HAIRLINE
    return np.asarray(np.clip((away - near) / (far - near), 0.0, 1.0), np.float32)


@lru_cache(maxsize=4)
def face_of(head: HeadObject) -> tuple[npt.NDArray[np.int64], Triangles]:
    """The face's corners, and its triangles among them."""
    corners, triangles = np.unique(head.triangles_of("face"), return_inverse=True)
    return corners.astype(np.int64), triangles.reshape(-1, 3).astype(np.int32)


@lru_cache(maxsize=8)
def _atlas(head: HeadObject, region: str, size_px: int) -> UvAtlas:
    parts = {
        "face": ("face",),
        "skull": ("head_neck", "mouth_socket", "eye_socket_left", "eye_socket_right"),
    }[region]
    return UvAtlas(head.tile_uv, head.triangles_of(*parts), size_px)


def _region_px(region: Region, size_px: int) -> int:
    return round(region.side * size_px)


def _paste(texture: RgbImage, region: Region, picture: RgbImage) -> None:
    """Bring a picture into its square; the texture's origin is at the bottom left."""
    size = len(texture)
    left, right = round(region.left * size), round((region.left + region.side) * size)
    top = round((1.0 - region.bottom - region.side) * size)
    bottom = round((1.0 - region.bottom) * size)
    texture[top:bottom, left:right] = cv2.resize(
        picture, (right - left, bottom - top), interpolation=cv2.INTER_AREA
    )


def _plain(color: tuple[int, int, int], exposure: float) -> RgbImage:
    level = np.clip(exposure * np.array(color), 0, 255).astype(np.uint8)
    return np.broadcast_to(level, (4, 4, 3)).copy()


def _skull(
    face: RgbImage,
    head: HeadObject,
    skin: FloatArray,
    exposure: float,
    colors: HeadColors,
    size_px: int,
) -> RgbImage:
    """Skull, neck and sockets: vertex colours, baked."""
    corner_colors = np.tile(exposure * np.array(colors.mouth, np.float64), (len(head.tile_uv), 1))
    vertex = head.vertex_of_corner
    for part in ("eye_socket_left", "eye_socket_right"):
        inside = (vertex >= PARTS[part].first_vertex) & (vertex < PARTS[part].end_vertex)
        corner_colors[inside] = 0.6 * skin
    face_corners, _ = face_of(head)
    of_face = np.full((int(vertex.max()) + 1, 3), np.nan)
    smooth = cv2.GaussianBlur(face, (0, 0), 2.0)
    of_face[vertex[face_corners]] = _sampled(smooth, head.tile_uv[face_corners])
    spread = _spread_over_skull(head, of_face, skin)
    known = np.isfinite(spread[vertex, 0])
    corner_colors[known] = spread[vertex[known]]
    baked = _atlas(head, "skull", size_px).bake(corner_colors)
    return np.clip(baked, 0, 255).astype(np.uint8)


def _spread_over_skull(head: HeadObject, of_face: FloatArray, skin: FloatArray) -> FloatArray:
    """(V', 3) colours of vertices: the face's, and on skull and neck their smooth continuation.

    Each free vertex is the mean of its neighbours, drawn a little to the skin's mean colour: the
    screened Laplace equation over the mesh's edges.
    """
    triangles = head.vertex_of_corner[head.triangles_of("head_neck")]
    used = np.unique(triangles)
    index = np.full(len(of_face), -1)
    index[used] = np.arange(len(used))
    ends = index[np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]])]
    both = np.concatenate([ends, ends[:, ::-1]])
    edges = sparse.coo_matrix((np.ones(len(both)), both.T), shape=(len(used),) * 2).tocsr()
    edges.data[:] = 1.0
    degree = np.asarray(edges.sum(axis=1)).ravel()
    system = sparse.diags(degree * (1.0 + SKIN_PULL)) - edges
    is_fixed = np.isfinite(of_face[used, 0])
    right = SKIN_PULL * degree[:, None] * skin - system[:, is_fixed] @ of_face[used[is_fixed]]
    free = np.flatnonzero(~is_fixed)
    colors = of_face.copy()
    colors[used[free]] = spsolve(system.tocsc()[np.ix_(free, free)], right[free])
    return colors


def _sampled(picture: RgbImage, uv: Points2) -> FloatArray:
    """(N, 3) colours of a square picture at texture coordinates."""
    where = np.column_stack([uv[:, 0], 1.0 - uv[:, 1]]) * len(picture) - 0.5
    found = cv2.remap(
        picture, where.astype(np.float32)[:, None], None, cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )  # fmt: skip
    return np.asarray(found[:, 0], np.float64)


def _eye(size_px: int, exposure: float, colors: HeadColors) -> RgbImage:
    """The eyeball's texture: white, an iris that darkens to its rim, a pupil."""
    axis = (np.arange(size_px) + 0.5) / size_px - 0.5
    radius = np.hypot(*np.meshgrid(axis, axis))[..., None]
    soft = max(2.0 / size_px, 0.004)

    def inside(limit: float) -> FloatArray:
        return np.asarray(np.clip((limit - radius) / soft + 0.5, 0.0, 1.0))

    share = np.clip((radius - PUPIL_RADIUS) / (IRIS_RADIUS - PUPIL_RADIUS), 0.0, 1.0)
    iris = np.array(colors.iris) * (1.15 - 0.65 * share**4)
    picture = np.array(colors.sclera, np.float64) * np.ones_like(radius)
    picture += inside(IRIS_RADIUS) * (iris - picture)
    picture += inside(PUPIL_RADIUS) * (np.array(colors.pupil) - picture)
    # The mapping holds the whole ball: what lies outside the disc is its back.
    return np.asarray(np.clip(exposure * picture, 0, 255), np.uint8)
