"""CPU on one thread, CPU on all threads and GPU, beside PyTorch, NumPy and CuPy: ops from 2^10 to 2^26 elements,
and whole trainings to a stated accuracy.

Results go to a folder: results.json, results.csv and report.html, one page to look at. Without a GPU the report says
what one would add; --gpu-results shows figures of another machine's.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from tilegrad.bench import (
    columns,
    finish,
    first,
    jobs,
    machine,
    measure,
    options,
    roofline,
    sizes,
    store,
    trainings,
)
from tilegrad.bench.areas import Benchmark
from tilegrad.bench.columns import Column
from tilegrad.bench.failure import Failure
from tilegrad.bench.jobs import Job
from tilegrad.bench.measure import How
from tilegrad.bench.sizes import Op
from tilegrad.bench.steps import STEPS
from tilegrad.bench.store import Results

QUICK_SIZES = [10, 16, 22]
FIRST = 16  # exponent of the first calls
TWICE = 20  # largest exponent that is looked at twice
LONGEST, LONGEST_QUICK = 1.5, 0.35  # seconds that a call may take
KEPT = ("quick", "sizes", "dtype", "devices", "threads", "against", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench``."""
    option = parser.add_argument
    option(
        "--quick",
        action="store_true",
        help="nine ops, three sizes, one training: two minutes at most",
    )
    option(
        "--sizes",
        type=options.exponents,
        metavar="2^10:2^26",
        help="numbers of elements, every other power",
    )
    options.add_dtype(parser)
    options.add_places(parser)
    option("--seed", type=int, default=0, help="of all operands (%(default)s)")
    options.add_output(parser)


def run(given: argparse.Namespace) -> int:
    """Measure, write, print where; 130 after Ctrl-C."""
    place, results = begin("headline", given, KEPT)
    found = options.places(given)
    exponents = given.sizes or (QUICK_SIZES if given.quick else list(range(10, 27, 2)))
    chosen = [op for op in sizes.OPS if not given.quick or op.name in sizes.QUICK]
    todo = roofs(found, exponents, given.quick, given.dtype)
    rate = how(given)
    todo += sized(chosen, exponents, found, rate)
    if not given.quick:
        todo += fixed([s for s in STEPS.values() if s.area == "training"], found, rate)
    todo += courses(trainings.QUICK if given.quick else trainings.TRAININGS, found, given.quick)
    todo.append(firsts([op.name for op in chosen if not op.transfer][: 3 if given.quick else None]))
    status = jobs.carry_out(todo, results, place, given.limit)
    finish.finish(results, place, given.gpu_results)
    return status


def begin(command: str, given: argparse.Namespace, kept: tuple[str, ...]) -> tuple[Path, Results]:
    """The folder and its results: new, or those that are gone on with, whose options are taken over.

    Raises:
        Failure: there is nothing to go on with, or it is another command's.
    """
    finish.check(given.gpu_results)
    if given.resume is None:
        options.places(given)  # what is not there is said before anything is made
        place = store.folder(given.out)
        brief = bool(getattr(given, "quick", False))
        facts = jobs.header(columns.everything(), given.seed, brief)
        return place, store.empty(command, options.kept(given, kept), facts)
    results = store.load(given.resume)
    if results["command"] != command:
        raise Failure(f"{given.resume} is a run of {results['command']!r}, not of {command!r}")
    for name, value in results["options"].items():
        setattr(given, name, value)
    results["finished"] = False
    results["left_out"] = [x for x in results["left_out"] if not x["why"].startswith("--limit")]
    return store.path_of(given.resume).parent, results


def how(given: argparse.Namespace) -> How:
    """How long and how often."""
    cache = max(
        machine.last_cache(), machine.gpu_cache() if "cuda" in columns.devices(given.devices) else 0
    )
    if getattr(given, "quick", False):
        return How(rounds=7, budget=0.06, sample=0.001, cache=0, dtype=given.dtype, seed=given.seed)
    return How(cache=cache, dtype=given.dtype, rounds=getattr(given, "rounds", 15), seed=given.seed)


def roofs(found: Sequence[Column], exponents: Sequence[int], quick: bool, dtype: str) -> list[Job]:
    """What the device can do: a job for each that columns stand under."""

    def measured(name: str, group: list[Column], results: Results) -> None:
        results["roofline"][name] = roofline.measure(group, exponents, quick, dtype)

    groups = roofline.groups(found)
    weight = 1.0 if quick else 4.0
    return [Job(f"roofline {n}", weight, partial(measured, n, g)) for n, g in groups.items()]


def sized(
    ops: Sequence[sizes.Op], exponents: Sequence[int], found: Sequence[Column], rate: How
) -> list[Job]:
    """Ops at these sizes; small ones are looked at twice, the second time when all have had their first, as
    what disturbs a machine lasts longer than one of their looks.
    """
    every = [Sized(op, found, rate) for op in ops]
    return [job for s in every for job in s.jobs(exponents)] + [
        job for s in every for job in s.jobs([e for e in exponents if e <= TWICE], again=True)
    ]


class Sized:
    """An op at each of its sizes, small ones first: a column drops out where a call would take too long."""

    def __init__(self, op: Op, found: Sequence[Column], rate: How):
        self.op, self.found, self.rate = op, found, rate
        self.longest = LONGEST_QUICK if rate.budget < How.budget else LONGEST
        self.pace: dict[str, float] = {}  # seconds for each byte and operation, by column

    def jobs(self, exponents: Sequence[int], again: bool = False) -> list[Job]:
        """One a size, for the first look at it or the second."""
        which, run = (" again", self.measure_again) if again else ("", self.measure)
        return [
            Job(f"{self.op.name}, 2^{e}{which}", self._weight(e), partial(run, e))
            for e in exponents
        ]

    def _weight(self, exponent: int) -> float:
        work = 1 + self.op.flops(self.op.shapes(1 << exponent)) / 1e9
        return 0.3 + 0.15 * len(self.found) / self._looks(exponent) + 2.0 ** (exponent - 23) * work

    @staticmethod
    def _looks(exponent: int) -> int:
        return 2 if exponent <= TWICE else 1

    def _rate(self, exponent: int) -> How:
        """Of one look."""
        looks = self._looks(exponent)
        return replace(
            self.rate, rounds=-(-self.rate.rounds // looks), budget=self.rate.budget / looks
        )

    def measure(self, exponent: int, results: Results) -> None:
        """One size, in the columns that are left."""
        row = self.op.row(exponent)
        work = row.flops + row.nbytes
        slow = {k: p * work for k, p in self.pace.items() if p * work > self.longest}
        for key, expected in slow.items():
            what = f"{row.name}, {columns.spoken(key)}"
            why = f"a call would take about {expected:.1f} s"
            results["left_out"].append({"what": what, "why": why})
        taken = [c for c in self.found if c.key not in slow]
        if not any(c.library == "tilegrad" for c in taken):
            return
        records = measure.measure(row, taken, self._rate(exponent), results["roofline"])
        self.pace |= {r["column"]: r["min"] / work for r in records if "min" in r}
        results["rows"] += records

    def measure_again(self, exponent: int, results: Results) -> None:
        """The same size, in the columns that could run it: their records get more samples."""
        row = self.op.row(exponent)
        earlier = {
            r["column"]: r
            for r in results["rows"]
            if r["name"] == row.name and r["dtype"] == self.rate.dtype and "min" in r
        }
        again = [c for c in self.found if c.key in earlier and c.library != "torch.compile"]
        if not again:
            return
        rate, roofs = self._rate(exponent), results["roofline"]
        for record in measure.measure(row, again, rate, roofs, list(earlier.values())):
            if "min" in record:
                earlier[record["column"]].update(record)
        measure.speedups(list(earlier.values()))


def fixed(rows: Sequence[Benchmark], found: Sequence[Column], rate: How) -> list[Job]:
    """Rows of one size: those of the areas' tables, and steps of training."""

    def measured(row: Benchmark, results: Results) -> None:
        results["rows"] += measure.measure(row, found, rate, results["roofline"])

    weight = 0.3 + 0.2 * len(found)
    return [Job(f"{r.area}: {r.name}", weight, partial(measured, r)) for r in rows]


def courses(
    chosen: Sequence[trainings.Training], found: Sequence[Column], quick: bool
) -> list[Job]:
    """The trainings."""

    def measured(one: trainings.Training, results: Results) -> None:
        results["trainings"] += trainings.measure(one, found)

    weight = 2.0 if quick else 12.0
    return [Job(f"training: {t.name}", weight, partial(measured, t)) for t in chosen]


def firsts(names: Sequence[str]) -> Job:
    """First calls, cold and from disk, added to the rows that are there."""

    def measured(results: Results) -> None:
        found = first.measure(names, FIRST)
        for record in results["rows"]:
            if record["library"] == "tilegrad" and record["op"] in found and "min" in record:
                record["first_call"] = found[record["op"]]

    return Job("first calls", 3.0 * len(names), measured)
