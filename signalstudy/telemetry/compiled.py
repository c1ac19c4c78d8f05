"""Loops over single bits and bytes, compiled by numba where it is installed.

The arrays and the answers are those of chunks.py and checksums.py, which say what they mean.
Importing numba takes a second, so this module is imported where chunks are decoded, not before.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np

from signalstudy.telemetry.chunks import BAD_WIDTH, GOOD, TRUNCATED

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    Bytes = NDArray[np.uint8]
    Words = NDArray[np.uint64]
    Integers = NDArray[np.int64]

try:
    _numba: Any = import_module("numba")
except ImportError:
    _numba = None

HAS_NUMBA = _numba is not None
_ONE = np.uint64(1)
_Loop = TypeVar("_Loop", bound="Callable[..., Any]")


def _compiled(loop: _Loop) -> _Loop:
    if not HAS_NUMBA:
        return loop
    try:
        return cast("_Loop", _numba.njit(cache=True, nogil=True)(loop))
    except RuntimeError:  # nowhere to keep what was compiled: it is compiled each time
        return cast("_Loop", _numba.njit(nogil=True)(loop))


@_compiled
def crc_loop(
    data: Bytes, offsets: Integers, lengths: Integers, tables: NDArray[np.uint32]
) -> NDArray[np.uint32]:
    """CRC32C of slices, eight bytes a turn. `tables` (8, 256), as in checksums.py."""
    found = np.empty(offsets.size, dtype=np.uint32)
    for which in range(offsets.size):
        at = offsets[which]
        end = at + lengths[which]
        crc = np.uint32(0xFFFFFFFF)
        while at + 8 <= end:
            a = np.uint8(crc & np.uint32(255)) ^ data[at]
            b = np.uint8((crc >> np.uint32(8)) & np.uint32(255)) ^ data[at + 1]
            c = np.uint8((crc >> np.uint32(16)) & np.uint32(255)) ^ data[at + 2]
            d = np.uint8(crc >> np.uint32(24)) ^ data[at + 3]
            crc = tables[7, a] ^ tables[6, b] ^ tables[5, c] ^ tables[4, d]
            crc ^= tables[3, data[at + 4]] ^ tables[2, data[at + 5]]
            crc ^= tables[1, data[at + 6]] ^ tables[0, data[at + 7]]
            at += 8
        while at < end:
            low = np.uint8(crc & np.uint32(255)) ^ data[at]
            crc = tables[0, low] ^ (crc >> np.uint32(8))
            at += 1
        found[which] = crc ^ np.uint32(0xFFFFFFFF)
    return found


@_compiled
def _peek(data: Bytes, position: np.int64) -> np.uint64:
    """Give the 64 bits from bit `position` on, the first one highest."""
    at = position >> 3
    word = np.uint64(data[at]) << np.uint64(56) | np.uint64(data[at + 1]) << np.uint64(48)
    word |= np.uint64(data[at + 2]) << np.uint64(40) | np.uint64(data[at + 3]) << np.uint64(32)
    word |= np.uint64(data[at + 4]) << np.uint64(24) | np.uint64(data[at + 5]) << np.uint64(16)
    word |= np.uint64(data[at + 6]) << np.uint64(8) | np.uint64(data[at + 7])
    off = np.uint64(position & 7)
    return (word << off) | (np.uint64(data[at + 8]) >> (np.uint64(8) - off))


@_compiled
def _varint(data: Bytes, position: np.int64, last: np.int64) -> tuple[np.uint64, np.int64]:
    """Read a varint; its end is behind `last` where it is cut off."""
    raw, shift = np.uint64(0), 0
    while position < last and shift <= 63:
        part = np.uint64(data[position >> 3])
        position += 8
        raw |= (part & np.uint64(127)) << np.uint64(shift)
        shift += 7
        if part < np.uint64(128):
            return raw, position
    return raw, last + 1


@_compiled
def _step(data: Bytes, position: np.int64) -> tuple[np.int64, np.int64]:
    """Read a change of the step: 0, 10 + 14 bits, 110 + 17, 1110 + 20, 1111 + 64."""
    word = _peek(data, position)
    if not word >> np.uint64(63):
        return np.int64(0), position + 1
    ones = 1
    while ones < 4 and (word >> np.uint64(63 - ones)) & _ONE:
        ones += 1
    if ones == 4:
        return np.int64(_peek(data, position + 4)), position + 68
    width = 11 + 3 * ones
    change = np.int64((word << np.uint64(ones + 1)) >> np.uint64(64 - width))
    if change > (1 << (width - 1)):
        change -= np.int64(1 << width)
    return change, position + ones + 1 + width


@_compiled
def _change(
    data: Bytes, position: np.int64, last: np.int64, leading: np.int64, trailing: np.int64
) -> tuple[np.uint64, np.int64, np.int64, np.int64]:
    """Read the XOR of a value: 0, 10 + what the last window holds, 11 + a new window.

    Gives it, the position behind it and the window; `trailing` < 0 is impossible.
    """
    word = _peek(data, position)
    if not word >> np.uint64(63):
        return np.uint64(0), position + 1, leading, trailing
    position += 2
    if (word >> np.uint64(62)) & _ONE:
        position += 11
        leading = np.int64((word >> np.uint64(57)) & np.uint64(31))
        width = np.int64((word >> np.uint64(51)) & np.uint64(63))
        if width == 0:
            width = np.int64(64)
        trailing = 64 - leading - width
        if trailing < 0:
            return np.uint64(0), position, leading, trailing
    width = 64 - leading - trailing
    if position + width > last:
        return np.uint64(0), position + width, leading, trailing
    xor = (_peek(data, position) >> np.uint64(64 - width)) << np.uint64(trailing)
    return xor, position + width, leading, trailing


@_compiled
def xor_loop(  # noqa: PLR0917 - compiled loops take their arguments by place
    data: Bytes,
    offsets: Integers,
    ends: Integers,
    starts: Integers,
    counts: Integers,
    times: Integers,
    bits: Words,
) -> NDArray[np.int8]:
    """Decode XOR chunks one after another; `data` has at least 16 spare bytes at its end.

    Sample i of chunk c goes to `starts[c] + i`. Gives the state of each chunk.
    """
    states = np.zeros(offsets.size, dtype=np.int8)
    for which in range(offsets.size):
        out = starts[which]
        position, last = 8 * (offsets[which] + 2), 8 * ends[which]
        time, delta, value = np.int64(0), np.int64(0), np.uint64(0)
        leading, trailing, state = np.int64(0), np.int64(0), GOOD
        for i in range(counts[which]):
            if i == 0:
                raw, position = _varint(data, position, last)
                time = np.int64(raw >> _ONE) ^ -np.int64(raw & _ONE)
            elif i == 1:
                raw, position = _varint(data, position, last)
                delta = np.int64(raw)
            elif position < last:
                change, position = _step(data, position)
                delta += change
            time += delta
            if position >= last:
                state = TRUNCATED
                break
            if i == 0:
                value = _peek(data, position)
                position += 64
            else:
                xor, position, leading, trailing = _change(data, position, last, leading, trailing)
                value ^= xor
            if position > last:
                state = TRUNCATED
                break
            if trailing < 0:
                state = BAD_WIDTH
                break
            times[out + i] = time
            bits[out + i] = value
        states[which] = state
    return states
