"""On what do networks run: in OpenCV on this CPU, or elsewhere?

OpenCV is the default, and starts without torch. A batch on a GPU tells each worker to ask the one
process that holds the GPU (`pipeline/network_host.py`); a Ray actor uses the GPU it was given.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np

from face3d_cli.arrays import FloatArray
from face3d_cli.errors import StageError

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

NetworkKind = Literal["unet", "prnet"]


class Runner(Protocol):
    """Somewhere else than OpenCV."""

    @property
    def device(self) -> str:
        """What reports call it."""

    def run(self, kind: NetworkKind, path: Path, pictures: npt.NDArray[np.uint8]) -> FloatArray:
        """Run a network from its weights file.

        Args:
            kind: which network.
            path: its weights.
            pictures: (B, H, W, 3) sRGB, of a size that the network takes.

        Returns:
            (B, C, h, w) float32 what the network gives.

        Raises:
            ModelError: the weights are missing or damaged.
            StageError: the device failed.
        """


_current: Runner | None = None


def use_runner(runner: Runner | None) -> None:
    """Run the networks of this process somewhere else; None is OpenCV again."""
    global _current
    _current = runner


def current_runner() -> Runner | None:
    """Where the networks of this process run; None is OpenCV."""
    return _current


def device_name() -> str:
    """What reports call it."""
    return "cpu" if _current is None else _current.device


class TorchRunner:
    """A device that torch knows, in this process."""

    def __init__(self, device: str) -> None:
        """Take a device: cpu, cuda or cuda:N.

        Raises:
            StageError: it is not there.
        """
        import torch

        try:
            torch.empty(1, device=device)
        except (RuntimeError, AssertionError) as problem:
            reason = str(problem).strip().splitlines()[0]
            raise StageError(
                f"cannot use the device '{device}': {reason}",
                hint="face3d doctor says what this machine has",
            ) from problem
        self.device = device
        self._network = lru_cache(maxsize=4)(self._load)

    def run(self, kind: NetworkKind, path: Path, pictures: npt.NDArray[np.uint8]) -> FloatArray:
        """Run a network; those used last stay on the device."""
        import torch

        network = self._network(kind, path)
        with torch.inference_mode():
            batch = torch.from_numpy(pictures).to(self.device).permute(0, 3, 1, 2).float()
            try:
                found: FloatArray = network(batch).float().cpu().numpy()
            except torch.OutOfMemoryError as problem:
                raise StageError(f"{self.device} has too little memory") from problem
        return found

    def _load(self, kind: NetworkKind, path: Path) -> Callable[[Tensor], Tensor]:
        if kind == "unet":
            from face3d_cli.networks.unet import load_unet

            unet = load_unet(path).to(self.device)
            return lambda batch: unet(batch / 127.5 - 1.0)
        from face3d_cli.networks.prnet import load_prnet

        prnet = load_prnet(path).to(self.device)
        return lambda batch: prnet(batch / 255.0)
