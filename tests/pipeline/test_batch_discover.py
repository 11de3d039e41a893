from __future__ import annotations

import os
from pathlib import Path

import pytest

from face3d_cli.errors import UnreadableInput, UsageError
from face3d_cli.pipeline.discover import (
    NameFilter,
    find_photos,
    listed_photos,
    require_apart,
    split_list,
)

JPEG, PNG, HEIC = b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"\0\0\0\x18ftypheic"


def tree(root: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return root


def names_in(root: Path, names: NameFilter = NameFilter(), *leave_out: Path) -> list:
    return [photo.name for photo in find_photos(root, names, leave_out=leave_out).photos]


def test_photos_are_told_by_content_or_by_what_they_are_called(tmp_path: Path) -> None:
    tree(
        tmp_path,
        {
            "a/no_suffix": JPEG,
            "a/wrong.txt": PNG,
            "b/phone": HEIC,
            "b/web.bin": b"RIFF\0\0\0\0WEBP",
            "b/sound.bin": b"RIFF\0\0\0\0WAVE",
            "empty.jpg": b"",
            "notes.txt": b"hello",
            "text.PNG": b"hello",
        },
    )
    found = find_photos(tmp_path)
    assert [photo.name for photo in found.photos] == [
        "empty.jpg", "text.PNG", "a/no_suffix", "a/wrong.txt", "b/phone", "b/web.bin",
    ]  # fmt: skip
    assert found.num_ignored == 2
    assert (found.notes, found.problems) == ([], [])
    assert found.photos[2].path == str(tmp_path / "a" / "no_suffix")


def test_pipes_are_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for ever
    assert names_in(tmp_path) == []


def test_patterns_take_and_leave_photos_and_folders(tmp_path: Path) -> None:
    tree(tmp_path, {"a/1.jpg": JPEG, "a/deep/2.jpg": JPEG, "b/1.jpg": JPEG, "b/3.png": PNG})
    assert names_in(tmp_path, NameFilter(include=["*.png"])) == ["b/3.png"]
    assert names_in(tmp_path, NameFilter(include=["a/*"])) == ["a/1.jpg", "a/deep/2.jpg"]
    assert names_in(tmp_path, NameFilter(exclude=["deep", "b/1*"])) == ["a/1.jpg", "b/3.png"]
    assert names_in(tmp_path, NameFilter(["1.jpg", "3.png"], ["b"])) == ["a/1.jpg"]


def test_linked_folders_are_followed_once_and_loops_are_told(tmp_path: Path) -> None:
    root = tree(tmp_path / "in", {"b/1.jpg": JPEG})
    tree(tmp_path / "elsewhere", {"2.jpg": JPEG})
    (root / "a").symlink_to("b")  # sorts before what it leads to
    (root / "b" / "up").symlink_to("..")
    (root / "far").symlink_to(tmp_path / "elsewhere")
    (root / "gone.jpg").symlink_to("nowhere.jpg")
    (root / "itself").symlink_to("itself")
    found = find_photos(root)
    assert [photo.name for photo in found.photos] == ["gone.jpg", "b/1.jpg", "far/2.jpg"]
    assert sorted(note.split(" ")[0] for note in found.notes) == [
        str(root / "a"),
        str(root / "b" / "up"),
    ]


def test_a_link_to_a_folder_around_the_photos_is_not_followed(tmp_path: Path) -> None:
    root = tree(tmp_path / "all" / "in", {"1.jpg": JPEG})
    tree(tmp_path / "all", {"other/2.jpg": JPEG})
    (root / "up").symlink_to("..")
    found = find_photos(root)
    assert [photo.name for photo in found.photos] == ["1.jpg"]
    assert found.notes == [f"{root / 'up'} leads to a folder that holds {root}: left out"]


def test_a_folder_that_cannot_be_read_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree(tmp_path, {"a/1.jpg": JPEG, "b/2.jpg": JPEG})
    scandir = os.scandir

    def refuse_a(folder: Path) -> object:
        if Path(folder).name == "a":
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(os, "scandir", refuse_a)
    found = find_photos(tmp_path)
    assert [photo.name for photo in found.photos] == ["b/2.jpg"]
    assert found.problems == [f"cannot look into {tmp_path / 'a'}: Permission denied"]


def test_the_output_folder_is_not_looked_into(tmp_path: Path) -> None:
    tree(tmp_path, {"1.jpg": JPEG, "out/texture.png": PNG})
    assert names_in(tmp_path, NameFilter(), tmp_path / "out") == ["1.jpg"]
    require_apart(tmp_path, tmp_path / "out")


@pytest.mark.parametrize("out", [".", "..", "../in/../in"])
def test_an_output_folder_around_the_photos_is_refused(tmp_path: Path, out: str) -> None:
    root = tree(tmp_path / "in", {"1.jpg": JPEG})
    with pytest.raises(UsageError, match="could replace them"):
        require_apart(root, root / out)


def test_a_missing_root_and_a_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="does not exist"):
        find_photos(tmp_path / "nothing")
    with pytest.raises(UnreadableInput, match="is a file"):
        find_photos(tree(tmp_path, {"1.jpg": JPEG}) / "1.jpg")


def test_a_photo_called_like_anothers_second_face_is_left_out(tmp_path: Path) -> None:
    found = find_photos(tree(tmp_path, {"x.jpg": JPEG, "x.jpg_1": JPEG, "y.jpg_1": JPEG}))
    assert [photo.name for photo in found.photos] == ["x.jpg", "y.jpg_1"]
    assert "rename it" in found.problems[0]


def test_names_that_are_no_text_are_kept(tmp_path: Path) -> None:
    name = os.fsdecode(b"\xff\xfe.jpg")
    tree(tmp_path, {name: JPEG})
    assert names_in(tmp_path) == [name]


def test_listed_photos_keep_their_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    text = f"a/x.jpg\n\nb/x.jpg\n{tmp_path}/c/x.jpg\n../d.jpg\na/x.jpg\n"
    found = listed_photos(split_list(text))
    inside = tmp_path.as_posix().lstrip("/")
    assert [photo.name for photo in found.photos] == [
        "a/x.jpg",
        "b/x.jpg",
        f"{inside}/c/x.jpg",
        f"{tmp_path.parent.as_posix().lstrip('/')}/d.jpg",
    ]
    assert [photo.path for photo in found.photos][-1] == "../d.jpg"
    assert found.notes == ["a/x.jpg is listed twice: left out"]
    assert list(split_list("a\nb.jpg\0c.jpg\0")) == ["a\nb.jpg", "c.jpg"]
    assert list(split_list("a\x0b\x85\u2028.jpg\r\nb.jpg")) == ["a\x0b\x85\u2028.jpg", "b.jpg"]
