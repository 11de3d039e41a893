"""`face3d report`: a finished batch as one page for a browser."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from face3d_cli.cli import output

if TYPE_CHECKING:
    from face3d_cli.io.batch_report import ReportEntry

PAGE = "report.html"


def report(
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="Folder of results of face3d batch.")
    ],
    out: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="HTML", help=f"The page; DIR/{PAGE} if not given."),
    ] = None,
) -> None:
    """Write a page that shows a batch: thumbnails, errors, links, every mesh in 3-D.

    The page holds all it shows and works offline; only its links lead to the files.

    Example: face3d report meshes/
    """
    from face3d_cli.io.batch_report import write_batch_report
    from face3d_cli.pipeline.manifest import read_records

    page = out or folder / PAGE
    entries = [_entry(record, folder, page.parent) for record in read_records(folder)]
    entries.sort(key=lambda entry: entry.name)
    with output.progress(len(entries), "report", unit="photos") as advance:

        def told() -> Iterator[ReportEntry]:
            for entry in entries:
                yield entry
                advance()

        write_batch_report(page, f"face3d: {folder.absolute().name}", told())
    output.result(str(page))


def _entry(record: dict[str, Any], folder: Path, page_folder: Path) -> ReportEntry:
    from face3d_cli.io.batch_report import ReportEntry

    paths = [folder / result["path"] for result in record["outputs"]]
    outputs = [Path(os.path.relpath(path, page_folder)).as_posix() for path in paths]
    spent_ms = sum(record.get("timings_ms", {}).values())
    text = record.get("error") or f"{record['task']}, {spent_ms / 1000:.2f} s"
    return ReportEntry(record["name"], Path(record["photo"]), record["status"], text, outputs)
