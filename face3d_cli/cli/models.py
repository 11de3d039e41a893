"""`face3d models`: what models there are, and bringing them onto this machine."""

from __future__ import annotations

from dataclasses import asdict
from functools import partial
from typing import Annotated, Any

import typer

from face3d_cli.cli import output
from face3d_cli.cli.options import JsonObjectOpt
from face3d_cli.errors import ModelError
from face3d_cli.weights import store
from face3d_cli.weights.registry import ModelSpec, model_names, model_spec

NameArg = Annotated[str, typer.Argument(metavar="NAME", help="A name of `face3d models list`.")]

app = typer.Typer(
    no_args_is_help=True,
    help="List, pull, verify and describe the model files.\n\n"
    "Pulls come from FACE3D_MIRROR (a folder or address that holds NAME/FILE) or the pinned "
    "upstream address, into FACE3D_HOME or the user's cache folder; FACE3D_OFFLINE=1 never "
    "touches the network.",
)


@app.command("list")
def list_models(as_json: JsonObjectOpt = False) -> None:
    """List every model: whether it is here, its size and its terms.

    Example: face3d models list
    """
    records = [_record(model_spec(name)) for name in model_names()]
    if as_json:
        output.json_line({"store": str(store.store_folder()), "models": records})
        return
    output.table(
        ["model", "state", "size", "licence", "what"],
        [
            [each["name"], each["state"], _size(each["bytes"]), each["licence"], each["what"]]
            for each in records
        ],
    )


@app.command()
def pull(
    names: Annotated[
        list[str], typer.Argument(metavar="NAME...", help="Names of `face3d models list`.")
    ],
) -> None:
    """Bring models onto this machine: resumed, checked against their sha256, safe to run twice.

    Prints the folder of each.

    Example: face3d models pull surrey yunet
    """
    specs = [model_spec(name) for name in names]  # a wrong name stops before any download
    for spec in specs:
        with output.progress(store.bytes_to_pull(spec.name), spec.name, unit="bytes") as advance:
            folder = store.pull(spec.name, partial(_advance, advance))
        output.talk(f"{spec.name}: {spec.licence}; {spec.licence_url}")
        output.result(str(folder))


@app.command()
def verify(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NAME...]", help="Otherwise every model that is here."),
    ] = None,
) -> None:
    """Hash every file of the models and name those that differ.

    Example: face3d models verify
    """
    wanted = names or [name for name in model_names() if store.model_state(name).state != "missing"]
    problems = []
    for name in wanted:
        state = store.model_state(name, full=True)
        output.result(f"{name}: {state.state}")
        problems += [f"{name}: {problem}" for problem in state.problems]
    if problems:
        raise ModelError("; ".join(problems), hint="face3d models pull NAME mends it")


@app.command()
def path(name: NameArg) -> None:
    """Print the folder that holds a model.

    Example: face3d models path surrey
    """
    files = store.find_model(name)
    output.result(str(next(iter(files.values())).parent))


@app.command()
def info(name: NameArg, as_json: JsonObjectOpt = False) -> None:
    """Say all that is known of a model: files, addresses, hashes, terms, paper, preprocessing.

    Example: face3d models info surrey
    """
    spec = model_spec(name)
    record = _record(spec) | {
        "files": [asdict(file) for file in spec.files],
        "sources": [asdict(file) for file in spec.sources],
    }
    if as_json:
        output.json_line(record)
        return
    output.table(
        ["field", "value"],
        [
            [key, str(value)]
            for key, value in record.items()
            if key not in ("files", "sources") and value != ""
        ],
    )
    output.table(
        ["file", "bytes", "sha256", "address"],
        [
            [file.name, str(file.size or ""), file.sha256, file.url]
            for file in (*spec.files, *spec.sources)
        ],
    )


def _advance(advance: output.Advance, gained: int, file_name: str) -> None:
    advance(gained, text=file_name)


def _record(spec: ModelSpec) -> dict[str, Any]:
    state = store.model_state(spec.name)
    record = asdict(spec)
    del record["files"], record["sources"]
    return record | {
        "state": state.state,
        "folder": str(state.folder),
        "bytes": sum(file.size or _bytes_on_disk(state, file.name) for file in spec.files),
    }


def _bytes_on_disk(state: store.ModelState, file_name: str) -> int:
    path = state.folder / file_name
    return path.stat().st_size if path.is_file() else 0


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB"
