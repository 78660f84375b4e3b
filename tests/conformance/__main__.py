"""``python -m tests.conformance [AREA…] [-k NAME] [--all] [--report FILE] [--jobs N]``: compare with PyTorch.

Areas: ops, complex_ops, modules, optimizers, names. Each row is run by a worker process within a time limit, so that
neither a crash nor a hang ends the rest. Prints what does not agree and the totals; ``--report`` writes
them as a page.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys

from tests.conformance import report
from tests.conformance.ops import Outcome
from tests.conformance.running import Job, run

AREAS = ("ops", "complex_ops", "modules", "optimizers", "names")


def jobs(areas: list[str], pattern: str, most: int) -> list[Job]:
    """The rows of these areas whose name has the pattern in it."""
    found = []
    for area in areas:
        module = importlib.import_module(f"tests.conformance.{area}")
        found += [
            (area, number, most)
            for number, entry in enumerate(module.entries())
            if pattern in module.title(entry)
        ]
    return found


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
    for area, outcome in run(jobs(given.areas or list(AREAS), given.pattern, most), given.jobs):
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
