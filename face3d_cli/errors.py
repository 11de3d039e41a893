"""Every error a user can meet: what was expected, what was found, what to try next, the exit code.

Anything raised that is not a `Face3dError` is a bug of ours: it keeps its traceback and exits 1.
"""

from __future__ import annotations

from typing import ClassVar


class Face3dError(Exception):
    """Base class: one line for the user, a hint what to try next, and the process exit code."""

    exit_code: ClassVar[int] = 5
    status: ClassVar[str] = "failed"  # what the JSON report says of the photo

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        """Return the message, with the hint behind a semicolon when there is one."""
        return f"{self.message}; {self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[object, ...]:
        """Keep the hint when the error crosses a process border."""
        return _rebuild, (type(self), self.message, self.hint)


def _rebuild(kind: type[Face3dError], message: str, hint: str) -> Face3dError:
    return kind(message, hint=hint)


class UsageError(Face3dError):
    """Options that contradict each other or lie outside their range."""

    exit_code = 2


class InputError(Face3dError):
    """The input cannot be used."""

    exit_code = 3


class UnreadableInput(InputError):
    """A photo, landmark, mesh or label file is missing, truncated, or not what it should be."""

    status = "unreadable"


class NoFaceFound(InputError):
    """No face was found in a readable photo."""

    status = "no-face"


class ModelError(Face3dError):
    """A model file is missing, damaged, or does not fit its network."""

    exit_code = 4


class StageError(Face3dError):
    """A stage, a device, an optional backend or the disk failed."""

    exit_code = 5


class MissingExtra(StageError):
    """An optional dependency is not installed; the hint names the extra."""


class OutputError(StageError):
    """A result cannot be written."""


class ShapeError(Face3dError, ValueError):
    """An array of the wrong shape was handed to a public function."""
