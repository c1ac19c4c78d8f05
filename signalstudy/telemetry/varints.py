"""Varints, the numbers of Prometheus's index and of protobuf: seven bits a byte, lowest first."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class VarintError(ValueError):
    """Bytes that are no varint."""


def read_varint(content: bytes | memoryview, at: int) -> tuple[int, int]:
    """Read one varint; gives it and the place behind it."""
    value, shift = 0, 0
    while at < len(content):
        byte = content[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            if value >= 1 << 64:
                break
            return value, at
        shift += 7
        if shift > 63:
            break
    raise VarintError("a number is cut off or longer than ten bytes")


def read_varints(content: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """Read an array that holds nothing but varints."""
    ends = np.flatnonzero(content < 128)
    if content.size == 0:
        return np.zeros(0, np.uint64)
    starts = np.concatenate([np.zeros(1, np.int64), ends[:-1] + 1])
    if ends.size == 0 or ends[-1] != content.size - 1 or (ends - starts).max() > 9:
        raise VarintError("a number is cut off or longer than ten bytes")
    place = np.arange(content.size) - np.repeat(starts, ends - starts + 1)
    parts = (content & 127).astype(np.uint64) << (7 * place).astype(np.uint64)
    found: NDArray[np.uint64] = np.add.reduceat(parts, starts)
    return found


def unzigzag(value: NDArray[np.uint64]) -> NDArray[np.int64]:
    """Turn 0, 1, 2, 3, ... back into 0, -1, 1, -2, ..."""
    one = np.uint64(1)
    found: NDArray[np.int64] = (value >> one).view(np.int64) ^ -(value & one).view(np.int64)
    return found


def write_varint(value: int) -> bytes:
    """Write one varint."""
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
