"""Run any number of random programs of matrices: ``python -m tests.matrices --seeds 1000 [--first N]``."""

from __future__ import annotations

import argparse
import time
import traceback
from collections import Counter

from tests.matrices.check import refused
from tests.matrices.program import Program, write
from tests.matrices.table import TABLE
from tests.settled import settle


def faults_of(program: Program) -> list[str]:
    """What a run finds; an error is a fault too."""
    try:
        return program.run()
    except Exception:
        return [traceback.format_exc(limit=-3)]


def main() -> int:
    """Print each failing seed as a program that runs by itself, and how many there are; 1 if there are any."""
    parser = argparse.ArgumentParser(prog="python -m tests.matrices", description=__doc__)
    parser.add_argument("--seeds", type=int, default=300, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument(
        "--only", default="", help=f"functions, comma separated, of {', '.join(TABLE)}"
    )
    parser.add_argument("--rows", type=int, default=4096, help="the most that a matrix may have")
    parser.add_argument(
        "--brief", action="store_true", help="a line for each failing seed, no program"
    )
    parser.add_argument("--show", action="store_true", help="print each seed's call and time")
    given = parser.parse_args()
    settle()
    names = given.only.split(",") if given.only else list(TABLE)
    failed: list[int] = []
    start, kinds = time.perf_counter(), Counter[str]()
    for seed in range(given.first, given.first + given.seeds):
        program = write(seed, TABLE, names, given.rows)
        begin = time.perf_counter()
        faults = faults_of(program)
        if given.show:
            print(f"{seed} {time.perf_counter() - begin:.3f} s {program.call}", flush=True)
        if not faults:
            continue
        failed.append(seed)
        kinds[program.name] += 1
        print(f"# seed {seed}: {'; '.join(faults)}", flush=True)
        print(
            f"#   {program.dtype} {program.call}; {'; '.join(program.values)}"
            if given.brief
            else program.text()
        )
    print(f"{given.seeds} seeds from {given.first} in {time.perf_counter() - start:.0f} s; {len(refused)} refused "
          f"by both; {len(failed)} failed: {dict(kinds)} {failed}")  # fmt: skip
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
