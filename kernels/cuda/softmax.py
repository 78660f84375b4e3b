"""Softmax and its logarithm along one dimension, and their backward passes.

Arrays are row-major, of shape (outer, n, inner); a line is ``n`` elements, ``inner`` apart. The
threads of a line keep it in registers and read it once; a line too long for that is read twice, the
first time with a running maximum and a sum that follows it.

Source: M. Milakov and N. Gimelshein, "Online normalizer calculation for softmax", 2018.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import pointer
from tilegrad.kernels.cuda.parts.lines import (
    ADJACENT,
    RESIDENT,
    STRIDED,
    Seating,
    each,
    fold,
    loader,
    places,
    present,
    seating,
    storer,
    total,
    vector,
)
from tilegrad.kernels.cuda.parts.strided import PER_AXIS, is_wide, numbers, offset_of, spread
from tilegrad.kernels.cuda.run.jit import KernelFactory, Source, bind, kernel
from tilegrad.kernels.formulas.transcendental import exp, exp_decay, log
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.monoids import add, larger

KEPT = {"float32": 32, "float64": 8}  # elements that a thread keeps


@inline
def power(x, top):
    """e^(x - top) for a top that is no smaller."""
    return exp_decay(x - top)


@inline
def scaled(e, factor):
    """A share."""
    return e * factor


@inline
def logarithm(x, top, shift):
    """A share's logarithm."""
    return x - top - shift


@inline
def share(x, top, factor):
    """A share, from scratch."""
    return exp_decay(x - top) * factor


@inline
def product(g, y):
    """g y"""
    return g * y


@inline
def slope(g, y, whole):
    """Gradient through softmax; ``whole`` is the line's sum of g y."""
    return y * (g - whole)


@inline
def slope_log(g, y, whole):
    """Gradient through its logarithm; ``whole`` is the line's sum of g."""
    return g - exp(y) * whole


def online(dtype: str, seat: Seating, load: DeviceFunction) -> DeviceFunction:
    """The device function ``level(p, base, groups, lane, aligned, t)``: a line's maximum and its
    sum of e^(x - maximum), in all of its threads, read tile by tile.
    """
    T = np.dtype(dtype).type
    low, least, zero, lanes, step = T(-np.inf), np.finfo(T).min, T(0), seat.lanes, seat.vectors
    have, highest = present(seat), total(seat, larger)
    powers, whole = each(seat, power, 1, 1), total(seat, add)
    fold_top, fold_sum = fold(larger, dtype, seat), fold(add, dtype, seat)

    @inline
    def level(p, base, groups, lane, aligned, t):
        top, part = least, zero  # finite, so that it may be subtracted
        first = lane
        while first < groups:
            x = load(p, base, first, have(groups, first), aligned, low, t)
            new = larger(top, highest(x))
            part = part * exp_decay(top - new) + whole(powers(x, new))
            top = new
            first += lanes * step
        highest_of_all = fold_top(top)
        return highest_of_all, fold_sum(part * exp_decay(top - highest_of_all))

    return level


@kernel
def forward(dtype: str, logs: bool, seat: Seating, dims: int, tiled: bool, wide: bool) -> Source:
    """``e^(x - max) / sum``, or ``(x - max) - log(sum)``.

    Parameters: x, y, lines, groups of a line, their stride in columns, then the block of
    lines.
    """
    T = np.dtype(dtype).type
    low, one, lanes, step = T(-np.inf), T(1), seat.lanes, seat.vectors
    lane_of, line_of = places(seat)
    base_of, place = offset_of(dims, 1, wide), STRIDED if seat.columns else ADJACENT
    have, load, store = present(seat), loader(seat, place), storer(seat, place)
    highest, whole = total(seat, larger), total(seat, add)
    powers, scale, take_log = (
        each(seat, power, 1, 1),
        each(seat, scaled, 1, 1),
        each(seat, logarithm, 1, 2),
    )
    again = take_log if logs else each(seat, share, 1, 2)
    fold_top, fold_sum = fold(larger, dtype, seat), fold(add, dtype, seat)
    level = online(dtype, seat, load)
    mask = seat.V * np.dtype(dtype).itemsize - 1

    @inline
    def softmax_line(x, y, lines, groups, t):
        lane, line = lane_of(), line_of()
        base = base_of(line, t)
        count = groups if line < lines else 0
        aligned = (x | y) & mask == 0
        source, target = pointer(x, T), pointer(y, T)
        there = have(count, lane)
        v = load(source, base, lane, there, aligned, low, t)
        top = fold_top(highest(v))
        e = powers(v, top)
        part = fold_sum(whole(e))
        made = take_log(v, top, log(part)) if logs else scale(e, one / part)
        store(target, base, lane, there, aligned, made, t)

    @inline
    def softmax_tiles(x, y, lines, groups, t):
        lane, line = lane_of(), line_of()
        base = base_of(line, t)
        count = groups if line < lines else 0
        aligned = (x | y) & mask == 0
        source, target = pointer(x, T), pointer(y, T)
        top, part = level(source, base, count, lane, aligned, t)
        shift = log(part) if logs else one / part
        first = lane
        while first < count:
            there = have(count, first)
            v = load(source, base, first, there, aligned, low, t)
            store(target, base, first, there, aligned, again(v, top, shift), t)
            first += lanes * step

    function = softmax_tiles if tiled else softmax_line
    params = 1 + PER_AXIS * dims
    per_sm = RESIDENT // seat.threads
    return Source(spread(function, 4, params), "iiii" + "i" * params, seat.threads, per_sm)


@kernel
def backward(dtype: str, logs: bool, seat: Seating, dims: int, tiled: bool, wide: bool) -> Source:
    """``y (g - sum(g y))``; for the logarithm ``g - e^y sum(g)``.

    Parameters: g, y, out, lines, groups of a line, their stride in columns, then the block of
    lines.
    """
    T = np.dtype(dtype).type
    zero, lanes, step = T(0), seat.lanes, seat.vectors
    lane_of, line_of = places(seat)
    base_of, place = offset_of(dims, 1, wide), STRIDED if seat.columns else ADJACENT
    have, load, store = present(seat), loader(seat, place), storer(seat, place)
    whole, products = total(seat, add), each(seat, product, 2)
    slopes = each(seat, slope_log if logs else slope, 2, 1)
    fold_sum = fold(add, dtype, seat)
    mask = seat.V * np.dtype(dtype).itemsize - 1

    @inline
    def slope_line(g, y, out, lines, groups, t):
        lane, line = lane_of(), line_of()
        base = base_of(line, t)
        count = groups if line < lines else 0
        aligned = (g | y | out) & mask == 0
        grad, value, target = pointer(g, T), pointer(y, T), pointer(out, T)
        there = have(count, lane)
        d = load(grad, base, lane, there, aligned, zero, t)
        v = load(value, base, lane, there, aligned, zero, t)
        part = fold_sum(whole(d if logs else products(d, v)))
        store(target, base, lane, there, aligned, slopes(d, v, part), t)

    @inline
    def slope_tiles(g, y, out, lines, groups, t):
        lane, line = lane_of(), line_of()
        base = base_of(line, t)
        count = groups if line < lines else 0
        aligned = (g | y | out) & mask == 0
        grad, value, target = pointer(g, T), pointer(y, T), pointer(out, T)
        part = zero
        first = lane
        while first < count:
            there = have(count, first)
            d = load(grad, base, first, there, aligned, zero, t)
            if logs:
                part += whole(d)
            else:
                part += whole(products(d, load(value, base, first, there, aligned, zero, t)))
            first += lanes * step
        part = fold_sum(part)
        first = lane
        while first < count:
            there = have(count, first)
            d = load(grad, base, first, there, aligned, zero, t)
            v = load(value, base, first, there, aligned, zero, t)
            store(target, base, first, there, aligned, slopes(d, v, part), t)
            first += lanes * step

    function = slope_tiles if tiled else slope_line
    params = 1 + PER_AXIS * dims
    per_sm = RESIDENT // seat.threads
    return Source(spread(function, 5, params), "iiiii" + "i" * params, seat.threads, per_sm)


def softmax(dtype: str, logs: bool, outer: int, n: int, inner: int) -> Callable[..., None]:
    """A launch ``(x, y)`` of softmax (``logs``: its logarithm) over the middle dimension."""
    return _launch(forward, (dtype, logs), KEPT[dtype], outer, n, inner)


def softmax_backward(dtype: str, logs: bool, outer: int, n: int, inner: int) -> Callable[..., None]:
    """A launch ``(g, y, out)``: the gradient of softmax's input, given that of its result ``y``."""
    return _launch(backward, (dtype, logs), KEPT[dtype] // 2, outer, n, inner)


def _launch(
    factory: KernelFactory, variant: tuple[str, bool], most: int, outer: int, n: int, inner: int
) -> Callable[..., None]:
    """All lines, of which a thread keeps ``most`` elements at most."""
    lines = outer * inner
    if lines * n == 0:
        return lambda *addresses: None
    columns = inner > 1
    V = 1 if columns else vector(variant[0], n)
    seat = seating(n, V, most, columns)
    kept = ((outer, inner), (n * inner, 1)) if columns else ((outer,), (n,))
    wide = is_wide(lines * n)
    function = factory.build(*variant, seat, len(kept[0]), n > seat.tile, wide)
    return bind(function, lines, n // V, inner, *numbers(*kept), seat.blocks(lines), 1, 1)
