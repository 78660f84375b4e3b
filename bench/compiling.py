"""Cold start: seconds that each kernel takes to compile, to load when it is on disk, and the first op
of a new process, with its kernels on disk and with none.

Kernels are those that `tilegrad warmup` compiles for the ops named, in an empty cache folder.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from typing import Any

from tilegrad.bench import machine
from tilegrad.bench.figures import seconds
from tilegrad.bench.results import add_out, figures_of, write

MARK = 0.3  # seconds of a cached first op
ROUNDS = 3

OWN = """
@t.elementwise
def swish(x, beta=1.0):
    return x / (1 + exp(-beta * x))
swish(t.ones(4))
"""

# what a new process does first: (statement, name)
FIRST = {
    "add of 32": "t.ones(32) + t.ones(32)",
    "matmul 64": "t.ones(64, 64) @ t.ones(64, 64)",
    "softmax 64x128": "t.softmax(t.ones(64, 128), 1)",
    "conv2d 3x3": "t.nn.functional.conv2d(t.ones(4, 3, 32, 32), t.ones(16, 3, 3, 3))",
    "linear and its backward pass": "t.nn.Linear(8, 4)(t.ones(2, 8)).sum().backward()",
    "an elementwise function of one's own": OWN,
}
# and with an empty cache: (statement, seconds it may take)
COLD = {
    "an elementwise function of one's own": (OWN, 0.5),
    "matmul 64": ("t.ones(64, 64) @ t.ones(64, 64)", 2.0),
    "conv2d 3x3": (FIRST["conv2d 3x3"], 2.0),
    "cross_entropy": (
        "t.nn.functional.cross_entropy(t.ones(64, 10), t.zeros(64, dtype=t.int64))",
        2.0,
    ),
    "attention and its backward pass": (
        "q = t.ones(2, 4, 64, 32).requires_grad_()\n"
        "t.nn.functional.scaled_dot_product_attention(q, q, q).sum().backward()",
        6.0,
    ),
}
_TIMED = """
import json, time
begin = time.perf_counter()
import {library} as t
ready = time.perf_counter()
{statement}
done = time.perf_counter()
print(json.dumps([ready - begin, done - ready, time.process_time()]))
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench compile``."""
    parser.add_argument("names", nargs="*", metavar="NAME", help="ops, as of tilegrad warmup")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    add_out(parser)


def _child(names: list[str]) -> int:
    """Warm up and print what the log says: one kernel at a time, so that its seconds are its own."""
    from tilegrad.__main__ import main
    from tilegrad.kernels.cache import compile_log
    from tilegrad.kernels.cpu.run import ahead

    ahead.close()
    begin = time.perf_counter()
    status = main(["warmup", *names])
    spent = {"seconds": time.perf_counter() - begin, "processor": time.process_time()}
    print(json.dumps({"kernels": compile_log, **spent}))
    return status


def _first(library: str, statement: str, cache: str) -> tuple[float, float]:
    """Seconds of the import and of the first op, best of several new processes."""
    code = _TIMED.format(library=library, statement=statement)
    pairs = [figures_of("-c", code, TILEGRAD_CACHE_DIR=cache) for _ in range(ROUNDS + 1)][1:]
    return min(p[0] for p in pairs), min(p[1] for p in pairs)


def run(options: argparse.Namespace) -> int:
    """Measure and print."""
    if options.child:
        return _child(options.names)
    with tempfile.TemporaryDirectory() as cache:
        command = ("-m", "tilegrad.bench", "compile", "--child", *options.names)
        print("compiling with an empty cache", file=sys.stderr)
        alone = {"TILEGRAD_CACHE_DIR": cache, "TILEGRAD_NUM_THREADS": "1"}
        cold = figures_of(*command, **alone)
        warm = figures_of(*command, **alone)
        rows = _kernels(cold, warm)
        first = _first_ops(cache)
    started = _cold_ops()
    total = {"compile": sum(r["compile"] for r in rows), "load": sum(r["load"] for r in rows)}
    print(
        f"\n{len(rows)} kernels: {total['compile']:.1f} s to compile, {total['load']:.2f} s to load"
    )
    print(
        f"whole command: {cold['seconds']:.1f} s cold ({cold['processor']:.1f} s of a processor), "
        f"{warm['seconds']:.1f} s warm"
    )
    content = {"kernels": rows, "first": first, "cold": cold["seconds"], "warm": warm["seconds"],
               "processor": cold["processor"], "started": started}  # fmt: skip
    write(options.out, "compile", {"commit": machine.commit(), **content})
    return 0


def _kernels(cold: dict[str, Any], warm: dict[str, Any]) -> list[dict[str, Any]]:
    """Seconds by kernel, slowest first, as printed."""
    loads = {name: spent for name, spent, _ in warm["kernels"]}
    rows = [
        {"kernel": name, "compile": spent, "load": loads.get(name, 0.0)}
        for name, spent, cached in cold["kernels"]
        if not cached
    ]
    rows.sort(key=lambda row: -row["compile"])
    print(f"{'kernel':82}{'compile':>10}{'load':>10}")
    for row in rows:
        print(f"{row['kernel'][:80]:82}{seconds(row['compile']):>10}{seconds(row['load']):>10}")
    return rows


def _cold_ops() -> list[dict[str, Any]]:
    """The first op of a new process that finds no kernel."""
    print(f"\n{'with an empty cache':32}{'op':>10}{'processor':>12}", flush=True)
    found = []
    for name, (statement, mark) in COLD.items():
        with tempfile.TemporaryDirectory() as cache:
            code = _TIMED.format(library="tilegrad", statement=statement)
            _, spent, processor = figures_of("-c", code, TILEGRAD_CACHE_DIR=cache)
        met = "" if spent < mark else f"  over {mark} s"
        print(f"{name:32}{seconds(spent):>10}{seconds(processor):>12}{met}", flush=True)
        found.append({"op": name, "seconds": spent, "processor": processor})
    return found


def _first_ops(cache: str) -> list[dict[str, Any]]:
    """The first op of a new process, with the kernels on disk."""
    print(
        f"\n{'first op of a process':32}{'import':>10}{'op':>10}{'PyTorch':>12}{'op':>10}",
        flush=True,
    )
    found = []
    for name, statement in FIRST.items():
        ours, theirs = (_first(x, statement, cache) for x in ("tilegrad", "torch"))
        met = "" if ours[1] < MARK else f"  over {MARK} s"
        print(f"{name:32}{seconds(ours[0]):>10}{seconds(ours[1]):>10}{seconds(theirs[0]):>12}{seconds(theirs[1]):>10}{met}", flush=True)  # fmt: skip
        found.append({"op": name, "tilegrad": ours, "torch": theirs})
    return found
