"""``python -m bench``: tilegrad against PyTorch and NumPy, measured in one interleaved run.

Ratios are PyTorch's time over ours: above 1, tilegrad is faster.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path
from typing import Any

from bench import libraries, machine, table
from bench.areas import MARKS, chosen


def write(path: Path | None, content: dict[str, Any]) -> None:
    """Keep results as JSON, if somebody wants them."""
    if path is not None:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(content, indent=1) + "\n")


def run_table(options: argparse.Namespace) -> int:
    """All rows, the areas against their marks."""
    libraries.start(options.threads)
    begin = time.perf_counter()
    facts = machine.facts(options.threads)
    for name, value in facts.items():
        print(f"{name:36}{value}")
    results: list[table.Result] = []
    others, area = machine.Others(), ""
    for row in chosen(options.area, options.part):
        if row.area != area:
            area = row.area
            print(f"\n{area}\n{table.HEAD}")
        results.append(table.measure(row, options.rounds, options.check))
        print(table.line(results[-1]), flush=True)
    areas = table.summary(results)
    print("", *table.summary_lines(areas), sep="\n")
    facts["taken by other processes"] = f"{others.share():.1%} of the processors"
    print(
        f"{time.perf_counter() - begin:.0f} s; other processes took "
        f"{facts['taken by other processes']} meanwhile"
    )
    write(
        options.out, {"machine": facts, "rounds": options.rounds, "rows": results, "areas": areas}
    )
    return int(any(s["wrong"] for s in areas.values()))


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("-k", dest="part", default="", help="only rows with this in area/name")
    parser.add_argument("--area", nargs="+", choices=MARKS, default=[], help="only these areas")
    parser.add_argument(
        "--rounds", type=int, default=9, help="samples of each library (%(default)s)"
    )
    parser.add_argument("--threads", type=int, default=2, help="of each library (%(default)s)")
    parser.add_argument("--out", type=Path, help="write the figures here, as JSON")
    parser.add_argument("--no-check", dest="check", action="store_false", help="compare no results")
    return run_table(parser.parse_args())


if __name__ == "__main__":
    sys.exit(main())
