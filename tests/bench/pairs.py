"""Pairs of runs of one commit, compared as `tilegrad bench compare` does, and one with ten percent planted: by hand.

``python -m tests.bench.pairs 20`` (PYTHONPATH=.dev): 36 seconds each, 20 in 13 minutes, on a machine with nothing else to do.
"""

from __future__ import annotations

import argparse
import itertools
import subprocess
import sys
import tempfile
from pathlib import Path

from tilegrad.bench import comparing, store

OPS = ("add", "gelu", "sum", "matmul", "softmax")
PLANTED = "gelu"
# a tenth of the elements once more
_SLOWER = """
from dataclasses import replace
from tilegrad.bench import sizes
def slower(t, x):
    y = t.nn.functional.gelu(x)
    if t.__name__ == "tilegrad":
        t.nn.functional.gelu(x[: x.shape[0] // 10])
    return y
sizes.OPS[:] = [replace(o, call=slower) if o.name == "gelu" else o for o in sizes.OPS]
"""
_RUN = """
import sys
from tilegrad.bench.arguments import main
sys.exit(main(sys.argv[1:]))
"""


def measured(out: Path, threads: str, planted: bool = False) -> store.Results:
    """A run in a process of its own."""
    words = ["run", *OPS, "--sizes", "2^16,2^18,2^20", "--threads", threads, "--out", str(out)]
    code = (_SLOWER if planted else "") + _RUN
    subprocess.run([sys.executable, "-c", code, *words], check=True, stdout=subprocess.DEVNULL)
    return store.load(out)


def changed(before: store.Results, after: store.Results) -> tuple[list[str], float]:
    """Rows that are slower or faster by five percent and the noise; the noise."""
    found = comparing.compare(before, after)
    verdicts = [(c.name, c.verdict(0.05, found.deviations), c.ratio) for c in found.changes]
    return [f"{n} {v} {r:.3f}" for n, v, r in verdicts if v], found.scatter


def main() -> int:
    """1 if a pair differs, or what is planted is not found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pairs", type=int, nargs="?", default=20)
    parser.add_argument("--threads", default="1")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        runs = [measured(Path(folder) / str(k), given.threads) for k in range(given.pairs + 1)]
        wrong = 0
        for before, after in itertools.pairwise(runs):
            rows, noise = changed(before, after)
            wrong += bool(rows)
            print(f"noise {noise:.1%}: {', '.join(rows) or 'no change'}", flush=True)
        planted, noise = changed(runs[-1], measured(Path(folder) / "slower", given.threads, True))
    print(f"{given.pairs - wrong} of {given.pairs} pairs without a change")
    print(f"planted in {PLANTED}, noise {noise:.1%}: {', '.join(planted) or 'not found'}")
    found = planted and all(row.startswith(f"{PLANTED},") and " slower " in row for row in planted)
    return int(wrong > 0 or not found)


if __name__ == "__main__":
    sys.exit(main())
