"""The same U-Net without torch: its weights as an ONNX graph for OpenCV's network runtime.

Importing torch takes longer than reconstructing a face, so the default path runs the shipped
safetensors file through `cv2.dnn`. Batch normalisation is folded into the convolutions here, and
the graph is written as protocol-buffer bytes in memory: there is one file of weights, not two.

Source of the field numbers: `onnx/onnx.proto` of ONNX 1.16 (IR version 8, opset 13).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from face3d_cli.settings import UNetSettings

State = Mapping[str, npt.NDArray[np.generic]]
BATCH_NORM_EPS = 1e-5  # torch's default, which `networks/unet.py` uses
_FLOAT, _VARINT, _BYTES = 1, 0, 2


def unet_onnx(state: State, settings: UNetSettings) -> bytes:
    """Serialise the network for `cv2.dnn.readNetFromONNXBuffer`.

    Args:
        state: the torch `state_dict` as arrays, keys as in `networks/unet.py`.
        settings: shape of the network.

    Returns:
        An ONNX model with input `image` (1, in_channels, H, W) and outputs `logits` and `fasseg`.

    Raises:
        KeyError: a weight is missing.
    """
    graph = _Graph()
    x = "image"
    if settings.stem_stride > 1:
        x = graph.conv_block(state, "stem", x, settings.stem_stride)
    skips: list[str] = []
    for level in range(len(settings.widths)):
        if level:
            x = graph.node("MaxPool", [x], _ints("kernel_shape", 2, 2) + _ints("strides", 2, 2))
        x = graph.double_conv(state, f"down.{level}", x)
        skips.append(x)
    skips.pop()
    last = len(settings.widths) - 2
    for level in range(last + 1):
        x = graph.double_size(x)
        x = graph.node("Concat", [skips.pop(), x], _int("axis", 1))
        if level < last:
            x = graph.double_conv(state, f"up.{level}", x)
    for block, head, output in (
        (f"up.{last}", "head", "logits"),
        ("fasseg_up", "fasseg_head", "fasseg"),
    ):
        weight, bias = np.asarray(state[f"{head}.weight"]), np.asarray(state[f"{head}.bias"])
        graph.conv(weight, bias, graph.double_conv(state, block, x), 1, output)
    return graph.model(settings)


def fold_batch_norm(state: State, name: str) -> tuple[npt.NDArray[np.generic], ...]:
    """Kernel and bias of a convolution (`name.0`) with its batch normalisation (`name.1`)."""
    gain, shift, mean, variance = (
        np.asarray(state[f"{name}.1.{part}"], np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = gain / np.sqrt(variance + BATCH_NORM_EPS)
    kernel = np.asarray(state[f"{name}.0.weight"], np.float64) * gain[:, None, None, None]
    return kernel, shift - mean * gain


class _Graph:
    """Collects nodes and weights in the order of computation."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.count = 0

    def node(
        self, kind: str, inputs: Sequence[str], attributes: bytes, output: str | None = None
    ) -> str:
        self.count += 1
        output = output or f"t{self.count}"
        body = b"".join(_text(1, name) for name in inputs)
        body += _text(2, output) + _text(3, f"n{self.count}") + _text(4, kind) + attributes
        self.parts.append(_field(1, body))
        return output

    def weight(self, array: npt.NDArray[np.generic]) -> str:
        self.count += 1
        name = f"w{self.count}"
        body = b"".join(_number(1, size) for size in array.shape) + _number(2, _FLOAT)
        body += _text(8, name) + _field(9, np.ascontiguousarray(array, "<f4").tobytes())
        self.parts.append(_field(5, body))
        return name

    def conv(
        self,
        kernel: npt.NDArray[np.generic],
        bias: npt.NDArray[np.generic],
        x: str,
        stride: int,
        output: str | None = None,
    ) -> str:
        size = kernel.shape[2]
        pad = (size - 1) // 2 if stride == 1 else 0
        attributes = _ints("kernel_shape", size, size) + _ints("strides", stride, stride)
        attributes += _ints("pads", pad, pad, pad, pad)
        return self.node("Conv", [x, self.weight(kernel), self.weight(bias)], attributes, output)

    def conv_block(self, state: State, name: str, x: str, stride: int = 1) -> str:
        kernel, bias = fold_batch_norm(state, name)
        return self.node("Relu", [self.conv(kernel, bias, x, stride)], b"")

    def double_conv(self, state: State, name: str, x: str) -> str:
        return self.conv_block(state, f"{name}.1", self.conv_block(state, f"{name}.0", x))

    def double_size(self, x: str) -> str:
        scales = self.weight(np.array([1, 1, 2, 2]))
        modes = _string("mode", "linear") + _string("coordinate_transformation_mode", "half_pixel")
        return self.node("Resize", [x, "", scales], modes)

    def model(self, settings: UNetSettings) -> bytes:
        graph = b"".join(self.parts) + _text(2, "unet")
        graph += _value(11, "image", settings.in_channels)
        graph += _value(12, "logits", settings.num_classes)
        graph += _value(12, "fasseg", settings.num_fasseg_classes)
        return _number(1, 8) + _field(7, graph) + _field(8, _number(2, 13))


def _value(number: int, name: str, channels: int) -> bytes:
    """ValueInfoProto of a float tensor (1, channels, any, any)."""
    sizes = (_number(1, 1), _number(1, channels), _text(2, "h"), _text(2, "w"))
    shape = b"".join(_field(1, size) for size in sizes)
    tensor = _number(1, _FLOAT) + _field(2, shape)
    return _field(number, _text(1, name) + _field(2, _field(1, tensor)))


def _int(name: str, value: int) -> bytes:
    return _field(5, _text(1, name) + _number(3, value) + _number(20, 2))


def _ints(name: str, *values: int) -> bytes:
    body = b"".join(_number(8, value) for value in values)
    return _field(5, _text(1, name) + body + _number(20, 7))


def _string(name: str, value: str) -> bytes:
    return _field(5, _text(1, name) + _text(4, value) + _number(20, 3))


def _text(number: int, value: str) -> bytes:
    return _field(number, value.encode())


def _field(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(body)) + body


def _number(number: int, value: int) -> bytes:
    return _varint(number << 3 | _VARINT) + _varint(value)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
