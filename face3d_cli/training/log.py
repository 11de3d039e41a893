"""Where the losses of a training go besides the progress bar: TensorBoard, when asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from face3d_cli.errors import MissingExtra
from face3d_cli.training.loop import Progress


@contextmanager
def training_log(folder: Path | None) -> Iterator[Callable[[Progress], None]]:
    """Hand out a function that writes one step's losses; it does nothing without a folder.

    Raises:
        MissingExtra: TensorBoard is not installed.
    """
    if folder is None:
        yield lambda progress: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as problem:
        raise MissingExtra(
            "--logs needs TensorBoard", hint="pip install 'face3d[logs]'"
        ) from problem
    with SummaryWriter(str(folder)) as writer:

        def log(progress: Progress) -> None:
            for name, value in progress.losses.items():
                writer.add_scalar(f"loss/{name}", value, progress.step)
            writer.add_scalar("learning_rate", progress.learning_rate, progress.step)

        yield log
