"""How result files appear: whole, or not at all.

Work goes to a temporary file in the folder of the result, which takes the final name when it is
complete. A crash, an error or Ctrl-C in between leaves whatever was there before.
"""

from __future__ import annotations

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from pathlib import Path

from face3d_cli.errors import OutputError

_PREFIX = ".face3d-"
_written: ContextVar[list[Path] | None] = ContextVar("_written", default=None)


@contextmanager
def atomic_paths(*finals: str | Path) -> Iterator[tuple[Path, ...]]:
    """Hand out one temporary path per final file; all of them are renamed when the block ends well.

    For files that belong together, such as OBJ, MTL and PNG: nothing takes its final name before
    every file is complete. Missing parent folders are created. A temporary file keeps the suffix of
    its final one, because some writers choose the format by it; it is created by the block, so that
    the user's umask applies.

    Raises:
        OutputError: a file cannot be written: disk full, read-only, a folder of that name.
    """
    targets = tuple(Path(final) for final in finals)
    token = uuid.uuid4().hex[:12]
    # `with_name` would not survive a final name that is already as long as the file system allows.
    temporaries = tuple(
        target.parent / f"{_PREFIX}{token}-{index}{target.suffix}"
        for index, target in enumerate(targets)
    )
    current = targets[0] if targets else Path()
    try:
        try:
            for current in targets:
                _require_replaceable(current)
                current.parent.mkdir(parents=True, exist_ok=True)
            yield temporaries
            for temporary, current in zip(temporaries, targets, strict=True):
                os.replace(temporary, current)
                if (written := _written.get()) is not None:
                    written.append(current)
        except OSError as problem:
            where = targets[0] if problem.filename is None and targets else current
            raise OutputError(
                f"cannot write {where}: {problem.strerror or problem}",
                hint="try another place with -o",
            ) from problem
    finally:  # also on KeyboardInterrupt and SystemExit
        for temporary in temporaries:
            with suppress(OSError):
                temporary.unlink()


@contextmanager
def atomic_path(final: str | Path) -> Iterator[Path]:
    """Hand out a temporary path that becomes `final` when the block ends well."""
    with atomic_paths(final) as (temporary,):
        yield temporary


@contextmanager
def written_files() -> Iterator[list[Path]]:
    """Collect the final name of every file that takes it while the block runs, in this thread."""
    files: list[Path] = []
    token = _written.set(files)
    try:
        yield files
    finally:
        _written.reset(token)


def sweep_temporaries(folder: Path) -> int:
    """Remove what killed processes left unfinished in a folder tree; returns how many files."""
    swept = 0
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(_PREFIX):
                with suppress(OSError):
                    os.unlink(os.path.join(parent, name))
                    swept += 1
    return swept


def _require_replaceable(final: Path) -> None:
    """Rename over nothing but an ordinary file: `-o /dev/null` must not replace the device."""
    if final.exists() and not final.is_file():
        what = "a folder" if final.is_dir() else "not an ordinary file"
        raise OutputError(f"cannot write {final}: it is {what}", hint="name a file")
