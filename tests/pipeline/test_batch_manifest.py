from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from face3d_cli.errors import UnreadableInput
from face3d_cli.pipeline.manifest import (
    Manifest,
    OutputFile,
    PhotoState,
    digest_of,
    read_entries,
    read_records,
)


def record(name: str, **changes: Any) -> dict[str, Any]:
    file = {"bytes": 1, "mtime_ns": 2}
    basis = {"name": name, "task": "t", "status": "ok", "settings": "s", "file": file}
    return {**basis, "outputs": [], **changes}


def test_lines_come_back_and_the_later_one_counts(tmp_path: Path) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.append(record("a", status="failed"))
        manifest.append(record("\udcff"))
        manifest.append(record("a"))
        manifest.append(record("a", task="other", status="no-face"))
    with Manifest(tmp_path) as manifest:
        statuses = {key: entry.status for key, entry in manifest.entries.items()}
    assert statuses == {("t", "a"): "ok", ("t", "\udcff"): "ok", ("other", "a"): "no-face"}
    assert [each["name"] for each in read_records(tmp_path)] == ["\udcff", "a", "a"]
    assert (tmp_path / "manifest.jsonl").read_bytes().count(b"\n") == 4  # nothing is rewritten


@pytest.mark.parametrize("kept_bytes", range(1, 40, 7))
def test_a_torn_last_line_is_cut_off(tmp_path: Path, kept_bytes: int) -> None:
    path = tmp_path / "manifest.jsonl"
    with Manifest(tmp_path) as manifest:
        whole = manifest.append(record("a")) + "\n"
        torn = manifest.append(record("b"))
    path.write_text(whole + torn[:kept_bytes])
    with Manifest(tmp_path) as manifest:
        assert list(manifest.entries) == [("t", "a")]
        assert "cut off an unfinished last line" in manifest.notes[0]
        manifest.append(record("c"))
    assert [each["name"] for each in read_records(tmp_path)] == ["a", "c"]


@pytest.mark.parametrize("line", [b"{}", b"[]", b"\0\0\0", b'"x"', b'{"name": 1}', b"\xff", b""])
def test_a_damaged_line_does_not_count(tmp_path: Path, line: bytes) -> None:
    with Manifest(tmp_path) as manifest:
        manifest.append(record("a"))
    with (tmp_path / "manifest.jsonl").open("ab") as file:
        file.write(line + b"\n")
    with Manifest(tmp_path) as manifest:
        manifest.append(record("b"))
    entries, notes, _ = read_entries(tmp_path)
    assert list(entries) == [("t", "a"), ("t", "b")]
    assert len(notes) == 1
    assert "line 2 is damaged" in notes[0]


def test_a_result_is_whole_only_with_its_own_content(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.glb"
    path.parent.mkdir()
    path.write_bytes(b"mesh")
    output = OutputFile.of(path, tmp_path)
    assert output == OutputFile("a/x.glb", 4, hashlib.sha256(b"mesh").hexdigest())
    assert output.is_whole(tmp_path)
    path.write_bytes(b"mosh")
    assert not output.is_whole(tmp_path)
    path.unlink()
    assert not output.is_whole(tmp_path)


def test_settings_have_one_digest_whatever_their_order() -> None:
    assert digest_of("t", {"a": 1, "b": 2}) == digest_of("t", {"b": 2, "a": 1})
    assert len({digest_of("t", {"a": 1}), digest_of("t", {"a": 2}), digest_of("u", {"a": 1})}) == 3


def test_a_photo_that_is_not_there_has_no_state(tmp_path: Path) -> None:
    assert PhotoState.of(str(tmp_path / "x")) == PhotoState(None, None)
    assert PhotoState.of("null\0character") == PhotoState(None, None)


def test_a_folder_without_a_manifest_is_told(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="expected the folder of a batch"):
        list(read_records(tmp_path))
