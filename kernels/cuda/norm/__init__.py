"""Normalisation of rows: layer, group, instance, root-mean-square and, for short ones, batch norm.

A row is ``n`` elements that share a mean and a variance. Its scale is one weight per "element",
one per "channel", a run of ``S`` elements, or one for the "row". Row ``r`` belongs to group
``r % groups``, which has the channels ``r % groups * (n / S)`` onward. Weight and bias may be null.

A row is read once, into registers. Longer ones are measured first
(:mod:`tilegrad.kernels.cuda.parts.moments`) and then normalised element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import pointer
from tilegrad.kernels.cuda.elementwise import elementwise
from tilegrad.kernels.cuda.norm.gradients import (
    Grads,
    backward_tiles,
    channel_gradients,
    grad_input,
    row_norm_parts as row_norm_parts,
    weight_gradients,
)
from tilegrad.kernels.cuda.parts.moments import (
    Statistics,
    hat,
    long_moments,
    measured,
    normalised,
    product,
    recorder,
)
from tilegrad.kernels.cuda.parts.row_layout import (
    ADJACENT,
    RowGeometry,
    RowLayout,
    loader,
    map_elements,
    place_of,
    reduce_row,
    rows_of,
    storer,
    thread_map,
    thread_reduce,
    valid_count,
    vector,
)
from tilegrad.kernels.cuda.parts.strided import index_params, is_wide, offset_of, unpack_params
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import ROWS, row
from tilegrad.kernels.formulas.primitives import sqrt
from tilegrad.kernels.function import inline
from tilegrad.kernels.monoids import add
from tilegrad.kernels.plans import with_absent


class NormRows(NamedTuple):
    """Rows of ``n`` elements in ``groups``, ``step`` apart; ``cycle`` groups of channels, of which a row has
    ``channels``.
    """

    rows: int
    n: int
    groups: int
    step: int
    cycle: int
    channels: int


class GradRows(NamedTuple):
    """As :class:`NormRows`. Not ``training``: as if mean and deviation were constants."""

    training: int
    rows: int
    n: int
    groups: int
    step: int


@inline
def plus(v, b):
    """v + b"""
    return v + b


@inline
def normal(d, low, rs):
    """A deviation from the mean, normalised."""
    return (d - low) * rs


@kernel
def forward(
    dtype: str, centred: bool, scale: str, layout: RowLayout, runs: bool, wide: bool
) -> Source:
    """``(x - mean) / sqrt(var + eps) * weight + bias``; not ``centred``: with 0 for the mean.

    Parameters: x, weight, bias, y, :class:`Statistics`, :class:`NormRows`, then the form's or, with
    weights by channel, the block that finds those.
    """
    T = np.dtype(dtype).type
    zero, one = T(0), T(1)
    lane_of, row_of = thread_map(layout)
    place = place_of(layout, runs, wide)
    valid, load, store = valid_count(layout), loader(layout, place), storer(layout, place)
    measure, record = measured(dtype, centred, layout), recorder(dtype)
    normals = map_elements(layout, normal, 1, 2)
    by_row, by_channel = scale == "row", scale == "channel"
    if by_row:
        times, shift = map_elements(layout, product, 1, 1), map_elements(layout, plus, 1, 1)
    else:
        times, shift = map_elements(layout, product, 2), map_elements(layout, plus, 2)
    spread_out = offset_of(2, 0, wide) if by_channel else ADJACENT
    take = loader(layout, spread_out, by_channel)
    mask = layout.V * np.dtype(dtype).itemsize - 1

    @inline
    def norm_row(x, weight, bias, y, s, p, t):
        lane, row = lane_of(), row_of()
        active = row < p.rows
        n_valid = valid(p.groups if active else 0, lane)
        aligned = (x | y | (0 if by_row or by_channel else weight | bias)) & mask == 0
        base = row * p.step
        v = load(pointer(x, T), base, lane, n_valid, aligned, zero, t)
        d, m, low, var = measure(v, n_valid, T(p.n))
        rs = one / sqrt(var + T(s.eps))
        if active and lane == 0:
            record(row, m + low, var, rs, p.n, s)
        made = normals(d, low, rs)
        weights, biases = pointer(weight, T), pointer(bias, T)
        if by_row:
            if weight != 0 and active:
                made = times(made, weights[row])
            if bias != 0 and active:
                made = shift(made, biases[row])
        else:
            first = row % p.cycle * p.channels if by_channel else 0
            if weight != 0:
                made = times(made, take(weights, first, lane, n_valid, aligned, zero, t))
            if bias != 0:
                made = shift(made, take(biases, first, lane, n_valid, aligned, zero, t))
        store(pointer(y, T), base, lane, n_valid, aligned, made, t)

    params = 8 if by_channel or runs else int(layout.columns)
    signature = ("iiii", Statistics, NormRows, "i" * params)
    return Source(unpack_params(norm_row, 6, params), signature, *layout.bounds)


@kernel
def backward(
    dtype: str, centred: bool, scale: str, layout: RowLayout, runs: bool, wide: bool
) -> Source:
    """The gradient of rows that fit, with weights by element or by row; by row, also
    ``sums_g_xhat`` = sum of g xhat and ``sums_g`` = sum of g.

    Parameters: :class:`Grads`, :class:`GradRows`, then the form's.
    """
    T = np.dtype(dtype).type
    zero, one = T(0), T(1)
    lane_of, row_of = thread_map(layout)
    place = place_of(layout, runs, wide)
    valid, load, store = valid_count(layout), loader(layout, place), storer(layout, place)
    take, thread_sum = loader(layout, ADJACENT), thread_reduce(layout, add)
    hats, products, grad_inputs = (
        map_elements(layout, hat, 1, 2),
        map_elements(layout, product, 2),
        map_elements(layout, grad_input, 2, 3),
    )
    reduce_sum, by_row = reduce_row(add, dtype, layout), scale == "row"
    mask = layout.V * np.dtype(dtype).itemsize - 1

    @inline
    def grad_row(a, p, t):
        lane, row = lane_of(), row_of()
        active = row < p.rows
        n_valid = valid(p.groups if active else 0, lane)
        aligned = (a.g | a.x | a.out | (0 if by_row else a.weight)) & mask == 0
        base = row * p.step
        m = pointer(a.mean, T)[row] if centred and active else zero
        rs = pointer(a.rstd, T)[row] if active else zero
        v = load(pointer(a.g, T), base, lane, n_valid, aligned, zero, t)
        h = hats(load(pointer(a.x, T), base, lane, n_valid, aligned, m, t), m, rs)
        factor = rs
        if by_row:
            factor = rs * (pointer(a.weight, T)[row] if a.weight != 0 and active else one)
        elif a.weight != 0:
            v = products(v, take(pointer(a.weight, T), 0, lane, n_valid, aligned, zero, t))
        sum_g, sum_g_xhat = reduce_sum(thread_sum(v)), reduce_sum(thread_sum(products(v, h)))
        if by_row and active and lane == 0:
            pointer(a.sums_g_xhat, T)[row] = sum_g_xhat
            pointer(a.sums_g, T)[row] = sum_g
        count = T(p.n)
        mean_g = sum_g / count if centred and p.training != 0 else zero
        mean_g_xhat = sum_g_xhat / count if p.training != 0 else zero
        made = grad_inputs(v, h, mean_g, mean_g_xhat, factor)
        store(pointer(a.out, T), base, lane, n_valid, aligned, made, t)

    params = 8 if runs else int(layout.columns)
    signature = (Grads, GradRows, "i" * params)
    return Source(unpack_params(grad_row, 2, params), signature, *layout.bounds)


def row_norm(
    dtype: str, centred: bool, weighted: bool, biased: bool, rows: int, n: int, S: int, groups: int
) -> Callable[..., None]:
    """A launch ``(x, [weight], [bias], y, [mean], rstd, eps)``; the mean if ``centred``.

    ``S``: elements that share a weight, within ``groups`` kinds of rows; 0: a weight per element.
    """
    if rows * n == 0:
        return lambda *arguments: None
    V = vector(dtype, S or n)
    chosen = row(ROWS, dtype, "norm")
    form, wide = rows_of(chosen, rows, n, V, chosen.norm), is_wide(rows * n)
    if form.tiles > 1:
        run = _long_rows(dtype, (centred, weighted, biased), form, S, groups, wide)
    else:
        scale, channels = ("channel", n // S) if S else ("element", 0)
        t = index_params((channels, S // V), (1, 0)) if S else []
        function = forward.build(dtype, centred, scale, form.layout, False, wide)
        shape = NormRows(rows, n, n // V, n, groups, channels)
        no_running = (0, 0, 0.0)  # the last of Statistics
        run = bind(function, *no_running, *shape, *t, form.layout.blocks(rows), 1, 1)
    return with_absent(run, (True, weighted, biased, True, centred))


def _long_rows(
    dtype: str, given: tuple[bool, bool, bool], form: RowGeometry, S: int, groups: int, wide: bool
) -> Callable[..., None]:
    """A launch ``(x, weight, bias, y, mean, rstd, eps)``; ``given``: mean, weight, bias."""
    rows, n = form.rows, form.n
    measure = long_moments(dtype, given[0], form, wide)
    sizes: tuple[int, ...] = (rows, n)
    elements: tuple[int, ...] = (n, 1)
    row: tuple[int, ...] = (1, 0)
    scale: tuple[int, ...] = (0, 1)
    if S:
        sizes = (rows // groups, groups, n // S, S)
        elements, row, scale = (groups * n, n, S, 1), (groups, 1, 0, 0), (0, n // S, 1, 0)
    strides = (elements, *[row] * (given[0] + 1), *[scale] * (given[1] + given[2]), elements)
    apply = elementwise(normalised(*given), (dtype,) * len(strides), sizes, strides)

    def launch(x: int, weight: int, bias: int, y: int, mean: int, rstd: int, eps: float) -> None:
        measure(x, y, mean, rstd, eps, 0, 0, 0.0)  # Statistics
        operands = (x, mean, rstd, weight, bias, y)
        apply(*[a for a in operands if a])

    return launch


def row_norm_backward(
    dtype: str, centred: bool, weighted: bool, rows: int, n: int, S: int, groups: int
) -> Callable[..., None]:
    """The backward launch.

    One weight per element (``S`` 0): ``(g, x, [weight], [mean], rstd, out, parts)`` with ``parts``
    (row_norm_parts(dtype, rows), 2, n), sums of ``g xhat`` and of ``g``. Else
    ``(g, x, [weight], mean, rstd, out, sums_g_xhat, sums)``, the same sums for every row and channel.
    """
    if rows * n == 0:
        return lambda *addresses: None
    if S:
        run = channel_gradients(dtype, rows, n, S, groups)
    else:
        run = _backward_elements(dtype, centred, rows, n)

    return with_absent(run, (True, True, weighted, centred))


def _backward_elements(dtype: str, centred: bool, rows: int, n: int) -> Callable[..., None]:
    """A launch ``(g, x, weight, mean, rstd, out, parts)``."""
    V = vector(dtype, n)
    chosen = row(ROWS, dtype, "norm_backward")
    form, wide = rows_of(chosen, rows, n, V, chosen.two), is_wide(rows * n)
    grid = (form.layout.blocks(rows), 1, 1)
    if form.tiles > 1:
        grad_inputs = bind(backward_tiles.build(dtype, centred, form.layout), rows, n, *grid)
    else:
        function = backward.build(dtype, centred, "element", form.layout, False, wide)
        shape = GradRows(training=1, rows=rows, n=n, groups=n // V, step=n)
        grad_inputs = bind(function, 0, 0, *shape, *grid)  # no sums
    sums = weight_gradients(dtype, centred, rows, n)

    def launch(g: int, x: int, weight: int, mean: int, rstd: int, out: int, made: int) -> None:
        grad_inputs(g, x, weight, mean, rstd, out)
        sums(g, x, mean, rstd, made)

    return launch
