"""Workers as processes of this machine, each with a pipe of its own.

A pool of the standard library breaks when one of its processes dies, and pools that hand out jobs
through one shared pipe can be left with its lock held by the dead
(`docs/decisions/batch-engines.md`). Here nothing is shared: what a worker held is known.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any

from face3d_cli.errors import Face3dError
from face3d_cli.networks.runner import use_runner
from face3d_cli.pipeline.network_host import (
    HostAddress,
    HostedRunner,
    NetworkHost,
    die_with_parent,
)
from face3d_cli.pipeline.supervise import Died, Event, Ready
from face3d_cli.pipeline.tasks import (
    Job,
    Outcome,
    Task,
    perform,
)
from face3d_cli.pipeline.threads import limit_threads, single_threaded_children


@dataclass(frozen=True, eq=False)
class _Worker:
    process: SpawnProcess
    connection: Connection[Any, Any]


class LocalEngine:
    """Worker processes, one core each."""

    def __init__(self, task: Task, jobs: int | None = None, *, device: str | None = None) -> None:
        """At most `jobs` workers.

        Args:
            task: what they do.
            jobs: how many; None is one for each core this process may use.
            device: cuda or cuda:N runs all networks there, in one more process that the workers
                share; None runs them in each worker.
        """
        self._task = task
        self._size = jobs or num_cores()
        self._host = NetworkHost(device) if device is not None else None
        self._workers: list[_Worker] = []

    def size(self) -> int:
        """How many workers there may be."""
        return self._size

    def start(self) -> _Worker:
        """Start a fresh interpreter: a fork would copy the threads' locks, and all memory."""
        host = self._host.address() if self._host is not None else None
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        process = context.Process(target=_serve, args=(theirs, self._task, host), daemon=True)
        with single_threaded_children():
            process.start()
        theirs.close()
        worker = _Worker(process, ours)
        self._workers.append(worker)
        return worker

    def send(self, worker: _Worker, job: Job) -> None:
        """Hand a job to a worker; one that has died is noticed by `wait`."""
        with suppress(OSError):
            worker.connection.send(job)

    def wait(self, workers: Sequence[_Worker], timeout_s: float) -> list[tuple[_Worker, Event]]:
        """What has happened; a worker's last message comes before its death."""
        wakers = [w.connection for w in workers] + [w.process.sentinel for w in workers]
        awake = set(wait(wakers, timeout_s))
        return [
            (worker, _event_of(worker))
            for worker in workers
            if worker.connection in awake or worker.process.sentinel in awake
        ]

    def kill(self, worker: _Worker) -> None:
        """End a worker at once."""
        worker.process.kill()
        worker.process.join()
        worker.connection.close()
        self._workers.remove(worker)

    def __enter__(self) -> LocalEngine:
        return self

    def __exit__(self, *_: object) -> None:
        """End all workers."""
        for worker in self._workers[:]:
            self.kill(worker)
        if self._host is not None:
            self._host.stop()


def num_cores() -> int:
    """How many cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _event_of(worker: _Worker) -> Event:
    try:
        if worker.connection.poll():
            event: Event = worker.connection.recv()
            return event
    except (EOFError, OSError):
        pass
    worker.process.join()
    return Died(_death(worker.process.exitcode))


def _death(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        with suppress(ValueError):
            name = signal.Signals(-exit_code).name
            why = ", perhaps for want of memory" if name == "SIGKILL" else ""
            return f"was ended by {name}{why}"
    return f"ended with exit code {exit_code}"


def _serve(connection: Connection[Any, Any], task: Task, host: HostAddress | None) -> None:
    """A worker's life: photos in, outcomes out, until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    threading.Thread(target=die_with_parent, daemon=True).start()
    limit_threads()
    if host is not None:
        use_runner(HostedRunner(host))
    with suppress(EOFError, OSError):  # the parent has gone
        try:
            task.warm_up()
        except Face3dError as problem:
            connection.send(Outcome({}, stop=problem))
            return
        connection.send(Ready())
        while True:
            connection.send(perform(task, connection.recv()))
