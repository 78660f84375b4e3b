"""Selecting within rows without sorting them whole, and searching sorted rows.

Rows become the unsigned keys of ``tilegrad.kernels.cpu.sort``. One key of a given rank is found bit
by bit, from the top, by counting the keys below a bound; after each byte only the keys that share
it are kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import TEAM, Kernel, bind, kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.sort import (
    WORDS,
    key_function,
    key_type,
    nothing,
    row_bytes,
    split_rows,
    team,
)
from tilegrad.kernels.cpu.tuning import Sort, Topk
from tilegrad.kernels.dtypes import is_float
from tilegrad.kernels.function import DeviceFunction, inline


class Selection(NamedTuple):
    """Rows of ``n`` elements, ``per_task`` a task; ``flip`` of the keys (-1: the largest first); the
    bytes of a task's keys, places and blocks' keys; how many are kept.
    """

    rows: int
    n: int
    per_task: int
    flip: int
    key_bytes: int
    place_bytes: int
    block_bytes: int
    kept: int


def _select_function(dtype: str) -> DeviceFunction:
    """``select(k, k_other, n, wanted)``: the ``wanted``-th smallest of n keys, counted from 0, and
    how many are smaller. Both arrays are overwritten.
    """
    passes = np.dtype(dtype).itemsize
    U, W = key_type(dtype), np.uint64
    none, one, eight = W(0), W(1), W(8)

    @inline
    def select(k, k_other, n, wanted):
        found = none  # its leading bits, found one by one; counting vectorises, sorting does not
        below = 0
        left = n
        for digit in range(passes - 1, -1, -1):
            shift = eight * W(digit)
            under = 0
            for bit in range(7, -1, -1):
                bound = U(found | one << (shift + W(bit)))
                count = 0
                for i in range(left):
                    count += k[i] < bound
                if below + count <= wanted:
                    found = W(bound)
                    under = count
            kept = 0
            for i in range(left):
                key = k[i]
                k_other[kept] = key
                kept += W(key) >> shift == found >> shift
            below += under
            left = kept
            k, k_other = k_other, k
        return U(found), below

    return select


@inline
def settle(k, held, count, one):
    """Put ``one`` at its place among the ``held`` keys, in order, of ``count`` at most."""
    at = min(held, count - 1)
    while at > 0 and k[at - 1] > one:
        k[at] = k[at - 1]
        at -= 1
    k[at] = one
    return at


@kernel
def top_rows(dtype: str) -> Kernel:
    """The values of the ``count`` smallest keys of each row, in order, and their places.

    The ``count``-th smallest of the blocks' best keys is no better than the last one wanted, so only
    what reaches it is looked at one by one, and the best so far are kept in order.

    Arguments: addresses of x, values, indices (int64) and scratch; the selection.
    """
    word, U = WORDS[np.dtype(dtype).itemsize], key_type(dtype)
    T = np.dtype(dtype).type if np.dtype(dtype).kind == "i" else word
    key = key_function(dtype)
    index, small, W = np.int64, np.uint32, np.uint64
    last, size = U((1 << 8 * np.dtype(dtype).itemsize) - 1), Topk.block

    def top_body(task, a0, a1, a2, scratch, wanted):
        n, count, flip = wanted.n, wanted.kept, wanted.flip
        x, values, indices = pointer(a0, T), pointer(a1, T), pointer(a2, index)
        key_bytes, place_bytes = wanted.key_bytes, wanted.place_bytes
        base = scratch + task * (key_bytes + place_bytes + wanted.block_bytes)
        k, p = pointer(base, U), pointer(base + key_bytes, small)
        bests = pointer(base + key_bytes + place_bytes, U)
        first, end = task * wanted.per_task, task * wanted.per_task + wanted.per_task
        blocks = (n + size - 1) // size
        for row in range(first, min(wanted.rows, end)):
            start = row * n
            held = 0
            for block in range(blocks):
                best = last
                for i in range(block * size, min(block * size + size, n)):
                    best = min(best, key(x, start + i, W(flip)))
                bests[block] = best
                if held < count or best < k[count - 1]:
                    settle(k, held, count, best)
                    held = min(held + 1, count)
            bound = k[count - 1] if held == count else last
            held = 0
            for block in range(blocks):
                if bests[block] > bound:
                    continue
                for i in range(block * size, min(block * size + size, n)):
                    one = key(x, start + i, W(flip))
                    if one > bound or (held == count and one >= k[count - 1]):
                        continue
                    at = settle(k, held, count, one)
                    for other in range(min(held, count - 1), at, -1):
                        p[other] = p[other - 1]
                    p[at] = small(i)
                    held = min(held + 1, count)
            for i in range(count):
                place = index(p[i])
                values[row * count + i] = x[start + place]
                indices[row * count + i] = place

    return top_body, ("iiii", Selection)


@kernel
def pick_rows(dtype: str) -> Kernel:
    """The value of one key of each row, and its place: the first, among equal ones.

    Arguments: as :func:`top_rows`, without bytes of places; the last says which: from 0 on the
    k-th smallest, -1 the lower median or, if there is one, the first NaN, -2 the lower median of
    all that is no NaN.
    """
    word, U = WORDS[np.dtype(dtype).itemsize], key_type(dtype)
    T = np.dtype(dtype).type if np.dtype(dtype).kind == "i" else word
    key, select = key_function(dtype), _select_function(dtype)
    index, W = np.int64, np.uint64
    float_like = is_float(dtype)
    last = U((1 << 8 * np.dtype(dtype).itemsize) - 1)

    def pick_body(task, a0, a1, a2, a3, rows, n, per_task, key_bytes, which):
        x, values, indices = pointer(a0, T), pointer(a1, T), pointer(a2, index)
        base = a3 + task * 2 * key_bytes
        k, k_other = pointer(base, U), pointer(base + key_bytes, U)
        for row in range(task * per_task, min(rows, task * per_task + per_task)):
            start = row * n
            missing = 0
            for i in range(n):
                one = key(x, start + i, W(0))
                k[i] = one
                missing += one == last
            if not float_like:
                missing = 0
            wanted = which
            if which < 0:
                wanted = (n - 1) // 2
                if missing > 0:
                    wanted = n - missing if which == -1 else max(n - missing - 1, 0) // 2
            border, _ = select(k, k_other, n, wanted)
            place = 0
            while key(x, start + place, W(0)) != border:
                place += 1
            values[row] = x[start + place]
            indices[row] = place

    return pick_body, "iiiiiiiii"


def one_pass(dtype: str, n: int, count: int) -> bool:
    """Whether :func:`topk` beats sorting rows of n elements whole to keep ``count``."""
    return count <= Topk.few or count <= min(Topk.many, n // Topk.part)


def topk(
    dtype: str, rows: int, n: int, count: int, largest: bool
) -> tuple[Callable[..., None], int]:
    """A launch ``(x, values, indices, scratch)`` of :func:`top_rows`, and its bytes of scratch."""
    if rows * count == 0:
        return nothing, 0
    function = top_rows.build(dtype)
    keys, places = row_bytes(dtype, count)
    blocks, _ = row_bytes(dtype, -(-n // Topk.block))
    tasks, per_task = split_rows(rows, n)
    flip = -1 if largest else 0
    wanted = Selection(
        rows=rows, n=n, per_task=per_task, flip=flip, key_bytes=keys, place_bytes=places,
        block_bytes=blocks, kept=count,
    )  # fmt: skip
    return bind(function, *wanted, tasks, team(tasks, n)), tasks * (keys + places + blocks)


def pick(dtype: str, rows: int, n: int, which: int) -> tuple[Callable[..., None], int]:
    """A launch ``(x, values, indices, scratch)`` of :func:`pick_rows`, and its bytes of scratch."""
    if rows == 0:
        return nothing, 0
    function = pick_rows.build(dtype)
    keys, _ = row_bytes(dtype, n)
    tasks, per_task = split_rows(rows, n)
    sizing = (rows, n, per_task, keys, which)
    return bind(function, *sizing, tasks, team(tasks, n)), tasks * 2 * keys


# --------------------------------------------------------------------------------------- searching


@kernel
def search_rows(dtype: str) -> Kernel:
    """Where each value would go into its ascending row.

    Arguments: addresses of the rows, the values, out (int64); row length, values per row, number
    of rows (1: all values search the same), values per task, values in all, 1 to go behind equal
    elements, else 0.
    """
    T = np.dtype(dtype).type
    index = np.int64

    def search_body(task, a0, a1, a2, n, per_row, rows, chunk, total, right):
        border, values, out = pointer(a0, T), pointer(a1, T), pointer(a2, index)
        for i in range(task * chunk, min(total, task * chunk + chunk)):
            value = values[i]
            base = i // per_row * n if rows > 1 else 0
            low = base
            high = base + n
            while low < high:
                middle = (low + high) // 2
                here = border[middle]
                passed = here > value if right else here >= value
                if passed:
                    high = middle
                else:
                    low = middle + 1
            out[i] = low - base

    return search_body, "iiiiiiiii"


def searchsorted(dtype: str, rows: int, n: int, values: int, right: bool) -> Callable[..., None]:
    """A launch ``(rows, values, out)``: ``values`` searches in each of ``rows`` rows of n elements;
    the values of one row stand together.
    """
    total = max(rows, 1) * values
    if total == 0:
        return nothing
    function = search_rows.build(dtype)
    chunk, tasks = splitting.share(total, 1, Sort.grain, Sort.tasks)
    sizing = (n, values, rows, chunk, total, int(right))
    return bind(function, *sizing, tasks, TEAM if tasks > 1 else 0)


# -------------------------------------------------------------------------------------------- mode


@kernel
def mode_rows(dtype: str) -> Kernel:
    """The first longest run of each sorted row: its value, and the place of its last element.

    Arguments: addresses of the sorted values and their places, of value and place; rows, length.
    """
    T = np.dtype(dtype).type
    index = np.int64

    def mode_body(task, a0, a1, a2, a3, rows, n):
        x, places = pointer(a0, T), pointer(a1, index)
        value, place = pointer(a2, T), pointer(a3, index)
        for row in range(rows):
            start = row * n
            best = 0
            run = 0
            for i in range(start, start + n):
                run = run + 1 if i > start and x[i] == x[i - 1] else 1
                if run > best:
                    best = run
                    value[row] = x[i]
                    place[row] = places[i]

    return mode_body, "iiiiii"


def mode(dtype: str, rows: int, n: int) -> Callable[..., None]:
    """A launch ``(sorted values, places, value, place)`` of :func:`mode_rows`."""
    if rows == 0:
        return nothing
    function = mode_rows.build(dtype)
    return bind(function, rows, n, 1, 0)
