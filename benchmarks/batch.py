"""How fast batches are, what they hold in memory, and what deaths and broken photos cost.

    python benchmarks/batch.py speed PHOTOS_DIR --count 1000
    python benchmarks/batch.py memory PHOTOS_DIR --count 400
    python benchmarks/batch.py kill PHOTOS_DIR --count 60
    python benchmarks/batch.py broken PHOTOS_DIR --count 200

Photos are made by copying those of a folder with changes: mirrored, scaled, brighter or darker.
`memory` runs one uninterrupted batch of all photos; a worker's heap rises and falls by some 30 MiB
from photo to photo, so the most it ever held stands beside what it holds. `speed` does so first,
and then reconstructs the first `--compared` photos in chunks, each chunk by turns in four ways: a
plain loop over the library, two such loops side by side (what the machine can give), a batch with
one process and one with two. All of it takes the Surrey path.
`kill` ends the parent with SIGKILL at ten random moments, runs the same command again, and compares
every file with those of an uninterrupted run. `broken` damages every tenth photo.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[1]))
from face3d_cli.errors import Face3dError
from face3d_cli.io.image import read_photo
from face3d_cli.pipeline.batch import run_batch
from face3d_cli.pipeline.discover import Discovery, FoundPhoto, find_photos
from face3d_cli.pipeline.engine_local import LocalEngine
from face3d_cli.pipeline.photo_tasks import ReconstructTask
from face3d_cli.pipeline.threads import THREAD_VARIABLES, limit_threads
from face3d_cli.settings import ReconstructSettings

NUM_KILLS = 10
SURREY = ReconstructTask(settings=ReconstructSettings(method="surrey"))
FACE3D_BATCH = [sys.executable, "-m", "face3d_cli", "batch"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["speed", "memory", "kill", "broken", "loop"])
    parser.add_argument("photos", type=Path)
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--compared", type=int, default=400)
    parser.add_argument("--chunk", type=int, default=100)
    given = parser.parse_args()
    if given.what == "loop":  # a process of its own, as the batch's workers are
        print(loop(sorted(given.photos.glob("*.jpg")), given.photos.with_suffix(".out")))
        return
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        make_photos(given.photos, work / "photos", given.count)
        print(f"{given.count} photos made", file=sys.stderr)
        if given.what == "speed":
            photos = find_photos(work / "photos").photos
            figures = memory(work, photos)
            figures |= speed(work, photos[: given.compared], given.chunk)
        elif given.what == "memory":
            figures = memory(work, find_photos(work / "photos").photos)
        else:
            figures = {"kill": kill, "broken": broken}[given.what](work)
    print(json.dumps({"photos": given.count, "cores": os.cpu_count(), **figures}, indent=1))


def make_photos(source: Path, folder: Path, count: int, seed: int = 0) -> None:
    """Fill a tree of folders with changed copies, each another photo."""
    originals = [Image.fromarray(read_photo(path)) for path in sorted(source.glob("*.[jp][pn]g"))]
    rng = np.random.default_rng(seed)
    for index in range(count):
        image = originals[index % len(originals)]
        scale = int(rng.integers(380, 560)) / max(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)))
        if rng.random() < 0.5:
            image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        grain = rng.normal(0, 2, (image.height, image.width, 1))
        pixels = np.asarray(image) * rng.uniform(0.8, 1.2) + grain
        path = folder / f"{index // 100:02}" / f"{index:04}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.clip(pixels, 0, 255).astype(np.uint8)).save(path, quality=90)


def memory(work: Path, photos: list[FoundPhoto]) -> dict[str, Any]:
    """Resident memory of parent and workers, after every 50 photos of one uninterrupted batch."""
    seen: list[list[tuple[int, int]]] = []
    statuses: Counter[str] = Counter()

    def look(record: dict[str, Any], line: str) -> None:
        statuses[record["status"]] += 1
        if statuses.total() % 50 == 0:
            workers = sorted(child.pid or 0 for child in multiprocessing.active_children())
            seen.append([_resident_mib(pid) for pid in (os.getpid(), *workers)])

    task, started_s = SURREY, time.perf_counter()
    run_batch(Discovery(photos), work / "memory", task, LocalEngine(task, 2), on_record=look)
    elapsed_s = time.perf_counter() - started_s
    return {
        "whole batch, 2 processes": {
            "statuses": dict(statuses),
            "seconds": round(elapsed_s, 1),
            "photos_per_s": round(len(photos) / elapsed_s, 2),
            "resident_mib_after_every_50 (parent, worker, worker; now, most)": seen,
        }
    }


def _resident_mib(pid: int) -> tuple[int, int]:
    """What a process holds now, and the most that it ever held."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    said = dict(line.split(":", 1) for line in lines)
    return int(said["VmRSS"].split()[0]) // 1024, int(said["VmHWM"].split()[0]) // 1024


def speed(work: Path, photos: list[FoundPhoto], chunk: int) -> dict[str, Any]:
    """Wall and CPU seconds of each way, chunk by chunk; ratios are medians over the chunks."""
    spans_s: dict[str, list[float]] = {"1 process": [], "2 processes": []}
    ways: dict[str, Callable[[list[FoundPhoto], Path], None]] = {
        "loop": lambda part, out: _loops(part, out, 1),
        "2 loops": lambda part, out: _loops(part, out, 2),
        "1 process": lambda part, out: spans_s["1 process"].append(_batch(part, out, 1)),
        "2 processes": lambda part, out: spans_s["2 processes"].append(_batch(part, out, 2)),
    }
    wall_s: dict[str, list[float]] = {name: [] for name in ways}
    cpu_s: dict[str, list[float]] = {name: [] for name in ways}
    for number, start in enumerate(range(0, len(photos), chunk)):
        part = photos[start : start + chunk]
        names = list(ways) if number % 2 == 0 else list(ways)[::-1]
        for name in names:
            before_cpu, before = _cpu_s(), time.perf_counter()
            ways[name](part, work / f"{name}-{start}")
            wall_s[name].append(time.perf_counter() - before)
            cpu_s[name].append(_cpu_s() - before_cpu)
        done = {name: round(each[-1], 1) for name, each in wall_s.items()}
        print(f"{start + len(part)}/{len(photos)}: {done} s", file=sys.stderr)

    def ratio(spent: dict[str, list[float]], over: str, under: str) -> float:
        pairs = zip(spent[over], spent[under], strict=True)
        return round(statistics.median(a / b for a, b in pairs), 3)

    return {
        "compared": len(photos),
        "wall_s": {name: [round(s, 1) for s in each] for name, each in wall_s.items()},
        "cpu_s": {name: [round(s, 1) for s in each] for name, each in cpu_s.items()},
        "2 processes against 1": ratio(wall_s, "1 process", "2 processes"),
        "the same, from first to last photo": ratio(spans_s, "1 process", "2 processes"),
        "2 loops against 1": ratio(wall_s, "loop", "2 loops"),
        "1 process over the loop, wall": ratio(wall_s, "1 process", "loop"),
        "1 process over the loop, CPU": ratio(cpu_s, "1 process", "loop"),
        "2 processes over 2 loops, wall": ratio(wall_s, "2 processes", "2 loops"),
    }


def _batch(photos: list[FoundPhoto], out: Path, num_processes: int) -> float:
    """Run a batch; returns the seconds between the end of the first photo and of the last."""
    task, ends_s = SURREY, list[float]()
    engine = LocalEngine(task, num_processes)
    run_batch(
        Discovery(photos),
        out,
        task,
        engine,
        on_record=lambda record, line: ends_s.append(time.perf_counter()),
    )
    return ends_s[-1] - ends_s[0]


def _loops(photos: list[FoundPhoto], out: Path, count: int) -> None:
    """Loops side by side, each over its share of the photos."""
    started = []
    for index in range(count):
        folder = out / str(index)
        folder.mkdir(parents=True)
        for photo in photos[index::count]:
            (folder / Path(photo.name).name).symlink_to(photo.path)
        command = [sys.executable, __file__, "loop", str(folder)]
        environment = {**os.environ, **THREAD_VARIABLES}
        started.append(subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL))
    if any(process.wait() for process in started):
        raise SystemExit("a loop failed")


def loop(photos: list[Path], out: Path) -> int:
    """The library in a loop, as a user would write it."""
    import face3d_cli

    limit_threads()
    done = 0
    for photo in photos:
        try:
            face3d_cli.reconstruct(photo, SURREY.settings).save(out / f"{photo.name}.glb")
        except Face3dError:
            continue
        done += 1
    return done


def _cpu_s() -> float:
    """Of this process and of all that it has waited for."""
    spent = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in spent)


def kill(work: Path) -> dict[str, Any]:
    """Kill the parent at random moments, finish, and compare with an uninterrupted run."""
    chance = random.Random(0)
    command = [*FACE3D_BATCH, str(work / "photos"), "-o"]
    subprocess.run([*command, str(work / "whole")], capture_output=True, check=False)
    manifest = work / "killed" / "manifest.jsonl"
    num_photos, lines_then = len(_results(work / "photos", "*.jpg")), [0]
    for _ in range(NUM_KILLS):
        with subprocess.Popen(
            [*command, str(work / "killed")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as process:
            more = chance.randrange(num_photos // NUM_KILLS)
            while more and process.poll() is None and _lines(manifest) < lines_then[-1] + more:
                time.sleep(0.01)
            time.sleep(chance.uniform(0, 0.5 if more else 3.0))  # 3 s: while workers start
            process.kill()
        lines_then.append(_lines(manifest))
    ended = subprocess.run([*command, str(work / "killed")], capture_output=True, text=True)
    names = [json.loads(line)["name"] for line in manifest.read_text().splitlines()]
    whole, killed = (_results(work / out, "*.glb") for out in ("whole", "killed"))
    return {
        "lines_at_each_kill": lines_then[1:],
        "exit_code": ended.returncode,
        "last_line": ended.stderr.strip().splitlines()[-1],
        "lines": len(names),
        "photos_with_a_line": len(set(names)),
        "results": len(whole),
        "results_that_differ": sorted(
            name for name in {*whole, *killed} if whole.get(name) != killed.get(name)
        ),
        "unfinished_files": len([*(work / "killed").rglob(".face3d-*")]),
    }


def _lines(manifest: Path) -> int:
    return manifest.read_bytes().count(b"\n") if manifest.exists() else 0


def _results(folder: Path, names: str) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob(names)}


def broken(work: Path) -> dict[str, Any]:
    """Damage every tenth photo in one of six ways; all others must be done, each failure named."""
    damaged = {}
    for index, path in enumerate(sorted((work / "photos").rglob("*.jpg"))[::10]):
        kind = ("truncated", "empty", "text", "bomb", "unreadable", "no face")[index % 6]
        damaged[path.relative_to(work / "photos").as_posix()] = kind
        _damage(path, kind)
    command = [*FACE3D_BATCH, str(work / "photos"), "-o", str(work / "out"), "--json"]
    ended = subprocess.run(command, capture_output=True, text=True)
    records = [json.loads(line) for line in ended.stdout.splitlines()]
    failed = {each["name"]: each for each in records if each["status"] != "ok"}
    return {
        "exit_code": ended.returncode,
        "last_line": ended.stderr.strip().splitlines()[-1],
        "damaged": dict(Counter(damaged.values())),
        "damaged_but_done": sorted({*damaged} - {*failed}),
        "sound_but_failed": {name: failed[name]["error"] for name in {*failed} - {*damaged}},
        "not_named": [name for name in failed if name not in ended.stderr],
        "an_error_of_each": {
            damaged[name]: failed[name]["error"] for name in {*failed} & {*damaged}
        },
    }


def _damage(path: Path, kind: str) -> None:
    if kind == "truncated":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "text":
        path.write_text("not a photo")
    elif kind == "bomb":
        Image.new("1", (14_000, 14_000)).save(path, "PNG")
    elif kind == "unreadable":  # chmod does not keep the administrator out
        path.unlink()
        path.symlink_to("nowhere")
    else:
        Image.fromarray(np.zeros((400, 400, 3), np.uint8)).save(path)


if __name__ == "__main__":
    main()
