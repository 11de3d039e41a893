"""Training samples: the surface, the fit behind the points, photos turned in depth, the folder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from face3d_cli.core.camera import PerspectiveCamera, PoseDegrees, ScaledOrthographicCamera
from face3d_cli.core.landmarks68 import JAW, MIRRORED
from face3d_cli.core.position_map import FACE_CENTRE_CM, landmarks_of
from face3d_cli.core.raster import rasterize
from face3d_cli.errors import StageError, UnreadableInput
from face3d_cli.io.image import read_photo
from face3d_cli.settings import LabelFitSettings
from face3d_cli.stages.detection import detect_faces
from face3d_cli.stages.landmarks import predict_landmarks
from face3d_cli.stages.linear_fit import FacePoints, fit_linear_face
from face3d_cli.training.synth.fit import (
    MEDIAPIPE_68,
    NARROW_FACE_END,
    OVAL,
    Correspondence,
    FittedFace,
    fit_face,
    learn_correspondence,
    predicted_landmarks,
)
from face3d_cli.training.synth.folder import (
    SampleFolder,
    read_correspondence,
    read_heads,
    read_labels,
)
from face3d_cli.training.synth.heads import HeadConvention, SeenHead, learn_convention
from face3d_cli.training.synth.sides import Haircut, paint_hair, without_seam
from face3d_cli.training.synth.surface import FaceSurface, face_surface
from face3d_cli.training.synth.turn import Relief, make_relief, render_turned
from tests.helpers.position_maps import turn_about_y
from tests.helpers.samples import write_samples


@pytest.fixture
def surface(ict: Path) -> FaceSurface:
    return face_surface(64)


def test_the_layout_is_symmetric_and_hardly_folds(surface: FaceSurface) -> None:
    uv = surface.uv
    from scipy.spatial import cKDTree

    away, _ = cKDTree(uv).query(uv * (-1, 1) + (1, 0))
    assert away.max() < 2e-3
    assert uv.min() >= 0
    assert uv.max() <= 1
    from face3d_cli.stages.ict_model import IctModel
    from face3d_cli.stages.map_layout import face_triangles

    a, b, c = (uv[face_triangles(IctModel.load())[:, k]] for k in range(3))
    area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
    assert (area <= 0).mean() < 0.002


def test_landmarks_of_the_mean_map_are_the_models(surface: FaceSurface) -> None:
    """Eyes, base of the nose and lips are where landmarks lie beside the README's vertices."""
    ours = landmarks_of(surface.map_mean_cm)
    model = surface.linear_mm
    theirs = (model.mean_mm[model.landmark_vertices] + model.landmark_offsets_mm) / 10
    away_cm = np.linalg.norm((ours - theirs)[31:, :2], axis=1)
    assert np.median(away_cm) < 0.12
    assert away_cm.max() < 0.4  # the map is coarse where lips and lids fold


GREY = np.full((400, 600, 3), 128, np.uint8)  # in which no landmarks are found
MIDDLE_PX = np.array([300.0, 200.0])
FAR_CM = 1e5  # a camera that is


def mean_face(surface: FaceSurface) -> FittedFace:
    """It looks a little aside, far away."""
    coefficients = np.zeros(len(surface.basis_cm))
    return FittedFace(coefficients, turn_about_y(20), 9.0, MIDDLE_PX, 1 / FAR_CM, 0.0)


def test_a_placed_face_is_seen_by_a_pinhole_camera(surface: FaceSurface) -> None:
    face = replace(mean_face(surface), closeness_per_cm=1 / 60)
    camera = PerspectiveCamera(face.rotation, 9.0, MIDDLE_PX, 60.0, MIDDLE_PX)
    placed = face.place(surface.mean_cm)
    away = surface.mean_cm - FACE_CENTRE_CM
    np.testing.assert_allclose(placed[:, :2], camera.project(away), atol=1e-6)
    np.testing.assert_allclose(placed[:, 2], 9.0 * camera.turn(away)[:, 2], atol=1e-6)


def teacher_of(surface: FaceSurface) -> Correspondence:
    """Points on every 25th vertex of the front, the 68 landmarks where MediaPipe has them."""
    others = np.setdiff1d(np.arange(468), MEDIAPIPE_68)
    vertices = np.arange(0, NARROW_FACE_END, 25)[: len(others)]
    return Correspondence.of(
        surface, others[: len(vertices)], vertices, surface.linear_mm.landmark_offsets_mm
    )


def fake_points(surface: FaceSurface, fitted: FittedFace, pairs: Correspondence) -> np.ndarray:
    """MediaPipe's points as they would be of a known face."""
    head = surface.mean_cm + np.tensordot(fitted.coefficients, surface.basis_cm, axes=1)
    model = pairs.face
    points = np.zeros((478, 3))
    points[pairs.point] = fitted.place(head[pairs.vertex]) * (1, 1, -1)
    landmarks = head[model.landmark_vertices] + model.landmark_offsets_mm / 10
    points[MEDIAPIPE_68] = fitted.place(landmarks) * (1, 1, -1)
    return points


def test_the_fit_finds_a_known_face_again(surface: FaceSurface) -> None:
    rng = np.random.default_rng(0)
    coefficients = np.zeros(len(surface.basis_cm))
    coefficients[:5] = rng.normal(0, 1, 5)
    closeness = 1 / LabelFitSettings.camera_cm
    known = FittedFace(coefficients, turn_about_y(20), 9.0, MIDDLE_PX, closeness, 0.0)
    pairs = teacher_of(surface)
    found = fit_face(surface, GREY, fake_points(surface, known, pairs), pairs)
    assert found.error < 0.005
    assert found.scale_px_per_cm == pytest.approx(9.0, rel=0.02)
    assert found.closeness_per_cm == pytest.approx(closeness, rel=0.05)
    np.testing.assert_allclose(found.middle_px, MIDDLE_PX, atol=2)
    assert PoseDegrees.from_rotation(found.rotation).yaw == pytest.approx(20, abs=1.5)
    meant, got = (
        face.place(surface.mean_cm + np.tensordot(face.coefficients, surface.basis_cm, axes=1))
        for face in (known, found)
    )
    away = np.linalg.norm((meant - got)[:NARROW_FACE_END, :2], axis=1)
    assert np.median(away) < 0.1 * 9.0  # a millimetre


def test_the_teacher_tells_how_the_head_is_turned(surface: FaceSurface) -> None:
    """Landmarks that would turn the head do so less, the surer the teacher's depths are."""
    known = mean_face(surface)
    pairs = teacher_of(surface)
    points = fake_points(surface, known, pairs)
    further = replace(known, rotation=turn_about_y(26))
    points[MEDIAPIPE_68, :2] = fake_points(surface, further, pairs)[MEDIAPIPE_68, :2]

    def yaw_deg(spread_deg: float) -> float:
        settings = LabelFitSettings(turn_spread_deg=spread_deg, camera_cm=FAR_CM)
        found = fit_face(surface, GREY, points, pairs, settings)
        return PoseDegrees.from_rotation(found.rotation).yaw

    assert yaw_deg(0.01) == pytest.approx(20, abs=0.5)
    assert 20 < yaw_deg(1.5) < yaw_deg(100.0)


def test_a_tilt_of_the_teacher_is_taken_out(surface: FaceSurface) -> None:
    known = mean_face(surface)
    upright = teacher_of(surface)
    down = Rotation.from_euler("x", 3, degrees=True).as_matrix()  # the nose goes down
    points = fake_points(surface, replace(known, rotation=known.rotation @ down), upright)
    tilted = replace(upright, tilt_rad=np.radians(-3.0))
    np.testing.assert_allclose(tilted.turn_of(points), known.rotation, atol=1e-3)
    assert np.abs(upright.turn_of(points) - known.rotation).max() > 0.04


def seen_head(surface: FaceSurface, fitted: FittedFace, convention: HeadConvention) -> SeenHead:
    """The second teacher's answer as it would be of a known face seen from far away."""
    head = surface.mean_cm + np.tensordot(fitted.coefficients, surface.basis_cm, axes=1)
    landmarks = head[convention.vertex] + convention.offsets_mm / 10
    down = Rotation.from_euler("x", -convention.tilt_rad).as_matrix()
    return SeenHead(fitted.place(landmarks), fitted.rotation @ down)


def other_convention(surface: FaceSurface) -> HeadConvention:
    learnt = learn_convention(
        surface,
        [(SeenHead(np.random.default_rng(0).normal(0, 50, (68, 3)), np.eye(3)), np.eye(3),
          surface.linear_mm.mean_mm)],
    )  # fmt: skip
    away = np.random.default_rng(1).normal(0, 3, (68, 3))
    symmetric = (away + away[list(MIRRORED)] * (-1, 1, 1)) / 2
    return HeadConvention(learnt.vertex, symmetric - symmetric[17:].mean(axis=0), np.radians(3.0))


def test_a_convention_is_learnt_from_fitted_faces(surface: FaceSurface) -> None:
    convention = other_convention(surface)
    fitted = []
    for yaw_deg in (-10, 0, 5, 10):
        face = replace(mean_face(surface), rotation=turn_about_y(yaw_deg), closeness_per_cm=0.0)
        head = seen_head(surface, face, convention)
        fitted.append((head, face.rotation, surface.linear_mm.mean_mm))
    learnt = learn_convention(surface, fitted)
    assert learnt.tilt_rad == pytest.approx(convention.tilt_rad, abs=1e-3)
    np.testing.assert_allclose(learnt.offsets_mm, convention.offsets_mm, atol=1.5)


def test_the_second_teacher_has_its_say_in_turn_and_jaw(surface: FaceSurface) -> None:
    known = replace(mean_face(surface), closeness_per_cm=0.0)
    convention = other_convention(surface)
    pairs = replace(teacher_of(surface), heads=convention)
    points = fake_points(surface, known, pairs)
    settings = LabelFitSettings(camera_cm=FAR_CM)
    jaw = convention.vertex[JAW]

    def fit(head: SeenHead | None) -> tuple[float, np.ndarray]:
        found = fit_face(surface, GREY, points, pairs, settings, head)
        shape = surface.mean_cm + np.tensordot(found.coefficients, surface.basis_cm, axes=1)
        return PoseDegrees.from_rotation(found.rotation).yaw, found.place(shape)[jaw, :2]

    alone_deg, alone_px = fit(None)
    agreed_deg, agreed_px = fit(seen_head(surface, known, convention))
    assert agreed_deg == pytest.approx(alone_deg, abs=0.3)
    assert np.linalg.norm(agreed_px - alone_px, axis=1).mean() < 0.5
    other = replace(known, rotation=turn_about_y(28))
    turned_deg, _ = fit(seen_head(surface, other, convention))
    assert alone_deg + 1 < turned_deg < 28
    lower = seen_head(surface, known, convention)
    lower.landmarks_px[JAW, 1] += 9.0  # a centimetre further down
    _, lower_px = fit(lower)
    assert 1.0 < (lower_px - agreed_px)[4:13, 1].mean() < 9.0


def test_points_that_are_no_face_fit_badly(surface: FaceSurface) -> None:
    points = np.random.default_rng(0).uniform(0, 100, (478, 3))
    fitted = fit_face(surface, GREY, points, teacher_of(surface))
    assert fitted.error > LabelFitSettings().max_error


def test_predicted_landmarks_must_agree_with_the_teacher(sample_photo: Path) -> None:
    """dlib's landmarks stand for MediaPipe's where both see the same face, and only there."""
    portrait = read_photo(sample_photo)
    (box,) = detect_faces(portrait)
    landmarks = predict_landmarks(portrait, box)
    points = np.zeros((478, 3))
    points[MEDIAPIPE_68, :2] = landmarks
    found = predicted_landmarks(portrait, points)
    assert found is not None
    np.testing.assert_allclose(found, landmarks, atol=1.0)
    aside = np.array([0.1 * np.ptp(landmarks[:, 0]), 0.0, 0.0])
    assert predicted_landmarks(portrait, points + aside) is None
    points[454, 2] = 0.6 * np.ptp(points[MEDIAPIPE_68, 0])  # one ear far behind the other: turned
    assert predicted_landmarks(portrait, points) is None


def test_places_are_learnt_on_faces_fitted_to_predicted_landmarks(
    surface: FaceSurface, sample_photo: Path
) -> None:
    """Points that follow the model's own vertices in the photo are found on these vertices."""
    portrait = read_photo(sample_photo)
    (box,) = detect_faces(portrait)
    model = surface.linear_mm
    fit = fit_linear_face(model, [FacePoints(predict_landmarks(portrait, box))])
    (face,) = fit.photos
    shape_mm = model.vertices_mm(fit.shape, face.expression)
    frontmost = [model.landmark_vertices[i] for i in (30, 8, 27)]
    points = np.zeros((478, 3))
    points[:, :2] = face.camera.project(shape_mm[model.landmark_vertices[30]][None])
    landmarks = shape_mm[model.landmark_vertices] + model.landmark_offsets_mm
    points[MEDIAPIPE_68, :2] = face.camera.project(landmarks)
    free = np.setdiff1d(np.arange(468), [*MEDIAPIPE_68, *OVAL])[: len(frontmost)]
    points[free, :2] = face.camera.project(shape_mm[frontmost])
    found = learn_correspondence(surface, [(portrait, points, None)] * 3)
    places = dict(zip(found.point.tolist(), found.vertex.tolist(), strict=True))
    assert [places[i] for i in free.tolist()] == frontmost
    np.testing.assert_allclose(
        found.face.landmark_offsets_mm[17:], model.landmark_offsets_mm[17:], atol=0.7
    )


def test_a_relief_that_is_not_turned_is_the_photo(surface: FaceSurface) -> None:
    rng = np.random.default_rng(0)
    photo = rng.integers(0, 256, (20, 20, 3)).astype(np.uint8).repeat(12, 0).repeat(12, 1)
    head = surface.mean_cm * 6.0 * (1, -1, 1) + (120, 120, 0)
    person = np.ones((240, 240), bool)
    centre = np.array([120.0, 120.0, 0.0])
    relief = make_relief(photo, person, head, surface.head_triangles, centre, 6.0)
    drawn = render_turned(relief, np.eye(3), centre, np.array([79.5, 79.5]), 1.0, 160)
    part = photo[41:199, 41:199]
    inner = slice(10, 140)
    assert drawn.alpha[inner, inner].min() > 0.99
    # Half a pixel lies between the two centres.
    away = np.abs(drawn.colors[1:159, 1:159].astype(int) - part)[inner, inner]
    assert np.median(away) <= 1
    rows, columns = np.mgrid[:160, :160]
    there = np.stack([columns, rows], axis=2) + 40.5
    np.testing.assert_allclose(drawn.points_px[10:150, 10:150, :2], there[10:150, 10:150], atol=0.1)


def white_nose(surface: FaceSurface) -> tuple[Relief, np.ndarray, np.ndarray]:
    """The relief of a black head with a white nose; its vertices and the nose's tip, in pixels."""
    head = surface.mean_cm * 6.0 * (1, -1, 1) + (120, 120, 0)
    tip = head[surface.linear_mm.landmark_vertices[30]]
    photo = np.zeros((240, 240, 3), np.uint8)
    rows, columns = np.mgrid[:240, :240]
    photo[np.hypot(columns - tip[0], rows - tip[1]) < 5] = 255
    seen = rasterize(head[:, :2], surface.head_triangles, (240, 240), head[:, 2]).is_covered
    return make_relief(photo, seen, head, surface.head_triangles, CENTRE_PX, 6.0), head, tip


CENTRE_PX = np.array([120.0, 120.0, 0.0])


def seen_at(relief: Relief, turn: np.ndarray) -> np.ndarray:
    """Column and row of what is white in the turned relief."""
    drawn = render_turned(relief, turn, CENTRE_PX, np.array([80.0, 80.0]), 1.0, 160)
    return np.argwhere(drawn.colors[..., 0] > 128).mean(axis=0)[::-1]


def meant_at(point_px: np.ndarray, turn: np.ndarray) -> np.ndarray:
    moved: np.ndarray = ((point_px - CENTRE_PX) * (1, -1, 1)) @ turn.T * (1, -1, 1) + (80, 80, 0)
    return moved[:2]


def test_turning_moves_the_nose_as_the_model_says(surface: FaceSurface) -> None:
    """A white nose on a black head turns up where the turned model has its nose."""
    relief, _, tip = white_nose(surface)
    turn = turn_about_y(45)
    np.testing.assert_allclose(seen_at(relief, turn), meant_at(tip, turn), atol=4)


def test_a_near_camera_sees_the_nose_farther_from_the_middle(surface: FaceSurface) -> None:
    relief, _, tip = white_nose(surface)
    turn, closeness = turn_about_y(45), 1 / (50 * 6.0)  # half a metre
    drawn = render_turned(relief, turn, CENTRE_PX, np.array([80.0, 80.0]), 1.0, 160, closeness)
    found = np.argwhere(drawn.colors[..., 0] > 128).mean(axis=0)[::-1]
    depth = (((tip - CENTRE_PX) * (1, -1, 1)) @ turn.T)[2]
    wanted = 80 + (meant_at(tip, turn) - 80) / (1 - closeness * depth)
    np.testing.assert_allclose(found, wanted, atol=4)
    assert np.linalg.norm(wanted - meant_at(tip, turn)) > 5


def test_another_shape_takes_the_photo_along(surface: FaceSurface) -> None:
    """The nose turns up where the deformed head has it, not where the photo had it."""
    relief, _, tip = white_nose(surface)
    moves_px = 6.0 * 3.0 * surface.basis_cm[:3].sum(axis=0) * (1, -1, 1) - (0, 0, 25)
    move = moves_px[surface.linear_mm.landmark_vertices[30]]
    other = relief.deformed(moves_px, surface.head_triangles)
    for yaw_deg in (0.0, 60.0):
        turn = turn_about_y(yaw_deg)
        np.testing.assert_allclose(seen_at(other, turn), meant_at(tip + move, turn), atol=4)
    away = np.linalg.norm(meant_at(tip + move, turn) - meant_at(tip, turn))
    assert away > 15  # what is tested is more than the tolerance


def head_frame_cm(surface: FaceSurface) -> np.ndarray:
    """(240, 240, 3) where on the mean head each pixel lies, seen from the front."""
    flat = surface.mean_cm[:, :2] * (6.0, -6.0) + 120
    raster = rasterize(flat, surface.head_triangles, (240, 240), surface.mean_cm[:, 2])
    return raster.interpolate(surface.mean_cm, surface.head_triangles)


def test_the_seam_on_the_sides_goes_and_the_face_stays(surface: FaceSurface) -> None:
    head_cm = head_frame_cm(surface)
    person = np.any(head_cm != 0, axis=2)
    photo = np.where(person[..., None], 180, 90).astype(np.uint8).repeat(3, axis=2)
    seam = person & (head_cm[..., 2] < 1.2) & (np.abs(head_cm[..., 0]) > 5.5)
    seam &= np.abs(head_cm[..., 1]) < 9
    assert seam.sum() > 100
    photo[seam] = 0
    front = person & (head_cm[..., 2] > 9) & (np.abs(head_cm[..., 0]) < 3)
    for seed in range(3):
        new = without_seam(photo, head_cm, person, np.random.default_rng(seed))
        changed = np.abs(new[front].astype(int) - photo[front])
        assert changed.mean() < 1  # a wide border lets a little grain through
        assert changed.max() < 15
        assert new[seam].mean() > 150


def test_hair_lies_behind_its_line_and_above_its_end(surface: FaceSurface) -> None:
    head_cm = head_frame_cm(surface)
    reach = np.full(7, 3.0)
    cut = Haircut(reach, ends_cm=-2.0, color=np.array([10.0, 200.0, 10.0]), streaks=0.0)
    skin = np.full((240, 240, 3), 100.0)
    painted = paint_hair(skin, head_cm, cut, np.random.default_rng(0))
    is_hair = painted[..., 1] > 190
    person = np.any(head_cm != 0, axis=2)
    behind = person & (head_cm[..., 2] < 1) & (head_cm[..., 1] > 0)
    assert behind.sum() > 100
    assert is_hair[behind].mean() > 0.95
    kept = person & ((head_cm[..., 2] > 5.5) | (head_cm[..., 1] < -4.5))
    assert not is_hair[kept].any()
    np.testing.assert_allclose(painted[kept], 100.0, atol=1.0)


def test_haircuts_differ_and_stay_off_the_face() -> None:
    cuts = [Haircut.draw(None, np.random.default_rng(seed)) for seed in range(50)]
    assert min(cut.ends_cm for cut in cuts) < -8
    assert max(cut.ends_cm for cut in cuts) > 1
    at_eyes = [cut.reach_cm[3] for cut in cuts]
    assert np.std(at_eyes) > 0.5
    assert max(at_eyes) <= 6.5  # the outer corner of the eye lies at 8.6
    own = np.array([200.0, 10.0, 10.0])
    kept = [Haircut.draw(own, np.random.default_rng(seed)).color is own for seed in range(50)]
    assert 0.5 < np.mean(kept) < 1.0


def test_a_folder_gives_pictures_and_maps(tmp_path: Path) -> None:
    write_samples(tmp_path, count=5, parts=2)
    samples = SampleFolder.open(tmp_path)
    assert len(samples) == 10
    assert samples.image(7).shape == (160, 160, 3)
    maps = samples.position_maps([1, 7])
    np.testing.assert_allclose(maps[1], samples.position_map(7), atol=1e-4)
    index = 7
    shape = samples.mean_cm + np.tensordot(samples.coefficients[index], samples.basis_cm, axes=1)
    placed = samples.px_per_cm * shape @ samples.rotation[index].T * (1, -1, 1)
    np.testing.assert_allclose(maps[1], placed + samples.shift_px[index], atol=1e-2)


def test_maps_are_seen_by_a_pinhole_camera(tmp_path: Path) -> None:
    write_samples(tmp_path, count=4, closeness_per_cm=0.02)
    samples = SampleFolder.open(tmp_path)
    maps = samples.position_maps([1, 3])
    index = 3
    shape = samples.mean_cm + np.tensordot(samples.coefficients[index], samples.basis_cm, axes=1)
    flat = ScaledOrthographicCamera(
        samples.rotation[index], samples.px_per_cm, samples.shift_px[index, :2]
    )
    middle = flat.project(FACE_CENTRE_CM[None])[0]
    camera = PerspectiveCamera(flat.rotation, flat.scale_px_per_unit, middle, 50.0, middle)
    # The helper's faces have their origin, not their middle, at depth 0.
    depth_cm = float(flat.turn(FACE_CENTRE_CM[None])[0, 2])
    wanted = camera.project((shape - FACE_CENTRE_CM).reshape(-1, 3) + depth_cm * flat.rotation[2])
    np.testing.assert_allclose(maps[1].reshape(-1, 3)[:, :2], wanted, atol=1e-2)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="no training samples"):
        SampleFolder.open(tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nothing"])
def test_other_files_are_no_labels(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "labels.npz"
    path.write_bytes(content)
    with pytest.raises(UnreadableInput, match="no labels"):
        read_labels(path)


def test_labels_are_read(tmp_path: Path) -> None:
    path = tmp_path / "labels.npz"
    np.savez(path, names=np.array(["a.jpg"]), points=np.zeros((1, 478, 3), np.float32))
    assert read_labels(path).names == ("a.jpg",)


def test_heads_are_read(tmp_path: Path) -> None:
    path = tmp_path / "heads.npz"
    columns = {"landmarks": np.ones((1, 68, 3)), "rotations": np.eye(3)[None]}
    np.savez(path, names=np.array(["a.jpg"]), **columns)
    assert read_heads(path)["a.jpg"].landmarks_px.shape == (68, 3)
    np.savez(path, names=np.array(["a.jpg", "b.jpg"]), **columns)
    with pytest.raises(UnreadableInput, match=r"expected \(2, 68, 3\)"):
        read_heads(path)
    np.savez(
        path, names=np.array(["a.jpg"]), **(columns | {"rotations": np.full((1, 3, 3), np.nan)})
    )
    with pytest.raises(UnreadableInput, match="rotations are not all finite"):
        read_heads(path)
    path.write_bytes(b"nothing")
    with pytest.raises(UnreadableInput, match="holds no heads"):
        read_heads(path)


def test_labels_of_other_photos_are_refused(surface: FaceSurface) -> None:
    with pytest.raises(StageError, match="no labelled photo shows a frontal face"):
        learn_correspondence(surface, [(GREY, np.zeros((478, 3)), None)])


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 nothing"])
def test_a_folder_without_correspondence_is_refused(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / "pairs.npz").write_bytes(content)
    with pytest.raises(UnreadableInput, match="where MediaPipe's points are"):
        read_correspondence(tmp_path)


def test_a_folder_of_another_version_is_refused(tmp_path: Path) -> None:
    columns = {"point": np.arange(3), "vertex": np.arange(3), "offsets_mm": np.zeros((68, 3))}
    np.savez(tmp_path / "pairs.npz", **columns)
    with pytest.raises(UnreadableInput, match="tilt_rad"):
        read_correspondence(tmp_path)
