"""How well photos are segmented: the FASSEG protocol, and CelebAMask-HQ merged to the same classes.

Every test pixel counts once, at the photo's own size. A class's accuracy is its recall, which is
what the FASSEG papers print; IoU and F1 also punish what is claimed wrongly.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from face3d_cli.arrays import LabelImage
from face3d_cli.core import segmentation_classes as classes
from face3d_cli.core.segmentation_classes import LabelScheme
from face3d_cli.errors import UnreadableInput
from face3d_cli.io.segmentation_data import LabelledPhoto, Split, find_labelled_photos
from face3d_cli.settings import ClassSet, SegmentationSettings
from face3d_cli.stages.segmentation import Segmentation, segment_photo

Protocol = Literal["fasseg", "celebamask"]
Confusion = npt.NDArray[np.int64]  # (K, K) pixels; rows are the truth


def confusion_matrix(truth: LabelImage, found: LabelImage, num_classes: int) -> Confusion:
    """Count pixels by true and found class; pixels whose truth is IGNORED do not count."""
    known = truth != classes.IGNORED
    pairs = truth[known].astype(np.int64) * num_classes + found[known]
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def scores(confusion: Confusion, names: Iterable[str]) -> dict[str, Any]:
    """Pixel accuracy, per-class accuracy (recall), IoU and F1, and their means; all fractions.

    A class that neither occurs nor is claimed has no score and is left out of the means.
    """
    right = np.diag(confusion).astype(float)
    true, claimed = confusion.sum(axis=1), confusion.sum(axis=0)
    per_class = {
        name: {
            "accuracy": float(right[k] / true[k]) if true[k] else None,
            "iou": float(right[k] / (true[k] + claimed[k] - right[k])),
            "f1": float(2 * right[k] / (true[k] + claimed[k])),
        }
        for k, name in enumerate(names)
        if true[k] + claimed[k] > 0
    }

    def mean(key: str) -> float:
        values = [value for row in per_class.values() if (value := row[key]) is not None]
        return sum(values) / len(values) if values else 0.0

    return {
        "pixel_accuracy": float(right.sum() / max(confusion.sum(), 1)),
        "mean_class_accuracy": mean("accuracy"),
        "mean_iou": mean("iou"),
        "mean_f1": mean("f1"),
        "per_class": per_class,
    }


@dataclass
class _Tally:
    """Confusion matrices of one evaluation: all photos, and by pose where poses are known."""

    merged: Confusion = field(default_factory=lambda: np.zeros((6, 6), np.int64))
    by_pose: dict[str, Confusion] = field(default_factory=dict)
    other_crop: list[str] = field(default_factory=list)  # photos whose labels were cut differently
    without_other_crop: Confusion = field(default_factory=lambda: np.zeros((6, 6), np.int64))
    own: Confusion | None = None  # in the data set's own classes


def evaluate_segmentation(
    folder: Path,
    protocol: Protocol,
    settings: SegmentationSettings = SegmentationSettings(),
    *,
    split: Split = "test",
    weights: Path | None = None,
    on_photo: Callable[[int, int], None] = lambda done, total: None,
) -> dict[str, Any]:
    """Segment the labelled photos of a data set and compare.

    Args:
        folder: laid out like FASSEG (`test/rgb`, `test/labels`) or CelebAMask-HQ.
        protocol: which data set the folder has to be.
        settings: how photos are segmented.
        split: official part of the data set.
        weights: another weights file than the shipped one.
        on_photo: called after every photo.

    Returns:
        The scores over FASSEG's six classes; `by_pose` for multipose01 (yaw folder to scores);
        `other_crop`, the photos whose labels were cut differently, so that they lie beside what
        they are of, and `without_other_crop`, the scores of the others, where there are such;
        `all_classes` for CelebAMask-HQ (the eighteen classes of the network).

    Raises:
        UnreadableInput: not such a folder, or a damaged file.
    """
    photos = find_labelled_photos(folder, split)
    wanted = classes.FASSEG if protocol == "fasseg" else classes.CELEBAMASK
    if photos[0].scheme is not wanted:
        raise UnreadableInput(
            f"{folder} is laid out like {photos[0].scheme.name}, not like {protocol}",
            hint=f"try --protocol {photos[0].scheme.name}",
        )
    class_set: ClassSet = "fasseg" if protocol == "fasseg" else "all"
    tally = _Tally()
    for done, photo in enumerate(photos, start=1):
        image, truth = photo.read()
        found = segment_photo(image, settings, weights=weights, classes=class_set)
        _count(tally, photo, truth, found)
        on_photo(done, len(photos))
    report: dict[str, Any] = {
        "protocol": protocol,
        "photos": len(photos),
        **scores(tally.merged, classes.FASSEG_NAMES),
    }
    if tally.by_pose:
        report["by_pose"] = {
            pose: scores(matrix, classes.FASSEG_NAMES)
            for pose, matrix in sorted(tally.by_pose.items(), key=lambda item: int(item[0]))
        }
    if tally.other_crop:
        report["other_crop"] = tally.other_crop
        report["without_other_crop"] = scores(tally.without_other_crop, classes.FASSEG_NAMES)
    if tally.own is not None:
        report["all_classes"] = scores(tally.own, classes.CLASS_NAMES)
    return report


def _count(tally: _Tally, photo: LabelledPhoto, truth: LabelImage, found: Segmentation) -> None:
    merged = found.labels
    if photo.scheme is not classes.FASSEG:
        probabilities = found.probabilities()
        merged = classes.merge_probabilities(probabilities, classes.FASSEG).argmax(axis=0)
        rich = rich_labels(truth, photo.scheme)
        if tally.own is None:
            tally.own = np.zeros((len(classes.CLASS_NAMES),) * 2, np.int64)
        tally.own += confusion_matrix(rich, found.labels, len(classes.CLASS_NAMES))
        truth = merged_labels(rich)
    matrix = confusion_matrix(truth, merged.astype(np.uint8), len(classes.FASSEG_NAMES))
    tally.merged += matrix
    if photo.is_of_one_crop():
        tally.without_other_crop += matrix
    else:
        tally.other_crop.append(photo.photo.name)
    if photo.pose:
        tally.by_pose[photo.pose] = tally.by_pose.get(photo.pose, 0) + matrix


def rich_labels(raw: LabelImage, scheme: LabelScheme) -> LabelImage:
    """The network's classes for a data set that labels one class each; IGNORED stays."""
    table = np.full(256, classes.IGNORED, np.uint8)
    for index, names in enumerate(scheme.members):
        if len(names) == 1:
            table[index] = classes.INDEX[names[0]]
    return table[raw]


def merged_labels(rich: LabelImage) -> LabelImage:
    """FASSEG's six classes; IGNORED stays."""
    merged = classes.merge_to_fasseg(np.where(rich == classes.IGNORED, 0, rich).astype(np.uint8))
    return np.where(rich == classes.IGNORED, np.uint8(classes.IGNORED), merged).astype(np.uint8)
