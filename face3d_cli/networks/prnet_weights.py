"""A position map network's weights file: safetensors, kernels in half precision, its shape beside.

Besides the weights the file holds what a map needs to be understood: `mean_map` (3, M, M), the mean
map of the training data, `canonical_cm` (3, M, M), the model's mean face looking ahead (x to the
subject's left, y up, z out of the face), and `valid` (256, 256), which texels are on the surface.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from face3d_cli.errors import ModelError
from face3d_cli.settings import PositionMapNetSettings

Arrays = dict[str, npt.NDArray[Any]]
METADATA_KEY = "position_map_net"


def pack_prnet_weights(
    state: Mapping[str, npt.NDArray[Any]], settings: PositionMapNetSettings
) -> bytes:
    """Kernels in half precision, everything else as it is; the metadata holds the shape."""
    from safetensors.numpy import save

    halved = {
        name: np.ascontiguousarray(
            array, np.float16 if array.ndim == 4 or name == "shapes" else None
        )
        for name, array in state.items()
        if not name.endswith("num_batches_tracked")
    }
    packed: bytes = save(halved, metadata={METADATA_KEY: json.dumps(asdict(settings))})
    return packed


def _is_halved(name: str, array: npt.NDArray[Any]) -> bool:
    return array.ndim == 4 or name == "shapes"


def read_prnet_weights(path: Path) -> tuple[Arrays, PositionMapNetSettings]:
    """Read the weights as float32 arrays, and the shape of their network. Does not need torch.

    Raises:
        ModelError: the file is missing, damaged, or holds no position map network.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        state = load_file(path)
        settings = _settings_of(path)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as problem:
        raise ModelError(
            f"{path} is not a position map network of face3d: {problem}",
            hint=f"face3d models verify {path.name.split('.', 1)[0]}",
        ) from problem
    arrays = {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in state.items()
    }
    return arrays, settings


def _settings_of(path: Path) -> PositionMapNetSettings:
    """The metadata of a safetensors file: 8 bytes of length, then JSON."""
    with path.open("rb") as handle:
        (length,) = struct.unpack("<Q", handle.read(8))
        header = json.loads(handle.read(length))
    fields = json.loads(header["__metadata__"][METADATA_KEY])
    return PositionMapNetSettings(
        **{"perspective": False, **fields, "widths": tuple(fields["widths"])}
    )
