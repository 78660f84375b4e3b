"""The processor's first-level cache of data, which decides how many lines may be read in turn."""

from __future__ import annotations

from functools import cache
from math import gcd
from pathlib import Path

FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")
USUAL = 32 << 10  # bytes, where the system does not tell
WAY = 4096  # bytes with places of their own: what is a multiple of it apart competes for few
LINE = 64


@cache
def size() -> int:
    """Bytes that one core has."""
    for folder in sorted(FOLDER.glob("index*")):
        try:
            facts = [(folder / name).read_text().strip() for name in ("level", "type", "size")]
        except OSError:
            continue
        if facts[:2] == ["1", "Data"] and facts[2].endswith("K") and facts[2][:-1].isdigit():
            return int(facts[2][:-1]) << 10
    return USUAL


def places(step: int) -> int:
    """How many lines that lie ``step`` bytes apart it holds at a time."""
    return size() // max(LINE, gcd(step, WAY))
