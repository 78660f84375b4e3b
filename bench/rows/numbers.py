"""Complex numbers: arithmetic, formulas, reductions and products."""

from __future__ import annotations

from functools import partial

import numpy as np

from tilegrad.bench.rows.row import Call, Row, complexes, floats, rows

_rows = partial(rows, "complex", by_norm=True)

SIZES = {"1e3": 1_000, "1e5": 100_000, "1e6": 1_000_000}
SQUARES = (8, 64, 256, 1024)

# name: (call, operands, NumPy's way)
FORMULAS: dict[str, tuple[Call, int, Call | None]] = {
    "add": (lambda t, x, y: x + y, 2, np.add),
    "multiply": (lambda t, x, y: x * y, 2, np.multiply),
    "divide": (lambda t, x, y: x / y, 2, np.divide),
    "abs": (lambda t, x: x.abs(), 1, np.abs),
    "angle": (lambda t, x: x.angle(), 1, np.angle),
    "conj_physical": (lambda t, x: t.conj_physical(x), 1, np.conj),
    "exp": (lambda t, x: t.exp(x), 1, np.exp),
    "log": (lambda t, x: t.log(x), 1, np.log),
    "sqrt": (lambda t, x: t.sqrt(x), 1, np.sqrt),
    "tanh": (lambda t, x: t.tanh(x), 1, np.tanh),
    "sin": (lambda t, x: t.sin(x), 1, np.sin),
}


def _formulas() -> list[Row]:
    found = []
    for name, (call, count, numpy) in FORMULAS.items():
        for tag, n in SIZES.items():
            passes = "fb" if name in ("multiply", "abs") and tag == "1e5" else "f"
            given = [complexes(n)] * count
            found += _rows(f"{name} {tag}", call, *given, numpy=numpy, passes=passes)
    n = SIZES["1e6"]  # parts that become numbers
    found += _rows(
        "polar 1e6", lambda t, x, y: t.polar(x, y), floats(n, low=0), floats(n), passes="f"
    )
    found += _rows(
        "from parts 1e6", lambda t, x, y: t.complex(x, y), floats(n), floats(n), passes="f"
    )
    return found


def _reductions() -> list[Row]:
    found = []
    for shape in ((64, 128), (1024, 1024)):
        name, z = "x".join(map(str, shape)), complexes(*shape)
        found += _rows(f"sum {name}", lambda t, x: x.sum(), z, numpy=np.sum, passes="f")
        for dim in (0, 1):
            by = partial(np.sum, axis=dim)
            at = f"dim {dim}, {name}"
            found += _rows(f"sum of {at}", partial(_along, "sum", dim), z, numpy=by, passes="f")
            found += _rows(f"prod of {at}", partial(_along, "prod", dim), z, passes="f")
            found += _rows(f"cumsum of {at}", partial(_along, "cumsum", dim), z, passes="f")
        found += _rows(f"mean of dim 0, {name}", partial(_along, "mean", 0), z, passes="f")
        found += _rows(f"norm {name}", lambda t, x: t.linalg.vector_norm(x), z, passes="f",
                       tolerance=1e-4)  # fmt: skip
    return found


def _along(name: str, dim: int, t: object, x: object) -> object:
    return getattr(x, name)(dim)


def _products() -> list[Row]:
    found = []
    for n in SQUARES:
        square, passes = complexes(n, n), "fb" if n == 64 else "f"
        found += _rows(f"mm {n}", lambda t, x, y: x @ y, square, square, numpy=np.matmul,
                       flops=8.0 * n**3, passes=passes, tolerance=1e-4)  # fmt: skip
        found += _rows(f"mm of the adjoint {n}", lambda t, x, y: x.mH @ y, square, square,
                       flops=8.0 * n**3, passes="f")  # fmt: skip
        if n > 8:
            found += _rows(f"mv {n}", lambda t, x, y: x @ y, square, complexes(n), passes="f")
    found += _rows("bmm 1000 of 8x8", lambda t, x, y: x @ y, complexes(1000, 8, 8),
                   complexes(1000, 8, 8), passes="f")  # fmt: skip
    found += _rows("vdot 1e6", lambda t, x, y: t.vdot(x, y), complexes(1_000_000),
                   complexes(1_000_000), passes="f")  # fmt: skip
    return found


ROWS = [*_formulas(), *_reductions(), *_products()]
