"""`face3d meshnet`: optimise a mesh to one photo through the differentiable renderer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from face3d_cli.cli import output
from face3d_cli.cli.options import (
    BoxOpt,
    JsonOpt,
    LandmarksOpt,
    OutOpt,
    PhotoArg,
    parse_box,
    parse_landmarks,
)
from face3d_cli.errors import StageError, UsageError
from face3d_cli.settings import (
    MeshInit,
    MeshLossWeights,
    MeshNetSettings,
    MeshParameters,
    OptimizerName,
    RendererName,
)

if TYPE_CHECKING:
    from face3d_cli.arrays import Points3
    from face3d_cli.pipeline.meshnet import MeshNetResult

_DEFAULT = MeshNetSettings()
_WEIGHTS = MeshLossWeights()
_SIZES = (64, 128, 256)
_GIF_FRAMES = 40

_WeightOpt = typer.Option(min=0.0, help="Weight of this loss; 0 leaves it out.")


def meshnet(
    photo: PhotoArg,
    out: OutOpt,
    init: Annotated[
        MeshInit, typer.Option(help="Start from a dome, or from the fitted Surrey face.")
    ] = _DEFAULT.init,
    parameters: Annotated[
        MeshParameters,
        typer.Option(help="Optimise the vertices, or the weights of a network that gives them."),
    ] = _DEFAULT.parameters,
    size: Annotated[
        int, typer.Option(help="Side of the picture in pixels: 64, 128 or 256.")
    ] = _DEFAULT.size_px,
    steps: Annotated[int, typer.Option(min=1, help="Most steps taken.")] = _DEFAULT.steps,
    seed: Annotated[int, typer.Option(help="For repeatable runs.")] = _DEFAULT.seed,
    optimizer: Annotated[OptimizerName, typer.Option(help="How steps are taken.")] = (
        _DEFAULT.optimizer
    ),
    learning_rate: Annotated[
        float, typer.Option(min=1e-8, help="Length of a step, in half-widths of the picture.")
    ] = _DEFAULT.learning_rate,
    weight_mse: Annotated[float, _WeightOpt] = _WEIGHTS.mse,
    weight_perceptual: Annotated[float, _WeightOpt] = _WEIGHTS.perceptual,
    weight_chamfer: Annotated[float, _WeightOpt] = _WEIGHTS.chamfer,
    weight_edge: Annotated[float, _WeightOpt] = _WEIGHTS.edge,
    weight_normal: Annotated[float, _WeightOpt] = _WEIGHTS.normal,
    weight_laplacian: Annotated[float, _WeightOpt] = _WEIGHTS.laplacian,
    weight_silhouette: Annotated[float, _WeightOpt] = _WEIGHTS.silhouette,
    renderer: Annotated[
        RendererName, typer.Option(help="pytorch3d works where PyTorch3D is installed.")
    ] = _DEFAULT.renderer,
    box: BoxOpt = None,
    landmarks: LandmarksOpt = None,
    history: Annotated[
        Path | None, typer.Option(metavar="CSV", help="Losses of every step as a table.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Losses of every step as a picture.")
    ] = None,
    gif: Annotated[
        Path | None, typer.Option(metavar="GIF", help="Animation of the deformation.")
    ] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="PNG", help="Photo, mask and result side by side.")
    ] = None,
    checkpoint: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Continue from this file if it is there; keep it up."),
    ] = None,
    as_json: JsonOpt = False,
) -> None:
    """Deform and colour a mesh until its picture matches the photo.

    The mesh has vertex colours; from the Surrey start it also has the photo as its texture, which a
    GLB shows instead of them. The start decides what one photo cannot: from the dome the
    picture is matched while the shape stays a dome.

    Example: face3d meshnet photo.jpg -o face.obj --history losses.csv --gif face.gif
    """
    if size not in _SIZES:
        raise UsageError(f"--size must be 64, 128 or 256, found {size}")
    settings = replace(
        _DEFAULT,
        init=init,
        parameters=parameters,
        size_px=size,
        steps=steps,
        seed=seed,
        optimizer=optimizer,
        learning_rate=learning_rate,
        renderer=renderer,
        weights=MeshLossWeights(
            mse=weight_mse,
            perceptual=weight_perceptual,
            chamfer=weight_chamfer,
            edge=weight_edge,
            normal=weight_normal,
            laplacian=weight_laplacian,
            silhouette=weight_silhouette,
        ),
    )
    from face3d_cli.io.mesh import require_mesh_suffix
    from face3d_cli.pipeline.meshnet import optimise_photo

    require_mesh_suffix(out)
    shapes: list[Points3] = []
    with output.progress(steps, "starting") as advance:

        def show(step: int, losses: dict[str, float], vertices: Points3) -> None:
            if gif is not None and step % max(1, steps // _GIF_FRAMES) == 0:
                shapes.append(vertices.copy())
            shown = "  ".join(f"{name} {value:.4f}" for name, value in losses.items())
            advance(text=shown)

        result = optimise_photo(
            photo,
            settings,
            box=parse_box(box),
            landmarks_px=parse_landmarks(landmarks),
            checkpoint=checkpoint,
            progress=show,
        )
    files = result.reconstruction.save(out)
    pictures = _write_extras(result, shapes, history, plot, gif, compare)
    if as_json:
        output.json_line(result.to_json(files))
    else:
        for path in (*(face.mesh for face in files), *pictures):
            output.result(str(path))
        output.talk(_summary(result))
    if result.fit.stop_reason == "diverged":
        raise StageError(
            f"the losses diverged at step {len(result.fit.losses)}; {out} holds the best mesh",
            hint="try a smaller --learning-rate",
        )


def _write_extras(
    result: MeshNetResult,
    shapes: list[Any],
    history: Path | None,
    plot: Path | None,
    gif: Path | None,
    compare: Path | None,
) -> list[Path]:
    """Write what was asked for beside the mesh; returns those paths."""
    from face3d_cli.io.image import save_png
    from face3d_cli.io.loss_history import draw_losses, save_gif, save_loss_csv
    from face3d_cli.stages.deformation import draw_comparison, draw_deformation

    if history is not None:
        save_loss_csv(history, result.fit.losses)
    if plot is not None:
        save_png(plot, draw_losses(result.fit.losses))
    if gif is not None:
        shapes.append(result.fit.vertices)
        save_gif(gif, draw_deformation(shapes, result.start.template.triangles))
    if compare is not None:
        save_png(compare, draw_comparison(result.target, result.fit))
    return [path for path in (history, plot, gif, compare) if path is not None]


def _summary(result: MeshNetResult) -> str:
    fit = result.fit
    judge = result.perception or "none"
    return (
        f"{len(fit.losses)} steps ({fit.stop_reason}), PSNR {fit.psnr_db:.1f} dB, "
        f"SSIM {fit.ssim:.3f} on the face; perceptual loss: {judge}"
    )
