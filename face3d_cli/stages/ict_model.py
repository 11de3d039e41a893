"""What is ICT-FaceKit's head for these coefficients? The model as it is read from the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache

import numpy as np
import numpy.typing as npt
from safetensors import SafetensorError, safe_open

from face3d_cli.arrays import FloatArray, Points2, Points3, Triangles
from face3d_cli.core.head_parts import HeadObject, head_objects
from face3d_cli.core.ict_topology import (
    LANDMARK_VERTICES,
    NARROW_FACE,
    NUM_EXPRESSIONS,
    NUM_IDENTITIES,
    NUM_POLYGONS,
    NUM_VERTICES,
)
from face3d_cli.core.landmarks68 import JAW
from face3d_cli.core.linear_face import LinearFace, front_row, jaw_rows, vertices_beside
from face3d_cli.errors import ModelError, ShapeError
from face3d_cli.stages.ict_points import landmark_offsets_mm
from face3d_cli.weights.store import verify


@dataclass(frozen=True, eq=False)
class IctModel:
    """ICT-FaceKit Light, in centimetres, +Y up, +Z out of the face, +X to the subject's left.

    Attributes:
        neutral_cm: (V, 3) the mean head with a closed mouth and open eyes, V = 26719.
        identity_cm: (100, V, 3) displacement of one standard deviation of each identity shape.
        expression_names: 53 names, ARKit's with `_L` and `_R`.
        expression_cm: (53, V, 3) displacement of each expression at weight 1.
        polygons: (P, 4) vertex indices, counter-clockwise seen from outside; -1 ends a triangle.
        polygon_uv: (P, 4) the same into `uv`.
        uv: (T, 2) origin bottom-left; the whole part is the UDIM tile.
    """

    neutral_cm: Points3
    identity_cm: FloatArray
    expression_names: tuple[str, ...]
    expression_cm: FloatArray
    polygons: npt.NDArray[np.int32]
    polygon_uv: npt.NDArray[np.int32]
    uv: Points2

    @staticmethod
    def load() -> IctModel:
        """Read the model from the store, once for a process.

        Raises:
            ModelError: missing or damaged.
        """
        return _load()

    def vertices(
        self,
        identity: FloatArray | None = None,
        expression: FloatArray | Mapping[str, float] | None = None,
    ) -> Points3:
        """(V, 3) the head of these coefficients, in centimetres.

        Args:
            identity: (K,) in standard deviations, K up to 100; None is the mean.
            expression: (53,) weights, usually 0 to 1, or weights by name; None is neutral.

        Raises:
            ShapeError: too many coefficients, or an expression of another name.
        """
        head = self.neutral_cm.copy()
        if identity is not None:
            if identity.ndim != 1 or len(identity) > len(self.identity_cm):
                raise ShapeError(f"identity must be up to {NUM_IDENTITIES}, got {identity.shape}")
            head += np.tensordot(
                identity.astype(np.float32), self.identity_cm[: len(identity)], axes=1
            )
        if expression is not None:
            for index, weight in enumerate(self.expression_weights(expression)):
                if weight:
                    head += weight * self.expression_cm[index]
        return head

    def expression_weights(self, expression: FloatArray | Mapping[str, float]) -> FloatArray:
        """(53,) float32 weights in the order of `expression_names`."""
        if isinstance(expression, Mapping):
            weights = np.zeros(len(self.expression_names), np.float32)
            for name, weight in expression.items():
                if name not in self.expression_names:
                    raise ShapeError(
                        f"there is no expression '{name}'",
                        hint=f"expected one of {', '.join(self.expression_names)}",
                    )
                weights[self.expression_names.index(name)] = weight
            return weights
        if expression.shape != (len(self.expression_names),):
            raise ShapeError(f"expression must be ({NUM_EXPRESSIONS},), got {expression.shape}")
        return expression.astype(np.float32)

    @cached_property
    def triangles(self) -> Triangles:
        """(F, 3) the polygons cut into triangles; those of polygon p follow those of p - 1."""
        return split(self.polygons, self.polygons)

    @cached_property
    def triangle_uv(self) -> Triangles:
        """(F, 3) the texture coordinates of the triangles' corners, as indices into `uv`."""
        return split(self.polygon_uv, self.polygons)

    @cached_property
    def polygon_of_triangle(self) -> npt.NDArray[np.int64]:
        """(F,) the polygon that each triangle is cut from."""
        return np.repeat(np.arange(len(self.polygons)), 1 + (self.polygons[:, 3] >= 0))

    @cached_property
    def objects(self) -> dict[str, HeadObject]:
        """The exported objects: head, eye_left, eye_right."""
        return head_objects(self.triangles, self.triangle_uv, self.polygon_of_triangle, self.uv)

    @cached_property
    def linear_mm(self) -> LinearFace:
        """The model as the fitter takes it, in millimetres."""
        landmarks = self.landmark_vertices
        candidates = np.arange(NARROW_FACE.first_vertex, NARROW_FACE.end_vertex)
        offsets = landmark_offsets_mm()
        return LinearFace(
            mean_mm=10.0 * self.neutral_cm,
            shape_mm=10.0 * self.identity_cm,
            expression_mm=10.0 * self.expression_cm,
            expression_names=self.expression_names,
            triangles=self.triangles,
            landmark_vertices=landmarks,
            jaw_rows=jaw_rows(self.neutral_cm, candidates, landmarks[JAW], front_row(landmarks)),
            landmark_offsets_mm=offsets,
            vertices_at_landmarks=vertices_beside(
                10.0 * self.neutral_cm[candidates], landmarks, offsets
            ),
        )

    @cached_property
    def landmark_vertices(self) -> npt.NDArray[np.int64]:
        """(68,) vertices of the landmarks; the jaw is a fixed line."""
        return np.array(LANDMARK_VERTICES)


@lru_cache(maxsize=1)
def narrow_triangles() -> Triangles:
    """(F, 3) triangles of the face without ears, neck and the back of the cheeks."""
    triangles = IctModel.load().triangles
    return triangles[(triangles < NARROW_FACE.end_vertex).all(axis=1)]


def split(corners: npt.NDArray[np.int32], polygons: npt.NDArray[np.int32]) -> Triangles:
    """(F, 3) corners of polygons as fans: (0, 1, 2), and (0, 2, 3) where there is a fourth."""
    fans = corners[:, [[0, 1, 2], [0, 2, 3]]]  # (P, 2, 3)
    is_there = np.stack([np.ones(len(polygons), bool), polygons[:, 3] >= 0], axis=1)
    return np.ascontiguousarray(fans[is_there], np.int32)


@lru_cache(maxsize=1)
def _load() -> IctModel:
    path = verify("ict-facekit") / "ict-facekit.safetensors"
    try:
        with safe_open(path, framework="numpy") as file:
            names = tuple(file.metadata()["expressions"].split(","))
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, KeyError, OSError) as problem:
        raise ModelError(
            f"cannot read {path}: {problem}", hint="face3d models verify ict-facekit"
        ) from problem
    expressions = np.zeros((NUM_EXPRESSIONS, NUM_VERTICES, 3), np.float32)
    starts = arrays["expression_starts"]
    for index in range(NUM_EXPRESSIONS):
        rows = slice(starts[index], starts[index + 1])
        expressions[index, arrays["expression_vertices"][rows]] = arrays["expression_cm"][rows]
    model = IctModel(
        neutral_cm=arrays["neutral_cm"],
        identity_cm=arrays["identity_cm"].astype(np.float32),
        expression_names=names,
        expression_cm=expressions,
        polygons=arrays["polygons"],
        polygon_uv=arrays["polygon_uv"],
        uv=arrays["uv"],
    )
    assert model.polygons.shape == (NUM_POLYGONS, 4)
    return model
