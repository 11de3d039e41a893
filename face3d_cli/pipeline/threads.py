"""How many threads does a worker use? One: workers, not libraries, share the cores."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

THREAD_VARIABLES = {
    name: "1" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
}


def limit_threads() -> None:
    """One thread in this process, for libraries that can be told when they are loaded."""
    import cv2

    cv2.setNumThreads(1)


@contextmanager
def single_threaded_children() -> Iterator[None]:
    """Processes started meanwhile have one thread, for libraries that read it when loaded."""
    before = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(THREAD_VARIABLES)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
