"""The processor's caches of data: how many lines may be read in turn, and what stays near."""

from __future__ import annotations

from functools import cache
from math import gcd
from pathlib import Path

FOLDER = Path("/sys/devices/system/cpu/cpu0/cache")
KINDS = {1: "Data", 2: "Unified"}  # of the caches that hold data, by level
USUAL = {1: 32 << 10, 2: 256 << 10}  # their bytes, where the system does not tell
WAY = 4096  # bytes with places of their own: what is a multiple of it apart competes for few
LINE = 64


@cache
def size(level: int = 1) -> int:
    """Bytes of data that one core has in its cache of this level, 1 or 2."""
    for folder in sorted(FOLDER.glob("index*")):
        try:
            facts = [(folder / name).read_text().strip() for name in ("level", "type", "size")]
        except OSError:
            continue
        if (
            facts[:2] == [str(level), KINDS[level]]
            and facts[2].endswith("K")
            and facts[2][:-1].isdigit()
        ):
            return int(facts[2][:-1]) << 10
    return USUAL[level]


def places(step: int) -> int:
    """How many lines that lie ``step`` bytes apart it holds at a time."""
    return size() // max(LINE, gcd(step, WAY))
