"""CRC-32C (Castagnoli) of large buffers in numpy, and LevelDB's mask of it.

The buffer is cut into lanes that are worked on side by side; the lanes' sums are joined by the
linearity of the CRC: appending zero bytes is a matrix over GF(2).
Source: RFC 3720, appendix B.4; zlib's `crc32_combine`.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

_POLYNOMIAL = 0x82F63B78  # reflected
_LANES = 4096
_MASK_DELTA = 0xA282EAD8


def crc32c(data: bytes | memoryview) -> int:
    """The checksum of some bytes; 0 for none."""
    octets = np.frombuffer(data, np.uint8)
    length = len(octets) // _LANES
    if length < 16:
        return _plain(octets, 0xFFFFFFFF) ^ 0xFFFFFFFF
    lanes = octets[: length * _LANES].reshape(_LANES, length).T.copy()
    table = _table()
    state = np.zeros(_LANES, np.uint32)
    state[0] = 0xFFFFFFFF  # the others are started at 0 and joined
    for row in lanes:
        state = table[(state ^ row) & 0xFF] ^ (state >> 8)
    shift = _zeros_appended(length)
    total = 0
    for lane in state.tolist():
        total = _times(shift, total) ^ lane
    return _plain(octets[length * _LANES :], total) ^ 0xFFFFFFFF


def masked(crc: int) -> int:
    """LevelDB's form of a stored checksum: rotated right by 15 bits, plus a constant."""
    return ((crc >> 15 | crc << 17) + _MASK_DELTA) & 0xFFFFFFFF


def _plain(octets: npt.NDArray[np.uint8], state: int) -> int:
    table = _table().tolist()
    for octet in octets.tolist():
        state = table[(state ^ octet) & 0xFF] ^ state >> 8
    return state


@lru_cache(maxsize=1)
def _table() -> npt.NDArray[np.uint32]:
    values = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        values = np.where(values & 1, values >> 1 ^ np.uint32(_POLYNOMIAL), values >> 1)
    return values.astype(np.uint32)


def _zeros_appended(count: int) -> list[int]:
    """Columns of the (32, 32) matrix over GF(2) that appends `count` zero bytes."""
    one_bit = [_POLYNOMIAL, *(1 << bit for bit in range(31))]
    power = one_bit
    for _ in range(3):
        power = [_times(power, column) for column in power]  # 2, 4, 8 bits
    result = [1 << bit for bit in range(32)]
    while count:
        if count & 1:
            result = [_times(power, column) for column in result]
        power = [_times(power, column) for column in power]
        count >>= 1
    return result


def _times(matrix: list[int], vector: int) -> int:
    total, index = 0, 0
    while vector:
        if vector & 1:
            total ^= matrix[index]
        vector >>= 1
        index += 1
    return total
