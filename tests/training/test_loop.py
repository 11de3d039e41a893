from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from face3d_cli.errors import ModelError, StageError
from face3d_cli.settings import LoopSettings
from face3d_cli.training.loop import CHECKPOINT, Progress, Task, learning_rate_at, train

SETTINGS = LoopSettings(
    steps=12, batch_size=4, warmup_steps=3, checkpoint_every=5, learning_rate=0.05, num_threads=1
)


def small_network() -> nn.Module:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        return nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 1, 1)
        )


def batch_at(step: int) -> Tensor:
    generator = torch.Generator().manual_seed(step)
    return torch.randn(4, 1, 8, 8, generator=generator)


def losses_of(network: nn.Module, batch: Tensor) -> dict[str, Tensor]:
    return {"square": ((network(batch) - 2.0 * batch) ** 2).mean()}


TASK = Task(batch_at, losses_of)


def run(folder: Path, **options: object) -> tuple[nn.Module, list[Progress]]:
    seen: list[Progress] = []
    average = train(small_network(), TASK, SETTINGS, folder, on_step=seen.append, **options)  # type: ignore[arg-type]
    return average, seen


def test_a_resumed_run_ends_exactly_like_an_uninterrupted_one(tmp_path: Path) -> None:
    whole, seen = run(tmp_path / "whole")
    _, first = run(tmp_path / "parts", stop_after=7)
    resumed, second = run(tmp_path / "parts", resume=True)
    assert [p.step for p in first + second] == [p.step for p in seen] == list(range(1, 13))
    assert [p.losses for p in first + second] == [p.losses for p in seen]
    for name, value in whole.state_dict().items():
        assert torch.equal(value, resumed.state_dict()[name]), name


def test_training_lowers_the_loss_and_the_average_follows(tmp_path: Path) -> None:
    average, seen = run(tmp_path)
    assert seen[-1].losses["square"] < 0.9 * seen[0].losses["square"]
    assert not average.training
    with torch.no_grad():
        left = losses_of(average, batch_at(99))["square"]
    assert left < seen[0].losses["square"]


def test_the_rate_warms_up_and_falls_to_zero() -> None:
    rates = [learning_rate_at(step, SETTINGS) for step in range(13)]
    assert rates[0] == pytest.approx(0.05 / 3)
    assert rates[2:4] == pytest.approx([0.05, 0.05])
    assert rates == [*sorted(rates[:3]), *sorted(rates[3:], reverse=True)]
    assert rates[12] == pytest.approx(0.0, abs=1e-12)


def test_resuming_needs_a_checkpoint_of_this_network(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no checkpoint"):
        run(tmp_path, resume=True)
    (tmp_path / CHECKPOINT).write_bytes(b"torn")
    with pytest.raises(ModelError, match="not a checkpoint"):
        run(tmp_path, resume=True)
    run(tmp_path)
    with pytest.raises(ModelError, match="beyond"):
        train(small_network(), TASK, replace(SETTINGS, steps=4), tmp_path, resume=True)


@pytest.mark.parametrize("device", ["cuda:99", "abacus"])
def test_a_device_that_is_not_there_is_named(device: str, tmp_path: Path) -> None:
    with pytest.raises(StageError, match=f"cannot train on {device}"):
        run(tmp_path, device=device)


def test_a_loss_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    broken = Task(batch_at, lambda net, batch: {"nan": net(batch).sum() * float("nan")})
    with pytest.raises(StageError, match="not finite at step 0"):
        train(small_network(), broken, SETTINGS, tmp_path)
    assert not (tmp_path / CHECKPOINT).exists()


@pytest.mark.parametrize("has_it", [False, True])
def test_bfloat16_is_for_processors_that_have_it(
    has_it: bool, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Those without imitate it, many times slower than float32."""
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": has_it})
    seen: list[bool] = []

    def watched(network: nn.Module, batch: Tensor) -> dict[str, Tensor]:
        seen.append(torch.is_autocast_enabled("cpu"))
        return losses_of(network, batch)

    for asked in (None, True, False):
        settings = replace(SETTINGS, steps=1, use_bfloat16=asked)
        train(small_network(), Task(batch_at, watched), settings, tmp_path / str(asked))
    assert seen == [has_it, True, False]
