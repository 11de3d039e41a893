"""`face3d batch`: a folder tree of photos, on all cores or a cluster, to be stopped at will."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from face3d_cli.cli import output
from face3d_cli.cli.batch_tasks import TASKS, task_from
from face3d_cli.errors import StageError, UnreadableInput, UsageError
from face3d_cli.settings import BatchSettings

if TYPE_CHECKING:
    from face3d_cli.pipeline.batch import BatchChoice, BatchReport
    from face3d_cli.pipeline.discover import Discovery, FoundPhoto
    from face3d_cli.pipeline.supervise import Engine
    from face3d_cli.pipeline.tasks import Task

EngineName = Literal["local", "ray"]
_DEFAULT = BatchSettings()


def batch(
    ctx: typer.Context,
    photos: Annotated[
        str, typer.Argument(metavar="DIR", help="Folder of photos; - reads paths from stdin.")
    ],
    out: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")
    ],
    task: Annotated[
        str, typer.Option(metavar="|".join(TASKS), help="The command to run on each photo.")
    ] = "reconstruct",
    include: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="Only photos called like this; may be repeated."),
    ] = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(metavar="GLOB", help="No photos or folders called like this."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Work on at most so many photos in this run.")
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Also do again what is done.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Also do again what failed before.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", "-n", help="Only list what would be done.")
    ] = False,
    jobs: Annotated[
        int | None, typer.Option("--jobs", "-j", min=1, help="Workers; one a core if not given.")
    ] = _DEFAULT.jobs,
    timeout: Annotated[
        float, typer.Option(min=0.1, metavar="SECONDS", help="Longest time for one photo.")
    ] = _DEFAULT.timeout_s,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="cuda[:N]", help="Run networks there, in one process for all local workers."
        ),
    ] = None,
    engine: Annotated[
        EngineName, typer.Option(help="Processes of this machine, or a Ray cluster.")
    ] = "local",
    address: Annotated[
        str | None,
        typer.Option(metavar="HOST:PORT", help="Ray cluster to join; a new one if not given."),
    ] = None,
    num_gpus: Annotated[
        float, typer.Option(min=0.0, help="GPUs for each Ray worker; fractions share one.")
    ] = 0.0,
    as_json: Annotated[
        bool, typer.Option("--json", help="One JSON object per photo on stdout, as it is done.")
    ] = False,
) -> None:
    """Run a command on every photo of a folder tree; stop it and start it again as you like.

    Options of the command may be added: face3d batch photos -o out --task reconstruct --faces all.
    a/x.jpg becomes DIR/a/x.jpg.glb. What is done with the same settings is skipped;
    DIR/manifest.jsonl says what became of each photo. Ends with 6 when some photos failed.

    Example: face3d batch photos/ -o meshes/ --json | jq .status
    """
    chosen = task_from(task, ctx.args)
    if engine == "local" and (address is not None or num_gpus):
        raise UsageError("--address and --num-gpus are for --engine ray")
    if engine == "ray" and device is not None:
        raise UsageError("--device is for --engine local", hint="give workers GPUs with --num-gpus")
    found = _discover(photos, [out, *chosen.folders()], include or [], exclude or [])
    for remark in [*found.notes, *found.problems]:
        output.talk(remark)
    from face3d_cli.pipeline.batch import BatchChoice, run_batch

    choice = BatchChoice(overwrite, retry_failed, limit)
    if dry_run:
        _list(found, out, chosen, choice, as_json)
        return
    shown = _Shown(len(found.photos), limit, as_json)
    with (
        output.stdout_for_results(),
        output.progress(shown.to_do, task, unit="photos") as advance,
    ):
        shown.advance = advance
        report = run_batch(
            found,
            out,
            chosen,
            _engine(engine, chosen, jobs, device, address, num_gpus),
            choice=choice,
            settings=replace(_DEFAULT, jobs=jobs, timeout_s=timeout),
            on_record=shown.record,
            on_skip=shown.skip,
            on_note=output.talk,
        )
    if not as_json:
        _table(report)
    output.talk(report.line())
    if report.exit_code:
        raise typer.Exit(report.exit_code)


def _discover(
    photos: str, results: list[Path], include: list[str], exclude: list[str]
) -> Discovery:
    from face3d_cli.pipeline.discover import (
        NameFilter,
        find_photos,
        listed_photos,
        require_apart,
        split_list,
    )

    names = NameFilter(include, exclude)
    if photos == "-":
        text = sys.stdin.buffer.read().decode(sys.getfilesystemencoding(), "surrogateescape")
        return listed_photos(split_list(text), names)
    for folder in results:
        require_apart(Path(photos), folder)
    found = find_photos(Path(photos), names, leave_out=results)
    if not (found.photos or found.problems):
        raise UnreadableInput(
            f"expected photos in {photos}, found none among {found.num_ignored} other files",
            hint="look at --include and --exclude" if include or exclude else "name another folder",
        )
    return found


def _engine(
    name: EngineName,
    task: Task,
    jobs: int | None,
    device: str | None,
    address: str | None,
    num_gpus: float,
) -> Engine:
    if name == "ray":
        from face3d_cli.pipeline.engine_ray import RayEngine

        return RayEngine(task, jobs, address=address, num_gpus=num_gpus)
    from face3d_cli.pipeline.engine_local import LocalEngine

    return LocalEngine(task, jobs, device=device)


class _Shown:
    """What is said while a batch runs: JSON lines, failures, and plain lines without a terminal."""

    def __init__(self, num_photos: int, limit: int | None, as_json: bool) -> None:
        self.advance: output.Advance = lambda steps=1, *, text=None, skip=False: None
        self._num_left, self._limit, self._as_json = num_photos, limit, as_json
        self._num_done, self._is_plain = 0, not sys.stderr.isatty()

    @property
    def to_do(self) -> int:
        """How many photos this run works on, as far as is known."""
        return self._num_left if self._limit is None else min(self._num_left, self._limit)

    def record(self, record: dict[str, Any], line: str) -> None:
        self._num_done += 1
        self.advance()
        if self._as_json:
            output.result(line)
        if record["status"] != "ok":
            output.error(StageError(_told(record)))
        elif self._is_plain:
            output.talk(f"[{self._num_done}/{self.to_do}] {record['photo']}")

    def skip(self, photo: FoundPhoto) -> None:
        before = self.to_do
        self._num_left -= 1
        self.advance(before - self.to_do, skip=True)


def _told(record: dict[str, Any]) -> str:
    """A failure, with its photo unless the error itself names it."""
    photo, error = record["photo"], record["error"]
    return f"{record['status']}: {error if photo in error else f'{photo}: {error}'}"


def _table(report: BatchReport) -> None:
    statuses = sorted({*report.done, *report.skipped}, key=lambda each: (each != "ok", each))
    rows = [[each, str(report.done[each]), str(report.skipped[each])] for each in statuses]
    output.table(["status", "photos", "skipped"], rows)


def _list(found: Discovery, out: Path, task: Task, choice: BatchChoice, as_json: bool) -> None:
    """Say what would be done, and do nothing."""
    from face3d_cli.pipeline.batch import plan
    from face3d_cli.pipeline.manifest import MANIFEST, read_entries

    entries = read_entries(out)[0] if (out / MANIFEST).exists() else {}
    for photo, kept in plan(found.photos, entries, out, task, choice):
        status = "to-do" if kept is None else "skipped"
        if as_json:
            output.json_line({"photo": photo.path, "name": photo.name, "status": status})
        else:
            output.result(f"{status}\t{photo.path}")
