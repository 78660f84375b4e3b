"""Matrix products against NumPy's BLAS, float32 and float64, with 1 and 2 threads.

OpenBLAS may take narrower kernels than the processor has; where there is AVX-512, it is also told to
take those (OPENBLAS_CORETYPE=SkylakeX). Each choice runs in a process of its own, interleaved with
ours.
"""

from __future__ import annotations

import argparse
import json
from typing import Any

import numpy as np

from tilegrad.bench import libraries, machine
from tilegrad.bench.harness import OPENBLAS_SPINS, compare
from tilegrad.bench.results import add_out, figures_of, write

MARK = 0.95  # NumPy's time over ours
SIZES = (512, 1024, 2048)
DTYPES = ("float32", "float64")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench blas``."""
    option = parser.add_argument
    option("--threads", type=int, nargs="+", default=[1, 2], help="numbers of threads (1 2)")
    option("--rounds", type=int, default=15, help="samples of each library (%(default)s)")
    option("--child", action="store_true", help=argparse.SUPPRESS)
    add_out(parser)


def _child(threads: int, rounds: int) -> dict[str, Any]:
    """All sizes in this process."""
    import tilegrad

    libraries.start(threads)
    rng, rows = np.random.default_rng(0), []
    for dtype in DTYPES:
        for n in SIZES:
            x, y = (rng.standard_normal((n, n)).astype(dtype) for _ in "xy")
            a, b = tilegrad.from_numpy(x), tilegrad.from_numpy(y)
            exact = x.astype(np.longdouble)[:8] @ y.astype(np.longdouble)
            errors = {
                "tilegrad": float(np.abs((a @ b).numpy()[:8] - exact).max()),
                "numpy": float(np.abs((x @ y)[:8] - exact).max()),
            }
            calls: dict[str, Any] = {
                "tilegrad": lambda a=a, b=b: a @ b,
                "numpy": lambda x=x, y=y: x @ y,
            }
            timings = compare(calls, rounds, OPENBLAS_SPINS, wake=3)
            times = {k: t.best for k, t in timings.items()}
            rows.append({"dtype": dtype, "size": n, "seconds": times, "errors": errors})
    return {"blas": machine.openblas(), "rows": rows}


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    if options.child:
        print(json.dumps(_child(options.threads[0], options.rounds)))
        return 0
    wide = "avx512f" in machine.flags()
    choices: list[dict[str, str]] = [{}, {"OPENBLAS_CORETYPE": "SkylakeX"}] if wide else [{}]
    print(f"{machine.processor()}, {'with' if wide else 'without'} AVX-512")
    results, others = [], machine.Others()
    for environment in choices:
        for threads in options.threads:
            command = ("-m", "tilegrad.bench", "blas", "--child", "--threads", str(threads))
            found = figures_of(*command, "--rounds", str(options.rounds), **environment)
            results.append({"threads": threads, **environment, **found})
            _print(results[-1])
    print(f"other processes took {others.share():.1%} of the processors meanwhile")
    write(options.out, "blas", {"avx512": wide, "runs": results})
    return 0


def _print(result: dict[str, Any]) -> None:
    print(f"\n{result['blas']}, {result['threads']} threads")
    print(f"{'':16}{'tilegrad':>12}{'NumPy':>12}{'ratio':>9}", flush=True)
    for row in result["rows"]:
        ours, theirs = row["seconds"]["tilegrad"], row["seconds"]["numpy"]
        rates = "".join(f"{2 * row['size'] ** 3 / t / 1e9:>7.0f} GF/s" for t in (ours, theirs))
        under = "" if theirs / ours >= MARK else f"  under {MARK}x"
        print(f"{row['dtype'] + ' ' + str(row['size']):16}{rates}{theirs / ours:>8.2f}x{under}")
