"""What the passes of attention do with tiles: rows that stay, columns that go by.

A block keeps some rows of matrices (queries or keys) in shared memory, a tile of columns at a time
beside them. Eight neighbouring threads share a group of rows: a thread has ``TM`` rows by ``TN``
columns of scores, eight apart, and of the results the same rows by every eighth vector of features.
What goes along a row goes through shuffles, and the second product reads the scores, by now
exponentials, from a piece of shared memory that is a warp's own.

Matrices lie in shared memory as they do outside, a feature's vector at a time, rows padded by a
vector: the copies there and all reads of vectors are free of bank conflicts.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, load_vector, pointer, shuffle_xor, store_vector
from tilegrad.kernels.cuda.device.registers import as_int32, outer_product, zeros
from tilegrad.kernels.cuda.device.shapes import LANES, AttentionTile
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.source import device_function


class Params(NamedTuple):
    """What every pass takes after its addresses.

    Attributes:
        L, S: queries and keys. E, F: features of both, and of values.
        heads: inner items. share: how many of them look at one head of keys.
        blocks: of an item.
        scale: of the products of queries and keys.
        q_outer, …: strides, in elements, by outer and inner item and by row; of the mask by column, too.
    """

    L: int
    S: int
    E: int
    F: int
    heads: int
    share: int
    blocks: int
    scale: float
    q_outer: int
    q_inner: int
    q_row: int
    k_outer: int
    k_inner: int
    k_row: int
    v_outer: int
    v_inner: int
    v_row: int
    m_outer: int
    m_inner: int
    m_row: int
    m_column: int


@lru_cache(maxsize=None)
def locator(BR: int) -> DeviceFunction:
    """The device function ``locate(p)``: (the block's item, that item's outer and inner number and the head
    of its keys, the first of the block's ``BR`` rows).
    """

    @inline
    def locate(p):
        item = block() // p.blocks
        outer = item // p.heads
        inner = item - outer * p.heads
        return item, outer, inner, inner // p.share, as_int32((block() - item * p.blocks) * BR)

    return locate


@lru_cache(maxsize=None)
def item_addresses(dtype: str, mask: str) -> DeviceFunction:
    """The device function ``addresses(q, k, v, m, p, outer, inner, head)``: where an item begins in each."""
    size = np.dtype(dtype).itemsize
    width = 1 if mask == "bool" else size

    @inline
    def addresses(q, k, v, m, p, outer, inner, head):
        return (
            q + size * (outer * p.q_outer + inner * p.q_inner),
            k + size * (outer * p.k_outer + head * p.k_inner),
            v + size * (outer * p.v_outer + head * p.v_inner),
            m + width * (outer * p.m_outer + inner * p.m_inner),
        )

    return addresses


class Rows(NamedTuple):
    """How rows of ``D`` elements lie in shared memory: in vectors of ``V``, ``step`` apart."""

    D: int
    V: int

    @property
    def step(self) -> int:
        """Elements from a row to the next."""
        return self.D + self.V


def rows_of(dtype: str, D: int) -> Rows:
    """Vectors are of 16 bytes."""
    return Rows(D, 16 // np.dtype(dtype).itemsize)


@lru_cache(maxsize=None)
def copier(dtype: str, D: int, rows: int, threads: int, vector: int) -> DeviceFunction:
    """The device function ``copy(address, row, valid, features, to, t)``: ``valid`` rows of a matrix,
    ``row`` elements apart, to shared memory; what lies beyond rows or features is 0.

    ``vector``: elements that are read together.
    """
    T, kind = np.dtype(dtype).type, rows_of(dtype, D)
    step, per, shift = kind.step, D // vector, (D // vector).bit_length() - 1
    load, store, none = load_vector(vector), store_vector(vector), (T(0),) * vector

    @inline
    def copy(address, row, valid, features, to, t):
        source, n = pointer(address, T), as_int32(t)
        while n < rows * per:
            i, f = n >> shift, (n & (per - 1)) * vector
            inside = i < valid and f < features
            if vector > 1:
                store(to, i * step + f, load(source, i * row + f) if inside else none)
            else:
                to[i * step + f] = source[i * row + f] if inside else T(0)
            n = as_int32(n + threads)

    return copy


@lru_cache(maxsize=None)
def dots(dtype: str, tile: AttentionTile) -> DeviceFunction:
    """The device function ``dot(x, y, r, c)``: products of a thread's rows of x with its columns,
    which are rows of y, along the features.
    """
    D = tile.D
    kind = rows_of(dtype, D)
    x = [f"x{i}" for i in range(tile.TM)]
    y = [f"y{j}" for j in range(tile.TN)]
    lines = [
        "def dot(x, y, r, c):",
        f"    s, x_at, y_at = zeros(), as_int32(r * {kind.step}), as_int32(c * {kind.step})",
        f"    end = as_int32(x_at + {D})",
        "    while x_at < end:",
        *(f"        {n} = load(x, x_at + {i * tile.groups * kind.step})" for i, n in enumerate(x)),
        *(f"        {n} = load(y, y_at + {j * LANES * kind.step})" for j, n in enumerate(y)),
    ]
    for k in range(kind.V):
        of_x, of_y = (", ".join(f"{n}[{k}]" for n in names) for names in (x, y))
        lines.append(f"        s = outer_product(s, ({of_x},), ({of_y},))")
    lines += [
        f"        x_at, y_at = as_int32(x_at + {kind.V}), as_int32(y_at + {kind.V})",
        "    return s",
    ]
    scope = {
        "zeros": zeros(dtype, tile.TM * tile.TN), "load": load_vector(kind.V), "outer_product": outer_product,
        "as_int32": as_int32,
    }  # fmt: skip
    return device_function("dot", lines, scope, __name__)


@lru_cache(maxsize=None)
def adder(dtype: str, tile: AttentionTile) -> DeviceFunction:
    """The device function ``add(accumulators, p, y, r, c)``: ``accumulators + p @ y`` for a thread's rows of the
    scores p and its vectors of the features of y.
    """
    D, step = tile.D, tile.step
    kind = rows_of(dtype, D)
    x = [f"x{i}" for i in range(tile.TM)]
    y = [f"y{q}" for q in range(D // kind.V // LANES)]
    lines = [
        "def add(accumulators, p, y, r, c):",
        f"    p_at, y_at = as_int32(r * {step}), as_int32(c * {kind.V})",
        f"    end = as_int32(p_at + {tile.BC})",
        "    while p_at < end:",
        *(f"        {n} = load(p, p_at + {i * tile.groups * step})" for i, n in enumerate(x)),
    ]
    for k in range(kind.V):
        for q, n in enumerate(y):
            lines.append(f"        {n} = load(y, y_at + {k * kind.step + q * LANES * kind.V})")
        of_y = ", ".join(f"{n}[{v}]" for n in y for v in range(kind.V))
        lines.append(
            f"        accumulators = outer_product(accumulators, ({', '.join(f'{n}[{k}]' for n in x)},), ({of_y},))"
        )
    lines += [
        f"        p_at, y_at = as_int32(p_at + {kind.V}), as_int32(y_at + {kind.V * kind.step})",
        "    return accumulators",
    ]
    return device_function(
        "add",
        lines,
        {"load": load_vector(kind.V), "outer_product": outer_product, "as_int32": as_int32},
        __name__,
    )


@lru_cache(maxsize=None)
def storer(dtype: str, tile: AttentionTile, vector: int) -> DeviceFunction:
    """The device function ``store(out, accumulators, valid, features, r, c)``: a thread's results to rows
    of ``features`` elements, of which there are ``valid``.
    """
    D, V = tile.D, rows_of(dtype, tile.D).V
    lines = ["def store(out, accumulators, valid, features, r, c):"]
    for i in range(tile.TM):
        lines.append(f"    if r + {i * tile.groups} < valid:")
        for q in range(D // V // LANES):
            at = f"(r + {i * tile.groups}) * features + f"
            values = [f"accumulators[{i * (D // LANES) + q * V + v}]" for v in range(V)]
            lines.append(f"        f = (c + {q * LANES}) * {V}")
            if vector > 1:
                lines += [
                    "        if f < features:",
                    f"            put(out, {at}, ({', '.join(values)}))",
                ]
                continue
            for v, value in enumerate(values):
                lines += [
                    f"        if f + {v} < features:",
                    f"            out[{at} + {v}] = {value}",
                ]
    return device_function("store", lines, {"put": store_vector(V)}, __name__)


@inline
def along(value, combine):
    """The combination over the threads that share a row, in all of them."""
    value = combine(value, shuffle_xor(value, 1))
    value = combine(value, shuffle_xor(value, 2))
    return combine(value, shuffle_xor(value, 4))


@lru_cache(maxsize=None)
def masker(dtype: str, mask: str, causal: bool) -> DeviceFunction:
    """The device function ``seen(s, scale, m, p, query, key)``: the score of a product, minus infinity
    where there is none to see.
    """
    T = np.dtype(dtype).type
    low = T(-np.inf)

    @inline
    def seen(s, scale, m, p, query, key):
        x = low
        if query < p.L and key < p.S and (not causal or key <= query):
            x = s * scale
            if mask == "bool":
                x = x if pointer(m, np.uint8)[query * p.m_row + key * p.m_column] != 0 else low
            if mask == "float":
                x = x + pointer(m, T)[query * p.m_row + key * p.m_column]
        return x

    return seen
