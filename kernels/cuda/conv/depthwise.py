"""Convolutions whose groups have one input channel each: no product, a sum over taps.

A thread computes one element of the output, or of the input's gradient; neighbouring threads are
neighbouring pixels. The weight's gradient is a sum over a whole channel: a block per weight, cut
into parts where there are few weights.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import WARP, block, block_y, multiply_wide, pointer, thread
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce
from tilegrad.kernels.cuda.parts.gemm import add_chunks
from tilegrad.kernels.cuda.parts.planes import Axes, axes, position
from tilegrad.kernels.cuda.parts.strided import division, is_wide, magic
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import DEPTHWISE, row
from tilegrad.kernels.formulas.primitives import fma
from tilegrad.kernels.monoids import add
from tilegrad.kernels.window import Window

Launch = Callable[..., None]


class Planes(NamedTuple):
    """Planes with a thread for each pixel, or weights with some for each.

    Attributes:
        total: pixels of all planes, or weights.
        pixels: of a plane, with multiplier and shift that divide by it.
        channels: of the output. depth_multiplier: outputs of an input channel.
        batch, taps, part: of a weight's gradient: items, taps, positions of a part.
    """

    total: int
    pixels: int
    multiplier: int
    shift: int
    channels: int
    depth_multiplier: int
    batch: int
    taps: int
    part: int


class Geometry(NamedTuple):
    """A window: kernel, stride, padding before and dilation of each dimension, and multiplier and shift
    that divide by the stride.
    """

    kernel0: int
    kernel1: int
    kernel2: int
    stride0: int
    stride1: int
    stride2: int
    before0: int
    before1: int
    before2: int
    dilation0: int
    dilation1: int
    dilation2: int
    multiplier0: int
    shift0: int
    multiplier1: int
    shift1: int
    multiplier2: int
    shift2: int


WINDOW = (Planes, Axes, Axes, Geometry)  # the planes, pixels of y, pixels of x, the window


def _window(planes: Planes, window: Window) -> tuple[int, ...]:
    """The parameters of :data:`WINDOW`."""
    strides = [v for stride in window.stride for v in magic(stride)]
    triples = (window.kernel, window.stride, window.before, window.dilation)
    geometry = Geometry(*(v for triple in triples for v in triple), *strides)
    return (*planes, *axes(window.out), *axes(window.size), *geometry)


@kernel
def outputs_of(dtype: str, biased: bool, wide: bool, threads: int) -> Source:
    """One element of y per thread.

    Parameters: x, weight, bias, y, then :data:`WINDOW`.
    """
    T, divide = np.dtype(dtype).type, division(wide)

    def convolve(x, weight, bias, y, p, out, size, g):
        e = block() * threads + thread()
        if e < p.total:
            plane = divide(e, p.pixels, p.multiplier, p.shift)
            o0, o1, o2 = position(e - plane * p.pixels, out)
            channel = plane % p.channels
            source = pointer(x, T)
            taps = pointer(weight, T)
            start = plane // p.depth_multiplier * size.size0 * size.size1 * size.size2
            tap = channel * g.kernel0 * g.kernel1 * g.kernel2
            a = T(0)
            for t0 in range(g.kernel0):
                i0 = o0 * g.stride0 - g.before0 + t0 * g.dilation0
                for t1 in range(g.kernel1):
                    i1 = o1 * g.stride1 - g.before1 + t1 * g.dilation1
                    for t2 in range(g.kernel2):
                        i2 = o2 * g.stride2 - g.before2 + t2 * g.dilation2
                        inside = 0 <= i0 and i0 < size.size0 and 0 <= i1 and i1 < size.size1
                        if inside and 0 <= i2 and i2 < size.size2:
                            at = start + (i0 * size.size1 + i1) * size.size2 + i2
                            a = fma(taps[tap], source[at], a)
                        tap += 1
            if biased:
                a += pointer(bias, T)[channel]
            pointer(y, T)[e] = a

    return Source(convolve, ("iiii", *WINDOW), threads)


@kernel
def inputs_of(dtype: str, wide: bool, threads: int) -> Source:
    """One element of x per thread, from all outputs that it went into.

    Parameters: y, weight, x, then :data:`WINDOW`, whose planes are those of x.
    """
    T, divide = np.dtype(dtype).type, division(wide)

    def scatter(y, weight, x, p, out, size, g):
        e = block() * threads + thread()
        if e < p.total:
            plane = divide(e, p.pixels, p.multiplier, p.shift)
            i0, i1, i2 = position(e - plane * p.pixels, size)
            source, taps = pointer(y, T), pointer(weight, T)
            tap = plane % p.channels * p.depth_multiplier * g.kernel0 * g.kernel1 * g.kernel2
            image = out.size0 * out.size1 * out.size2
            a = T(0)
            for c in range(p.depth_multiplier):
                start = (plane * p.depth_multiplier + c) * image
                for t0 in range(g.kernel0):
                    p0 = i0 + g.before0 - t0 * g.dilation0
                    for t1 in range(g.kernel1):
                        p1 = i1 + g.before1 - t1 * g.dilation1
                        for t2 in range(g.kernel2):
                            p2 = i2 + g.before2 - t2 * g.dilation2
                            if p0 >= 0 and p1 >= 0 and p2 >= 0:
                                o0 = multiply_wide(p0, g.multiplier0) >> g.shift0
                                o1 = multiply_wide(p1, g.multiplier1) >> g.shift1
                                o2 = multiply_wide(p2, g.multiplier2) >> g.shift2
                                fits = o0 * g.stride0 == p0 and o1 * g.stride1 == p1
                                fits = fits and o2 * g.stride2 == p2
                                if fits and o0 < out.size0 and o1 < out.size1 and o2 < out.size2:
                                    at = start + (o0 * out.size1 + o1) * out.size2 + o2
                                    a = fma(taps[tap], source[at], a)
                            tap += 1
            pointer(x, T)[e] = a

    return Source(scatter, ("iii", *WINDOW), threads)


@kernel
def weights_of(dtype: str, lanes: int, wide: bool, threads: int) -> Source:
    """One part of one weight per ``lanes`` threads.

    Parameters: x, y, out, then :data:`WINDOW`, whose planes are those of y. The grid's second index is
    the part.
    """
    T, divide = np.dtype(dtype).type, division(wide)
    fold, groups = block_reduce(add, dtype, lanes), threads // lanes

    def correlate(x, y, out, p, outs, size, g):
        number = block() * groups + thread() // lanes
        lane = thread() % lanes
        channel = number // p.taps
        t0, t1, t2 = 0, 0, number - channel * p.taps
        t1 = t2 // g.kernel2
        t2 -= t1 * g.kernel2
        t0 = t1 // g.kernel1
        t1 -= t0 * g.kernel1
        source, grads = pointer(x, T), pointer(y, T)
        area = size.size0 * size.size1 * size.size2
        e = block_y() * p.part + lane
        end = min(p.batch * p.pixels, block_y() * p.part + p.part) if number < p.total else 0
        a = T(0)
        while e < end:
            n = divide(e, p.pixels, p.multiplier, p.shift)
            pixel = e - n * p.pixels
            o0, o1, o2 = position(pixel, outs)
            i0 = o0 * g.stride0 - g.before0 + t0 * g.dilation0
            i1 = o1 * g.stride1 - g.before1 + t1 * g.dilation1
            i2 = o2 * g.stride2 - g.before2 + t2 * g.dilation2
            inside = 0 <= i0 and i0 < size.size0 and 0 <= i1 and i1 < size.size1
            if inside and 0 <= i2 and i2 < size.size2:
                plane = n * p.channels + channel
                at = plane // p.depth_multiplier * area + (i0 * size.size1 + i1) * size.size2 + i2
                a = fma(source[at], grads[plane * p.pixels + pixel], a)
            e += lanes
        total = fold(a)
        if lane == 0 and number < p.total:
            pointer(out, T)[block_y() * p.total + number] = total

    return Source(correlate, ("iii", *WINDOW), threads)


def forward(
    dtype: str, batch: int, groups: int, outputs: int, window: Window, bias: bool
) -> Launch:
    """``launch(x, weight, [bias], y, scratch)`` of the output."""
    pixels = math.prod(window.out)
    total = batch * groups * outputs * pixels
    threads = row(DEPTHWISE, dtype, "conv").threads
    function = outputs_of.build(dtype, bias, is_wide(total), threads)
    planes = Planes(total, pixels, *magic(pixels), groups * outputs, outputs, batch, 0, 0)
    tail = _window(planes, window)
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
    planes = Planes(total, pixels, *magic(pixels), groups, outputs, batch, 0, 0)
    tail = _window(planes, window)
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
    parts = max(1, min(-(-positions // chosen.pixels), chosen.parts))
    part = -(-positions // parts)
    parts = -(-positions // part)
    planes = Planes(weights, pixels, *magic(pixels), channels, outputs, batch, taps, part)
    tail = (*_window(planes, window), -(-weights * lanes // threads), parts, 1)

    def launch(x: int, y: int, out: int, scratch: int = 0) -> None:
        function(x, y, scratch if parts > 1 else out, *tail)
        if parts > 1:
            collect = add_chunks.build(dtype, False, threads)
            blocks = -(-weights // threads)
            collect(scratch, out, 0, weights, 1, 1, parts, 0, blocks, 1, 1)

    return launch, parts * weights * np.dtype(dtype).itemsize if parts > 1 else 0
