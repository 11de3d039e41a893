"""Damaged files for whole runs: a mutator, and tasks that put one damaged file through the tool."""

from __future__ import annotations

import io
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from PIL import Image

from face3d_cli.errors import ModelError, UnreadableInput
from face3d_cli.io.image import read_photo
from face3d_cli.io.mesh import load_mesh, save_mesh
from face3d_cli.io.points import read_pts, save_pts
from face3d_cli.pipeline.photo_tasks import LandmarksTask
from face3d_cli.pipeline.tasks import Job
from face3d_cli.settings import DetectionSettings, ReconstructSettings
from tests.helpers.face_mesh import face_mesh

PHOTO_KINDS = ("jpeg", "png", "webp", "tiff", "gif", "bmp")
MESH_KINDS = ("obj", "ply", "glb", "stl")


def mutated(data: bytes, rng: np.random.Generator, *, keep_size: bool = False) -> bytes:
    """Half of them gently, so that readers get far; else some of: bits flipped, a stretch
    overwritten, repeated, removed, added, the end cut off.
    """
    if rng.random() < 0.5:
        return _slightly_mutated(data, rng)
    changed = bytearray(data)
    for _ in range(rng.integers(1, 5)):
        if not changed:
            break
        at = int(rng.integers(len(changed)) * rng.random() ** 2)  # headers more often
        length = int(min(1 + rng.geometric(0.1), len(changed) - at))
        kind = rng.integers(3 if keep_size else 7)
        if kind == 0:
            changed[at] ^= 1 << int(rng.integers(8))
        elif kind == 1:
            changed[at : at + length] = rng.bytes(length)
        elif kind == 2:
            changed[at : at + length] = bytes([int(rng.choice([0, 1, 127, 128, 255]))]) * length
        elif kind == 3:
            changed[at:at] = changed[at : at + length] * int(rng.integers(1, 50))
        elif kind == 4:
            del changed[at : at + length]
        elif kind == 5:
            changed[at:at] = rng.bytes(length)
        else:
            del changed[int(rng.integers(len(changed))) :]
    return bytes(changed)


def _slightly_mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """One bit anywhere, or one digit of a text."""
    changed = bytearray(data)
    digits = [at for at, byte in enumerate(changed[:20_000]) if 48 <= byte <= 57]
    if digits and rng.random() < 0.5:
        changed[int(rng.choice(digits))] = int(rng.choice(list(b"0123456789-.eE ")))
    else:
        changed[int(rng.integers(len(changed)))] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def sound_photos(photo: Path, side_px: int = 240) -> dict[str, bytes]:
    """One small photo of a face that HOG finds, in each format."""
    image = Image.fromarray(read_photo(photo))
    image.thumbnail((side_px, side_px))
    files = {}
    for kind in PHOTO_KINDS:
        file = io.BytesIO()
        image.save(file, kind.upper())
        files[kind] = file.getvalue()
    return files


def write_photos(folder: Path, photo: Path, count: int, seed: int = 0) -> None:
    """Fill a folder with damaged photos."""
    rng, sound = np.random.default_rng(seed), sound_photos(photo)
    folder.mkdir(parents=True)
    for index in range(count):
        kind = PHOTO_KINDS[index % len(PHOTO_KINDS)]
        (folder / f"{index:05}.{kind}").write_bytes(mutated(sound[kind], rng))


def write_files(folder: Path, work: Path, count: int, surrey: Path | None, seed: int = 0) -> None:
    """Fill a folder with damaged mesh, landmark and, where there is a model, model files.

    A damaged model file is called MODEL FILE.NUMBER.model. Sound files `face.*` lie beside the
    OBJs, which name them.
    """
    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    sound: dict[str, bytes] = {}
    for kind in MESH_KINDS:
        mesh, *beside = save_mesh(face_mesh(5, 6, texture_px=8), work / f"face.{kind}")
        sound[kind] = mesh.read_bytes()
        for path in beside:
            shutil.copy(path, folder)
    save_pts(work / "face.pts", rng.uniform(0, 300, (68, 2)))
    sound["pts"] = (work / "face.pts").read_bytes()
    kinds = [*MESH_KINDS, "pts"]
    models = sorted(surrey.glob("[!.]*")) if surrey is not None else []
    for index in range(count):
        if models and index % 4 == 0:
            path = models[(index // 4) % len(models)]
            content = mutated(path.read_bytes(), rng, keep_size=bool(rng.integers(8)))
            (folder / f"{path.name}.{index:05}.model").write_bytes(content)
        else:
            kind = kinds[index % len(kinds)]
            (folder / f"{index:05}.{kind}").write_bytes(mutated(sound[kind], rng))


def quick_landmarks() -> LandmarksTask:
    """The landmarks of a photo, with the quick detector only."""
    return LandmarksTask(ReconstructSettings(detection=DetectionSettings(detector="hog")))


@dataclass(frozen=True)
class ReadTask:
    """Reads a mesh, points or a model; writes what was read."""

    name: ClassVar[str] = "read"
    surrey: Path | None = None
    work: Path = Path()

    def folders(self) -> list[Path]:
        return []

    def warm_up(self) -> None:
        """Nothing to load."""

    def run(self, job: Job) -> dict[str, Any]:
        path = Path(job.photo)
        if path.suffix == ".model":
            self._fit_with(path)
        elif path.suffix == ".pts":
            save_pts(job.result("pts"), read_pts(path))
        else:
            save_mesh(load_mesh(path), job.result("glb"))
        return {"photo": job.photo, "status": "ok"}

    def _fit_with(self, path: Path) -> None:
        """Fit a face with a store in which one file is the damaged one."""
        from face3d_cli.stages import morphable

        assert self.surrey is not None
        home = self.work / str(os.getpid())
        shutil.rmtree(home, ignore_errors=True)
        shutil.copytree(self.surrey, home / "surrey")
        target = home / "surrey" / path.name.rsplit(".", 2)[0]
        target.chmod(0o644)
        shutil.copyfile(path, target)
        os.environ["FACE3D_HOME"] = str(home)
        morphable.load_surrey.cache_clear()
        try:
            morphable.fit_surrey(read_pts(self.work / "real.pts"), (400, 400))
        except ModelError as refusal:  # would end a batch, as it should: here each has its own
            raise UnreadableInput(refusal.message) from refusal
