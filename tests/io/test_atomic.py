"""Files appear whole or not at all."""

from __future__ import annotations

import errno
import os
import stat

import pytest

from face3d_cli.errors import OutputError
from face3d_cli.io.atomic import atomic_path, atomic_paths


def names(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def test_file_appears_at_the_end_of_the_block(tmp_path):
    final = tmp_path / "new" / "folder" / "a.glb"
    with atomic_path(final) as temporary:
        assert temporary.suffix == ".glb"
        assert temporary.parent == final.parent
        temporary.write_text("whole")
        assert not final.exists()
    assert final.read_text() == "whole"
    assert names(tmp_path) == ["a.glb"]


@pytest.mark.parametrize("problem", [ValueError, KeyboardInterrupt, SystemExit])
def test_what_was_there_before_stays_when_the_block_fails(tmp_path, problem):
    final = tmp_path / "a.obj"
    final.write_text("before")

    def write_half():
        with atomic_path(final) as temporary:
            temporary.write_text("half")
            raise problem

    with pytest.raises(problem):
        write_half()
    assert final.read_text() == "before"
    assert names(tmp_path) == ["a.obj"]


def test_a_group_appears_together_or_not_at_all(tmp_path):
    finals = [tmp_path / name for name in ("a.obj", "a.mtl", "a.png")]

    def fail_at_the_third():
        with atomic_paths(*finals) as temporaries:
            temporaries[0].write_text("obj")
            temporaries[1].write_text("mtl")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError):
        fail_at_the_third()
    assert names(tmp_path) == []
    with atomic_paths(*finals) as temporaries:
        for temporary, final in zip(temporaries, finals, strict=True):
            temporary.write_text(final.name)
        assert not any(final.exists() for final in finals)
    assert [final.read_text() for final in finals] == ["a.obj", "a.mtl", "a.png"]
    assert len(names(tmp_path)) == 3


def test_full_disk_is_one_line_that_names_the_file(tmp_path):
    with pytest.raises(OutputError) as caught, atomic_path(tmp_path / "a.ply"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert f"cannot write {tmp_path / 'a.ply'}: No space left on device" in str(caught.value)
    assert caught.value.exit_code == 5
    assert "\n" not in str(caught.value)


def test_folder_of_that_name_is_refused_before_any_work(tmp_path):
    (tmp_path / "a.obj").mkdir()
    with pytest.raises(OutputError, match="it is a folder"), atomic_path(tmp_path / "a.obj"):
        pytest.fail("the block must not run")


@pytest.mark.skipif(not os.path.exists("/dev/null"), reason="needs /dev/null")
def test_devices_are_not_replaced():
    with pytest.raises(OutputError, match="not an ordinary file"), atomic_path("/dev/null"):
        pytest.fail("the block must not run")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_a_file_where_a_folder_is_needed_is_an_output_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write"), atomic_path(tmp_path / "file" / "a.obj"):
        pytest.fail("the block must not run")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root may write everywhere")
def test_read_only_folder_is_an_output_error(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="Permission denied"), atomic_path(tmp_path / "a") as new:
        new.write_text("")


@pytest.mark.skipif(os.name != "posix", reason="POSIX permissions")
def test_new_files_have_the_permissions_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        with atomic_path(tmp_path / "a") as temporary:
            temporary.write_text("")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_names_as_long_as_the_file_system_allows(tmp_path):
    final = tmp_path / ("ü" * 125 + ".obj")  # 254 bytes
    with atomic_path(final) as temporary:
        temporary.write_text("x")
    assert final.read_text() == "x"
