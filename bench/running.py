"""Measure chosen areas or ops; results go to a folder, as those of `tilegrad bench`.

AREA is an area with rows of fixed sizes, or, with --sizes, an area or an op that has any size; `list` names them.
"""

from __future__ import annotations

import argparse
import difflib
from collections.abc import Sequence

from tilegrad.bench import columns, finish, headline, jobs, options, sizes
from tilegrad.bench.areas import MARKS, Benchmark, chosen
from tilegrad.bench.failure import Failure
from tilegrad.bench.sizes import Op

KEPT = ("names", "part", "rounds", "sizes", "dtype", "devices", "threads", "against", "seed")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench run``."""
    option = parser.add_argument
    option("names", nargs="*", metavar="AREA", help="areas, or ops with --sizes (all)")
    option("-k", dest="part", default="", metavar="TEXT", help="only rows with this in area/name")
    option(
        "--sizes",
        type=options.exponents,
        metavar="2^10:2^26",
        help="ops at these numbers of elements",
    )
    option(
        "--rounds",
        type=options.whole,
        default=15,
        help="samples of each column at most (%(default)s)",
    )
    option("--seed", type=int, default=0, help="of all operands (%(default)s)")
    options.add_dtype(parser)
    options.add_places(parser)
    options.add_output(parser)


def run(given: argparse.Namespace) -> int:
    """Measure, write, print where; 1 where a result is WRONG, 130 after Ctrl-C."""
    _chosen(given.names, given.part, given.sizes)
    place, results = headline.begin("run", given, KEPT)
    ops, rows = _chosen(given.names, given.part, given.sizes)
    found, rate = options.places(given), headline.how(given)
    todo = headline.roofs(found, given.sizes or [16, 20, 24], quick=True, dtype=given.dtype)
    todo += headline.sized(ops, given.sizes or [], found, rate)
    todo += headline.fixed(rows, found, rate)
    status = jobs.carry_out(todo, results, place, given.limit)
    finish.finish(results, place, given.gpu_results)
    wrong = any(not r.get("agrees", True) for r in results["rows"])
    return status or int(wrong)


def _chosen(names: Sequence[str], part: str, exponents: object) -> tuple[list[Op], list[Benchmark]]:
    """The ops, or the rows of fixed sizes.

    Raises:
        Failure: a name is no area or op, or nothing is left.
    """
    known = (
        {op.area for op in sizes.OPS} | {op.name for op in sizes.OPS} if exponents else set(MARKS)
    )
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 3)
            hint = (
                f"; did you mean {' or '.join(map(repr, near))}?" if near else "; `list` names them"
            )
            only = (
                " (ops take --sizes)"
                if not exponents and any(name in (o.name, o.area) for o in sizes.OPS)
                else ""
            )
            raise Failure(f"no area{' or op' if exponents else ''} is called {name!r}{only}{hint}")
    if exponents:
        ops = [o for o in sizes.OPS if not names or o.name in names or o.area in names]
        ops = [o for o in ops if part in f"{o.area}/{o.name}"]
        if not columns.gpu_missing() or any(not o.transfer for o in ops):
            return ops, []
        raise Failure("nothing is left to measure")
    rows = chosen(names, part)
    if not rows:
        raise Failure(f"no row has {part!r} in its area/name")
    return [], rows
