"""Factorisations of matrices and solves: one of any size, and many small ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tilegrad.bench.rows.row import Operand, Row, firm, floats, rows

_rows = partial(rows, "linalg", tolerance=1e-4, accuracy="rms", passes="f")

SIZES = (8, 64, 256, 1024, 2048)
MANY = (3, 8)  # rows of each of 10,000
SPECTRAL = (8, 32, 256)  # rows, of which LAPACK in SciPy takes the last

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
    "det": (lambda t, a: t.linalg.det(a / (2 * a.shape[-1])), 1, 1 / 3, None),
    "slogdet": (lambda t, a: t.linalg.slogdet(a)[1], 1, 1 / 3, None),
}  # fmt: skip

# name: what is called, whose vectors have no sign that is determined; NumPy's way
VALUES: dict[str, tuple[Callable[..., Any], Callable[..., Any] | None]] = {
    "eigh": (lambda t, a: t.linalg.eigh(a)[0], lambda a: np.linalg.eigh(a)[0]),
    "eigvalsh": (lambda t, a: t.linalg.eigvalsh(a), np.linalg.eigvalsh),
    "svd": (lambda t, a: t.linalg.svd(a)[1], lambda a: np.linalg.svd(a)[1]),
    "pinv": (lambda t, a: t.linalg.pinv(a), np.linalg.pinv),
    "matrix_exp": (lambda t, a: t.linalg.matrix_exp(a / (2 * a.shape[-1])), None),
}


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


def _values() -> list[Row]:
    found = []
    for name, (call, numpy) in VALUES.items():
        for n in SPECTRAL:
            found += _rows(f"{name} {n}", call, firm(n, n), numpy=numpy)
        found += _rows(f"{name}, 1,000 of 8x8", call, firm(1000, 8, 8), numpy=numpy)
    return found


def _gradients() -> list[Row]:
    """Small ones, whose time is that of the calls."""
    found = []
    for name in ("cholesky", "solve", "inv", "det"):
        call, count, _, _ = OPS[name]
        given = [Operand((8, 8), "firm"), floats(8, 8)][:count]
        found += _rows(f"{name} 8", call, *given, passes="b")
    return found


ROWS = [*_single(), *_batches(), *_values(), *_gradients()]
