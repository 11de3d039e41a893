"""The shipped position map networks without torch: their weights as an ONNX graph for OpenCV.

Only the light decoder is written: the published one runs in torch, for those who pulled or trained
its weights. Normalisation is folded into the convolutions, and so is the change of range from
pictures in 0..1 to what the encoders expect.
"""

from __future__ import annotations

import numpy as np

from face3d_cli.errors import ModelError
from face3d_cli.networks.mobilenetv2_stages import STAGES
from face3d_cli.networks.onnx_graph import Graph, State, folded
from face3d_cli.settings import PositionMapNetSettings


def prnet_onnx(state: State, settings: PositionMapNetSettings) -> bytes:
    """Serialise a network for `cv2.dnn.readNetFromONNX`.

    Args:
        state: the torch `state_dict` as arrays, keys as in `networks/prnet.py`.
        settings: shape of the network.

    Returns:
        An ONNX model with input `image` (B, 3, S, S) in 0..1 and output `map` (B, 3, M, M), the
        correction that is added to the mean map.

    Raises:
        ModelError: there is no such graph for this network.
        KeyError: a weight is missing.
    """
    if settings.decoder != "light" or settings.encoder == "resfcn":
        raise ModelError("only networks with the light decoder are written for OpenCV")
    graph = Graph()
    # 4 x - 2, as `PositionMapNet.forward` has it; padding of the first layer comes after it.
    four, two = graph.weight(np.full((1, 1, 1, 1), 4.0)), graph.weight(np.full((1, 1, 1, 1), -2.0))
    x = graph.node("Add", [graph.node("Mul", ["image", four]), two])
    x = (
        _resnet18(graph, state, x)
        if settings.encoder == "resnet18"
        else _mobilenet(graph, state, x)
    )
    _light_decoder(graph, state, settings, x)
    size, side = settings.input_px, settings.map_px
    return graph.model("prnet", {"image": ("b", 3, size, size)}, {"map": ("b", 3, side, side)})


def _kernel(state: State, name: str) -> np.ndarray:
    return np.asarray(state[f"{name}.weight"])


def _resnet18(graph: Graph, state: State, x: str) -> str:
    kernel, bias = folded(_kernel(state, "encoder.conv1"), state, "encoder.bn1")
    x = graph.relu(graph.conv(kernel, bias, x, stride=2, pad=3))
    x = graph.max_pool(x, 3, 2, 1)
    for layer in range(1, 5):
        for block in range(2):
            name = f"encoder.layer{layer}.{block}"
            stride = 2 if layer > 1 and block == 0 else 1
            first = folded(_kernel(state, f"{name}.conv1"), state, f"{name}.bn1")
            second = folded(_kernel(state, f"{name}.conv2"), state, f"{name}.bn2")
            y = graph.relu(graph.conv(*first, x, stride=stride, pad=1))
            y = graph.conv(*second, y, pad=1)
            if f"{name}.downsample.0.weight" in state:
                narrow = _kernel(state, f"{name}.downsample.0")
                x = graph.conv(*folded(narrow, state, f"{name}.downsample.1"), x, stride=stride)
            x = graph.relu(graph.node("Add", [y, x]))
    return x


def _mobilenet(graph: Graph, state: State, x: str) -> str:
    limits = [graph.weight(np.array(limit)) for limit in (0.0, 6.0)]

    def convolved(name: str, x: str, norm: str, *, stride: int = 1, groups: int = 1) -> str:
        kernel, bias = folded(_kernel(state, name), state, norm)
        pad = (kernel.shape[2] - 1) // 2
        return graph.conv(kernel, bias, x, stride=stride, pad=pad, groups=groups)

    def clipped(name: str, x: str, *, stride: int = 1, groups: int = 1) -> str:
        y = convolved(f"{name}.0", x, f"{name}.1", stride=stride, groups=groups)
        return graph.node("Clip", [y, *limits])

    x = clipped("encoder.features.0", x, stride=2)
    inputs, number = 32, 0
    for expansion, outputs, repeats, first_stride in STAGES:
        for index in range(repeats):
            number += 1
            stride = first_stride if index == 0 else 1
            name, y, part = f"encoder.features.{number}.conv", x, 0
            hidden = inputs * expansion
            if expansion > 1:
                y, part = clipped(f"{name}.0", y), 1
            y = clipped(f"{name}.{part}", y, stride=stride, groups=hidden)
            y = convolved(f"{name}.{part + 1}", y, f"{name}.{part + 2}")
            x = graph.node("Add", [x, y]) if stride == 1 and inputs == outputs else y
            inputs = outputs
    return x


def _light_decoder(graph: Graph, state: State, settings: PositionMapNetSettings, x: str) -> None:
    for part in ("reduce", "gather"):
        name = f"decoder.{part}"
        x = graph.relu(graph.conv(*folded(_kernel(state, f"{name}.0"), state, f"{name}.1"), x))
    # A transposed kernel is (I, O, K, K): the normalisation scales its second axis.
    name = "decoder.unfold"
    turned = _kernel(state, f"{name}.0").swapaxes(0, 1)
    kernel, bias = folded(turned, state, f"{name}.1")
    x = graph.relu(graph.transposed_conv(kernel.swapaxes(0, 1), bias, x))
    for index in range(len(settings.widths) - 1):
        name = f"decoder.rises.{index}"
        x = graph.double_size(x)
        x = graph.relu(
            graph.conv(*folded(_kernel(state, f"{name}.0"), state, f"{name}.1"), x, pad=1)
        )
    kernel, bias = _kernel(state, "decoder.head"), np.asarray(state["decoder.head.bias"])
    x = graph.conv(kernel, bias, x, pad=1)
    _possible(graph, np.asarray(state["shapes"]), settings.map_px, x)


def _possible(graph: Graph, shapes: np.ndarray, side: int, x: str) -> None:
    """Leave of a map what the shapes can express."""
    flat = graph.reshape(x, -1, 3, side * side)
    numbers = graph.node("MatMul", [flat, graph.weight(np.ascontiguousarray(shapes.T))])
    drawn = graph.node("MatMul", [numbers, graph.weight(shapes)])
    graph.reshape(drawn, -1, 3, side, side, output="map")
