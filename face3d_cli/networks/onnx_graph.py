"""A network as an ONNX graph in memory, for OpenCV's network runtime: bytes of protocol buffers.

Source of the field numbers: `onnx/onnx.proto` of ONNX 1.16 (IR version 8, opset 13).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

State = Mapping[str, npt.NDArray[np.generic]]
Array = npt.NDArray[np.generic]
BATCH_NORM_EPS = 1e-5  # torch's default
_FLOAT, _INT64 = 1, 7  # of TensorProto
_VARINT, _BYTES = 0, 2
_Sizes = tuple[int | str, ...]  # a name stands for any size


def folded(
    kernel: Array, state: State, norm: str, eps: float = BATCH_NORM_EPS
) -> tuple[Array, Array]:
    """Kernel (O, ...) and bias of a convolution followed by the batch normalisation `norm`."""
    gain, shift, mean, variance = (
        np.asarray(state[f"{norm}.{part}"], np.float64)
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    gain = gain / np.sqrt(variance + BATCH_NORM_EPS)
    scaled = np.asarray(kernel, np.float64) * gain.reshape(-1, *(1,) * (kernel.ndim - 1))
    return scaled, shift - mean * gain


class Graph:
    """Collects nodes and weights in the order of computation."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.count = 0

    def node(
        self, kind: str, inputs: Sequence[str], attributes: bytes = b"", output: str | None = None
    ) -> str:
        """Add a node; returns the name of its output."""
        self.count += 1
        output = output or f"t{self.count}"
        body = b"".join(_text(1, name) for name in inputs)
        body += _text(2, output) + _text(3, f"n{self.count}") + _text(4, kind) + attributes
        self.parts.append(_field(1, body))
        return output

    def weight(self, array: Array) -> str:
        """Add a float32 constant; returns its name."""
        return self._constant(np.ascontiguousarray(array, "<f4"), _FLOAT)

    def reshape(self, x: str, *shape: int, output: str | None = None) -> str:
        """The same numbers in another shape; -1 stands for what is left."""
        sizes = self._constant(np.array(shape, "<i8"), _INT64)
        return self.node("Reshape", [x, sizes], output=output)

    def _constant(self, array: Array, kind: int) -> str:
        self.count += 1
        name = f"w{self.count}"
        body = b"".join(_number(1, size) for size in array.shape) + _number(2, kind)
        body += _text(8, name) + _field(9, array.tobytes())
        self.parts.append(_field(5, body))
        return name

    def conv(
        self,
        kernel: Array,
        bias: Array,
        x: str,
        *,
        stride: int = 1,
        pad: int = 0,
        groups: int = 1,
        output: str | None = None,
    ) -> str:
        """Convolve; kernel (O, I / groups, K, K), bias (O,)."""
        attributes = _window(kernel.shape[2], stride, pad) + _int("group", groups)
        return self.node("Conv", [x, self.weight(kernel), self.weight(bias)], attributes, output)

    def transposed_conv(self, kernel: Array, bias: Array, x: str) -> str:
        """Transposed convolution without padding; kernel (I, O, K, K), bias (O,)."""
        attributes = _window(kernel.shape[2], 1, 0)
        return self.node("ConvTranspose", [x, self.weight(kernel), self.weight(bias)], attributes)

    def max_pool(self, x: str, size: int, stride: int, pad: int = 0) -> str:
        """Largest value of each window."""
        return self.node("MaxPool", [x], _window(size, stride, pad))

    def relu(self, x: str) -> str:
        """Negative values become 0."""
        return self.node("Relu", [x])

    def concat(self, first: str, second: str) -> str:
        """Stack channels."""
        return self.node("Concat", [first, second], _int("axis", 1))

    def double_size(self, x: str) -> str:
        """Twice as high and wide, bilinear, as torch without `align_corners`."""
        scales = self.weight(np.array([1, 1, 2, 2]))
        modes = _string("mode", "linear") + _string("coordinate_transformation_mode", "half_pixel")
        return self.node("Resize", [x, "", scales], modes)

    def model(self, name: str, inputs: dict[str, _Sizes], outputs: dict[str, _Sizes]) -> bytes:
        """The serialised model; sizes are those of (B, C, H, W)."""
        graph = b"".join(self.parts) + _text(2, name)
        graph += b"".join(_value(11, key, sizes) for key, sizes in inputs.items())
        graph += b"".join(_value(12, key, sizes) for key, sizes in outputs.items())
        return _number(1, 8) + _field(7, graph) + _field(8, _number(2, 13))


def _window(size: int, stride: int, pad: int) -> bytes:
    attributes = _ints("kernel_shape", size, size) + _ints("strides", stride, stride)
    return attributes + _ints("pads", pad, pad, pad, pad)


def _value(number: int, name: str, sizes: _Sizes) -> bytes:
    """ValueInfoProto of a float tensor."""
    parts = (_text(2, size) if isinstance(size, str) else _number(1, size) for size in sizes)
    shape = b"".join(_field(1, part) for part in parts)
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
