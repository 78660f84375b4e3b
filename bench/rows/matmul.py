"""Matrix products: square, skinny, transposed, batched, by a vector; Linear and attention."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np

from tilegrad.bench.rows.row import Row, Shape, floats, rows

_rows = partial(rows, "matmul", accuracy="rms", tolerance=1e-4)


def _product(t: Any, x: Any, y: Any) -> Any:
    return x @ y


def _named(name: str, x: Shape, y: Shape, passes: str = "f") -> list[Row]:
    batch = int(np.prod(x[:-2], dtype=int))
    flops = 2.0 * batch * x[-2] * x[-1] * y[-1]
    return _rows(name, _product, floats(*x), floats(*y), numpy=np.matmul, flops=flops, passes=passes)  # fmt: skip


def _shapes() -> list[Row]:
    found = []
    for n in (32, 64, 128, 256, 512, 1024, 2048):
        found += _named(f"{n} square", (n, n), (n, n), "fb" if n in (64, 256, 512, 1024) else "f")
    found += _named("64x784 by 784x128", (64, 784), (784, 128))
    found += _named("64x128 by 128x10", (64, 128), (128, 10))
    found += _named("1024x16 by 16x1024", (1024, 16), (16, 1024))
    found += _named("16x1024 by 1024x1024", (16, 1024), (1024, 1024))
    found += _named("16x4096 by 4096x16", (16, 4096), (4096, 16))
    found += _named("1023x511 by 511x1021", (1023, 511), (511, 1021))
    found += _named("batched, 32 of 64", (32, 64, 64), (32, 64, 64), "fb")
    found += _named("batched, 8 of 256", (8, 256, 256), (8, 256, 256))
    found += _named("batched, 128x64x32 by 32x64", (128, 64, 32), (128, 32, 64))
    return found


def _transposed() -> list[Row]:
    found = []
    for n in (256, 1024):
        pair, flops = (floats(n, n), floats(n, n)), 2.0 * n**3
        found += _rows(f"x.t() @ y, {n}", lambda t, x, y: x.t() @ y, *pair, flops=flops,
                       numpy=lambda x, y: x.T @ y, passes="f")  # fmt: skip
        found += _rows(f"x @ y.t(), {n}", lambda t, x, y: x @ y.t(), *pair, flops=flops,
                       numpy=lambda x, y: x @ y.T, passes="f")  # fmt: skip
    return found


def _vectors() -> list[Row]:
    found = []
    for m, n in ((256, 256), (1024, 1024), (4096, 2048)):
        found += _rows(f"{m}x{n} by vector", _product, floats(m, n), floats(n), flops=2.0 * m * n,
                       numpy=np.matmul, passes="fb" if m == 1024 else "f")  # fmt: skip
    found += _rows("vector by 1024x1024", _product, floats(1024), floats(1024, 1024), flops=2.0 * 1024**2,
                   numpy=np.matmul, passes="f")  # fmt: skip
    return found


def _linear() -> list[Row]:
    def linear(t: Any, x: Any, w: Any, b: Any) -> Any:
        return t.nn.functional.linear(x, w, b)

    found = []
    for n, k, m in ((64, 784, 256), (1, 512, 512), (1024, 512, 512)):
        found += _rows(
            f"linear {k} to {m}, batch {n}", linear, floats(n, k), floats(m, k), floats(m),
            flops=2.0 * n * k * m, numpy=lambda x, w, b: x @ w.T + b,
        )  # fmt: skip
    return found


def _attention() -> list[Row]:
    def attend(t: Any, q: Any, k: Any, v: Any, causal: bool) -> Any:
        return t.nn.functional.scaled_dot_product_attention(q, k, v, is_causal=causal)

    found = []
    for shape in ((8, 4, 64, 32), (2, 8, 256, 64), (1, 4, 1024, 64)):
        b, h, n, d = shape
        for causal in (False, True):
            found += _rows(
                f"{'causal ' if causal else ''}attention {b}x{h}x{n}x{d}",
                partial(attend, causal=causal), *(floats(*shape) for _ in "qkv"),
                flops=4.0 * b * h * n * n * d,
            )  # fmt: skip
    return found


def _named_dims() -> list[Row]:
    def einsum(t: Any, *operands: Any, equation: str) -> Any:
        return t.einsum(equation, *operands)

    equations = {
        "bij,bjk->bik": ((16, 128, 64), (16, 64, 128)),
        "bhid,bhjd->bhij": ((4, 8, 128, 32), (4, 8, 128, 32)),
        "ij,jk,kl->il": ((512, 16), (16, 512), (512, 16)),
        "ij,ij->i": ((1024, 512), (1024, 512)),
        "ijk,kl->lij": ((32, 32, 64), (64, 128)),
    }
    found = []
    for equation, shapes in equations.items():
        call = partial(einsum, equation=equation)
        found += _rows(f"einsum {equation}", call, *(floats(*s) for s in shapes))
    for p in (2.0, 1.0, 3.0, float("inf")):
        for rows_, size in ((512, 64), (1024, 3)):
            found += _rows(
                f"cdist p={p:g}, {rows_} by {rows_} of {size}",
                lambda t, x, y, p=p: t.cdist(x, y, p), floats(rows_, size), floats(rows_, size),
            )  # fmt: skip
    found += _rows("pdist, 512 of 64", lambda t, x: t.nn.functional.pdist(x), floats(512, 64))
    return found


ROWS = [*_shapes(), *_transposed(), *_vectors(), *_linear(), *_attention(), *_named_dims()]
