"""Which photos lie in a folder tree or stand in a list, and what are their outputs called?

A photo's name is its path inside the folder, suffix and all: `a/x.jpg` becomes `a/x.jpg.glb`. Names
therefore never depend on which other photos exist, and neither `b/x.jpg` nor `a/x.png` collides.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from face3d_cli.errors import UnreadableInput, UsageError

PHOTO_SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif"}
    | {".tif", ".tiff", ".heic", ".heif"}
)
_HEAD_BYTES = 12
_HEADS = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"BM", b"GIF8", b"II*\0", b"MM\0*")
_HEIF_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1")


@dataclass(frozen=True)
class FoundPhoto:
    """A photo to work on.

    Attributes:
        path: where it is, as reports show it.
        name: its path inside the folder, with forward slashes; unique in a batch.
    """

    path: str
    name: str


@dataclass
class Discovery:
    """What was found, in a stable order.

    Attributes:
        photos: each once.
        notes: what was left out and why, such as loops of links; the batch is none the worse.
        problems: what could not be looked into; the batch ends with failures.
        num_ignored: files that are no photos.
    """

    photos: list[FoundPhoto] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    num_ignored: int = 0


@dataclass(frozen=True)
class NameFilter:
    """Shell patterns over names inside the folder; `*` also matches a slash.

    A pattern without a slash is held against the last part of the name.
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()

    def takes(self, name: str) -> bool:
        """Whether a photo of this name is wanted."""
        wanted = not self.include or _matches(name, self.include)
        return wanted and not _matches(name, self.exclude)

    def enters(self, name: str) -> bool:
        """Whether a folder of this name is looked into."""
        return not _matches(name, self.exclude)


def find_photos(
    root: Path, names: NameFilter = NameFilter(), *, leave_out: Iterable[Path] = ()
) -> Discovery:
    """Look through a folder tree.

    A file counts as a photo when it begins like one, or when its suffix says so: an empty `x.jpg`
    shall be reported as unreadable, not overlooked. Linked folders are followed after all others,
    each folder once; one that holds the root is left out.

    Args:
        root: the folder.
        names: which photos are wanted.
        leave_out: folders that are not entered, such as the output's.

    Raises:
        UnreadableInput: the root is missing, not a folder, or cannot be read.
    """
    if not root.is_dir():
        what = "is a file" if root.exists() else "does not exist"
        raise UnreadableInput(f"expected a folder of photos, but {root} {what}")
    found = Discovery()
    left_out = {_identity(folder) for folder in leave_out if folder.is_dir()}
    around = {_identity(folder) for folder in Path(os.path.realpath(root)).parents}
    seen = set[tuple[int, int]]()
    folders, linked = [("", root)], list[tuple[str, Path]]()
    while folders or linked:
        name, folder = folders.pop() if folders else linked.pop(0)
        try:
            identity = _identity(folder)
            if identity in left_out:
                continue
            if identity in around:
                found.notes.append(f"{folder} leads to a folder that holds {root}: left out")
                continue
            if identity in seen:
                found.notes.append(f"{folder} leads to a folder already looked into: left out")
                continue
            seen.add(identity)
            entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
        except OSError as problem:
            if folder is root:
                raise UnreadableInput(f"cannot read {root}: {problem.strerror}") from problem
            found.problems.append(f"cannot look into {folder}: {problem.strerror}")
            continue
        inner: list[tuple[str, Path]] = []
        for entry in entries:
            inner_name, path = f"{name}/{entry.name}" if name else entry.name, folder / entry.name
            if _is_folder(entry):
                if names.enters(inner_name):
                    (linked if entry.is_symlink() else inner).append((inner_name, path))
            elif names.takes(inner_name) and looks_like_photo(path):
                found.photos.append(FoundPhoto(str(path), inner_name))
            else:
                found.num_ignored += 1
        folders.extend(reversed(inner))
    _refuse_shared_outputs(found)
    return found


def listed_photos(paths: Iterable[str], names: NameFilter = NameFilter()) -> Discovery:
    """Take photos from a list of paths; each is one, whatever it looks like.

    Relative paths keep their folders in the output, absolute ones and those with `..` lose what is
    before the first folder.
    """
    found = Discovery()
    taken: set[str] = set()
    for path in paths:
        parts = Path(path).parts
        if Path(path).is_absolute() or ".." in parts:
            absolute = Path(os.path.abspath(path))
            parts = absolute.relative_to(absolute.anchor).parts
        name = "/".join(parts)
        if name in taken:
            found.notes.append(f"{path} is listed twice: left out")
        elif name and names.takes(name):
            taken.add(name)
            found.photos.append(FoundPhoto(path, name))
    _refuse_shared_outputs(found)
    return found


def split_list(text: str) -> Iterator[str]:
    """The paths of a list: one a line, or separated by null characters (`find -print0`)."""
    if "\0" in text:
        parts = text.split("\0")
    else:  # not splitlines(), which also ends lines at characters that names may hold
        parts = [line.removesuffix("\r") for line in text.split("\n")]
    return (part for part in parts if part.strip())


def looks_like_photo(path: Path) -> bool:
    """Whether a file begins like a photo, or is called like one."""
    is_called_so = path.suffix.lower() in PHOTO_SUFFIXES
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # opening a pipe would wait for its writer
            return False
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError:
        return is_called_so  # reading it will say what is wrong
    is_webp = head[:4] == b"RIFF" and head[8:12] == b"WEBP"
    is_heif = head[4:8] == b"ftyp" and head[8:12] in _HEIF_BRANDS
    return is_called_so or head.startswith(_HEADS) or is_webp or is_heif


def require_apart(root: Path, out: Path) -> None:
    """Refuse an output folder that is, or holds, the folder of photos.

    Raises:
        UsageError: results could take the place of photos.
    """
    inner, outer = Path(os.path.realpath(root)), Path(os.path.realpath(out))
    if outer == inner or outer in inner.parents:
        raise UsageError(
            f"the output folder {out} holds the photos of {root}: results could replace them",
            hint="name another folder with -o; one inside the photos' folder is fine",
        )


def _refuse_shared_outputs(found: Discovery) -> None:
    """Leave out `x.jpg_0` beside `x.jpg`: the faces of a photo are numbered like that."""
    names = {photo.name for photo in found.photos}
    kept = []
    for photo in found.photos:
        twin = re.sub(r"_\d+$", "", photo.name)
        if twin != photo.name and twin in names:
            found.problems.append(
                f"{photo.path} is left out: its results would be called like those of the faces of "
                f"{twin}; rename it"
            )
        else:
            kept.append(photo)
    found.photos = kept


def _matches(name: str, patterns: Sequence[str]) -> bool:
    last = name.rsplit("/", 1)[-1]
    return any(fnmatchcase(name if "/" in each else last, each) for each in patterns)


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
