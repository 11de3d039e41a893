"""A face that is a formula, as a position map, and a network that always answers with it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from face3d_cli.networks.prnet import FINE_PX, PositionMapNet, prnet_bytes
from face3d_cli.settings import PositionMapNetSettings

# 16 px maps, as they are drawn.
TINY = PositionMapNetSettings(encoder="mobilenetv2", input_px=64, widths=(8, 8, 8), modes=0)


def canonical_face_cm(size: int) -> np.ndarray:
    """(size, size, 3) a mask like a face that looks ahead: 16 cm wide, 22 high, with a nose."""
    u, v = np.meshgrid((np.arange(size) + 0.5) / size, 1 - (np.arange(size) + 0.5) / size)
    x, y = 16 * (u - 0.5), 22 * (v - 0.5)
    z = 9 * np.sqrt(np.maximum(1 - (x / 10) ** 2 - (y / 16) ** 2, 0.02))
    z += 2.5 * np.exp(-(((u - 0.5) / 0.06) ** 2) - ((v - 0.58) / 0.06) ** 2)
    return np.stack([x, y, z], axis=2).astype(np.float32)


def outline() -> np.ndarray:
    """(FINE_PX, FINE_PX) all surface but the mouth."""
    valid = np.ones((FINE_PX, FINE_PX), bool)
    valid[148:156, 112:144] = False
    return valid


def constant_network(
    rotation: np.ndarray | None = None, config: PositionMapNetSettings = TINY
) -> PositionMapNet:
    """Answers every picture with the face at that rotation, 22 cm to the picture's side."""
    network = PositionMapNet(config).eval()
    canonical = canonical_face_cm(config.map_px)
    turned = canonical @ (np.eye(3) if rotation is None else rotation).T
    middle = 0.5 - 0.5 / config.input_px  # 0 is the centre of the first pixel
    placed = turned * (1, -1, 1) / 22 + (middle, middle, 0)
    with torch.no_grad():
        network.decoder.head.weight.zero_()
        network.decoder.head.bias.zero_()
        network.mean_map.copy_(torch.from_numpy(placed.transpose(2, 0, 1).copy()))
        network.canonical_cm.copy_(torch.from_numpy(canonical.transpose(2, 0, 1).copy()))
        network.valid.copy_(torch.from_numpy(outline().astype(np.uint8)))
    return network


def constant_weights(path: Path, rotation: np.ndarray | None = None) -> Path:
    """The weights file of such a network."""
    path.write_bytes(prnet_bytes(constant_network(rotation)))
    return path


def turn_about_y(yaw_deg: float) -> np.ndarray:
    yaw = np.radians(yaw_deg)
    return np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
