"""`face3d train`: the project's own networks, trained from data sets in their original layouts."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from face3d_cli.cli import output
from face3d_cli.errors import UsageError
from face3d_cli.settings import (
    FASSEG_TRAINING,
    SECOND_STAGE_TRAINING,
    ClassSet,
    DecoderName,
    EncoderName,
    LoopSettings,
    PositionMapNetSettings,
    PositionMapTrainingSettings,
    SegmentationTrainingSettings,
    UNetSettings,
)

if TYPE_CHECKING:
    from face3d_cli.training.loop import Progress

train_app = typer.Typer(
    no_args_is_help=True, help="Train the project's own networks.", pretty_exceptions_enable=False
)
_FIRST, _SECOND, _FASSEG = SegmentationTrainingSettings(), SECOND_STAGE_TRAINING, FASSEG_TRAINING
_POSITION_MAPS = PositionMapTrainingSettings()
_TALK_EVERY = 50  # steps, where no bar is shown


@train_app.callback()
def train() -> None:
    """Train the project's own networks."""


@train_app.command()
def unet(
    data: Annotated[
        list[str],
        typer.Option(
            "--data",
            metavar="DIR[=WEIGHT]",
            help="Data set folder in its original layout: FASSEG, CelebAMask-HQ, LaPa, HELEN or "
            "FaceSynthetics; repeat for several. Drawn by the root of its size, times WEIGHT.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for weights and checkpoint."),
    ],
    start_from: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Second stage: begin with these weights, gentler changes of the photos.",
        ),
    ] = None,
    class_set: Annotated[
        ClassSet,
        typer.Option(
            "--classes",
            help="all: the eighteen classes; fasseg: FASSEG's six, a third stage that needs "
            "--start-from and FASSEG's folders alone.",
        ),
    ] = "all",
    steps: Annotated[
        int | None,
        typer.Option(
            min=1,
            help=f"Optimiser steps; {_FIRST.loop.steps}, {_SECOND.loop.steps} in the second stage, "
            f"{_FASSEG.loop.steps} for FASSEG's classes.",
        ),
    ] = None,
    batch_size: Annotated[
        int, typer.Option(min=1, help="Photos per step.")
    ] = LoopSettings.batch_size,
    learning_rate: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help=f"Highest rate; {_FIRST.loop.learning_rate}, and {_SECOND.loop.learning_rate} "
            "in the later stages.",
        ),
    ] = None,
    widths: Annotated[
        str, typer.Option(help="Channels of each level, finest first; their number is the depth.")
    ] = ",".join(map(str, UNetSettings.widths)),
    seed: Annotated[
        int, typer.Option(min=0, help="Decides the first weights and every random change.")
    ] = LoopSettings.seed,
    hold_out: Annotated[
        float,
        typer.Option(
            min=0.0, max=0.9, help="Share of the people of each folder that is kept from training."
        ),
    ] = SegmentationTrainingSettings.held_out_share,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    bfloat16: Annotated[
        bool | None,
        typer.Option(
            "--bf16/--float32",
            help="Compute in bfloat16; by default where the device is built for it.",
            show_default=False,
        ),
    ] = LoopSettings.use_bfloat16,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")
    ] = False,
    logs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write TensorBoard logs; needs the extra called logs."),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="A few steps of a tiny network: does all of it run?")
    ] = False,
) -> None:
    """Train the segmentation U-Net; writes unet-face.safetensors or unet-fasseg.safetensors.

    The same command with the same seed gives the same weights on the same machine.

    Example: face3d train unet --data fasseg/multipose01=2 --data celebamask -o run
    """
    from face3d_cli.stages.segmentation import MODEL_OF
    from face3d_cli.training.unet import save_unet, smoke_settings, train_unet

    if class_set == "fasseg":
        if start_from is None:
            raise UsageError(
                "--classes fasseg needs trained weights to begin with",
                hint="give --start-from unet-face.safetensors",
            )
        stage = _FASSEG
    else:
        stage = _FIRST if start_from is None else _SECOND
    settings = replace(
        stage,
        unet=replace(stage.unet, widths=_widths(widths)),
        loop=replace(
            stage.loop,
            steps=steps or stage.loop.steps,
            batch_size=batch_size,
            learning_rate=stage.loop.learning_rate if learning_rate is None else learning_rate,
            seed=seed,
            use_bfloat16=bfloat16,
        ),
        held_out_share=hold_out,
    )
    if smoke:
        settings = smoke_settings(settings)
    folders = [_folder_and_weight(entry) for entry in data]
    with _told(settings.loop.steps, logs) as on_step:
        network = train_unet(
            folders,
            out,
            settings,
            start_from=start_from,
            resume=resume,
            device=device,
            limit=4 if smoke else None,
            on_step=on_step,
        )
    output.result(str(save_unet(network, out / f"{MODEL_OF[class_set]}.safetensors")))


@train_app.command()
def prnet(
    data: Annotated[
        Path,
        typer.Option(
            "--data",
            exists=True,
            file_okay=False,
            metavar="DIR",
            help="Folder of samples, made by face3d synth.",
        ),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", "-o", metavar="DIR", help="Folder for weights and checkpoint."),
    ],
    encoder: Annotated[
        EncoderName, typer.Option(help="Which encoder stands before the decoder.")
    ] = PositionMapNetSettings.encoder,
    decoder: Annotated[
        DecoderName,
        typer.Option(help="published: PRNet's own, as large as the picture; light: small maps."),
    ] = PositionMapNetSettings.decoder,
    input_px: Annotated[
        int, typer.Option(min=32, help="Side of the pictures that the network sees.")
    ] = PositionMapNetSettings.input_px,
    encoder_weights: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE",
            help="Begin with torchvision's ImageNet weights of the encoder.",
        ),
    ] = None,
    start_from: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, metavar="FILE", help="Begin with these trained weights."
        ),
    ] = None,
    steps: Annotated[int, typer.Option(min=1, help="Optimiser steps.")] = _POSITION_MAPS.loop.steps,
    batch_size: Annotated[
        int, typer.Option(min=2, help="Pictures per step.")
    ] = _POSITION_MAPS.loop.batch_size,
    learning_rate: Annotated[
        float, typer.Option(min=0.0, help="Highest rate.")
    ] = _POSITION_MAPS.loop.learning_rate,
    seed: Annotated[
        int, typer.Option(min=0, help="Decides the first weights and every random change.")
    ] = LoopSettings.seed,
    hold_out: Annotated[
        float,
        typer.Option(
            min=0.0, max=0.9, help="Share of the people that is kept from training and measured."
        ),
    ] = PositionMapTrainingSettings.held_out_share,
    device: Annotated[str, typer.Option(help="cpu, cuda or cuda:N.")] = "cpu",
    bfloat16: Annotated[
        bool | None,
        typer.Option(
            "--bf16/--float32",
            help="Compute in bfloat16; by default where the device is built for it.",
            show_default=False,
        ),
    ] = LoopSettings.use_bfloat16,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on from the checkpoint in the folder.")
    ] = False,
    logs: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write TensorBoard logs; needs the extra called logs."),
    ] = None,
    smoke: Annotated[
        bool, typer.Option("--smoke", help="A few steps of two pictures: does all of it run?")
    ] = False,
) -> None:
    """Train a position map network; writes prnet-ENCODER.safetensors.

    Prints the error on the people held out: NME of the 68 landmarks by yaw, and SSIM of the maps.

    Example: face3d train prnet --data samples --encoder resnet18 -o run
    """
    from face3d_cli.networks.prnet import load_prnet
    from face3d_cli.training.prnet import measure_held_out, save_prnet, smoke_settings, train_prnet

    settings = replace(
        _POSITION_MAPS,
        network=replace(
            _POSITION_MAPS.network, encoder=encoder, decoder=decoder, input_px=input_px
        ),
        loop=replace(
            _POSITION_MAPS.loop,
            steps=steps,
            batch_size=batch_size,
            learning_rate=learning_rate,
            seed=seed,
            use_bfloat16=bfloat16,
        ),
        held_out_share=hold_out,
    )
    if smoke:
        settings = smoke_settings(settings)
    with _told(settings.loop.steps, logs) as on_step:
        network = train_prnet(
            data,
            out,
            settings,
            encoder_weights=encoder_weights,
            start_from=load_prnet(start_from) if start_from else None,
            resume=resume,
            device=device,
            on_step=on_step,
        )
    path = save_prnet(network, out / f"prnet-{encoder}.safetensors")
    errors = measure_held_out(network.cpu(), data, settings)
    if errors is not None:
        output.talk(_held_out_line(errors))
    output.result(str(path))


@contextmanager
def _told(steps: int, logs: Path | None) -> Iterator[Callable[[Progress], None]]:
    """What to call after each step: it moves the bar, or prints a line now and then, and logs."""
    from face3d_cli.training.log import training_log

    with training_log(logs) as log, output.progress(steps, "training") as advance:

        def on_step(done: Progress) -> None:
            log(done)
            advance(text=done.line())
            if done.step % _TALK_EVERY == 0 or done.step == steps:
                output.talk_without_bar(f"step {done.step}: {done.line()}")

        yield on_step


def _held_out_line(errors: dict[str, Any]) -> str:
    by_yaw = "  ".join(f"{name} deg {nme:.2f} %" for name, nme in errors["nme_by_yaw"].items())
    return f"held out, {errors['samples']} samples: NME {by_yaw}  SSIM {errors['ssim']:.4f}"


def _widths(text: str) -> tuple[int, ...]:
    try:
        widths = tuple(int(part) for part in text.split(","))
    except ValueError:
        widths = ()
    if len(widths) < 2 or min(widths) < 1:
        raise UsageError(f"--widths {text}: expected at least two numbers such as 16,32,64")
    return widths


def _folder_and_weight(entry: str) -> tuple[Path, float]:
    """`DIR=WEIGHT`, or `DIR` with weight 1; a folder whose own name has a = wins."""
    name, mark, weight = entry.rpartition("=")
    if not mark or Path(entry).exists():
        return Path(entry), 1.0
    try:
        value = float(weight)
    except ValueError:
        value = 0.0
    if not 0.0 < value < float("inf"):
        raise UsageError(f"--data {entry}: expected a positive weight behind the =")
    return Path(name), value
