"""Training of position map networks: batches, changes, the loss, a run."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from face3d_cli.cli.app import app
from face3d_cli.core.position_map import landmarks_of
from face3d_cli.errors import StageError
from face3d_cli.networks.prnet import load_prnet
from face3d_cli.settings import PositionMapTrainingSettings
from face3d_cli.training.augment import cast_shadow, cut_off
from face3d_cli.training.loop import Progress
from face3d_cli.training.prnet import (
    held_out_errors,
    main_modes,
    main_shapes,
    make_batch,
    map_loss,
    moved_sample,
    sample_pools,
    save_prnet,
    split_held_out,
    train_prnet,
)
from face3d_cli.training.synth.folder import SampleFolder
from tests.helpers.position_maps import TINY
from tests.helpers.samples import write_samples

BASE = PositionMapTrainingSettings()
SMALL = replace(
    BASE,
    network=TINY,
    loop=replace(BASE.loop, steps=4, batch_size=4, warmup_steps=1, checkpoint_every=2),
    held_out_share=0.0,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "samples"
    path.mkdir()
    write_samples(path, count=8)
    return path


def test_a_batch_is_a_function_of_the_step(folder: Path) -> None:
    samples = SampleFolder.open(folder)
    pools = sample_pools(samples, np.arange(6), SMALL)
    once, again = (make_batch(7, samples, pools, SMALL) for _ in range(2))
    torch.testing.assert_close(once.images, again.images)
    torch.testing.assert_close(once.maps, again.maps)
    other = make_batch(8, samples, pools, SMALL)
    assert not torch.equal(once.images, other.images)
    assert once.images.shape == (4, 3, 64, 64)
    assert once.maps.shape == (4, 3, 16, 16)


def test_heads_that_look_sideways_are_drawn_as_often_as_asked(folder: Path) -> None:
    samples = SampleFolder.open(folder)
    kept = np.arange(8)
    sideways_from_deg = float(np.median(np.abs(samples.yaw_deg[::2])))
    sideways = np.abs(samples.yaw_deg) > sideways_from_deg
    settings = replace(
        SMALL, photo_share=0.6, sideways_share=0.25, sideways_from_deg=sideways_from_deg
    )
    ahead, turned_away, pictures = sample_pools(samples, kept, settings)
    assert ahead.indices.tolist() == [i for i in (0, 2, 4, 6) if not sideways[i]]
    assert turned_away.indices.tolist() == [i for i in (0, 2, 4, 6) if sideways[i]]
    assert pictures.indices.tolist() == [1, 3, 5, 7]
    shares = [ahead.share, turned_away.share, pictures.share]
    assert shares == pytest.approx([0.45, 0.15, 0.4])
    (alone,) = sample_pools(samples, kept[1::2], settings)
    assert alone.share == pytest.approx(1.0)


def test_the_map_moves_with_the_picture() -> None:
    picture = np.zeros((160, 160, 3), np.uint8)
    picture[50:55, 90:95] = 255  # centre (92, 52)
    position_map = np.full((4, 4, 3), (92.0, 52.0, 6.0), np.float32)
    image, moved = moved_sample(picture, position_map, 0.8, 25.0, np.array([3.0, -2.0]), 128)
    bright = np.argwhere(image[..., 0] > 128)
    np.testing.assert_allclose(bright.mean(axis=0)[::-1], moved[0, 0, :2], atol=0.5)
    np.testing.assert_allclose(moved[..., 2], 6.0 * 0.8, rtol=1e-6)


def test_main_shapes_express_every_map_at_any_pose(folder: Path) -> None:
    samples = SampleFolder.open(folder)
    rows = np.arange(len(samples))
    shapes = main_shapes(samples, rows, 20)  # three shapes of three coordinates each: nine
    np.testing.assert_allclose(shapes[:13] @ shapes[:13].T, np.eye(13), atol=1e-5)
    assert not shapes[13:].any()
    planes = samples.position_maps(rows).reshape(len(rows), -1, 3).swapaxes(1, 2)
    np.testing.assert_allclose(planes @ shapes.T @ shapes, planes, atol=0.05)
    fewer = main_shapes(samples, rows, 2)
    assert np.abs(planes @ fewer.T @ fewer - planes).max() > 0.1


def test_main_shapes_express_faces_in_perspective(tmp_path: Path) -> None:
    """What is left out is of second order: half a pixel of the thirty that the camera moves."""
    write_samples(tmp_path, count=8, closeness_per_cm=0.015)
    samples = SampleFolder.open(tmp_path)
    rows = np.arange(len(samples))
    planes = samples.position_maps(rows).reshape(len(rows), -1, 3).swapaxes(1, 2)
    shapes = main_shapes(samples, rows, 20)
    flat = replace(samples, closeness_per_cm=np.zeros(len(samples)))
    without = main_shapes(flat, rows, 20)
    left, more = (np.abs(planes @ s.T @ s - planes).max() for s in (shapes, without))
    assert left < 1.5
    assert more > 3 * left


def test_main_modes_vary_as_the_faces_and_their_mirror_images_do(folder: Path) -> None:
    samples = SampleFolder.open(folder)
    rows = np.arange(len(samples))
    planes = main_shapes(samples, rows, 20)
    mean, modes = main_modes(samples, rows, planes, 40)
    size = len(samples.valid)
    faces = samples.mean_cm.reshape(-1, 3) + np.tensordot(
        samples.coefficients, samples.basis_cm.reshape(-1, size**2, 3), axes=1
    )
    flipped = faces.reshape(-1, size, size, 3)[:, :, ::-1] * (-1, 1, 1)
    in_planes = planes @ np.concatenate([faces, flipped.reshape(faces.shape)])
    # This model's shapes are not symmetric: planes made of them hold the mirrored ones nearly.
    np.testing.assert_allclose(mean, in_planes.mean(axis=0), atol=0.05)
    np.testing.assert_allclose((modes**2).sum(axis=0), in_planes.var(axis=0), atol=0.05)
    strengths = np.linalg.norm(modes.reshape(len(modes), -1), axis=1)
    assert (np.diff(strengths) <= 1e-6).all()
    assert strengths[2 * len(rows) :].max() < 1e-6  # so few faces cannot vary in more ways


def test_shadows_and_cut_edges_change_a_part_of_the_picture() -> None:
    picture = np.full((128, 128, 3), 120, np.uint8)
    for seed in range(8):
        rng = np.random.default_rng(seed)
        shaded = cast_shadow(picture, rng)
        assert shaded.min() < 80
        assert shaded.max() > 90
        share = (cut_off(picture, rng) != 120).any(axis=2).mean()
        assert 0.02 < share < 0.45


def test_a_perfect_map_costs_nothing_and_a_shifted_one_its_shift(folder: Path) -> None:
    samples = SampleFolder.open(folder)
    loss = map_loss(samples, SMALL)
    true = torch.from_numpy(samples.position_maps([0, 1]).transpose(0, 3, 1, 2).copy())
    assert sum(float(part) for part in loss(true, true).values()) < 0.01
    shifted = loss(true + torch.tensor([3.0, 4.0, 0.0]).view(1, 3, 1, 1), true)
    assert float(shifted["map"]) == pytest.approx(500, rel=1e-4)
    assert float(shifted["landmarks"]) == pytest.approx(500, rel=1e-4)


def test_a_persons_frames_stay_together(folder: Path) -> None:
    samples = SampleFolder.open(folder)
    kept, held = split_held_out(samples, 0.5)
    assert len(kept) in (0, 8)  # person0_00 to person0_07
    assert len(kept) + len(held) == 8
    _, none = split_held_out(samples, 0.0)
    assert len(none) == 0


def test_training_learns_and_its_file_gives_the_network_back(folder: Path, tmp_path: Path) -> None:
    losses: list[float] = []

    def note(done: Progress) -> None:
        losses.append(sum(done.losses.values()))

    settings = replace(
        SMALL,
        loop=replace(SMALL.loop, steps=60, batch_size=8, learning_rate=3e-3, ema_decay=0.8),
    )
    network = train_prnet(folder, tmp_path / "run", settings, on_step=note)
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    again = load_prnet(save_prnet(network, tmp_path / "net.safetensors"))
    assert again.config == TINY
    torch.testing.assert_close(again.canonical_cm, network.canonical_cm)
    samples = SampleFolder.open(folder)
    errors = held_out_errors(again, samples, range(8), settings)
    assert errors["samples"] == 8
    assert 0 < errors["nme_turned"] < 100
    assert -1 <= errors["ssim"] <= 1


def test_a_stopped_run_goes_on_to_the_same_weights(folder: Path, tmp_path: Path) -> None:
    whole = train_prnet(folder, tmp_path / "a", SMALL)
    train_prnet(folder, tmp_path / "b", SMALL, stop_after=2)
    resumed = train_prnet(folder, tmp_path / "b", SMALL, resume=True)
    for name, value in whole.state_dict().items():
        torch.testing.assert_close(value, resumed.state_dict()[name], msg=name)


def test_going_on_takes_the_faces_of_the_new_samples(folder: Path, tmp_path: Path) -> None:
    first = train_prnet(folder, tmp_path / "a", SMALL)
    first.shapes.zero_()
    first.shape_mean.add_(1.0)
    second = train_prnet(folder, tmp_path / "b", SMALL, start_from=first)
    samples = SampleFolder.open(folder)
    kept, _ = split_held_out(samples, SMALL.held_out_share)
    planes = main_shapes(samples, kept, TINY.shapes)
    np.testing.assert_allclose(second.shapes.numpy(), planes, atol=1e-6)
    assert not torch.allclose(second.shape_mean, first.shape_mean)
    torch.testing.assert_close(second.mean_map, first.mean_map)


def test_maps_of_another_size_are_refused(folder: Path, tmp_path: Path) -> None:
    other = replace(SMALL, network=replace(TINY, widths=(8, 8)))
    with pytest.raises(StageError, match="maps of 16 px"):
        train_prnet(folder, tmp_path / "run", other)


def test_the_mean_map_is_symmetric(folder: Path, tmp_path: Path) -> None:
    network = train_prnet(folder, tmp_path / "run", SMALL, stop_after=1)
    mean = network.mean_map.permute(1, 2, 0).numpy() * 128
    points = landmarks_of(mean)
    assert points[30, 0] == pytest.approx(63.5, abs=0.5)
    assert points[0, 0] + points[16, 0] == pytest.approx(127, abs=0.5)


def test_the_command_trains(tmp_path: Path) -> None:
    folder = tmp_path / "samples"
    folder.mkdir()
    write_samples(folder, count=4, map_px=64)
    arguments = ["train", "prnet", "--data", str(folder), "--encoder", "mobilenetv2", "--smoke"]
    done = CliRunner().invoke(app, [*arguments, "-o", str(tmp_path / "run"), "--hold-out", "0"])
    assert done.exit_code == 0, done.stderr
    assert "step 3: map " in done.stderr  # no terminal, no bar
    path = Path(done.stdout.strip())
    assert path.name == "prnet-mobilenetv2.safetensors"
    assert load_prnet(path).config.encoder == "mobilenetv2"
