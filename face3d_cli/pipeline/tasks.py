"""What a batch does with one photo: a task is settings that travel to a worker, and one call."""

from __future__ import annotations

import errno
import json
import os
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from face3d_cli.core.face_box import FaceBox
from face3d_cli.errors import Face3dError, MissingExtra, ModelError, OutputError, UsageError
from face3d_cli.io.atomic import written_files
from face3d_cli.pipeline.manifest import OutputFile, PhotoState, state_json
from face3d_cli.pipeline.result import failure_json
from face3d_cli.settings import (
    ClassSet,
    FacesChoice,
    ReconstructSettings,
    SegmentationSettings,
    Unit,
)
from face3d_cli.version import __version__

MeshFormat = Literal["obj", "ply", "glb", "stl"]
LANDMARK_SUFFIXES = ("pts", "landmarks.png")  # the report stands in the manifest
# These say that no photo can be written any more.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO, errno.ESTALE})


@dataclass(frozen=True)
class Job:
    """One photo to do.

    Attributes:
        photo: where it is.
        name: its path inside the folder of photos, which its results keep.
        folder: of all results.
    """

    photo: str
    name: str
    folder: Path

    def result(self, suffix: str, folder: Path | None = None) -> Path:
        """The file of a result: `a/x.jpg` and "glb" give FOLDER/a/x.jpg.glb."""
        return (folder or self.folder) / f"{self.name}.{suffix}"


class Task(Protocol):
    """Settings of a stage; a frozen dataclass, so that it travels and can be told in JSON."""

    name: ClassVar[str]

    def warm_up(self) -> None:
        """Load what the first photo would otherwise wait for.

        Raises:
            ModelError: a model is missing or damaged.
        """

    def run(self, job: Job) -> dict[str, Any]:
        """Do one photo, write its results where the job says, and return its report.

        Raises:
            Face3dError: it cannot be done.
        """


@dataclass(frozen=True)
class ReconstructTask:
    """`face3d reconstruct` for one photo after the other."""

    name: ClassVar[str] = "reconstruct"
    settings: ReconstructSettings = field(default_factory=ReconstructSettings)
    faces: FacesChoice | int = "largest"
    box: FaceBox | None = None
    file_format: MeshFormat = "glb"
    unit: Unit | None = None
    for_blender: bool = False

    def warm_up(self) -> None:
        """Find the model and load the libraries."""
        from face3d_cli.pipeline.single import choose_method

        choose_method(self.settings.method)
        with suppress(ModuleNotFoundError):  # what is missing is said where it is needed
            import face3d_cli.stages.detection
            import face3d_cli.stages.landmarks
            import face3d_cli.stages.morphable
            import face3d_cli.stages.texture  # noqa: F401

    def run(self, job: Job) -> dict[str, Any]:
        """Write a mesh for each face."""
        from face3d_cli.pipeline.single import reconstruct

        result = reconstruct(job.photo, self.settings, faces=self.faces, box=self.box)
        path = job.result(self.file_format)
        saved = result.save(path, unit=self.unit, for_blender=self.for_blender)
        return result.to_json(saved)


@dataclass(frozen=True)
class LandmarksTask:
    """`face3d landmarks` for one photo after the other."""

    name: ClassVar[str] = "landmarks"
    settings: ReconstructSettings = field(default_factory=ReconstructSettings)
    faces: FacesChoice | int = "largest"
    box: FaceBox | None = None
    suffixes: Sequence[str] = LANDMARK_SUFFIXES

    def warm_up(self) -> None:
        """Load the libraries."""
        import face3d_cli.stages.detection
        import face3d_cli.stages.landmarks  # noqa: F401

    def run(self, job: Job) -> dict[str, Any]:
        """Write the points and a picture."""
        from face3d_cli.pipeline.locate import locate

        found = locate(job.photo, self.settings, faces=self.faces, box=self.box)
        for suffix in self.suffixes:
            found.save(job.result(suffix))
        return found.to_json()


@dataclass(frozen=True)
class SegmentTask:
    """`face3d segment` for one photo after the other; pictures go to folders of their own."""

    name: ClassVar[str] = "segment"
    settings: SegmentationSettings = field(default_factory=SegmentationSettings)
    class_set: ClassSet = "all"
    faces: FacesChoice | int | None = None
    weights: Path | None = None
    overlays: Path | None = None
    probabilities: Path | None = None

    def warm_up(self) -> None:
        """Load the libraries and find the weights."""
        import face3d_cli.stages.segmentation  # noqa: F401
        from face3d_cli.weights.store import find_model

        if self.weights is None:
            find_model("unet-face")

    def run(self, job: Job) -> dict[str, Any]:
        """Write the labels, and what else is wanted."""
        from face3d_cli.pipeline.segment import segment_file

        files = {"labels": job.result("labels.png")}
        if self.overlays is not None:
            files["overlay"] = job.result("overlay.png", self.overlays)
        if self.probabilities is not None:
            files["probabilities"] = job.result("npz", self.probabilities)
        return segment_file(
            job.photo,
            files,
            self.settings,
            class_set=self.class_set,
            faces=self.faces,
            weights=self.weights,
        )


@dataclass(frozen=True)
class Outcome:
    """What became of a job: its record, or why the whole batch cannot go on."""

    record: dict[str, Any]
    stop: Face3dError | None = None


def perform(task: Task, job: Job) -> Outcome:
    """Do one job in this process; whatever happens becomes a record.

    A photo that fails leaves no file. Missing models, missing parts and a full disk stop the batch:
    every other photo would fail in the same way.
    """
    state = PhotoState.of(job.photo)
    with written_files() as files:
        stop = None
        try:
            record = task.run(job)
            outputs = [asdict(OutputFile.of(file, job.folder)) for file in files]
            json.dumps(record, allow_nan=False)
        except Face3dError as problem:
            record = failure_json(job.photo, problem)
            stop = problem if _concerns_all(problem) else None
        except Exception as bug:  # of ours; one photo shall not cost the others
            record = failed_json(job.photo, f"a bug of face3d: {_in_one_line(bug)}")
        if record["status"] != "ok":
            outputs = []
            for file in files:
                with suppress(OSError):
                    file.unlink()
    return Outcome({**record, "file": state_json(state), "outputs": outputs}, stop)


def failed_job(job: Job, error: str) -> Outcome:
    """The outcome of a job whose worker cannot tell it itself."""
    file = state_json(PhotoState.of(job.photo))
    return Outcome({**failed_json(job.photo, error), "file": file, "outputs": []})


def failed_json(photo: str, error: str) -> dict[str, Any]:
    """The report of a photo that failed for another reason than a `Face3dError`."""
    return {"photo": photo, "status": "failed", "version": __version__, "error": error}


def limit_threads() -> None:
    """One thread in this process: workers, not libraries, share the cores."""
    import cv2

    cv2.setNumThreads(1)


THREAD_VARIABLES = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
}


def _concerns_all(problem: Face3dError) -> bool:
    if isinstance(problem, OutputError):
        cause = problem.__cause__
        return isinstance(cause, OSError) and cause.errno in _DISK_ERRORS
    return isinstance(problem, ModelError | MissingExtra | UsageError)


def _in_one_line(bug: Exception) -> str:
    place = traceback.extract_tb(bug.__traceback__)[-1]
    text = " ".join(f"{type(bug).__name__}: {bug}".split())
    return f"{text} ({os.path.basename(place.filename)}:{place.lineno})"
