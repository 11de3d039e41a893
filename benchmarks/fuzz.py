"""What becomes of damaged files: how many are read, how many refused, and whether anything else is.

    python benchmarks/fuzz.py PHOTO --count 2000

Damaged photos go through `face3d batch --task landmarks`; damaged mesh, landmark and model files
through the readers and the fit, in the same worker processes, with a limit of 60 s each. Whatever
is neither done nor refused in one line (a bug, a death, a time out, an unfinished file) is listed.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))
from face3d_cli.errors import ModelError
from face3d_cli.io.points import save_pts
from face3d_cli.pipeline.batch import run_batch
from face3d_cli.pipeline.discover import Discovery, FoundPhoto
from face3d_cli.pipeline.engine_local import LocalEngine
from face3d_cli.pipeline.locate import locate
from face3d_cli.settings import BatchSettings
from face3d_cli.weights.store import find_model
from tests.helpers.fuzz import ReadTask, quick_landmarks, write_files, write_photos

UNWANTED = ("a bug of face3d", "its worker died", "not done within")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photo", type=Path)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        print(json.dumps(fuzz(Path(name), given.photo, given.count, given.seed), indent=1))


def fuzz(work: Path, photo: Path, count: int, seed: int = 0) -> dict[str, Any]:
    """Run both; the figures, with everything unwanted named."""
    try:
        surrey = find_model("surrey")["sfm_shape_3448.bin"].parent
    except ModelError:
        surrey = None
    save_pts(work / "real.pts", locate(photo).faces[0][1])
    write_photos(work / "photos", photo, count, seed)
    write_files(work / "files", work, count, surrey, seed)
    return {
        "photos": _run(work / "photos", work / "out_photos", quick_landmarks()),
        "files": _run(work / "files", work / "out_files", ReadTask(surrey, work)),
    }


def _run(folder: Path, out: Path, task: Any) -> dict[str, Any]:
    statuses: Counter[str] = Counter()
    unwanted: list[str] = []

    def look(record: dict[str, Any], line: str) -> None:
        statuses[record["status"]] += 1
        error = record.get("error", "")
        if any(text in error for text in UNWANTED) or "\n" in error:
            unwanted.append(f"{record['name']}: {error}")

    files = [path for path in sorted(folder.iterdir()) if path.stem != "face"]
    found = Discovery([FoundPhoto(str(path), path.name) for path in files])
    started_s = time.perf_counter()
    run_batch(
        found,
        out,
        task,
        LocalEngine(task),
        settings=BatchSettings(timeout_s=60.0),
        on_record=look,
    )
    unfinished = [str(path) for path in out.rglob(".*")]
    return {
        "done": dict(statuses),
        "unwanted": unwanted + unfinished,
        "elapsed_s": round(time.perf_counter() - started_s, 1),
    }


if __name__ == "__main__":
    main()
