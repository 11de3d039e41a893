"""A folder of training samples: written by many processes, a part at a time; read by mapping.

`surface.npz` holds the linear model of position maps; `part-NNN.images.npy` (N, S, S, 3) uint8 and
`part-NNN.faces.npz` hold the samples of some photos. Nothing is pickled. A part is there whole or
not at all, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray, Mask, RgbImage
from face3d_cli.core.camera import enlargement
from face3d_cli.core.landmarks68 import NUM_LANDMARKS
from face3d_cli.core.position_map import FACE_CENTRE_CM
from face3d_cli.errors import StageError, UnreadableInput
from face3d_cli.io.atomic import atomic_path
from face3d_cli.io.image import read_photo
from face3d_cli.pipeline.threads import limit_threads, single_threaded_children
from face3d_cli.settings import LabelFitSettings, SynthSettings
from face3d_cli.training.synth.backgrounds import Backgrounds, surroundings_of_faces
from face3d_cli.training.synth.fit import (
    Correspondence,
    learn_correspondence,
    yaw_of_points_deg,
)
from face3d_cli.training.synth.heads import HeadConvention, SeenHead
from face3d_cli.training.synth.make import samples_of_photo
from face3d_cli.training.synth.sample import MAP_PX, PX_PER_CM, Sample
from face3d_cli.training.synth.surface import face_surface

PHOTOS_PER_PART = 64
_FACES = ("coefficients", "rotation", "shift_px", "closeness_per_cm", "yaw_deg", "is_turned")


@dataclass(frozen=True)
class LabelledPoints:
    """What `benchmarks/label_with_mediapipe.py` writes: names below a folder, and points."""

    names: tuple[str, ...]
    points: FloatArray  # (N, 478, 3)

    def __getitem__(self, rows: Sequence[int] | slice) -> LabelledPoints:
        """Some of the photos."""
        names = np.array(self.names)[rows]
        return LabelledPoints(tuple(str(name) for name in names), self.points[rows])


Heads = Mapping[str, SeenHead]  # by the photo's name


def read_labels(path: Path) -> LabelledPoints:
    """Read the archive of labels.

    Raises:
        UnreadableInput: it is none.
    """
    shapes: dict[str, tuple[int, ...]] = {"points": (478, 3)}
    names, (points,) = _read_archive(path, "labels", "label_with_mediapipe.py", shapes)
    return LabelledPoints(names, points)


def read_heads(path: Path) -> Heads:
    """Read what `benchmarks/label_with_3ddfa.py` writes: what a second teacher saw.

    Raises:
        UnreadableInput: it is no such archive.
    """
    shapes: dict[str, tuple[int, ...]] = {"landmarks": (NUM_LANDMARKS, 3), "rotations": (3, 3)}
    names, columns = _read_archive(path, "heads", "label_with_3ddfa.py", shapes)
    return {name: SeenHead(*seen) for name, *seen in zip(names, *columns, strict=True)}


def _read_archive(
    path: Path, what: str, script: str, shapes: dict[str, tuple[int, ...]]
) -> tuple[tuple[str, ...], list[FloatArray]]:
    """Names of photos, and of each column one finite array of that shape for each photo."""
    hint = f"write it with benchmarks/{script}"
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            names = tuple(str(name) for name in archive["names"])
            columns: list[FloatArray] = [np.asarray(archive[key], np.float64) for key in shapes]
    except Exception as problem:  # damaged archives raise errors of many kinds
        raise UnreadableInput(f"{path} holds no {what}: {problem}", hint=hint) from problem
    for (key, shape), column in zip(shapes.items(), columns, strict=True):
        wanted = (len(names), *shape)
        if column.shape != wanted:
            raise UnreadableInput(
                f"{path}: expected {wanted} {key}, found {column.shape}", hint=hint
            )
        if not np.isfinite(column).all():
            raise UnreadableInput(f"{path}: the {key} are not all finite numbers", hint=hint)
    return names, columns


@dataclass(frozen=True)
class _Job:
    number: int
    labels: LabelledPoints
    heads: Heads


@dataclass
class _Worker:
    """What each process keeps between parts."""

    data: Path
    out: Path
    pairs: Correspondence
    backgrounds: Backgrounds
    settings: SynthSettings


_worker: _Worker | None = None


def make_folder(
    labels: LabelledPoints,
    data: Path,
    out: Path,
    settings: SynthSettings = SynthSettings(),
    *,
    heads: Heads | None = None,
    fillers: list[RgbImage] | None = None,
    jobs: int = 1,
    on_part: Callable[[int, int], None] = lambda done, total: None,
) -> int:
    """Make the samples of all labelled photos; parts that are there already are kept.

    Args:
        labels: MediaPipe's points.
        data: the folder that their names are below.
        out: the folder of the samples.
        settings: how they are made.
        heads: what a second teacher saw.
        fillers: pictures without faces, for backgrounds; surroundings of labelled faces serve too.
        jobs: processes.
        on_part: called with the number of parts done, and to do.

    Returns:
        The number of samples in the folder.

    Raises:
        UnreadableInput: a photo cannot be read, or the folder was begun with other teachers.
        ModelError: ICT-FaceKit or the segmentation network is missing.
    """
    heads = heads or {}
    out.mkdir(parents=True, exist_ok=True)
    pairs = _shared_tables(labels, heads, data, out, settings)
    if (pairs.heads is None) == bool(heads):
        raise UnreadableInput(
            f"{out} was begun {'with' if pairs.heads else 'without'} a second teacher's heads",
            hint="go on with the same files, or make the samples in a new folder",
        )
    todo = []
    starts = range(0, len(labels.names), PHOTOS_PER_PART)
    for number, start in enumerate(starts):
        if not _faces_path(out, number).exists():
            rows = labels[start : start + PHOTOS_PER_PART]
            seen = {name: heads[name] for name in rows.names if name in heads}
            todo.append(_Job(number, rows, seen))
    # In mixed order, so that what is there early is of every kind.
    todo = [todo[i] for i in np.random.default_rng(settings.seed).permutation(len(todo))]
    if not todo:
        return len(SampleFolder.open(out))
    others = _some_photos(labels, data, settings)
    backgrounds = Backgrounds(fillers or [], surroundings_of_faces(others, settings))
    start_with = (data, out, pairs, backgrounds, settings)
    if jobs == 1:
        _begin(*start_with)
        for done, job in enumerate(todo, start=1):
            _make_part(job)
            on_part(done, len(todo))
    else:
        context = multiprocessing.get_context("spawn")
        with single_threaded_children(), context.Pool(jobs, _begin, start_with) as pool:
            for done, _ in enumerate(pool.imap_unordered(_make_part, todo), start=1):
                on_part(done, len(todo))
    return len(SampleFolder.open(out))


def _shared_tables(
    labels: LabelledPoints, heads: Heads, data: Path, out: Path, settings: SynthSettings
) -> Correspondence:
    """Learn the correspondence once, and write the linear model of position maps."""
    path = out / "pairs.npz"
    if not path.exists():
        surface = face_surface(MAP_PX)
        with atomic_path(out / "surface.npz") as unfinished, unfinished.open("wb") as handle:
            np.savez(
                handle,
                mean_cm=surface.map_mean_cm.astype(np.float32),
                basis_cm=surface.map_basis_cm.astype(np.float16),
                valid=surface.valid,
                valid_fine=surface.valid_fine,
                px_per_cm=np.float64(PX_PER_CM),
            )
        frontal = frontal_photos(labels, data, settings.seed, settings.fit)
        seen = ((photo, points, heads.get(name)) for name, photo, points in frontal)
        found = learn_correspondence(surface, seen, settings.fit)
        columns: dict[str, Any] = {
            "point": found.point,
            "vertex": found.vertex,
            "offsets_mm": found.face.landmark_offsets_mm,
            "tilt_rad": found.tilt_rad,
        }
        if found.heads is not None:
            columns |= {f"head_{key}": value for key, value in vars(found.heads).items()}
        with atomic_path(path) as unfinished, unfinished.open("wb") as handle:
            np.savez(handle, **columns)
    return read_correspondence(out)


def read_correspondence(folder: Path) -> Correspondence:
    """Where MediaPipe's points are on the model, as a folder of samples keeps it.

    Raises:
        UnreadableInput: it keeps none, a damaged one, or that of another version.
        ModelError: ICT-FaceKit is missing.
    """
    path = folder / "pairs.npz"
    try:
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as archive:
            point, vertex, offsets_mm = (archive[k] for k in ("point", "vertex", "offsets_mm"))
            tilt_rad = float(archive["tilt_rad"])
            heads = None
            if "head_vertex" in archive:
                heads = HeadConvention(
                    archive["head_vertex"],
                    archive["head_offsets_mm"],
                    float(archive["head_tilt_rad"]),
                )
    except Exception as problem:  # damaged archives raise errors of many kinds
        raise UnreadableInput(
            f"{path} does not say where MediaPipe's points are on the model ({problem})",
            hint="another version may have made it: make the samples again in a new folder",
        ) from problem
    return Correspondence.of(face_surface(MAP_PX), point, vertex, offsets_mm, tilt_rad, heads)


def frontal_photos(
    labels: LabelledPoints, data: Path, seed: int, settings: LabelFitSettings = LabelFitSettings()
) -> Iterator[tuple[str, RgbImage, FloatArray]]:
    """Names of some photos in which the face looks ahead, the photos, and (478, 3) points in each.

    Raises:
        UnreadableInput: a photo cannot be read.
    """
    frontal = np.flatnonzero(np.abs(yaw_of_points_deg(labels.points)) < settings.learning_yaw_deg)
    count = min(settings.num_learning_photos, len(frontal))
    for row in np.random.default_rng(seed).choice(frontal, count, replace=False):
        name = labels.names[row]
        yield name, read_photo(data / name), labels.points[row]


def _some_photos(
    labels: LabelledPoints, data: Path, settings: SynthSettings
) -> Iterator[tuple[RgbImage, FloatArray]]:
    count = min(settings.num_surroundings_photos, len(labels.names))
    for row in np.random.default_rng(settings.seed).choice(len(labels.names), count, replace=False):
        yield read_photo(data / labels.names[row]), labels.points[row]


def _begin(
    data: Path, out: Path, pairs: Correspondence, backgrounds: Backgrounds, settings: SynthSettings
) -> None:
    global _worker
    limit_threads()
    _worker = _Worker(data, out, pairs, backgrounds, settings)


def _make_part(job: _Job) -> int:
    assert _worker is not None, "the process was not begun"
    surface = face_surface(MAP_PX)
    rng = np.random.default_rng((_worker.settings.seed, job.number))
    samples: list[Sample] = []
    names: list[str] = []
    for name, points in zip(job.labels.names, job.labels.points, strict=True):
        made = list(
            samples_of_photo(
                _worker.data / name,
                points,
                job.heads.get(name),
                surface,
                _worker.pairs,
                _worker.backgrounds,
                rng,
                _worker.settings,
            )
        )
        samples += made
        names += [name] * len(made)
    images = np.stack([s.image for s in samples]) if samples else np.zeros((0, 1, 1, 3), np.uint8)
    with atomic_path(_images_path(_worker.out, job.number)) as path, path.open("wb") as handle:
        np.save(handle, images)
    faces: dict[str, Any] = {
        field: np.array([getattr(sample, field) for sample in samples]) for field in _FACES
    }
    with atomic_path(_faces_path(_worker.out, job.number)) as path, path.open("wb") as handle:
        np.savez(handle, names=np.array(names, dtype=np.str_), **faces)
    return len(samples)


def _images_path(out: Path, number: int) -> Path:
    return out / f"part-{number:03d}.images.npy"


def _faces_path(out: Path, number: int) -> Path:
    return out / f"part-{number:03d}.faces.npz"


@dataclass(frozen=True, eq=False)
class SampleFolder:
    """All samples of a folder.

    Attributes:
        images: one mapped (N, S, S, 3) array for each part.
        part, row: (N,) where each sample's picture is.
        names: (N,) the photo that each is made of.
        coefficients, rotation, shift_px, closeness_per_cm, yaw_deg, is_turned: (N, ...) as in
            `Sample`.
        mean_cm, basis_cm, valid, valid_fine, px_per_cm: the linear model of position maps.
    """

    images: list[npt.NDArray[np.uint8]]
    part: npt.NDArray[np.int64]
    row: npt.NDArray[np.int64]
    names: npt.NDArray[np.str_]
    coefficients: FloatArray
    rotation: FloatArray
    shift_px: FloatArray
    closeness_per_cm: FloatArray
    yaw_deg: FloatArray
    is_turned: npt.NDArray[np.bool_]
    mean_cm: FloatArray
    basis_cm: FloatArray
    valid: Mask
    valid_fine: Mask
    px_per_cm: float

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.names)

    @staticmethod
    def open(folder: Path) -> SampleFolder:
        """Map a folder.

        Raises:
            UnreadableInput: it holds no samples, or damaged ones.
        """
        paths = sorted(folder.glob("part-*.faces.npz"))
        try:
            with np.load(folder / "surface.npz", allow_pickle=False) as archive:
                surface = {key: archive[key] for key in archive.files}
            images, part, row, columns = [], [], [], []
            for path in paths:
                with np.load(path, allow_pickle=False) as archive:
                    if not len(archive["names"]):
                        continue
                    columns.append({key: archive[key] for key in ("names", *_FACES)})
                name = path.name.replace(".faces.npz", ".images.npy")
                images.append(np.load(folder / name, mmap_mode="r", allow_pickle=False))
                count = len(columns[-1]["names"])
                if len(images[-1]) != count:
                    raise UnreadableInput(f"{path.name} and {name} differ in length")
                part.append(np.full(count, len(images) - 1))
                row.append(np.arange(count))
        except (OSError, KeyError, ValueError) as problem:
            raise UnreadableInput(
                f"{folder} holds no training samples: {problem}", hint="make them with face3d synth"
            ) from problem
        if not columns:
            raise UnreadableInput(f"{folder} holds no training samples")
        joined = {key: np.concatenate([c[key] for c in columns]) for key in columns[0]}
        return SampleFolder(
            images,
            np.concatenate(part),
            np.concatenate(row),
            mean_cm=surface["mean_cm"],
            basis_cm=surface["basis_cm"].astype(np.float32),
            valid=surface["valid"],
            valid_fine=surface["valid_fine"],
            px_per_cm=float(surface["px_per_cm"]),
            **joined,
        )

    def image(self, index: int) -> RgbImage:
        """(S, S, 3) one picture."""
        return np.asarray(self.images[self.part[index]][self.row[index]])

    def position_maps(self, indices: Sequence[int]) -> FloatArray:
        """(B, M, M, 3) the position maps of some pictures, in their pixels."""
        rows = np.asarray(indices)
        flat = self.coefficients[rows] @ self.basis_cm.reshape(len(self.basis_cm), -1)
        size = len(self.mean_cm)
        shapes = (flat + self.mean_cm.reshape(-1)).reshape(len(rows), size * size, 3)
        turns = self.rotation[rows].swapaxes(1, 2) * (self.px_per_cm * np.array([1.0, -1.0, 1.0]))
        placed = shapes @ turns.astype(np.float32) + self.shift_px[rows][:, None]
        # In perspective: about the middle of the face, which is at depth 0.
        middle_px = (FACE_CENTRE_CM @ turns + self.shift_px[rows])[:, None, :2]
        closeness = (self.closeness_per_cm[rows] / self.px_per_cm)[:, None, None]
        nearer = enlargement(placed[..., 2:], closeness)
        placed[..., :2] = middle_px + nearer * (placed[..., :2] - middle_px)
        maps: FloatArray = placed.reshape(len(rows), size, size, 3).astype(np.float32)
        return maps

    def position_map(self, index: int) -> FloatArray:
        """(M, M, 3) the position map of one picture."""
        one: FloatArray = self.position_maps([index])[0]
        return one


def check_folder(folder: Path) -> None:
    """Refuse a folder that was made of another surface.

    Raises:
        StageError: the size of its maps is not that of this version.
    """
    samples = SampleFolder.open(folder)
    if samples.mean_cm.shape != (MAP_PX, MAP_PX, 3):
        raise StageError(f"{folder} holds maps of {samples.mean_cm.shape}, expected {MAP_PX} px")
