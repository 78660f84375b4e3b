"""Softmax and its logarithm along one dimension, and their backward passes.

Arrays are row-major, of shape (outer, n, inner); a row is ``n`` elements, ``inner`` apart. The
threads of a row keep it in registers and read it once; a row too long for that is read twice, the
first time with a running maximum and a rescaled sum (online softmax).

Source: M. Milakov and N. Gimelshein, "Online normalizer calculation for softmax", 2018.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import pointer
from tilegrad.kernels.cuda.parts.row_layout import (
    ADJACENT,
    STRIDED,
    RowLayout,
    loader,
    map_elements,
    reduce_row,
    row_layout,
    storer,
    thread_map,
    thread_reduce,
    valid_count,
    vector,
)
from tilegrad.kernels.cuda.parts.strided import (
    PER_AXIS,
    index_params,
    is_wide,
    offset_of,
    unpack_params,
)
from tilegrad.kernels.cuda.run.jit import KernelFactory, Source, bind, kernel
from tilegrad.kernels.cuda.tuning import ROWS, row
from tilegrad.kernels.formulas.transcendental import exp, exp_decay, log
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.monoids import add, larger


@inline
def exp_shifted(x, top):
    """e^(x - top) for x <= top."""
    return exp_decay(x - top)


@inline
def normalised(e, factor):
    """A probability: e = e^(x - top), times 1 / sum."""
    return e * factor


@inline
def log_probability(x, top, shift):
    """A log-probability; ``shift`` is the logarithm of the sum."""
    return x - top - shift


@inline
def probability(x, top, factor):
    """A probability from its logit; ``factor`` is 1 / sum."""
    return exp_decay(x - top) * factor


@inline
def product(g, y):
    """g y"""
    return g * y


@inline
def grad_input(g, y, row_sum):
    """Gradient through softmax; ``row_sum`` is the row's sum of g y."""
    return y * (g - row_sum)


@inline
def grad_input_log(g, y, row_sum):
    """Gradient through log-softmax; ``row_sum`` is the row's sum of g."""
    return g - exp(y) * row_sum


def online(dtype: str, layout: RowLayout, load: DeviceFunction) -> DeviceFunction:
    """The device function ``max_and_sum(p, base, groups, lane, aligned, t)``: a row's maximum
    and its sum of e^(x - maximum), in all of its threads, read tile by tile.
    """
    T = np.dtype(dtype).type
    low, least, zero, lanes, step = T(-np.inf), np.finfo(T).min, T(0), layout.lanes, layout.vectors
    valid, thread_max = valid_count(layout), thread_reduce(layout, larger)
    powers, thread_sum = map_elements(layout, exp_shifted, 1, 1), thread_reduce(layout, add)
    reduce_max, reduce_sum = reduce_row(larger, dtype, layout), reduce_row(add, dtype, layout)

    @inline
    def max_and_sum(p, base, groups, lane, aligned, t):
        top, part = least, zero  # finite, so that it may be subtracted
        first = lane
        while first < groups:
            x = load(p, base, first, valid(groups, first), aligned, low, t)
            new = larger(top, thread_max(x))
            part = part * exp_decay(top - new) + thread_sum(powers(x, new))
            top = new
            first += lanes * step
        highest_of_all = reduce_max(top)
        return highest_of_all, reduce_sum(part * exp_decay(top - highest_of_all))

    return max_and_sum


@kernel
def forward(
    dtype: str, logs: bool, layout: RowLayout, dims: int, tiled: bool, wide: bool
) -> Source:
    """``e^(x - max) / sum``, or ``(x - max) - log(sum)``.

    Parameters: x, y, rows, groups of a row, their stride in columns, then the block of
    rows.
    """
    T = np.dtype(dtype).type
    low, one, lanes, step = T(-np.inf), T(1), layout.lanes, layout.vectors
    lane_of, row_of = thread_map(layout)
    base_of, place = offset_of(dims, 1, wide), STRIDED if layout.columns else ADJACENT
    valid, load, store = valid_count(layout), loader(layout, place), storer(layout, place)
    thread_max, thread_sum = thread_reduce(layout, larger), thread_reduce(layout, add)
    powers, scale, take_log = (
        map_elements(layout, exp_shifted, 1, 1),
        map_elements(layout, normalised, 1, 1),
        map_elements(layout, log_probability, 1, 2),
    )
    again = take_log if logs else map_elements(layout, probability, 1, 2)
    reduce_max, reduce_sum = reduce_row(larger, dtype, layout), reduce_row(add, dtype, layout)
    max_and_sum = online(dtype, layout, load)
    mask = layout.V * np.dtype(dtype).itemsize - 1

    @inline
    def softmax_row(x, y, rows, groups, t):
        lane, row = lane_of(), row_of()
        base = base_of(row, t)
        count = groups if row < rows else 0
        aligned = (x | y) & mask == 0
        source, target = pointer(x, T), pointer(y, T)
        n_valid = valid(count, lane)
        v = load(source, base, lane, n_valid, aligned, low, t)
        top = reduce_max(thread_max(v))
        e = powers(v, top)
        part = reduce_sum(thread_sum(e))
        made = take_log(v, top, log(part)) if logs else scale(e, one / part)
        store(target, base, lane, n_valid, aligned, made, t)

    @inline
    def softmax_tiles(x, y, rows, groups, t):
        lane, row = lane_of(), row_of()
        base = base_of(row, t)
        count = groups if row < rows else 0
        aligned = (x | y) & mask == 0
        source, target = pointer(x, T), pointer(y, T)
        top, part = max_and_sum(source, base, count, lane, aligned, t)
        shift = log(part) if logs else one / part
        first = lane
        while first < count:
            n_valid = valid(count, first)
            v = load(source, base, first, n_valid, aligned, low, t)
            store(target, base, first, n_valid, aligned, again(v, top, shift), t)
            first += lanes * step

    function = softmax_tiles if tiled else softmax_row
    params = 1 + PER_AXIS * dims
    return Source(unpack_params(function, 4, params), "iiii" + "i" * params, *layout.bounds)


@kernel
def backward(
    dtype: str, logs: bool, layout: RowLayout, dims: int, tiled: bool, wide: bool
) -> Source:
    """``y (g - sum(g y))``; for the logarithm ``g - e^y sum(g)``.

    Parameters: g, y, out, rows, groups of a row, their stride in columns, then the block of
    rows.
    """
    T = np.dtype(dtype).type
    zero, lanes, step = T(0), layout.lanes, layout.vectors
    lane_of, row_of = thread_map(layout)
    base_of, place = offset_of(dims, 1, wide), STRIDED if layout.columns else ADJACENT
    valid, load, store = valid_count(layout), loader(layout, place), storer(layout, place)
    thread_sum, products = thread_reduce(layout, add), map_elements(layout, product, 2)
    grad_inputs = map_elements(layout, grad_input_log if logs else grad_input, 2, 1)
    reduce_sum = reduce_row(add, dtype, layout)
    mask = layout.V * np.dtype(dtype).itemsize - 1

    @inline
    def grad_row(g, y, out, rows, groups, t):
        lane, row = lane_of(), row_of()
        base = base_of(row, t)
        count = groups if row < rows else 0
        aligned = (g | y | out) & mask == 0
        grad, value, target = pointer(g, T), pointer(y, T), pointer(out, T)
        n_valid = valid(count, lane)
        d = load(grad, base, lane, n_valid, aligned, zero, t)
        v = load(value, base, lane, n_valid, aligned, zero, t)
        part = reduce_sum(thread_sum(d if logs else products(d, v)))
        store(target, base, lane, n_valid, aligned, grad_inputs(d, v, part), t)

    @inline
    def grad_tiles(g, y, out, rows, groups, t):
        lane, row = lane_of(), row_of()
        base = base_of(row, t)
        count = groups if row < rows else 0
        aligned = (g | y | out) & mask == 0
        grad, value, target = pointer(g, T), pointer(y, T), pointer(out, T)
        part = zero
        first = lane
        while first < count:
            n_valid = valid(count, first)
            d = load(grad, base, first, n_valid, aligned, zero, t)
            if logs:
                part += thread_sum(d)
            else:
                part += thread_sum(products(d, load(value, base, first, n_valid, aligned, zero, t)))
            first += lanes * step
        part = reduce_sum(part)
        first = lane
        while first < count:
            n_valid = valid(count, first)
            d = load(grad, base, first, n_valid, aligned, zero, t)
            v = load(value, base, first, n_valid, aligned, zero, t)
            store(target, base, first, n_valid, aligned, grad_inputs(d, v, part), t)
            first += lanes * step

    function = grad_tiles if tiled else grad_row
    params = 1 + PER_AXIS * dims
    return Source(unpack_params(function, 5, params), "iiiii" + "i" * params, *layout.bounds)


def softmax(dtype: str, logs: bool, outer: int, n: int, inner: int) -> Callable[..., None]:
    """A launch ``(x, y)`` of softmax (``logs``: its logarithm) over the middle dimension."""
    return _launch(forward, (dtype, logs), 1, outer, n, inner)


def softmax_backward(dtype: str, logs: bool, outer: int, n: int, inner: int) -> Callable[..., None]:
    """A launch ``(g, y, out)``: the gradient of softmax's input, given that of its result ``y``."""
    return _launch(backward, (dtype, logs), 2, outer, n, inner)


def _launch(
    factory: KernelFactory, variant: tuple[str, bool], arrays: int, outer: int, n: int, inner: int
) -> Callable[..., None]:
    """A launch over all rows, of which a thread keeps its elements of so many arrays."""
    chosen, rows = row(ROWS, variant[0], "softmax"), outer * inner
    if rows * n == 0:
        return lambda *addresses: None
    columns = inner > 1
    V = 1 if columns else vector(variant[0], n)
    layout = row_layout(chosen, n, V, chosen.softmax // arrays, columns)
    kept = ((outer, inner), (n * inner, 1)) if columns else ((outer,), (n,))
    wide = is_wide(rows * n)
    function = factory.build(*variant, layout, len(kept[0]), n > layout.tile, wide)
    return bind(function, rows, n // V, inner, *index_params(*kept), layout.blocks(rows), 1, 1)
