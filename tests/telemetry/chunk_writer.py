"""A second implementation, the other way round: samples to chunks, bit by bit, for tests."""

from __future__ import annotations

import struct


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 128:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def zigzag(value: int) -> bytes:
    return varint((value << 1) ^ (value >> 63) if value >= 0 else ((-value) << 1) - 1)


def bits_of(value: float) -> int:
    return struct.unpack(">Q", struct.pack(">d", value))[0]


class BitWriter:
    def __init__(self) -> None:
        self.text: list[str] = []

    def write(self, value: int, width: int) -> None:
        if width:
            self.text.append(format(value & ((1 << width) - 1), f"0{width}b"))

    def content(self) -> bytes:
        text = "".join(self.text)
        text += "0" * (-len(text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big") if text else b""


STEPS = ((0, 1, 0), (0b10, 2, 14), (0b110, 3, 17), (0b1110, 4, 20), (0b1111, 4, 64))


def fits(change: int, width: int) -> bool:
    if width == 0:
        return change == 0
    return -((1 << (width - 1)) - 1) <= change <= 1 << (width - 1)


def encode(times: list[int], bits: list[int]) -> bytes:
    """Write one XOR chunk from its count on, as Prometheus's appender does."""
    count = len(times).to_bytes(2, "big")
    if not times:
        return count
    start = count + zigzag(times[0]) + bits[0].to_bytes(8, "big")
    if len(times) == 1:
        return start
    delta = times[1] - times[0]
    start += varint(delta % (1 << 64))
    out = BitWriter()
    leading, trailing, known = 0, 0, False
    for i in range(1, len(times)):
        if i > 1:
            change = times[i] - times[i - 1] - delta
            delta += change
            prefix, prefix_width, width = next(
                row for row in STEPS if row[2] == 64 or fits(change, row[2])
            )
            out.write(prefix, prefix_width)
            out.write(change, width)
        xor = bits[i] ^ bits[i - 1]
        if xor == 0:
            out.write(0, 1)
            continue
        out.write(1, 1)
        ahead = min(64 - xor.bit_length(), 31)
        behind = (xor & -xor).bit_length() - 1
        if known and ahead >= leading and behind >= trailing:
            out.write(0, 1)
        else:
            leading, trailing, known = ahead, behind, True
            width = 64 - ahead - behind
            out.write(1, 1)
            out.write(ahead, 5)
            out.write(width % 64, 6)
        out.write(xor >> trailing, 64 - leading - trailing)
    return start + out.content()
