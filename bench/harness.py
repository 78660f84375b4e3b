"""Interleaved timing: every round runs each library once, so that a slow moment hits all alike."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

Call = Callable[[], Any]


def repeat_count(call: Call, at_least: float = 0.01) -> int:
    """How many calls take about ``at_least`` seconds."""
    count = 1
    while True:
        start = time.perf_counter()
        for _ in range(count):
            call()
        spent = time.perf_counter() - start
        if spent >= at_least:
            return count
        count = max(2 * count, int(count * at_least / max(spent, 1e-9)))


def compare(calls: dict[str, Call], rounds: int = 7) -> dict[str, float]:
    """Best seconds per call of each, over interleaved rounds, after a warm-up."""
    for call in calls.values():
        call()
    counts = {name: repeat_count(call) for name, call in calls.items()}
    best = dict.fromkeys(calls, float("inf"))
    for _ in range(rounds):
        for name, call in calls.items():
            count = counts[name]
            start = time.perf_counter()
            for _ in range(count):
                call()
            best[name] = min(best[name], (time.perf_counter() - start) / count)
    return best
