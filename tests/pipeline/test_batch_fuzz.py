"""A few damaged files through whole runs; `benchmarks/fuzz.py` does thousands."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.fuzz import fuzz


@pytest.mark.slow
def test_damaged_files_are_done_or_refused_in_one_line(
    tmp_path: Path, sample_photo: Path, surrey: Path
) -> None:
    figures = fuzz(tmp_path, sample_photo, 60, seed=1)
    for each in figures.values():
        assert each["unwanted"] == []
        assert sum(each["done"].values()) == 60
        assert each["done"]["unreadable"] >= 20
