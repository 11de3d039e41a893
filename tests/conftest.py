"""Fixtures of every test: the shared folder of photos, models and data sets, where it exists."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder beside the repository, or `FACE3D_SHARED`; tests skip where it is absent."""
    folder = Path(os.environ.get("FACE3D_SHARED") or REPOSITORY.parent / "shared")
    if not folder.is_dir():
        pytest.skip(f"no shared data in {folder} (set FACE3D_SHARED)")
    return folder


@pytest.fixture(scope="session")
def sample_photo() -> Path:
    """The public-domain photo that comes with the project."""
    return REPOSITORY / "assets" / "eileen_collins.jpg"


@pytest.fixture(scope="session")
def model_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of this test run, with the Surrey model pulled into it.

    From `FACE3D_MIRROR`, the shared folder's mirror, or upstream; tests skip where none has it.
    """
    from face3d_cli.errors import ModelError
    from face3d_cli.weights.store import pull

    home = tmp_path_factory.mktemp("face3d_home")
    mirror = os.environ.get("FACE3D_MIRROR") or str(REPOSITORY.parent / "shared" / "models")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACE3D_HOME", str(home))
        patch.setenv("FACE3D_MIRROR", mirror)
        try:
            pull("surrey")
        except ModelError as problem:
            pytest.skip(f"the Surrey model cannot be had: {problem}")
    return home


@pytest.fixture(scope="session")
def ict_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store of this test run, with ICT-FaceKit pulled into it and converted.

    From `FACE3D_MIRROR` or the shared folder's mirror; tests skip where neither has it: upstream's
    154 files are too much to ask of every test run.
    """
    from face3d_cli.weights.store import pull

    mirror = os.environ.get("FACE3D_MIRROR") or str(REPOSITORY.parent / "shared" / "models")
    if not (Path(mirror) / "ict-facekit").is_dir():
        pytest.skip(f"no ICT-FaceKit in {mirror} (set FACE3D_MIRROR)")
    home = tmp_path_factory.mktemp("ict_home")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FACE3D_HOME", str(home))
        patch.setenv("FACE3D_MIRROR", mirror)
        pull("ict-facekit")
    return home


@pytest.fixture
def ict(ict_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the store with ICT-FaceKit the one in use."""
    monkeypatch.setenv("FACE3D_HOME", str(ict_home))
    return ict_home


@pytest.fixture
def surrey(model_home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Make the store with the Surrey model the one in use."""
    monkeypatch.setenv("FACE3D_HOME", str(model_home))
    return model_home


def pytest_configure() -> None:
    """Let children be interrupted, even where a background shell has them ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
