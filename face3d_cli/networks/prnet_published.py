"""The published PRNet weights, a TensorFlow checkpoint, in our ResFCN256.

Names and order are those of `predictor.py` of the published code, whose variables TensorFlow's slim
layers name by counting. What only the optimiser used is left out; everything else is used once.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from face3d_cli.errors import ModelError
from face3d_cli.networks.resfcn import BLOCKS, RISES
from face3d_cli.networks.tf_checkpoint import TensorBundle

SCOPE = "resfcn256"
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
