"""Normalisation of lines: layer, group, instance, root-mean-square and, for short ones, batch norm.

A line is ``n`` elements that share a mean and a variance. Its scale is one weight per "element",
one per "channel", a run of ``S`` elements, or one for the "line". Row ``r`` belongs to group
``r % groups``, which has the channels ``r % groups * (n / S)`` onward. Weight and bias may be null.

A line is read once, into registers. Longer ones are measured first
(:mod:`tilegrad.kernels.cuda.parts.moments`) and then normalised element by element.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from tilegrad.kernels.cuda.device.ptx import pointer
from tilegrad.kernels.cuda.elementwise import elementwise
from tilegrad.kernels.cuda.norm.gradients import (
    KEPT_TWO,
    backward_tiles,
    channel_gradients,
    row_norm_parts as row_norm_parts,
    slope,
    weight_gradients,
)
from tilegrad.kernels.cuda.parts.lines import (
    ADJACENT,
    RESIDENT,
    Form,
    Seating,
    each,
    fold,
    loader,
    place_of,
    places,
    present,
    rows_of,
    storer,
    total,
    vector,
)
from tilegrad.kernels.cuda.parts.moments import (
    hat,
    long_moments,
    measured,
    normalised,
    product,
    recorder,
)
from tilegrad.kernels.cuda.parts.strided import is_wide, numbers, offset_of, spread
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.formulas.primitives import sqrt
from tilegrad.kernels.function import inline
from tilegrad.kernels.monoids import add

KEPT = {"float32": 16, "float64": 8}  # elements that a thread keeps


@inline
def plus(v, b):
    """v + b"""
    return v + b


@inline
def normal(d, low, rs):
    """A deviation from the mean, normalised."""
    return (d - low) * rs


@kernel
def forward(dtype: str, centred: bool, scale: str, seat: Seating, runs: bool, wide: bool) -> Source:
    """``(x - mean) / sqrt(var + eps) * weight + bias``; not ``centred``: with 0 for the mean.

    Parameters: x, weight, bias, y, mean, rstd, eps, rmean, rvar, momentum, lines, elements and
    groups of a line, step, groups of channels, channels of a line, then the form's or, with weights
    by channel, the block that finds those.
    """
    T = np.dtype(dtype).type
    zero, one = T(0), T(1)
    lane_of, line_of = places(seat)
    place = place_of(seat, runs, wide)
    have, load, store = present(seat), loader(seat, place), storer(seat, place)
    measure, record = measured(dtype, centred, seat), recorder(dtype)
    normals = each(seat, normal, 1, 2)
    by_line, by_channel = scale == "line", scale == "channel"
    if by_line:
        times, shift = each(seat, product, 1, 1), each(seat, plus, 1, 1)
    else:
        times, shift = each(seat, product, 2), each(seat, plus, 2)
    spread_out = offset_of(2, 0, wide) if by_channel else ADJACENT
    take = loader(seat, spread_out, by_channel)
    mask = seat.V * np.dtype(dtype).itemsize - 1

    @inline
    def norm_line(
        x, weight, bias, y, mean, rstd, eps, rmean, rvar, momentum,
        lines, n, groups, step, cycle, channels, t,
    ):  # fmt: skip
        lane, line = lane_of(), line_of()
        active = line < lines
        there = have(groups if active else 0, lane)
        aligned = (x | y | (0 if by_line or by_channel else weight | bias)) & mask == 0
        base = line * step
        v = load(pointer(x, T), base, lane, there, aligned, zero, t)
        d, m, low, var = measure(v, there, T(n))
        rs = one / sqrt(var + T(eps))
        if active and lane == 0:
            record(line, m + low, var, rs, n, mean, rstd, rmean, rvar, momentum)
        made = normals(d, low, rs)
        weights, biases = pointer(weight, T), pointer(bias, T)
        if by_line:
            if weight != 0 and active:
                made = times(made, weights[line])
            if bias != 0 and active:
                made = shift(made, biases[line])
        else:
            first = line % cycle * channels if by_channel else 0
            if weight != 0:
                made = times(made, take(weights, first, lane, there, aligned, zero, t))
            if bias != 0:
                made = shift(made, take(biases, first, lane, there, aligned, zero, t))
        store(pointer(y, T), base, lane, there, aligned, made, t)

    params = 8 if by_channel or runs else int(seat.columns)
    letters = "iiiiiidiid" + "i" * (6 + params)
    return Source(spread(norm_line, 16, params), letters, seat.threads, RESIDENT // seat.threads)


@kernel
def backward(
    dtype: str, centred: bool, scale: str, seat: Seating, runs: bool, wide: bool
) -> Source:
    """The gradient of lines that fit, with weights by element or by line; by line, also
    ``tilts`` = sum of g xhat and ``levels`` = sum of g.

    Parameters: g, x, weight, mean, rstd, out, tilts, levels, training, lines, elements and groups
    of a line, step, then the form's. Not ``training``: as if mean and deviation were constants.
    """
    T = np.dtype(dtype).type
    zero, one = T(0), T(1)
    lane_of, line_of = places(seat)
    place = place_of(seat, runs, wide)
    have, load, store = present(seat), loader(seat, place), storer(seat, place)
    take, whole = loader(seat, ADJACENT), total(seat, add)
    hats, products, slopes = each(seat, hat, 1, 2), each(seat, product, 2), each(seat, slope, 2, 3)
    fold_sum, by_line = fold(add, dtype, seat), scale == "line"
    mask = seat.V * np.dtype(dtype).itemsize - 1

    @inline
    def slope_line(
        g, x, weight, mean, rstd, out, tilts, levels, training, lines, n, groups, step, t
    ):
        lane, line = lane_of(), line_of()
        active = line < lines
        there = have(groups if active else 0, lane)
        aligned = (g | x | out | (0 if by_line else weight)) & mask == 0
        base = line * step
        m = pointer(mean, T)[line] if centred and active else zero
        rs = pointer(rstd, T)[line] if active else zero
        v = load(pointer(g, T), base, lane, there, aligned, zero, t)
        h = hats(load(pointer(x, T), base, lane, there, aligned, m, t), m, rs)
        factor = rs
        if by_line:
            factor = rs * (pointer(weight, T)[line] if weight != 0 and active else one)
        elif weight != 0:
            v = products(v, take(pointer(weight, T), 0, lane, there, aligned, zero, t))
        level, tilt = fold_sum(whole(v)), fold_sum(whole(products(v, h)))
        if by_line and active and lane == 0:
            pointer(tilts, T)[line] = tilt
            pointer(levels, T)[line] = level
        count = T(n)
        level = level / count if centred and training != 0 else zero
        tilt = tilt / count if training != 0 else zero
        made = slopes(v, h, level, tilt, factor)
        store(pointer(out, T), base, lane, there, aligned, made, t)

    params = 8 if runs else int(seat.columns)
    per_sm = RESIDENT // seat.threads
    return Source(spread(slope_line, 13, params), "i" * (13 + params), seat.threads, per_sm)


def row_norm(
    dtype: str, centred: bool, weighted: bool, biased: bool, rows: int, n: int, S: int, groups: int
) -> Callable[..., None]:
    """A launch ``(x, [weight], [bias], y, [mean], rstd, eps)``; the mean if ``centred``.

    ``S``: elements that share a weight, within ``groups`` kinds of rows; 0: a weight per element.
    """
    if rows * n == 0:
        return lambda *arguments: None
    V = vector(dtype, S or n)
    form, wide = rows_of(rows, n, V, KEPT[dtype]), is_wide(rows * n)
    if form.tiles > 1:
        run = _long_rows(dtype, (centred, weighted, biased), form, S, groups, wide)
    else:
        scale, channels = ("channel", n // S) if S else ("element", 0)
        t = numbers((channels, S // V), (1, 0)) if S else []
        function = forward.build(dtype, centred, scale, form.seat, False, wide)
        sizes = (rows, n, n // V, n, groups, channels, *t, form.seat.blocks(rows), 1, 1)
        run = bind(function, 0, 0, 0.0, *sizes)
    if weighted and biased and centred:
        return run

    def launch(x: int, *rest: Any) -> None:
        left = list(rest)
        weight = left.pop(0) if weighted else 0
        bias = left.pop(0) if biased else 0
        y = left.pop(0)
        mean = left.pop(0) if centred else 0
        run(x, weight, bias, y, mean, *left)

    return launch


def _long_rows(
    dtype: str, given: tuple[bool, bool, bool], form: Form, S: int, groups: int, wide: bool
) -> Callable[..., None]:
    """A launch ``(x, weight, bias, y, mean, rstd, eps)``; ``given``: mean, weight, bias."""
    rows, n = form.lines, form.n
    measure = long_moments(dtype, given[0], form, wide)
    sizes: tuple[int, ...] = (rows, n)
    whole: tuple[int, ...] = (n, 1)
    line: tuple[int, ...] = (1, 0)
    scale: tuple[int, ...] = (0, 1)
    if S:
        sizes = (rows // groups, groups, n // S, S)
        whole, line, scale = (groups * n, n, S, 1), (groups, 1, 0, 0), (0, n // S, 1, 0)
    strides = (whole, *[line] * (given[0] + 1), *[scale] * (given[1] + given[2]), whole)
    apply = elementwise(normalised(*given), (dtype,) * len(strides), sizes, strides)

    def launch(x: int, weight: int, bias: int, y: int, mean: int, rstd: int, eps: float) -> None:
        measure(x, y, mean, rstd, 0, 0, eps, 0.0)
        operands = (x, mean, rstd, weight, bias, y)
        apply(*[a for a in operands if a])

    return launch


def row_norm_backward(
    dtype: str, centred: bool, weighted: bool, rows: int, n: int, S: int, groups: int
) -> Callable[..., None]:
    """The backward launch.

    One weight per element (``S`` 0): ``(g, x, [weight], [mean], rstd, out, parts)`` with ``parts``
    (row_norm_parts(rows), 2, n), sums of ``g xhat`` and of ``g``. Else
    ``(g, x, [weight], mean, rstd, out, tilts, sums)``, the same sums for every row and channel.
    """
    if rows * n == 0:
        return lambda *addresses: None
    if S:
        run = channel_gradients(dtype, rows, n, S, groups)
    else:
        run = _backward_elements(dtype, centred, rows, n)

    def launch(g: int, x: int, *rest: int) -> None:
        left = list(rest)
        weight = left.pop(0) if weighted else 0
        mean = left.pop(0) if centred else 0
        run(g, x, weight, mean, *left)

    return launch


def _backward_elements(dtype: str, centred: bool, rows: int, n: int) -> Callable[..., None]:
    """A launch ``(g, x, weight, mean, rstd, out, parts)``."""
    V = vector(dtype, n)
    form, wide = rows_of(rows, n, V, KEPT_TWO[dtype]), is_wide(rows * n)
    grid = (form.seat.blocks(rows), 1, 1)
    if form.tiles > 1:
        slopes = bind(backward_tiles.build(dtype, centred, form.seat), rows, n, *grid)
    else:
        function = backward.build(dtype, centred, "element", form.seat, False, wide)
        slopes = bind(function, 0, 0, 1, rows, n, n // V, n, *grid)
    sums = weight_gradients(dtype, centred, rows, n)

    def launch(g: int, x: int, weight: int, mean: int, rstd: int, out: int, made: int) -> None:
        slopes(g, x, weight, mean, rstd, out)
        sums(g, x, mean, rstd, made)

    return launch
