"""What one call costs: ops of 32 elements, with and without gradients, and small graphs."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tilegrad.bench.rows.row import Row, floats, rows

_rows = partial(rows, "overhead", passes="f")


def _add(t: Any, x: Any, y: Any) -> Any:
    return x + y


def _chain(t: Any, x: Any, y: Any) -> Any:
    return (x * y + x).relu()


def _loss(t: Any, x: Any, y: Any) -> Any:
    return ((x * y).tanh() - x).square().mean()


X, SQUARE = floats(32), floats(8, 8)
ROWS: list[Row] = [
    *_rows("add", _add, X, X, numpy=np.add),
    *_rows("add, recorded", _add, X, X, recorded=True),
    *_rows("add", _add, X, X, passes="b"),
    *_rows("times a number", lambda t, x: x * 2.0, X, numpy=lambda x: x * np.float32(2)),
    *_rows("times a number, recorded", lambda t, x: x * 2.0, X, recorded=True),
    *_rows("exp", lambda t, x: x.exp(), X, numpy=np.exp),
    *_rows("exp, recorded", lambda t, x: x.exp(), X, recorded=True),
    *_rows("sum", lambda t, x: x.sum(), X, numpy=np.sum),
    *_rows("sum, recorded", lambda t, x: x.sum(), X, recorded=True),
    *_rows("matmul 8x8", lambda t, x, y: x @ y, SQUARE, SQUARE, numpy=np.matmul),
    *_rows("softmax 4x8", lambda t, x: t.softmax(x, -1), floats(4, 8)),
    *_rows("linear 8 to 8", lambda t, x, w, b: t.nn.functional.linear(x, w, b), floats(4, 8), SQUARE,
           floats(8), recorded=True),
    *_rows("cat of two", lambda t, x, y: t.cat((x, y)), X, X, numpy=lambda x, y: np.concatenate((x, y))),
    *_rows("view and transpose", lambda t, x: x.view(4, 8).t(), X, numpy=lambda x: x.reshape(4, 8).T),
    *_rows("one element", lambda t, x: x[3], X, numpy=lambda x: x[3]),
    *_rows("slice", lambda t, x: x[4:20], X, numpy=lambda x: x[4:20]),
    *_rows("chain of three", _chain, X, X),
    *_rows("chain of three", _chain, X, X, passes="b"),
    *_rows("chain of five to a loss", _loss, X, X, passes="b"),
]  # fmt: skip
