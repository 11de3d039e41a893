from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from face3d_cli.core import segmentation_classes as classes
from face3d_cli.errors import UnreadableInput
from face3d_cli.evaluation import segmentation
from face3d_cli.evaluation.segmentation import (
    confusion_matrix,
    evaluate_segmentation,
    merged_labels,
    rich_labels,
    scores,
)
from face3d_cli.stages.segmentation import Segmentation


def test_scores_of_a_matrix_worked_by_hand() -> None:
    truth = np.array([[0, 0, 0, 1], [1, 1, 2, 255]], np.uint8)
    found = np.array([[0, 0, 1, 1], [1, 0, 0, 2]], np.uint8)
    matrix = confusion_matrix(truth, found, 3)
    assert matrix.tolist() == [[2, 1, 0], [1, 2, 0], [1, 0, 0]]
    report = scores(matrix, ["a", "b", "c"])
    assert report["pixel_accuracy"] == pytest.approx(4 / 7)
    assert report["mean_class_accuracy"] == pytest.approx((2 / 3 + 2 / 3 + 0) / 3)
    assert report["mean_iou"] == pytest.approx((2 / 5 + 2 / 4 + 0) / 3)
    assert report["mean_f1"] == pytest.approx((4 / 7 + 4 / 6 + 0) / 3)
    assert report["per_class"]["a"] == pytest.approx({"accuracy": 2 / 3, "iou": 2 / 5, "f1": 4 / 7})


def test_a_class_that_is_only_claimed_lowers_iou_but_has_no_accuracy() -> None:
    report = scores(np.array([[3, 1, 0], [0, 0, 0], [0, 0, 0]]), ["a", "b", "c"])
    assert report["per_class"]["b"] == {"accuracy": None, "iou": 0.0, "f1": 0.0}
    assert "c" not in report["per_class"]
    assert report["mean_class_accuracy"] == pytest.approx(3 / 4)
    assert report["mean_iou"] == pytest.approx((3 / 4 + 0) / 2)


def test_celebamask_labels_become_rich_and_merged_classes() -> None:
    raw = np.array([[0, 3, 6, 12, 18, 255]], np.uint8)
    rich = rich_labels(raw, classes.CELEBAMASK)
    names = [classes.CLASS_NAMES[i] for i in rich[0, :5]]
    assert names == ["background", "glasses", "left_brow", "lower_lip", "clothes"]
    merged = merged_labels(rich)
    names = [classes.FASSEG_NAMES[i] for i in merged[0, :5]]
    assert names == ["background", "skin", "hair", "mouth", "background"]
    assert rich[0, 5] == merged[0, 5] == classes.IGNORED


@pytest.fixture
def oracle(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network that reads the class off the photo's red channel."""

    def segment(image: np.ndarray, *args: object, **kwargs: object) -> Segmentation:
        assert kwargs["classes"] == "fasseg"
        labels = (image[..., 0] // 10).astype(np.uint8)
        logits = 50.0 * (labels[None] == np.arange(6)[:, None, None]).astype(np.float32)
        return Segmentation(labels, logits)

    monkeypatch.setattr(segmentation, "segment_photo", segment)


def write_pair(folder: Path, pose: str, truth: np.ndarray, found: np.ndarray) -> None:
    for kind, picture in (
        ("rgb", (found * 10)[..., None].repeat(3, axis=2).astype(np.uint8)),
        ("labels", classes.FASSEG_COLORS[truth]),
    ):
        place = folder / "test" / kind / pose
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(place / "personne08146+0+0.png")


@pytest.mark.usefixtures("oracle")
def test_fasseg_is_counted_over_all_pixels_and_by_pose(tmp_path: Path) -> None:
    skin, eye = classes.FASSEG_NAMES.index("skin"), classes.FASSEG_NAMES.index("eyes")
    perfect = np.full((4, 5), skin)
    write_pair(tmp_path, "0", perfect, np.full((4, 5), skin))
    half = np.full((4, 5), skin)
    half[:2] = eye
    write_pair(tmp_path, "+30", perfect, half)
    seen: list[tuple[int, int]] = []
    report = evaluate_segmentation(tmp_path, "fasseg", on_photo=lambda *done: seen.append(done))
    assert seen == [(1, 2), (2, 2)]
    assert report["photos"] == 2
    assert report["pixel_accuracy"] == pytest.approx(0.75)
    assert report["per_class"]["skin"]["accuracy"] == pytest.approx(0.75)
    assert report["per_class"]["eyes"]["iou"] == 0.0
    assert list(report["by_pose"]) == ["0", "+30"]
    assert report["by_pose"]["0"]["mean_iou"] == 1.0


@pytest.mark.usefixtures("oracle")
def test_labels_of_another_crop_count_and_are_told_apart(tmp_path: Path) -> None:
    skin, eye = classes.FASSEG_NAMES.index("skin"), classes.FASSEG_NAMES.index("eyes")
    write_pair(tmp_path, "0", np.full((40, 50), skin), np.full((40, 50), skin))
    write_pair(tmp_path, "+30", np.full((40, 44), skin), np.full((40, 50), eye))
    write_pair(tmp_path, "+60", np.full((40, 50), skin), np.full((81, 101), skin))  # only larger
    report = evaluate_segmentation(tmp_path, "fasseg")
    assert report["other_crop"] == ["personne08146+0+0.png"]
    assert report["without_other_crop"]["pixel_accuracy"] == 1.0
    assert report["pixel_accuracy"] == pytest.approx(4000 / 5760)


@pytest.mark.usefixtures("oracle")
def test_the_wrong_protocol_is_refused(tmp_path: Path) -> None:
    write_pair(tmp_path, "0", np.zeros((4, 5), int), np.zeros((4, 5), int))
    with pytest.raises(UnreadableInput, match="laid out like fasseg"):
        evaluate_segmentation(tmp_path, "celebamask")
