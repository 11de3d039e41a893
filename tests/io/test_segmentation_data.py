"""Each data set in its original layout, made small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from face3d_cli.core import segmentation_classes as classes
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.segmentation_data import find_labelled_photos


def save(path: Path, pixels: np.ndarray, mode: str | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(pixels.astype(np.uint8))
    if mode == "P":
        picture = picture.convert("P")
        picture.putpalette(np.arange(768) % 251)
    picture.save(path)


PHOTO = np.full((8, 6, 3), 120, np.uint8)


def test_fasseg_poses_persons_and_snapped_colours(tmp_path: Path) -> None:
    truth = np.arange(48).reshape(8, 6) % 6
    noisy = (classes.FASSEG_COLORS[truth].astype(int) + 20).clip(0, 255)
    for pose, name in (("+30", "personne01148+0+30"), ("-90", "personne01140+0-90")):
        save(tmp_path / "train/rgb" / pose / f"{name}.jpg", PHOTO)
        save(tmp_path / "train/labels" / pose / f"{name}.png", noisy)
    photos = find_labelled_photos(tmp_path, "train")
    assert [(p.pose, p.person) for p in photos] == [("+30", "personne01"), ("-90", "personne01")]
    image, labels = photos[0].read()
    assert image.shape == (8, 6, 3)
    assert (labels == truth).all()


def test_fasseg_test_photos_without_labels_are_left_out(tmp_path: Path) -> None:
    for name in ("1", "2", "10"):
        save(tmp_path / "test/rgb" / f"{name}.jpg", PHOTO)
    for name in ("10", "2"):
        save(tmp_path / "test/labels" / f"{name}.png", classes.FASSEG_COLORS[np.zeros((8, 6), int)])
    assert [p.photo.stem for p in find_labelled_photos(tmp_path, "test")] == ["2", "10"]


def test_fasseg_folders_of_its_earlier_versions(tmp_path: Path) -> None:
    save(tmp_path / "Train_RGB/+15/personne02147+0+15.bmp", PHOTO)
    truth = np.full((8, 6), 4)
    save(tmp_path / "Train_Labels/+15/personne02147+0+15.bmp", classes.FASSEG_COLORS[truth])
    (photo,) = find_labelled_photos(tmp_path, "train")
    assert (photo.pose, photo.person) == ("+15", "personne02")
    assert (photo.read()[1] == 4).all()


def test_frontal01_labels_belong_to_the_photos_of_frontal02(tmp_path: Path) -> None:
    save(tmp_path / "frontal02/test/rgb/1.jpg", PHOTO)
    save(tmp_path / "frontal01/test/labels/1.png", classes.FASSEG_COLORS[np.ones((8, 6), int)])
    (photo,) = find_labelled_photos(tmp_path / "frontal01", "test")
    assert photo.photo == tmp_path / "frontal02/test/rgb/1.jpg"


def test_celebamask_palette_is_read_as_indices_and_photos_are_scaled_to_labels(
    tmp_path: Path,
) -> None:
    truth = np.arange(48).reshape(8, 6) % 19
    save(tmp_path / "test/images/a.jpg", np.full((16, 12, 3), 50))
    save(tmp_path / "test/masks/a.png", truth, "P")
    (photo,) = find_labelled_photos(tmp_path, "test")
    image, labels = photo.read()
    assert (labels == truth).all()
    assert image.shape == (8, 6, 3)


def test_original_celebamask_stacks_parts_and_keeps_the_official_split(tmp_path: Path) -> None:
    for number in (0, 1):
        save(tmp_path / f"CelebA-HQ-img/{number}.jpg", PHOTO)
        anno = tmp_path / "CelebAMask-HQ-mask-anno/0"
        skin, hair = np.zeros((8, 6, 3)), np.zeros((8, 6, 3))
        skin[2:], hair[:4] = 255, 255
        save(anno / f"{number:05d}_skin.png", skin)
        save(anno / f"{number:05d}_hair.png", hair)
    (tmp_path / "CelebA-HQ-to-CelebA-mapping.txt").write_text(
        "idx orig_idx orig_file\n0 119613 119614.jpg\n1 99094 099095.jpg\n"
    )
    with pytest.raises(UnreadableInput, match=r"list_eval_partition\.txt is missing"):
        find_labelled_photos(tmp_path, "train")
    (tmp_path / "list_eval_partition.txt").write_text("119614.jpg 0\n099095.jpg 2\n")
    (photo,) = find_labelled_photos(tmp_path, "test")
    assert photo.photo.name == "1.jpg"
    _, labels = photo.read()
    assert (labels[:4] == 13).all()  # hair lies on top of skin
    assert (labels[4:] == 1).all()


def test_lapa_and_facesynthetics(tmp_path: Path) -> None:
    save(tmp_path / "lapa/train/images/x.jpg", PHOTO)
    save(tmp_path / "lapa/train/labels/x.png", np.full((8, 6), 10))
    (photo,) = find_labelled_photos(tmp_path / "lapa", "train")
    assert photo.scheme is classes.LAPA
    assert (photo.read()[1] == 10).all()
    save(tmp_path / "fs/000003.jpg", PHOTO)
    save(tmp_path / "fs/000003_seg.png", np.full((8, 6), 17))
    (photo,) = find_labelled_photos(tmp_path / "fs", "train")
    assert photo.scheme is classes.FACESYNTHETICS
    assert (photo.read()[1] == 17).all()


def test_helen_takes_the_strongest_soft_mask(tmp_path: Path) -> None:
    save(tmp_path / "images/100_1.jpg", PHOTO)
    for part in range(11):
        mask = np.zeros((8, 6))
        if part == 1:
            mask[:] = 140
        if part == 6:
            mask[:4] = 200
        if part == 10:
            mask[6:] = 100  # below one half, and weaker than skin
        save(tmp_path / f"labels/100_1/100_1_lbl{part:02d}.png", mask)
    (tmp_path / "exemplars.txt").write_text("1 , 100_1\n")
    (tmp_path / "tuning.txt").write_text("")
    (tmp_path / "testing.txt").write_text("2 , missing\n")
    (photo,) = find_labelled_photos(tmp_path, "train")
    _, labels = photo.read()
    assert (labels[:4] == 6).all()
    assert (labels[4:] == 1).all()


def test_what_is_not_a_data_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match="no labelled test photo"):
        find_labelled_photos(tmp_path, "test")


def test_a_label_beyond_the_scheme_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "test/images/a.jpg", PHOTO)
    save(tmp_path / "test/masks/a.png", np.full((8, 6), 77), "P")
    (photo,) = find_labelled_photos(tmp_path, "test")
    with pytest.raises(UnreadableInput, match=r"labels \[77\]"):
        photo.read()


def test_a_damaged_picture_is_refused(tmp_path: Path) -> None:
    save(tmp_path / "test/masks/a.png", np.zeros((8, 6)), "P")
    (tmp_path / "test/images").mkdir()
    (tmp_path / "test/images/a.jpg").write_bytes(b"not a photo")
    (photo,) = find_labelled_photos(tmp_path, "test")
    with pytest.raises(UnreadableInput, match="cannot read"):
        photo.read()


@pytest.mark.shared
def test_shared_splits_have_their_published_sizes(shared: Path) -> None:
    data = shared / "data"
    sizes = {
        (name, split): len(find_labelled_photos(data / name, split))
        for name in ("fasseg/frontal01", "fasseg/frontal02", "fasseg/multipose01", "celebamask")
        for split in ("train", "test")
    }
    assert sizes == {
        ("fasseg/frontal01", "train"): 20,
        ("fasseg/frontal01", "test"): 50,
        ("fasseg/frontal02", "train"): 20,
        ("fasseg/frontal02", "test"): 50,
        ("fasseg/multipose01", "train"): 182,
        ("fasseg/multipose01", "test"): 96,
        ("celebamask", "train"): 800,
        ("celebamask", "test"): 100,
    }
    people = {p.person for p in find_labelled_photos(data / "fasseg/multipose01", "train")}
    tested = {p.person for p in find_labelled_photos(data / "fasseg/multipose01", "test")}
    assert len(people) == 7
    assert not people & tested
