"""Position map networks: shapes, files, the same in OpenCV."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from face3d_cli.errors import ModelError
from face3d_cli.networks.prnet import PositionMapNet, load_encoder_file, load_prnet, prnet_bytes
from face3d_cli.networks.prnet_onnx import prnet_onnx
from face3d_cli.networks.prnet_weights import read_prnet_weights
from face3d_cli.networks.resfcn import SameConv, SameTransposedConv
from face3d_cli.settings import EncoderName, PositionMapNetSettings
from tests.helpers.position_maps import TINY


def disturbed(config: PositionMapNetSettings) -> PositionMapNet:
    """A network whose normalisation does something."""
    torch.manual_seed(0)
    network = PositionMapNet(config).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.normal_(module.running_mean, 0, 0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias, 0, 0.1)
    nn.init.uniform_(network.mean_map)
    nn.init.orthogonal_(network.shapes)
    return network


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenetv2"])
def test_light_decoder_gives_its_own_size(encoder: EncoderName) -> None:
    config = PositionMapNetSettings(encoder=encoder, input_px=96, widths=(16, 8, 8, 8))
    with torch.inference_mode():
        assert PositionMapNet(config).eval()(torch.rand(2, 3, 96, 96)).shape == (2, 3, 32, 32)
    assert config.map_px == 32


def test_only_what_the_shapes_express_is_added_to_the_mean() -> None:
    network = disturbed(replace(TINY, shapes=5))
    with torch.inference_mode():
        added = (network(torch.rand(2, 3, 64, 64)) - network.mean_map).flatten(2)
        assert added.abs().max() > 1e-3
        torch.testing.assert_close((added @ network.shapes.T) @ network.shapes, added)
        network.shapes.zero_()
        torch.testing.assert_close(
            network(torch.rand(1, 3, 64, 64))[0], network.mean_map, atol=1e-6, rtol=0
        )


@pytest.mark.parametrize("encoder", ["resfcn", "resnet18", "mobilenetv2"])
def test_published_decoder_gives_the_pictures_size(encoder: EncoderName) -> None:
    config = PositionMapNetSettings(encoder=encoder, decoder="published", input_px=64)
    with torch.inference_mode():
        maps = PositionMapNet(config).eval()(torch.rand(1, 3, 64, 64))
    assert maps.shape == (1, 3, 64, 64)
    assert 0 <= maps.min() <= maps.max() <= 1


def test_resfcn256_is_as_large_as_published() -> None:
    config = PositionMapNetSettings(encoder="resfcn", decoder="published", input_px=256)
    network = PositionMapNet(config)
    # 160,290,984 bytes of float32 weights and two slots of Adam each, less the moving averages.
    count = sum(p.numel() for p in network.parameters())
    assert 13.3e6 < count < 13.4e6
    convs = [m for m in network.decoder.modules() if isinstance(m, SameTransposedConv)]
    assert len(convs) == 17
    with torch.inference_mode():
        assert network.encoder(torch.rand(1, 3, 256, 256)).shape == (1, 512, 8, 8)


@pytest.mark.parametrize(("kernel", "stride", "size"), [(4, 1, 8), (4, 2, 8), (1, 2, 8), (4, 2, 7)])
def test_same_convolution_pads_as_tensorflow(kernel: int, stride: int, size: int) -> None:
    """TensorFlow's documentation: out = ceil(in / stride), the odd rest of padding goes last."""
    conv = SameConv(1, 1, kernel, stride)
    nn.init.ones_(conv.weight)
    with torch.inference_mode():
        out = conv(torch.ones(1, 1, size, size))[0, 0]
    length = -(-size // stride)
    total = max((length - 1) * stride + kernel - size, 0)
    padded = np.pad(np.ones(size), (total // 2, total - total // 2))
    sums = np.array([padded[i * stride : i * stride + kernel].sum() for i in range(length)])
    np.testing.assert_allclose(out.numpy(), np.outer(sums, sums), rtol=1e-6)


@pytest.mark.parametrize("stride", [1, 2])
def test_transposed_convolution_is_the_transpose(stride: int) -> None:
    torch.manual_seed(1)
    conv, rise = SameConv(2, 3, 4, stride), SameTransposedConv(3, 2, 4, stride)
    rise.weight.data = conv.weight.data  # (O, I, K, K) of one is (I, O, K, K) of the other
    x, y = torch.rand(1, 2, 8, 8), torch.rand(1, 3, 8 // stride, 8 // stride)
    with torch.inference_mode():
        torch.testing.assert_close((conv(x) * y).sum(), (x * rise(y)).sum())


def test_resnet18_has_torchvisions_names() -> None:
    names = set(PositionMapNet(replace(TINY, encoder="resnet18")).encoder.state_dict())
    assert {"conv1.weight", "bn1.running_var", "layer4.1.bn2.bias"} <= names
    assert "layer2.0.downsample.0.weight" in names
    assert "layer1.0.downsample.0.weight" not in names
    assert len(names) == 120  # torchvision's 122 without fc.weight and fc.bias


def test_mobilenetv2_has_torchvisions_names() -> None:
    names = set(PositionMapNet(TINY).encoder.state_dict())
    assert {"features.0.0.weight", "features.1.conv.1.weight", "features.17.conv.2.weight"} <= names
    assert not any(name.startswith("features.18") for name in names)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_an_encoders_weights_are_taken_and_its_classifier_left(tmp_path: Path, suffix: str) -> None:
    network = PositionMapNet(TINY)
    state = {name: torch.rand_like(v.float()) for name, v in network.encoder.state_dict().items()}
    state |= {"classifier.1.weight": torch.zeros(10, 4), "features.18.0.weight": torch.zeros(3)}
    path = tmp_path / f"encoder{suffix}"
    if suffix == ".pth":
        torch.save(state, path)
    else:
        from safetensors.torch import save_file

        save_file(state, path)
    load_encoder_file(network, path)
    name = "features.3.conv.1.0.weight"
    torch.testing.assert_close(network.encoder.state_dict()[name], state[name])


def test_another_encoders_weights_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "encoder.pth"
    torch.save(PositionMapNet(replace(TINY, encoder="resnet18")).encoder.state_dict(), path)
    with pytest.raises(ModelError, match="not the weights of mobilenetv2"):
        load_encoder_file(PositionMapNet(TINY), path)


def test_a_weights_file_gives_the_network_back(tmp_path: Path) -> None:
    network = disturbed(TINY)
    path = tmp_path / "net.safetensors"
    path.write_bytes(prnet_bytes(network))
    again = load_prnet(path)
    assert again.config == TINY
    x = torch.rand(1, 3, 64, 64)
    with torch.inference_mode():
        torch.testing.assert_close(again(x), network(x), atol=0.02, rtol=0.02)  # half precision


def test_a_file_without_a_weight_is_refused(tmp_path: Path) -> None:
    from safetensors.numpy import load, save

    packed = prnet_bytes(disturbed(TINY))
    state = load(packed)
    del state["decoder.head.bias"]
    path = tmp_path / "net.safetensors"
    path.write_bytes(save(state, metadata={"position_map_net": "{}"}))
    with pytest.raises(ModelError):
        load_prnet(path)


@pytest.mark.parametrize("content", [b"", b"{}", b"\x08" + bytes(40)])
def test_other_files_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "net.safetensors"
    path.write_bytes(content)
    with pytest.raises(ModelError, match="not a position map network"):
        read_prnet_weights(path)


@pytest.mark.parametrize("encoder", ["resnet18", "mobilenetv2"])
@pytest.mark.parametrize("count", [1, 2])
def test_opencv_answers_as_torch_does(encoder: EncoderName, count: int) -> None:
    config = PositionMapNetSettings(encoder=encoder, input_px=64, widths=(16, 12, 8))
    network = disturbed(config)
    state = {name: value.detach().numpy() for name, value in network.state_dict().items()}
    packed = np.frombuffer(prnet_onnx(state, config), np.uint8)
    engine = getattr(cv2.dnn, "ENGINE_CLASSIC", None)
    runtime = cv2.dnn.readNetFromONNX(packed, *(() if engine is None else (engine,)))
    pictures = np.random.default_rng(0).random((count, 3, 64, 64)).astype(np.float32)
    runtime.setInput(pictures)
    ours = runtime.forward("map") + network.mean_map.numpy()
    with torch.inference_mode():
        wanted = network(torch.from_numpy(pictures)).numpy()
    assert np.abs(wanted - network.mean_map.numpy()).max() > 1e-3
    np.testing.assert_allclose(ours, wanted, atol=1e-5)


def test_the_published_decoder_is_not_written_for_opencv() -> None:
    config = PositionMapNetSettings(decoder="published")
    with pytest.raises(ModelError, match="light decoder"):
        prnet_onnx({}, config)
