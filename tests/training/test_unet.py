from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from face3d_cli.core import segmentation_classes as classes
from face3d_cli.errors import ModelError, UsageError
from face3d_cli.io.segmentation_data import LabelledPhoto
from face3d_cli.networks.unet import UNet
from face3d_cli.settings import FASSEG_TRAINING, AugmentSettings, SegmentationTrainingSettings
from face3d_cli.stages.segmentation import segment_photo
from face3d_cli.training.augment import Labelled, augment
from face3d_cli.training.unet import (
    continue_from,
    face_free_parts,
    groups_of,
    load_sources,
    make_batch,
    merged_losses,
    save_unet,
    smoke_settings,
    train_part,
    train_unet,
)

SMOKE = smoke_settings(SegmentationTrainingSettings())
SMOKE = replace(SMOKE, loop=replace(SMOKE.loop, num_threads=1))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, float]]:
    """A FASSEG and a CelebAMask-HQ of four photos each: bands whose colour tells the class."""
    root = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)
    for index in range(4):
        bands = np.repeat(rng.permutation(6), 16)[:, None].repeat(96, axis=1)
        photo = (40 * bands[..., None] + rng.integers(0, 20, (96, 96, 3))).astype(np.uint8)
        for folder, picture in (
            ("fasseg/train/rgb", photo),
            ("fasseg/train/labels", classes.FASSEG_COLORS[bands]),
            ("celeba/train/images", photo),
            ("celeba/train/masks", bands.astype(np.uint8)),
        ):
            (root / folder).mkdir(parents=True, exist_ok=True)
            Image.fromarray(picture).save(root / folder / f"{index}.png")
    return [(root / "fasseg", 2.0), (root / "celeba", 1.0)]


def test_losses_agree_with_a_loop_over_pixels() -> None:
    groups, tables = groups_of([classes.FASSEG, classes.CELEBAMASK], detail_weight=3.0)
    rng = np.random.default_rng(2)
    logits = torch.from_numpy(rng.normal(0, 1, (2, 18, 4, 5)).astype(np.float32))
    raw = rng.integers(0, 6, (2, 4, 5))
    targets = np.stack([tables["fasseg"][raw[0]], tables["celebamask"][raw[1]]]).astype(np.int64)
    targets[0, 0, 0] = classes.IGNORED
    valid = torch.stack([groups.of_scheme["fasseg"], groups.of_scheme["celebamask"]])
    cross_entropy, mean_dice = merged_losses(logits, torch.from_numpy(targets), valid, groups)

    chances = logits.softmax(1).double().numpy()
    members = groups.members.numpy()
    total = weight = 0.0
    overlap, claimed, truth = np.zeros((3, len(members)))
    for image in range(2):
        for y in range(4):
            for x in range(5):
                target = targets[image, y, x]
                if target == classes.IGNORED:
                    continue
                sums = members @ chances[image, :, y, x]
                pixel_weight = float(groups.weight[target])
                total -= pixel_weight * np.log(sums[target])
                weight += pixel_weight
                overlap[target] += sums[target]
                truth[target] += 1
                claimed += sums * valid[image].numpy()
    present = truth > 0
    dice = (1 - (2 * overlap + 1) / (claimed + truth + 1))[present].mean()
    assert float(cross_entropy) == pytest.approx(total / weight, rel=1e-5)
    assert float(mean_dice) == pytest.approx(dice, rel=1e-5)


def test_coarse_labels_do_not_say_which_member_it_is() -> None:
    """FASSEG's mouth is satisfied by lips or inner mouth alike, and by nothing else."""
    groups, tables = groups_of([classes.FASSEG], detail_weight=1.0)
    mouth = tables["fasseg"][classes.FASSEG_NAMES.index("mouth")]
    target, valid = torch.full((1, 1, 1), int(mouth)), groups.of_scheme["fasseg"][None]

    def loss(name: str) -> float:
        logits = torch.zeros(1, 18, 1, 1)
        logits[0, classes.INDEX[name]] = 20.0
        return float(merged_losses(logits, target, valid, groups)[0])

    assert loss("upper_lip") == pytest.approx(loss("inner_mouth"), abs=1e-6)
    assert loss("upper_lip") < 1e-3 < 5 < loss("skin")


def test_labels_move_with_the_photo() -> None:
    """The grey level tells the class, so after any geometry both still say the same."""
    rng = np.random.default_rng(5)
    labels = np.kron(rng.integers(0, 4, (6, 5)), np.ones((30, 30))).astype(np.uint8)
    image = (labels[..., None] * 60 + 20).repeat(3, axis=2).astype(np.uint8)
    sample = Labelled(image, labels, np.arange(256, dtype=np.uint8), background=7)
    still = AugmentSettings(
        background_share=0, occluder_share=0, color=0, grey_share=0, light_share=0, degrade_share=0
    )
    checked = 0
    for seed in range(12):
        photo, moved = augment(sample, still, 96, 2, [], np.random.default_rng(seed))
        assert photo.shape == (96, 96, 3)
        assert moved.shape == (48, 48)
        grey = photo.reshape(48, 2, 48, 2, 3).astype(float).mean(axis=(1, 3, 4))
        inside = moved != 7
        right = np.abs(grey - (moved * 60.0 + 20)) < 12
        if inside.any():
            checked += 1
            assert right[inside].mean() > 0.8  # the rest are borders between the patches
    assert checked > 8


def test_a_flip_swaps_left_and_right(folders: list[tuple[Path, float]]) -> None:
    left = classes.INDEX["left_eye"]
    labels = np.full((64, 64), left, np.uint8)
    sample = Labelled(np.zeros((64, 64, 3), np.uint8), labels, classes.RICH.mirror())
    seen = set()
    for seed in range(12):
        _, moved = augment(sample, AugmentSettings(), 64, 2, [], np.random.default_rng(seed))
        seen |= set(np.unique(moved).tolist())
    assert {left, classes.INDEX["right_eye"]} <= seen <= {0, left, classes.INDEX["right_eye"]}


def test_a_batch_is_a_function_of_seed_and_step(folders: list[tuple[Path, float]]) -> None:
    sources, groups, fillers = load_sources(folders, SMOKE)
    assert [s.weight for s in sources] == [4.0, 2.0]
    one, two, other = (make_batch(step, sources, groups, fillers, SMOKE) for step in (1, 1, 2))
    assert torch.equal(one.images, two.images)
    assert torch.equal(one.targets, two.targets)
    assert not torch.equal(one.images, other.images)
    assert one.images.shape == (2, 3, 32, 32)
    for targets, valid in zip(one.targets, one.valid, strict=True):
        assert valid[targets].all()
    assert make_batch(3, sources, groups, fillers, SMOKE).images.shape == (2, 3, 64, 64)
    assert one.images.min() >= -1
    assert one.images.max() <= 1


def test_a_smoke_run_resumes_exactly_and_its_weights_segment_a_photo(
    folders: list[tuple[Path, float]], tmp_path: Path
) -> None:
    whole = train_unet(folders, tmp_path / "whole", SMOKE)
    train_unet(folders, tmp_path / "parts", SMOKE, stop_after=3)
    resumed = train_unet(folders, tmp_path / "parts", SMOKE, resume=True)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name
    weights = save_unet(resumed, tmp_path / "unet.safetensors")
    image = np.random.default_rng(0).integers(0, 256, (50, 37, 3)).astype(np.uint8)
    assert segment_photo(image, weights=weights).labels.shape == (50, 37)


def test_training_goes_on_from_weights(folders: list[tuple[Path, float]], tmp_path: Path) -> None:
    first = train_unet(folders, tmp_path / "first", SMOKE)
    weights = save_unet(first, tmp_path / "first.safetensors")
    begun = UNet(SMOKE.unet)
    continue_from(begun, weights)
    for name, value in first.state_dict().items():
        torch.testing.assert_close(begun.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    wider = UNet(replace(SMOKE.unet, widths=(4, 8, 12)))
    with pytest.raises(ModelError, match="another shape"):
        continue_from(wider, weights)


def test_fassegs_classes_begin_as_means_of_what_they_consist_of(
    folders: list[tuple[Path, float]], tmp_path: Path
) -> None:
    first = train_unet(folders, tmp_path / "first", SMOKE)
    weights = save_unet(first, tmp_path / "first.safetensors")
    six = smoke_settings(FASSEG_TRAINING)
    begun = UNet(six.unet)
    continue_from(begun, weights)
    mouth = [classes.INDEX[name] for name in classes.FASSEG_MEMBERS["mouth"]]
    torch.testing.assert_close(
        begun.head.weight[classes.FASSEG_NAMES.index("mouth")],
        first.head.weight[mouth].half().float().mean(dim=0),
        rtol=1e-4,
        atol=1e-6,
    )
    trained = train_unet(folders[:1], tmp_path / "six", six, start_from=weights)
    file = save_unet(trained, tmp_path / "six.safetensors")
    image = np.random.default_rng(0).integers(0, 256, (50, 37, 3)).astype(np.uint8)
    assert segment_photo(image, weights=file, classes="fasseg").logits.shape[0] == 6
    with pytest.raises(UsageError, match="celebamask"):
        train_unet(folders, tmp_path / "both", six)


def test_in_its_own_classes_a_label_says_which_it_is() -> None:
    groups, tables = groups_of([classes.FASSEG], 2.0, "fasseg")
    assert torch.equal(groups.members[tables["fasseg"][:6].astype(int)], torch.eye(6))
    assert groups.weight.tolist() == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]


def test_held_out_people_are_never_trained_on() -> None:
    photos = [
        LabelledPhoto(Path(f"{person}-{shot}"), (None,), classes.FASSEG, f"person{person}")
        for person in range(7)
        for shot in range(3)
    ]
    kept, held = train_part(photos, 0.1)
    assert len(held) == 3
    assert len(kept) == 18
    assert not {p.person for p in kept} & {p.person for p in held}
    assert train_part(photos, 0.0) == (photos, [])


def test_face_free_parts_hold_no_labelled_pixel() -> None:
    labels = np.zeros((300, 400), np.uint8)
    labels[150:, 200:260] = 1
    image = labels[..., None].repeat(3, axis=2)
    parts = face_free_parts(image, labels, smallest_px=100)
    assert [p.shape[:2] for p in parts] == [(300, 200), (300, 140), (150, 400)]
    assert not any(part.any() for part in parts)
