"""What the segmentation U-Net learns from: mixed data sets, each at its own detail.

A data set that labels less than the network knows supervises sums of class probabilities: FASSEG's
"skin" is the sum over skin, ears, neck and glasses. Cross-entropy and Dice are both taken on those
sums. A network of FASSEG's own six classes learns from FASSEG alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from face3d_cli.arrays import LabelImage, RgbImage
from face3d_cli.core import segmentation_classes as classes
from face3d_cli.errors import ModelError, UsageError
from face3d_cli.io.atomic import atomic_path
from face3d_cli.io.segmentation_data import LabelledPhoto, find_labelled_photos
from face3d_cli.networks.unet import UNet, unet_bytes
from face3d_cli.networks.unet_weights import read_unet_weights
from face3d_cli.settings import ClassSet, SegmentationTrainingSettings
from face3d_cli.training.augment import Labelled, augment
from face3d_cli.training.loop import Progress, Task, train

_PLAIN = ("background", "skin", "hair", "clothes", "neck", "hat")


def smoke_settings(settings: SegmentationTrainingSettings) -> SegmentationTrainingSettings:
    """A tiny network and a few small steps, to see in seconds that everything runs."""
    return replace(
        settings,
        unet=replace(settings.unet, widths=(4, 8, 8)),
        loop=replace(settings.loop, steps=4, batch_size=2, warmup_steps=1, checkpoint_every=2),
        crop_schedule=((0.0, 32), (0.5, 64)),
        stored_long_side_px=96,
    )


@dataclass(frozen=True)
class Source:
    """One data set folder in memory.

    Attributes:
        samples: photos with labels.
        groups: (256,) index into the groups of `Groups` for every raw label.
        weight: how often it is drawn, relative to the other folders.
    """

    samples: list[Labelled]
    groups: np.ndarray
    scheme: str
    weight: float


@dataclass(frozen=True)
class Groups:
    """Every set of classes that some data set supervises.

    Attributes:
        members: (G, C) 1 where group g contains class c.
        weight: (G,) weight in the cross-entropy.
        of_scheme: for each scheme, (G,) True for the groups it uses.
    """

    members: Tensor
    weight: Tensor
    of_scheme: dict[str, Tensor]


def groups_of(
    schemes: Sequence[classes.LabelScheme], detail_weight: float, class_set: ClassSet = "all"
) -> tuple[Groups, dict[str, np.ndarray]]:
    """Number the distinct groups of several schemes, and map each scheme's raw labels to them."""
    class_names = classes.NAMES_OF[class_set]
    numbers: dict[frozenset[str], int] = {}
    tables: dict[str, np.ndarray] = {}
    used: dict[str, set[int]] = {}
    for scheme in schemes:
        table = np.full(256, classes.IGNORED, np.uint8)
        members_of = scheme.members if class_set == "all" else [(name,) for name in class_names]
        for raw, names in enumerate(members_of):
            if names:
                table[raw] = numbers.setdefault(frozenset(names), len(numbers))
        tables[scheme.name] = table
        used[scheme.name] = set(table.tolist()) - {classes.IGNORED}
    members = torch.zeros(len(numbers), len(class_names))
    weight = torch.ones(len(numbers))
    for group, number in numbers.items():
        members[number, [class_names.index(name) for name in group]] = 1.0
        if not group & set(_PLAIN):
            weight[number] = detail_weight
    flags = {
        name: torch.tensor([number in found for number in range(len(numbers))])
        for name, found in used.items()
    }
    return Groups(members, weight, flags), tables


def load_sources(
    folders: Sequence[tuple[Path, float]],
    settings: SegmentationTrainingSettings,
    on_photo: Callable[[], None] = lambda: None,
    limit: int | None = None,
) -> tuple[list[Source], Groups, list[RgbImage]]:
    """Read the train photos of every folder, and cut face-free parts for backgrounds.

    Each folder is drawn in proportion to the square root of its size, times its weight: a small one
    is seen often, but not as often as its photos are few.

    Raises:
        UsageError: FASSEG's classes are to be learned from another data set.
    """
    listings = [
        (train_part(find_labelled_photos(folder, "train"), settings.held_out_share)[0], weight)
        for folder, weight in folders
    ]
    schemes = list({photos[0].scheme.name: photos[0].scheme for photos, _ in listings}.values())
    if settings.class_set == "fasseg" and schemes != [classes.FASSEG]:
        raise UsageError(
            f"FASSEG's classes are learned from FASSEG, found {', '.join(s.name for s in schemes)}",
            hint="leave the other folders out, or --classes fasseg",
        )
    groups, tables = groups_of(schemes, settings.detail_weight, settings.class_set)
    sources, fillers = [], []
    for photos, weight in listings:
        scheme = photos[0].scheme
        samples = []
        mirror = scheme.mirror()
        for photo in photos[:limit]:
            image, labels = _stored(*photo.read(), settings.stored_long_side_px)
            samples.append(Labelled(image, labels, mirror))
            if scheme is not classes.FASSEG:  # there, clothes are background too
                fillers += face_free_parts(image, labels)
            on_photo()
        share = weight * len(photos) ** 0.5
        sources.append(Source(samples, tables[scheme.name], scheme.name, share))
    return sources, groups, fillers


def train_part(
    photos: list[LabelledPhoto], held_out_share: float
) -> tuple[list[LabelledPhoto], list[LabelledPhoto]]:
    """Split by person: (to train on, held out for choosing settings)."""
    people = sorted({p.person for p in photos}, key=lambda n: hashlib.sha256(n.encode()).digest())
    held = set(people[: int(np.ceil(held_out_share * len(people)))])
    return [p for p in photos if p.person not in held], [p for p in photos if p.person in held]


def face_free_parts(image: RgbImage, labels: LabelImage, smallest_px: int = 128) -> list[RgbImage]:
    """Strips left of, right of and above everything that is labelled, where they are wide."""
    rows, columns = np.nonzero(labels)
    if not rows.size:
        return []
    strips = (image[:, : columns.min()], image[:, columns.max() + 1 :], image[: rows.min()])
    return [np.ascontiguousarray(s) for s in strips if min(s.shape[:2]) >= smallest_px]


def _stored(image: RgbImage, labels: LabelImage, long_side_px: int) -> tuple[RgbImage, LabelImage]:
    scale = long_side_px / max(labels.shape)
    if scale >= 1.0:
        return image, labels
    size = (round(labels.shape[1] * scale), round(labels.shape[0] * scale))
    return (
        np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8),
        np.asarray(cv2.resize(labels, size, interpolation=cv2.INTER_NEAREST), np.uint8),
    )


@dataclass(frozen=True)
class Batch:
    """Photos as (B, 3, H, W) in [-1, 1], group numbers (B, h, w), groups that count (B, G)."""

    images: Tensor
    targets: Tensor
    valid: Tensor


def make_batch(
    step: int,
    sources: list[Source],
    groups: Groups,
    fillers: list[RgbImage],
    settings: SegmentationTrainingSettings,
) -> Batch:
    """Draw the batch of one step: a function of the seed and the step alone."""
    shares = np.array([source.weight for source in sources])
    done = step / settings.loop.steps
    crop_px = [size for start, size in settings.crop_schedule if start <= done][-1]
    images, targets, valid = [], [], []
    for slot in range(settings.loop.batch_size):
        rng = np.random.default_rng((settings.loop.seed, step, slot))
        source = sources[rng.choice(len(sources), p=shares / shares.sum())]
        sample = source.samples[rng.integers(len(source.samples))]
        image, labels = augment(
            sample, settings.augment, crop_px, settings.unet.stem_stride, fillers, rng
        )
        images.append(image)
        targets.append(source.groups[labels])
        valid.append(groups.of_scheme[source.scheme])
    pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)  # channels last in memory
    return Batch(
        pixels.float() / 127.5 - 1.0,
        torch.from_numpy(np.stack(targets).astype(np.int64)),
        torch.stack(valid),
    )


def segmentation_losses(
    network: UNet, batch: Batch, groups: Groups, settings: SegmentationTrainingSettings
) -> dict[str, Tensor]:
    """Cross-entropy and Dice on sums of class probabilities."""
    device = next(network.parameters()).device
    logits = network(batch.images.to(device, memory_format=torch.channels_last))
    cross_entropy, dice = merged_losses(logits, batch.targets, batch.valid, groups)
    return {"cross_entropy": cross_entropy, "dice": settings.dice_weight * dice}


def merged_losses(
    logits: Tensor, targets: Tensor, valid: Tensor, groups: Groups
) -> tuple[Tensor, Tensor]:
    """Weighted cross-entropy, and mean Dice of the groups present, on sums of probabilities.

    Args:
        logits: (B, C, h, w).
        targets: (B, h, w) group numbers or IGNORED.
        valid: (B, G) groups that the data set of each photo uses.
        groups: members and weights of the groups.
    """
    device = logits.device
    targets, valid = targets.to(device).flatten(), valid.to(device)
    members, weight = groups.members.to(device), groups.weight.to(device)
    with torch.autocast(device.type, enabled=False):
        rows = logits.permute(0, 2, 3, 1).reshape(-1, logits.shape[1]).float()  # (pixels, C)
        sums = rows.softmax(dim=1) @ members.T  # (pixels, G)
        known = targets != classes.IGNORED
        chosen = torch.where(known, targets, 0)
        right = sums.gather(1, chosen[:, None])[:, 0]
        pixel_weight = weight[chosen] * known
        logs = right.clamp_min(1e-6).log()
        cross_entropy = -(logs * pixel_weight).sum() / pixel_weight.sum().clamp_min(1.0)

        num_groups, num_images = len(members), len(valid)
        overlap = sums.new_zeros(num_groups).index_add(0, chosen, right * known)
        truth = sums.new_zeros(num_groups).index_add(0, chosen, known.float())
        per_image = (sums * known[:, None]).reshape(num_images, -1, num_groups).sum(dim=1)
        claimed = (per_image * valid).sum(dim=0)
        dice = 1 - (2 * overlap + 1) / (claimed + truth + 1)
        mean_dice = (dice * (truth > 0)).sum() / (truth > 0).sum().clamp_min(1)
    return cross_entropy, mean_dice


def train_unet(
    folders: Sequence[tuple[Path, float]],
    out: Path,
    settings: SegmentationTrainingSettings,
    *,
    start_from: Path | None = None,
    resume: bool = False,
    device: str = "cpu",
    limit: int | None = None,
    stop_after: int | None = None,
    on_photo: Callable[[], None] = lambda: None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> UNet:
    """Train the U-Net on the train part of each (folder, weight); the averaged network comes back.

    Args:
        folders: data set folders in their original layout, each with a weight.
        out: folder for the checkpoint.
        settings: network, augmentation, optimisation.
        start_from: weights file to begin with instead of random weights.
        resume: go on from the checkpoint in `out`.
        device: where to compute.
        limit: at most so many photos of each folder, for a trial.
        stop_after: leave after this many steps in total, as an interruption would.
        on_photo: called after every photo read.
        on_step: called after every step.
    """
    sources, groups, fillers = load_sources(folders, settings, on_photo, limit)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.loop.seed)
        network = UNet(settings.unet)
    if start_from is not None:
        continue_from(network, start_from)
    task = Task[Batch](
        batch_at=lambda step: make_batch(step, sources, groups, fillers, settings),
        losses_of=lambda _, batch: segmentation_losses(network, batch, groups, settings),
    )
    average = train(
        network, task, settings.loop, out,
        resume=resume, device=device, stop_after=stop_after, on_step=on_step,
    )  # fmt: skip
    assert isinstance(average, UNet)
    return average


def continue_from(network: UNet, weights: Path) -> None:
    """Take over trained weights; six classes begin as means of the eighteen that they hold.

    Raises:
        ModelError: not a weights file, or of another shape.
    """
    arrays, trained = read_unet_weights(weights)
    if (trained.num_classes, network.config.num_classes) == (
        len(classes.CLASS_NAMES),
        len(classes.FASSEG_NAMES),
    ):
        membership = classes.FASSEG.membership().astype(np.float32)  # (6, 18)
        shares = membership / membership.sum(axis=1, keepdims=True)
        for name in ("head.weight", "head.bias"):
            arrays[name] = np.tensordot(shares, arrays[name], axes=1)
    try:
        network.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
    except RuntimeError as problem:
        raise ModelError(
            f"{weights} is of another shape: {problem}", hint="give the same --widths"
        ) from problem


def save_unet(network: UNet, path: Path) -> Path:
    """Write the weights file, whole or not at all; returns its path."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(unet_bytes(network))
    return path
