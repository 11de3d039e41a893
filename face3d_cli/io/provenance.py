"""Where a mesh came from, kept in its file: licence, method, photo, as `key: value` or as JSON."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from face3d_cli.io.frame import read_tag


def to_comments(provenance: Mapping[str, Any] | None) -> tuple[str, ...]:
    """One `key: value` line each; what is not a plain string is written as JSON."""
    return tuple(f"{key}: {_as_text(value)}" for key, value in (provenance or {}).items())


def from_comments(lines: Iterable[str]) -> dict[str, Any]:
    """Undo `to_comments` on the comments of a file; a file without our tag has no provenance."""
    rest = iter(lines)
    if not any(read_tag(line) for line in rest):  # stops behind the tag
        return {}
    pairs = (line.partition(": ") for line in rest)
    return {key.strip(): _from_text(value.strip()) for key, colon, value in pairs if colon}


def _as_text(value: Any) -> str:
    if (
        isinstance(value, str)
        and value.isascii()
        and value.isprintable()
        and _from_text(value) == value
    ):
        return value
    return json.dumps(value)  # one line of ASCII


def _from_text(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
