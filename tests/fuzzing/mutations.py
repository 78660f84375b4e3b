"""Bytes spoiled at random: single ones, runs, numbers, lengths, ends."""

from __future__ import annotations

import random
import re

# numbers where sizes, offsets and lengths go wrong
_NUMBERS = (0, 1, 2, 127, 128, 255, 256, 65535, 1 << 24, (1 << 31) - 1, 1 << 31, (1 << 32) - 1, 1 << 40,
            (1 << 63) - 1, 1 << 63, (1 << 64) - 1)  # fmt: skip
_WORDS = (b"null", b"-1", b"1e999", b"[]", b"{}", b'""', b"true", b"99999999999999999999", b"NaN", b"../../x",
          b"\xff\xfe", b"\0")  # fmt: skip


def _place(data: bytearray, source: random.Random) -> int:
    """Mostly near the start, where headers are."""
    if source.random() < 0.6:
        return source.randrange(min(len(data), 512))
    return source.randrange(len(data))


def _byte(data: bytearray, source: random.Random) -> None:
    data[_place(data, source)] = source.randrange(256)


def _bit(data: bytearray, source: random.Random) -> None:
    data[_place(data, source)] ^= 1 << source.randrange(8)


def _cut(data: bytearray, source: random.Random) -> None:
    place = _place(data, source)
    del data[place : place + source.randint(1, 40)]


def _double(data: bytearray, source: random.Random) -> None:
    place, other = _place(data, source), _place(data, source)
    data[other:other] = data[place : place + source.randint(1, 200)]


def _end(data: bytearray, source: random.Random) -> None:
    del data[source.randrange(len(data)) :]


def _noise(data: bytearray, source: random.Random) -> None:
    place = _place(data, source)
    data[place:place] = source.randbytes(source.randint(1, 60))


def _number(data: bytearray, source: random.Random) -> None:
    place, size = _place(data, source), source.choice((1, 2, 4, 8))
    value = source.choice(_NUMBERS) % (1 << 8 * size)
    data[place : place + size] = value.to_bytes(size, source.choice(("little", "little", "big")))


def _varint(data: bytearray, source: random.Random) -> None:
    value, made = source.choice(_NUMBERS), b""
    while value > 127:
        made, value = made + bytes([value & 127 | 128]), value >> 7
    place = _place(data, source)
    data[place : place + source.randint(0, 2)] = made + bytes([value])


def _text(data: bytearray, source: random.Random) -> None:
    """Another number, or word, in what may be JSON."""
    found = [m.span() for m in re.finditer(rb"\d+|\w+", bytes(data[:8192]))]
    if found:
        start, stop = source.choice(found)
        word = source.choice((*_WORDS, *(str(n).encode() for n in _NUMBERS)))
        data[start:stop] = word


_WAYS = (_byte, _bit, _cut, _double, _end, _noise, _number, _varint, _text)


def mutated(data: bytes, source: random.Random) -> bytes:
    """``data`` with one to five things wrong."""
    made = bytearray(data)
    for _ in range(source.randint(1, 5)):
        if made:
            source.choice(_WAYS)(made, source)
    return bytes(made)
