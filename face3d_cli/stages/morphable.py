"""Which Surrey Face Model, seen by which camera, gives these 68 landmarks? eos answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Any

import eos
import numpy as np

from face3d_cli.arrays import FloatArray, Indices, Points2, Points3, Triangles, check_shape
from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.landmarks68 import EYE_CORNERS, JAW, NUM_LANDMARKS, bounding_box
from face3d_cli.core.linear_face import LinearFace, front_row, jaw_rows, vertices_beside
from face3d_cli.errors import ModelError, StageError, UsageError
from face3d_cli.settings import MorphableSettings
from face3d_cli.stages.surrey_points import landmark_offsets_mm, vertices_seen
from face3d_cli.weights.store import verify

MIN_FACE_PX = 8.0  # landmarks closer together than this hold no shape


@dataclass(frozen=True, eq=False)
class SurreyModel:
    """The Surrey Face Model as eos reads it, and the parts of it that never change.

    Attributes:
        morphable_model, landmark_mapper, edge_topology, contour_landmarks, model_contour: eos's.
        triangles: (6736, 3).
        uv: (3448, 2), origin bottom-left.
        mean_mm: (3448, 3).
        shape_basis_mm: (3448, 3, 63), one standard deviation of each coefficient.
        expression_names: the six blendshapes.
        expression_deltas_mm: (6, 3448, 3).
        vertex_of_landmark: iBUG index, from 0, to vertex; of the jaw only its middle (8) has one.
        vertex_beside_landmark: the same for where the landmarks really lie (`surrey_points.py`).
        right_outline, left_outline: vertices that may be the jaw's outline, ear to chin.
    """

    morphable_model: Any
    landmark_mapper: Any
    edge_topology: Any
    contour_landmarks: Any
    model_contour: Any
    triangles: Triangles
    uv: Points2
    mean_mm: Points3
    shape_basis_mm: FloatArray
    expression_names: tuple[str, ...]
    expression_deltas_mm: FloatArray
    vertex_of_landmark: dict[int, int]
    vertex_beside_landmark: dict[int, int]
    right_outline: tuple[int, ...]
    left_outline: tuple[int, ...]

    @cached_property
    def linear_mm(self) -> LinearFace:
        """The model as `fit_linear_face` and `MorphableFace` take it."""
        landmarks = np.full(NUM_LANDMARKS, -1)
        for landmark, vertex in self.vertex_of_landmark.items():
            landmarks[landmark] = vertex
        at_landmarks = landmarks.copy()
        for landmark, vertex in self.vertex_beside_landmark.items():
            at_landmarks[landmark] = vertex
        chin = landmarks[8]
        jaw = np.concatenate(
            [
                self._along((*self.right_outline, chin))[:8],
                [chin],
                self._along((*self.left_outline, chin))[:8][::-1],
            ]
        )
        return LinearFace(
            mean_mm=self.mean_mm,
            shape_mm=np.ascontiguousarray(self.shape_basis_mm.transpose(2, 0, 1)),
            expression_mm=self.expression_deltas_mm,
            expression_names=self.expression_names,
            triangles=self.triangles,
            landmark_vertices=landmarks,
            jaw_rows=jaw_rows(
                self.mean_mm, np.unique(self.triangles).astype(np.int64), jaw, front_row(landmarks)
            ),
            landmark_offsets_mm=landmark_offsets_mm(),
            vertices_at_landmarks=at_landmarks,
        )

    def _along(self, outline: tuple[int, ...]) -> Indices:
        """(9,) vertices of an outline, evenly from the height of the eyes to the chin."""
        line = np.array(outline)
        eyes_y = self.mean_mm[[self.vertex_of_landmark[each] for each in EYE_CORNERS], 1].mean()
        line = line[self.mean_mm[line, 1] <= eyes_y]
        steps = np.linalg.norm(np.diff(self.mean_mm[line], axis=0), axis=1)
        way = np.concatenate([[0.0], np.cumsum(steps)])
        places = np.linspace(0.0, way[-1], 9)
        nearest: Indices = line[np.abs(way[None] - places[:, None]).argmin(axis=1)]
        return nearest

    def draw_mm(self, shape: FloatArray, expressions: FloatArray) -> Points3:
        """(V, 3) the face of these coefficients, in the model's own frame."""
        vertices: Points3 = (
            self.mean_mm
            + self.shape_basis_mm[..., : len(shape)] @ shape
            + np.tensordot(expressions, self.expression_deltas_mm, axes=1)
        )
        return vertices


@dataclass(frozen=True)
class MorphableFit:
    """A fitted face in the head frame, in the model's millimetres.

    Attributes:
        vertices_mm: (V, 3), origin between the eyes; with the fitted expression unless a neutral
            face was asked for.
        posed_vertices_mm: (V, 3) always with the fitted expression, as in the photo.
        camera: projects head-frame millimetres into the photo.
        landmarks_mm: (68, 3) where the landmarks are on the fitted face.
        landmark_vertices: (68,) the vertex of each.
        shape_coefficients: (K,) in standard deviations.
        expression_coefficients: blendshape name to weight, as fitted.
        fit_error_px: mean distance of the projected landmarks to the given ones; the jaw counts
            with the nearest point of the model's outline.
        expression_deltas_mm: blendshape name to (V, 3).
    """

    vertices_mm: Points3
    posed_vertices_mm: Points3
    triangles: Triangles
    uv: Points2
    camera: ScaledOrthographicCamera
    landmarks_mm: Points3
    landmark_vertices: tuple[int, ...]
    shape_coefficients: FloatArray
    expression_coefficients: dict[str, float]
    expression_deltas_mm: dict[str, Points3]
    fit_error_px: float


def fit_surrey(
    landmarks_px: Points2,
    image_size: tuple[int, int],
    settings: MorphableSettings = MorphableSettings(),
) -> MorphableFit:
    """Fit pose, shape and expression of the Surrey Face Model to 68 landmarks.

    Args:
        landmarks_px: (68, 2) iBUG landmarks in image pixels.
        image_size: height and width of the photo.
        settings: iterations, number of shape coefficients, regularisation, neutral or not.

    Raises:
        ShapeError: not 68 points.
        UsageError: a setting is outside its range.
        StageError: the landmarks hold no shape (not finite, or all in one place).
        ModelError: the model is missing or damaged.

    Source: Huber et al. 2016, "A Multiresolution 3D Morphable Face Model and Fitting Framework";
    contour correspondences after Bas et al. 2016, "Fitting a 3D Morphable Model to Edges". For the
    points it is given (`points_for_eos`) the coefficients are eos's own. Its wheel has no
    assertions, so every precondition is checked here.
    """
    model = load_surrey()
    _require_fittable(landmarks_px, image_size, settings, model)
    height, width = image_size
    _, rendering, shape, expressions = eos.fitting.fit_shape_and_pose(
        model.morphable_model,
        [
            eos.core.Landmark(str(index + 1), point)
            for index, point in enumerate(
                points_for_eos(landmarks_px, settings, model).astype(np.float32)
            )
        ],
        model.landmark_mapper,
        width,
        height,
        model.edge_topology,
        model.contour_landmarks,
        model.model_contour,
        num_iterations=settings.num_iterations,
        num_shape_coefficients_to_fit=settings.num_shape_coefficients,
        lambda_identity=shape_lambda(landmarks_px, settings),
    )
    shape_coefficients, fitted_expressions = np.asarray(shape), np.asarray(expressions)
    fitted = model.draw_mm(shape_coefficients, fitted_expressions)
    camera = _camera(rendering, height, width)
    on_vertices = _landmark_vertices(model, camera.project(fitted), landmarks_px, settings)
    error = np.linalg.norm(camera.project(fitted[on_vertices]) - landmarks_px, axis=1).mean()
    if not (np.isfinite(fitted).all() and np.isfinite(error)):
        raise StageError("the fit gave a shape that is not finite", hint="check the landmarks")
    vertices = fitted
    if not settings.use_expressions:
        vertices = model.draw_mm(shape_coefficients, np.zeros_like(fitted_expressions))
    origin = vertices[on_vertices][list(EYE_CORNERS)].mean(axis=0)
    return MorphableFit(
        vertices_mm=vertices - origin,
        posed_vertices_mm=fitted - origin,
        triangles=model.triangles,
        uv=model.uv,
        camera=camera.with_origin(origin),
        landmarks_mm=(vertices - origin)[on_vertices],
        landmark_vertices=tuple(on_vertices),
        shape_coefficients=shape_coefficients,
        expression_coefficients=dict(
            zip(model.expression_names, fitted_expressions.tolist(), strict=True)
        ),
        expression_deltas_mm=dict(
            zip(model.expression_names, model.expression_deltas_mm, strict=True)
        ),
        fit_error_px=float(error),
    )


def points_for_eos(
    landmarks_px: Points2, settings: MorphableSettings, model: SurreyModel
) -> Points2:
    """(68, 2) pixels: the landmarks, moved to where the vertices that eos takes for them are."""
    if not settings.landmark_offsets:
        return landmarks_px
    fixed = [index for index in model.vertex_of_landmark if index >= JAW.stop]
    mean_mm = model.mean_mm[[model.vertex_of_landmark[index] for index in fixed]]
    return vertices_seen(landmarks_px, fixed, mean_mm)


def shape_lambda(landmarks_px: Points2, settings: MorphableSettings) -> float:
    """What eos is given as `lambda_identity`: it weighs coefficients against squared pixels."""
    _, _, width, height = bounding_box(landmarks_px)
    return settings.pixel_regularisation + settings.shape_regularisation * width * height


@lru_cache(maxsize=1)
def load_surrey() -> SurreyModel:
    """Read the model from the store, once; its files are hashed, for eos takes any numbers.

    Raises:
        ModelError: missing, damaged, or eos cannot read it.
    """
    folder = verify("surrey")

    def text(name: str) -> str:
        return str(folder / name)

    try:
        shape = eos.morphablemodel.load_model(text("sfm_shape_3448.bin"))
        blendshapes = eos.morphablemodel.load_blendshapes(text("expression_blendshapes_3448.bin"))
        morphable = eos.morphablemodel.MorphableModel(
            shape.get_shape_model(),
            blendshapes,
            color_model=eos.morphablemodel.PcaModel(),
            vertex_definitions=None,
            texture_coordinates=shape.get_texture_coordinates(),
        )
        mean = shape.get_mean()
        uv = np.asarray(mean.texcoords, np.float64)
        mean_mm = np.asarray(shape.get_shape_model().get_mean(), np.float64).reshape(-1, 3)
        mapper = eos.core.LandmarkMapper(text("ibug_to_sfm.txt"))
        vertex_of = {int(name) - 1: int(vertex) for name, vertex in mapper.get_mappings().items()}
        anchors = np.fromiter(vertex_of.values(), np.int64)
        beside = vertices_beside(mean_mm, anchors, landmark_offsets_mm()[list(vertex_of)])
        pca = shape.get_shape_model()
        outline = json.loads((folder / "sfm_model_contours.json").read_text())["model_contour"]
        return SurreyModel(
            morphable_model=morphable,
            landmark_mapper=mapper,
            edge_topology=eos.morphablemodel.load_edge_topology(
                text("sfm_3448_edge_topology.json")
            ),
            contour_landmarks=eos.fitting.ContourLandmarks.load(text("ibug_to_sfm.txt")),
            model_contour=eos.fitting.ModelContour.load(text("sfm_model_contours.json")),
            triangles=np.asarray(mean.tvi, np.int32),
            uv=np.column_stack([uv[:, 0], 1.0 - uv[:, 1]]),  # the model's own origin is top-left
            mean_mm=mean_mm,
            shape_basis_mm=np.asarray(pca.get_rescaled_pca_basis(), np.float64).reshape(
                len(uv), 3, -1
            ),
            expression_names=tuple(blendshape.name for blendshape in blendshapes),
            expression_deltas_mm=np.stack(
                [np.asarray(each.deformation, np.float64).reshape(-1, 3) for each in blendshapes]
            ),
            vertex_of_landmark=vertex_of,
            vertex_beside_landmark=dict(zip(vertex_of, beside.tolist(), strict=True)),
            right_outline=tuple(outline["right_contour"]),
            left_outline=tuple(outline["left_contour"]),
        )
    except (RuntimeError, ValueError, KeyError) as problem:
        raise ModelError(
            f"eos cannot read the Surrey model in {folder}: {problem}",
            hint="face3d models verify surrey",
        ) from problem


def _require_fittable(
    landmarks_px: Points2,
    image_size: tuple[int, int],
    settings: MorphableSettings,
    model: SurreyModel,
) -> None:
    """Check all that eos takes for granted."""
    check_shape(landmarks_px, (NUM_LANDMARKS, 2), "landmarks")
    most = model.shape_basis_mm.shape[2]
    if not 1 <= settings.num_iterations <= 100:
        raise UsageError(f"iterations must be 1 to 100, got {settings.num_iterations}")
    if settings.num_shape_coefficients is not None and not (
        1 <= settings.num_shape_coefficients <= most
    ):
        raise UsageError(
            f"shape components must be 1 to {most}, got {settings.num_shape_coefficients}"
        )
    weights = (settings.pixel_regularisation, settings.shape_regularisation)
    if not (min(weights) >= 0 and 0 < sum(weights) < float("inf")):
        raise UsageError(f"the weights of the shape must be positive, got {weights}")
    if min(image_size) < 1:
        raise StageError(f"the photo has no pixels: {image_size[1]} x {image_size[0]}")
    if not np.isfinite(landmarks_px).all():
        raise StageError("the landmarks are not all finite numbers")
    _, _, width, height = bounding_box(landmarks_px)
    spread = np.linalg.svd(landmarks_px - landmarks_px.mean(axis=0), compute_uv=False)
    if max(width, height) < MIN_FACE_PX or spread[1] < 0.01 * spread[0]:
        raise StageError(
            f"the landmarks span {width:.1f} x {height:.1f} px and hold no face",
            hint="give a larger photo, or landmarks of a face",
        )


def _camera(rendering: Any, height: int, width: int) -> ScaledOrthographicCamera:
    """Eos's viewing matrices as one scaled-orthographic camera in image pixels, y down."""
    modelview = np.asarray(rendering.get_modelview(), np.float64)
    # glm::ortho(0, w / s, 0, h / s): its first entry is 2 s / w.
    scale = float(np.asarray(rendering.get_projection(), np.float64)[0, 0]) * width / 2
    shift = np.array([scale * modelview[0, 3], height - scale * modelview[1, 3]])
    return ScaledOrthographicCamera(modelview[:3, :3], scale, shift)


def _landmark_vertices(
    model: SurreyModel, vertices_px: Points2, landmarks_px: Points2, settings: MorphableSettings
) -> list[int]:
    """The vertex of each of the 68 landmarks.

    The jaw takes the vertex of its side's outline that projects nearest; the inner mouth corners
    (60 and 64), which the model does not define, take the outer ones.
    """
    offset = settings.landmark_offsets
    vertex_of = dict(model.vertex_beside_landmark if offset else model.vertex_of_landmark)
    for landmarks, outline in ((range(8), model.right_outline), (range(9, 17), model.left_outline)):
        for landmark in landmarks:
            away = np.linalg.norm(vertices_px[list(outline)] - landmarks_px[landmark], axis=1)
            vertex_of[landmark] = outline[int(away.argmin())]
    vertex_of[60], vertex_of[64] = vertex_of[48], vertex_of[54]
    return [vertex_of[landmark] for landmark in range(NUM_LANDMARKS)]
