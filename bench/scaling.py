"""What more threads bring: the table with 1 and 2 threads, each in a process of its own.

The efficiency is the time of one thread over that of n threads, over n; of rows that take a
millisecond or more on one thread, since smaller work is not shared out.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

from tilegrad.bench import machine
from tilegrad.bench.areas import MARKS
from tilegrad.bench.figures import geometric_mean, seconds
from tilegrad.bench.results import add_out, child, write

LEAST = 1e-3  # seconds on one thread
AREAS = [area for area in MARKS if area != "overhead"]
LIBRARIES = ("tilegrad", "torch")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench scaling``."""
    option = parser.add_argument
    option("-k", dest="part", default="", metavar="TEXT", help="only rows with this in area/name")
    option("--area", nargs="+", choices=AREAS, default=AREAS, help="only these areas")
    option("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (1 2)")
    option("--rounds", type=int, default=5, help="samples of each library (%(default)s)")
    add_out(parser)


def _table(threads: int, options: argparse.Namespace) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.json"
        child(
            "-m", "tilegrad.bench", "table", "--no-check", "--threads", str(threads), "--rounds",
            str(options.rounds), "--out", str(path), "-k", options.part, "--area", *options.area,
        )  # fmt: skip
        found: dict[str, Any] = json.loads(path.read_text())["table"]
        return found


def _rows(tables: dict[int, dict[str, Any]]) -> list[dict[str, Any]]:
    """Per row and library: seconds by number of threads, efficiency of the largest number."""
    least, most = min(tables), max(tables)
    found = []
    for same in zip(*(tables[n]["rows"] for n in sorted(tables)), strict=True):
        row: dict[str, Any] = {"area": same[0]["area"], "name": same[0]["name"]}
        for library in LIBRARIES:
            times = {n: r["seconds"].get(library) for n, r in zip(sorted(tables), same)}
            if None in times.values() or times[least] < LEAST:
                continue
            efficiency = times[least] * least / times[most] / most
            row[library] = {"seconds": times, "efficiency": efficiency}
        if "tilegrad" in row:
            found.append(row)
    return found


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    tables = {n: _table(n, options) for n in options.threads}
    facts = tables[options.threads[-1]]["machine"]
    print(*machine.lines({k: v for k, v in facts.items() if k != "threads"}), sep="\n")
    rows = _rows(tables)
    print("\nseconds by threads, and efficiency", flush=True)
    for row in rows:
        print(_line(row))
    print(f"\n{'area':14}{'rows':>5}" + "".join(f"{x:>12}" for x in LIBRARIES))
    areas = {}
    for area in options.area:
        areas[area] = means = {
            x: geometric_mean([r[x]["efficiency"] for r in rows if r["area"] == area and x in r])
            for x in LIBRARIES
            if any(r["area"] == area and x in r for r in rows)
        }
        count = sum(r["area"] == area for r in rows)
        print(f"{area:14}{count:>5}" + "".join(f"{means[x]:>12.0%}" for x in means))
    for n, table in tables.items():
        print(f"{n} threads: other processes took {table['machine']['taken by other processes']}")
    write(options.out, "scaling", {"machine": facts, "rows": rows, "areas": areas})
    return 0


def _line(row: dict[str, Any]) -> str:
    cells = []
    for library in LIBRARIES:
        if library in row:
            times = [seconds(t) for t in row[library]["seconds"].values()]
            cells.append(f"{library} {' -> '.join(times)} {row[library]['efficiency']:.0%}")
    return f"{row['area'] + ': ' + row['name']:52}" + "   ".join(f"{c:38}" for c in cells).rstrip()
