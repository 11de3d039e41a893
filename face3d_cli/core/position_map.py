"""What is a position map? A square picture of the face's surface whose texels hold places.

Row 0 is the top of the square (v = 1). The square holds face, ears and the front of the neck,
unfolded once and for all; `stages/map_layout.py` draws it from ICT-FaceKit. A texel's three
numbers are x and y in pixels of the picture (y down) and z in the same unit, larger is nearer.

Source: Feng et al. 2018, "Joint 3D Face Reconstruction and Dense Alignment with Position Map
Regression Network" (PRNet).
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray, Mask, Points2, Triangles, check_shape

# (u, v) of the 68 iBUG landmarks, origin bottom-left. Eyes, base of the nose and lips are where
# ICT-FaceKit's README marks them; jaw, brows and bridge where the mean shape of the published
# PRNet (300W-LP's annotation) has them, brought to the nearest place of ICT-FaceKit's mean face.
# fmt: off
LANDMARK_UV: Points2 = np.array([
    (0.0629, 0.6827), (0.0654, 0.5474), (0.0674, 0.4321), (0.0744, 0.3167), (0.0958, 0.2233),
    (0.1593, 0.1758), (0.2520, 0.1662), (0.3702, 0.1617), (0.5000, 0.1643), (0.6298, 0.1617),
    (0.7480, 0.1662), (0.8407, 0.1758), (0.9042, 0.2233), (0.9256, 0.3167), (0.9326, 0.4321),
    (0.9346, 0.5474), (0.9371, 0.6827),
    (0.1864, 0.8462), (0.2450, 0.8658), (0.3109, 0.8668), (0.3733, 0.8573), (0.4124, 0.8494),
    (0.5876, 0.8494), (0.6267, 0.8573), (0.6891, 0.8668), (0.7550, 0.8658), (0.8136, 0.8462),
    (0.5000, 0.7609), (0.5000, 0.6972), (0.5000, 0.6447), (0.5000, 0.6004),
    (0.4154, 0.5186), (0.4615, 0.5159), (0.5000, 0.5161), (0.5385, 0.5159), (0.5846, 0.5186),
    (0.2702, 0.7683), (0.2993, 0.7882), (0.3370, 0.7842), (0.3765, 0.7595), (0.3370, 0.7399),
    (0.2885, 0.7420),
    (0.6235, 0.7595), (0.6630, 0.7842), (0.7007, 0.7882), (0.7298, 0.7683), (0.7115, 0.7420),
    (0.6630, 0.7399),
    (0.3600, 0.3751), (0.4039, 0.4457), (0.4601, 0.4703), (0.5000, 0.4711), (0.5399, 0.4703),
    (0.5961, 0.4457), (0.6400, 0.3751), (0.6187, 0.3003), (0.5710, 0.2742), (0.5000, 0.2691),
    (0.4290, 0.2742), (0.3813, 0.3003),
    (0.3877, 0.3645), (0.4430, 0.4083), (0.5000, 0.4121), (0.5570, 0.4083), (0.6123, 0.3645),
    (0.5706, 0.3137), (0.5000, 0.3086), (0.4294, 0.3137),
])
# fmt: on
NECK_BELOW_V = 0.13  # the jaw's lowest landmark lies at 0.16
# Around eyes, nose and mouth: (u, v) of the bottom-left and the top-right corner.
FEATURE_BOXES = (
    (0.24, 0.70, 0.41, 0.82),
    (0.59, 0.70, 0.76, 0.82),
    (0.40, 0.49, 0.60, 0.80),
    (0.33, 0.24, 0.67, 0.49),
)
LANDMARK_WEIGHT, FEATURE_WEIGHT, FACE_WEIGHT = 16.0, 4.0, 3.0


def to_texels(uv: Points2, size: int) -> Points2:
    """(N, 2) column and row in a map of that size; whole numbers are texel centres."""
    texels: Points2 = np.column_stack([uv[:, 0], 1.0 - uv[:, 1]]) * size - 0.5
    return texels


def sample_map(position_map: FloatArray, uv: Points2) -> FloatArray:
    """(N, C) values at places of the square, blended linearly between texels."""
    check_shape(position_map, (None, None, None), "position_map")
    where = to_texels(uv, len(position_map)).astype(np.float32)[:, None]  # (N, 1, 2)
    picture = np.ascontiguousarray(position_map, np.float32)
    found = cv2.remap(picture, where, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    values: FloatArray = np.asarray(found).reshape(len(uv), -1)
    return values


def sampling_matrix(uv: Points2, size: int) -> FloatArray:
    """(N, size * size) weights with which `sample_map` blends the texels, row by row."""
    matrix = np.zeros((len(uv), size * size), np.float32)
    texels = np.clip(to_texels(uv, size), 0, size - 1)
    low = np.minimum(np.floor(texels).astype(int), size - 2)
    share = texels - low
    for dy in (0, 1):
        for dx in (0, 1):
            weight = np.abs(1 - dx - share[:, 0]) * np.abs(1 - dy - share[:, 1])
            column = (low[:, 1] + dy) * size + low[:, 0] + dx
            matrix[np.arange(len(uv)), column] += weight
    return matrix


def landmarks_of(position_map: FloatArray, landmark_uv: Points2 = LANDMARK_UV) -> FloatArray:
    """(68, 3) the landmarks of a map; `landmark_uv` is for squares of another layout."""
    return sample_map(position_map, landmark_uv)


def mirrored(position_map: FloatArray, width: float) -> FloatArray:
    """The map of the picture flipped left to right, which is `width` pixels wide."""
    flipped = position_map[:, ::-1].copy()
    flipped[..., 0] = width - 1 - flipped[..., 0]
    return flipped


def weight_mask(size: int, valid: Mask, neck_weight: float = 0.0) -> FloatArray:
    """(size, size) how much each texel counts in the loss: 16 : 4 : 3 : neck.

    Landmarks 16, eyes, nose and mouth 4, the rest of the face and the ears 3. The publication
    gives neck and surroundings 0; they then take any shape, so training may want a little more.
    """
    mask = np.full((size, size), FACE_WEIGHT, np.float32)
    v = 1.0 - (np.arange(size) + 0.5) / size
    mask[v < NECK_BELOW_V] = neck_weight
    for left, bottom, right, top in FEATURE_BOXES:
        rows = slice(round((1 - top) * size), round((1 - bottom) * size))
        mask[rows, round(left * size) : round(right * size)] = FEATURE_WEIGHT
    mask[~valid] = neck_weight
    # A landmark counts even where its texel's centre just misses the surface.
    columns, rows_ = np.round(to_texels(LANDMARK_UV, size)).astype(int).clip(0, size - 1).T
    mask[rows_, columns] = LANDMARK_WEIGHT
    return mask


def map_vertices(valid: Mask) -> npt.NDArray[np.int64]:
    """(V,) flat indices of the texels that are vertices of the map's mesh, row by row."""
    return np.flatnonzero(valid)


def map_triangles(valid: Mask) -> Triangles:
    """(F, 3) triangles over the valid texels, two for each full quad, seen from outside.

    Indices count the valid texels only, in the order of `map_vertices`. u runs to the viewer's
    right on a frontal face, so a quad's corners in the order bottom-left, bottom-right, top-right
    run counter-clockwise.
    """
    number = np.full(valid.shape, -1, np.int64)
    number[valid] = np.arange(int(valid.sum()))
    a, b = number[:-1, :-1], number[:-1, 1:]  # top-left, top-right
    c, d = number[1:, :-1], number[1:, 1:]  # bottom-left, bottom-right
    full = valid[:-1, :-1] & valid[:-1, 1:] & valid[1:, :-1] & valid[1:, 1:]
    quads = np.stack([c[full], d[full], b[full], a[full]], axis=1)
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return np.ascontiguousarray(triangles, np.int32)


def texel_uv(valid: Mask) -> Points2:
    """(V, 2) place in the square of every vertex of the map's mesh."""
    rows, columns = np.nonzero(valid)
    size = len(valid)
    return np.column_stack([(columns + 0.5) / size, 1.0 - (rows + 0.5) / size])
