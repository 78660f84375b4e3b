"""``python -m tests.conformance.subset [--write] [--part K N]``: the rows that were whole still are.

``whole.txt`` lists the ops' rows that agree with PyTorch in each of the first samples of each dtype. CI runs
them, and their arguments by every name and place, (``tests/conformance/test_subset.py``), so that none falls in silence; ``--write`` lists anew.
"""

from __future__ import annotations

import argparse
import sys
import warnings

from tests.conformance import forms, ops, report
from tests.conftest import ROOT
from tests.settled import settle

LIST = ROOT / "tests/conformance/whole.txt"
SAMPLES = 2  # of a row and dtype; the whole database is for the command by hand


def listed() -> list[str]:
    """Titles of rows."""
    return LIST.read_text().splitlines()


def main() -> int:
    """Run the listed rows, or list all that are whole; 1 where one is not."""
    parser = argparse.ArgumentParser(prog="python -m tests.conformance.subset", description=__doc__)
    parser.add_argument("--write", action="store_true", help="list the rows that are whole now")
    parser.add_argument("--part", nargs=2, type=int, default=(0, 1), metavar=("K", "N"))
    given = parser.parse_args()
    settle()
    warnings.simplefilter("ignore")
    rows = {ops.title(op): op for op in ops.entries()}
    part, parts = given.part
    titles = list(rows) if given.write else listed()[part::parts]
    fallen, kept = [], []
    for title in titles:
        if title not in rows:
            fallen.append(f"no row {title}")
            continue
        try:
            found = ops.check(rows[title], SAMPLES)
        except Exception as error:  # of the database itself
            found = ops.Outcome(title, 1, failed=[f"{type(error).__name__}: {error}"[:200]])
        for why in [] if given.write else forms.check(rows[title]):
            found.passed -= 1
            found.fail(why)
        (kept if found.whole else fallen).append(
            title if found.whole else report.line("ops", found)
        )
    if given.write:
        LIST.write_text("".join(f"{title}\n" for title in sorted(kept)))
        return 0
    print("\n".join(fallen))
    print(f"{len(kept)} of {len(titles)} rows whole")
    return 1 if fallen else 0


if __name__ == "__main__":
    sys.exit(main())
