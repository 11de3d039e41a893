"""The Surrey fit: eos's own answer, a camera that agrees with it, and refusals."""

from __future__ import annotations

import eos
import numpy as np
import pytest

from face3d_cli.core.landmarks68 import EYE_CORNERS
from face3d_cli.errors import ModelError, ShapeError, StageError, UsageError
from face3d_cli.io.image import read_photo
from face3d_cli.settings import MorphableSettings
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.morphable import fit_surrey, load_surrey, points_for_eos, shape_lambda

pytestmark = pytest.mark.usefixtures("surrey")


@pytest.fixture(scope="module")
def landmarks(sample_photo):
    photo = read_photo(sample_photo)
    return predict_landmarks(photo, detect_faces(photo)[0])


def eos_itself(landmarks, folder, settings):
    """Follow eos's own example, with nothing of ours."""
    model = eos.morphablemodel.load_model(str(folder / "sfm_shape_3448.bin"))
    morphable = eos.morphablemodel.MorphableModel(
        model.get_shape_model(),
        eos.morphablemodel.load_blendshapes(str(folder / "expression_blendshapes_3448.bin")),
        color_model=eos.morphablemodel.PcaModel(),
        vertex_definitions=None,
        texture_coordinates=model.get_texture_coordinates(),
    )
    mapping = str(folder / "ibug_to_sfm.txt")
    return eos.fitting.fit_shape_and_pose(
        morphable,
        [
            eos.core.Landmark(str(i + 1), [float(np.float32(v)) for v in p])
            for i, p in enumerate(points_for_eos(landmarks, settings, load_surrey()))
        ],
        eos.core.LandmarkMapper(mapping),
        512,
        512,
        eos.morphablemodel.load_edge_topology(str(folder / "sfm_3448_edge_topology.json")),
        eos.fitting.ContourLandmarks.load(mapping),
        eos.fitting.ModelContour.load(str(folder / "sfm_model_contours.json")),
        num_iterations=settings.num_iterations,
        num_shape_coefficients_to_fit=settings.num_shape_coefficients,
        lambda_identity=shape_lambda(landmarks, settings),
    )


@pytest.mark.parametrize(
    "settings",
    [
        MorphableSettings(),
        MorphableSettings(landmark_offsets=False),
        MorphableSettings(num_iterations=2, num_shape_coefficients=10),
    ],
)
def test_coefficients_and_shape_are_those_of_eos(landmarks, surrey, settings):
    fit = fit_surrey(landmarks, (512, 512), settings)
    mesh, rendering, shape, expressions = eos_itself(landmarks, surrey / "surrey", settings)
    np.testing.assert_allclose(fit.shape_coefficients, shape, atol=1e-6)
    np.testing.assert_allclose(list(fit.expression_coefficients.values()), expressions, atol=1e-6)
    theirs = np.asarray(mesh.vertices)
    moved = fit.vertices_mm - fit.vertices_mm.mean(axis=0)
    np.testing.assert_allclose(moved, theirs - theirs.mean(axis=0), atol=2e-3)  # float32 inside

    # The camera draws each vertex where eos's matrices do.
    homogeneous = np.column_stack([theirs, np.ones(len(theirs))])
    clip = (
        homogeneous
        @ np.asarray(rendering.get_modelview()).T
        @ np.asarray(rendering.get_projection()).T
    )
    expected = np.column_stack([(clip[:, 0] + 1) * 256, (1 - clip[:, 1]) * 256])
    np.testing.assert_allclose(fit.camera.project(fit.vertices_mm), expected, atol=1e-2)


def test_the_residual_is_that_of_the_projected_landmarks(landmarks):
    fit = fit_surrey(landmarks, (512, 512))
    away = np.linalg.norm(fit.camera.project(fit.landmarks_mm) - landmarks, axis=1)
    assert fit.fit_error_px == pytest.approx(away.mean())
    assert fit.fit_error_px < 4  # the face is 110 px wide


def test_the_head_frame_has_its_origin_between_the_eyes_and_faces_the_viewer(landmarks):
    fit = fit_surrey(landmarks, (512, 512))
    np.testing.assert_allclose(fit.landmarks_mm[list(EYE_CORNERS)].mean(axis=0), 0, atol=1e-9)
    nose, chin, left_eye = fit.landmarks_mm[30], fit.landmarks_mm[8], fit.landmarks_mm[45]
    assert nose[2] > 10
    assert chin[1] < -60
    assert left_eye[0] > 20


def test_a_neutral_face_keeps_identity_and_drops_expression(landmarks):
    posed = fit_surrey(landmarks, (512, 512))
    neutral = fit_surrey(landmarks, (512, 512), MorphableSettings(use_expressions=False))
    assert posed.expression_coefficients == neutral.expression_coefficients
    expected = load_surrey().draw_mm(posed.shape_coefficients, np.zeros(6))
    origin = expected - neutral.vertices_mm
    np.testing.assert_allclose(origin, np.broadcast_to(origin[0], origin.shape), atol=1e-9)
    assert np.abs(posed.vertices_mm - neutral.vertices_mm).max() > 0.5
    np.testing.assert_allclose(
        neutral.posed_vertices_mm - posed.vertices_mm,
        (neutral.posed_vertices_mm - posed.vertices_mm)[:1].repeat(3448, 0),
        atol=1e-9,
    )


def test_a_known_face_is_recovered_from_its_own_landmarks(landmarks):
    """Fitting the projected landmarks of a fitted face finds its pose again."""
    fit = fit_surrey(landmarks, (512, 512))
    again = fit_surrey(fit.camera.project(fit.landmarks_mm), (512, 512))
    np.testing.assert_allclose(again.camera.rotation, fit.camera.rotation, atol=0.06)
    assert again.fit_error_px < 0.7 * fit.fit_error_px


@pytest.mark.parametrize(
    ("points", "error"),
    [
        (np.zeros((67, 2)), ShapeError),
        (np.full((68, 2), np.nan), StageError),
        (np.zeros((68, 2)), StageError),
        (np.column_stack([np.arange(68.0), np.arange(68.0)]), StageError),
    ],
)
def test_landmarks_that_hold_no_face_are_refused(points, error):
    with pytest.raises(error):
        fit_surrey(points, (512, 512))


def test_the_weight_of_the_shape_has_a_part_for_pixels_and_one_for_the_area(landmarks):
    square = np.array([[0.0, 0.0], [100.0, 50.0]])
    settings = MorphableSettings(pixel_regularisation=7.0, shape_regularisation=0.01)
    assert shape_lambda(square, settings) == pytest.approx(57.0)


def test_without_the_part_for_pixels_the_size_of_the_photo_does_not_decide_the_face(landmarks):
    settings = MorphableSettings(pixel_regularisation=0.0, shape_regularisation=0.004)
    small = fit_surrey(landmarks, (512, 512), settings)
    large = fit_surrey(3 * landmarks, (1536, 1536), settings)
    away_mm = np.linalg.norm(large.vertices_mm - small.vertices_mm, axis=1)
    assert away_mm.mean() < 0.5


def test_landmarks_of_a_large_face_are_trusted_more(landmarks):
    small = fit_surrey(landmarks, (512, 512))
    large = fit_surrey(3 * landmarks, (1536, 1536))
    norms = [np.linalg.norm(fit.shape_coefficients) for fit in (small, large)]
    assert norms[1] > 1.1 * norms[0]


def test_without_offsets_eos_gets_the_landmarks_as_they_are(landmarks):
    plain = MorphableSettings(landmark_offsets=False)
    np.testing.assert_array_equal(points_for_eos(landmarks, plain, load_surrey()), landmarks)
    moved = points_for_eos(landmarks, MorphableSettings(), load_surrey())
    assert np.abs(moved[:17] - landmarks[:17]).max() == 0  # the jaw has no fixed vertices
    assert np.linalg.norm(moved - landmarks, axis=1)[27] > 2


@pytest.mark.parametrize(
    "settings",
    [
        MorphableSettings(num_iterations=0),
        MorphableSettings(num_shape_coefficients=64),
        MorphableSettings(num_shape_coefficients=0),
        MorphableSettings(shape_regularisation=0.0, pixel_regularisation=0.0),
        MorphableSettings(shape_regularisation=-0.1),
    ],
)
def test_settings_out_of_range_are_refused(landmarks, settings):
    with pytest.raises(UsageError):
        fit_surrey(landmarks, (512, 512), settings)


def test_a_missing_model_names_the_command(landmarks, tmp_path, monkeypatch):
    monkeypatch.setenv("FACE3D_HOME", str(tmp_path))
    load_surrey.cache_clear()
    with pytest.raises(ModelError, match="face3d models pull surrey"):
        fit_surrey(landmarks, (512, 512))
