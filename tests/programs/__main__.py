"""``python -m tests.programs --seeds N [--start S]``: random programs in step with PyTorch."""

from __future__ import annotations

import argparse
import sys
from collections import Counter

from tests.programs.run import Outcome, run_program, shortened
from tests.settled import settle


def report(seed: int, outcome: Outcome) -> None:
    """A seed whose libraries parted, as a small program."""
    print(f"--- seed {seed}: {outcome.difference}\n{outcome.program()}", flush=True)


def main() -> int:
    """Exit status 1 where any program differs."""
    parser = argparse.ArgumentParser(prog="python -m tests.programs", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many programs (200)")
    parser.add_argument("--start", type=int, default=0, help="the first seed (0)")
    parser.add_argument("--newer", action="store_true", help="with the statements of newer.py")
    parser.add_argument("--wider", action="store_true", help="with those of wider.py too")
    parser.add_argument("--most", type=int, default=20, help="differences shown as programs (20)")
    asked = parser.parse_args()
    settle()
    differing, refused, lines = 0, 0, 0
    missing: Counter[str] = Counter()
    explained: Counter[str] = Counter()
    for seed in range(asked.start, asked.start + asked.seeds):
        outcome = run_program(seed, newer=asked.newer, wider=asked.wider)
        refused, lines = refused + outcome.refused, lines + len(outcome.lines)
        missing.update(outcome.missing)
        explained.update(outcome.explained)
        if outcome.difference:
            differing += 1
            if differing <= asked.most:
                report(seed, shortened(outcome))
    for text, count in missing.most_common(20):
        print(f"lacking, {count} times: {text}")
    for text, count in explained.most_common():
        print(f"meant, {count} times: {text}")
    print(
        f"{asked.seeds} programs, {lines} statements run, {refused} refused by both, "
        f"{sum(missing.values())} left out: {differing} programs differ"
    )
    return 1 if differing else 0


if __name__ == "__main__":
    sys.exit(main())
