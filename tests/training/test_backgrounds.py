"""What stands behind and in front of training faces."""

from __future__ import annotations

import numpy as np

from face3d_cli.settings import SynthSettings
from face3d_cli.training.augment import clutter, occlude
from face3d_cli.training.synth.backgrounds import Backgrounds, surroundings_of_faces
from face3d_cli.training.synth.sample import SAMPLE_PX

RED, GREEN = (255, 0, 0), (0, 255, 0)
SOURCE = np.full((240, 240, 3), (0, 0, 255), np.uint8)


def _plain(color: tuple[int, int, int]) -> np.ndarray:
    return np.full((50, 80, 3), color, np.uint8)


def test_surroundings_leave_the_face_out() -> None:
    photo = np.full((200, 400, 3), GREEN, np.uint8)
    photo[60:150, 150:230] = RED
    points = np.array([[150.0, 60.0, 0.0], [229.0, 149.0, 0.0]])
    settings = SynthSettings(surroundings_from_px=45, surroundings_px=60)
    found = surroundings_of_faces([(photo, points)], settings)
    # Beside it and above it; below there are only 42 px.
    assert [strip.shape[:2] for strip in found] == [(85, 60), (73, 60), (51, 400)]
    assert all((strip == GREEN).all() for strip in found)


def test_clutter_is_made_of_parts_of_the_pictures() -> None:
    pictures = [_plain(RED), _plain(GREEN)]
    drawn = [clutter(pictures, 64, np.random.default_rng(seed)) for seed in range(12)]
    assert all(each.shape == (64, 64, 3) for each in drawn)
    assert all(each[..., 2].max() == 0 for each in drawn)
    assert any(
        (each == RED).all(axis=2).any() and (each == GREEN).all(axis=2).any() for each in drawn
    )
    assert (clutter(pictures, 64, np.random.default_rng(3)) == drawn[3]).all()


def test_what_is_behind_a_head_comes_from_where_it_was_asked() -> None:
    rng = np.random.default_rng(0)
    behind = Backgrounds([_plain(RED)], [_plain(GREEN)])
    clutter_only = SynthSettings(clutter_share=1.0, filler_share=0.0)
    filler_only = SynthSettings(clutter_share=0.0, filler_share=1.0)
    own_rim = SynthSettings(clutter_share=0.0, filler_share=0.0)
    assert (behind.behind_head(SOURCE, rng, clutter_only) == GREEN).all()
    drawn = [behind.behind_head(SOURCE, rng, filler_only) for _ in range(8)]
    assert any((each == RED).all() for each in drawn)
    assert not any((each == GREEN).all() for each in drawn)
    rim = behind.behind_head(SOURCE, rng, own_rim)
    assert rim.shape == (SAMPLE_PX, SAMPLE_PX, 3)
    assert np.abs(rim.astype(int) - SOURCE[0, 0]).max() <= 1


def test_without_surroundings_fillers_take_their_place() -> None:
    clutter_only = SynthSettings(clutter_share=1.0, filler_share=0.0)
    drawn = Backgrounds().behind_head(SOURCE, np.random.default_rng(0), clutter_only)
    assert drawn.shape == (SAMPLE_PX, SAMPLE_PX, 3)
    assert (drawn != SOURCE[:SAMPLE_PX, :SAMPLE_PX]).any()


def test_an_occluder_shows_its_texture_and_hides_the_labels() -> None:
    image, texture = np.zeros((64, 64, 3), np.uint8), np.full((64, 64, 3), GREEN, np.uint8)
    labels = np.full((32, 32), 5, np.uint8)
    for seed in range(6):
        seen, hidden = occlude(image, labels, 0, 2, texture, np.random.default_rng(seed))
        in_front = seen[1::2, 1::2, 1] > 127
        assert in_front.any()
        assert (hidden[in_front] == 0).all()
        assert (hidden[~in_front] == 5).all()
