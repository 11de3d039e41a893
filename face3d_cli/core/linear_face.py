"""What is a linear face model here: the one type that Surrey and ICT-FaceKit are fitted as."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from face3d_cli.arrays import FloatArray, Indices, Points3, Triangles, check_shape
from face3d_cli.core.landmarks68 import JAW, NUM_LANDMARKS
from face3d_cli.errors import ShapeError

ROW_LENGTH = 12  # vertices that a jaw landmark may be on
# How far they reach, as shares of the way to the middle of the face. Those of the chin begin below
# it: a face that looks up shows that. What lies behind a cheek's is ear.
CHIN = range(5, 12)
ROW_OUTWARDS, ROW_INWARDS = 0.25, 0.6
NEAR_IN_DEPTH_MM = 8.0


@dataclass(frozen=True, eq=False)
class LinearFace:
    """vertices = mean + shape coefficients @ shape basis + expression weights @ expression basis.

    Attributes:
        mean_mm: (V, 3), +Y up, +Z out of the face, +X to the subject's left.
        shape_mm: (K, V, 3) displacement of one standard deviation of each coefficient.
        expression_mm: (E, V, 3) displacement of each expression at weight 1.
        expression_names: E names.
        triangles: (F, 3).
        landmark_vertices: (68,) where the landmarks are; the jaw as seen from the front, -1 where
            the model has no such point.
        jaw_rows: (17, ROW_LENGTH) the vertices among which each jaw landmark may move, as the face
            turns: from behind the jaw towards the middle of the face.
        landmark_offsets_mm: (68, 3) from the landmark's vertex to the landmark, along the head's
            axes.
        vertices_at_landmarks: (68,) the vertices nearest to the landmarks.
    """

    mean_mm: Points3
    shape_mm: FloatArray
    expression_mm: FloatArray
    expression_names: tuple[str, ...]
    triangles: Triangles
    landmark_vertices: Indices
    jaw_rows: Indices
    landmark_offsets_mm: Points3
    vertices_at_landmarks: Indices

    def __post_init__(self) -> None:
        count = len(self.mean_mm)
        check_shape(self.shape_mm, (None, count, 3), "shape basis")
        check_shape(self.expression_mm, (len(self.expression_names), count, 3), "expression basis")
        check_shape(self.landmark_vertices, (NUM_LANDMARKS,), "landmark vertices")
        check_shape(self.landmark_offsets_mm, (NUM_LANDMARKS, 3), "landmark offsets")
        check_shape(self.vertices_at_landmarks, (NUM_LANDMARKS,), "vertices at landmarks")

    def vertices_mm(self, shape: FloatArray, expression: FloatArray) -> Points3:
        """(V, 3) the face of these coefficients; fewer shape coefficients leave the rest at 0.

        Raises:
            ShapeError: too many coefficients, or not one weight for each expression.
        """
        if len(shape) > len(self.shape_mm) or len(expression) != len(self.expression_mm):
            raise ShapeError(
                f"expected up to {len(self.shape_mm)} shape coefficients and "
                f"{len(self.expression_mm)} expression weights, "
                f"got {len(shape)} and {len(expression)}"
            )
        moved: Points3 = (
            self.mean_mm
            + np.tensordot(shape, self.shape_mm[: len(shape)], axes=1)
            + np.tensordot(expression, self.expression_mm, axes=1)
        )
        return moved


def vertices_beside(mean_mm: Points3, vertices: Indices, offsets_mm: Points3) -> Indices:
    """(N,) the vertices nearest to places beside (N,) others, seen from the front.

    Args:
        mean_mm: (V, 3) the vertices to choose from.
        vertices: (N,) where the offsets begin.
        offsets_mm: (N, 3).
    """
    beside = np.empty(len(vertices), np.int64)
    for index, (vertex, offset) in enumerate(zip(vertices, offsets_mm, strict=True)):
        away = mean_mm - mean_mm[vertex] - offset
        near = np.abs(away[:, 2]) < NEAR_IN_DEPTH_MM
        beside[index] = np.where(near, np.hypot(away[:, 0], away[:, 1]), np.inf).argmin()
    return beside


def jaw_rows(mean: Points3, candidates: Indices, jaw: Indices, middle: Indices) -> Indices:
    """(17, ROW_LENGTH) vertices along a line over the cheek for each jaw landmark.

    A turned face shows its outline not at the jaw but on the cheek, somewhere on these lines.

    Args:
        mean: (V, 3).
        candidates: (N,) the vertices that may be an outline: not ears, not neck.
        jaw: (17,) where the landmarks are when the face is seen from the front.
        middle: (17,) the vertex that each line runs towards.
    """
    rows = np.empty((len(jaw), ROW_LENGTH), np.int64)
    points = mean[candidates]
    for index, (start, end) in enumerate(zip(mean[jaw], mean[middle], strict=True)):
        towards = end - start
        # The line lies in the plane of this direction and the axis towards the viewer.
        across = np.cross(towards, (0.0, 0.0, 1.0))
        across /= np.linalg.norm(across)
        flat = towards * (1.0, 1.0, 0.0)
        along = (points - start) @ flat / (flat @ flat)
        off = np.abs((points - start) @ across)
        first = -ROW_OUTWARDS if index in CHIN else 0.0
        for step, share in enumerate(np.linspace(first, ROW_INWARDS, ROW_LENGTH)):
            wanted_off = np.abs(along - share) * np.linalg.norm(flat)
            rows[index, step] = candidates[np.hypot(off, wanted_off).argmin()]
    return rows


def front_row(landmark_vertices: Indices) -> Indices:
    """(17,) the vertices that the jaw's lines run towards: eyes, nose and mouth."""
    targets = (36, 36, 31, 31, 48, 48, 59, 58, 57, 56, 55, 54, 54, 35, 35, 45, 45)
    assert len(targets) == len(range(*JAW.indices(NUM_LANDMARKS)))
    return landmark_vertices[list(targets)]
