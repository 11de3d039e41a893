"""The published PRNet weights, a TensorFlow checkpoint, in our ResFCN256.

Names and order are those of `predictor.py` of the published code, whose variables TensorFlow's slim
layers name by counting. What only the optimiser used is left out; everything else is used once.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from face3d_cli.arrays import FloatArray, Mask, Points2
from face3d_cli.errors import ModelError
from face3d_cli.networks.prnet import PositionMapNet
from face3d_cli.networks.resfcn import BLOCKS, RISES
from face3d_cli.networks.tf_checkpoint import TensorBundle
from face3d_cli.settings import PositionMapNetSettings

SCOPE = "resfcn256"
INDEX = "256_256_resfcn256_weight.index"
SIZE_PX = 256
UNIT_PX = SIZE_PX * 1.1  # the sigmoid's 1, in pixels (`api.py` of the published code)
_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_OPTIMISER_ENDS = ("/Adam", "/Adam_1")
_OPTIMISER_NAMES = ("beta1_power", "beta2_power", "global_step")


def variable_names() -> dict[str, str]:
    """Our parameter name for each of the checkpoint's, without its scope."""
    found: dict[str, str] = {}

    def norm(ours: str, theirs: str) -> None:
        for own, other in _NORM.items():
            found[f"{theirs}/BatchNorm/{other}"] = f"{ours}.{own}"

    found["Conv/weights"] = "encoder.first.weight"
    norm("encoder.first_norm", "Conv")
    inputs = 16
    for index, (outputs, stride) in enumerate(BLOCKS):
        theirs = "resBlock" if index == 0 else f"resBlock_{index}"
        ours = f"encoder.blocks.{index}"
        if stride != 1 or inputs != outputs:
            found[f"{theirs}/shortcut/weights"] = f"{ours}.shortcut.weight"
        for layer, conv in (("narrow", "Conv"), ("middle", "Conv_1"), ("widen", "Conv_2")):
            found[f"{theirs}/{conv}/weights"] = f"{ours}.{layer}.weight"
            if layer != "widen":
                norm(f"{ours}.{layer}_norm", f"{theirs}/{conv}")
        norm(f"{ours}.norm", theirs)
        inputs = outputs
    for index in range(len(RISES)):
        theirs = "Conv2d_transpose" if index == 0 else f"Conv2d_transpose_{index}"
        found[f"{theirs}/weights"] = f"decoder.rises.{index}.weight"
        norm(f"decoder.norms.{index}", theirs)
    return found


def read_published(prefix: Path) -> dict[str, npt.NDArray[Any]]:
    """The checkpoint's weights by our names, float32, in torch's layout.

    A convolution's kernel is (H, W, in, out) there and (out, in, H, W) here; a transposed one's
    (H, W, out, in) and (in, out, H, W): the same turn of the axes.

    Args:
        prefix: the checkpoint's path without `.index`.

    Raises:
        ModelError: it is missing or damaged, lacks a variable, or has one that is not used.
    """
    bundle = TensorBundle.open(prefix)
    ours = {f"{SCOPE}/{theirs}": name for theirs, name in variable_names().items()}
    present = {
        name
        for name in bundle.entries
        if not name.endswith(_OPTIMISER_ENDS) and name not in _OPTIMISER_NAMES
    }
    if missing := sorted(set(ours) - present):
        raise ModelError(f"{prefix.name} lacks {len(missing)} variables, such as {missing[0]}")
    if unused := sorted(present - set(ours)):
        raise ModelError(f"{prefix.name} has {len(unused)} unknown variables, such as {unused[0]}")
    state = {}
    for theirs, name in ours.items():
        value = bundle.read(theirs).astype(np.float32)
        state[name] = (
            np.ascontiguousarray(value.transpose(3, 2, 0, 1)) if value.ndim == 4 else value
        )
    return state


@dataclass(frozen=True)
class PublishedSquare:
    """What the published tables say of the map's square.

    Attributes:
        mean: (256, 256, 3) the mean face (y down, larger z is nearer), in a unit of its own; 0 off
            the surface.
        valid: (256, 256) True on the surface.
        landmark_uv: (68, 2) origin bottom-left.
        unit_px: pixels of the crop for the network's 1.
    """

    mean: FloatArray
    valid: Mask
    landmark_uv: Points2
    unit_px: float


def read_square(files: dict[str, Path]) -> PublishedSquare:
    """Read `canonical_vertices.npy`, `face_ind.txt` and `uv_kpt_ind.txt`.

    Raises:
        ModelError: they do not fit together.
    """
    try:
        vertices = np.load(files["canonical_vertices.npy"], allow_pickle=False)
        texels = np.loadtxt(files["face_ind.txt"]).astype(np.int64)
        columns, rows = np.loadtxt(files["uv_kpt_ind.txt"]).astype(np.int64)
        mean = np.zeros((SIZE_PX * SIZE_PX, 3), np.float32)
        mean[texels] = vertices
    except (OSError, KeyError, ValueError, IndexError) as problem:
        raise ModelError(
            f"the tables of {SCOPE} are damaged: {problem}",
            hint="face3d models verify prnet-resfcn256",
        ) from problem
    valid = np.zeros(SIZE_PX * SIZE_PX, np.bool_)
    valid[texels] = True
    uv = np.column_stack([(columns + 0.5) / SIZE_PX, 1.0 - (rows + 0.5) / SIZE_PX])
    square = (SIZE_PX, SIZE_PX)
    return PublishedSquare(mean.reshape(*square, 3), valid.reshape(square), uv, UNIT_PX)


def load_published(files: dict[str, Path]) -> PositionMapNet:
    """ResFCN256 with the published weights, in evaluation mode, on the CPU.

    Raises:
        ModelError: the checkpoint is missing or damaged.
    """
    prefix = files[INDEX].with_suffix("")
    network = PositionMapNet(
        PositionMapNetSettings(encoder="resfcn", decoder="published", input_px=SIZE_PX)
    )
    state = {name: torch.from_numpy(value) for name, value in read_published(prefix).items()}
    rest = set(network.state_dict()) - set(state)
    own = {name for name in rest if name.endswith("num_batches_tracked")}
    assert rest - own == {"mean_map", "canonical_cm", "valid"}, "the importer lacks a weight"
    network.load_state_dict({name: network.state_dict()[name] for name in rest} | state)
    return network.eval()
