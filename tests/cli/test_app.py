"""The command line as a whole: boundary, help, start-up, and documents that cannot drift."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from face3d_cli import __version__
from face3d_cli.cli.app import Boundary, app
from face3d_cli.errors import ModelError, NoFaceFound
from tests.conftest import REPOSITORY


def leaves(command: typer.core.TyperCommand, path: tuple[str, ...] = ()):
    """Every command that does something, with its words."""
    group = getattr(command, "commands", None)
    if group is None:
        yield path, command
        return
    for name, child in group.items():
        yield from leaves(child, (*path, name))


COMMANDS = dict(leaves(typer.main.get_command(app)))


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_an_example_and_a_line_in_the_readme(path):
    result = CliRunner().invoke(app, [*path, "--help"])
    assert result.exit_code == 0
    words = " ".join(path)
    assert f"face3d {words}" in (COMMANDS[path].help or "").partition("Example")[2], "no example"
    assert f"face3d {words}" in (REPOSITORY / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_option_says_what_it_is_for(path):
    for parameter in COMMANDS[path].params:
        assert parameter.name == "help" or getattr(parameter, "help", None), parameter.name


def test_version_and_no_arguments():
    assert CliRunner().invoke(app, ["--version"]).stdout == f"face3d {__version__}\n"
    assert CliRunner().invoke(app, []).exit_code == 2
    assert CliRunner().invoke(app, ["nonsense"]).exit_code == 2


def boundary_app(error):
    inner = typer.Typer(cls=Boundary, pretty_exceptions_enable=False)

    @inner.command()
    def fail():
        raise error

    inner.callback()(lambda: None)
    return inner


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (NoFaceFound("no face in a[1].jpg", hint="try --box"), 3, "a[1].jpg; try --box"),
        (ModelError("missing\nfile"), 4, "missing file"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_known_errors_become_one_line_and_their_code(error, code, text):
    result = CliRunner().invoke(boundary_app(error), ["fail"])
    assert result.exit_code == code
    assert text in result.stderr
    assert result.stderr.count("\n") == 1
    assert result.stdout == ""


def test_a_bug_of_ours_keeps_its_traceback():
    result = CliRunner().invoke(boundary_app(ZeroDivisionError("oops")), ["fail"])
    assert result.exit_code == 1
    assert isinstance(result.exception, ZeroDivisionError)


def heavy_modules(code: str) -> set[str]:
    """Which of the heavy libraries a fresh interpreter has loaded after the code."""
    heavy = "'torch','cv2','dlib','eos','numpy','scipy','trimesh','rich','PIL','safetensors'"
    script = f"import sys\n{code}\nprint(*[m for m in ({heavy}) if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_nothing_heavy():
    code = "from face3d_cli.cli.app import app\nfrom typer.testing import CliRunner\n"
    assert heavy_modules("import face3d_cli.cli.app") == set()
    assert heavy_modules(f"{code}assert CliRunner().invoke(app, ['--help']).exit_code == 0") <= {
        "rich"
    }


def test_importing_the_package_loads_nothing_heavy():
    assert heavy_modules("import face3d_cli") == set()


@pytest.mark.usefixtures("surrey")
def test_the_surrey_path_does_not_load_torch(sample_photo, tmp_path):
    code = (
        "from face3d_cli.cli.app import app\n"
        f"app(['reconstruct', {str(sample_photo)!r}, '-o', {str(tmp_path / 'f.glb')!r}],"
        " standalone_mode=False)"
    )
    loaded = heavy_modules(code)
    assert "torch" not in loaded
    assert {"cv2", "dlib", "eos"} <= loaded  # the list would notice


def test_a_closed_pipe_is_no_error(tmp_path):
    command = f"{sys.executable} -m face3d_cli licenses | head -n 1"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
