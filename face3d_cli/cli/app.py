"""Which commands exist, the global flags, and the one boundary where errors become exit codes."""

from __future__ import annotations

import signal
import sys
from types import FrameType
from typing import Annotated, Any, NoReturn

import typer
from typer.core import TyperGroup

from face3d_cli.cli import models, output
from face3d_cli.cli.batch import batch
from face3d_cli.cli.doctor import doctor
from face3d_cli.cli.evaluate import evaluate_app
from face3d_cli.cli.export import export
from face3d_cli.cli.fit import fit
from face3d_cli.cli.landmarks import landmarks
from face3d_cli.cli.licenses import licenses
from face3d_cli.cli.meshnet import meshnet
from face3d_cli.cli.prnet import prnet
from face3d_cli.cli.reconstruct import reconstruct
from face3d_cli.cli.render import render
from face3d_cli.cli.report import report
from face3d_cli.cli.segment import segment
from face3d_cli.cli.synth import synth
from face3d_cli.cli.train import train_app
from face3d_cli.cli.view import view
from face3d_cli.errors import Face3dError
from face3d_cli.version import __version__

INTERRUPTED = 130
TERMINATED = 143


class Boundary(TyperGroup):
    """Turns known errors into one line and their exit code; any other error is our bug."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; the shell and the test runner see the same result."""
        try:
            return super().invoke(ctx)
        except Face3dError as problem:
            output.error(problem)
            raise typer.Exit(problem.exit_code) from None
        except KeyboardInterrupt:
            output.talk("interrupted; finished files are kept, no partial file is left")
            raise typer.Exit(INTERRUPTED) from None
        except BrokenPipeError:  # the reader of our stdout has gone: `face3d ... | head`
            sys.stdout = None
            raise typer.Exit(0) from None


app = typer.Typer(
    cls=Boundary,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        output.result(f"face3d {__version__}")
        raise typer.Exit


@app.callback()
def face3d(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_print_version, is_eager=True, help="Print version."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Only results and errors.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks of errors.")] = False,
) -> None:
    """Turn every face of a photo into a textured 3D mesh.

    Results go to stdout, everything else to stderr.
    Exit codes: 0 done, 1 bug, 2 usage, 3 unusable input, 4 model missing or damaged,
    5 stage failed, 6 finished with failures, 130 interrupted.
    """
    output.mode.quiet = quiet
    output.mode.debug = debug


app.command()(reconstruct)
app.command()(landmarks)
app.command()(fit)
app.command()(segment)
app.command()(prnet)
app.command()(synth)
app.command()(meshnet)
app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(batch)
app.command()(report)
app.add_typer(evaluate_app, name="evaluate")
app.add_typer(train_app, name="train")
app.add_typer(models.app, name="models")
app.command()(export)
app.command()(render)
app.command()(view)
app.command()(doctor)
app.command()(licenses)


def _terminate(signum: int, frame: FrameType | None) -> NoReturn:
    raise SystemExit(TERMINATED)  # unwinds, so that temporary files are removed


def main() -> None:
    """Run the console command."""
    signal.signal(signal.SIGTERM, _terminate)
    app(prog_name="face3d")
