"""Two runs, A before and B after: what is slower or faster, beyond what the runs differ by themselves?

The other libraries' columns are the control: they did not change, so the median of their ratios is how much the machine
itself did, and their scatter is the noise between two runs. A row changes where its ratio, less the machine's, is beyond
--fail-over and beyond its noise, the largest of: that scatter; the row's own between its samples; and how far the other
libraries moved in the very row, as a neighbour on the processor slows all that is measured for a moment. The exit status
is 1 if a row is slower, 0 if none is.
"""

from __future__ import annotations

import argparse
import math
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tilegrad.bench import store
from tilegrad.bench.columns import spoken
from tilegrad.bench.failure import Failure
from tilegrad.bench.figures import geometric_mean, seconds
from tilegrad.bench.store import Results

DEVIATIONS = 3.0  # of the noise, beside what a number of rows adds
LEAST_CONTROL = 5  # ratios of a control, at least

Key = tuple[str, str, str]


class Change(NamedTuple):
    """A row of tilegrad's in both runs; ``ratio``: B's time over A's, less the machine's; ``noise``: of its logarithm."""

    name: str
    column: str
    before: float
    after: float
    ratio: float
    noise: float

    def verdict(self, by: float, deviations: float) -> str:
        """``slower``, ``faster`` or nothing."""
        beyond = max(math.log1p(by), deviations * self.noise)
        moved = math.log(self.ratio)
        return "slower" if moved > beyond else "faster" if moved < -beyond else ""


class Comparison(NamedTuple):
    """All rows, and the machine's own ratio and scatter."""

    changes: list[Change]
    machine: float
    scatter: float
    control: int

    @property
    def deviations(self) -> float:
        """How many of the noise a row has to be beyond: more rows, more chances for one to stand out."""
        return DEVIATIONS + math.log10(max(1, len(self.changes)))


def _rows(results: Results) -> dict[Key, dict[str, Any]]:
    return {
        (r["name"], r["column"], r["dtype"]): r
        for r in results["rows"]
        if "min" in r and r["agrees"]
    }


def _own(record: dict[str, Any]) -> float:
    """How far the best samples of its two halves are apart, as a logarithm."""
    samples = record["samples"]
    if len(samples) < 4:
        return 0.0
    halves = min(samples[::2]), min(samples[1::2])
    return abs(math.log(halves[0] / halves[1]))


def _beside(one: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether two columns were measured in turn."""
    return one["library"] != "numpy" and all(
        one[what] == other[what] for what in ("name", "dtype", "device", "threads")
    )


def _scatter(logs: Sequence[float]) -> tuple[float, float]:
    """Median, and the deviation that the median distance from it stands for."""
    middle = statistics.median(logs)
    return middle, 1.4826 * statistics.median([abs(x - middle) for x in logs])


def compare(before: Results, after: Results) -> Comparison:
    """The rows that both runs have.

    Raises:
        Failure: they have none in common.
    """
    a, b = _rows(before), _rows(after)
    shared = [k for k in a if k in b]
    ours = [k for k in shared if a[k]["library"] == "tilegrad"]
    if not ours:
        raise Failure("the two runs have no row of tilegrad's in common")
    others = {
        k: math.log(b[k]["min"] / a[k]["min"]) for k in shared if a[k]["library"] != "tilegrad"
    }
    control = list(others.values())
    logs = [math.log(b[k]["min"] / a[k]["min"]) for k in ours]
    if len(control) >= LEAST_CONTROL:
        shift, scatter = _scatter(control)
    else:  # nothing says what the machine did: rows scatter about their own median
        shift, scatter = 0.0, _scatter(logs)[1]
    changes = []
    for k, log in zip(ours, logs, strict=True):
        beside = [abs(other - shift) for o, other in others.items() if _beside(a[o], a[k])]
        noise = max(scatter, _own(a[k]), _own(b[k]), *beside)
        changes.append(Change(k[0], k[1], a[k]["min"], b[k]["min"], math.exp(log - shift), noise))
    return Comparison(changes, math.exp(shift), scatter, len(control))


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench compare``."""
    option = parser.add_argument
    option("before", type=Path, metavar="A", help="a run's folder, or its results.json")
    option("after", type=Path, metavar="B", help="another")
    option(
        "--fail-over",
        type=_percent,
        default=0.05,
        metavar="5%",
        help="what counts, beside the noise (5%%)",
    )
    option("--all", action="store_true", help="print every row, not the changed ones alone")


def _percent(text: str) -> float:
    try:
        value = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        value = -1.0
    if not 0 <= value < 100:
        raise argparse.ArgumentTypeError(f"must be like 5% or 0.05; got {text!r}")
    return value


def run(given: argparse.Namespace) -> int:
    """Print; 1 if a row is slower."""
    before, after = store.load(given.before), store.load(given.after)
    found = compare(before, after)
    verdicts = [c.verdict(given.fail_over, found.deviations) for c in found.changes]
    for change, verdict in sorted(
        zip(found.changes, verdicts, strict=True), key=lambda p: -p[0].ratio
    ):
        if verdict or given.all:
            times = f"{seconds(change.before):>9} -> {seconds(change.after):>9}"
            print(f"{change.name:34}{spoken(change.column):24}{times}{change.ratio:>7.2f}x"
                  f"  noise {change.noise:.1%}  {verdict}".rstrip())  # fmt: skip
    slower, faster = verdicts.count("slower"), verdicts.count("faster")
    mean = geometric_mean([c.ratio for c in found.changes])
    what = (
        f"{found.control} rows of other libraries"
        if found.control >= LEAST_CONTROL
        else "no control"
    )
    print(f"{len(verdicts)} rows, {slower} slower, {faster} faster, geometric mean {mean:.3f}; the machine: "
          f"{found.machine:.3f} with noise {found.scatter:.1%} by {what}")  # fmt: skip
    blind = found.deviations * found.scatter
    if blind > math.log1p(given.fail_over) and not slower:
        print(f"the noise hides changes of less than {math.expm1(blind):.0%}")
    return int(slower > 0)
