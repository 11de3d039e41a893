"""One process that holds a device and runs networks for many workers.

Workers read photos and find faces, each on its core, and send pictures. What has come in while the
device was busy goes through it together, as far as sizes agree. When the process dies, so do the
workers that wait for it; the batch begins their photos again with a new one.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Client, Connection, Listener, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray
from face3d_cli.errors import Face3dError, StageError
from face3d_cli.networks.runner import NetworkKind, Runner, TorchRunner

MAX_PICTURES = 32  # that go through a network together
_START_TIMEOUT_S = 120.0


@dataclass(frozen=True)
class HostAddress:
    """What a worker needs to ask a host."""

    device: str
    place: str
    key: bytes


@dataclass(frozen=True)
class Request:
    """Pictures of one photo for a network."""

    kind: NetworkKind
    path: Path
    pictures: npt.NDArray[np.uint8]  # (B, H, W, 3)


Answer = FloatArray | Face3dError


class NetworkHost:
    """The process, as the one that started it sees it."""

    def __init__(self, device: str) -> None:
        """Choose a device; nothing is started."""
        self._device = device
        self._process: SpawnProcess | None = None
        self._address: HostAddress | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None  # of the socket

    def address(self) -> HostAddress:
        """Where it can be asked; starts it when it is not running.

        Raises:
            StageError: the device is not there, or the process does not start.
        """
        if self._address is None or self._process is None or not self._process.is_alive():
            self._address = self._start()
        return self._address

    def stop(self) -> None:
        """End the process."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        if self._folder is not None:
            self._folder.cleanup()
        self._process = self._address = self._folder = None

    def _start(self) -> HostAddress:
        self.stop()
        context = multiprocessing.get_context("spawn")
        ours, theirs = context.Pipe()
        key, place = os.urandom(16), None
        if hasattr(socket, "AF_UNIX"):  # a killed process leaves its socket behind
            self._folder = tempfile.TemporaryDirectory(prefix="face3d-")
            place = os.path.join(self._folder.name, "host")
        self._process = context.Process(
            target=_live, args=(theirs, self._device, place, key), daemon=True
        )
        self._process.start()
        theirs.close()
        said: str | Face3dError = StageError("the process for networks does not start")
        with ours, suppress(EOFError, OSError):
            if ours.poll(_START_TIMEOUT_S):
                said = ours.recv()
        if isinstance(said, Face3dError):
            self.stop()
            raise said
        return HostAddress(self._device, said, key)


class HostedRunner:
    """A host, as a worker sees it."""

    def __init__(self, address: HostAddress) -> None:
        """Connect to a host."""
        self.device = address.device
        try:
            self._connection = Client(address.place, authkey=address.key)
        except (OSError, EOFError) as problem:
            raise SystemExit("the process that holds the networks has gone") from problem

    def run(self, kind: NetworkKind, path: Path, pictures: npt.NDArray[np.uint8]) -> FloatArray:
        """Ask the host. Without it this worker is of no use, and ends."""
        try:
            self._connection.send(Request(kind, path, pictures))
            answer: Answer = self._connection.recv()
        except (OSError, EOFError) as problem:
            raise SystemExit("the process that holds the networks has gone") from problem
        if isinstance(answer, Face3dError):
            raise answer
        return answer


def answers(
    runner: Runner, requests: Sequence[Request], max_pictures: int = MAX_PICTURES
) -> list[Answer]:
    """Run requests in groups of one network and size; a group that fails is run one by one."""
    found: dict[int, Answer] = {}
    for group in _groups(requests, max_pictures):
        whole = _try(runner, [requests[index] for index in group])
        if isinstance(whole, Face3dError):
            for index in group:
                found[index] = _try(runner, [requests[index]]) if len(group) > 1 else whole
            continue
        start = 0
        for index in group:
            count = len(requests[index].pictures)
            found[index] = whole[start : start + count]
            start += count
    return [found[index] for index in range(len(requests))]


def _groups(requests: Sequence[Request], max_pictures: int) -> list[list[int]]:
    """Indices of requests that fit together."""
    open_groups: dict[Any, list[int]] = {}
    groups: list[list[int]] = []
    for index, request in enumerate(requests):
        key = (request.kind, request.path, request.pictures.shape[1:])
        group = open_groups.get(key)
        held = sum(len(requests[each].pictures) for each in group or ())
        if group is None or held + len(request.pictures) > max_pictures:
            group = open_groups[key] = []
            groups.append(group)
        group.append(index)
    return groups


def _try(runner: Runner, requests: Sequence[Request]) -> Answer:
    first = requests[0]
    pictures = np.concatenate([request.pictures for request in requests])
    try:
        return runner.run(first.kind, first.path, pictures)
    except Face3dError as problem:
        return problem
    except RuntimeError as problem:  # torch's: the device or the driver
        reason = str(problem).strip().splitlines()[0]
        return StageError(f"the network failed on {runner.device}: {reason}")


def _live(to_parent: Connection[Any, Any], device: str, place: str | None, key: bytes) -> None:
    """The host's life: say where it is, then answer until the parent ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's affair
    try:
        runner = TorchRunner(device)
    except Face3dError as problem:
        to_parent.send(problem)
        return
    threading.Thread(target=die_with_parent, daemon=True).start()
    listener = Listener(place, authkey=key)
    bell, bell_push = multiprocessing.Pipe(duplex=False)
    workers: list[Connection[Any, Any]] = []
    threading.Thread(target=_let_in, args=(listener, workers, bell_push), daemon=True).start()
    to_parent.send(listener.address)
    while True:
        awake = wait([bell, *workers])
        if bell in awake:
            bell.recv_bytes()
        asked: list[tuple[Connection[Any, Any], Request]] = []
        for worker in [each for each in workers if each in awake]:
            try:
                asked.append((worker, worker.recv()))
            except (EOFError, OSError):
                workers.remove(worker)
        found = answers(runner, [request for _, request in asked])
        for (worker, _), answer in zip(asked, found, strict=True):
            with suppress(OSError):
                worker.send(answer)


def _let_in(
    listener: Listener, workers: list[Connection[Any, Any]], bell: Connection[Any, Any]
) -> None:
    while True:
        with suppress(OSError, EOFError, multiprocessing.AuthenticationError):
            workers.append(listener.accept())
            bell.send_bytes(b"!")


def die_with_parent() -> None:
    """Wait for the end of the parent, and end this process; for a thread."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
