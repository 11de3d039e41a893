"""TensorFlow's V2 checkpoints ("tensor bundles") without TensorFlow: NAME.index and its shards.

The index is a LevelDB table of protocol-buffer entries; a shard is the tensors' bytes one after the
other. Checksums of all that is read are checked.

Source: tensorflow/core/util/tensor_bundle (format), core/protobuf/tensor_bundle.proto (fields),
LevelDB's doc/table_format.md (blocks, footer).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from face3d_cli.errors import ModelError
from face3d_cli.networks.crc32c import crc32c, masked

_MAGIC = 0xDB4775248B80FB57
_FOOTER_BYTES = 48
_TYPES: dict[int, str] = {1: "<f4", 2: "<f8", 3: "<i4", 9: "<i8", 19: "<f2"}  # DataType
_HINT = "give the prefix of a whole TensorFlow V2 checkpoint, or pull the model again"


@dataclass(frozen=True)
class BundleEntry:
    """Where one tensor lies.

    Attributes:
        dtype: numpy's name of its little-endian type.
        shard, offset, size: its bytes.
        crc: masked CRC-32C of them.
    """

    dtype: str
    shape: tuple[int, ...]
    shard: int
    offset: int
    size: int
    crc: int


@dataclass(frozen=True)
class TensorBundle:
    """The index of a checkpoint.

    Attributes:
        prefix: path without `.index`.
        num_shards: of the data.
        entries: by variable name.
    """

    prefix: Path
    num_shards: int
    entries: Mapping[str, BundleEntry]

    @staticmethod
    def open(prefix: Path) -> TensorBundle:
        """Read `PREFIX.index`.

        Raises:
            ModelError: it is missing, damaged, compressed or big-endian.
        """
        path = prefix.with_name(prefix.name + ".index")
        try:
            data = path.read_bytes()
        except OSError as problem:
            raise ModelError(f"cannot read {path}: {problem.strerror}", hint=_HINT) from problem
        try:
            return _parsed(prefix, data)
        except (ValueError, IndexError, KeyError, struct.error) as problem:
            raise ModelError(f"{path} is damaged: {problem}", hint=_HINT) from problem

    def read(self, name: str) -> npt.NDArray[Any]:
        """One tensor.

        Raises:
            ModelError: there is no such variable, or its bytes are missing or damaged.
        """
        if name not in self.entries:
            raise ModelError(f"{self.prefix} has no variable '{name}'", hint=_HINT)
        entry = self.entries[name]
        shard = f"{self.prefix.name}.data-{entry.shard:05d}-of-{self.num_shards:05d}"
        path = self.prefix.with_name(shard)
        try:
            with path.open("rb") as handle:
                handle.seek(entry.offset)
                data = handle.read(entry.size)
        except OSError as problem:
            raise ModelError(f"cannot read {path}: {problem.strerror}", hint=_HINT) from problem
        if len(data) != entry.size or masked(crc32c(data)) != entry.crc:
            raise ModelError(f"{path} is damaged at '{name}'", hint=_HINT)
        return np.frombuffer(data, entry.dtype).reshape(entry.shape)


def _parsed(prefix: Path, data: bytes) -> TensorBundle:
    if len(data) < _FOOTER_BYTES:
        raise ValueError("it is too short")
    footer = data[-_FOOTER_BYTES:]
    if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
        raise ValueError("it is no LevelDB table")
    position = 0
    handles = []
    for _ in range(4):  # offset and size of the meta index, then of the index
        value, position = _varint(footer, position)
        handles.append(value)
    entries: dict[str, BundleEntry] = {}
    num_shards = 0
    for _, place in _block(data, handles[2], handles[3]):
        offset, after = _varint(place, 0)
        size, _ = _varint(place, after)
        for key, content in _block(data, offset, size):
            if key:
                entries[key.decode()] = _entry(content)
            else:
                header = _fields(content)
                if header.get(2, [0])[-1] != 0:
                    raise ValueError("it is big-endian")
                num_shards = header[1][-1]
    if num_shards < 1:
        raise ValueError("its header is missing")
    return TensorBundle(prefix, num_shards, entries)


def _block(data: bytes, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
    """The keys and values of one block; keys share prefixes with the key before."""
    trailer = data[offset + size : offset + size + 5]
    if len(trailer) != 5:
        raise ValueError("a block reaches beyond its end")
    if trailer[0] != 0:
        raise ValueError(f"its blocks are compressed (type {trailer[0]}), expected plain ones")
    if masked(crc32c(data[offset : offset + size + 1])) != struct.unpack("<I", trailer[1:])[0]:
        raise ValueError("the checksum of a block is wrong")
    block = data[offset : offset + size]
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 * (restarts + 1)
    position, key = 0, b""
    while position < end:
        shared, position = _varint(block, position)
        fresh, position = _varint(block, position)
        length, position = _varint(block, position)
        key = key[:shared] + block[position : position + fresh]
        position += fresh
        yield key, block[position : position + length]
        position += length


def _entry(value: bytes) -> BundleEntry:
    """BundleEntryProto: dtype 1, shape 2, shard 3, offset 4, size 5, crc 6, slices 7."""
    fields = _fields(value)
    if 7 in fields:
        raise ValueError("it holds partitioned variables, expected whole ones")
    kind = fields.get(1, [0])[-1]
    if kind not in _TYPES:
        raise ValueError(f"it holds a tensor of type {kind}, expected numbers")
    shape = []
    for dimension in _fields(fields.get(2, [b""])[-1]).get(2, []):
        shape.append(_fields(dimension).get(1, [0])[-1])
    entry = BundleEntry(
        _TYPES[kind],
        tuple(shape),
        fields.get(3, [0])[-1],
        fields.get(4, [0])[-1],
        fields.get(5, [0])[-1],
        fields.get(6, [0])[-1],
    )
    if entry.size != int(np.prod(shape, dtype=np.int64)) * np.dtype(entry.dtype).itemsize:
        raise ValueError(f"a tensor of shape {entry.shape} cannot have {entry.size} bytes")
    return entry


def _fields(message: bytes) -> dict[int, list[Any]]:
    """Numbers and byte strings of a protocol-buffer message, by field number."""
    found: dict[int, list[Any]] = {}
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        kind = tag & 7
        value: Any
        if kind == 0:
            value, position = _varint(message, position)
        elif kind == 2:
            length, position = _varint(message, position)
            value = message[position : position + length]
            if len(value) != length:
                raise ValueError("a field reaches beyond its message")
            position += length
        elif kind in (1, 5):
            size = 8 if kind == 1 else 4
            (value,) = struct.unpack(
                "<Q" if kind == 1 else "<I", message[position : position + size]
            )
            position += size
        else:
            raise ValueError(f"a field has the unknown kind {kind}")
        found.setdefault(tag >> 3, []).append(value)
    return found


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        octet = data[position]
        position += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")
