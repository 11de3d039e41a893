"""Where the labelled photos of each segmentation data set lie, and how their labels are read.

Original layouts are taken as they are distributed:

- FASSEG: `train/rgb`, `train/labels` with colours, in folders by pose for multipose01; its earlier
  versions `Train_RGB`, `Train_Labels`;
- CelebAMask-HQ: `CelebA-HQ-img` and one mask per part in `CelebAMask-HQ-mask-anno`, or the
  prepared `train/images` and `train/masks` with index pictures;
- LaPa: `train/images`, `train/labels`;
- HELEN (Smith et al. 2013): `images`, `labels/NAME/NAME_lblNN.png`, and the lists `exemplars.txt`,
  `tuning.txt`, `testing.txt`;
- FaceSynthetics: `000000.jpg` (or `.png`) beside `000000_seg.png`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from PIL import Image, UnidentifiedImageError

from face3d_cli.arrays import LabelImage, RgbImage
from face3d_cli.core import segmentation_classes as classes
from face3d_cli.core.segmentation_classes import LabelScheme
from face3d_cli.errors import UnreadableInput

Split = Literal["train", "test"]
_PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")
_CELEBA_PARTS = (  # raw label = position + 1; later parts lie on top
    *("skin", "nose", "eye_g", "l_eye", "r_eye", "l_brow", "r_brow", "l_ear", "r_ear"),
    *("mouth", "u_lip", "l_lip", "hair", "hat", "ear_r", "neck_l", "neck", "cloth"),
)


@dataclass(frozen=True)
class LabelledPhoto:
    """One photo of a data set with where its labels are.

    Attributes:
        photo: picture file.
        label_files: one index or colour picture, or one mask per raw label from 1 on.
        scheme: what the raw labels mean.
        person: photos of one person share it, so that a held-out part shares nobody.
        pose: folder of the pose for multipose01, else "".
    """

    photo: Path
    label_files: tuple[Path | None, ...]
    scheme: LabelScheme
    person: str
    pose: str = ""

    def read(self) -> tuple[RgbImage, LabelImage]:
        """The photo, and its raw labels, at the size of the labels.

        Raises:
            UnreadableInput: a file is missing, damaged, or has labels that the scheme lacks.
        """
        labels = self._read_labels()
        image = _open(self.photo, "RGB")
        if image.shape[:2] != labels.shape:
            image = np.asarray(
                cv2.resize(image, labels.shape[::-1], interpolation=cv2.INTER_AREA), np.uint8
            )
        return image, labels

    def is_of_one_crop(self) -> bool:
        """Whether photo and labels have the same proportions, to a pixel of the smaller one.

        Where they have not, one of them was cut differently, and the labels lie beside what they
        are of. FASSEG's multipose01 has four such pairs in its test part.

        Raises:
            UnreadableInput: a file is missing or damaged.
        """
        label_file = next(file for file in self.label_files if file is not None)
        sizes = []
        for path in (self.photo, label_file):
            with _opened(path) as picture:
                sizes.append(np.array(picture.size))
        small, large = sorted(sizes, key=lambda size: int(size.prod()))
        return bool(np.abs(large * (small / large).mean() - small).max() <= 1.0)

    def _read_labels(self) -> LabelImage:
        if self.scheme is classes.FASSEG:
            return classes.snap_to_fasseg(_open(self._single_file(), "RGB"))
        if len(self.label_files) > 1:
            return self._stacked_masks()
        labels = _open(self._single_file(), None)
        if labels.ndim != 2:
            raise UnreadableInput(
                f"{self._single_file()}: expected an index picture, found {labels.shape}",
                hint="colour labels are read for FASSEG only",
            )
        strange = np.setdiff1d(np.unique(labels), [*range(len(self.scheme.members)), 255])
        if strange.size:
            raise UnreadableInput(
                f"{self._single_file()}: labels {strange.tolist()} are not of {self.scheme.name}",
                hint="check which data set the folder holds",
            )
        return labels

    def _single_file(self) -> Path:
        file = self.label_files[0]
        if file is None:
            raise UnreadableInput(f"no labels for {self.photo}")
        return file

    def _stacked_masks(self) -> LabelImage:
        """Strongest part of each pixel (HELEN's are soft); background where none reaches half."""
        best: np.ndarray | None = None
        labels: np.ndarray | None = None
        for raw, file in enumerate(self.label_files, start=1):
            if file is None:
                continue
            mask = _open(file, "L")
            if best is None or labels is None:
                best, labels = np.full(mask.shape, 127, np.uint8), np.zeros(mask.shape, np.uint8)
            wins = mask >= np.maximum(best, 128)
            best[wins], labels[wins] = mask[wins], raw
        if labels is None:
            raise UnreadableInput(f"no label mask for {self.photo}")
        return labels


def find_labelled_photos(folder: Path, split: Split) -> list[LabelledPhoto]:
    """List the labelled photos of a data set folder, recognised by its layout, in a fixed order.

    Raises:
        UnreadableInput: the layout is none of those known, or the split holds no labelled photo.
    """
    for is_here, listing in (
        (folder / split / "masks", _indexed_celebamask),
        (folder / split / "images", _lapa),
        (folder / split / "labels", _fasseg),
        (folder / f"{split.title()}_Labels", _fasseg),
        (folder / "CelebAMask-HQ-mask-anno", _original_celebamask),
        (folder / "exemplars.txt", _helen),
    ):
        if is_here.exists():
            found = list(listing(folder, split))
            break
    else:
        found = list(_facesynthetics(folder, split))
    if not found:
        raise UnreadableInput(
            f"no labelled {split} photo in {folder}",
            hint="expected the layout of FASSEG, CelebAMask-HQ, LaPa, HELEN or FaceSynthetics",
        )
    return found


def _fasseg(folder: Path, split: Split) -> Iterator[LabelledPhoto]:
    rgb, labels = folder / split / "rgb", folder / split / "labels"
    if not labels.exists():
        rgb, labels = (folder / f"{split.title()}_{kind}" for kind in ("RGB", "Labels"))
    if not rgb.exists():  # frontal01 labels the photos of frontal02
        rgb = folder.parent / "frontal02" / split / "rgb"
    pictures = (path for path in labels.rglob("*") if path.suffix.lower() in _PHOTO_SUFFIXES)
    for label in sorted(pictures, key=_natural):
        photo = _photo_of((rgb / label.relative_to(labels)).with_suffix(""))
        if photo is None:
            raise UnreadableInput(f"{label} has no photo in {rgb}")
        pose = label.parent.name if label.parent != labels else ""
        person = re.match(r"personne\d\d", label.stem)
        yield LabelledPhoto(
            photo, (label,), classes.FASSEG, person[0] if person else label.stem, pose
        )


def _indexed_celebamask(folder: Path, split: Split) -> Iterator[LabelledPhoto]:
    for mask in sorted((folder / split / "masks").glob("*.png")):
        photo = _photo_of(folder / split / "images" / mask.stem)
        if photo is None:
            raise UnreadableInput(f"{mask} has no photo in {folder / split / 'images'}")
        yield LabelledPhoto(photo, (mask,), classes.CELEBAMASK, mask.stem)


def _original_celebamask(folder: Path, split: Split) -> Iterator[LabelledPhoto]:
    """Official split: CelebA's own partition, through the mapping that comes with the masks."""
    mapping, partition = (
        folder / name for name in ("CelebA-HQ-to-CelebA-mapping.txt", "list_eval_partition.txt")
    )
    for needed in (mapping, partition):
        if not needed.exists():
            raise UnreadableInput(
                f"{needed} is missing, which tells train photos from test photos",
                hint="CelebA distributes list_eval_partition.txt; put it in the folder",
            )
    part_of = dict(line.split() for line in partition.read_text().splitlines() if line.strip())
    wanted = "2" if split == "test" else "0"
    masks: dict[int, dict[str, Path]] = {}
    for file in (folder / "CelebAMask-HQ-mask-anno").rglob("*.png"):
        number, _, part = file.stem.partition("_")
        masks.setdefault(int(number), {})[part] = file
    for line in mapping.read_text().splitlines()[1:]:
        fields = line.split()  # number, number in CelebA, file in CelebA
        index = int(fields[0]) if fields else -1
        if index in masks and part_of.get(fields[2]) == wanted:
            photo = _photo_of(folder / "CelebA-HQ-img" / str(index))
            if photo is not None:
                files = tuple(masks[index].get(part) for part in _CELEBA_PARTS)
                yield LabelledPhoto(photo, files, classes.CELEBAMASK, str(index))


def _lapa(folder: Path, split: Split) -> Iterator[LabelledPhoto]:
    for label in sorted((folder / split / "labels").glob("*.png")):
        photo = _photo_of(folder / split / "images" / label.stem)
        if photo is not None:
            yield LabelledPhoto(photo, (label,), classes.LAPA, label.stem)


def _helen(folder: Path, split: Split) -> Iterator[LabelledPhoto]:
    lists = ["testing.txt"] if split == "test" else ["exemplars.txt", "tuning.txt"]
    for line in "\n".join((folder / name).read_text() for name in lists).splitlines():
        name = line.rpartition(",")[2].strip()
        photo = _photo_of(folder / "images" / name) if name else None
        if photo is not None:
            files = (
                folder / "labels" / name / f"{name}_lbl{part:02d}.png" for part in range(1, 11)
            )
            yield LabelledPhoto(photo, tuple(files), classes.HELEN, name)


def _facesynthetics(folder: Path, split: Split) -> Iterator[LabelledPhoto]:
    """No official split: everything is for training."""
    for label in sorted(folder.glob("*_seg.png")) if split == "train" else ():
        stem = label.stem.removesuffix("_seg")
        photo = _photo_of(folder / stem)
        if photo is not None:
            yield LabelledPhoto(photo, (label,), classes.FACESYNTHETICS, stem)


def _photo_of(stem: Path) -> Path | None:
    candidates = (stem.with_name(stem.name + suffix) for suffix in _PHOTO_SUFFIXES)
    return next((path for path in candidates if path.exists()), None)


def _natural(path: Path) -> tuple[str, int, str]:
    return path.parent.name, int(path.stem) if path.stem.isdigit() else 0, path.stem


def _open(path: Path, mode: str | None) -> np.ndarray:
    """Pixels of a picture; `mode` None keeps palette indices, which OpenCV would lose."""
    with _opened(path) as picture:
        return np.array(picture.convert(mode) if mode else picture, np.uint8)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as picture:
            yield picture
    except (OSError, UnidentifiedImageError, SyntaxError) as problem:
        raise UnreadableInput(f"cannot read {path}: {problem}") from problem
