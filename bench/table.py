"""tilegrad against PyTorch and NumPy, measured in one interleaved run.

Ratios are PyTorch's time over ours: above 1, tilegrad is faster. Results are compared in the same run;
a row whose results differ is WRONG and has no ratio. Errors are against float64, ours first: the
largest in ulp, or the root mean square of the relative one.


"""

from __future__ import annotations

import argparse
import gc
import os
import time

from tilegrad.bench import libraries, machine
from tilegrad.bench.agreement import agree, errors
from tilegrad.bench.areas import MARKS, Benchmark, chosen
from tilegrad.bench.figures import HEAD, Result, line, summary, summary_lines
from tilegrad.bench.harness import OPENBLAS_SPINS, compare
from tilegrad.bench.results import add_out, write
from tilegrad.bench.rows.row import Row


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench table``."""
    option = parser.add_argument
    option("-k", dest="part", default="", metavar="TEXT", help="only rows with this in area/name")
    option("--area", nargs="+", choices=MARKS, default=[], help="only these areas")
    option("--rounds", type=int, default=15, help="samples of each library (%(default)s)")
    option("--threads", type=int, default=2, help="of each library (%(default)s)")
    machine.add_simd(parser)
    option("--no-check", dest="check", action="store_false", help="compare no results")
    add_out(parser)


def measure(row: Benchmark, rounds: int, check: bool = True) -> Result:
    """Times, ratio, agreement and errors of one row."""
    names = libraries.of(row)
    result: Result = {"area": row.area, "name": row.name}
    if check and "torch" in names:
        same, distance = agree(row)
        result |= {"agrees": same, "difference": distance}
        if isinstance(row, Row) and row.accuracy:
            result["errors"] = {"kind": row.accuracy, **errors(row, ["tilegrad", "torch"])}
    calls = {name: row.prepare(name).call for name in names}
    gc.collect()
    gc.freeze()  # what is there already costs nobody a pass of the collector
    alone = {name: calls.pop(name) for name in ("numpy",) if name in calls}
    timings = compare(calls, rounds)
    if alone:  # NumPy comes after the comparison, because its threads would disturb it
        timings |= compare(alone, rounds)
        time.sleep(OPENBLAS_SPINS)
    result["seconds"] = {name: t.best for name, t in timings.items()}
    result["spread"] = {name: t.spread for name, t in timings.items()}
    if row.flops:
        result["gflops"] = row.flops / timings["tilegrad"].best / 1e9
    if "torch" in timings and result.get("agrees", True):
        result["ratio"] = timings["torch"].best / timings["tilegrad"].best
    return result


def run(options: argparse.Namespace) -> int:
    """All rows, the areas against their marks; 1 if a row is WRONG."""
    os.environ.update(machine.simd_environment(options.simd))  # before a kernel is built
    libraries.start(options.threads)
    begin = time.perf_counter()
    facts = machine.facts(options.threads)
    print(*machine.lines(facts), sep="\n")
    results: list[Result] = []
    others, area = machine.Others(), ""
    for row in chosen(options.area, options.part):
        if row.area != area:
            area = row.area
            print(f"\n{area}\n{HEAD}")
        results.append(measure(row, options.rounds, options.check))
        print(line(results[-1]), flush=True)
    areas = summary(results)
    facts["taken by other processes"] = f"{others.share():.1%} of the processors"
    print("", *summary_lines(areas), sep="\n")
    print(
        f"{time.perf_counter() - begin:.0f} s; other processes took "
        f"{facts['taken by other processes']} meanwhile"
    )
    content = {"machine": facts, "rounds": options.rounds, "rows": results, "areas": areas}
    write(options.out, "table", content)
    return int(any(s["wrong"] for s in areas.values()))
