"""`face3d synth`: training samples for position map networks, from labelled photos."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from face3d_cli.cli import output
from face3d_cli.settings import SegmentationTrainingSettings, SynthSettings

if TYPE_CHECKING:
    from face3d_cli.arrays import RgbImage

_DEFAULTS = SynthSettings()
_TALK_EVERY = 10  # parts, where no bar is shown


def synth(
    labels: Annotated[
        Path,
        typer.Option(
            "--labels",
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="MediaPipe's points, written by benchmarks/label_with_mediapipe.py.",
        ),
    ],
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            exists=True,
            file_okay=False,
            metavar="DIR",
            help="Folder that the labels' names are below.",
        ),
    ],
    out: Annotated[
        Path, typer.Option("--out", "-o", metavar="DIR", help="Folder for the samples.")
    ],
    heads: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="A second teacher's turn and jaw, written by benchmarks/label_with_3ddfa.py.",
        ),
    ] = None,
    backgrounds: Annotated[
        list[Path] | None,
        typer.Option(
            exists=True,
            file_okay=False,
            metavar="DIR",
            help="Segmentation data set whose face-free parts serve as backgrounds; repeatable.",
        ),
    ] = None,
    turned: Annotated[
        int, typer.Option(min=0, help="Pictures turned in depth for each photo.")
    ] = _DEFAULTS.turned_per_photo,
    seed: Annotated[int, typer.Option(min=0, help="Decides every random choice.")] = _DEFAULTS.seed,
    jobs: Annotated[int, typer.Option("--jobs", "-j", min=1, help="Processes.")] = 1,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only this many photos, evenly spread.")
    ] = None,
) -> None:
    """Make training samples: photos as they are, and photos turned in depth up to profile.

    Behind each photo's MediaPipe points a face of ICT-FaceKit is fitted, which gives the position
    map. A run that was stopped goes on where it was.

    Example: face3d synth --labels labels.npz --data photos -o samples -j 4
    """
    from face3d_cli.training.synth.folder import make_folder, read_heads, read_labels
    from face3d_cli.training.unet import load_sources

    fillers: list[RgbImage] = []
    if backgrounds:
        folders = [(folder, 1.0) for folder in backgrounds]
        _, _, fillers = load_sources(folders, SegmentationTrainingSettings())
    found = read_labels(labels)
    if limit is not None and limit < len(found.names):
        kept = [round(i * len(found.names) / limit) for i in range(limit)]
        found = found[kept]
    with output.progress(None, "samples") as advance:

        def on_part(done: int, total: int) -> None:
            advance(text=f"part {done} of {total}")
            if done % _TALK_EVERY == 0 or done == total:
                output.talk_without_bar(f"part {done} of {total}")

        count = make_folder(
            found,
            data,
            out,
            replace(_DEFAULTS, turned_per_photo=turned, seed=seed),
            heads=None if heads is None else read_heads(heads),
            fillers=fillers,
            jobs=jobs,
            on_part=on_part,
        )
    output.result(f"{count} samples in {out}")
