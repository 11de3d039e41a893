"""Which part of the photo is what? U-Net: photo -> label map, whole photo or around each face.

The network runs in OpenCV's runtime from the shipped safetensors file: no torch is imported, and on
a CPU it is as quick as torch in bfloat16 (`benchmarks/segmentation.py`).
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, LabelImage, RgbImage, check_shape
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.segmentation_classes import NAMES_OF, PIXEL_SHARES
from face3d_cli.errors import ModelError
from face3d_cli.networks.runner import current_runner
from face3d_cli.networks.unet_onnx import unet_onnx
from face3d_cli.networks.unet_weights import read_unet_weights
from face3d_cli.settings import ClassSet, SegmentationSettings, UNetSettings
from face3d_cli.weights.store import find_model

MODEL_OF: dict[ClassSet, str] = {"all": "unet-face", "fasseg": "unet-fasseg"}
_DEFAULTS = SegmentationSettings()


@dataclass(frozen=True)
class Segmentation:
    """What every pixel of a photo shows.

    Attributes:
        labels: (H, W) index into `core.segmentation_classes.CLASS_NAMES`, or into `FASSEG_NAMES`
            when FASSEG's classes were asked for.
        logits: (classes, h, w) float32, coarser than the photo.
    """

    labels: LabelImage
    logits: FloatArray

    def probabilities(self) -> FloatArray:
        """(classes, H, W) float32 that sum to 1 at every pixel; made on demand, for it is large."""
        size = self.labels.shape[1::-1]
        exponents = np.stack([_resized(plane, size) for plane in self.logits])
        exponents -= exponents.max(axis=0)
        np.exp(exponents, out=exponents)
        exponents /= exponents.sum(axis=0)
        return exponents


def segment_photo(
    image: RgbImage,
    settings: SegmentationSettings = _DEFAULTS,
    *,
    faces: Sequence[FaceBox] = (),
    weights: Path | None = None,
    classes: ClassSet = "all",
) -> Segmentation:
    """Label every pixel of a photo.

    Args:
        image: (H, W, 3) photo.
        settings: sizes at which the network looks.
        faces: boxes of faces that are looked at again from close by, for photos in which they are
            small; what is seen there replaces what was seen in the whole photo.
        weights: another weights file than the shipped one.
        classes: "fasseg" takes the network that labels as FASSEG's annotators did: wider eyes, no
            glasses, no brows of their own.

    Returns:
        Labels at the photo's size, and logits from which probabilities can be made. With `faces`
        the logits are at the photo's size, so that small faces keep their detail.

    Raises:
        ModelError: the weights are missing or damaged.
        ShapeError: the photo is not (H, W, 3).

    Source: class_balance is logit adjustment, Menon et al. 2021, "Long-tail learning via logit
    adjustment", section 4.1.
    """
    check_shape(image, (None, None, 3), "image")
    network = _network(weights, classes)
    long_side_px = settings.long_side_px
    if long_side_px is None:
        long_side_px = network.settings.long_side_px
    logits = _logits_at(network, image, long_side_px, settings)
    if faces:
        size = image.shape[1::-1]
        logits = np.stack([_resized(plane, size) for plane in logits])
        # Large faces first: a small face in front of one is looked at more closely.
        for box in sorted(faces, key=lambda face: -face.area):
            _look_closer(network, image, box, logits, settings)
    if settings.class_balance:
        logits = logits - settings.class_balance * _log_shares(classes)
    return Segmentation(_strongest(logits, image.shape[1::-1]), logits)


def _log_shares(classes: ClassSet) -> FloatArray:
    """(classes, 1, 1) logarithm of how much of the training photos each class covers."""
    return np.log(np.array(PIXEL_SHARES[classes], np.float32))[:, None, None]


def _logits_at(
    network: _Network, image: RgbImage, long_side_px: int, settings: SegmentationSettings
) -> FloatArray:
    """Logits of a photo that the network sees at a given size (0: its own), on its own grid."""
    scale = (long_side_px or max(image.shape[:2])) / max(image.shape[:2])
    stride = network.settings.stem_stride  # whole cells, so that logits cover the photo exactly
    height, width = (max(1, round(side * scale / stride)) * stride for side in image.shape[:2])
    way = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    seen = np.asarray(cv2.resize(image, (width, height), interpolation=way), np.uint8)
    if max(seen.shape[:2]) <= settings.tile_px:
        return network.logits(seen)
    return _tiled(network, seen, settings)


def _tiled(network: _Network, image: RgbImage, settings: SegmentationSettings) -> FloatArray:
    """Logits of a large photo: overlapping tiles, faded linearly into each other."""
    stride = network.settings.stem_stride
    height, width = (side // stride for side in image.shape[:2])
    total = np.zeros((network.settings.num_classes, height, width), np.float32)
    weight = np.zeros((height, width), np.float32)
    for top in _tile_starts(image.shape[0], settings, network.settings.multiple):
        for left in _tile_starts(image.shape[1], settings, network.settings.multiple):
            tile = image[top : top + settings.tile_px, left : left + settings.tile_px]
            part = network.logits(np.ascontiguousarray(tile))
            y, x = top // stride, left // stride
            here = (
                slice(y, min(y + part.shape[1], height)),
                slice(x, min(x + part.shape[2], width)),
            )
            part = part[:, : here[0].stop - y, : here[1].stop - x]
            fade = _fade(part.shape[1:], settings.tile_overlap_px // stride)
            total[:, here[0], here[1]] += part * fade
            weight[here] += fade
    return total / weight


def _tile_starts(length: int, settings: SegmentationSettings, multiple: int) -> list[int]:
    step = (settings.tile_px - settings.tile_overlap_px) // multiple * multiple
    return list(range(0, max(length - settings.tile_overlap_px, 1), max(step, multiple)))


def _fade(shape: tuple[int, ...], margin: int) -> FloatArray:
    """1 in the middle of a tile, falling linearly (never to 0) towards its borders."""
    ramps = []
    for length in shape:
        edge = np.minimum(np.arange(length), np.arange(length)[::-1]) + 1.0
        ramps.append(np.minimum(edge / max(margin, 1), 1.0))
    return np.outer(ramps[0], ramps[1]).astype(np.float32)


def _look_closer(
    network: _Network,
    image: RgbImage,
    box: FaceBox,
    logits: FloatArray,
    settings: SegmentationSettings,
) -> None:
    """Replace the logits around one face by those of a square cut from the photo."""
    side = settings.face_margin * max(box.width, box.height)
    half = side / 2
    left, top = (max(0, round(c - half)) for c in box.center)
    right, bottom = (
        min(size, round(c + half)) for c, size in zip(box.center, image.shape[1::-1], strict=True)
    )
    if right - left < 2 or bottom - top < 2:
        return
    crop = np.ascontiguousarray(image[top:bottom, left:right])
    close = _logits_at(network, crop, settings.face_px, settings)
    # The crop ends where it was cut, so its rim knows less than the whole photo did.
    fade = _fade(crop.shape[:2], max(1, round(0.12 * side)))
    for plane, closer in zip(logits, close, strict=True):
        part = plane[top:bottom, left:right]
        part += fade * (_resized(closer, crop.shape[1::-1]) - part)


def _strongest(logits: FloatArray, size: tuple[int, ...]) -> LabelImage:
    """Largest class of every pixel, after bringing the logits to the photo's size."""
    labels = np.zeros(size[::-1], np.uint8)
    best = _resized(logits[0], size).copy()
    for index in range(1, len(logits)):
        plane = _resized(logits[index], size)
        # Far quicker than argmax over the first axis of a (18, H, W) array.
        labels[plane > best] = index
        cv2.max(plane, best, dst=best)
    return labels


def _resized(plane: FloatArray, size: tuple[int, ...]) -> Any:
    """Bilinear; a plane of that size already is handed back as it is."""
    if plane.shape[1::-1] == tuple(size):
        return plane
    return cv2.resize(plane, (int(size[0]), int(size[1])), interpolation=cv2.INTER_LINEAR)


class _Network:
    """The U-Net in OpenCV's runtime, once for each of the sizes seen last.

    One runtime is fed one size only: OpenCV 5.0's chooses how to convolve at the first size, and
    ends the process when a much smaller one follows.
    """

    def __init__(self, model: bytes, settings: UNetSettings, path: Path) -> None:
        self.settings, self._path = settings, path
        self._model = np.frombuffer(model, np.uint8)
        self._lock = threading.Lock()  # a runtime keeps its buffers, so one photo at a time
        self._runtime_for = lru_cache(maxsize=4)(self._read)

    def _read(self, shape: tuple[int, ...]) -> Any:
        # OpenCV 5 has two engines; the classic one is twice as quick here, and 4.x knows no other.
        engine = getattr(cv2.dnn, "ENGINE_CLASSIC", None)
        options = () if engine is None else (engine,)
        return cv2.dnn.readNetFromONNX(self._model, *options)

    def logits(self, image: RgbImage) -> FloatArray:
        """(classes, H / s, W / s) float32 of a photo whose sides are multiples of the stem's s."""
        height, width = image.shape[:2]
        multiple, stride = self.settings.multiple, self.settings.stem_stride
        pad = (-height % multiple, -width % multiple)
        if any(pad):
            border = cv2.BORDER_REPLICATE
            image = np.asarray(cv2.copyMakeBorder(image, 0, pad[0], 0, pad[1], border), np.uint8)
        if (runner := current_runner()) is not None:
            logits: FloatArray = runner.run("unet", self._path, image[None])[0]
        else:
            blob = cv2.dnn.blobFromImage(image, 1 / 127.5, mean=(127.5, 127.5, 127.5))
            with self._lock:
                runtime = self._runtime_for(image.shape)
                runtime.setInput(blob)
                logits = np.array(runtime.forward()[0])
        return logits[:, : height // stride, : width // stride]


def shipped_weights(classes: ClassSet = "all") -> Path:
    """The weights file that comes with face3d for a set of classes."""
    name = MODEL_OF[classes]
    return find_model(name)[f"{name}.safetensors"]


@lru_cache(maxsize=4)
def _network(weights: Path | None, classes: ClassSet) -> _Network:
    path = weights or shipped_weights(classes)
    state, settings = read_unet_weights(path)
    if settings.num_classes != len(NAMES_OF[classes]):
        raise ModelError(
            f"{path} has {settings.num_classes} classes, expected {len(NAMES_OF[classes])}",
            hint="give the --classes that it was trained for",
        )
    try:
        return _Network(unet_onnx(state, settings), settings, path)
    except KeyError as problem:
        raise ModelError(
            f"{path} lacks the weights {problem}", hint="train it again with this version"
        ) from problem
