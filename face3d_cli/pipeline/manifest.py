"""What has become of each photo of a batch: `manifest.jsonl`, a line a photo, appended and fsynced.

A process killed while it writes leaves a torn last line, which the next run cuts off. Lines are
never changed: a photo that is done again gets another line, and the later one counts.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from face3d_cli.errors import OutputError, UnreadableInput

MANIFEST = "manifest.jsonl"
LOCK = "manifest.lock"


@dataclass(frozen=True)
class OutputFile:
    """A result file: its path inside the output folder, and what makes it whole."""

    path: str
    bytes: int
    sha256: str

    @classmethod
    def of(cls, path: Path, folder: Path) -> OutputFile:
        """Describe a file that has just been written."""
        relative = Path(os.path.relpath(path, folder)).as_posix()
        return cls(relative, path.stat().st_size, _sha256(path))

    def is_whole(self, folder: Path) -> bool:
        """Whether the file is still what was written."""
        path = folder / self.path
        try:
            return path.stat().st_size == self.bytes and _sha256(path) == self.sha256
        except OSError:
            return False


@dataclass(frozen=True)
class PhotoState:
    """Size and time of a photo's file, to see that it has not changed; None where it has gone."""

    bytes: int | None
    mtime_ns: int | None

    @classmethod
    def of(cls, path: str) -> PhotoState:
        """Look at a file."""
        with suppress(OSError, ValueError):
            status = os.stat(path)
            return cls(status.st_size, status.st_mtime_ns)
        return cls(None, None)


@dataclass(frozen=True)
class Entry:
    """What the manifest says of one photo, as far as later runs need it."""

    status: str
    settings: str
    photo: PhotoState
    outputs: tuple[OutputFile, ...]

    @classmethod
    def from_record(cls, record: Mapping[str, Any]) -> Entry:
        """Read a line; KeyError and TypeError mean that it is not one of ours."""
        return cls(
            record["status"],
            record["settings"],
            PhotoState(**record["file"]),
            tuple(OutputFile(**output) for output in record["outputs"]),
        )


class Manifest:
    """The open manifest of an output folder, locked against other batches.

    Attributes:
        entries: the latest entry of each (task, photo name).
        notes: what had to be repaired.
    """

    def __init__(self, folder: Path) -> None:
        """Open, lock and read the manifest; makes the folder.

        Raises:
            OutputError: another batch works in the folder, or it cannot be written.
        """
        from filelock import FileLock, Timeout

        self.folder, self.path = folder, folder / MANIFEST
        self._lock = FileLock(folder / LOCK, timeout=0)
        with _as_output_error(self.path):
            folder.mkdir(parents=True, exist_ok=True)
            try:
                self._lock.acquire()
            except Timeout:
                raise OutputError(
                    f"another batch is working in {folder}",
                    hint="wait until it has ended, or name another folder with -o",
                ) from None
            self._file = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o666)
            self.entries, self.notes, whole_bytes = read_entries(folder)
            os.ftruncate(self._file, whole_bytes)

    def append(self, record: Mapping[str, Any]) -> str:
        """Add a line and see it on the disk; returns it without its end.

        Raises:
            OutputError: the disk is full, or the folder has gone. The manifest is as before.
        """
        line = json.dumps(record, allow_nan=False)
        with _as_output_error(self.path):
            self._require_in_place()
            size = os.fstat(self._file).st_size
            content = line.encode() + b"\n"
            try:
                while content:
                    content = content[os.write(self._file, content) :]
                os.fsync(self._file)
            except OSError:
                os.ftruncate(self._file, size)
                raise
        self.entries[record["task"], record["name"]] = Entry.from_record(record)
        return line

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        problem: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close the file and let other batches in."""
        os.close(self._file)
        self._lock.release()

    def _require_in_place(self) -> None:
        try:
            is_here = os.path.samestat(os.stat(self.path), os.fstat(self._file))
        except FileNotFoundError:
            is_here = False
        if not is_here:
            raise OutputError(
                f"{self.path} has gone: the output folder was deleted or replaced during the batch",
                hint="run the same command again",
            )


def read_entries(folder: Path) -> tuple[dict[tuple[str, str], Entry], list[str], int]:
    """What a folder's manifest says, what is wrong with it, and the length of its whole lines."""
    entries: dict[tuple[str, str], Entry] = {}
    notes: list[str] = []
    path, whole_bytes = folder / MANIFEST, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                notes.append(f"{path}: cut off an unfinished last line")
                break
            whole_bytes += len(line)
            if (record := _parsed(line)) is None:
                notes.append(f"{path}: line {number} is damaged and does not count")
            else:
                entries[record["task"], record["name"]] = Entry.from_record(record)
    return entries, notes, whole_bytes


def read_records(folder: Path) -> Iterator[dict[str, Any]]:
    """The latest record of each (task, photo name), in the order in which they were written.

    Raises:
        UnreadableInput: there is no manifest, or it cannot be read.
    """
    latest: dict[tuple[str, str], int] = {}
    path = folder / MANIFEST
    try:
        with path.open("rb") as file:
            for number, line in enumerate(file):
                if (record := _parsed(line)) is not None:
                    latest[record["task"], record["name"]] = number
            wanted = set(latest.values())
            file.seek(0)
            for number, line in enumerate(file):
                if number in wanted and (record := _parsed(line)) is not None:
                    yield record
    except OSError as problem:
        raise UnreadableInput(
            f"cannot read {path}: {problem.strerror}", hint="expected the folder of a batch"
        ) from problem


def digest_of(task: str, settings: Mapping[str, Any]) -> str:
    """A short name for settings: equal settings have equal digests."""
    text = json.dumps([task, settings], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def state_json(state: PhotoState) -> dict[str, int | None]:
    """The `file` of a record."""
    return asdict(state)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        record: dict[str, Any] = json.loads(line)
        Entry.from_record(record)
    except (ValueError, KeyError, TypeError):
        return None
    return record if "task" in record and "name" in record else None


def _sha256(path: Path) -> str:
    hasher = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            hasher.update(block)
    return hasher.hexdigest()


@contextmanager
def _as_output_error(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as problem:
        is_full = problem.errno in (errno.ENOSPC, errno.EDQUOT)
        raise OutputError(
            f"cannot write {path}: {problem.strerror or problem}",
            hint="free some space there" if is_full else "name another folder with -o",
        ) from problem
