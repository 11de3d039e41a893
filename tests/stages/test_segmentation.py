from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from face3d_cli.core import segmentation_classes as classes
from face3d_cli.core.face_box import FaceBox
from face3d_cli.errors import ModelError, ShapeError
from face3d_cli.io.image import read_photo
from face3d_cli.networks.unet import UNet, load_unet, unet_bytes
from face3d_cli.settings import ClassSet, SegmentationSettings, UNetSettings
from face3d_cli.stages.segmentation import segment_photo, shipped_weights


@pytest.fixture(scope="module")
def portrait(sample_photo: Path) -> np.ndarray:
    """Head and shoulders of the sample photo; its left eye is on the right."""
    return read_photo(sample_photo)[:192, 120:312]


@pytest.fixture(scope="module")
def tiny_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network whose receptive field is small, so that tiles can be compared with the whole."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        network = UNet(UNetSettings(widths=(8, 8))).eval()
    file = tmp_path_factory.mktemp("weights") / "tiny.safetensors"
    file.write_bytes(unet_bytes(network))
    return file


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3)).astype(np.uint8)


@pytest.mark.parametrize("size", [(1, 1), (3, 500), (37, 50), (450, 450), (600, 333)])
def test_every_pixel_gets_a_label_whatever_the_size(size: tuple[int, int]) -> None:
    found = segment_photo(noise(*size))
    assert found.labels.shape == size
    assert found.labels.dtype == np.uint8
    assert found.labels.max() < len(classes.CLASS_NAMES)


def test_probabilities_sum_to_one_and_their_largest_is_the_label() -> None:
    found = segment_photo(noise(90, 120))
    chances = found.probabilities()
    assert chances.shape == (18, 90, 120)
    np.testing.assert_allclose(chances.sum(axis=0), 1.0, atol=1e-5)
    chosen = np.take_along_axis(chances, found.labels[None].astype(int), axis=0)[0]
    np.testing.assert_allclose(chosen, chances.max(axis=0), atol=1e-6)


def test_torch_and_opencv_agree_on_a_photo(portrait: np.ndarray) -> None:
    photo = cv2.resize(portrait, (352, 352), interpolation=cv2.INTER_LINEAR)
    found = segment_photo(photo)
    network = load_unet(shipped_weights())
    blob = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 127.5 - 1
    with torch.inference_mode():
        logits = network(blob)
        large = torch.nn.functional.interpolate(
            logits, size=(352, 352), mode="bilinear", align_corners=False
        )
    np.testing.assert_allclose(found.logits, logits[0].numpy(), atol=2e-2)
    labels = large[0].argmax(dim=0).numpy()
    assert (labels == found.labels).mean() > 0.9995


def test_a_portrait_has_its_parts_where_they_are(portrait: np.ndarray) -> None:
    labels = segment_photo(portrait).labels
    names = ("right_eye", "left_eye", "nose", "upper_lip", "lower_lip", "hair", "skin")
    middle = {name: np.argwhere(labels == classes.INDEX[name]).mean(axis=0) for name in names}
    # The subject's left is on the right of the picture.
    assert middle["right_eye"][1] < middle["nose"][1] < middle["left_eye"][1]
    assert middle["hair"][0] < middle["left_eye"][0] < middle["nose"][0] < middle["upper_lip"][0]
    assert middle["upper_lip"][0] < middle["lower_lip"][0]
    assert np.linalg.norm(middle["right_eye"] - (102, 84)) < 6  # row, column, read off the photo
    assert np.linalg.norm(middle["left_eye"] - (104, 127)) < 6
    assert 0.10 < classes.visible_skin_mask(labels).mean() < 0.25
    assert (labels[:30, 160:] == 0).mean() > 0.98


def test_a_small_face_is_found_again_from_close_by(portrait: np.ndarray) -> None:
    small = cv2.resize(portrait, (96, 96), interpolation=cv2.INTER_AREA)
    scene = np.full((900, 1200, 3), 190, np.uint8)
    scene[400:496, 700:796] = small
    near = segment_photo(scene, faces=[FaceBox(700 + 31, 400 + 38, 43, 43)])
    features = ("left_eye", "right_eye", "nose", "upper_lip", "inner_mouth", "lower_lip")
    found, far = (
        classes.mask_of(labels, features) for labels in (near.labels, segment_photo(scene).labels)
    )
    reference = classes.mask_of(segment_photo(portrait).labels, features)
    truth = np.zeros(scene.shape[:2], bool)
    truth[400:496, 700:796] = reference[::2, ::2]

    def overlap(mask: np.ndarray) -> float:
        return float((mask & truth).sum() / (mask | truth).sum())

    assert overlap(found) > 0.6
    assert overlap(found) > overlap(far)
    assert near.logits.shape == (18, 900, 1200)


@pytest.mark.parametrize("class_set", ["all", "fasseg"])
def test_balanced_classes_give_rare_ones_more_room(
    portrait: np.ndarray, class_set: ClassSet
) -> None:
    names, shares = classes.NAMES_OF[class_set], np.array(classes.PIXEL_SHARES[class_set])
    assert len(shares) == len(names)
    assert shares.sum() == pytest.approx(1.0, abs=0.01)
    usual = segment_photo(portrait, classes=class_set)
    balanced = segment_photo(portrait, SegmentationSettings(class_balance=0.5), classes=class_set)
    rare = shares < 0.03
    before, after = (
        np.bincount(found.labels.ravel(), minlength=len(names)) for found in (usual, balanced)
    )
    assert after[rare].sum() > 1.05 * before[rare].sum()
    assert after[~rare].sum() > 0.9 * before[~rare].sum()
    odds = usual.probabilities()[rare] / usual.probabilities()[0]
    expected = odds * ((shares[0] / shares[rare]) ** 0.5)[:, None, None]
    found = balanced.probabilities()[rare] / balanced.probabilities()[0]
    np.testing.assert_allclose(np.median(found / expected), 1.0, rtol=1e-3)


def test_tiles_say_the_same_as_the_whole(tiny_weights: Path) -> None:
    image = noise(200, 304)
    whole = segment_photo(image, SegmentationSettings(long_side_px=0), weights=tiny_weights)
    tiled = segment_photo(
        image,
        SegmentationSettings(long_side_px=0, tile_px=96, tile_overlap_px=48),
        weights=tiny_weights,
    )
    assert tiled.logits.shape == whole.logits.shape
    # Differences stay where a tile's own border reaches, and fade with its weight.
    assert np.abs(tiled.logits - whole.logits).mean() < 0.01 * np.abs(whole.logits).mean()
    assert (tiled.labels == whole.labels).mean() > 0.98


def test_no_torch_is_imported_on_the_way() -> None:
    script = (
        "import sys, numpy as np\n"
        "from face3d_cli.stages.segmentation import segment_photo\n"
        "segment_photo(np.zeros((64, 64, 3), np.uint8))\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"


def test_unusable_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="image"):
        segment_photo(np.zeros((4, 4), np.uint8))
    torn = tmp_path / "torn.safetensors"
    torn.write_bytes(b"torn")
    with pytest.raises(ModelError, match="not a U-Net weights file"):
        segment_photo(noise(8, 8), weights=torn)
    other = tmp_path / "other.safetensors"
    other.write_bytes(unet_bytes(UNet(UNetSettings(num_classes=6, widths=(4, 4)))))
    with pytest.raises(ModelError, match="6 classes, expected 18"):
        segment_photo(noise(8, 8), weights=other)


@pytest.mark.parametrize("class_set", ["all", "fasseg"])
def test_the_shipped_files_are_small(class_set: ClassSet) -> None:
    assert shipped_weights(class_set).stat().st_size <= 20e6
