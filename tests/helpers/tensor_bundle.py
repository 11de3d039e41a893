"""A writer of TensorFlow's V2 checkpoints, as small as can be, for the reader's tests."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from face3d_cli.networks.crc32c import crc32c, masked

TYPE_NUMBERS = {"float32": 1, "float64": 2, "int32": 3, "int64": 9, "float16": 19}
MAGIC = 0xDB4775248B80FB57


def write_bundle(prefix: Path, tensors: Mapping[str, np.ndarray], *, block_keys: int = 20) -> Path:
    """Write PREFIX.index and one shard; returns the prefix."""
    data, entries = bytearray(), {b"": header()}
    for name in sorted(tensors):
        tensor = np.asarray(tensors[name])
        raw = tensor.tobytes()
        entries[name.encode()] = entry(tensor, len(data), raw)
        data += raw
    table = bytearray()
    index: list[tuple[bytes, bytes]] = []
    keys = sorted(entries)
    for start in range(0, len(keys), block_keys):
        part = keys[start : start + block_keys]
        handle = append_block(table, [(key, entries[key]) for key in part])
        index.append((part[-1], handle))
    meta = append_block(table, [])
    root = append_block(table, index)
    footer = meta + root
    table += footer + bytes(40 - len(footer)) + struct.pack("<Q", MAGIC)
    prefix.with_name(prefix.name + ".index").write_bytes(bytes(table))
    prefix.with_name(prefix.name + ".data-00000-of-00001").write_bytes(bytes(data))
    return prefix


def header() -> bytes:
    return number(1, 1) + number(2, 0) + field(3, number(1, 1))


def entry(tensor: np.ndarray, offset: int, raw: bytes) -> bytes:
    shape = b"".join(field(2, number(1, size)) for size in tensor.shape)
    body = number(1, TYPE_NUMBERS[tensor.dtype.name]) + field(2, shape)
    body += number(4, offset) + number(5, len(raw))
    return body + varint(6 << 3 | 5) + struct.pack("<I", masked(crc32c(raw)))


def append_block(table: bytearray, pairs: list[tuple[bytes, bytes]]) -> bytes:
    """Add a block with shared key prefixes; returns its handle."""
    block, last = bytearray(), b""
    for key, value in pairs:
        shared = 0
        while shared < min(len(key), len(last)) and key[shared] == last[shared]:
            shared += 1
        block += varint(shared) + varint(len(key) - shared) + varint(len(value))
        block += key[shared:] + value
        last = key
    block += struct.pack("<II", 0, 1)
    offset = len(table)
    table += block + b"\0" + struct.pack("<I", masked(crc32c(bytes(block) + b"\0")))
    return varint(offset) + varint(len(block))


def field(tag: int, body: bytes) -> bytes:
    return varint(tag << 3 | 2) + varint(len(body)) + body


def number(tag: int, value: int) -> bytes:
    return varint(tag << 3) + varint(value)


def varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
