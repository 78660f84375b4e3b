"""Arithmetic, comparison, transcendentals and activations, broadcast and strided operands."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tilegrad.bench.rows.row import Call, Row, floats, mask, rows

_rows = partial(rows, "elementwise")
SIZES = {"1e3": 1_000, "1e5": 100_000, "1e7": 10_000_000}

# name: (call, NumPy's way, lowest operand)
UNARY: dict[str, tuple[Call, Call | None, float]] = {
    "exp": (lambda t, x: t.exp(x), np.exp, -4),
    "log": (lambda t, x: t.log(x), np.log, 0.1),
    "tanh": (lambda t, x: t.tanh(x), np.tanh, -4),
    "sigmoid": (lambda t, x: t.sigmoid(x), None, -4),
    "erf": (lambda t, x: t.erf(x), None, -4),
    "gelu": (lambda t, x: t.nn.functional.gelu(x), None, -4),
    "silu": (lambda t, x: t.nn.functional.silu(x), None, -4),
}


def _add(t: Any, x: Any, y: Any) -> Any:
    return x + y


def _multiply(t: Any, x: Any, y: Any) -> Any:
    return x * y


def _greater(t: Any, x: Any, y: Any) -> Any:
    return x > y


def _where(t: Any, c: Any, x: Any, y: Any) -> Any:
    return t.where(c, x, y)


def _unary() -> list[Row]:
    found = []
    for name, (call, array_call, low) in UNARY.items():
        for tag, n in SIZES.items():
            operand = floats(n, low=low, high=4)
            how: dict[str, Any] = {"numpy": array_call, "accuracy": "ulp"}
            found += _rows(f"{name} {tag}", call, operand, passes="f", **how)
    for name, tag in (("sigmoid", "1e3"), ("tanh", "1e5"), ("gelu", "1e5"), ("silu", "1e5"),
                      ("exp", "1e7"), ("gelu", "1e7")):  # fmt: skip
        call, _, low = UNARY[name]
        found += _rows(f"{name} {tag}", call, floats(SIZES[tag], low=low, high=4), passes="b")
    return found


def _arithmetic() -> list[Row]:
    found = []
    for tag, n in {"1e3": 1_000, "1e4": 10_000, "1e5": 100_000, "1e6": 1_000_000, "1e7": 10_000_000}.items():  # fmt: skip
        found += _rows(f"add {tag}", _add, floats(n), floats(n), numpy=np.add, passes="f")
    for tag, n in SIZES.items():
        pair = (floats(n), floats(n))
        found += _rows(f"compare {tag}", _greater, *pair, numpy=np.greater, passes="f")
        found += _rows(f"where {tag}", _where, mask(n), *pair, numpy=np.where, passes="f")
        found += _rows(
            f"times a number {tag}", lambda t, x: x * 1.5, floats(n),
            numpy=lambda x: x * np.float32(1.5), passes="f",
        )  # fmt: skip
    n = 1_000_000
    found += _rows("divide 1e6", lambda t, x, y: x / y, floats(n), floats(n, low=0.5, high=2),
                   numpy=np.divide)  # fmt: skip
    found += _rows("multiply 1e5", _multiply, floats(100_000), floats(100_000), passes="b")
    found += _rows("multiply 1e7", _multiply, floats(10 * n), floats(10 * n), passes="b")
    found += _rows("where 1e6", _where, mask(n), floats(n), floats(n), passes="b")
    found += _rows("clamp 1e6", lambda t, x: t.clamp(x, -0.5, 0.5), floats(n),
                   numpy=lambda x: np.clip(x, np.float32(-0.5), np.float32(0.5)), passes="f")  # fmt: skip
    return found


def _layouts() -> list[Row]:
    """Operands that are broadcast, transposed or sliced."""
    square, n = floats(1024, 1024), 1024
    found = _rows("add a row", _add, square, floats(n), numpy=np.add)
    found += _rows("add a column", _add, square, floats(n, 1), numpy=np.add)
    found += _rows("row times column", _multiply, floats(n), floats(n, 1), numpy=np.multiply)
    found += _rows("multiply a row, 64x128", _multiply, floats(64, 128), floats(128), numpy=np.multiply)  # fmt: skip
    found += _rows("scale channels", _multiply, floats(32, 64, 28, 28), floats(64, 1, 1), numpy=np.multiply)  # fmt: skip
    found += _rows("add transposed", lambda t, x, y: x + y.t(), square, square,
                   numpy=lambda x, y: x + y.T)  # fmt: skip
    found += _rows("exp of transposed", lambda t, x: x.t().exp(), square,
                   numpy=lambda x: np.exp(x.T), passes="f")  # fmt: skip
    found += _rows("add sliced", lambda t, x, y: x[1:-1, 1:-1] + y[2:, :-2], square, square,
                   numpy=lambda x, y: x[1:-1, 1:-1] + y[2:, :-2], passes="f")  # fmt: skip
    found += _rows("every other column", lambda t, x, y: x[:, ::2] * y[:, 1::2], square, square,
                   numpy=lambda x, y: x[:, ::2] * y[:, 1::2], passes="f")  # fmt: skip
    return found


ROWS = [*_arithmetic(), *_unary(), *_layouts()]
