"""Where is every place of a face's surface? Position map network: face boxes -> maps, any pose.

The shipped networks run in OpenCV's runtime from their safetensors files, as the segmentation does:
no torch is imported. Networks with the published decoder run in torch.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from face3d_cli.arrays import FloatArray, Mask, Points2, Points3, RgbImage, check_shape
from face3d_cli.core.camera import (
    Perspective,
    PerspectiveCamera,
    ScaledOrthographicCamera,
    enlargement,
)
from face3d_cli.core.crop import Crop, crop_face
from face3d_cli.core.face_box import FaceBox
from face3d_cli.core.landmarks68 import JAW, MIRRORED, roll_rad
from face3d_cli.core.position_map import (
    FACE_CENTRE_CM,
    LANDMARK_UV,
    landmarks_of,
    mirrored,
    sample_map,
)
from face3d_cli.core.similarity import Similarity, fit_similarity
from face3d_cli.errors import ModelError
from face3d_cli.networks.prnet_onnx import prnet_onnx
from face3d_cli.networks.prnet_weights import Arrays, read_prnet_weights
from face3d_cli.networks.runner import current_runner
from face3d_cli.settings import PositionMapNetSettings, PositionMapSettings
from face3d_cli.stages.shape_prior import ShapePrior
from face3d_cli.weights.store import find_model

_DEFAULTS = PositionMapSettings()
PUBLISHED = "prnet-resfcn256"
UP = np.array([1.0, -1.0, 1.0])  # picture axes (y down) to camera axes (y up), and back
CROP_CM = 22.0  # the side of the square around `FACE_CENTRE_CM` that is looked at
OTHER_STARTS = ((1.0, 1), (1.0, 2), (1.0, 3), (1.3, 0))  # times the box, quarters of a turn
FLAT = Perspective(0.0, np.zeros(2))
RIGID_FROM_V = 0.48  # above the upper lip: what the jaw moves does not tell the pose


@dataclass(frozen=True)
class PositionMap:
    """One face of a photo.

    Attributes:
        map_px: (M, M, 3) x and y where the photo shows a place, z in the same unit, larger is
            nearer.
        landmarks: (68, 3) the same of the landmarks.
        perspective: by which places of the photo and places in space differ.
        canonical_cm: (M, M, 3) the mean face, looking ahead: head frame axes, centimetres.
        valid: (FINE, FINE) True where the square holds surface.
        landmark_uv: (68, 2) where the landmarks lie on the square.
        camera_from_mean: the similarity from the mean face to places in space: the camera's axes
            (y up), pixels as they are at depth 0.
        box: the face's box in the photo, as it was given.
        crop_box: the square that the network saw last.
        doubt: how far the landmarks lie from those seen in the mirrored square, on average, over
            its side. On a face it is about 0.01; more than `PositionMapSettings.doubt_from` mostly
            means that no face was understood.
    """

    map_px: FloatArray
    landmarks: FloatArray
    perspective: Perspective
    canonical_cm: FloatArray
    valid: Mask
    landmark_uv: Points2
    camera_from_mean: Similarity
    box: FaceBox
    crop_box: FaceBox
    doubt: float

    @property
    def landmarks_px(self) -> Points2:
        """(68, 2) in the photo."""
        return np.asarray(self.landmarks[:, :2], np.float64)

    @property
    def camera(self) -> ScaledOrthographicCamera:
        """Projects head-frame centimetres, with the mean face's origin, into the photo."""
        found, closeness = self.camera_from_mean, self.perspective.closeness
        shift, depth = found.shift[:2] * (1.0, -1.0), float(found.shift[2])
        if closeness == 0.0:
            return ScaledOrthographicCamera(found.rotation, found.scale, shift)
        centre = self.perspective.centre * (1.0, -1.0)
        nearer = float(enlargement(np.array(depth), closeness))
        return PerspectiveCamera(
            found.rotation,
            found.scale * nearer,
            centre + nearer * (shift - centre),
            distance=(1.0 / closeness - depth) / found.scale,
            centre_px=centre,
        )

    def head_cm(self, places: Points3) -> Points3:
        """(N, 3) places of the map (the photo's pixels, y down) in the head's frame."""
        return self.camera_from_mean.undo(self.perspective.undo(places * UP))

    def roll_apart_deg(self, landmarks_px: Points2) -> float:
        """0 to 180: between the line through the eyes and that of other (68, 2) landmarks."""
        turn = np.degrees(roll_rad(landmarks_px) - roll_rad(self.landmarks_px))
        return float(abs((turn + 180.0) % 360.0 - 180.0))

    def fine_map(self, size: int) -> FloatArray:
        """(size, size, 3) the map at another size, smoothly in between."""
        return resized_map(self.map_px, size)


def resized_map(position_map: FloatArray, size: int) -> FloatArray:
    """(size, size, C) a map at another size; texel centres keep their places in the square."""
    if len(position_map) == size:
        return position_map
    flat = np.ascontiguousarray(position_map, np.float32)
    fine: FloatArray = cv2.resize(flat, (size, size), interpolation=cv2.INTER_CUBIC)
    return fine


def predict_position_maps(
    image: RgbImage, boxes: Sequence[FaceBox], settings: PositionMapSettings = _DEFAULTS
) -> list[PositionMap]:
    """Regress the position maps of some faces; all of them share each pass of the network.

    The first pass looks at a square around the box; each further one at the upright square that
    the pass before it found, so that a box that sits badly does not matter. The last square is
    seen mirrored too, and the two maps are averaged. Where they contradict each other the network
    has not understood the face, mostly because it lies on its side or upside down: it is looked at
    again from squares turned by quarters and from a wider one, and a map that leaves hardly any
    doubt is taken instead.

    Args:
        image: (H, W, 3) photo.
        boxes: the faces.
        settings: which network, how many passes, when to doubt.

    Raises:
        ModelError: the network is missing or damaged.
        ShapeError: the photo is not (H, W, 3).
    """
    check_shape(image, (None, None, 3), "image")
    if not boxes:
        return []
    network = _network(settings.model, settings.weights)
    found = _look(image, boxes, network, settings)
    for wider, quarters in OTHER_STARTS:
        unsure = [i for i, each in enumerate(found) if each.doubt > settings.doubt_from]
        if not unsure:
            break
        starts = [_moved(boxes[i], wider, quarters) for i in unsure]
        for i, other in zip(unsure, _look(image, starts, network, settings), strict=True):
            if other.doubt < min(found[i].doubt / 2, settings.sure_below):
                found[i] = replace(other, box=boxes[i])
    return found


def _moved(box: FaceBox, wider: float, quarters: int) -> FaceBox:
    """The box, enlarged about its centre, and turned clockwise by quarters."""
    width, height = wider * box.width, wider * box.height
    x, y = box.center
    roll_rad = box.roll_rad + quarters * np.pi / 2
    return replace(
        box, x=x - width / 2, y=y - height / 2, width=width, height=height, roll_rad=roll_rad
    )


def _look(
    image: RgbImage, boxes: Sequence[FaceBox], network: _Network, settings: PositionMapSettings
) -> list[PositionMap]:
    """The passes, from one start."""
    squares = [start_square(box, settings) for box in boxes]
    for passes_left in range(settings.passes)[::-1]:
        used = squares
        crops = [
            crop_face(image, square, face_px=network.input_px, crop_px=network.input_px)
            for square in squares
        ]
        pictures = np.stack([crop.image for crop in crops])
        seen = network.maps(pictures)
        doubts = [0.0] * len(seen)
        if not passes_left:
            seen, doubts = _agreed(network, seen, pictures, settings.doubt_from)
        maps = [_in_photo(each, crop) for each, crop in zip(seen, crops, strict=True)]
        views = [FLAT] * len(maps)
        if not passes_left and network.prior is not None:
            likely = [
                network.prior.nearest(each * UP, settings.noise_mm, settings.closeness)
                for each in maps
            ]
            maps, views = [each.map * UP for each in likely], [each.perspective for each in likely]
        in_space = [view.undo(each * UP) * UP for each, view in zip(maps, views, strict=True)]
        poses = [rigid_pose(each, network.canonical_cm, network.valid) for each in in_space]
        squares = [face_square(pose) for pose in poses]
    return [
        PositionMap(
            map_px=each,
            landmarks=landmarks_of(each, network.landmark_uv),
            perspective=view,
            canonical_cm=network.canonical_cm,
            valid=network.valid,
            landmark_uv=network.landmark_uv,
            camera_from_mean=pose,
            box=box,
            crop_box=square,
            doubt=doubt,
        )
        for each, view, pose, box, square, doubt in zip(
            maps, views, poses, boxes, used, doubts, strict=True
        )
    ]


def _agreed(
    network: _Network, seen: FloatArray, pictures: RgbImage, doubt_from: float
) -> tuple[FloatArray, list[float]]:
    """(B, M, M, 3) maps averaged with those of the mirrored pictures, where these agree; doubts."""
    side = pictures.shape[2]
    in_mirror = network.maps(np.ascontiguousarray(pictures[:, :, ::-1]))
    maps: list[FloatArray] = []
    doubts: list[float] = []
    for straight, other in zip(seen, in_mirror, strict=True):
        landmarks = landmarks_of(other, network.landmark_uv)[list(MIRRORED), :2]
        back = landmarks * (-1, 1) + (side - 1, 0)
        away = landmarks_of(straight, network.landmark_uv)[:, :2] - back
        doubts.append(float(np.linalg.norm(away, axis=1).mean()) / side)
        agree = network.is_symmetric and doubts[-1] <= doubt_from
        maps.append((straight + mirrored(other, side)) / 2 if agree else straight)
    return np.stack(maps), doubts


def start_square(box: FaceBox, settings: PositionMapSettings = _DEFAULTS) -> FaceBox:
    """The square first looked at: detectors draw boxes of different sizes and heights."""
    scale, down = settings.boxes.get(box.detector, settings.boxes["box"])
    side = scale * (box.width * box.height) ** 0.5
    x, y = box.center
    # "Down" is along the face, which may be rolled.
    x -= np.sin(box.roll_rad) * down * side
    y += np.cos(box.roll_rad) * down * side
    return FaceBox(x - side / 2, y - side / 2, side, side, box.score, box.detector, box.roll_rad)


def rigid_pose(map_px: FloatArray, canonical_cm: FloatArray, valid: Mask) -> Similarity:
    """From the mean face to the camera's axes (y up): least squares over the upper face."""
    size = len(map_px)
    rigid = _at_map_size(valid, size).copy()
    v = 1.0 - (np.arange(size) + 0.5) / size
    rigid[v <= RIGID_FROM_V] = False
    # The ears, at the sides, are guessed most of the time.
    rigid[:, : round(0.1 * size)] = rigid[:, round(0.9 * size) :] = False
    source, target = canonical_cm[rigid], map_px[rigid] * UP
    return fit_similarity(source.astype(np.float64), target.astype(np.float64))


def _at_map_size(valid: Mask, size: int) -> Mask:
    step = len(valid) // size
    return valid[step // 2 :: step, step // 2 :: step]


def face_square(pose: Similarity) -> FaceBox:
    """The upright square around a face of that pose."""
    centre = pose.apply(FACE_CENTRE_CM[None])[0] * UP
    side = CROP_CM * pose.scale
    # In the photo (y down) a head that tips counter-clockwise falls to the left: negative roll.
    up = pose.rotation[:, 1]
    right = np.array([up[1], -up[0]])  # the face's right-hand direction in the picture plane, y up
    roll = float(np.arctan2(-right[1], right[0]))
    return FaceBox(centre[0] - side / 2, centre[1] - side / 2, side, side, roll_rad=roll)


def _in_photo(map_crop: FloatArray, crop: Crop) -> FloatArray:
    """A map in pixels of the crop, in pixels of the photo."""
    linear = crop.crop_from_image[:, :2]
    scale = float(np.sqrt(abs(np.linalg.det(linear))))
    moved = np.empty_like(map_crop)
    moved[..., :2] = crop.to_image(map_crop[..., :2].reshape(-1, 2)).reshape(*map_crop.shape[:2], 2)
    moved[..., 2] = map_crop[..., 2] / scale
    return moved


class _Network:
    """A network of this project, in OpenCV's runtime or, with the published decoder, in torch."""

    is_symmetric = True  # the square of a mirrored face is the mirrored square

    def __init__(self, arrays: Arrays, config: PositionMapNetSettings, path: Path) -> None:
        self.input_px = config.input_px
        self.landmark_uv = LANDMARK_UV
        self.canonical_cm: FloatArray = _last_axis(arrays["canonical_cm"])
        self.valid: Mask = arrays["valid"] > 0
        self._mean = _last_axis(arrays["mean_map"])
        self._is_light = config.decoder == "light"
        self._lock = threading.Lock()
        self._runtimes: dict[int, Any] = {}
        self._path = path
        self.prior: ShapePrior | None = None
        if self._is_light:
            self._model = np.frombuffer(prnet_onnx(arrays, config), np.uint8)
            if config.modes:
                surface = _at_map_size(self.valid, config.map_px)
                self.prior = ShapePrior(
                    arrays["shapes"], arrays["shape_mean"], arrays["shape_modes"], surface,
                    config.perspective,
                )  # fmt: skip

    def maps(self, crops: RgbImage) -> FloatArray:
        """(B, M, M, 3) maps, in pixels of the crops, of (B, S, S, 3) crops."""
        if (runner := current_runner()) is not None:
            found: FloatArray = runner.run("prnet", self._path, crops).transpose(0, 2, 3, 1)
            return found * self.input_px
        blob = crops.transpose(0, 3, 1, 2).astype(np.float32) / 255
        with self._lock:
            raw = self._run_opencv(blob) if self._is_light else self._run_torch(blob)
        found = raw.transpose(0, 2, 3, 1)
        if self._is_light:
            found = found + self._mean
        return found * self.input_px

    def _run_opencv(self, blob: FloatArray) -> FloatArray:
        """One runtime for each number of faces: OpenCV 5 plans for the first shape it sees."""
        count = len(blob)
        if count not in self._runtimes:
            engine = getattr(cv2.dnn, "ENGINE_CLASSIC", None)
            options = () if engine is None else (engine,)
            self._runtimes[count] = cv2.dnn.readNetFromONNX(self._model, *options)
        runtime = self._runtimes[count]
        runtime.setInput(blob)
        return np.array(runtime.forward("map"))

    def _run_torch(self, blob: FloatArray) -> FloatArray:
        import torch

        from face3d_cli.networks.prnet import load_prnet

        if "torch" not in self.__dict__:
            self.torch = load_prnet(self._path)
        with torch.inference_mode():
            return np.asarray(self.torch(torch.from_numpy(blob)).numpy())


def _last_axis(planes: FloatArray) -> FloatArray:
    return np.ascontiguousarray(planes.transpose(1, 2, 0), np.float32)


class _PublishedNetwork(_Network):
    """PRNet's own weights, in torch, with its own square: that of the Basel Face Model."""

    is_symmetric = False

    def __init__(self, files: dict[str, Path]) -> None:
        from face3d_cli.networks.prnet_published import load_published, read_square

        square = read_square(files)
        ours = _network(PositionMapSettings.model, None)
        # Its mean face is brought onto ours, so that both have one size and one origin.
        inner = slice(JAW.stop, None)
        found = landmarks_of(square.mean, square.landmark_uv)[inner].astype(np.float64) * UP
        wanted = landmarks_of(ours.canonical_cm)[inner].astype(np.float64)
        onto_ours = fit_similarity(found, wanted)
        size = len(square.mean)
        flat = onto_ours.apply((square.mean * UP).reshape(-1, 3))
        self.canonical_cm = flat.reshape(size, size, 3).astype(np.float32)
        self.input_px = size
        self.landmark_uv = square.landmark_uv
        self.valid = square.valid
        self.prior = None
        self._network = load_published(files)
        self._scale = square.unit_px

    def maps(self, crops: RgbImage) -> FloatArray:
        """(B, 256, 256, 3) maps, in pixels of the crops, of (B, 256, 256, 3) crops."""
        import torch

        blob = torch.from_numpy(crops.transpose(0, 3, 1, 2).astype(np.float32) / 255)
        with torch.inference_mode():
            found = self._network(blob).permute(0, 2, 3, 1).numpy()
        maps: FloatArray = found * self._scale
        return maps


@lru_cache(maxsize=4)
def _network(model: str, weights: str | None) -> _Network:
    if weights is None and model == PUBLISHED:
        return _PublishedNetwork(find_model(model))
    path = Path(weights) if weights else find_model(model)[f"{model}.safetensors"]
    arrays, config = read_prnet_weights(path)
    try:
        return _Network(arrays, config, path)
    except KeyError as problem:
        raise ModelError(
            f"{path} lacks the weights {problem}", hint="train it again with this version"
        ) from problem


def places_of(position_map: FloatArray, uv: Points2) -> FloatArray:
    """(V, 3) places of a topology's vertices, given where they lie on the square."""
    return sample_map(position_map, uv)
