"""How any network here is optimised: AdamW, cosine schedule, moving average, exact resume.

The batch of a step is a function of the step alone, so a run that was stopped and resumed sees the
same batches, and ends with the same weights, as one that was not.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import torch
from torch import Tensor, nn

from face3d_cli.diff.threads import limited_threads
from face3d_cli.errors import ModelError, StageError
from face3d_cli.io.atomic import atomic_path
from face3d_cli.settings import LoopSettings

BatchT = TypeVar("BatchT")
CHECKPOINT = "checkpoint.pt"


@dataclass(frozen=True)
class Progress:
    """What the caller hears after every step."""

    step: int  # steps done
    losses: dict[str, float]
    learning_rate: float

    def line(self) -> str:
        """The losses in one short line."""
        return "  ".join(f"{name} {value:.3f}" for name, value in self.losses.items())


@dataclass(frozen=True)
class Task(Generic[BatchT]):
    """What is learned: batches by step, and the losses of a batch (their sum is minimised)."""

    batch_at: Callable[[int], BatchT]
    losses_of: Callable[[nn.Module, BatchT], dict[str, Tensor]]


def learning_rate_at(step: int, settings: LoopSettings) -> float:
    """Linear warm-up, then half a cosine down to zero after the last step."""
    if step < settings.warmup_steps:
        return settings.learning_rate * (step + 1) / settings.warmup_steps
    done = (step - settings.warmup_steps) / max(1, settings.steps - settings.warmup_steps)
    return settings.learning_rate * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def train(
    network: nn.Module,
    task: Task[BatchT],
    settings: LoopSettings,
    folder: Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    stop_after: int | None = None,
    on_step: Callable[[Progress], None] = lambda progress: None,
) -> nn.Module:
    """Train, and return the moving average of the weights, in evaluation mode, on the device.

    Args:
        network: initialised by the caller from `settings.seed`; changed in place.
        task: batches and losses.
        settings: steps, rates, seed.
        folder: gets `checkpoint.pt` every `checkpoint_every` steps.
        resume: go on from that checkpoint, which has to exist.
        device: where to compute.
        stop_after: leave after this many steps in total, as an interruption would.
        on_step: called after every step.

    Raises:
        ModelError: the checkpoint is missing or of another network.
        StageError: a loss is not finite, or there is no such device.
    """
    kind = _usable(device).type
    in_bfloat16 = settings.use_bfloat16
    if in_bfloat16 is None:
        in_bfloat16 = computes_bfloat16(kind)
    network.to(device).to(memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    average = _copy_of(network)
    optimiser = torch.optim.AdamW(
        _parameter_groups(network, settings.weight_decay), lr=settings.learning_rate
    )
    first = _restore(folder, network, average, optimiser, settings) if resume else 0
    last = min(settings.steps, stop_after or settings.steps)
    with limited_threads(settings.num_threads):
        for step, batch in _prefetched(task.batch_at, first, last):
            rate = learning_rate_at(step, settings)
            for group in optimiser.param_groups:
                group["lr"] = rate
            with torch.autocast(kind, torch.bfloat16, enabled=in_bfloat16):
                losses = task.losses_of(network, batch)
            total = torch.stack(list(losses.values())).sum()
            if not torch.isfinite(total):
                raise StageError(
                    f"the loss is not finite at step {step}", hint="lower the learning rate"
                )
            optimiser.zero_grad(set_to_none=True)
            total.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), settings.gradient_limit)
            optimiser.step()
            _update_average(average, network, settings.ema_decay, step)
            values = {name: float(loss.detach()) for name, loss in losses.items()}
            on_step(Progress(step + 1, values, rate))
            if (step + 1) % settings.checkpoint_every == 0 or step + 1 == last:
                _save(folder, network, average, optimiser, step + 1)
    return average.eval()


def _usable(device: str) -> torch.device:
    try:
        torch.zeros(1, device=device)
        return torch.device(device)
    except (RuntimeError, AssertionError) as problem:
        reason = str(problem).splitlines()[0]
        raise StageError(
            f"cannot train on {device}: {reason}", hint="try --device cpu"
        ) from problem


def computes_bfloat16(kind: str) -> bool:
    """Whether devices of a kind here have instructions for bfloat16.

    CPUs without them imitate it, ten times slower than they compute in float32.
    """
    if kind == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()  # old torch: none
    return any(capabilities.get(name) for name in ("amx_bf16", "avx512_bf16", "bf16"))


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Weight decay for kernels, none for biases and normalisation."""
    kernels = [p for p in network.parameters() if p.requires_grad and p.ndim > 1]
    others = [p for p in network.parameters() if p.requires_grad and p.ndim <= 1]
    return [
        {"params": kernels, "weight_decay": weight_decay},
        {"params": others, "weight_decay": 0},
    ]


def _copy_of(network: nn.Module) -> nn.Module:
    import copy

    twin = copy.deepcopy(network)
    for parameter in twin.parameters():
        parameter.requires_grad_(False)
    return twin


@torch.no_grad()
def _update_average(average: nn.Module, network: nn.Module, decay: float, step: int) -> None:
    """Move the average towards the network; quicker in the first steps, when it knows nothing."""
    decay = min(decay, (1 + step) / (10 + step))
    now = network.state_dict()
    for name, value in average.state_dict().items():
        if value.dtype.is_floating_point:
            value.lerp_(now[name], 1 - decay)
        else:
            value.copy_(now[name])


def _prefetched(
    batch_at: Callable[[int], BatchT], first: int, last: int, ahead: int = 4
) -> Iterator[tuple[int, BatchT]]:
    """Make the next batches in a second thread while the network is busy with this one."""
    with ThreadPoolExecutor(1) as maker:
        waiting = [maker.submit(batch_at, step) for step in range(first, min(first + ahead, last))]
        for step in range(first, last):
            batch = waiting.pop(0).result()
            if step + ahead < last:
                waiting.append(maker.submit(batch_at, step + ahead))
            yield step, batch


def _save(folder: Path, network: nn.Module, average: nn.Module, optimiser: Any, step: int) -> None:
    with atomic_path(folder / CHECKPOINT) as temporary:
        torch.save(
            {
                "step": step,
                "network": network.state_dict(),
                "average": average.state_dict(),
                "optimiser": optimiser.state_dict(),
            },
            temporary,
        )


def _restore(
    folder: Path, network: nn.Module, average: nn.Module, optimiser: Any, settings: LoopSettings
) -> int:
    file = folder / CHECKPOINT
    if not file.exists():
        raise ModelError(f"no checkpoint to resume from: {file}", hint="leave --resume out")
    try:
        state = torch.load(file, map_location="cpu", weights_only=True)
        network.load_state_dict(state["network"])
        average.load_state_dict(state["average"])
        optimiser.load_state_dict(state["optimiser"])
        step = int(state["step"])
    except Exception as problem:
        raise ModelError(
            f"{file} is not a checkpoint of this network: {problem}",
            hint="resume with the settings of the first run, or start anew",
        ) from problem
    if step > settings.steps:
        raise ModelError(f"{file} is at step {step}, beyond the {settings.steps} asked for")
    return step
