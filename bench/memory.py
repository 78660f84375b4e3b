"""How much memory each training step needs: what a process grows by, at its peak, from the time
before the model is built to the end of five steps; each library and step in a process of its own.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import re
from pathlib import Path
from typing import Any

from tilegrad.bench import libraries
from tilegrad.bench.results import add_out, figures_of, write
from tilegrad.bench.steps import STEPS

STEPS_TAKEN = 5
FIRST = "step of a tiny MLP"  # done before, so that loading a library's own code does not count


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench memory``."""
    parser.add_argument("-k", dest="part", default="", metavar="TEXT", help="only steps with this")
    parser.add_argument("--threads", type=int, default=2, help="of each library (%(default)s)")
    parser.add_argument("--child", nargs=2, help=argparse.SUPPRESS)
    add_out(parser)


def _status(field: str) -> int:
    """Bytes of a field of /proc/self/status."""
    text = Path("/proc/self/status").read_text()
    found = re.search(rf"{field}:\s+(\d+) kB", text)
    assert found is not None, field
    return 1024 * int(found.group(1))


def _measure(name: str, library: str, threads: int) -> dict[str, int]:
    """In a fresh process: bytes before the model is there, and at the peak."""
    t = __import__(library)
    t.set_num_threads(threads)
    for _ in range(2):
        STEPS[FIRST].prepare(library).call()
    with contextlib.suppress(OSError):  # the peak starts anew; else importing may have set it
        Path("/proc/self/clear_refs").write_text("5")
    before = _status("VmRSS")
    call = STEPS[name].prepare(library).call
    for _ in range(STEPS_TAKEN):
        call()
    return {"before": before, "peak": _status("VmHWM")}


def run(options: argparse.Namespace) -> int:
    """Measure and print; a first process of each compiles what is missing."""
    if options.child:
        print(json.dumps(_measure(options.child[0], options.child[1], options.threads)))
        return 0
    names = [x for x in libraries.installed() if x != "numpy"]
    print(
        f"{'peak growth, MB':40}" + "".join(f"{x:>10}" for x in names) + f"{'ratio':>8}", flush=True
    )
    rows: list[dict[str, Any]] = []
    for step in STEPS.values():
        if step.area != "training" or options.part not in step.name:
            continue
        row: dict[str, Any] = {"name": step.name}
        for library in names:
            command = ("-m", "tilegrad.bench", "memory", "--threads", str(options.threads), "--child", step.name, library)  # fmt: skip
            figures_of(*command)
            row[library] = figures_of(*command)
            row[library]["growth"] = row[library]["peak"] - row[library]["before"]
        rows.append(row)
        print(_line(row, names), flush=True)
    write(options.out, "memory", {"steps": STEPS_TAKEN, "rows": rows})
    return 0


def _line(row: dict[str, Any], names: list[str]) -> str:
    growth = [row[x]["growth"] / 1e6 for x in names]
    ratio = f"{growth[1] / growth[0]:>7.2f}x" if len(growth) == 2 else ""
    whole = ", ".join(f"{row[x]['peak'] / 1e6:.0f}" for x in names)
    return (
        f"{row['name']:40}"
        + "".join(f"{g:>10.1f}" for g in growth)
        + f"{ratio}   whole process: {whole}"
    )
