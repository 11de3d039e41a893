"""The U-Net's weights file: safetensors in half precision, with the network's shape beside them."""

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
from face3d_cli.settings import UNetSettings

Arrays = dict[str, npt.NDArray[Any]]


def pack_unet_weights(state: Mapping[str, npt.NDArray[Any]], settings: UNetSettings) -> bytes:
    """Kernels in half precision, everything else as it is; the metadata holds the shape."""
    from safetensors.numpy import save

    halved = {
        name: np.ascontiguousarray(array, np.float16 if array.ndim == 4 else None)
        for name, array in state.items()
    }
    packed: bytes = save(halved, metadata={"unet": json.dumps(asdict(settings))})
    return packed


def read_unet_weights(path: Path) -> tuple[Arrays, UNetSettings]:
    """Read the weights as float32 arrays, and the shape of their network. Does not need torch.

    Raises:
        ModelError: the file is missing, damaged, or holds no U-Net of this project.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load_file

    try:
        state = load_file(path)
        settings = _settings_of(path)
    except (OSError, SafetensorError, KeyError, ValueError, TypeError) as problem:
        raise ModelError(
            f"{path} is not a U-Net weights file of face3d: {problem}",
            hint="face3d models verify unet-face",
        ) from problem
    arrays = {
        name: array.astype(np.float32) if array.dtype == np.float16 else array
        for name, array in state.items()
    }
    return arrays, settings


def _settings_of(path: Path) -> UNetSettings:
    """The metadata of a safetensors file: 8 bytes of length, then JSON."""
    with path.open("rb") as handle:
        (length,) = struct.unpack("<Q", handle.read(8))
        header = json.loads(handle.read(length))
    fields = json.loads(header["__metadata__"]["unet"])
    return UNetSettings(**{**fields, "widths": tuple(fields["widths"])})
