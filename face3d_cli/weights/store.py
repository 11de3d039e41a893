"""Where model files are, whether they are whole, and how they are pulled.

Search order: an explicit folder, the store (`FACE3D_HOME`, or the user's cache folder), the copies
that came with a package. The store is laid out `NAME/FILE`, like a mirror.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from face3d_cli.errors import ModelError, OutputError
from face3d_cli.weights.registry import ModelFile, ModelSpec, model_spec, shipped_folder

State = Literal["present", "missing", "damaged"]
_SOURCES = "sources"  # folder of published files until they are converted
PullProgress = Callable[[int, str], None]  # bytes gained (negative: begun again), file name


@dataclass(frozen=True)
class ModelState:
    """What is on this machine of one model.

    Attributes:
        state: "damaged" when a file is there with the wrong size or hash.
        folder: where the files are, or where they were looked for first.
        problems: one line per missing or damaged file, with its address.
        bad_files: the names of those files.
    """

    state: State
    folder: Path
    problems: tuple[str, ...] = ()
    bad_files: tuple[str, ...] = ()


def store_folder() -> Path:
    """The root of the store; it need not exist."""
    if home := os.environ.get("FACE3D_HOME"):
        return Path(home).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("face3d", appauthor=False)


def is_offline() -> bool:
    """Whether `FACE3D_OFFLINE` forbids the network."""
    return os.environ.get("FACE3D_OFFLINE", "").lower() not in ("", "0", "false", "no")


def find_model(name: str, folder: str | Path | None = None) -> dict[str, Path]:
    """The files of a model, by file name. Sizes are checked, which takes no time; hashes are not.

    Args:
        name: a name of the registry.
        folder: look here and nowhere else.

    Raises:
        ModelError: not known, missing or damaged; names the file, its address and the command.
    """
    place = _require_present(name, model_state(name, folder))
    return {file.name: place / file.name for file in model_spec(name).files}


def verify(name: str, folder: str | Path | None = None) -> Path:
    """Hash every file of a model; returns its folder.

    Raises:
        ModelError: files are missing or differ; each is named.
    """
    return _require_present(name, model_state(name, folder, full=True))


def model_state(name: str, folder: str | Path | None = None, *, full: bool = False) -> ModelState:
    """Look for a model without raising; `full` also hashes its files.

    The folder of the search order that holds most of the files counts, the first one of equals.

    Raises:
        ModelError: there is no model of that name.
    """
    spec = model_spec(name)
    folders = [Path(folder)] if folder is not None else _folders(spec)
    place = max(folders, key=lambda each: sum((each / file.name).is_file() for file in spec.files))
    if not spec.files:
        return ModelState(
            "missing", place, (f"{shipped_folder() / 'SHA256SUMS'} lists no file of it",)
        )
    faults = {file.name: _fault(file, place, full=full) for file in spec.files}
    bad = {file_name: fault for file_name, fault in faults.items() if fault}
    # A damaged file is the news, even beside missing ones: name it first.
    bad = dict(sorted(bad.items(), key=lambda each: not (place / each[0]).is_file()))
    is_damaged = any((place / file_name).is_file() for file_name in bad)
    state: State = "damaged" if is_damaged else "missing" if bad else "present"
    return ModelState(state, place, tuple(bad.values()), tuple(bad))


def pull(name: str, progress: PullProgress | None = None) -> Path:
    """Bring a model into the store, from `FACE3D_MIRROR` or its pinned address; returns its folder.

    Files that are there and whole are kept; another process that pulls the same model is waited
    for; a mirror that lacks a file is passed over for the pinned address.

    Args:
        name: a name of the registry.
        progress: called with the bytes gained and the name of the file they belong to.

    Raises:
        ModelError: not known, not to be had, or not the file that was pinned.
        OutputError: the store cannot be written.
    """
    spec = model_spec(name)
    state = model_state(name, full=True)
    if state.state == "present":
        return state.folder
    if spec.origin != "download":
        raise ModelError(f"model {name} is not pulled: {state.problems[0]}", hint=remedy(spec))
    folder = store_folder() / name
    with _locked(folder):
        # Asked again under the lock: another process may have brought them by now.
        if not any(_fault(file, folder, full=True) for file in spec.files):
            return folder
        if spec.sources:
            _pull_published(spec, folder / _SOURCES, progress or _ignore)
            _convert(spec, folder / _SOURCES, folder)
        else:
            _pull_published(spec, folder, progress or _ignore)
    return folder


def bytes_to_pull(name: str) -> int:
    """How much `pull` would bring."""
    spec = model_spec(name)
    state = model_state(name, full=True)
    if spec.sources and state.state != "present":
        place = store_folder() / name / _SOURCES
        return sum(file.size or 0 for file in spec.sources if _fault(file, place, full=True))
    return sum(file.size or 0 for file in spec.files if file.name in state.bad_files)


def remedy(spec: ModelSpec) -> str:
    """The command that brings a model."""
    if spec.origin == "package":
        return "pip install --force-reinstall face_recognition_models"
    if spec.origin == "shipped":
        return "pip install --force-reinstall face3d"
    return f"face3d models pull {spec.name}"


def _require_present(name: str, state: ModelState) -> Path:
    if state.state == "present":
        return state.folder
    more = f"; also {', '.join(state.bad_files[1:])}" if state.bad_files[1:] else ""
    raise ModelError(
        f"model {name} is {state.state}: {state.problems[0]}{more}", hint=remedy(model_spec(name))
    )


def _folders(spec: ModelSpec) -> list[Path]:
    """Where a model may be, in the order of the search."""
    folders = [store_folder() / spec.name]
    if spec.origin == "shipped":
        folders.append(shipped_folder())
    if spec.origin == "package":
        folders += _dlib_package()
    return folders


def _dlib_package() -> list[Path]:
    """The folder of `face_recognition_models`, found without importing it: its import fails."""
    from importlib.util import find_spec

    found = find_spec("face_recognition_models")
    places = (found.submodule_search_locations if found else None) or []
    return [Path(place) / "models" for place in places]


def _fault(file: ModelFile, folder: Path, *, full: bool) -> str:
    """What is wrong with one file, in one line; "" when it is fine."""
    path = folder / file.name
    try:
        size = path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is missing" + (f" (published at {file.url})" if file.url else "")
    except OSError as problem:
        return f"{path} cannot be read: {problem.strerror}"
    if file.size is not None and size != file.size:
        return f"{path} has {size:,} bytes, expected {file.size:,}"
    if full:
        from face3d_cli.weights.download import sha256_of

        if (found := sha256_of(path)) != file.sha256:
            return f"{path} has sha256 {found[:12]}, expected {file.sha256[:12]}"
    return ""


def _pull_published(spec: ModelSpec, folder: Path, progress: PullProgress) -> None:
    """Bring all published files of a model that are not in the folder yet."""
    folder.mkdir(exist_ok=True)
    missing = [file for file in spec.published if _fault(file, folder, full=True)]
    if missing and spec.bundle is not None:
        missing = _pull_bundle(spec, spec.bundle, missing, folder, progress)
    for file in missing:
        if looked_at := _pull_file(spec, file, folder, progress):
            raise ModelError(
                f"cannot pull {spec.name}/{file.name}: {looked_at}",
                hint=f"set FACE3D_MIRROR to a folder or address that holds "
                f"{spec.name}/{(spec.bundle or file).name}",
            )


def _convert(spec: ModelSpec, sources: Path, folder: Path) -> None:
    """Make the one file of a model from its published ones, which are removed when it is right."""
    (file,) = spec.files
    part = folder / f"{file.name}.part"
    _CONVERTERS[spec.name](sources, part)
    if fault := _fault(replace(file, name=part.name), folder, full=True):
        part.unlink()
        raise ModelError(f"the converted file is not the pinned one: {fault}", hint=remedy(spec))
    os.replace(part, folder / file.name)
    shutil.rmtree(sources)


def _convert_ict_facekit(sources: Path, target: Path) -> None:
    from face3d_cli.weights.ict_facekit import convert

    convert(sources, target)


_CONVERTERS: dict[str, Callable[[Path, Path], None]] = {"ict-facekit": _convert_ict_facekit}


def _pull_bundle(
    spec: ModelSpec,
    bundle: ModelFile,
    missing: list[ModelFile],
    folder: Path,
    progress: PullProgress,
) -> list[ModelFile]:
    """Take the missing files out of the mirror's archive; returns those still missing."""
    from face3d_cli.weights.download import unpack

    if _pull_file(spec, bundle, folder, lambda gained, file_name: progress(0, file_name)):
        return missing
    archive = folder / bundle.name
    try:
        wanted = {file.name: file.sha256 for file in missing}
        unpack(archive, wanted, folder, lambda gained: progress(gained, bundle.name))
    finally:
        archive.unlink()
    return [file for file in missing if not (folder / file.name).is_file()]


def _pull_file(spec: ModelSpec, file: ModelFile, folder: Path, progress: PullProgress) -> str:
    """Bring one file from the first source that holds it.

    Returns:
        "" when it came, else where it was looked for.
    """
    from face3d_cli.weights.download import NotThere, fetch_file, is_url

    assert file.size is not None, "files to be pulled are pinned by size"
    mirror = os.environ.get("FACE3D_MIRROR", "")
    sources = [f"{mirror.rstrip('/')}/{spec.name}/{file.name}"] if mirror else []
    sources += [file.url] if file.url else []
    looked_at = []
    for source in sources:
        if is_offline() and is_url(source):
            looked_at.append(f"FACE3D_OFFLINE forbids {source}")
            continue
        try:
            fetch_file(
                source,
                folder / file.name,
                size=file.size,
                sha256=file.sha256,
                progress=lambda gained: progress(gained, file.name),
            )
        except NotThere:
            looked_at.append(f"not at {source}")
        else:
            return ""
    return "; ".join(looked_at) or "no source is known"


def _ignore(gained: int, file_name: str) -> None:
    """Report no progress."""


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder against other processes, and turn its write errors into ours."""
    from filelock import FileLock

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            yield
    except OSError as problem:
        raise OutputError(
            f"cannot write {folder}: {problem.strerror or problem}",
            hint="set FACE3D_HOME to a folder that can be written",
        ) from problem
