from __future__ import annotations

import numpy as np
import pytest

from face3d_cli.core import segmentation_classes as classes


@pytest.mark.parametrize("scheme", classes.SCHEMES.values(), ids=lambda scheme: scheme.name)
def test_every_scheme_names_known_classes_and_mirrors_back(scheme: classes.LabelScheme) -> None:
    table = scheme.membership()
    assert table.shape == (len(scheme.members), len(classes.CLASS_NAMES))
    mirror = scheme.mirror()
    assert (mirror[mirror] == np.arange(256)).all()  # two flips are none
    assert mirror[255] == 255


def test_celebamask_order_is_the_published_one() -> None:
    names = [members[0] for members in classes.CELEBAMASK.members]
    assert names[1:6] == ["skin", "nose", "glasses", "left_eye", "right_eye"]
    assert names[10:14] == ["inner_mouth", "upper_lip", "lower_lip", "hair"]
    assert names[17:] == ["neck", "clothes"]
    assert classes.CELEBAMASK.mirror()[[4, 5, 6, 7, 8, 9, 13]].tolist() == [5, 4, 7, 6, 9, 8, 13]


def test_fasseg_merge_covers_every_class_once() -> None:
    merged = [name for members in classes.FASSEG_MEMBERS.values() for name in members]
    assert sorted(merged) == sorted(classes.CLASS_NAMES)


def test_noisy_colours_snap_to_the_nearest_of_six() -> None:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 6, (40, 30)).astype(np.uint8)
    noise = rng.integers(-50, 51, (40, 30, 3))
    picture = (classes.FASSEG_COLORS[truth].astype(int) + noise).clip(0, 255).astype(np.uint8)
    distance = ((picture[:, :, None].astype(int) - classes.FASSEG_COLORS.astype(int)) ** 2).sum(-1)
    assert (classes.snap_to_fasseg(picture) == distance.argmin(axis=-1)).all()
    assert (classes.snap_to_fasseg(classes.FASSEG_COLORS[truth]) == truth).all()


def test_merged_probabilities_can_outvote_the_largest_class() -> None:
    chances = np.zeros((len(classes.CLASS_NAMES), 1, 1), np.float32)
    for name, chance in (("skin", 0.4), ("upper_lip", 0.2), ("inner_mouth", 0.2)):
        chances[classes.INDEX[name]] = chance
    chances[classes.INDEX["lower_lip"]] = 0.2
    merged = classes.merge_probabilities(chances, classes.FASSEG)
    assert merged.shape == (6, 1, 1)
    assert classes.FASSEG_NAMES[int(merged.argmax())] == "mouth"
    assert merged.sum() == pytest.approx(1.0)
    largest = chances.argmax(axis=0).astype(np.uint8)
    assert classes.FASSEG_NAMES[int(classes.merge_to_fasseg(largest)[0, 0])] == "skin"


def test_visible_skin_leaves_out_what_lies_on_the_face() -> None:
    labels = np.arange(len(classes.CLASS_NAMES), dtype=np.uint8)[None]
    seen = {
        name
        for name, flag in zip(
            classes.CLASS_NAMES, classes.visible_skin_mask(labels)[0], strict=True
        )
        if flag
    }
    assert {"skin", "nose", "left_eye", "lower_lip"} <= seen
    assert not seen & {"hair", "glasses", "hat", "background", "clothes", "inner_mouth", "neck"}


def test_areas_and_occlusion_are_shares() -> None:
    labels = np.zeros((10, 10), np.uint8)
    labels[:, 5:] = classes.INDEX["skin"]
    labels[:2, 5:] = classes.INDEX["hair"]
    areas = classes.class_areas(labels)
    assert areas["background"] == 0.5
    assert areas["hair"] == pytest.approx(0.1)
    assert sum(areas.values()) == pytest.approx(1.0)
    face = np.zeros((10, 10), bool)
    face[:, 4:] = True
    shares = classes.occlusion_shares(labels, face)
    assert shares["visible_skin"] == pytest.approx(40 / 60)
    assert shares["hair"] == pytest.approx(10 / 60)
    assert shares["background"] == pytest.approx(10 / 60)
    assert classes.occlusion_shares(labels, np.zeros((10, 10), bool))["visible_skin"] == 0.0
