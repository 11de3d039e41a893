"""What is a task of a batch, and what becomes of one photo, whatever happens?"""

from __future__ import annotations

import errno
import json
import os
import traceback
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar, Protocol

from face3d_cli.errors import Face3dError, MissingExtra, ModelError, OutputError, UsageError
from face3d_cli.io.atomic import written_files
from face3d_cli.pipeline.manifest import OutputFile, PhotoState, state_json
from face3d_cli.pipeline.result import failure_json
from face3d_cli.version import __version__

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

    def folders(self) -> Sequence[Path]:
        """Where results go besides the batch's own folder; photos are not looked for there."""

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


def _concerns_all(problem: Face3dError) -> bool:
    if isinstance(problem, OutputError):
        cause = problem.__cause__
        return isinstance(cause, OSError) and cause.errno in _DISK_ERRORS
    return isinstance(problem, ModelError | MissingExtra | UsageError)


def _in_one_line(bug: Exception) -> str:
    place = traceback.extract_tb(bug.__traceback__)[-1]
    text = " ".join(f"{type(bug).__name__}: {bug}".split())
    return f"{text} ({os.path.basename(place.filename)}:{place.lineno})"
