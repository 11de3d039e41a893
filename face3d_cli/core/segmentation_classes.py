"""Which classes a face is divided into, their colours, and how every data set's labels map to them.

The network knows the eighteen classes of `CLASS_NAMES`. A data set that says less supervises groups
of them: FASSEG's "skin" is any of skin, ears, neck and glasses. Left and right are the subject's.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import FloatArray, LabelImage, Mask, RgbImage
from face3d_cli.settings import ClassSet

CLASS_NAMES: tuple[str, ...] = (
    "background",
    "skin",
    "left_brow",
    "right_brow",
    "left_eye",
    "right_eye",
    "glasses",
    "left_ear",
    "right_ear",
    "nose",
    "upper_lip",
    "inner_mouth",
    "lower_lip",
    "neck",
    "hair",
    "hat",
    "clothes",
    "jewellery",
)
INDEX = {name: index for index, name in enumerate(CLASS_NAMES)}

CLASS_COLORS: RgbImage = np.array(
    [
        (0, 0, 0),
        (233, 190, 150),
        (120, 80, 200),
        (170, 120, 240),
        (40, 90, 230),
        (60, 170, 250),
        (250, 120, 20),
        (240, 130, 160),
        (200, 90, 130),
        (60, 200, 190),
        (220, 40, 60),
        (120, 0, 30),
        (250, 100, 110),
        (200, 150, 100),
        (110, 60, 30),
        (150, 190, 40),
        (80, 120, 90),
        (250, 230, 60),
    ],
    dtype=np.uint8,
)

MIRRORED = {
    f"{side}_{part}": f"{other}_{part}"
    for part in ("brow", "eye", "ear")
    for side, other in (("left", "right"), ("right", "left"))
}

FACE_SKIN = ("skin", "nose")  # bare surface of the face: what a texture may be taken from
FACE_FEATURES = ("left_brow", "right_brow", "left_eye", "right_eye", "upper_lip", "lower_lip")
OCCLUDERS = ("glasses", "hair", "hat", "clothes")

# FASSEG labels look through glasses and count ears, neck and beard as skin, brows as hair and
# clothes as background (read off its photos).
FASSEG_NAMES: tuple[str, ...] = ("background", "skin", "hair", "eyes", "nose", "mouth")
NAMES_OF: dict[ClassSet, tuple[str, ...]] = {"all": CLASS_NAMES, "fasseg": FASSEG_NAMES}
# How much of the photos each class covers, left and right alike: of CelebAMask-HQ's training part
# (every third photo), and of those of FASSEG's frontal02 and multipose01.
# fmt: off
PIXEL_SHARES: dict[ClassSet, tuple[float, ...]] = {
    "all": (
        0.280, 0.251, 0.0041, 0.0041, 0.0022, 0.0022, 0.0021, 0.0043, 0.0043,
        0.0207, 0.0041, 0.0028, 0.0067, 0.0419, 0.314, 0.0159, 0.0363, 0.0025,
    ),
    "fasseg": (0.196, 0.420, 0.345, 0.0078, 0.0217, 0.0098),
}
# fmt: on
FASSEG_COLORS: RgbImage = np.array(
    [(255, 0, 0), (255, 255, 0), (127, 0, 0), (0, 0, 255), (0, 255, 255), (0, 255, 0)],
    dtype=np.uint8,
)
FASSEG_MEMBERS: dict[str, tuple[str, ...]] = {
    "background": ("background", "hat", "clothes", "jewellery"),
    "skin": ("skin", "left_ear", "right_ear", "neck", "glasses"),
    "hair": ("hair", "left_brow", "right_brow"),
    "eyes": ("left_eye", "right_eye"),
    "nose": ("nose",),
    "mouth": ("upper_lip", "inner_mouth", "lower_lip"),
}

IGNORED = 255


@dataclass(frozen=True)
class LabelScheme:
    """What the raw labels of one data set mean.

    Attributes:
        name: data set.
        members: for each raw label, the classes it may be; an empty tuple is ignored.
    """

    name: str
    members: tuple[tuple[str, ...], ...]

    def membership(self) -> npt.NDArray[np.bool_]:
        """(raw labels, classes): True where a raw label may be that class."""
        table = np.zeros((len(self.members), len(CLASS_NAMES)), bool)
        for row, names in zip(table, self.members, strict=True):
            row[[INDEX[name] for name in names]] = True
        return table

    def mirror(self) -> npt.NDArray[np.uint8]:
        """Raw label after a left-right flip of the photo, for every raw label; (256,)."""
        swapped = np.arange(256, dtype=np.uint8)
        for raw, names in enumerate(self.members):
            mirrored = tuple(sorted(MIRRORED.get(name, name) for name in names))
            twins = [i for i, other in enumerate(self.members) if tuple(sorted(other)) == mirrored]
            if raw not in twins and twins:
                swapped[raw] = twins[0]
        return swapped


def _each(*names: str) -> tuple[tuple[str, ...], ...]:
    return tuple((name,) for name in names)


RICH = LabelScheme("rich", _each(*CLASS_NAMES))
FASSEG = LabelScheme("fasseg", tuple(FASSEG_MEMBERS[name] for name in FASSEG_NAMES))
CELEBAMASK = LabelScheme(
    "celebamask",
    _each(
        "background",
        "skin",
        "nose",
        "glasses",
        "left_eye",
        "right_eye",
        "left_brow",
        "right_brow",
        "left_ear",
        "right_ear",
        "inner_mouth",
        "upper_lip",
        "lower_lip",
        "hair",
        "hat",
        "jewellery",
        "jewellery",
        "neck",
        "clothes",
    ),
)
# Its "left" and "right" are those of the picture; a beard is skin, as in the other data sets.
FACESYNTHETICS = LabelScheme(
    "facesynthetics",
    (
        *_each("background", "skin", "nose", "left_eye", "right_eye", "left_brow", "right_brow"),
        *_each("left_ear", "right_ear", "inner_mouth", "upper_lip", "lower_lip", "neck", "hair"),
        *_each("skin", "clothes", "glasses", "hat"),
        (),  # facewear: masks and the like
    ),
)
_ELSEWHERE = ("background", "hat", "clothes", "neck", "left_ear", "right_ear", "jewellery")
_BROWS, _EYES = ("left_brow", "right_brow"), ("left_eye", "right_eye", "glasses")
# HELEN and LaPa do not label ears, neck, hats and clothes apart; their sides are not relied on.
LAPA = LabelScheme(
    "lapa",
    (
        _ELSEWHERE,
        ("skin", "glasses"),
        _BROWS,
        _BROWS,
        _EYES,
        _EYES,
        ("nose",),
        ("upper_lip",),
        ("inner_mouth",),
        ("lower_lip",),
        ("hair",),
    ),
)
HELEN = LabelScheme("helen", LAPA.members)  # the same eleven classes in the same order
SCHEMES = {s.name: s for s in (RICH, FASSEG, CELEBAMASK, FACESYNTHETICS, LAPA, HELEN)}


def snap_to_fasseg(picture: RgbImage) -> LabelImage:
    """Index into FASSEG_NAMES of the nearest of FASSEG's six colours; its files carry noise."""
    # Same as the smallest squared distance, without a (H, W, 6, 3) array.
    flat = picture.reshape(-1, 3).astype(np.float32)
    colors = FASSEG_COLORS.astype(np.float32)
    scores = flat @ colors.T - 0.5 * (colors**2).sum(axis=1)
    nearest: LabelImage = scores.argmax(axis=1).astype(np.uint8).reshape(picture.shape[:2])
    return nearest


def merge_to_fasseg(labels: LabelImage) -> LabelImage:
    """FASSEG's six classes of a label image of the eighteen."""
    table = np.zeros(len(CLASS_NAMES), np.uint8)
    for index, name in enumerate(FASSEG_NAMES):
        table[[INDEX[member] for member in FASSEG_MEMBERS[name]]] = index
    merged: LabelImage = table[labels]
    return merged


def merge_probabilities(probabilities: FloatArray, scheme: LabelScheme) -> FloatArray:
    """Sum class probabilities (18, H, W) over the members of each raw label: (raw labels, H, W).

    The largest sum can differ from merging the largest class: three mouth classes at 0.2 each
    outweigh skin at 0.4.
    """
    merged: FloatArray = np.tensordot(
        scheme.membership().astype(probabilities.dtype), probabilities, axes=1
    )
    return merged


def mask_of(labels: LabelImage, names: tuple[str, ...]) -> Mask:
    """True where the label is one of the classes named."""
    wanted = np.zeros(256, bool)
    wanted[[INDEX[name] for name in names]] = True
    mask: Mask = wanted[labels]
    return mask


def visible_skin_mask(labels: LabelImage) -> Mask:
    """True on the bare face with its brows, eyes and lips: what a face texture may be taken from.

    Hair, glasses, hats, clothes, background, and the open mouth are left out.
    """
    return mask_of(labels, FACE_SKIN + FACE_FEATURES)


def class_areas(labels: LabelImage, names: Sequence[str] = CLASS_NAMES) -> dict[str, float]:
    """Share of the picture that each class covers, fractions that sum to 1."""
    counts = np.bincount(labels.ravel(), minlength=len(names))
    shares: npt.NDArray[Any] = counts / max(labels.size, 1)
    return {name: float(share) for name, share in zip(names, shares, strict=True)}


def occlusion_shares(labels: LabelImage, face: Mask) -> dict[str, float]:
    """What covers a face: shares of the pixels of `face`, such as the projected mesh.

    Returns:
        `visible_skin` and one share per occluder that occurs; 0 everywhere for an empty mask.
    """
    inside = labels[face]
    total = max(inside.size, 1)
    shares = {"visible_skin": float(visible_skin_mask(inside).sum() / total)}
    for name in (*OCCLUDERS, "background"):
        shares[name] = float((inside == INDEX[name]).sum() / total)
    return shares
