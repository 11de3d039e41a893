"""Which place in the position map's square has each vertex of ICT-FaceKit's face?

ICT-FaceKit's own texture layout is kept, but for three things: the closed slits of the eyes are
opened, so that upper and lower lid lie texels apart even in a small map; neck and forehead are
squeezed in favour of the features; the outline is stretched to the square.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy import sparse
from scipy.interpolate import PchipInterpolator
from scipy.sparse.linalg import spsolve

from face3d_cli.arrays import FloatArray, Indices, Points2, Triangles
from face3d_cli.core.ict_topology import PARTS
from face3d_cli.stages.ict_model import IctModel

# Half width and half height of an opened eye, in widths of the square.
EYE_HALF_WIDTH, EYE_HALF_HEIGHT, EYE_SHAPE = 0.034, 0.022, 0.75
# Where levels of ICT-FaceKit's layout come to lie: (before, after), v from the bottom, u from left.
_V_KNOTS = ((0.0, 0.26, 0.85, 1.0), (0.0, 0.17, 0.90, 1.0))
_U_KNOTS = ((0.0, 0.13, 0.87, 1.0), (0.0, 0.09, 0.91, 1.0))


def face_triangles(model: IctModel) -> Triangles:
    """(F, 3) triangles of the part called face: face, ears, front of the neck."""
    triangles: Triangles = model.triangles[_is_face(model)]
    return triangles


def _is_face(model: IctModel) -> npt.NDArray[np.bool_]:
    part = PARTS["face"]
    corners_inside = (model.triangles < part.end_vertex).all(axis=1)
    belongs: npt.NDArray[np.bool_] = model.polygon_of_triangle < part.end_polygon
    return belongs & corners_inside


def face_layout(model: IctModel) -> Points2:
    """(9409, 2) places in the unit square, origin bottom-left, mirror-symmetric in u.

    The vertices around the eyes are moved to lens-shaped holes; all others follow as mean value
    combinations of their neighbours (Floater 2003, "Mean value coordinates"), whose weights are
    those of the original layout.
    """
    end = PARTS["face"].end_vertex
    triangles = face_triangles(model)
    uv = np.zeros((end, 2))
    uv[triangles.ravel()] = model.uv[model.triangle_uv[_is_face(model)].ravel()]
    fixed_uv = uv.copy()
    loops = _boundary_loops(triangles)
    for loop in loops:
        if len(loop) < 60:  # the eyes; the mouth has 74 vertices, the outline 204
            _open_eye(loop, uv, model.neutral_cm, fixed_uv)
    solved = _relaxed(uv, fixed_uv, triangles, np.concatenate(loops))
    low, extent = solved.min(axis=0), np.ptp(solved, axis=0)
    u, v = ((solved - low) / extent).T
    return np.column_stack([PchipInterpolator(*_U_KNOTS)(u), PchipInterpolator(*_V_KNOTS)(v)])


def _boundary_loops(triangles: Triangles) -> list[Indices]:
    """The closed lines of edges that belong to one triangle only."""
    edges = np.concatenate([triangles[:, [k, (k + 1) % 3]] for k in range(3)])
    unique, count = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    neighbours: dict[int, list[int]] = {}
    for first, second in unique[count == 1].tolist():
        neighbours.setdefault(first, []).append(second)
        neighbours.setdefault(second, []).append(first)
    loops, seen = [], set()
    for start in neighbours:
        if start in seen:
            continue
        loop, step = [], start
        while step not in seen:
            seen.add(step)
            loop.append(step)
            step = next((n for n in neighbours[step] if n not in seen), start)
        loops.append(np.array(loop))
    return loops


def _open_eye(loop: Indices, uv: Points2, neutral_cm: FloatArray, fixed_uv: Points2) -> None:
    """Move the upper and the lower half of a slit apart."""
    low, high = uv[loop].min(axis=0), uv[loop].max(axis=0)
    centre, half = (low + high) / 2, (high - low) / 2
    loop = np.roll(loop, -int(uv[loop, 0].argmin()))
    corner = int(uv[loop, 0].argmax())
    for lid in (loop[: corner + 1], np.append(loop[corner:], loop[0])):
        side = 1.0 if neutral_cm[lid, 1].mean() > neutral_cm[loop, 1].mean() else -1.0
        x = (uv[lid, 0] - centre[0]) / half[0]
        fixed_uv[lid, 0] = centre[0] + x * EYE_HALF_WIDTH
        arch = np.maximum(1 - x * x, 0.0) ** EYE_SHAPE
        fixed_uv[lid, 1] = centre[1] + side * EYE_HALF_HEIGHT * arch


def _relaxed(uv: Points2, fixed_uv: Points2, triangles: Triangles, fixed: Indices) -> Points2:
    """Places of the free vertices as weighted means of their neighbours' places."""
    rows, columns, weights = [], [], []
    for k in range(3):
        here, after, before = (triangles[:, (k + step) % 3] for step in range(3))
        a, b = uv[after] - uv[here], uv[before] - uv[here]
        angle = np.arctan2(np.abs(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]), (a * b).sum(axis=1))
        tangent = np.tan(angle / 2)
        rows += [here, here]
        columns += [after, before]
        weights += [tangent / np.maximum(np.linalg.norm(side, axis=1), 1e-9) for side in (a, b)]
    entries = (np.concatenate(weights), (np.concatenate(rows), np.concatenate(columns)))
    pull = sparse.coo_matrix(entries, (len(uv), len(uv))).tocsr()
    system = (sparse.diags(np.asarray(pull.sum(axis=1)).ravel()) - pull).tocsr()
    free = np.setdiff1d(np.arange(len(uv)), fixed)
    right = -system[free][:, fixed] @ fixed_uv[fixed]
    solved = fixed_uv.copy()
    inner = system[free][:, free].tocsc()
    solved[free] = np.column_stack([spsolve(inner, right[:, axis]) for axis in range(2)])
    return solved
