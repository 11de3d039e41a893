from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat
from typer.testing import CliRunner

from face3d_cli.cli.app import app
from face3d_cli.core.face_box import FaceBox
from face3d_cli.errors import UnreadableInput
from face3d_cli.evaluation.landmarks import (
    PARTS,
    annotated_face,
    evaluate_landmarks,
    read_annotation,
    summary,
)

TRUTH = np.stack(
    [100 + 80 * np.arange(68) / 67, 50 + 45 * ((np.arange(68) * 7) % 68) / 67], axis=1
)  # in a box of 80 x 45 px at (100, 50): sqrt(w h) is 60


def write_photo(folder: Path, name: str, yaw_deg: float, grey: int = 0) -> None:
    Image.fromarray(np.full((150, 200, 3), grey, np.uint8)).save(folder / f"{name}.jpg")
    points = np.vstack([TRUTH.T, np.full(68, 7.0)])
    pose = np.array([[0.1, np.radians(yaw_deg), 0.0, 1.0, 2.0, 3.0, 0.001]])
    savemat(folder / f"{name}.mat", {"pt3d_68": points, "Pose_Para": pose})


def test_nme_by_yaw_is_balanced_and_missed_faces_are_counted_apart(tmp_path: Path) -> None:
    """The photo's grey level says how far, in pixels, its prediction is off; 99 finds nothing."""
    for name, yaw_deg, off_px in (
        ("a", 10, 3),
        ("b", -20, 6),
        ("c", -45, 12),
        ("d", 80, 30),
        ("e", 5, 99),
    ):
        write_photo(tmp_path, name, yaw_deg, off_px)

    def detect(image: np.ndarray) -> list[FaceBox]:
        return [FaceBox(110, 60, 50, 30, detector="hog")] if image[0, 0, 0] != 99 else []

    def predict(image: np.ndarray, box: FaceBox) -> np.ndarray:
        return TRUTH + np.array([0.0, float(image[0, 0, 0])])

    report = evaluate_landmarks(tmp_path, detect=detect, predict=predict)
    nme = {name: pytest.approx(value) for name, value in (("0-30", 7.5), ("30-60", 20))}
    assert report["nme_by_yaw"] == {**nme, "60-90": pytest.approx(50)}
    assert report["photos_by_yaw"] == {"0-30": 2, "30-60": 1, "60-90": 1}
    assert report["nme_balanced"] == pytest.approx((7.5 + 20 + 50) / 3)
    assert report["missed"] == pytest.approx(1 / 5)
    assert [row["photo"] for row in report["per_file"]] == [f"{name}.jpg" for name in "abcde"]
    assert [row["detector"] for row in report["per_file"]] == ["hog"] * 4 + [None]
    assert report["per_file"][4]["nme"] is None
    assert report["per_file"][1]["nme"] == pytest.approx(10)
    assert report["per_file"][1]["yaw_deg"] == pytest.approx(20)


def test_jaw_and_inner_points_are_told_apart(tmp_path: Path) -> None:
    write_photo(tmp_path, "a", 40)
    off = np.zeros((68, 2))
    off[:17, 0] = 12.0  # a fifth of the box
    report = evaluate_landmarks(
        tmp_path,
        detect=lambda image: [FaceBox(110, 60, 50, 30)],
        predict=lambda image, box: TRUTH + off,
    )
    assert report["nme_jaw_by_yaw"]["30-60"] == pytest.approx(20)
    assert report["nme_inner_by_yaw"]["30-60"] == pytest.approx(0)
    assert report["nme_by_yaw"]["30-60"] == pytest.approx(20 * 17 / 68)


def test_a_face_beside_the_annotated_one_is_no_answer(tmp_path: Path) -> None:
    write_photo(tmp_path, "a", 0)
    report = evaluate_landmarks(tmp_path, detect=lambda image: [FaceBox(0, 0, 40, 40)])
    assert report["missed"] == 1
    assert report["nme_balanced"] is None
    assert report["nme_by_yaw"] == {"0-30": None, "30-60": None, "60-90": None}


def test_of_several_faces_the_annotated_one_is_taken() -> None:
    truth = FaceBox(100, 50, 80, 45)
    nose, face, other = FaceBox(130, 65, 9, 9), FaceBox(95, 40, 80, 60), FaceBox(10, 50, 80, 45)
    assert annotated_face([nose, other, face], truth) is face
    assert annotated_face([other], truth) is None
    assert annotated_face([], truth) is None


def test_bins_hold_their_lower_edge_and_none_holds_ninety() -> None:
    rows = [
        {"photo": str(yaw), "yaw_deg": yaw, "detector": "hog", **dict.fromkeys(PARTS, 1.0)}
        for yaw in (0.0, 29.999, 30.0, 60.0, 89.0, 90.0, 351.0)
    ]
    assert summary(rows)["photos_by_yaw"] == {"0-30": 2, "30-60": 1, "60-90": 2}


def test_folders_and_annotations_that_are_none_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnreadableInput, match=r"no NAME\.jpg"):
        evaluate_landmarks(tmp_path)
    write_photo(tmp_path, "a", 0)
    (tmp_path / "a.mat").write_bytes(b"no matlab")
    with pytest.raises(UnreadableInput, match=r"a\.mat"):
        evaluate_landmarks(tmp_path)
    savemat(tmp_path / "a.mat", {"pt3d_68": np.zeros((3, 21)), "Pose_Para": np.zeros((1, 7))})
    with pytest.raises(UnreadableInput, match="68 points"):
        read_annotation(tmp_path / "a.jpg")


def test_the_command_reports_real_photos(shared: Path, tmp_path: Path) -> None:
    """Frontal photos that HOG finds: a few percent each, far better than a box's mean shape."""
    for name in ("image00002", "image00044"):
        for suffix in (".jpg", ".mat"):
            shutil.copyfile(
                shared / "data" / "aflw2000" / (name + suffix), tmp_path / (name + suffix)
            )
    done = CliRunner().invoke(app, ["evaluate", "landmarks", str(tmp_path), "--json"])
    assert done.exit_code == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["missed"] == 0
    assert 1 < report["nme_by_yaw"]["0-30"] < 6
    assert len(report["per_file"]) == 2
    table = CliRunner().invoke(app, ["evaluate", "landmarks", str(tmp_path)]).stdout
    assert "image00002.jpg" in table
    assert "balanced mean" in table


def test_any_network_can_be_measured_but_not_another_model(shared: Path, tmp_path: Path) -> None:
    for suffix in (".jpg", ".mat"):
        name = "image00002" + suffix
        shutil.copyfile(shared / "data" / "aflw2000" / name, tmp_path / name)
    command = ["evaluate", "landmarks", str(tmp_path), "--method", "prnet", "--json", "--model"]
    found = [
        CliRunner().invoke(app, [*command, f"prnet-{encoder}"])
        for encoder in ("resnet18", "mobilenetv2")
    ]
    nmes = [json.loads(done.stdout)["nme_by_yaw"]["0-30"] for done in found]
    assert nmes[0] != nmes[1]
    assert max(nmes) < 8
    other = CliRunner().invoke(app, [*command, "surrey"])
    assert other.exit_code == 2
    assert "prnet-resnet18" in other.stderr


def test_a_folder_without_annotations_is_an_unusable_input(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["evaluate", "landmarks", str(tmp_path)])
    assert done.exit_code == 3
    assert "NAME.mat" in done.stderr
