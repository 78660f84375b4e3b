"""Attention forward: rows are queries, the keys and values go by tile after tile.
The loop over tiles stands in every pass: nvJitLink unrolls a tile's work otherwise where it is a function.

The largest score of a row and its sum of exponentials follow the tiles; totals shrink where a tile
brings a larger score.

Source: T. Dao, "FlashAttention-2", 2023.
"""

from __future__ import annotations

import numpy as np

from tilegrad.kernels.cuda.attention.tile import (
    Params,
    adder,
    along,
    copier,
    dots,
    item_addresses,
    locator,
    masker,
    rows_of,
    storer,
)
from tilegrad.kernels.cuda.device.ptx import barrier, pointer, shared, thread
from tilegrad.kernels.cuda.device.registers import as_int32, scaled, zeros
from tilegrad.kernels.cuda.device.shapes import LANES, AttentionTile
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.formulas.transcendental import exp_decay, log
from tilegrad.kernels.function import DeviceFunction
from tilegrad.kernels.monoids import add, larger
from tilegrad.kernels.source import device_function


def _online_softmax_maker(
    dtype: str, tile: AttentionTile, mask: str, causal: bool
) -> DeviceFunction:
    """The device function ``online_softmax(s, scores, row_max, row_sum, scale, m, p, query, key, r, c)``:
    products become exponentials, stored to ``scores``; gives (tops, sums, what totals shrink by), a
    thread's sums being over its own columns.
    """
    TM, TN, step = tile.TM, tile.TN, tile.step
    lines = ["def online_softmax(s, scores, row_max, row_sum, scale, m, p, query, key, r, c):"]
    for i in range(TM):
        row = f"r + {i * tile.groups}"
        for j in range(TN):
            lines.append(
                f"    x{j} = seen(s[{i * TN + j}], scale, m, p, query + {row}, key + c + {j * LANES})"
            )
        lines.append(f"    top = x{TN - 1}")
        lines += [f"    top = larger(top, x{j})" for j in range(TN - 1)]
        lines += [
            f"    new{i} = larger(row_max[{i}], along(top, larger))",
            f"    rescale{i} = exp_decay(row_max[{i}] - new{i})",
            f"    sum{i} = row_sum[{i}] * rescale{i}",
        ]
        for j in range(TN):
            lines += [
                f"    e = exp_decay(x{j} - new{i})",
                f"    sum{i} = sum{i} + e",
                f"    scores[({row}) * {step} + c + {j * LANES}] = e",
            ]
    names = (", ".join(f"{n}{i}" for i in range(TM)) for n in ("new", "sum", "rescale"))
    lines.append("    return " + ", ".join(f"({text},)" for text in names))
    scope = {
        "seen": masker(dtype, mask, causal), "larger": larger, "along": along,
        "exp_decay": exp_decay,
    }  # fmt: skip
    return device_function("online_softmax", lines, scope, __name__)


def _finisher(dtype: str, tile: AttentionTile) -> DeviceFunction:
    """The device function ``finish(row_max, row_sum, lse, valid, r, c)``: stores the logarithms of the
    sums, gives what totals are multiplied by; a row that sees nothing has 0 and infinity.
    """
    T = np.dtype(dtype).type
    lines = ["def finish(row_max, row_sum, lse, valid, r, c):"]
    for i in range(tile.TM):
        row = f"r + {i * tile.groups}"
        lines += [
            f"    total = along(row_sum[{i}], add)",
            f"    f{i} = zero if total == zero else one / total",
            f"    if c == 0 and {row} < valid:",
            f"        lse[{row}] = infinity if total == zero else row_max[{i}] + log(total)",
        ]
    lines.append(f"    return ({', '.join(f'f{i}' for i in range(tile.TM))},)")
    scope = {
        "along": along, "add": add, "log": log, "zero": T(0), "one": T(1), "infinity": T(np.inf),
    }  # fmt: skip
    return device_function("finish", lines, scope, __name__)


@kernel
def forward(dtype: str, tile: AttentionTile, vector: int, mask: str, causal: bool) -> Source:
    """A block is ``BR`` queries of an item.

    Parameters: addresses of q, k, v, mask, out and lse, then :class:`Params`.
    """
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize
    BR, BC, threads, TM, D = tile.BR, tile.BC, tile.threads, tile.TM, tile.D
    kind = rows_of(dtype, D)
    copy_rows = copier(dtype, D, BR, threads, vector)
    copy_columns = copier(dtype, D, BC, threads, vector)
    dot, accumulate = dots(dtype, tile), adder(dtype, tile)
    online_softmax, finish = (
        _online_softmax_maker(dtype, tile, mask, causal),
        _finisher(dtype, tile),
    )
    store, start = storer(dtype, tile, vector), zeros(dtype, TM * D // LANES)
    of_rows = shared(dtype, BR * kind.step, "rows")
    of_columns = shared(dtype, BC * kind.step, "columns")
    of_scores = shared(dtype, BR * tile.step, "scores")
    lowest, no_sum = (np.finfo(T).min,) * TM, (T(0),) * TM  # finite, so that it may be subtracted
    locate, addresses = locator(BR), item_addresses(dtype, mask)

    def attend(q, k, v, m, out, lse, p):
        t = thread()
        r, c, factor = as_int32(t >> 3), as_int32(t & 7), T(p.scale)
        item, outer, inner, head, first = locate(p)
        valid, at = as_int32(p.L - first), item * p.L + first
        rows, columns, scores = of_rows(), of_columns(), of_scores()
        q_at, k_at, v_at, m_at = addresses(q, k, v, m, p, outer, inner, head)
        copy_rows(q_at + size * first * p.q_row, p.q_row, valid, p.E, rows, t)
        end = min(p.S, first + BR) if causal else p.S
        accumulators, row_max, row_sum = start(), lowest, no_sum
        key = as_int32(0)
        while key < end:
            barrier()
            copy_columns(k_at + size * key * p.k_row, p.k_row, p.S - key, p.E, columns, t)
            barrier()
            s = dot(rows, columns, r, c)
            barrier()
            copy_columns(v_at + size * key * p.v_row, p.v_row, p.S - key, p.F, columns, t)
            row_max, row_sum, rescale = online_softmax(
                s, scores, row_max, row_sum, factor, m_at, p, first, key, r, c
            )
            accumulators = scaled(accumulators, rescale)
            barrier()
            accumulators = accumulate(accumulators, scores, columns, r, c)
            key = as_int32(key + BC)
        factors = finish(row_max, row_sum, pointer(lse + size * at, T), valid, r, c)
        store(pointer(out + size * at * p.F, T), scaled(accumulators, factors), valid, p.F, r, c)

    return Source(attend, ("i" * 6, Params), threads, tile.per_sm)
