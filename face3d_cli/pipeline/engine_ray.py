"""Workers as actors of a Ray cluster: `pip install 'face3d[cluster]'` on every node.

Photos and results lie in folders that every node sees under the same path; the workers read and
write them there, and only records travel. Scheduling, placing and noticing lost nodes is Ray's; an
actor that is lost is replaced by a new one, which waits until the cluster has room for it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from face3d_cli.errors import Face3dError, MissingExtra, StageError
from face3d_cli.networks.runner import TorchRunner, use_runner
from face3d_cli.pipeline.supervise import Died, Event, Ready
from face3d_cli.pipeline.tasks import Job, Outcome, Task, perform
from face3d_cli.pipeline.threads import limit_threads

_CONNECT_TIMEOUT_S = 10.0


@dataclass(eq=False)
class _Worker:
    actor: Any
    answer: Any  # reference to what the actor is about to say


class _Actor:
    """A worker of the cluster: keeps its models from photo to photo."""

    def __init__(self, task: Task, device: str | None) -> None:
        self._task, self._device = task, device

    def warm_up(self) -> Ready | Outcome:
        """Load the models."""
        limit_threads()
        try:
            if self._device is not None:
                use_runner(TorchRunner(self._device))
            self._task.warm_up()
        except Face3dError as problem:
            return Outcome({}, stop=problem)
        return Ready()

    def perform(self, job: Job) -> Outcome:
        """Do one photo."""
        return perform(self._task, job)


class RayEngine:
    """Actors of a Ray cluster, one CPU each."""

    def __init__(
        self, task: Task, jobs: int | None = None, *, address: str | None, num_gpus: float = 0.0
    ) -> None:
        """At most `jobs` actors; None is as many as the cluster has room for.

        Args:
            task: what the actors do.
            jobs: how many actors.
            address: of the cluster's head, "auto" for the one of this machine; None starts one.
            num_gpus: that each actor gets for its networks; fractions share one.

        Raises:
            MissingExtra: Ray is not installed.
        """
        try:
            import ray
        except ModuleNotFoundError as problem:
            raise MissingExtra(
                "--engine ray needs Ray, which is not installed",
                hint="pip install 'face3d[cluster]'",
            ) from problem
        self._ray, self._task, self._jobs = ray, task, jobs
        self._address, self._num_gpus = address, num_gpus

    def size(self) -> int:
        """How many actors there may be."""
        if self._jobs is not None:
            return self._jobs
        has = self._ray.cluster_resources()
        room = int(has.get("CPU", 0))
        if self._num_gpus:
            room = min(room, int(has.get("GPU", 0) / self._num_gpus))
        if room < 1:
            raise StageError(
                f"the cluster has no room for a worker with 1 CPU and {self._num_gpus:g} GPU",
                hint=f"it has {has.get('CPU', 0):g} CPU and {has.get('GPU', 0):g} GPU",
            )
        return room

    def start(self) -> _Worker:
        """Ask for an actor; it is placed when there is room."""
        kind = self._ray.remote(_Actor).options(
            num_cpus=1, num_gpus=self._num_gpus, max_restarts=0, max_task_retries=0
        )
        device = "cuda" if self._num_gpus else None  # Ray shows an actor no GPU but its own
        actor = kind.remote(self._task, device)
        return _Worker(actor, actor.warm_up.remote())

    def send(self, worker: _Worker, job: Job) -> None:
        """Hand a job to an actor, whose current folder is another."""
        photo, folder = os.path.abspath(job.photo), job.folder.absolute()
        worker.answer = worker.actor.perform.remote(replace(job, photo=photo, folder=folder))

    def wait(self, workers: Sequence[_Worker], timeout_s: float) -> list[tuple[_Worker, Event]]:
        """What has happened."""
        by_answer = {w.answer: w for w in workers if w.answer is not None}
        answers = list(by_answer)
        done, _ = self._ray.wait(answers, num_returns=1, timeout=timeout_s)
        if done:  # perhaps others, too
            done, _ = self._ray.wait(answers, num_returns=len(answers), timeout=0)
        return [(by_answer[answer], self._event_of(by_answer[answer])) for answer in done]

    def _event_of(self, worker: _Worker) -> Event:
        answer, worker.answer = worker.answer, None
        try:
            event: Event = self._ray.get(answer)
        except self._ray.exceptions.RayError as problem:
            return Died("was lost: " + str(problem).strip().splitlines()[0])
        return event

    def kill(self, worker: _Worker) -> None:
        """End an actor at once."""
        self._ray.kill(worker.actor)

    def __enter__(self) -> RayEngine:
        """Join the cluster, or start one on this machine."""
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
        try:
            _require_listening(self._address)
            self._ray.init(
                address=self._address or "local",
                log_to_driver=False,
                configure_logging=False,
                include_dashboard=False if self._address is None else None,
            )
        except (OSError, RuntimeError, ValueError) as problem:
            raise StageError(
                f"cannot join the Ray cluster at {self._address}: {str(problem).splitlines()[0]}",
                hint="look with: ray status",
            ) from problem
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the cluster; its actors end."""
        self._ray.shutdown()


def _require_listening(address: str | None) -> None:
    """Try HOST:PORT, for Ray itself waits many minutes for a cluster that is not there."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdigit() and "/" not in host:
        with socket.create_connection((host, int(port)), timeout=_CONNECT_TIMEOUT_S):
            pass
