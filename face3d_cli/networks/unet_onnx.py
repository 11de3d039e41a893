"""The same U-Net without torch: its weights as an ONNX graph for OpenCV's network runtime.

Importing torch takes longer than reconstructing a face, so the default path runs the shipped
safetensors file through `cv2.dnn`. Batch normalisation is folded into the convolutions here, and
the graph is written as protocol-buffer bytes in memory: there is one file of weights, not two.
"""

from __future__ import annotations

import numpy as np

from face3d_cli.networks.onnx_graph import Graph, State, folded
from face3d_cli.settings import UNetSettings


def unet_onnx(state: State, settings: UNetSettings) -> bytes:
    """Serialise the network for `cv2.dnn.readNetFromONNXBuffer`.

    Args:
        state: the torch `state_dict` as arrays, keys as in `networks/unet.py`.
        settings: shape of the network.

    Returns:
        An ONNX model with input `image` (1, in_channels, H, W) and output `logits`.

    Raises:
        KeyError: a weight is missing.
    """
    graph = Graph()
    x = "image"
    if settings.stem_stride > 1:
        x = _conv_block(graph, state, "stem", x, settings.stem_stride)
    skips: list[str] = []
    for level in range(len(settings.widths)):
        if level:
            x = graph.max_pool(x, 2, 2)
        x = _double_conv(graph, state, f"down.{level}", x)
        skips.append(x)
    skips.pop()
    for level in range(len(settings.widths) - 1):
        x = graph.concat(skips.pop(), graph.double_size(x))
        x = _double_conv(graph, state, f"up.{level}", x)
    weight, bias = np.asarray(state["head.weight"]), np.asarray(state["head.bias"])
    graph.conv(weight, bias, x, output="logits")
    return graph.model(
        "unet",
        {"image": (1, settings.in_channels, "h", "w")},
        {"logits": (1, settings.num_classes, "h", "w")},
    )


def _conv_block(graph: Graph, state: State, name: str, x: str, stride: int = 1) -> str:
    kernel, bias = folded(np.asarray(state[f"{name}.0.weight"]), state, f"{name}.1")
    pad = (kernel.shape[2] - 1) // 2 if stride == 1 else 0
    return graph.relu(graph.conv(kernel, bias, x, stride=stride, pad=pad))


def _double_conv(graph: Graph, state: State, name: str, x: str) -> str:
    return _conv_block(graph, state, f"{name}.1", _conv_block(graph, state, f"{name}.0", x))
