"""Factorisations of matrices and solves: one of any size, and many small ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tilegrad.bench.rows.row import Operand, Row, firm, floats, rows

_rows = partial(rows, "linalg", tolerance=1e-4, accuracy="rms", passes="f")

SIZES = (64, 256, 1024, 2048)
MANY = (3, 8)  # rows of each of 10,000

# name: what is called, of how many operands, multiply-adds as a share of n^3, NumPy's way
OPS: dict[str, tuple[Callable[..., Any], int, float, Callable[..., Any] | None]] = {
    "cholesky": (lambda t, a: t.linalg.cholesky(a), 1, 1 / 6, np.linalg.cholesky),
    "lu_factor": (lambda t, a: t.linalg.lu_factor(a)[0], 1, 1 / 3, None),
    "solve": (lambda t, a, b: t.linalg.solve(a, b), 2, 4 / 3, np.linalg.solve),
    "inv": (lambda t, a: t.linalg.inv(a), 1, 1.0, np.linalg.inv),
    "solve_triangular": (
        lambda t, a, b: t.linalg.solve_triangular(a, b, upper=False), 2, 0.5, None,
    ),
    "qr": (lambda t, a: t.linalg.qr(a)[1], 1, 4 / 3, None),
}  # fmt: skip


def _operands(count: int, *shape: int) -> list[Operand]:
    return [firm(*shape), floats(*shape, grad=False)][:count]


def _single() -> list[Row]:
    found = []
    for name, (call, count, share, numpy) in OPS.items():
        for n in SIZES:
            found += _rows(
                f"{name} {n}", call, *_operands(count, n, n), numpy=numpy, flops=2.0 * share * n**3
            )
    return found


def _batches() -> list[Row]:
    found = []
    for n in MANY:
        for name in ("cholesky", "solve", "inv"):
            call, count, _, numpy = OPS[name]
            found += _rows(
                f"{name}, 10,000 of {n}x{n}", call, *_operands(count, 10_000, n, n), numpy=numpy
            )
        found += _rows(
            f"det, 10,000 of {n}x{n}", lambda t, a: t.linalg.det(a), firm(10_000, n, n),
            numpy=np.linalg.det,
        )  # fmt: skip
    return found


ROWS = [*_single(), *_batches()]
