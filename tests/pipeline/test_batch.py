from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from face3d_cli.errors import ModelError, OutputError, StageError
from face3d_cli.pipeline.batch import BatchChoice, BatchReport, run_batch
from face3d_cli.pipeline.discover import find_photos
from face3d_cli.pipeline.engine_local import LocalEngine
from face3d_cli.pipeline.manifest import read_records
from face3d_cli.settings import BatchSettings
from tests.helpers.batch_task import WordTask, records_in


class Batch:
    """A folder of photos made of words, and runs over it."""

    def __init__(self, folder: Path) -> None:
        self.photos, self.out, marks = (folder / each for each in ("photos", "out", "marks"))
        for each in (self.photos, marks):
            each.mkdir()
        self.task = WordTask(marks=marks)

    def add(self, **words: str) -> Batch:
        for name, text in words.items():
            path = self.photos / f"{name.replace('__', '/')}.jpg"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        return self

    def run(
        self,
        choice: BatchChoice = BatchChoice(),
        *,
        jobs: int = 1,
        timeout_s: float = 60.0,
        task: WordTask | None = None,
        on_record: Callable[[dict, str], None] = lambda record, line: None,
    ) -> BatchReport:
        task = task or self.task
        return run_batch(
            find_photos(self.photos),
            self.out,
            task,
            LocalEngine(task, jobs),
            choice=choice,
            settings=BatchSettings(timeout_s=timeout_s),
            on_record=on_record,
        )

    def times_begun(self, name: str) -> int:
        mark = self.task.marks / f"{name}.jpg.mark"
        return mark.stat().st_size if mark.exists() else 0

    def files(self) -> dict[str, bytes]:
        return {
            str(path.relative_to(self.out)): path.read_bytes()
            for path in sorted(self.out.rglob("*"))
            if path.is_file() and path.suffix == ".txt"
        }

    def hidden(self) -> list[Path]:
        return [path for path in self.out.rglob(".*") if path.is_file()]


@pytest.fixture
def batch(tmp_path: Path) -> Batch:
    return Batch(tmp_path)


def test_each_photo_gets_its_results_in_the_folder_tree_and_one_line(batch: Batch) -> None:
    batch.add(a__x="ok one", b__x="ok two")
    (batch.photos / "a" / "x.png").write_text("ok three")
    report = batch.run(jobs=2)
    assert report.exit_code == 0
    assert batch.files() == {
        "a/x.jpg.0.txt": b"one",
        "a/x.png.0.txt": b"three",
        "b/x.jpg.0.txt": b"two",
    }
    assert sorted(each["name"] for each in records_in(batch.out)) == [
        "a/x.jpg",
        "a/x.png",
        "b/x.jpg",
    ]
    summary = json.loads((batch.out / "summary.json").read_text())
    assert summary["done"] == {"ok": 3}
    assert summary["exit_code"] == 0
    assert batch.hidden() == []


def test_a_failure_costs_one_photo_and_is_named(batch: Batch) -> None:
    batch.add(a="ok 1", b="no-face", c="bug", d="nan", e="ok 2", f="second-fails")
    report = batch.run()
    assert report.exit_code == 6
    assert report.line().startswith("ok=2 no-face=1 failed=3 skipped=0 ")
    errors = {each["name"]: each.get("error") for each in records_in(batch.out)}
    assert "no face in" in errors["b.jpg"]
    assert "ZeroDivisionError: division by zero (batch_task.py:" in errors["c.jpg"]
    assert "JSON compliant" in errors["d.jpg"]
    assert sorted(batch.files()) == ["a.jpg.0.txt", "e.jpg.0.txt"]  # nothing of a failed photo


def test_a_worker_that_dies_costs_one_photo_after_one_retry(batch: Batch) -> None:
    batch.add(a="ok 1", b="crash", c="crash-once 3", d="ok 4")
    report = batch.run(jobs=2)
    assert report.done == {"ok": 3, "failed": 1}
    assert batch.times_begun("b") == 2
    assert batch.times_begun("c") == 2
    by_name = {each["name"]: each for each in records_in(batch.out)}
    assert "its worker died 2 times; the last one was ended by SIGKILL" in by_name["b.jpg"]["error"]
    assert batch.hidden() == []  # the dead left unfinished files


def test_a_photo_that_takes_too_long_fails_and_the_others_go_on(batch: Batch) -> None:
    batch.add(a="hang", b="ok 1", c="ok 2")
    started_s = time.monotonic()
    report = batch.run(timeout_s=1.0)
    assert time.monotonic() - started_s < 60
    assert report.done == {"ok": 2, "failed": 1}
    assert batch.times_begun("a") == 1
    assert records_in(batch.out)[0]["error"] == "not done within 1 s"


def test_a_missing_model_stops_before_any_photo(batch: Batch) -> None:
    batch.add(a="ok 1")
    with pytest.raises(ModelError, match="model is missing"):
        batch.run(task=replace(batch.task, cannot_start="model"))
    assert records_in(batch.out) == []


def test_workers_that_cannot_start_end_the_batch(batch: Batch) -> None:
    batch.add(a="ok 1")
    with pytest.raises(StageError, match=r"die while they start.*SIGSEGV"):
        batch.run(task=replace(batch.task, cannot_start="crash"))


def test_what_is_done_is_skipped(batch: Batch) -> None:
    batch.add(a="ok 1", b="no-face")
    batch.run()
    report = batch.run()
    assert report.skipped == {"ok": 1, "no-face": 1}
    assert report.done.total() == 0
    assert report.exit_code == 6  # not every photo is done
    assert batch.times_begun("a") == 1
    assert len(records_in(batch.out)) == 2


@pytest.mark.parametrize("what", ["results", "settings", "photo", "missing"])
def test_what_is_no_longer_so_is_done_again(batch: Batch, what: str) -> None:
    batch.add(a="ok 1", b="ok 2")
    batch.run()
    task, result = batch.task, batch.out / "a.jpg.0.txt"
    if what == "results":
        result.write_bytes(b"X")  # of the same size
    elif what == "missing":
        result.unlink()
    elif what == "photo":
        batch.add(a="ok new")
    else:
        task = replace(task, ending="!")
    report = batch.run(task=task)
    again = 2 if what == "settings" else 1
    assert (report.done["ok"], report.skipped["ok"]) == (again, 2 - again)
    expected = {"photo": "new", "settings": "1!"}.get(what, "1")
    assert result.read_text() == expected
    latest = {each["name"]: each for each in read_records(batch.out)}
    assert len(latest) == 2
    assert len(records_in(batch.out)) == 2 + again


def test_results_that_are_not_made_any_more_are_removed(batch: Batch) -> None:
    batch.add(a="two 1")
    batch.run()
    assert sorted(batch.files()) == ["a.jpg.0.txt", "a.jpg.1.txt"]
    batch.run(task=replace(batch.task, ending="!"))
    assert batch.files() == {"a.jpg.0.txt": b"1!"}


def test_failures_are_retried_and_results_overwritten_when_asked(batch: Batch) -> None:
    batch.add(a="ok 1", b="no-face", c="ok 2")
    batch.run()
    assert batch.run(BatchChoice(retry_failed=True)).done == {"no-face": 1}
    assert batch.run(BatchChoice(overwrite=True)).done == {"ok": 2, "no-face": 1}
    assert batch.times_begun("a") == 2
    assert batch.times_begun("b") == 3


def test_a_limit_counts_what_is_worked_on(batch: Batch) -> None:
    batch.add(a="ok 1", b="ok 2", c="ok 3")
    for expected in ({"a.jpg"}, {"a.jpg", "b.jpg"}, {"a.jpg", "b.jpg", "c.jpg"}):
        batch.run(BatchChoice(limit=1))
        assert {each["name"] for each in records_in(batch.out)} == expected


def test_a_second_batch_into_one_folder_is_refused(batch: Batch) -> None:
    batch.add(a="ok 1", b="ok 2")

    def run_another(record: dict, line: str) -> None:
        with pytest.raises(OutputError, match="another batch is working in"):
            batch.run()

    assert batch.run(on_record=run_another).done == {"ok": 2}
    assert len(records_in(batch.out)) == 2


def test_a_folder_deleted_half_way_is_one_error(batch: Batch) -> None:
    batch.add(a="ok 1", b="ok 2", c="ok 3")
    with pytest.raises(OutputError, match=r"manifest\.jsonl has gone"):
        batch.run(on_record=lambda record, line: shutil.rmtree(batch.out))
    assert batch.run().done == {"ok": 3}


@pytest.fixture
def small_disk(tmp_path: Path) -> Path:
    """A disk of 256 KiB; only the administrator can have one."""
    disk = tmp_path / "disk"
    disk.mkdir()
    if not hasattr(os, "geteuid") or os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a small disk needs to be root")
    mount = ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(disk)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting is not permitted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_disk_is_one_error_and_the_manifest_stays_whole(
    batch: Batch, small_disk: Path
) -> None:
    batch.out = small_disk / "out"
    batch.add(**{f"p{index}": "ok " + "x" * 60_000 for index in range(8)})
    with pytest.raises(OutputError, match="No space left on device"):
        batch.run()
    done = records_in(batch.out)  # every line is whole
    assert 2 <= len(done) <= 4
    assert {each["status"] for each in done} == {"ok"}
    assert batch.hidden() == []
    for path in batch.photos.glob("p[4-7].jpg"):
        path.unlink()
    for name in ("p0", "p1"):
        (batch.out / f"{name}.jpg.0.txt").unlink()
    (batch.photos / "p0.jpg").write_text("ok small")
    (batch.photos / "p1.jpg").write_text("ok small")
    assert batch.run().exit_code == 0  # there is room again


def test_a_read_only_folder_is_one_error(batch: Batch, small_disk: Path) -> None:
    batch.out = small_disk
    batch.add(a="ok 1")
    subprocess.run(["mount", "-o", "remount,ro", str(small_disk)], check=True)
    with pytest.raises(OutputError, match="Read-only file system"):
        batch.run()


_SCRIPT = """
import sys
from pathlib import Path
from face3d_cli.pipeline.batch import run_batch
from face3d_cli.pipeline.discover import find_photos
from face3d_cli.pipeline.engine_local import LocalEngine
from tests.helpers.batch_task import WordTask
if __name__ == "__main__":
    photos, out, marks = map(Path, sys.argv[1:])
    task = WordTask(marks=marks, pause_s=0.02)
    run_batch(find_photos(photos), out, task, LocalEngine(task, 2),
              on_record=lambda record, line: print(line, flush=True))
"""


def _start(batch: Batch, script: Path) -> subprocess.Popen[str]:
    script.write_text(_SCRIPT)
    folders = [batch.photos, batch.out, batch.task.marks]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    return subprocess.Popen(
        [sys.executable, str(script), *map(str, folders)],
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )


def _has_ended(pid: int, within_s: float = 20.0) -> bool:
    deadline_s = time.monotonic() + within_s
    while time.monotonic() < deadline_s:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return False


def test_killed_at_any_moment_it_goes_on_where_it_was(batch: Batch, tmp_path: Path) -> None:
    batch.add(**{f"p{index:02}": f"ok result {index}" for index in range(40)})
    pids = set()
    for lines_before_the_kill in (1, 6, 13):
        with _start(batch, tmp_path / "run.py") as process:
            assert process.stdout is not None
            for _ in range(lines_before_the_kill):
                pids.add(json.loads(process.stdout.readline())["pid"])
            process.kill()
    with (batch.out / "manifest.jsonl").open("a") as manifest:
        manifest.write('{"photo": "torn')
    assert all(_has_ended(pid) for pid in pids)  # workers died with it
    report = batch.run(task=replace(batch.task, pause_s=0.02))
    assert report.exit_code == 0
    assert report.skipped["ok"] >= 20
    names = [each["name"] for each in records_in(batch.out)]
    assert len(names) == len(set(names)) == 40
    assert batch.files() == {f"p{i:02}.jpg.0.txt": f"result {i}".encode() for i in range(40)}
    assert batch.hidden() == []


def test_an_interrupted_batch_leaves_no_worker_and_no_unfinished_file(
    batch: Batch, tmp_path: Path
) -> None:
    batch.add(**{f"p{index:02}": "ok" for index in range(40)})
    with _start(batch, tmp_path / "run.py") as process:
        assert process.stdout is not None
        pid = json.loads(process.stdout.readline())["pid"]
        process.send_signal(signal.SIGINT)
        rest = process.stdout.read()
        assert process.wait() == -signal.SIGINT
    assert rest.count("\n") < 39
    assert _has_ended(pid)
    assert batch.hidden() == []
