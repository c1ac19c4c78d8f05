"""CRC32C (Castagnoli), as Prometheus writes it beside every chunk, index section and frame."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

POLYNOMIAL = 0x82F63B78  # reflected, RFC 3720 appendix B.4
LANE_BYTES = 1024
"""Longer slices are cut into lanes, so that NumPy has many to advance at once."""


@cache
def _tables() -> NDArray[np.uint32]:
    """Give tables (8, 256): [k, b] is the CRC of byte b followed by k zero bytes."""
    table = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        table = np.where(table & 1, (table >> 1) ^ np.uint32(POLYNOMIAL), table >> 1)
    rows = [table.astype(np.uint32)]
    for _ in range(7):
        rows.append(rows[0][rows[-1] & 255] ^ (rows[-1] >> 8))
    return np.stack(rows)


@cache
def _over_a_lane() -> NDArray[np.uint32]:
    """Give tables (4, 256), one a byte of the CRC, that advance it over a lane of zeros."""
    state: NDArray[np.uint32] = (
        np.arange(256, dtype=np.uint32)[None, :] << (8 * np.arange(4, dtype=np.uint32))[:, None]
    )
    for _ in range(LANE_BYTES):
        state = _tables()[0][state & 255] ^ (state >> 8)
    return state


def crc32c(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    lengths: NDArray[np.int64],
    *,
    use_numba: bool = True,
) -> NDArray[np.uint32]:
    """Give the CRC32C of `data[offset : offset + length]` for every slice, all inside `data`."""
    from signalstudy.telemetry import compiled  # noqa: PLC0415 - heavy only when used

    if use_numba and compiled.HAS_NUMBA:
        return compiled.crc_loop(data, offsets, lengths, _tables())
    # The first lane of a slice takes what is odd, so that all after it are whole.
    lanes = np.maximum(-(-lengths // LANE_BYTES), 1)
    owner = np.repeat(np.arange(offsets.size), lanes)
    number = np.arange(owner.size) - np.repeat(np.cumsum(lanes) - lanes, lanes)
    first = lengths - (lanes - 1) * LANE_BYTES
    begin = np.where(
        number == 0, offsets[owner], offsets[owner] + first[owner] + (number - 1) * LANE_BYTES
    )
    size = np.where(number == 0, first[owner], LANE_BYTES)
    of_lane = _crc_of_lanes(data, begin, size)
    at = np.cumsum(lanes) - lanes
    crc: NDArray[np.uint32] = of_lane[at]
    over = _over_a_lane()
    for lane in range(1, int(lanes.max(initial=1))):
        open_ = np.flatnonzero(lanes > lane)
        before = crc[open_]
        shifted = over[0][before & 255] ^ over[1][(before >> 8) & 255]
        shifted ^= over[2][(before >> 16) & 255] ^ over[3][before >> 24]
        crc[open_] = shifted ^ of_lane[at[open_] + lane]
    return crc


def _crc_of_lanes(
    data: NDArray[np.uint8], begin: NDArray[np.int64], size: NDArray[np.int64]
) -> NDArray[np.uint32]:
    """Advance all lanes together, the longest first, eight bytes a turn and then the rest."""
    order = np.argsort(-size, kind="stable")
    at, words, rest = begin[order].copy(), size[order] // 8, size[order] % 8
    crc = np.full(at.size, 0xFFFFFFFF, dtype=np.uint32)
    tables = _tables()
    live = np.searchsorted(-words, -np.arange(1, int(words.max(initial=0)) + 1), side="right")
    for m in live:
        low = crc[:m]
        next_ = np.zeros(m, dtype=np.uint32)
        for k in range(8):
            byte = data[at[:m] + k].astype(np.uint32)
            if k < 4:
                byte ^= (low >> np.uint32(8 * k)) & 255
            next_ ^= tables[7 - k][byte]
        crc[:m] = next_
        at[:m] += 8
    for k in range(7):
        open_ = np.flatnonzero(rest > k)
        byte = data[at[open_] + k].astype(np.uint32)
        crc[open_] = tables[0][(crc[open_] ^ byte) & 255] ^ (crc[open_] >> 8)
    found = np.empty_like(crc)
    found[order] = crc ^ np.uint32(0xFFFFFFFF)
    return found


def crc32c_of(content: bytes) -> int:
    """Give the CRC32C of one piece."""
    data = np.frombuffer(content, dtype=np.uint8)
    return int(crc32c(data, np.zeros(1, np.int64), np.array([data.size], np.int64))[0])
