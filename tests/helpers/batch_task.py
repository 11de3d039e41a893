"""A task whose photos say in words what shall become of them."""

from __future__ import annotations

import json
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from face3d_cli.errors import ModelError, NoFaceFound, StageError
from face3d_cli.io.atomic import atomic_path
from face3d_cli.pipeline.tasks import Job


@dataclass(frozen=True)
class WordTask:
    """Does what the first word of a photo says, and writes the rest of it as the result."""

    name: ClassVar[str] = "word"
    ending: str = ""
    marks: Path = Path()  # where photos leave a mark each time they are begun
    cannot_start: str = ""
    pause_s: float = 0.0

    def folders(self) -> list[Path]:
        return []

    def warm_up(self) -> None:
        if self.cannot_start == "model":
            raise ModelError("model is missing", hint="pull it")
        if self.cannot_start == "crash":
            os.kill(os.getpid(), signal.SIGSEGV)

    def run(self, job: Job) -> dict[str, Any]:
        word, _, rest = Path(job.photo).read_text().partition(" ")
        with (self.marks / (job.name.replace("/", "+") + ".mark")).open("a") as marks:
            marks.write("x")
        times = (self.marks / (job.name.replace("/", "+") + ".mark")).stat().st_size
        if word == "crash" or (word == "crash-once" and times == 1):
            with atomic_path(job.result("txt")) as unfinished:
                unfinished.write_text("half")
                os.kill(os.getpid(), signal.SIGKILL)
        if word == "hang":
            time.sleep(600)
        if word == "no-face":
            raise NoFaceFound(f"no face in {job.photo}")
        if word == "bug":
            raise ZeroDivisionError("division by zero")
        if word == "nan":
            return {"photo": job.photo, "status": "ok", "x": float("nan")}
        time.sleep(self.pause_s)
        for index in range(2 if word == "two" and not self.ending else 1):
            with atomic_path(job.result(f"{index}.txt")) as unfinished:
                unfinished.write_text(rest + self.ending)
        if word == "second-fails":
            raise StageError("the second face failed")
        return {"photo": job.photo, "status": "ok", "times": times, "pid": os.getpid()}


def records_in(out: Path) -> list[dict[str, Any]]:
    """Every line of a manifest."""
    return [json.loads(line) for line in (out / "manifest.jsonl").read_text().splitlines()]
