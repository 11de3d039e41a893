"""A small face model with known answers: a bent grid with smooth random shapes."""

from __future__ import annotations

import numpy as np

from face3d_cli.core.landmarks68 import JAW
from face3d_cli.core.linear_face import LinearFace, front_row, jaw_rows

NUM_SHAPES, NUM_EXPRESSIONS = 6, 3
# 68 points about where a face has them: x to the subject's left, y up, millimetres.
_JAW = [(-70 * np.cos(t), 25 - 95 * np.sin(t) ** 1.2) for t in np.linspace(0, np.pi, 17)]
_REST = (
    [(-52 + 9 * i, 48 + 5 * np.sin(i)) for i in range(5)]
    + [(16 + 9 * i, 48 + 5 * np.sin(i)) for i in range(5)]
    + [(0, 30 - 12 * i) for i in range(4)]
    + [(-14 + 7 * i, -15) for i in range(5)]
    + [(-45, 30), (-37, 34), (-29, 34), (-20, 30), (-29, 26), (-37, 26)]
    + [(20, 30), (29, 34), (37, 34), (45, 30), (37, 26), (29, 26)]
    + [(-24 + 8 * i, -36 + 4 * np.sin(i * np.pi / 6)) for i in range(7)]
    + [(16 - 8 * i, -44) for i in range(5)]
    + [(-18, -38), (-7, -36), (0, -36), (7, -36), (18, -38), (7, -40), (0, -40), (-7, -40)]
)


def small_face(seed: int = 0) -> LinearFace:
    """A grid over 68 known places; its last expression has a twin on the other side."""
    rng = np.random.default_rng(seed)
    side = 41
    x, y = np.meshgrid(np.linspace(-80, 80, side), np.linspace(-85, 75, side))
    x, y = x.ravel(), y.ravel()
    z = 60 - 0.009 * (x**2 + 0.7 * y**2) + 18 * np.exp(-(x**2 + (y + 5) ** 2) / 300)
    mean = np.column_stack([x, y, z])
    vertices = np.array([np.hypot(x - px, y - py).argmin() for px, py in [*_JAW, *_REST]], np.int64)
    waves = rng.uniform(0.01, 0.04, (NUM_SHAPES + NUM_EXPRESSIONS, 3, 2))
    phases = rng.uniform(0, 6, (NUM_SHAPES + NUM_EXPRESSIONS, 3))
    basis = np.sin(waves[..., 0, None] * x + waves[..., 1, None] * y + phases[..., None]).transpose(
        0, 2, 1
    )
    grid = np.arange(side * side).reshape(side, side)
    a, b, c, d = grid[:-1, :-1], grid[:-1, 1:], grid[1:, :-1], grid[1:, 1:]
    triangles = np.concatenate(
        [np.stack(t, axis=-1).reshape(-1, 3) for t in ((a, b, d), (a, d, c))]
    ).astype(np.int32)
    return LinearFace(
        mean_mm=mean,
        shape_mm=4.0 * basis[:NUM_SHAPES],
        expression_mm=8.0 * basis[NUM_SHAPES:],
        expression_names=("jawOpen", "mouthSmile_L", "mouthSmile_R"),
        triangles=triangles,
        landmark_vertices=vertices,
        jaw_rows=jaw_rows(mean, np.arange(len(mean)), vertices[JAW], front_row(vertices)),
        landmark_offsets_mm=np.zeros((68, 3)),
        vertices_at_landmarks=vertices,
    )
