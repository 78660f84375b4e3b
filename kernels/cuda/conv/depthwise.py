"""Convolutions whose groups have one input channel each: no product, a sum over taps.

A thread computes one element of the output, or of the input's gradient; neighbouring threads are
neighbouring pixels. The weight's gradient is a sum over a whole channel: a block per weight, cut
into parts where there are few weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import WARP, block, block_y, multiply_wide, pointer, thread
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce
from tilegrad.kernels.cuda.parts.gemm import add_chunks
from tilegrad.kernels.cuda.parts.strided import division, is_wide, magic, unpack_params
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import DEPTHWISE, row
from tilegrad.kernels.formulas.primitives import fma
from tilegrad.kernels.function import inline
from tilegrad.kernels.monoids import add
from tilegrad.kernels.window import Window

Launch = Callable[..., None]

# parameters of a window: size 0-2, kernel 3-5, out 6-8, stride 9-11, before 12-14, dilation 15-17,
# multipliers and shifts of the last two of out 18-21, of size 22-25, and of the strides 26-31
_COUNT = 32


def _numbers(window: Window) -> list[int]:
    """The window as parameters."""
    flat = [v for triple in window for v in triple]
    for sizes in (window.out[1:], window.size[1:], window.stride):
        flat += [v for size in sizes for v in magic(size)]
    return flat


@inline
def position(p, sizes, magics, w):
    """The three coordinates of position ``p`` in a plane of fewer than 2^31."""
    line = multiply_wide(p, w[magics + 2]) >> w[magics + 3]
    plane = multiply_wide(line, w[magics]) >> w[magics + 1]
    return plane, line - plane * w[sizes + 1], p - line * w[sizes + 2]


@kernel
def outputs_of(dtype: str, biased: bool, wide: bool, threads: int) -> Source:
    """One element of y per thread.

    Parameters: x, weight, bias, y, elements of y, pixels of a plane of y with multiplier and shift,
    channels of y, outputs per input, then the window.
    """
    T = np.dtype(dtype).type
    sizes, magics, divide = 6, 18, division(wide)

    @inline
    def convolve(x, weight, bias, y, total, pixels, m, h, channels, each, w):
        e = block() * threads + thread()
        if e < total:
            plane = divide(e, pixels, m, h)
            o0, o1, o2 = position(e - plane * pixels, sizes, magics, w)
            channel = plane % channels
            source = pointer(x, T)
            taps = pointer(weight, T)
            start = plane // each * w[0] * w[1] * w[2]
            tap = channel * w[3] * w[4] * w[5]
            a = T(0)
            for t0 in range(w[3]):
                i0 = o0 * w[9] - w[12] + t0 * w[15]
                for t1 in range(w[4]):
                    i1 = o1 * w[10] - w[13] + t1 * w[16]
                    for t2 in range(w[5]):
                        i2 = o2 * w[11] - w[14] + t2 * w[17]
                        inside = 0 <= i0 and i0 < w[0] and 0 <= i1 and i1 < w[1]
                        if inside and 0 <= i2 and i2 < w[2]:
                            a = fma(taps[tap], source[start + (i0 * w[1] + i1) * w[2] + i2], a)
                        tap += 1
            if biased:
                a += pointer(bias, T)[channel]
            pointer(y, T)[e] = a

    return Source(unpack_params(convolve, 10, _COUNT), "i" * (10 + _COUNT), threads)


@kernel
def inputs_of(dtype: str, wide: bool, threads: int) -> Source:
    """One element of x per thread, from all outputs that it went into.

    Parameters: y, weight, x, elements of x, pixels of a plane of x with multiplier and shift,
    channels of x, outputs per input, then the window.
    """
    T = np.dtype(dtype).type
    sizes, magics, divide = 0, 22, division(wide)

    @inline
    def scatter(y, weight, x, total, pixels, m, h, channels, each, w):
        e = block() * threads + thread()
        if e < total:
            plane = divide(e, pixels, m, h)
            i0, i1, i2 = position(e - plane * pixels, sizes, magics, w)
            source, taps = pointer(y, T), pointer(weight, T)
            tap = plane % channels * each * w[3] * w[4] * w[5]
            image = w[6] * w[7] * w[8]
            a = T(0)
            for c in range(each):
                start = (plane * each + c) * image
                for t0 in range(w[3]):
                    p0 = i0 + w[12] - t0 * w[15]
                    for t1 in range(w[4]):
                        p1 = i1 + w[13] - t1 * w[16]
                        for t2 in range(w[5]):
                            p2 = i2 + w[14] - t2 * w[17]
                            if p0 >= 0 and p1 >= 0 and p2 >= 0:
                                o0 = multiply_wide(p0, w[26]) >> w[27]
                                o1 = multiply_wide(p1, w[28]) >> w[29]
                                o2 = multiply_wide(p2, w[30]) >> w[31]
                                fits = o0 * w[9] == p0 and o1 * w[10] == p1 and o2 * w[11] == p2
                                if fits and o0 < w[6] and o1 < w[7] and o2 < w[8]:
                                    at = start + (o0 * w[7] + o1) * w[8] + o2
                                    a = fma(taps[tap], source[at], a)
                            tap += 1
            pointer(x, T)[e] = a

    return Source(unpack_params(scatter, 9, _COUNT), "i" * (9 + _COUNT), threads)


@kernel
def weights_of(dtype: str, lanes: int, wide: bool, threads: int) -> Source:
    """One part of one weight per ``lanes`` threads.

    Parameters: x, y, out, batch, pixels of a plane of y with multiplier and shift, channels of y,
    outputs per input, taps, positions of a part, weights in all, then the window. The grid's second
    index is the part.
    """
    T = np.dtype(dtype).type
    fold, groups = block_reduce(add, dtype, lanes), threads // lanes
    sizes, magics, divide = 6, 18, division(wide)

    @inline
    def correlate(x, y, out, batch, pixels, m, h, channels, each, taps, part, weights, w):
        number = block() * groups + thread() // lanes
        lane = thread() % lanes
        channel = number // taps
        t0, t1, t2 = 0, 0, number - channel * taps
        t1 = t2 // w[5]
        t2 -= t1 * w[5]
        t0 = t1 // w[4]
        t1 -= t0 * w[4]
        source, grads = pointer(x, T), pointer(y, T)
        area = w[0] * w[1] * w[2]
        e = block_y() * part + lane
        end = min(batch * pixels, block_y() * part + part) if number < weights else 0
        a = T(0)
        while e < end:
            n = divide(e, pixels, m, h)
            p = e - n * pixels
            o0, o1, o2 = position(p, sizes, magics, w)
            i0 = o0 * w[9] - w[12] + t0 * w[15]
            i1 = o1 * w[10] - w[13] + t1 * w[16]
            i2 = o2 * w[11] - w[14] + t2 * w[17]
            inside = 0 <= i0 and i0 < w[0] and 0 <= i1 and i1 < w[1] and 0 <= i2 and i2 < w[2]
            if inside:
                plane = n * channels + channel
                at = plane // each * area + (i0 * w[1] + i1) * w[2] + i2
                a = fma(source[at], grads[plane * pixels + p], a)
            e += lanes
        total = fold(a)
        if lane == 0 and number < weights:
            pointer(out, T)[block_y() * weights + number] = total

    return Source(unpack_params(correlate, 12, _COUNT), "i" * (12 + _COUNT), threads)


def forward(
    dtype: str, batch: int, groups: int, outputs: int, window: Window, bias: bool
) -> Launch:
    """``launch(x, weight, [bias], y, scratch)`` of the output."""
    pixels = math.prod(window.out)
    total = batch * groups * outputs * pixels
    threads = row(DEPTHWISE, dtype, "conv").threads
    function = outputs_of.build(dtype, bias, is_wide(total), threads)
    tail = (total, pixels, *magic(pixels), groups * outputs, outputs, *_numbers(window))
    run = bind(function, *tail, -(-total // threads), 1, 1)

    def launch(x: int, weight: int, *where: int) -> None:
        b, y, *_ = where if bias else (0, *where)
        run(x, weight, b, y)

    return launch


def backward(dtype: str, batch: int, groups: int, outputs: int, window: Window) -> Launch:
    """``launch(y, weight, x, scratch)`` of the input's gradient."""
    pixels = math.prod(window.size)
    total = batch * groups * pixels
    threads = row(DEPTHWISE, dtype, "conv").threads
    function = inputs_of.build(dtype, is_wide(total), threads)
    tail = (total, pixels, *magic(pixels), groups, outputs, *_numbers(window))
    run = bind(function, *tail, -(-total // threads), 1, 1)

    def launch(y: int, weight: int, x: int, scratch: int = 0) -> None:
        run(y, weight, x)

    return launch


def weight(dtype: str, batch: int, groups: int, outputs: int, window: Window) -> tuple[Launch, int]:
    """``launch(x, y, weight, scratch)`` of the weight's gradient, and the bytes of scratch."""
    taps = math.prod(window.kernel)
    pixels, channels = math.prod(window.out), groups * outputs
    weights, positions = channels * taps, batch * pixels
    chosen = row(DEPTHWISE, dtype, "conv")
    threads = chosen.threads
    lanes = threads if positions > chosen.alone else WARP
    function = weights_of.build(dtype, lanes, is_wide(positions), threads)
    parts = max(1, min(-(-positions // chosen.each), chosen.parts))
    part = -(-positions // parts)
    parts = -(-positions // part)
    tail = (
        batch, pixels, *magic(pixels), channels, outputs, taps, part, weights, *_numbers(window),
        -(-weights * lanes // threads), parts, 1,
    )  # fmt: skip

    def launch(x: int, y: int, out: int, scratch: int = 0) -> None:
        function(x, y, scratch if parts > 1 else out, *tail)
        if parts > 1:
            collect = add_chunks.build(dtype, False, threads)
            blocks = -(-weights // threads)
            collect(scratch, out, 0, weights, 1, 1, parts, 0, blocks, 1, 1)

    return launch, parts * weights * np.dtype(dtype).itemsize if parts > 1 else 0
