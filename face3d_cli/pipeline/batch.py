"""Many photos: which are still to do, what became of each, and how the batch ended."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from face3d_cli.io.atomic import atomic_path, sweep_temporaries
from face3d_cli.pipeline.discover import Discovery, FoundPhoto
from face3d_cli.pipeline.manifest import Entry, Manifest, OutputFile, PhotoState, digest_of
from face3d_cli.pipeline.supervise import Engine, supervise
from face3d_cli.pipeline.tasks import Job, Task
from face3d_cli.settings import BatchSettings
from face3d_cli.version import __version__

SUMMARY = "summary.json"
FINISHED_WITH_FAILURES = 6


@dataclass(frozen=True)
class BatchChoice:
    """Which photos are done again, and how many at most.

    Attributes:
        overwrite: those that are done, too.
        retry_failed: those that failed before.
        limit: at most so many are worked on in this run; None is all.
    """

    overwrite: bool = False
    retry_failed: bool = False
    limit: int | None = None


@dataclass
class BatchReport:
    """How a batch ended.

    Attributes:
        done: photos of this run by status.
        skipped: photos that needed nothing, by the status they had.
        problems: what could not even be looked into.
        elapsed_s: of this run.
    """

    done: Counter[str] = field(default_factory=Counter)
    skipped: Counter[str] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    elapsed_s: float = 0.0

    @property
    def exit_code(self) -> int:
        """0 when every photo is done, else 6."""
        failed = sum((self.done + self.skipped).values()) - self.done["ok"] - self.skipped["ok"]
        return FINISHED_WITH_FAILURES if failed or self.problems else 0

    @property
    def photos_per_s(self) -> float:
        """Photos worked on, over time."""
        return self.done.total() / self.elapsed_s if self.elapsed_s else 0.0

    def line(self) -> str:
        """The last line of a run; unreadable photos count as failed."""
        ok, no_face = self.done["ok"], self.done["no-face"]
        failed = self.done.total() - ok - no_face
        skipped, rate = self.skipped.total(), self.photos_per_s
        return f"ok={ok} no-face={no_face} failed={failed} skipped={skipped} {rate:.1f} photos/s"

    def to_json(self) -> dict[str, Any]:
        """Most of `summary.json`."""
        return {
            "version": __version__,
            "done": dict(self.done),
            "skipped": dict(self.skipped),
            "problems": self.problems,
            "elapsed_s": round(self.elapsed_s, 3),
            "photos_per_s": round(self.photos_per_s, 3),
            "exit_code": self.exit_code,
        }


OnRecord = Callable[[dict[str, Any], str], None]
OnSkip = Callable[[FoundPhoto], None]


def run_batch(
    found: Discovery,
    out: Path,
    task: Task,
    engine: Engine,
    *,
    choice: BatchChoice = BatchChoice(),
    settings: BatchSettings = BatchSettings(),
    on_record: OnRecord = lambda record, line: None,
    on_skip: OnSkip = lambda photo: None,
    on_note: Callable[[str], None] = lambda note: None,
) -> BatchReport:
    """Do a task with every photo that is still to do.

    Args:
        found: the photos.
        out: folder of the results, of the manifest and of the summary.
        task: what to do.
        engine: where it is done.
        choice: which photos.
        settings: time limits.
        on_record: called with each record and its line in the manifest.
        on_skip: called with each photo that needs nothing.
        on_note: called with remarks about the manifest.

    Raises:
        OutputError: another batch works in the folder, the disk is full, the folder has gone.
        ModelError: a model is missing; nothing is done.
        StageError: workers do not start.
    """
    task_json = settings_json(task)
    digest = digest_of(task.name, task_json)
    report = BatchReport(problems=list(found.problems))
    started_s = time.perf_counter()
    with Manifest(out) as manifest:
        for note in manifest.notes:
            on_note(note)
        sweep_temporaries(out)

        def jobs() -> Iterator[Job]:
            for photo, status in plan(found.photos, manifest.entries, out, task, choice):
                if status is None:
                    yield Job(photo.path, photo.name, out)
                else:
                    report.skipped[status] += 1
                    on_skip(photo)

        try:
            with engine:
                for job, outcome in supervise(engine, jobs(), settings):
                    if outcome.stop is not None:
                        raise outcome.stop
                    record = {**outcome.record, "name": job.name, "task": task.name}
                    record["settings"] = digest
                    before = manifest.entries.get((task.name, job.name))
                    line = manifest.append(record)
                    _remove_outdated(before, record, out)
                    report.done[record["status"]] += 1
                    on_record(record, line)
        finally:
            with suppress(OSError):
                sweep_temporaries(out)
            report.elapsed_s = time.perf_counter() - started_s
        summary = {"task": task.name, "settings": digest, **report.to_json(), "options": task_json}
        _write_summary(out / SUMMARY, summary)
    return report


def plan(
    photos: Iterable[FoundPhoto],
    entries: Mapping[tuple[str, str], Entry],
    out: Path,
    task: Task,
    choice: BatchChoice = BatchChoice(),
) -> Iterator[tuple[FoundPhoto, str | None]]:
    """Say of each photo what status it keeps, or None when it is to do; stop at the limit.

    A photo keeps its status when settings and photo are the same as then, and its results are
    whole; a failure is kept unless it shall be retried.
    """
    digest, num_to_do = digest_of(task.name, settings_json(task)), 0
    for photo in photos:
        entry = entries.get((task.name, photo.name))
        is_same = (
            entry is not None
            and entry.settings == digest
            and entry.photo == PhotoState.of(photo.path)
            and not choice.overwrite
        )
        if entry is not None and is_same and _is_settled(entry, out, choice):
            yield photo, entry.status
        elif choice.limit is None or num_to_do < choice.limit:
            num_to_do += 1
            yield photo, None


def _is_settled(entry: Entry, out: Path, choice: BatchChoice) -> bool:
    if entry.status != "ok":
        return not choice.retry_failed
    return all(output.is_whole(out) for output in entry.outputs)


def settings_json(task: Task) -> dict[str, Any]:
    """A task's settings as JSON."""
    settings: dict[str, Any] = json.loads(json.dumps(asdict(cast(Any, task)), default=str))
    return settings


def _remove_outdated(before: Entry | None, record: dict[str, Any], out: Path) -> None:
    """Remove results of an earlier run that this one has not replaced, such as a second face's."""
    if before is not None:
        now = {OutputFile(**output).path for output in record["outputs"]}
        for output in before.outputs:
            if output.path not in now and ".." not in Path(output.path).parts:
                with suppress(OSError):
                    (out / output.path).unlink()


def _write_summary(path: Path, summary: dict[str, Any]) -> None:
    with atomic_path(path) as unfinished:
        unfinished.write_text(json.dumps(summary, indent=1) + "\n", encoding="utf-8")
