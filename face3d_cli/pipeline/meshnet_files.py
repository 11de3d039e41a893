"""Which files does a mesh optimisation leave beside its mesh?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from face3d_cli.arrays import Points3
from face3d_cli.errors import StageError

if TYPE_CHECKING:
    from face3d_cli.pipeline.meshnet import MeshNetResult
    from face3d_cli.pipeline.result import SavedMesh

_GIF_FRAMES = 40


@dataclass
class MeshNetFiles:
    """Where results go; None is not written.

    Attributes:
        mesh: OBJ, PLY, GLB or STL.
        history: CSV of the losses.
        plot: PNG of the losses.
        gif: animation of the deformation, for which shapes are kept on the way.
        compare: PNG of photo, mask and result.
        steps: that are taken at most.
        shapes: vertices on the way.
    """

    mesh: Path
    history: Path | None = None
    plot: Path | None = None
    gif: Path | None = None
    compare: Path | None = None
    steps: int = 0
    shapes: list[Points3] = field(default_factory=list)

    def require_apart(self) -> None:
        """Refuse names of which one file would overwrite another.

        Raises:
            UsageError: two of them are the same.
        """
        from face3d_cli.io.mesh import require_apart

        require_apart(self.mesh, (self.history, self.plot, self.gif, self.compare))

    def progress(self, step: int, losses: dict[str, float], vertices: Points3) -> None:
        """Keep a shape now and then; to be called after every step."""
        if self.gif is not None and step % max(1, self.steps // _GIF_FRAMES) == 0:
            self.shapes.append(vertices.copy())


def write_meshnet(
    result: MeshNetResult, files: MeshNetFiles
) -> tuple[Sequence[SavedMesh], list[Path]]:
    """Write the mesh and what else is wanted; returns both.

    Raises:
        OutputError: a file cannot be written.
    """
    from face3d_cli.io.image import save_png
    from face3d_cli.io.loss_history import draw_losses, save_gif, save_loss_csv
    from face3d_cli.stages.deformation import draw_comparison, draw_deformation

    saved = result.reconstruction.save(files.mesh)
    if files.history is not None:
        save_loss_csv(files.history, result.fit.losses)
    if files.plot is not None:
        save_png(files.plot, draw_losses(result.fit.losses))
    if files.gif is not None:
        shapes = [*files.shapes, result.fit.vertices]
        save_gif(files.gif, draw_deformation(shapes, result.start.template.triangles))
    if files.compare is not None:
        save_png(files.compare, draw_comparison(result.target, result.fit))
    extras = [files.history, files.plot, files.gif, files.compare]
    return saved, [path for path in extras if path is not None]


def require_converged(result: MeshNetResult, mesh: Path) -> None:
    """Refuse a run that went wrong, after its files are written.

    Raises:
        StageError: the losses diverged.
    """
    if result.fit.stop_reason == "diverged":
        raise StageError(
            f"the losses diverged at step {len(result.fit.losses)}; {mesh} holds the best mesh",
            hint="try a smaller --learning-rate",
        )
