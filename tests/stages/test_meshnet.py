from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from face3d_cli.core.camera import ScaledOrthographicCamera
from face3d_cli.core.mesh import Mesh
from face3d_cli.core.mesh_quality import crossing_triangles, flipped_triangles
from face3d_cli.core.primitives import hemisphere, icosphere
from face3d_cli.errors import ShapeError, UnreadableInput, UsageError
from face3d_cli.settings import MeshLossWeights, MeshNetSettings
from face3d_cli.stages.deformation import draw_comparison, draw_deformation
from face3d_cli.stages.mesh_start import (
    Square,
    face_outline,
    look_at,
    square_around,
    start_from_dome,
    start_from_fit,
)
from face3d_cli.stages.meshnet import FitResult, MeshTarget, optimise_mesh

SIZE = 64
QUICK = MeshNetSettings(size_px=SIZE, steps=40, coarse_share=0.25)


def small_dome() -> Mesh:
    mesh = hemisphere(12, 24)
    return replace(mesh, vertices=mesh.vertices * (0.7, 0.8, 0.6))


def striped_egg() -> MeshTarget:
    """A tilted egg with stripes: neither outline nor colours are the dome's."""
    at = (np.arange(SIZE) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(at, -at)
    mask = ((x - 0.06) / 0.6) ** 2 + ((y + 0.05 - 0.1 * x) / 0.85) ** 2 < 1
    stripes = 0.5 + 0.3 * np.sin(9 * y + 2 * x)
    photo = np.stack([stripes, 0.6 * stripes + 0.1, 0.9 - stripes], axis=-1)
    photo[~mask] = (0.1, 0.9, 0.2)
    return MeshTarget(photo, mask.astype(float), np.zeros((SIZE, SIZE, 3)))


def grey(mesh: Mesh) -> np.ndarray:
    return np.full((len(mesh.vertices), 3), 0.5)


def run(settings: MeshNetSettings = QUICK, target: MeshTarget | None = None, **more) -> FitResult:
    mesh = small_dome()
    return optimise_mesh(target or striped_egg(), mesh, grey(mesh), settings, **more)


def test_colours_are_fitted_once_more_on_the_mesh_as_it_stands() -> None:
    without = run(replace(QUICK, steps=20, recolor_steps=0))
    fitted = run(replace(QUICK, steps=20))
    np.testing.assert_array_equal(fitted.vertices, without.vertices)
    assert fitted.psnr_db > without.psnr_db + 0.5


def test_mesh_comes_to_look_like_the_picture_and_stays_sound() -> None:
    before = run(replace(QUICK, steps=1, recolor_steps=0))
    after = run(replace(QUICK, steps=120, color_learning_rate=0.1))
    assert before.psnr_db < 16
    assert after.psnr_db > 21
    assert after.ssim > before.ssim + 0.2
    mesh = small_dome()
    assert not crossing_triangles(after.vertices, mesh.triangles).any()
    assert flipped_triangles(after.vertices, mesh.vertices, mesh.triangles).mean() < 0.005
    assert np.abs(after.vertices - mesh.vertices).max() > 0.01
    assert {"mse", "chamfer", "edge", "normal", "laplacian", "total"} == set(after.losses[0])
    assert after.losses[-1]["total"] < after.losses[0]["total"]


@pytest.mark.parametrize("renderer", ["torch", "pytorch3d"])
def test_the_same_seed_gives_the_same_mesh(renderer: str) -> None:
    if renderer == "pytorch3d":
        pytest.importorskip("pytorch3d", reason="PyTorch3D is not installed; it is optional")
    settings = replace(QUICK, steps=6, renderer=renderer)
    one, two = run(settings), run(settings)
    np.testing.assert_array_equal(one.vertices, two.vertices)
    np.testing.assert_array_equal(one.colors, two.colors)


def test_a_resumed_run_ends_like_an_uninterrupted_one(tmp_path: Path) -> None:
    settings = replace(QUICK, steps=24, checkpoint_every=5)
    whole = run(settings)
    checkpoint = tmp_path / "run.pt"

    class Interrupted(Exception):
        pass

    def interrupt(step: int, losses: dict[str, float], vertices: np.ndarray) -> None:
        if step == 12:
            raise Interrupted

    with pytest.raises(Interrupted):
        run(settings, checkpoint=checkpoint, progress=interrupt)
    seen: list[int] = []
    resumed = run(
        settings, checkpoint=checkpoint, progress=lambda step, losses, vertices: seen.append(step)
    )
    assert seen == list(range(10, 24))
    np.testing.assert_allclose(resumed.vertices, whole.vertices, atol=1e-7)
    assert [r["total"] for r in resumed.losses] == pytest.approx([r["total"] for r in whole.losses])


def test_a_checkpoint_of_another_run_or_a_damaged_one_is_refused(tmp_path: Path) -> None:
    checkpoint = tmp_path / "run.pt"
    run(replace(QUICK, steps=5, checkpoint_every=5), checkpoint=checkpoint)
    with pytest.raises(UsageError, match="other settings"):
        run(replace(QUICK, learning_rate=1e-4), checkpoint=checkpoint)
    checkpoint.write_bytes(b"nothing")
    with pytest.raises(UnreadableInput, match="not a checkpoint"):
        run(checkpoint=checkpoint)


def test_nan_losses_stop_the_run_and_keep_a_good_mesh() -> None:
    target = striped_egg()
    photo = target.photo.copy()
    photo[20:30] = np.nan
    result = run(target=replace(target, photo=photo))
    assert result.stop_reason == "diverged"
    dome = small_dome()
    np.testing.assert_allclose(result.vertices, dome.vertices, atol=0.15)  # widened to the mask
    assert not flipped_triangles(result.vertices, dome.vertices, dome.triangles).any()


def test_diverging_losses_stop_the_run_and_keep_the_best_mesh() -> None:
    settings = replace(QUICK, optimizer="sgd", learning_rate=1e6, steps=60)
    result = run(settings)
    assert result.stop_reason == "diverged"
    assert len(result.losses) < 60
    assert np.isfinite(result.vertices).all()
    assert np.abs(result.vertices).max() < 2


def test_stops_early_when_nothing_improves() -> None:
    settings = replace(QUICK, learning_rate=1e-9, color_learning_rate=1e-9, steps=200, patience=10)
    result = run(replace(settings, coarse_share=0.0))
    assert result.stop_reason == "converged"
    assert len(result.losses) < 20


def test_a_mesh_outside_the_view_stays_where_it_is() -> None:
    mesh = small_dome()
    away = replace(mesh, vertices=mesh.vertices + np.array([50.0, 0, 0]))
    weights = MeshLossWeights(mse=1, perceptual=0, chamfer=0, edge=0, normal=0, laplacian=0)
    result = optimise_mesh(
        striped_egg(), away, grey(mesh), replace(QUICK, steps=5, weights=weights)
    )
    assert result.stop_reason == "steps"
    np.testing.assert_allclose(result.vertices, away.vertices, atol=1e-4)


def test_sgd_and_each_weight_are_heeded() -> None:
    result = run(replace(QUICK, optimizer="sgd", learning_rate=0.02, coarse_share=0.0))
    assert result.losses[-1]["total"] < result.losses[0]["total"]
    only = MeshLossWeights(0.0, 0.0, 0.0, 2.0, 0.0, 0.0, 3.0)
    records = run(replace(QUICK, steps=2, weights=only)).losses
    assert set(records[0]) == {"silhouette", "edge", "total"}
    double = MeshLossWeights(0.0, 0.0, 0.0, 4.0, 0.0, 0.0, 3.0)
    assert run(replace(QUICK, steps=1, weights=double)).losses[0]["edge"] == pytest.approx(
        2 * records[0]["edge"]
    )


@pytest.mark.parametrize(
    ("parameters", "mesh"), [("meshnet", hemisphere()), ("babymeshnet", icosphere())]
)
def test_networks_can_give_the_vertices(parameters: str, mesh: Mesh) -> None:
    mesh = replace(mesh, vertices=mesh.vertices * 0.7)
    settings = replace(QUICK, parameters=parameters, steps=6, coarse_share=0.0)
    torch.manual_seed(1)
    before = torch.rand(1)
    torch.manual_seed(1)
    result = optimise_mesh(striped_egg(), mesh, grey(mesh), settings)
    assert torch.equal(torch.rand(1), before)  # the caller's chance is left alone
    assert result.losses[-1]["mse"] < result.losses[0]["mse"]
    with pytest.raises(UsageError, match="the template has 289"):
        run(settings)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ShapeError, match="photo"):
        run(replace(QUICK, size_px=128))


def test_square_maps_there_and_back() -> None:
    square = square_around(np.array([[10.0, 20], [110, 60]]), 1.5)
    assert square.side == 150
    points = np.array([[10.0, 20], [60, 40], [square.left - 0.5, square.top - 0.5]])
    view = square.to_view(points)
    np.testing.assert_allclose(view[2], [-1, 1])  # the corner of the top-left pixel
    np.testing.assert_allclose(square.to_image(view), points)
    assert view[1, 0] == pytest.approx(0.0, abs=0.02)


def a_face() -> np.ndarray:
    """68 points roughly in place, upright, 200 px wide."""
    points = np.full((68, 2), 150.0)
    points[:17] = np.stack(
        [np.linspace(50, 250, 17), 150 + 130 * np.sin(np.linspace(0, np.pi, 17))], axis=1
    )
    points[17:27] = np.stack([np.linspace(70, 230, 10), np.full(10, 110)], axis=1)
    points[27], points[36], points[45] = (150, 130), (95, 140), (205, 140)
    return points


def test_look_at_cuts_photo_and_mask_and_leaves_out_what_is_not_this_face() -> None:
    image = np.zeros((300, 400, 3), np.uint8)
    image[:, 300:] = 255
    labels = np.zeros((300, 400), np.uint8)
    labels[60:290, 40:260] = 1  # skin
    labels[60:290, 300:380] = 1  # of somebody else
    outline = face_outline(a_face())
    square = square_around(outline, 1.6)
    target = look_at(image, labels, outline, square, 80)
    assert target.photo.shape == (80, 80, 3)
    assert target.mask.max() == 1
    columns = square.to_image(
        np.stack([((np.arange(80) + 0.5) / 80 * 2 - 1), np.zeros(80)], axis=1)
    )[:, 0]
    assert (target.mask[:, columns > 275] == 0).all()
    assert (target.mask[:, (columns > 100) & (columns < 200)].max(axis=0) == 1).all()
    beyond = look_at(image, labels, outline, Square(-500, 0, 100), 50)
    assert not beyond.mask.any()
    assert not beyond.photo.any()


def test_a_fitted_start_returns_to_where_it_came_from() -> None:
    generator = np.random.default_rng(0)
    vertices = generator.normal(size=(20, 3)) * 60
    turn, _ = np.linalg.qr(generator.normal(size=(3, 3)))
    turn *= np.sign(np.linalg.det(turn))
    camera = ScaledOrthographicCamera(turn, 1.7, np.array([210.0, 170]))
    square = Square(31, -12, 400)
    texture = np.zeros((8, 8, 3), np.uint8)
    texture[:4] = 255
    uv = generator.random((20, 2))
    start = start_from_fit(vertices, np.zeros((1, 3), np.int32), uv, texture, camera, square)
    np.testing.assert_allclose(start.to_head_mm(start.template.vertices), vertices, atol=1e-9)
    np.testing.assert_allclose(
        square.to_image(start.template.vertices[:, :2]), camera.project(vertices), atol=1e-9
    )
    np.testing.assert_allclose(start.camera(square).project(vertices), camera.project(vertices))
    assert (start.colors[uv[:, 1] > 0.6] == 1).all()  # v points up, the texture's first row is top
    assert (start.colors[uv[:, 1] < 0.4] == 0).all()


def test_a_dome_is_laid_over_the_face_in_millimetres() -> None:
    points = a_face()
    square = square_around(face_outline(points), 1.4)
    target = look_at(
        np.full((300, 300, 3), 128, np.uint8), np.ones((300, 300), np.uint8), points, square, 64
    )
    start = start_from_dome(target, points, square)
    head = start.to_head_mm(start.template.vertices)
    image = start.camera(square).project(head)
    np.testing.assert_allclose(image, square.to_image(start.template.vertices[:, :2]), atol=1e-9)
    assert image[:, 0].min() < 55
    assert image[:, 0].max() > 245
    eyes = start.to_head_mm(np.column_stack([square.to_view(points[[36, 45]]), [0, 0]]))
    assert np.linalg.norm(eyes[1] - eyes[0]) == pytest.approx(90.0)
    nearest = np.linalg.norm(head, axis=1).min()
    assert nearest < 8  # the origin lies on the surface, between the eyes
    np.testing.assert_allclose(start.colors, 128 / 255, atol=0.01)


def test_pictures_of_the_deformation() -> None:
    mesh = small_dome()
    frames = draw_deformation([mesh.vertices, mesh.vertices * (0.5, 1, 1)], mesh.triangles, 48)
    assert [f.shape for f in frames] == [(48, 96, 3)] * 2
    dark = [(frame[:, :48] < 250).any(axis=2).sum() for frame in frames]
    assert dark[1] == pytest.approx(dark[0] / 2, rel=0.1)
    picture = draw_comparison(striped_egg(), run(replace(QUICK, steps=1)))
    assert picture.shape == (SIZE, 4 * SIZE, 3)
