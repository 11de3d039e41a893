"""The published PRNet's checkpoint: names, layouts, and what the imported network answers."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from face3d_cli.errors import ModelError
from face3d_cli.networks.prnet import PositionMapNet
from face3d_cli.networks.prnet_published import SCOPE, read_published, variable_names
from face3d_cli.networks.tf_checkpoint import TensorBundle
from face3d_cli.settings import PositionMapNetSettings
from tests.helpers.tensor_bundle import write_bundle

PUBLISHED = PositionMapNetSettings(encoder="resfcn", decoder="published", input_px=256)
OWN_TABLES = ("mean_map", "canonical_cm", "valid")


def turned(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (shape[2], shape[3], shape[1], shape[0]) if len(shape) == 4 else shape


def parameter_shapes() -> dict[str, tuple[int, ...]]:
    state = PositionMapNet(PUBLISHED).state_dict()
    return {
        name: tuple(value.shape)
        for name, value in state.items()
        if not name.endswith("num_batches_tracked") and name not in OWN_TABLES
    }


def test_every_weight_of_the_network_has_one_variable() -> None:
    names = variable_names()
    assert sorted(names.values()) == sorted(parameter_shapes())
    assert len(names) == 245


def test_the_published_index_lists_just_these_variables_in_our_shapes(shared: Path) -> None:
    prefix = shared / "models" / "prnet-resfcn256" / "256_256_resfcn256_weight"
    if not prefix.with_name(prefix.name + ".index").is_file():
        pytest.skip("the published index is not here")
    entries = TensorBundle.open(prefix).entries
    shapes = parameter_shapes()
    for theirs, ours in variable_names().items():
        assert turned(shapes[ours]) == entries[f"{SCOPE}/{theirs}"].shape, theirs
    others = {n for n in entries if not n.endswith(("Adam", "Adam_1")) and "power" not in n}
    assert others == {f"{SCOPE}/{theirs}" for theirs in variable_names()}


@pytest.fixture
def tensors() -> dict[str, np.ndarray]:
    """A whole checkpoint, small numbers of the right shapes."""
    rng = np.random.default_rng(3)
    shapes = parameter_shapes()
    found: dict[str, np.ndarray] = {
        f"{SCOPE}/{theirs}": rng.normal(0, 0.01, turned(shapes[ours])).astype(np.float32)
        for theirs, ours in variable_names().items()
    }
    found[f"{SCOPE}/Conv/weights/Adam"] = np.zeros((4, 4, 3, 16), np.float32)
    found["beta1_power"] = np.float32(0.9).reshape(())
    return found


def test_a_checkpoint_fills_the_network(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    state = read_published(write_bundle(tmp_path / "weights", tensors))
    assert {name: value.shape for name, value in state.items()} == parameter_shapes()
    kernel = tensors[f"{SCOPE}/resBlock_3/Conv_1/weights"]
    assert state["encoder.blocks.3.middle.weight"][5, 7, 1, 2] == kernel[1, 2, 7, 5]
    rise = tensors[f"{SCOPE}/Conv2d_transpose_4/weights"]  # (H, W, out, in)
    assert state["decoder.rises.4.weight"][6, 9, 3, 0] == rise[3, 0, 9, 6]


def test_a_missing_variable_is_named(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    del tensors[f"{SCOPE}/resBlock_2/shortcut/weights"]
    with pytest.raises(ModelError, match="resBlock_2/shortcut/weights"):
        read_published(write_bundle(tmp_path / "weights", tensors))


def test_an_unknown_variable_is_named(tmp_path: Path, tensors: dict[str, np.ndarray]) -> None:
    tensors[f"{SCOPE}/extra/weights"] = np.zeros(3, np.float32)
    with pytest.raises(ModelError, match="extra/weights"):
        read_published(write_bundle(tmp_path / "weights", tensors))


def test_the_network_answers_as_tensorflow_does() -> None:
    folder = os.environ.get("FACE3D_TF_CHECKPOINT")
    if not folder:
        pytest.skip("FACE3D_TF_CHECKPOINT is not set (benchmarks/write_tf_checkpoint.py)")
    network = PositionMapNet(PUBLISHED).eval()
    state = {k: torch.from_numpy(v) for k, v in read_published(Path(folder, "resfcn256")).items()}
    network.load_state_dict(state, strict=False)
    with np.load(Path(folder, "answer.npz")) as answer, torch.inference_mode():
        picture = torch.from_numpy(answer["picture"]).permute(2, 0, 1)[None]
        ours = network(picture)[0].permute(1, 2, 0).numpy()
        assert answer["map"].std() > 0.05
        assert np.abs(ours - answer["map"]).max() < 1e-4
