"""The first call of an op: in a process that finds no kernel, and in one that finds all on disk.

``python -m tilegrad.bench.first NAME:EXPONENT…`` prints the seconds of each call as JSON.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence

from tilegrad.bench.results import figures_of
from tilegrad.bench.sizes import OPS


def calls(words: Sequence[str]) -> dict[str, float]:
    """Seconds of the first call of each, in this process."""
    found = {}
    by_name = {op.name: op for op in OPS}
    for word in words:
        name, _, exponent = word.rpartition(":")
        prepared = by_name[name].row(int(exponent)).prepare("tilegrad")
        start = time.perf_counter()
        prepared.call()
        found[name] = time.perf_counter() - start
    return found


def measure(names: Sequence[str], exponent: int) -> dict[str, dict[str, float]]:
    """``{op: {"cold": seconds, "cached": seconds}}``.

    One process compiles in the order given, so that what an op shares with those before it is there already.
    """
    words = [f"{name}:{exponent}" for name in names]
    with tempfile.TemporaryDirectory() as folder:
        kept = {"TILEGRAD_CACHE_DIR": folder, "TILEGRAD_QUIET": "1"}
        cold, cached = (figures_of("-m", "tilegrad.bench.first", *words, **kept) for _ in range(2))
    return {name: {"cold": cold[name], "cached": cached[name]} for name in names}


if __name__ == "__main__":
    print(json.dumps(calls(sys.argv[1:])))
