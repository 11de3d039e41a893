"""The one printer: results on stdout, everything else on stderr, user text never interpreted."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from face3d_cli.errors import Face3dError

if TYPE_CHECKING:
    from rich.console import Console


@dataclass
class OutputMode:
    """What the global flags ask for; set once by the app's callback."""

    quiet: bool = False
    debug: bool = False


mode = OutputMode()
_bar_consoles: list[Console] = []  # where a bar is shown now, the innermost last
_kept_stdout: list[TextIO] = []  # of `stdout_for_results`


class Advance(Protocol):
    """Moves a progress bar on, and says what is being done."""

    def __call__(self, steps: float = 1, *, text: str | None = None, skip: bool = False) -> None:
        """Advance by `steps`, or leave them out of the total; `text` replaces the description."""


def result(text: str) -> None:
    """Print one result line on stdout."""
    _print(text, _stdout())


def json_line(record: Mapping[str, Any]) -> None:
    """Print one JSON object on one line of stdout; NaN and infinity are refused."""
    _print(json.dumps(record, ensure_ascii=False, allow_nan=False), _stdout())


def talk(text: str) -> None:
    """Say something on stderr that is not a result; `--quiet` silences it."""
    if not mode.quiet:
        _print(text, sys.stderr)


def error(problem: Face3dError) -> None:
    """Say in one line on stderr what went wrong; `--debug` puts the traceback before it."""
    if mode.debug:
        import traceback

        traceback.print_exception(problem)
    _print("error: " + " ".join(str(problem).split()), sys.stderr)


def talk_without_bar(text: str) -> None:
    """Say on stderr how far the work is, where `progress` shows no bar: in a log file."""
    if not sys.stderr.isatty():
        talk(text)


@contextmanager
def stdout_for_results() -> Iterator[None]:
    """Send to stderr what libraries print; Ray tells of lost nodes on stdout."""
    _kept_stdout.append(_stdout())
    try:
        with redirect_stdout(sys.stderr):
            yield
    finally:
        _kept_stdout.pop()


def _stdout() -> TextIO:
    return _kept_stdout[-1] if _kept_stdout else sys.stdout


def _print(text: str, stream: TextIO) -> None:
    """Print one line; above the bar when one is shown on the same terminal."""
    if _bar_consoles and stream.isatty():
        _bar_consoles[-1].print(text, markup=False, emoji=False, highlight=False, soft_wrap=True)
    else:
        print(text, file=stream, flush=True)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str = "") -> None:
    """Print a table of results on stdout: boxed on a terminal, tab-separated in a pipe."""
    if not sys.stdout.isatty():
        for row in [columns, *rows]:
            print("\t".join(row))
        return
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(title=title or None)
    for column in columns:
        drawn.add_column(column)
    for row in rows:
        drawn.add_row(*(Text(cell) for cell in row))
    Console().print(drawn)


@contextmanager
def progress(total: float | None, text: str, *, unit: str = "") -> Iterator[Advance]:
    """Show a bar on stderr while the block runs, only when stderr is a terminal.

    Args:
        total: number of steps, or None when it is not known.
        text: what is being done, at first.
        unit: "bytes" shows sizes instead of counts; "photos" also shows how many a second.
    """
    if mode.quiet or not sys.stderr.isatty():
        yield lambda steps=1, *, text=None, skip=False: None
        return
    from rich import progress as bars
    from rich.console import Console
    from rich.text import Text

    counter: bars.ProgressColumn = (
        bars.DownloadColumn() if unit == "bytes" else bars.MofNCompleteColumn()
    )

    class Rate(bars.ProgressColumn):
        def render(self, task: bars.Task) -> Text:
            return Text(f"{task.speed or 0.0:.1f} {unit}/s" if unit == "photos" else "")

    with bars.Progress(
        bars.TextColumn("{task.description}", markup=False),
        bars.BarColumn(),
        counter,
        Rate(),
        bars.TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,  # results would land on stderr: `face3d ... --json > FILE`
    ) as bar:
        task = bar.add_task(text, total=total)

        def advance(steps: float = 1, *, text: str | None = None, skip: bool = False) -> None:
            if skip:
                left = bar.tasks[task].total
                bar.update(task, total=None if left is None else left - steps, description=text)
            else:
                bar.update(task, advance=steps, description=text)

        _bar_consoles.append(bar.console)
        try:
            yield advance
        finally:
            _bar_consoles.pop()
