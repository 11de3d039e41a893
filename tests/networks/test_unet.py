from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from face3d_cli.errors import ModelError
from face3d_cli.networks.unet import UNet, load_unet, unet_bytes
from face3d_cli.networks.unet_onnx import unet_onnx
from face3d_cli.settings import UNetSettings

SHAPES = [
    UNetSettings(num_classes=5, widths=(4, 8), stem_stride=1),
    UNetSettings(num_classes=18, widths=(4, 6, 8), stem_stride=2),
    UNetSettings(num_classes=3, widths=(4, 6, 8, 10, 12), stem_stride=2),
]


def random_unet(settings: UNetSettings) -> UNet:
    """A network whose normalisation has statistics worth folding."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = UNet(settings).eval()
        for part in network.modules():
            if isinstance(part, torch.nn.BatchNorm2d):
                torch.nn.init.normal_(part.running_mean, 0.0, 0.2)
                torch.nn.init.uniform_(part.running_var, 0.3, 2.0)
                torch.nn.init.uniform_(part.weight, 0.5, 1.5)
                torch.nn.init.normal_(part.bias, 0.0, 0.2)
    return network


def opencv_logits(network: UNet, image: np.ndarray) -> np.ndarray:
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    model = np.frombuffer(unet_onnx(state, network.config), np.uint8)
    runtime = cv2.dnn.readNetFromONNX(model)
    runtime.setInput(image)
    return np.array(runtime.forward())


@pytest.mark.parametrize("settings", SHAPES, ids=lambda settings: str(settings.widths))
def test_opencv_runs_the_same_network_as_torch(settings: UNetSettings) -> None:
    network = random_unet(settings)
    image = np.random.default_rng(1).normal(0, 1, (1, 3, 96, 64)).astype(np.float32)
    with torch.inference_mode():
        expected = network(torch.from_numpy(image)).numpy()
    found = opencv_logits(network, image)
    stride = settings.stem_stride
    assert expected.shape == (1, settings.num_classes, 96 // stride, 64 // stride)
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert expected.std() > 0.01  # not a constant that anything would match


def test_the_file_holds_shape_and_weights(tmp_path: Path) -> None:
    network = random_unet(SHAPES[1])
    file = tmp_path / "unet.safetensors"
    file.write_bytes(unet_bytes(network))
    again = load_unet(file)
    assert again.config == SHAPES[1]
    for name, value in network.state_dict().items():
        np.testing.assert_allclose(again.state_dict()[name], value, rtol=1e-3, atol=1e-6)
    assert not again.training


def test_features_of_the_contracting_path_halve(tmp_path: Path) -> None:
    network = random_unet(SHAPES[2])
    features = network.encode(torch.zeros(1, 3, 64, 96))
    assert [tuple(f.shape[1:]) for f in features] == [
        (4, 32, 48),
        (6, 16, 24),
        (8, 8, 12),
        (10, 4, 6),
        (12, 2, 3),
    ]


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"abc"])
def test_a_damaged_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "unet.safetensors"
    file.write_bytes(content)
    with pytest.raises(ModelError, match="not a U-Net weights file"):
        load_unet(file)


def test_weights_of_another_shape_are_refused(tmp_path: Path) -> None:
    import json
    from dataclasses import asdict

    from safetensors.torch import save_file

    network = random_unet(SHAPES[1])
    file = tmp_path / "unet.safetensors"
    wider = asdict(UNetSettings(num_classes=18, widths=(4, 6, 9), stem_stride=2))
    save_file(network.state_dict(), file, metadata={"unet": json.dumps(wider)})
    with pytest.raises(ModelError, match="does not fit"):
        load_unet(file)
