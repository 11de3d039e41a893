"""How one file comes onto this machine: from a folder or an address, resumed, checked, renamed.

Plain urllib: pooch cannot resume, and everything else it would do here is one hash and one rename.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Callable
from contextlib import closing
from http.client import HTTPException
from lzma import LZMAError
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from face3d_cli.errors import ModelError
from face3d_cli.version import __version__

Progress = Callable[[int], None]  # bytes gained; negative when a download starts again
_CHUNK_BYTES = 1 << 18
_TIMEOUT_S = 30.0
_ATTEMPTS = 3  # of a download that breaks off; each goes on where the last one stopped


class NotThere(Exception):
    """The source does not hold this file: no such file, 404, 410."""


def is_url(source: str) -> bool:
    """Whether a source is an address and not a path."""
    return source.startswith(("http://", "https://"))


def sha256_of(path: Path) -> str:
    """The sha256 of a file, hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as handle:
        while chunk := handle.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def fetch_file(source: str, target: Path, *, size: int, sha256: str, progress: Progress) -> None:
    """Bring one file to `target`; it takes that name only when its size and hash are right.

    What has arrived stays in `target`.part when the connection breaks, and the next call goes on
    from there. The caller holds the lock of the folder.

    Args:
        source: an http address or a path.
        target: final path; its folder exists.
        size: bytes expected.
        sha256: hash expected, hexadecimal.
        progress: called with the number of bytes gained.

    Raises:
        NotThere: the source does not hold the file.
        ModelError: it could not be had whole, or is not the file that was pinned.
        OSError: the folder of `target` cannot be written.
    """
    part = target.with_name(target.name + ".part")
    if _size(part) > size:
        part.unlink()
    was_begun = part.exists()
    progress(_size(part))
    _fill(source, part, size, progress)
    found = sha256_of(part)
    if found != sha256 and was_begun:  # what lay there may have been anything
        _discard(part, progress)
        _fill(source, part, size, progress)
        found = sha256_of(part)
    if found != sha256:
        _discard(part, progress)
        raise ModelError(
            f"{source} is not the pinned file: expected sha256 {sha256}, found {found}",
            hint="nothing was kept; set FACE3D_MIRROR to another source, or unset it",
        )
    os.replace(part, target)


def unpack(bundle: Path, wanted: dict[str, str], folder: Path, progress: Progress) -> None:
    """Take files out of a tar archive; each takes its name in `folder` once its hash is right.

    Args:
        bundle: the archive; the folders inside it do not matter.
        wanted: sha256 by file name; anything else in the archive is left there.
        folder: where the files go.
        progress: called with the number of bytes gained.

    Raises:
        ModelError: a file differs, or the archive cannot be read.
    """
    try:
        with tarfile.open(bundle) as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                stream = archive.extractfile(member) if name in wanted else None
                if stream is None:
                    continue
                part = folder / f"{name}.part"
                with part.open("wb") as out:
                    while chunk := stream.read(_CHUNK_BYTES):
                        out.write(chunk)
                        progress(len(chunk))
                if (found := sha256_of(part)) != wanted[name]:
                    _discard(part, progress)
                    raise ModelError(f"{name} of {bundle}: expected {wanted[name]}, found {found}")
                os.replace(part, folder / name)
    except (tarfile.TarError, EOFError, LZMAError) as problem:
        raise ModelError(f"cannot unpack {bundle}: {problem}") from problem


def _fill(source: str, part: Path, size: int, progress: Progress) -> None:
    """Append to the partial file until it has its full size."""
    reason = "the connection broke off"
    for _ in range(_ATTEMPTS):
        try:
            _append(source, part, size, progress)
        except (HTTPException, URLError, TimeoutError, ConnectionError) as problem:
            reason = str(getattr(problem, "reason", problem)) or type(problem).__name__
            if isinstance(problem, HTTPError):
                reason = f"HTTP {problem.code} {reason}"
                if problem.code < 500:
                    break  # asking again will not help
        if _size(part) >= size:
            break
    have = _size(part)
    if have > size:
        _discard(part, progress)
        raise ModelError(f"{source} is longer than the pinned file of {size:,} bytes")
    if have < size:
        raise ModelError(
            f"cannot pull {source}: {reason} ({have:,} of {size:,} bytes)",
            hint="run the same command again: it goes on from there",
        )


def _append(source: str, part: Path, size: int, progress: Progress) -> None:
    """One attempt: read from where the partial file ends."""
    have = _size(part)
    if have >= size:
        return
    with closing(_open(source, have)) as stream:
        if have and is_url(source) and not _continues_at(stream, have):
            _discard(part, progress)  # the server sends everything: start again
        with part.open("ab") as out:
            while chunk := stream.read(_CHUNK_BYTES):
                out.write(chunk)
                progress(len(chunk))
                if out.tell() > size:
                    return


def _open(source: str, offset: int) -> Any:
    """A binary stream that begins at `offset` where the source can do that."""
    if not is_url(source):
        try:
            handle = Path(source).open("rb")  # noqa: SIM115 - closed by the caller
        except (FileNotFoundError, NotADirectoryError) as problem:
            raise NotThere(source) from problem
        except OSError as problem:
            raise ModelError(f"cannot read {source}: {problem.strerror}") from problem
        handle.seek(offset)
        return handle
    headers = {"User-Agent": f"face3d/{__version__}"}
    if offset:
        headers["Range"] = f"bytes={offset}-"
    try:
        return urlopen(Request(source, headers=headers), timeout=_TIMEOUT_S)
    except HTTPError as problem:
        if problem.code in (404, 410):
            raise NotThere(source) from problem
        if problem.code == 416 and offset:  # what we have is longer than what is there
            return _open(source, 0)
        raise


def _continues_at(stream: Any, offset: int) -> bool:
    """Whether the server honoured the range we asked for."""
    given = stream.headers.get("Content-Range") or ""
    return stream.status == 206 and given.startswith(f"bytes {offset}-")


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _discard(part: Path, progress: Progress) -> None:
    progress(-_size(part))
    part.unlink(missing_ok=True)
