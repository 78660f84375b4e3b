"""Interleaved timing: every round runs each library once, so that a slow moment hits all alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, NamedTuple

Call = Callable[[], Any]

SAMPLE = 0.003  # seconds of calls that one sample is made of
SETTLE = 0.002  # a team of threads still spins for some time after its last work
OPENBLAS_SPINS = 0.15  # and OpenBLAS's for 60 to 100 ms, in the way of whoever comes next
BUDGET = 2.0  # seconds after which slow calls get no more rounds than LEAST
LEAST = 5


class Timing(NamedTuple):
    """Seconds per call: the best sample, and the median one over it, near 1 where both can be
    trusted.
    """

    best: float
    spread: float

    @property
    def median(self) -> float:
        """Of the samples."""
        return self.best * self.spread


def repeat_count(call: Call, at_least: float = SAMPLE) -> int:
    """How many calls take about ``at_least`` seconds."""
    count = 1
    while True:
        spent = sample(call, count) * count
        if spent >= at_least:
            return count
        count = max(2 * count, int(count * at_least / max(spent, 1e-9)))


def sample(call: Call, count: int) -> float:
    """Seconds per call over ``count`` calls; the same loop for every library."""
    repeats = range(count)
    start = time.perf_counter()
    for _ in repeats:
        call()
    return (time.perf_counter() - start) / count


def compare(
    calls: dict[str, Call], rounds: int = 15, settle: float = SETTLE, wake: int = 0
) -> dict[str, Timing]:
    """Time each call, over interleaved rounds, after a warm-up; ``settle`` seconds between samples.

    ``wake``: calls before every sample; after a long time without work, threads first have to be
    spread over the processors again.
    """
    for call in calls.values():
        call()
    counts = {name: repeat_count(call) for name, call in calls.items()}
    samples: dict[str, list[float]] = {name: [] for name in calls}
    start = time.perf_counter()
    for done in range(rounds):
        if done >= LEAST and time.perf_counter() - start > BUDGET:
            break
        for name, call in calls.items():
            time.sleep(settle)
            for _ in range(wake or counts[name] > 1):
                call()  # wakes its own threads
            samples[name].append(sample(call, counts[name]))
    return {
        name: Timing(min(found), statistics.median(found) / min(found))
        for name, found in samples.items()
    }
