"""Run any number of random large programs: ``python -m tests.large --seeds 1000 [--first N]``."""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.large import NAMES, TABLE
from tests.large.check import refused
from tests.large.program import Program, Sizes, run, write
from tests.settled import settle


def faults_of(program: Program, device: str) -> list[str]:
    """What :func:`run` finds; an error is a fault too."""
    try:
        return run(program, device)
    except Exception:
        return [traceback.format_exc(limit=-3)]


def main() -> int:
    """Print the number of failing seeds, each of them as a program that runs by itself. A few calls may
    be refused by both libraries; more than one in 200 is a fault of the generators.
    """
    parser = argparse.ArgumentParser(prog="python -m tests.large", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many")
    parser.add_argument("--first", type=int, default=0, help="the first of them")
    parser.add_argument("--only", default="", help=f"kinds, comma separated, of {', '.join(NAMES)}")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--elements", type=int, default=Sizes.elements, help="of a tensor")
    parser.add_argument("--products", type=int, default=Sizes.products, help="multiply-adds")
    parser.add_argument("--show", action="store_true", help="print each seed's call and time")
    given = parser.parse_args()
    settle()
    names = given.only.split(",") if given.only else NAMES
    sizes, failed, start = Sizes(given.elements, given.products), [], time.perf_counter()
    for seed in range(given.first, given.first + given.seeds):
        program = write(seed, TABLE, sizes, names)
        begin = time.perf_counter()
        faults = faults_of(program, given.device)
        if given.show:
            print(f"{seed} {time.perf_counter() - begin:.3f} s {program.call}", flush=True)
        if faults:
            failed.append(seed)
            print(f"# seed {seed}: {'; '.join(faults)}\n{program.text(given.device, whole=True)}")
            sys.stdout.flush()
    print(
        *(f"# refused, by PyTorch too: {one}" for one in refused),
        sep="\n",
        end="\n" * bool(refused),
    )
    print(f"{given.seeds} seeds from {given.first} in {time.perf_counter() - start:.0f} s; "
          f"{len(refused)} refused; {len(failed)} failed: {failed}")  # fmt: skip
    return 1 if failed or len(refused) > 1 + given.seeds // 200 else 0


if __name__ == "__main__":
    raise SystemExit(main())
