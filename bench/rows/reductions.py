"""Sums, extremes and moments over all, first and last dims; softmax, losses, norms, scans, sorting."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tilegrad.bench.rows.row import Call, Row, floats, indices, rows

_rows = partial(rows, "reductions")
SHAPES: dict[str, tuple[int, ...]] = {
    "64x128": (64, 128),
    "1024x512": (1024, 512),
    "4096x2048": (4096, 2048),
}

# name: (method with the dims to reduce, NumPy's)
REDUCTIONS: dict[str, tuple[Call, Call]] = {
    "sum": (lambda x, *dim: x.sum(*dim), np.sum),
    "mean": (lambda x, *dim: x.mean(*dim), np.mean),
    "max": (lambda x, *dim: x.amax(*dim), np.max),
    "argmax": (lambda x, *dim: x.argmax(*dim), np.argmax),
    "var": (lambda x, *dim: x.var(*dim), partial(np.var, ddof=1)),
}


def _reductions() -> list[Row]:
    found = []
    for name, (call, array_call) in REDUCTIONS.items():
        tags = list(SHAPES) if name in ("sum", "argmax") else ["64x128", "1024x512"]
        for tag in tags:
            for where, dim in (("all", ()), ("dim 0", (0,)), ("dim 1", (1,))):
                if name == "mean" and where != "all":
                    continue
                found += _rows(
                    f"{name} of {where}, {tag}",
                    lambda t, x, call=call, dim=dim: call(x, *dim),
                    floats(*SHAPES[tag]),
                    numpy=lambda x, f=array_call, dim=dim: f(x, *dim),
                    passes="f",
                )
    x = floats(1024, 512)
    found += _rows("sum of dim 1, 1024x512", lambda t, x: x.sum(1), x, passes="b")
    found += _rows("mean of all, 1024x512", lambda t, x: x.mean(), x, passes="b")
    found += _rows("max of dim 1, 1024x512", lambda t, x: x.max(1).values, x, passes="b")
    found += _rows("var of dim 1, 1024x512", lambda t, x: x.var(1), x, passes="b")
    return found


def _softmaxes() -> list[Row]:
    def softmax(t: Any, x: Any) -> Any:
        return t.softmax(x, -1)

    def log_softmax(t: Any, x: Any) -> Any:
        return t.log_softmax(x, -1)

    def cross_entropy(t: Any, x: Any, y: Any) -> Any:
        return t.nn.functional.cross_entropy(x, y)

    found = []
    for tag, shape in SHAPES.items():
        x = floats(*shape, low=-4, high=4)
        found += _rows(f"softmax {tag}", softmax, x)
        found += _rows(f"log softmax {tag}", log_softmax, x, passes="f")
    found += _rows("log softmax 1024x512", log_softmax, floats(1024, 512, low=-4, high=4), passes="b")  # fmt: skip
    x = floats(1024, 512)
    found += _rows("softmax of dim 0, 1024x512", lambda t, x: t.softmax(x, 0), x)
    found += _rows("log softmax of dim 0, 1024x512", lambda t, x: t.log_softmax(x, 0), x)
    found += _rows("softmax of dim 1, 64x100x50", lambda t, x: t.softmax(x, 1), floats(64, 100, 50))
    found += _rows("logsumexp of dim 0, 1024x512", lambda t, x: t.logsumexp(x, 0), x)
    for n, c in ((64, 10), (1024, 1000)):
        operands = (floats(n, c, low=-4, high=4), indices(n, below=c))
        found += _rows(f"cross entropy {n}x{c}", cross_entropy, *operands)
    return found


def _norms() -> list[Row]:
    def layer_norm(t: Any, x: Any, w: Any, b: Any) -> Any:
        return t.nn.functional.layer_norm(x, w.shape, w, b)

    def batch_norm(t: Any, x: Any, w: Any, b: Any) -> Any:
        return t.nn.functional.batch_norm(x, None, None, w, b, training=True)

    found = []
    for tag, shape in SHAPES.items():
        weights = (floats(shape[1], low=0.5), floats(shape[1]))
        passes = "f" if tag == "4096x2048" else "fb"
        found += _rows(f"layer norm {tag}", layer_norm, floats(*shape), *weights, passes=passes)
    for tag, shape in {"64x256": (64, 256), "32x64x28x28": (32, 64, 28, 28)}.items():
        weights = (floats(shape[1], low=0.5), floats(shape[1]))
        # gradients of a normalised sum cancel: what is left is small against its terms
        found += _rows(f"batch norm {tag}", batch_norm, floats(*shape), *weights, tolerance=1e-4)
    return found


def _scans_and_sorts() -> list[Row]:
    x, low = floats(1024, 512), 1e-4
    found = _rows("cumsum of dim 1, 1024x512", lambda t, x: x.cumsum(1), x, numpy=lambda x: x.cumsum(1), tolerance=low)  # fmt: skip
    found += _rows("cumsum of dim 0, 1024x512", lambda t, x: x.cumsum(0), x, numpy=lambda x: x.cumsum(0), passes="f", tolerance=low)  # fmt: skip
    found += _rows("sort of dim 1, 1024x512", lambda t, x: x.sort(1).values, x)
    found += _rows("sort 1e6", lambda t, x: x.sort().values, floats(1_000_000), passes="f")
    found += _rows("argsort of dim 1, 64x128", lambda t, x: x.argsort(1), floats(64, 128), numpy=lambda x: x.argsort(1), passes="f")  # fmt: skip
    found += _rows("top 8 of dim 1, 1024x1000", lambda t, x: x.topk(8, 1).values, floats(1024, 1000))  # fmt: skip
    found += _rows("top 100 of 1e6", lambda t, x: x.topk(100).values, floats(1_000_000), passes="f")
    return found


def _counts() -> list[Row]:
    x = floats(1_000_000, low=0, grad=False)
    found = _rows("histc 1e6 into 100", lambda t, x: t.histc(x, 100, 0, 1), x, passes="f")
    found += _rows("histogram 1e5 into 64", lambda t, x: t.histogram(x, 64, range=(0.0, 1.0)).hist, floats(100_000, low=0, grad=False), passes="f")  # fmt: skip
    found += _rows(
        "quantile of dim 1, 1024x512", lambda t, x: t.quantile(x, 0.3, 1), floats(1024, 512)
    )
    return found


ROWS = [*_reductions(), *_softmaxes(), *_norms(), *_scans_and_sorts(), *_counts()]
