"""What position map networks learn from: samples of `face3d synth`, moved and recoloured.

The batch of a step is a function of the seed and the step alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations_with_replacement, pairwise
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from face3d_cli.arrays import FloatArray, Indices, RgbImage
from face3d_cli.core.landmarks68 import normalised_mean_error
from face3d_cli.core.position_map import (
    FACE_CENTRE_CM,
    LANDMARK_UV,
    landmarks_of,
    sampling_matrix,
    weight_mask,
)
from face3d_cli.errors import StageError, UnreadableInput
from face3d_cli.io.atomic import atomic_path
from face3d_cli.networks.prnet import (
    RIGID_SHAPES,
    PositionMapNet,
    load_encoder_file,
    prnet_bytes,
)
from face3d_cli.settings import PositionMapTrainingSettings
from face3d_cli.training.augment import (
    cast_shadow,
    clutter,
    cut_off,
    degrade,
    filler,
    occlude,
    recolor,
)
from face3d_cli.training.loop import Progress, Task, train
from face3d_cli.training.synth.folder import SampleFolder

_BORDERS = (cv2.BORDER_REPLICATE, cv2.BORDER_REFLECT_101, cv2.BORDER_CONSTANT)
YAW_EDGES_DEG = (0.0, 30.0, 60.0, 100.0)


def smoke_settings(settings: PositionMapTrainingSettings) -> PositionMapTrainingSettings:
    """A few small steps, to see in seconds that everything runs."""
    return replace(
        settings,
        loop=replace(settings.loop, steps=3, batch_size=2, warmup_steps=1, checkpoint_every=2),
    )


@dataclass(frozen=True)
class Batch:
    """Pictures (B, 3, S, S) uint8 and their maps (B, 3, M, M) in sides of the picture."""

    images: Tensor
    maps: Tensor


def split_held_out(samples: SampleFolder, share: float) -> tuple[Indices, Indices]:
    """Indices to train on and held out; a photo's samples stay together, a person's frames too.

    YouTube's frames are named `NAME_NN`; everything before the number is the person.
    """
    is_held = np.array([_rank(_person(str(name))) < share for name in samples.names])
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def _rank(person: str) -> float:
    """A number in 0..1 that depends on the name alone: more people do not change who is held."""
    return int.from_bytes(hashlib.sha256(person.encode()).digest()[:4], "big") / 2**32


def _person(name: str) -> str:
    stem = name.rsplit(".", 1)[0]
    front, mark, number = stem.rpartition("_")
    return front if mark and number.isdigit() and len(number) <= 3 else stem


@dataclass(frozen=True)
class Pool:
    """Samples of one kind, and how often one of them is drawn."""

    share: float
    indices: Indices


def sample_pools(
    samples: SampleFolder, kept: Indices, settings: PositionMapTrainingSettings
) -> list[Pool]:
    """Photos that look ahead, photos that look sideways, turned pictures; the shares sum to 1.

    Photos of heads that are turned are few, and nothing else shows what such heads look like.
    """
    is_turned = samples.is_turned[kept]
    is_sideways = np.abs(samples.yaw_deg[kept]) > settings.sideways_from_deg
    photo, sideways = settings.photo_share, settings.sideways_share
    pools = [
        Pool(photo * (1 - sideways), kept[~is_turned & ~is_sideways]),
        Pool(photo * sideways, kept[~is_turned & is_sideways]),
        Pool(1 - photo, kept[is_turned]),
    ]
    pools = [pool for pool in pools if len(pool.indices)]
    total = sum(pool.share for pool in pools)
    return [replace(pool, share=pool.share / total) for pool in pools]


def make_batch(
    step: int, samples: SampleFolder, pools: Sequence[Pool], settings: PositionMapTrainingSettings
) -> Batch:
    """Draw the batch of one step."""
    size = settings.network.input_px
    count = settings.loop.batch_size
    images = np.empty((count, size, size, 3), np.uint8)
    maps = np.empty((count, *samples.mean_cm.shape), np.float32)
    rngs = [np.random.default_rng((settings.loop.seed, step, row)) for row in range(count)]
    shares = [pool.share for pool in pools]
    chosen = [int(rng.choice(pools[rng.choice(len(pools), p=shares)].indices)) for rng in rngs]
    true = samples.position_maps(chosen)
    pictures = [samples.image(index) for index in chosen]
    for row, (picture, rng) in enumerate(zip(pictures, rngs, strict=True)):
        images[row], maps[row] = changed_sample(picture, true[row], settings, rng, pictures)
    return Batch(
        torch.from_numpy(images.transpose(0, 3, 1, 2)),
        torch.from_numpy(np.ascontiguousarray(maps.transpose(0, 3, 1, 2))),
    )


def changed_sample(
    picture: RgbImage,
    position_map: FloatArray,
    settings: PositionMapTrainingSettings,
    rng: np.random.Generator,
    others: list[RgbImage],
) -> tuple[RgbImage, FloatArray]:
    """One picture under a random similarity, flip, colours and occluders, and its map.

    What is in front of it is made of parts of the other pictures, or is a texture of none.
    """
    if rng.random() < 0.5:
        picture = np.ascontiguousarray(picture[:, ::-1])
        position_map = position_map[:, ::-1].copy()
        position_map[..., 0] = len(picture) - 1 - position_map[..., 0]
    size = settings.network.input_px
    is_first = rng.random() < settings.first_look_share
    look = settings.first_look if is_first else settings.next_look
    if rng.random() < look.steep_share:
        roll_deg = rng.uniform(-look.max_roll_deg, look.max_roll_deg)
    else:
        roll_deg = rng.normal(0, look.roll_deg)
    zoom = size / 128 * np.exp(np.clip(rng.normal(0, look.scale), -0.4, 0.4))
    shift = np.clip(rng.normal(0, look.shift, 2), -0.2, 0.2) * size
    image, moved = moved_sample(picture, position_map, zoom, roll_deg, shift, size, rng)
    if rng.random() < settings.occluder_share:
        labels = np.zeros(image.shape[:2], np.uint8)
        of_picture = rng.random() < settings.picture_occluder_share
        texture = clutter(others, size, rng) if of_picture else filler([], size, rng)
        image, _ = occlude(image, labels, 0, 1, texture, rng)
    if rng.random() < settings.cut_share:
        image = cut_off(image, rng)
    if rng.random() < settings.shadow_share:
        image = cast_shadow(image, rng)
    image = degrade(recolor(image, settings.augment, rng), settings.augment, rng)
    return image, moved / size


def moved_sample(
    picture: RgbImage,
    position_map: FloatArray,
    zoom: float,
    roll_deg: float,
    shift_px: FloatArray,
    size: int,
    rng: np.random.Generator | None = None,
) -> tuple[RgbImage, FloatArray]:
    """Turn, scale and shift a picture into a square of `size`, and its map with it.

    Beyond the picture's edges its border is repeated, or (with a generator) it is reflected
    or black at random.
    """
    angle = np.radians(roll_deg)
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = (len(picture) - 1) / 2
    offset = (size - 1) / 2 + shift_px - turn @ (middle, middle)
    border = cv2.BORDER_REPLICATE
    if rng is not None:
        border = int(rng.choice(_BORDERS))
    image = cv2.warpAffine(
        picture,
        np.column_stack([turn, offset]),
        (size, size),
        flags=cv2.INTER_LINEAR,
        borderMode=border,
    )
    moved = np.empty_like(position_map)
    moved[..., :2] = position_map[..., :2] @ turn.T + offset
    moved[..., 2] = position_map[..., 2] * zoom
    return np.asarray(image, np.uint8), moved


@dataclass(frozen=True)
class MapLoss:
    """The weighted loss of maps.

    Attributes:
        weights: (M * M,) of the texels, summing to 1.
        landmark_rows: (M * M, 68) reads the landmarks off a map.
        landmark_weight: of their mean distance in the picture.
    """

    weights: Tensor
    landmark_rows: Tensor
    landmark_weight: float

    def __call__(self, predicted: Tensor, true: Tensor) -> dict[str, Tensor]:
        """Mean distances in percent of the picture's side.

        Source: Feng et al. 2018, equation 3, with the distance in place of its square: its
        gradient does not fade as the network gets better.
        """
        away = (predicted.float() - true).flatten(2)  # (B, 3, texels)
        distance = (away.square().sum(dim=1) + 1e-10).sqrt()
        landmarks = (away[:, :2] @ self.landmark_rows).square().sum(dim=1) + 1e-10
        return {
            "map": 100 * (distance @ self.weights).mean(),
            "landmarks": self.landmark_weight * 100 * landmarks.sqrt().mean(),
        }


def map_loss(samples: SampleFolder, settings: PositionMapTrainingSettings) -> MapLoss:
    """The loss of one folder's maps."""
    size = len(samples.valid)
    mask = weight_mask(size, samples.valid, settings.neck_weight).ravel()
    return MapLoss(
        torch.from_numpy(mask / mask.sum()),
        torch.from_numpy(np.ascontiguousarray(sampling_matrix(LANDMARK_UV, size).T)),
        settings.landmark_weight,
    )


def train_prnet(
    folder: Path,
    out: Path,
    settings: PositionMapTrainingSettings,
    *,
    encoder_weights: Path | None = None,
    start_from: PositionMapNet | None = None,
    resume: bool = False,
    device: str = "cpu",
    stop_after: int | None = None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> PositionMapNet:
    """Train on the samples of a folder; the averaged network comes back.

    Args:
        folder: made by `face3d synth`.
        out: folder for the checkpoint.
        settings: network, changes, optimisation.
        encoder_weights: torchvision's weights to begin with.
        start_from: a trained network of the same shape to begin with.
        resume: go on from the checkpoint in `out`.
        device: where to compute.
        stop_after: leave after this many steps in total, as an interruption would.
        on_step: called after every step.

    Raises:
        UnreadableInput: the folder holds no samples.
        ModelError: the encoder's weights do not fit.
        StageError: the maps of folder and network differ in size.
    """
    samples = SampleFolder.open(folder)
    kept, _ = split_held_out(samples, settings.held_out_share)
    if not len(kept):
        raise UnreadableInput(f"{folder}: all samples are held out", hint="lower --hold-out")
    if len(samples.valid) != settings.network.map_px:
        raise StageError(
            f"{folder} has maps of {len(samples.valid)} px, the network gives "
            f"{settings.network.map_px} px",
            hint="make the samples with --map-px as the network needs it",
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.loop.seed)
        network = PositionMapNet(settings.network)
    if start_from is not None:
        network.load_state_dict(start_from.state_dict())
    else:
        _begin_with_mean(network, samples, kept)
    _describe_faces(network, samples, kept)
    if encoder_weights is not None:
        load_encoder_file(network, encoder_weights)
    loss, pools = map_loss(samples, settings), sample_pools(samples, kept, settings)
    task = Task[Batch](
        batch_at=lambda step: make_batch(step, samples, pools, settings),
        losses_of=lambda net, batch: _losses(net, batch, loss, device),
    )
    average = train(
        network, task, settings.loop, out,
        resume=resume, device=device, stop_after=stop_after, on_step=on_step,
    )  # fmt: skip
    assert isinstance(average, PositionMapNet)
    return average


def _begin_with_mean(network: PositionMapNet, samples: SampleFolder, kept: Indices) -> None:
    """Store the mean map; let a light decoder begin at it."""
    some = kept[:: max(1, len(kept) // 500)]
    side = len(samples.image(int(some[0])))
    assert network.config.input_px >= 32, "the encoders halve the picture five times"
    maps = np.mean([samples.position_map(int(i)) for i in some], axis=0)
    maps[..., :2] += (128 - side) / 2
    maps[..., 0] = (maps[..., 0] + 127 - maps[:, ::-1, 0]) / 2  # symmetric, as the flips make it
    maps[..., 1:] = (maps[..., 1:] + maps[:, ::-1, 1:]) / 2
    network.mean_map.copy_(torch.from_numpy(maps.transpose(2, 0, 1).copy()) / 128)
    if network.config.decoder == "light":
        with torch.no_grad():
            network.decoder.head.weight.mul_(0.1)  # type: ignore[union-attr, operator]


def _describe_faces(network: PositionMapNet, samples: SampleFolder, kept: Indices) -> None:
    """Store the main shapes of samples, the Gaussian of their faces, and the surface."""
    if network.config.decoder == "light":
        planes = main_shapes(samples, kept, network.config.shapes)
        mean, modes = main_modes(samples, kept, planes, network.config.modes)
        network.shapes.copy_(torch.from_numpy(planes))
        network.shape_mean.copy_(torch.from_numpy(mean))
        network.shape_modes.copy_(torch.from_numpy(modes))
    network.canonical_cm.copy_(torch.from_numpy(samples.mean_cm.transpose(2, 0, 1).copy()))
    network.valid.copy_(torch.from_numpy(samples.valid_fine.astype(np.uint8)))


def main_shapes(samples: SampleFolder, kept: Indices, count: int) -> FloatArray:
    """(RIGID_SHAPES + count, M * M) orthonormal planes of which any coordinate of a map is made.

    The first are one and the mean face's x, y and z, and for faces in perspective their products
    (what is seen is enlarged by its depth; both are combinations of x, y and z, whatever the pose);
    then come the main axes of the coordinates of all shapes, each as strong as it is in the
    samples.
    """
    texels = samples.valid.size
    mean = samples.mean_cm.reshape(texels, 3)
    rigid, _ = np.linalg.qr(np.column_stack([np.ones(texels), mean]))
    strength = samples.coefficients[kept].std(axis=0)[:, None, None]
    shapes = samples.basis_cm.reshape(-1, texels, 3) * strength
    if samples.closeness_per_cm.any():
        away = mean - FACE_CENTRE_CM
        products = [away[:, i] * away[:, j] for i, j in combinations_with_replacement(range(3), 2)]
        rigid, _ = np.linalg.qr(np.column_stack([rigid, *products]))
    planes = shapes.transpose(0, 2, 1).reshape(-1, texels)
    planes = planes - (planes @ rigid) @ rigid.T
    _, _, axes = np.linalg.svd(planes, full_matrices=False)
    found = np.zeros((RIGID_SHAPES + count, texels), np.float32)  # fewer shapes leave zeros
    best = np.concatenate([rigid.T, axes])[: len(found)]
    found[: len(best)] = best
    return found


def main_modes(
    samples: SampleFolder, kept: Indices, planes: FloatArray, count: int
) -> tuple[FloatArray, FloatArray]:
    """(P, 3) mean of the faces and their mirror images, (count, P, 3) main modes; head frame, cm.

    Both are made of the (P, M * M) planes. The modes are independent, the strongest first, and each
    is one standard deviation long.
    """
    size, texels = len(samples.valid), samples.valid.size
    basis = planes @ samples.basis_cm.reshape(-1, texels, 3)  # (K, P, 3)
    mean = planes @ samples.mean_cm.reshape(texels, 3)
    faces = mean + np.tensordot(samples.coefficients[kept], basis, axes=1)
    flipped = planes.reshape(-1, size, size)[..., ::-1].reshape(-1, texels)
    faces = np.concatenate([faces, (planes @ flipped.T) @ faces * (-1, 1, 1)])
    middle = faces.mean(axis=0)
    away = (faces - middle).reshape(len(faces), -1)
    variance, axes = np.linalg.eigh(away.T @ away / len(away))
    spread = np.sqrt(np.maximum(variance[::-1][:count], 0.0))
    modes = np.zeros((count, *middle.shape), np.float32)  # small models have fewer
    modes[: len(spread)] = (axes[:, ::-1][:, :count] * spread).T.reshape(-1, *middle.shape)
    return middle.astype(np.float32), modes


def _losses(network: Any, batch: Batch, loss: MapLoss, device: str) -> dict[str, Tensor]:
    images = batch.images.to(device).float().div_(255)
    maps = network(images.contiguous(memory_format=torch.channels_last))
    with torch.autocast(maps.device.type, enabled=False):
        return loss(maps, batch.maps.to(device))


@torch.inference_mode()
def held_out_errors(
    network: PositionMapNet,
    samples: SampleFolder,
    chosen: Sequence[int] | Indices,
    settings: PositionMapTrainingSettings,
    batch_size: int = 32,
) -> dict[str, Any]:
    """NME of the 68 landmarks in percent by yaw, and SSIM of the maps, on unchanged samples.

    The pictures are moved a little, the same way every time, but not recoloured.
    """
    from face3d_cli.diff.losses.image import mean_masked_ssim

    size = settings.network.input_px
    valid = torch.from_numpy(samples.valid.astype(np.float32))[None]
    nmes, yaws, turned, similar = [], [], [], []
    for start in range(0, len(chosen), batch_size):
        pictures, truths = [], []
        for index in chosen[start : start + batch_size]:
            rng = np.random.default_rng(int(index))
            shift = rng.normal(0, 0.02, 2) * size
            zoom = size / 128 * np.exp(rng.normal(0, 0.05))
            picture, truth = moved_sample(
                samples.image(int(index)), samples.position_map(int(index)),
                zoom, rng.normal(0, 8), shift, size,
            )  # fmt: skip
            pictures.append(picture)
            truths.append(truth / size)
        images = torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2).float().div_(255)
        maps = network(images.contiguous(memory_format=torch.channels_last))
        maps = maps.float().permute(0, 2, 3, 1)
        true = torch.from_numpy(np.stack(truths))
        similar += [
            float(mean_masked_ssim(a[None], b[None], valid))
            for a, b in zip(maps, true, strict=True)
        ]
        for index, got, want in zip(
            chosen[start : start + batch_size], maps.numpy(), truths, strict=True
        ):
            nmes.append(
                100 * normalised_mean_error(landmarks_of(got)[:, :2], landmarks_of(want)[:, :2])
            )
            yaws.append(abs(float(samples.yaw_deg[index])))
            turned.append(bool(samples.is_turned[index]))
    nme, yaw, is_turned = np.array(nmes), np.array(yaws), np.array(turned)
    by_yaw = {
        f"{low:.0f}-{high:.0f}": float(nme[(yaw >= low) & (yaw < high)].mean())
        for low, high in pairwise(YAW_EDGES_DEG)
        if ((yaw >= low) & (yaw < high)).any()
    }
    return {
        "samples": len(nme),
        "nme_by_yaw": by_yaw,
        "nme_photos": float(nme[~is_turned].mean()) if (~is_turned).any() else None,
        "nme_turned": float(nme[is_turned].mean()) if is_turned.any() else None,
        "ssim": float(np.mean(similar)),
    }


def measure_held_out(
    network: PositionMapNet, folder: Path, settings: PositionMapTrainingSettings
) -> dict[str, Any] | None:
    """`held_out_errors` of a folder's people who were not trained on; None when there are none."""
    samples = SampleFolder.open(folder)
    _, held = split_held_out(samples, settings.held_out_share)
    return held_out_errors(network, samples, held, settings) if len(held) else None


def save_prnet(network: PositionMapNet, path: Path) -> Path:
    """Write the weights file, whole or not at all; returns its path."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(prnet_bytes(network))
    return path
