"""The measured roofline: how fast this machine copies, by size, and multiplies matrices, by device and threads.

Each figure is the best that any library at hand reaches here. With ``--paper`` it is instead the kernels on paper, by the
assembler and the data sheets, which needs no GPU.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from tilegrad.bench import columns, energy, options
from tilegrad.bench.columns import Column

PEAK = (1024, 2048)  # rows and columns of the products that are tried
QUICK = (768,)
ROUNDS = 5

Roof = dict[str, Any]


def key(column: Column) -> str:
    """Of the roof that a column stands under."""
    return f"{column.device}/{column.threads}" if column.threads else column.device


def measure(
    found: Sequence[Column],
    exponents: Sequence[int],
    quick: bool = False,
    dtype: str = "float32",
) -> Roof:
    """The roof of one device and number of threads, over the libraries of ``found``."""
    copies = []
    for exponent in exponents:
        best = min(_best(c, _copy(c, 1 << exponent)) for c in found)
        moved = 8.0 * (1 << exponent)
        copies.append({"nbytes": moved, "gbps": moved / best / 1e9})
    rates = []
    for n in QUICK if quick else PEAK:
        rates += [2.0 * n**3 / _best(c, _product(c, n, dtype)) / 1e9 for c in found]
    return {"copies": copies, "gflops": max(rates), "product": max(QUICK if quick else PEAK)}


def _copy(column: Column, n: int) -> Callable[[], Any]:
    source = np.ones(n, np.float32)
    if column.library == "numpy":
        there = np.empty_like(source)
        return lambda: np.copyto(there, source)
    if column.library == "cupy":
        cupy = __import__("cupy")
        here = cupy.asarray(source)
        return lambda: here.copy()
    t = __import__(column.library)
    x = t.from_numpy(source).to(column.device)
    y = t.empty_like(x)
    return lambda: y.copy_(x)


def _product(column: Column, n: int, dtype: str) -> Callable[[], Any]:
    array = np.random.default_rng(0).random((n, n), dtype=np.float32).astype(dtype)
    if column.library in ("numpy", "cupy"):
        given = array if column.library == "numpy" else __import__("cupy").asarray(array)
        return lambda: given @ given
    t = __import__(column.library)
    x = t.from_numpy(array).to(column.device)
    return lambda: x @ x


def _best(column: Column, call: Callable[[], Any]) -> float:
    columns.use(column)
    take = columns.sampler(column)
    call()
    columns.synchronize(column)
    once = take(call, 1)
    count = max(1, min(10_000, int(2e-3 / max(once, 1e-7))))
    found = min(take(call, count) for _ in range(ROUNDS))
    if column.library == "numpy":
        time.sleep(0.1)  # OpenBLAS's threads spin
    return found


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Of ``tilegrad bench roofline``."""
    options.add_places(parser)
    parser.add_argument("--paper", action="store_true", help="kernels on paper, as Markdown")
    parser.add_argument(
        "--write", action="store_true", help="with --paper: bring docs/cuda.md up to date"
    )


def groups(found: Sequence[Column]) -> dict[str, list[Column]]:
    """Columns by the roof that they stand under; compiled PyTorch adds nothing to it."""
    kept: dict[str, list[Column]] = {}
    for column in found:
        if column.library != "torch.compile":
            kept.setdefault(key(column), []).append(column)
    return kept


def run(given: argparse.Namespace) -> int:
    """Measure and print, or print the paper's."""
    if given.paper:
        from tilegrad.bench import paper

        return paper.run(given)
    asked = options.places(given)
    from rich.console import Console
    from rich.table import Table

    table = Table(title="measured roofline", title_justify="left")
    for head in (
        "device",
        "copies from cache, GB/s",
        "copies from memory, GB/s",
        "product, GFLOP/s",
    ):
        table.add_column(head, justify="left" if head == "device" else "right")
    for name, found in groups(asked).items():
        roof = measure(found, range(10, 27, 2))
        fastest, last = max(c["gbps"] for c in roof["copies"]), roof["copies"][-1]["gbps"]
        table.add_row(_words(name), f"{fastest:.1f}", f"{last:.1f}", f"{roof['gflops']:.1f}")
    Console().print(table)
    print("MHz:", ", ".join(f"{k} {v:.0f}" for k, v in energy.clocks().items()) or "unknown")
    return 0


def _words(name: str) -> str:
    device, _, count = name.partition("/")
    return "GPU" if device == "cuda" else f"{count} thread{'s' * (count != '1')}"
