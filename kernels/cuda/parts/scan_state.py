"""What a scan carries along a line: one number, or an extreme and where it stands.

A state is made of an element and its place, merged with those of later elements, moved between the
lanes of a warp, and kept in memory. A thread takes four elements at a time.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import load_vector, shuffle, shuffle_up, store_vector
from tilegrad.kernels.formulas.primitives import select
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.monoids import SCANS

FOUR = 4  # elements of a thread at a time


class State(NamedTuple):
    """Device functions over states.

    Attributes:
        start: the identity of ``merge``.
        lift: ``lift(v, k)``, the state of element ``k``.
        merge: ``merge(a, b)`` where the elements of ``b`` come after those of ``a``.
        shift: ``shift(a, step)``, the state of the lane ``step`` places down.
        fetch: ``fetch(a, lane)``, that of a given lane.
        load: ``load(values, places, i)``, what ``save(values, places, i, a)`` stored.
    """

    start: Any
    lift: DeviceFunction
    merge: DeviceFunction
    shift: DeviceFunction
    fetch: DeviceFunction
    load: DeviceFunction
    save: DeviceFunction


def state(name: str, dtype: str) -> State:
    """The state of "cumsum", "cumprod", "logcumsumexp", "cummax" or "cummin"."""
    return _number(name, dtype) if name in SCANS else _extreme(name == "cummax", dtype)


def _number(name: str, dtype: str) -> State:
    combine, first = SCANS[name]
    T = np.dtype(dtype).type

    @inline
    def lift(v, k):
        return v

    @inline
    def merge(a, b):
        return T(combine(a, b))

    @inline
    def shift(a, step):
        return shuffle_up(a, step)

    @inline
    def fetch(a, lane):
        return shuffle(a, lane)

    @inline
    def load(values, places, i):
        return values[i]

    @inline
    def save(values, places, i, a):
        values[i] = a

    return State(T(first), lift, merge, shift, fetch, load, save)


def _extreme(largest: bool, dtype: str) -> State:
    """(value, place): of equal values the latest, and the latest NaN before all else."""
    kind = np.dtype(dtype)
    T = kind.type
    if kind.kind == "f":
        first = T(-math.inf if largest else math.inf)
    else:
        first = T(np.iinfo(kind).min if largest else np.iinfo(kind).max)

    @inline
    def lift(v, k):
        return v, k

    @inline
    def merge(a, b):
        v, p = a
        w, q = b
        better = (w > v if largest else w < v) | ((w == v) & (q > p))
        takes = ((v == v) & (better | (w != w))) | ((w != w) & (q > p))
        return select(takes, w, v), select(takes, q, p)

    @inline
    def shift(a, step):
        return shuffle_up(a[0], step), shuffle_up(a[1], step)

    @inline
    def fetch(a, lane):
        return shuffle(a[0], lane), shuffle(a[1], lane)

    @inline
    def load(values, places, i):
        return values[i], places[i]

    @inline
    def save(values, places, i, a):
        values[i] = a[0]
        places[i] = a[1]

    return State((first, -1), lift, merge, shift, fetch, load, save)


# -------------------------------------------------------------------------- four neighbours at once


def quad(itemsize: int, step: int) -> tuple[DeviceFunction, DeviceFunction]:
    """The device functions ``load(p, i)`` and ``store(p, i, values)`` of elements ``i``,
    ``i + step``, … in vectors; ``step`` is 1 or -1. See :func:`misaligned`.
    """
    low, forward, pairs = min(0, 3 * step), step > 0, itemsize == 8
    load_some, store_some = load_vector(2 if pairs else 4), store_vector(2 if pairs else 4)

    @inline
    def load_pairs(p, i):
        v, w = load_some(p, i + low), load_some(p, i + low + 2)
        return (v[0], v[1], w[0], w[1]) if forward else (w[1], w[0], v[1], v[0])

    @inline
    def load_four(p, i):
        v = load_some(p, i + low)
        return v if forward else (v[3], v[2], v[1], v[0])

    @inline
    def store_pairs(p, i, v):
        store_some(p, i + low, (v[0], v[1]) if forward else (v[3], v[2]))
        store_some(p, i + low + 2, (v[2], v[3]) if forward else (v[1], v[0]))

    @inline
    def store_four(p, i, v):
        store_some(p, i + low, v if forward else (v[3], v[2], v[1], v[0]))

    return (load_pairs, store_pairs) if pairs else (load_four, store_four)


def misaligned(itemsize: int, step: int) -> DeviceFunction:
    """``misaligned(address, i)``: not 0 where :func:`quad` may not be used for element ``i``."""
    low, mask = min(0, 3 * step), min(16, 4 * itemsize) - 1

    @inline
    def bits(address, i):
        return (address + (i + low) * itemsize) & mask

    return bits
