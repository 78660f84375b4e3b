"""Attention backward: once with queries for rows, which gives dq, once with keys, dk and dv.

With ``P = e^(scores - lse)`` and ``D = sum(g * out)`` over features::

    dv = P' g        dS = P * (g v' - D)        dk = dS' q        dq = dS k

Every result is added up by one thread in order: there are no atomics.

Source: T. Dao, "FlashAttention-2", 2023.
"""

from __future__ import annotations

from typing import Any

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
from tilegrad.kernels.cuda.device.ptx import barrier, pointer, shared, thread, warp_barrier
from tilegrad.kernels.cuda.device.registers import as_int32, zeros
from tilegrad.kernels.cuda.device.shapes import LANES, AttentionTile
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.formulas.transcendental import exp_decay
from tilegrad.kernels.function import DeviceFunction
from tilegrad.kernels.monoids import add
from tilegrad.kernels.source import device_function


def _delta_maker(dtype: str, tile: AttentionTile) -> DeviceFunction:
    """The device function ``delta_of(g, out, deltas, lse, valid, F, r, c)``: delta, the rows' sums of
    ``g * out``, stored as well; and the rows' ``lse``, infinite where there is no row.
    """
    T = np.dtype(dtype).type
    lines = ["def delta_of(g, out, deltas, lse, valid, F, r, c):"]
    for i in range(tile.TM):
        row = f"r + {i * tile.groups}"
        lines += [
            f"    delta{i}, lse{i} = zero, infinity",
            f"    if {row} < valid:",
            f"        lse{i} = lse[{row}]",
            "        f = c",
            "        while f < F:",
            f"            delta{i} += g[({row}) * F + f] * out[({row}) * F + f]",
            f"            f += {LANES}",
            f"    delta{i} = along(delta{i}, add)",
            f"    if c == 0 and {row} < valid:",
            f"        deltas[{row}] = delta{i}",
        ]
    names = (", ".join(f"{n}{i}" for i in range(tile.TM)) for n in ("delta", "lse"))
    lines.append("    return " + ", ".join(f"({text},)" for text in names))
    scope = {"along": along, "add": add, "zero": T(0), "infinity": T(np.inf)}
    return device_function("delta_of", lines, scope, __name__)


def _score_grad_maker(
    dtype: str, tile: AttentionTile, mask: str, causal: bool, transposed: bool
) -> DeviceFunction:
    """The device function ``score_grad(s, d, scores, lses, deltas, scale, m, p, query, key, r, c)``: stores
    ``P``, where ``transposed``, else ``scale * dS``, and gives ``scale * dS``.

    Rows are queries, or keys where ``transposed``; ``lses`` and ``deltas`` are the queries'.
    """
    TM, TN, step = tile.TM, tile.TN, tile.step
    lines = ["def score_grad(s, d, scores, lses, deltas, scale, m, p, query, key, r, c):"]
    for i in range(TM):
        for j in range(TN):
            row, column, one = f"r + {i * tile.groups}", f"c + {j * LANES}", j if transposed else i
            a, b = (column, row) if transposed else (row, column)
            lines += [
                f"    x = seen(s[{i * TN + j}], scale, m, p, query + {a}, key + {b})",
                f"    e = exp_decay(x - lses[{one}])",
                f"    d{i * TN + j} = e * (d[{i * TN + j}] - deltas[{one}]) * scale",
                f"    scores[({row}) * {step} + {column}] = {'e' if transposed else f'd{i * TN + j}'}",
            ]
    lines.append(f"    return ({', '.join(f'd{k}' for k in range(TM * TN))},)")
    return device_function(
        "score_grad", lines, {"seen": masker(dtype, mask, causal), "exp_decay": exp_decay}, __name__
    )


def _pieces(
    dtype: str, tile: AttentionTile, vector: int
) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
    """What both passes do with a block: copies of rows and of columns, products, their sums, the first
    totals, how these are stored; and shared memory: twice rows, twice columns, scores.
    """
    D, step = tile.D, rows_of(dtype, tile.D).step
    functions = (
        copier(dtype, D, tile.BR, tile.threads, vector),
        copier(dtype, D, tile.BC, tile.threads, vector),
        dots(dtype, tile),
        adder(dtype, tile),
        zeros(dtype, tile.TM * D // LANES),
        storer(dtype, tile, vector),
    )
    memory = (
        shared(dtype, tile.BR * step, "rows"),
        shared(dtype, tile.BR * step, "further_rows"),
        shared(dtype, tile.BC * step, "columns"),
        shared(dtype, tile.BC * step, "further_columns"),
        shared(dtype, tile.BR * tile.step, "scores"),
    )
    return functions, memory


@kernel
def queries(dtype: str, tile: AttentionTile, vector: int, mask: str, causal: bool) -> Source:
    """dq, and the rows' sums D for :func:`keys`; a block is ``BR`` queries of an item.

    Parameters: addresses of g, q, k, v, mask, out, lse, dq and D, then :class:`Params`.
    """
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize
    functions, memory = _pieces(dtype, tile, vector)
    BR, BC = tile.BR, tile.BC
    copy_rows, copy_columns, dot, accumulate, start, store = functions
    first_rows, second_rows, first_columns, second_columns, of_scores = memory
    delta_of, score_grad = (
        _delta_maker(dtype, tile),
        _score_grad_maker(dtype, tile, mask, causal, False),
    )
    locate, addresses = locator(BR), item_addresses(dtype, mask)

    def attend(g, q, k, v, m, out, lse, dq, sums, p):
        t = thread()
        r, c, factor = as_int32(t >> 3), as_int32(t & 7), T(p.scale)
        item, outer, inner, head, first = locate(p)
        valid, row = as_int32(p.L - first), item * p.L + first
        q_at, k_at, v_at, m_at = addresses(q, k, v, m, p, outer, inner, head)
        q_rows, g_rows, scores = first_rows(), second_rows(), of_scores()
        k_columns, v_columns = first_columns(), second_columns()
        copy_rows(q_at + size * first * p.q_row, p.q_row, valid, p.E, q_rows, t)
        copy_rows(g + size * row * p.F, p.F, valid, p.F, g_rows, t)
        deltas, lses = delta_of(
            pointer(g + size * row * p.F, T), pointer(out + size * row * p.F, T),
            pointer(sums + size * row, T), pointer(lse + size * row, T), valid, p.F, r, c,
        )  # fmt: skip
        accumulators = start()
        end = min(p.S, first + BR) if causal else p.S
        key = as_int32(0)
        while key < end:
            barrier()
            copy_columns(k_at + size * key * p.k_row, p.k_row, p.S - key, p.E, k_columns, t)
            copy_columns(v_at + size * key * p.v_row, p.v_row, p.S - key, p.F, v_columns, t)
            barrier()
            s, d = dot(q_rows, k_columns, r, c), dot(g_rows, v_columns, r, c)
            score_grad(s, d, scores, lses, deltas, factor, m_at, p, first, key, r, c)
            warp_barrier()
            accumulators = accumulate(accumulators, scores, k_columns, r, c)
            key = as_int32(key + BC)
        store(pointer(dq + size * row * p.E, T), accumulators, valid, p.E, r, c)

    return Source(attend, ("i" * 9, Params), tile.threads, tile.per_sm)


def _stats_loader(dtype: str, tile: AttentionTile) -> DeviceFunction:
    """The device function ``load_stats(lse, sums, valid, c)``: (lse, delta) of a thread's columns;
    infinity and 0 where there is no column.
    """
    T = np.dtype(dtype).type
    places = [f"c + {j * LANES}" for j in range(tile.TN)]
    lses = ", ".join(f"lse[{at}] if {at} < valid else infinity" for at in places)
    deltas = ", ".join(f"sums[{at}] if {at} < valid else zero" for at in places)
    lines = ["def load_stats(lse, sums, valid, c):", f"    return ({lses},), ({deltas},)"]
    return device_function("load_stats", lines, {"zero": T(0), "infinity": T(np.inf)}, __name__)


def _scores_storer(tile: AttentionTile) -> DeviceFunction:
    """The device function ``store_scores(d, p, r, c)``: a thread's numbers to the piece for scores."""
    lines = ["def store_scores(d, p, r, c):"]
    for i in range(tile.TM):
        for j in range(tile.TN):
            at = f"(r + {i * tile.groups}) * {tile.step} + c + {j * LANES}"
            lines.append(f"    p[{at}] = d[{i * tile.TN + j}]")
    return device_function("store_scores", lines, {}, __name__)


@kernel
def keys(dtype: str, tile: AttentionTile, vector: int, mask: str, causal: bool) -> Source:
    """dk and dv, for every head of queries; a block is ``BR`` keys of an item.

    Parameters: addresses of g, q, k, v, mask, lse, D, dk and dv, then :class:`Params`.
    """
    T, size = np.dtype(dtype).type, np.dtype(dtype).itemsize
    functions, memory = _pieces(dtype, tile, vector)
    BR, BC = tile.BR, tile.BC
    copy_rows, copy_columns, dot, accumulate, start, store = functions
    first_rows, second_rows, first_columns, second_columns, of_scores = memory
    load_stats, store_scores = _stats_loader(dtype, tile), _scores_storer(tile)
    score_grad = _score_grad_maker(dtype, tile, mask, causal, True)
    locate, addresses = locator(BR), item_addresses(dtype, mask)

    def attend(g, q, k, v, m, lse, sums, dk, dv, p):
        t = thread()
        r, c, factor = as_int32(t >> 3), as_int32(t & 7), T(p.scale)
        item, outer, inner, head, first = locate(p)
        valid, row = as_int32(p.S - first), item * p.S + first
        q_at, k_at, v_at, m_at = addresses(q, k, v, m, p, outer, inner, head)
        k_rows, v_rows, scores = first_rows(), second_rows(), of_scores()
        q_columns, g_columns = first_columns(), second_columns()
        copy_rows(k_at + size * first * p.k_row, p.k_row, valid, p.E, k_rows, t)
        copy_rows(v_at + size * first * p.v_row, p.v_row, valid, p.F, v_rows, t)
        of_k, of_v = start(), start()
        query = as_int32(first if causal else 0)  # a multiple of BC: no query sees keys after it
        while query < p.L:
            barrier()
            copy_columns(q_at + size * query * p.q_row, p.q_row, p.L - query, p.E, q_columns, t)
            at = item * p.L + query
            copy_columns(g + size * at * p.F, p.F, p.L - query, p.F, g_columns, t)
            lses, deltas = load_stats(
                pointer(lse + size * at, T), pointer(sums + size * at, T), p.L - query, c
            )
            barrier()
            s, d = dot(k_rows, q_columns, r, c), dot(v_rows, g_columns, r, c)
            d = score_grad(s, d, scores, lses, deltas, factor, m_at, p, query, first, r, c)
            warp_barrier()
            of_v = accumulate(of_v, scores, g_columns, r, c)
            warp_barrier()
            store_scores(d, scores, r, c)
            warp_barrier()
            of_k = accumulate(of_k, scores, q_columns, r, c)
            query = as_int32(query + BC)
        store(pointer(dk + size * row * p.E, T), of_k, valid, p.E, r, c)
        store(pointer(dv + size * row * p.F, T), of_v, valid, p.F, r, c)

    return Source(attend, ("i" * 9, Params), tile.threads, tile.per_sm)
