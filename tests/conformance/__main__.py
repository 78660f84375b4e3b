"""``python -m tests.conformance [AREA…] [-k NAME] [--all] [--report FILE] [--jobs N]``: compare with PyTorch.

Areas: ops, modules, optimizers, names. Each row is run by a worker process within a time limit, so that
neither a crash nor a hang ends the rest. Prints what does not agree and the totals; ``--report`` writes
them as a page.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from typing import Any

from tests.conformance import report
from tests.conformance.ops import Outcome

AREAS = ("ops", "modules", "optimizers", "names")
LIMIT = 120  # seconds for a row


def _expire(number: int, frame: Any) -> None:
    raise TimeoutError(f"longer than {LIMIT} s")


def work(job: tuple[str, int, int]) -> tuple[str, Outcome]:
    """One row's outcome."""
    area, number, most = job
    module = importlib.import_module(f"tests.conformance.{area}")
    entry = module.entries()[number]
    signal.signal(signal.SIGALRM, _expire)
    signal.alarm(LIMIT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return area, module.check(entry, most)
    except Exception as error:  # of the database itself, or the time limit
        return area, Outcome(
            module.title(entry), 1, failed=[f"{type(error).__name__}: {str(error)[:200]}"]
        )
    finally:
        signal.alarm(0)


def run(areas: list[str], pattern: str, most: int, jobs: int) -> Iterator[tuple[str, Outcome]]:
    """The outcomes, as they come."""
    found = []
    for area in areas:
        module = importlib.import_module(f"tests.conformance.{area}")
        found += [
            (area, number, most)
            for number, entry in enumerate(module.entries())
            if pattern in module.title(entry)
        ]
    if jobs == 1:
        yield from map(work, found)
        return
    with multiprocessing.get_context("spawn").Pool(jobs) as pool:
        yield from pool.imap(work, found)


def main() -> int:
    """Run and print."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", default=[])
    parser.add_argument("-k", dest="pattern", default="", help="rows whose name has this in it")
    parser.add_argument("--all", action="store_true", help="all samples of each row")
    parser.add_argument("--report", metavar="FILE", help="write the page")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    wrong = [a for a in given.areas if a not in AREAS]
    if wrong:
        parser.error(f"areas are {', '.join(AREAS)}; got {', '.join(wrong)}")
    outcomes: dict[str, list[Outcome]] = {}
    most = sys.maxsize if given.all else 40
    for area, outcome in run(given.areas or list(AREAS), given.pattern, most, given.jobs):
        outcomes.setdefault(area, []).append(outcome)
        if not outcome.whole:
            print(report.line(area, outcome), flush=True)
    for area, rows in outcomes.items():
        print(report.total(area, rows))
    if given.report:
        with open(given.report, "w") as file:
            file.write(report.page(outcomes))
    return 0


if __name__ == "__main__":
    sys.exit(main())
