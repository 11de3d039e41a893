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
# dlib, trained on iBUG's annotation, puts them in frontal photos; jaw, brows and bridge where the
# mean shape of the published PRNet (300W-LP's annotation) has them, brought to the nearest place of
# ICT-FaceKit's mean face (`benchmarks/map_landmarks.py` prints both).
# fmt: off
LANDMARK_UV: Points2 = np.array([
    (0.0649, 0.6797), (0.0669, 0.5464), (0.0698, 0.4292), (0.0757, 0.3149), (0.0981, 0.2222),
    (0.1616, 0.1758), (0.2544, 0.1665), (0.3716, 0.1626), (0.5000, 0.1655), (0.6284, 0.1626),
    (0.7456, 0.1665), (0.8384, 0.1758), (0.9019, 0.2222), (0.9243, 0.3149), (0.9302, 0.4292),
    (0.9331, 0.5464), (0.9351, 0.6797),
    (0.1890, 0.8433), (0.2476, 0.8628), (0.3130, 0.8638), (0.3745, 0.8550), (0.4131, 0.8472),
    (0.5869, 0.8472), (0.6255, 0.8550), (0.6870, 0.8638), (0.7524, 0.8628), (0.8110, 0.8433),
    (0.5000, 0.7563), (0.5000, 0.6938), (0.5000, 0.6411), (0.5000, 0.5981),
    (0.4179, 0.5361), (0.4540, 0.5209), (0.5000, 0.5211), (0.5460, 0.5209), (0.5821, 0.5361),
    (0.2677, 0.7758), (0.3068, 0.7982), (0.3420, 0.7917), (0.3715, 0.7645), (0.3270, 0.7499),
    (0.3060, 0.7595),
    (0.6285, 0.7645), (0.6580, 0.7917), (0.6932, 0.7982), (0.7323, 0.7758), (0.6940, 0.7595),
    (0.6730, 0.7499),
    (0.3525, 0.3826), (0.4064, 0.4407), (0.4626, 0.4653), (0.5000, 0.4586), (0.5374, 0.4653),
    (0.5936, 0.4407), (0.6475, 0.3826), (0.6162, 0.2953), (0.5510, 0.2692), (0.5000, 0.2666),
    (0.4490, 0.2692), (0.3838, 0.2953),
    (0.3852, 0.3795), (0.4605, 0.4133), (0.5000, 0.4146), (0.5395, 0.4133), (0.6148, 0.3795),
    (0.5456, 0.3137), (0.5000, 0.3086), (0.4544, 0.3137),
])
# fmt: on
# Whatever the pose, the landmarks' box is nearly centred on this place of the mean face. Pictures
# are cut about it, and their depth is nought there.
FACE_CENTRE_CM = np.array([0.0, -1.8, 7.0])
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
    run counter-clockwise. The halves of the square are cut as each other's mirror images.
    """
    number = np.full(valid.shape, -1, np.int64)
    number[valid] = np.arange(int(valid.sum()))
    a, b = number[:-1, :-1], number[:-1, 1:]  # top-left, top-right
    c, d = number[1:, :-1], number[1:, 1:]  # bottom-left, bottom-right
    full = valid[:-1, :-1] & valid[:-1, 1:] & valid[1:, :-1] & valid[1:, 1:]
    quads = np.stack([c[full], d[full], b[full], a[full]], axis=1)
    in_left_half = np.nonzero(full)[1] < full.shape[1] / 2
    left, right = quads[in_left_half], quads[~in_left_half]
    triangles = np.concatenate(
        [left[:, [0, 1, 2]], left[:, [0, 2, 3]], right[:, [0, 1, 3]], right[:, [1, 2, 3]]]
    )
    return np.ascontiguousarray(triangles, np.int32)


def texel_uv(valid: Mask) -> Points2:
    """(V, 2) place in the square of every vertex of the map's mesh."""
    rows, columns = np.nonzero(valid)
    size = len(valid)
    return np.column_stack([(columns + 0.5) / size, 1.0 - (rows + 0.5) / size])
