"""Which commands can be batched, and how their options become a task.

A row of `TASKS` is a command and what turns its options into a task (`pipeline/photo_tasks.py`).
The options are read by the command's own parser, so that they, their limits and their messages are
the same in a batch. A row takes out the options it understands; what is left and set is refused.
"""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from face3d_cli.cli.landmarks import landmarks
from face3d_cli.cli.meshnet import meshnet, meshnet_settings
from face3d_cli.cli.options import parse_box, parse_faces
from face3d_cli.cli.prnet import prnet, prnet_settings
from face3d_cli.cli.reconstruct import reconstruct, reconstruct_settings
from face3d_cli.cli.segment import segment, segmentation_settings
from face3d_cli.errors import UsageError
from face3d_cli.settings import DetectionSettings, ReconstructSettings

if TYPE_CHECKING:
    from face3d_cli.pipeline.tasks import Task

Options = dict[str, Any]


def task_from(name: str, arguments: Sequence[str]) -> Task:
    """The task of a name with options as its command takes them.

    Raises:
        UsageError: there is no such task, or an option makes no sense for many photos.
    """
    if name not in TASKS:
        raise UsageError(f"there is no task '{name}'", hint=f"expected {', '.join(TASKS)}")
    command, build = TASKS[name]
    options = options_of(command, arguments, name)
    task = build(options)
    if left := [option for option, value in options.items() if value]:
        shown = ", ".join(f"--{option.replace('_', '-')}" for option in left)
        raise UsageError(f"{shown} cannot be used in a batch: it is for one photo")
    return task


def options_of(command: Callable[..., None], arguments: Sequence[str], name: str) -> Options:
    """The values of a command's options, read by its own parser; photos and output are left out."""

    @functools.wraps(command)  # the parser reads the signature through it
    def collect(**values: Any) -> Options:
        return values

    parser = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    parser.command()(collect)
    values: Options = typer.main.get_command(parser).main(
        ["PHOTO", "--output", "OUT", *arguments],
        prog_name=f"face3d batch --task {name}",
        standalone_mode=False,
    )
    photos = values.pop("photos") if "photos" in values else [values.pop("photo")]
    if photos != ["PHOTO"]:
        raise UsageError(f"a batch takes one folder, or -; found also {' '.join(arguments)}")
    for given in ("out", "outs", "as_json"):
        values.pop(given, None)
    return values


def _reconstruct(options: Options) -> Task:
    from face3d_cli.pipeline.photo_tasks import ReconstructTask

    return ReconstructTask(
        faces=parse_faces(options.pop("faces")),
        box=parse_box(options.pop("box")),
        file_format=options.pop("file_format"),
        unit=options.pop("unit"),
        for_blender=options.pop("made_for") is not None,
        layout=options.pop("layout"),
        sheets=_absolute(options.pop("render")),
        settings=reconstruct_settings(**_taken(reconstruct_settings, options)),
    )


def _landmarks(options: Options) -> Task:
    from face3d_cli.pipeline.photo_tasks import LandmarksTask

    return LandmarksTask(
        faces=parse_faces(options.pop("faces")),
        box=parse_box(options.pop("box")),
        settings=ReconstructSettings(detection=DetectionSettings(detector=options.pop("detector"))),
    )


def _segment(options: Options) -> Task:
    from face3d_cli.pipeline.photo_tasks import SegmentTask

    faces = options.pop("faces")
    return SegmentTask(
        settings=segmentation_settings(options.pop("size"), options.pop("class_balance")),
        class_set=options.pop("classes"),
        faces=parse_faces(faces) if faces else None,
        weights=_absolute(options.pop("weights")),
        overlays=_absolute(options.pop("overlay")),
        probabilities=_absolute(options.pop("probabilities")),
    )


def _prnet(options: Options) -> Task:
    from face3d_cli.pipeline.photo_tasks import PrnetTask

    return PrnetTask(
        faces=parse_faces(options.pop("faces")),
        box=parse_box(options.pop("box")),
        file_format=options.pop("file_format"),
        unit=options.pop("unit"),
        extras=_absolute(options.pop("extras")),
        settings=prnet_settings(**_taken(prnet_settings, options)),
    )


def _meshnet(options: Options) -> Task:
    from face3d_cli.pipeline.photo_tasks import MeshNetTask

    return MeshNetTask(
        box=parse_box(options.pop("box")),
        file_format=options.pop("file_format"),
        histories=_absolute(options.pop("history")),
        plots=_absolute(options.pop("plot")),
        gifs=_absolute(options.pop("gif")),
        comparisons=_absolute(options.pop("compare")),
        settings=meshnet_settings(**_taken(meshnet_settings, options)),
    )


def _absolute(path: Path | None) -> Path | None:
    """A path that workers understand whose current folder is another."""
    return path.absolute() if path is not None else None


def _taken(function: Callable[..., Any], options: Options) -> Options:
    """Take out the options that a function asks for."""
    return {name: options.pop(name) for name in inspect.signature(function).parameters}


TASKS: Mapping[str, tuple[Callable[..., None], Callable[[Options], Task]]] = {
    "reconstruct": (reconstruct, _reconstruct),
    "landmarks": (landmarks, _landmarks),
    "segment": (segment, _segment),
    "prnet": (prnet, _prnet),
    "meshnet": (meshnet, _meshnet),
}
