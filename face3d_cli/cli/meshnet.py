"""`face3d meshnet`: optimise a mesh to one photo through the differentiable renderer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from face3d_cli.cli import output
from face3d_cli.cli.options import (
    BoxOpt,
    FormatOpt,
    JsonOpt,
    LandmarksOpt,
    OutOpt,
    PhotoArg,
    parse_box,
    parse_landmarks,
)
from face3d_cli.cli.photos import targets_of
from face3d_cli.errors import UsageError
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

_WeightOpt = typer.Option(min=0.0, help="Weight of this loss; 0 leaves it out.")


def meshnet(
    photo: PhotoArg,
    out: OutOpt,
    init: Annotated[
        MeshInit,
        typer.Option(help="Start from a dome, the fitted Surrey face, or a position map."),
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
    file_format: FormatOpt = "glb",
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

    The mesh has vertex colours. From a fitted start it also has the photo as its texture, which OBJ
    and GLB hold instead of them; PLY holds the colours. The start decides what one photo cannot:
    from the dome the picture is matched while the shape stays a dome.

    OUT is a file (.obj .ply .glb .stl), or a folder for OUT/NAME.FORMAT.

    Example: face3d meshnet photo.jpg -o face.obj --history losses.csv --gif face.gif
    """
    settings = meshnet_settings(
        init=init,
        parameters=parameters,
        size=size,
        steps=steps,
        seed=seed,
        optimizer=optimizer,
        learning_rate=learning_rate,
        weight_mse=weight_mse,
        weight_perceptual=weight_perceptual,
        weight_chamfer=weight_chamfer,
        weight_edge=weight_edge,
        weight_normal=weight_normal,
        weight_laplacian=weight_laplacian,
        weight_silhouette=weight_silhouette,
        renderer=renderer,
    )
    out = targets_of([photo], out, file_format)[photo]
    from face3d_cli.io.mesh import require_mesh_suffix
    from face3d_cli.pipeline.meshnet import optimise_photo
    from face3d_cli.pipeline.meshnet_files import MeshNetFiles, require_converged, write_meshnet

    require_mesh_suffix(out)
    files = MeshNetFiles(out, history, plot, gif, compare, steps)
    files.require_apart()
    with output.progress(steps, "starting") as advance:

        def show(step: int, losses: dict[str, float], vertices: Points3) -> None:
            files.progress(step, losses, vertices)
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
    saved, extras = write_meshnet(result, files)
    if as_json:
        output.json_line(result.to_json(saved))
    else:
        for path in (*(face.mesh for face in saved), *extras):
            output.result(str(path))
        output.talk(_summary(result))
    require_converged(result, out)


def meshnet_settings(
    *,
    init: MeshInit,
    parameters: MeshParameters,
    size: int,
    steps: int,
    seed: int,
    optimizer: OptimizerName,
    learning_rate: float,
    weight_mse: float,
    weight_perceptual: float,
    weight_chamfer: float,
    weight_edge: float,
    weight_normal: float,
    weight_laplacian: float,
    weight_silhouette: float,
    renderer: RendererName,
) -> MeshNetSettings:
    """What the options say, for one photo or a batch of them.

    Raises:
        UsageError: a size that is not offered.
    """
    if size not in _SIZES:
        raise UsageError(f"--size must be 64, 128 or 256, found {size}")
    return replace(
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


def _summary(result: MeshNetResult) -> str:
    fit = result.fit
    judge = result.perception or "none"
    return (
        f"{len(fit.losses)} steps ({fit.stop_reason}), PSNR {fit.psnr_db:.1f} dB, "
        f"SSIM {fit.ssim:.3f} on the face; perceptual loss: {judge}"
    )
