"""Copies and indexing: transposes, cat, pad, gather, scatter, embedding, masks, rows."""

from __future__ import annotations

from functools import partial

import numpy as np

from tilegrad.bench.rows.row import Row, floats, indices, mask, rows

_rows = partial(rows, "movement")


def _copies() -> list[Row]:
    x = floats(1024, 1024)
    found = _rows("transpose 1024x1024", lambda t, x: x.t().contiguous(), x, numpy=lambda x: np.ascontiguousarray(x.T))  # fmt: skip
    found += _rows("transpose 128x64", lambda t, x: x.t().contiguous(), floats(128, 64), numpy=lambda x: np.ascontiguousarray(x.T), passes="f")  # fmt: skip
    found += _rows("channels last", lambda t, x: x.permute(0, 2, 3, 1).contiguous(), floats(32, 64, 28, 28), numpy=lambda x: np.ascontiguousarray(x.transpose(0, 2, 3, 1)), passes="f")  # fmt: skip
    found += _rows("heads to the front", lambda t, x: x.view(16, 64, 4, 32).transpose(1, 2).contiguous(), floats(16, 64, 128), numpy=lambda x: np.ascontiguousarray(x.reshape(16, 64, 4, 32).transpose(0, 2, 1, 3)), passes="f")  # fmt: skip
    found += _rows("every other column", lambda t, x: x[:, ::2].contiguous(), x, numpy=lambda x: np.ascontiguousarray(x[:, ::2]))  # fmt: skip
    found += _rows(
        "clone 1e6", lambda t, x: x.clone(), floats(1_000_000), numpy=np.copy, passes="f"
    )
    found += _rows("flip", lambda t, x: x.flip(1), x, numpy=lambda x: np.ascontiguousarray(x[:, ::-1]), passes="f")  # fmt: skip
    found += _rows("cat of dim 0", lambda t, x, y: t.cat((x, y)), x, x, numpy=lambda x, y: np.concatenate((x, y)))  # fmt: skip
    found += _rows("cat of dim 1", lambda t, x, y: t.cat((x, y), 1), x, x, numpy=lambda x, y: np.concatenate((x, y), 1))  # fmt: skip
    found += _rows("stack of 8, 64x128", lambda t, *x: t.stack(x), *[floats(64, 128)] * 8, numpy=lambda *x: np.stack(x), passes="f")  # fmt: skip
    found += _rows("pad images by 1", lambda t, x: t.nn.functional.pad(x, (1, 1, 1, 1)), floats(32, 64, 28, 28), numpy=lambda x: np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1))))  # fmt: skip
    return found


def _indexing() -> list[Row]:
    x, wide = floats(1024, 1024), indices(1024, 256, below=1024)
    few = indices(4096, below=1024)
    found = _rows("gather of dim 1", lambda t, x, i: x.gather(1, i), x, wide, numpy=lambda x, i: np.take_along_axis(x, i, 1))  # fmt: skip
    found += _rows("gather of dim 0", lambda t, x, i: x.gather(0, i), x, indices(256, 1024, below=1024), numpy=lambda x, i: np.take_along_axis(x, i, 0), passes="f")  # fmt: skip
    # values come from the index: where two meet, both libraries must agree on what is written
    found += _rows("scatter in dim 1", lambda t, x, i: x.scatter(1, i, 1.5), x, wide, passes="f")
    found += _rows("scatter add in dim 1", lambda t, x, i, y: x.scatter_add(1, i, y), x, wide, floats(1024, 256))  # fmt: skip
    found += _rows("embedding 10000x128", lambda t, i, w: t.nn.functional.embedding(i, w), indices(32, 64, below=10_000), floats(10_000, 128), numpy=lambda i, w: w[i])  # fmt: skip
    found += _rows("rows of 1024x1024", lambda t, x, i: x[i], x, few, numpy=lambda x, i: x[i])
    found += _rows("index select of dim 1", lambda t, x, i: x.index_select(1, i), x, indices(512, below=1024), numpy=lambda x, i: x[:, i], passes="f")  # fmt: skip
    found += _rows("row and column pairs", lambda t, x, i, j: x[i, j], x, few, few, numpy=lambda x, i, j: x[i, j], passes="f")  # fmt: skip
    found += _rows("masked fill", lambda t, x, m: x.masked_fill(m, 0.0), x, mask(1024, 1024), numpy=lambda x, m: np.where(m, np.float32(0), x))  # fmt: skip
    found += _rows("masked fill by columns", lambda t, x, m: x.masked_fill(m, 0.0), x, mask(1024), numpy=lambda x, m: np.where(m, np.float32(0), x), passes="f")  # fmt: skip
    found += _rows("masked select", lambda t, x, m: x[m], x, mask(1024, 1024), numpy=lambda x, m: x[m], passes="f")  # fmt: skip
    return found


ROWS = [*_copies(), *_indexing()]
