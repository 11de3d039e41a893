"""How are jobs handed to workers that may die, hang, or not start? The same for every engine.

A worker gets one job at a time, so that its death costs that job and no other, and so that jobs
are taken from their source no sooner than they can be done. A job whose worker dies is begun again
once, after the others that wait; a job that takes too long is not.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from face3d_cli.errors import StageError
from face3d_cli.pipeline.tasks import Job, Outcome, failed_job
from face3d_cli.settings import BatchSettings

_START_FAILURES = 3  # in a row


@dataclass(frozen=True)
class Ready:
    """A worker has started."""


@dataclass(frozen=True)
class Died:
    """A worker is no more."""

    reason: str


Event = Ready | Outcome | Died
Worker = Any  # a handle that only its engine looks into


class Engine(Protocol):
    """Where workers live; a context manager that ends all of them."""

    def size(self) -> int:
        """How many workers there may be."""

    def start(self) -> Worker:
        """Begin to start a worker."""

    def send(self, worker: Worker, job: Job) -> None:
        """Hand a job to a worker that is ready and idle."""

    def wait(self, workers: Sequence[Worker], timeout_s: float) -> list[tuple[Worker, Event]]:
        """What has happened; empty when nothing has for so long."""

    def kill(self, worker: Worker) -> None:
        """End a worker at once."""

    def __enter__(self) -> Engine:
        """Get ready to start workers."""

    def __exit__(self, *_: object) -> None:
        """End all workers."""


@dataclass
class _Attempt:
    job: Job
    number: int = 1


@dataclass
class _State:
    """A worker: starting, idle, or busy with an attempt until a deadline."""

    is_ready: bool = False
    attempt: _Attempt | None = None
    deadline_s: float = 0.0


def supervise(
    engine: Engine, jobs: Iterable[Job], settings: BatchSettings = BatchSettings()
) -> Iterator[tuple[Job, Outcome]]:
    """Do all jobs and yield what became of each, in the order in which they end.

    Raises:
        StageError: workers do not start.
    """
    source, waiting = iter(jobs), deque[_Attempt]()
    states: dict[Worker, _State] = {}
    finished: list[tuple[Job, Outcome]] = []
    size, start_failures, any_ready = engine.size(), 0, False
    started_s = time.monotonic()
    while True:
        busy = sum(state.attempt is not None for state in states.values())
        while len(waiting) < size - busy and (job := next(source, None)) is not None:
            waiting.append(_Attempt(job))
        while len(states) < min(size, busy + len(waiting)):
            states[engine.start()] = _State()
        for worker, state in states.items():
            if waiting and state.is_ready and state.attempt is None:
                state.attempt = waiting.popleft()
                state.deadline_s = time.monotonic() + settings.timeout_s
                engine.send(worker, state.attempt.job)
        yield from finished  # only now: what the caller does with them keeps no worker waiting
        finished.clear()
        if not waiting and not any(state.attempt for state in states.values()):
            return
        soonest_s = min((s.deadline_s for s in states.values() if s.attempt), default=None)
        if not any_ready:
            soonest_s = started_s + settings.start_timeout_s
        pause_s = 1.0 if soonest_s is None else max(0.0, soonest_s - time.monotonic())
        for worker, event in engine.wait(list(states), min(pause_s, 1.0)):
            state = states[worker]
            if isinstance(event, Ready):
                state.is_ready = any_ready = True
                start_failures = 0
            elif isinstance(event, Outcome):
                attempt, state.attempt = state.attempt, None
                if attempt is None:  # it could not even start
                    raise event.stop or StageError("a worker failed before its first photo")
                finished.append((attempt.job, event))
            else:
                engine.kill(worker)
                del states[worker]
                if state.attempt is None:
                    start_failures += not state.is_ready
                    if start_failures >= _START_FAILURES:
                        raise StageError(f"workers die while they start: {event.reason}")
                elif state.attempt.number < settings.attempts:
                    waiting.append(_Attempt(state.attempt.job, state.attempt.number + 1))
                else:
                    number = state.attempt.number
                    reason = f"its worker died {number} times; the last one {event.reason}"
                    finished.append((state.attempt.job, failed_job(state.attempt.job, reason)))
        now_s = time.monotonic()
        if not any_ready and now_s > started_s + settings.start_timeout_s:
            raise StageError(
                f"no worker was ready within {settings.start_timeout_s:.0f} s",
                hint="check memory, and that a cluster has what each worker asks for",
            )
        for worker, state in list(states.items()):
            if state.attempt is not None and now_s > state.deadline_s:
                engine.kill(worker)
                del states[worker]
                reason = f"not done within {settings.timeout_s:g} s"
                finished.append((state.attempt.job, failed_job(state.attempt.job, reason)))
