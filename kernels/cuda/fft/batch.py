"""Transforms in shared memory: a block takes some of one dimension, all stages without leaving it.

Real and imaginary parts lie apart, and are exchanged for the inverse transform. A thread takes a butterfly of
Stockham's algorithm from one half of the memory to the other, and the next as many further as there are threads.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tilegrad.kernels import codelets
from tilegrad.kernels.cuda.device.ptx import barrier, block, multiply_wide, pointer, shared, thread
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.function import DeviceFunction, function_from_source, inline
from tilegrad.kernels.params import places


class Pass(NamedTuple):
    """A pass over a batch; strides are in reals. For ends see :class:`tilegrad.kernels.fourier.End`.

    The stages follow in the table (radix, m, s, address of its roots, of the radix's, units, and what divides by
    units and by s), then sizes, strides and indices of the dimensions outside.
    """

    blocks: int  # of the lanes of one outer place
    lanes: int
    group: int  # lanes of a block
    n: int
    outer: int
    stages: int
    swap: int  # 1: the inverse
    n_by: int  # divides by n: multiplier, shift
    n_shift: int
    group_by: int
    group_shift: int
    x_lanes_first: int  # 1: neighbouring threads take neighbouring lanes
    x_step: int
    x_part: int
    x_lane: int
    x_limit: int
    x_index_k: int
    x_index_c: int
    x_index_j: int
    x_factor: int  # address or 0
    x_factor_plane: int
    x_factor_swap: int
    y_lanes_first: int
    y_step: int
    y_part: int
    y_lane: int
    y_limit: int
    y_index_k: int
    y_index_c: int
    y_index_j: int
    y_factor: int
    y_factor_plane: int
    y_factor_swap: int


AT = places(Pass)
FIELDS = len(Pass._fields)
STAGE = 10


def butterfly(radix: int) -> DeviceFunction:
    """``butterfly(z, x, xi, y, yi, far, step, roots, w)`` of one radix: numbers ``far`` apart, whose parts begin at
    the places x and xi of ``z``, to numbers ``step`` apart at y and yi, times the roots from number ``w`` on.
    """
    program = codelets.codelet(radix)
    inputs = [f"z[{name} + {k} * far]" for k in range(radix) for name in ("x", "xi")]
    lines = ["def butterfly(z, x, xi, y, yi, far, step, roots, w):"]
    lines += [f"    v{k} = {text}" for k, text in enumerate(inputs)]
    body = codelets.source(program).splitlines()
    lines += body[1:-1]
    for j in range(radix):
        re, im = (f"v{k}" for k in program.outputs[2 * j : 2 * j + 2])
        if j:
            lines += [f"    c, s = roots[2 * (w + {j - 1})], roots[2 * (w + {j - 1}) + 1]"]
            re, im = f"{re} * c - {im} * s", f"{re} * s + {im} * c"
        lines += [f"    z[y + {j} * step] = {re}", f"    z[yi + {j} * step] = {im}"]
    text = "\n".join(lines) + "\n"
    made = function_from_source(text, "butterfly", {}, __name__)
    return DeviceFunction(made, text)


@inline
def divided(i, by, shift):
    """``i // divisor`` by a prepared multiplication."""
    return multiply_wide(i, by) >> shift


@inline
def one_of_prime(z, x, xi, y, yi, far, roots, w, stage, j, turns):
    """Number ``j`` of a butterfly of the stage's radix, by its definition."""
    radix, step = stage[0], stage[2]
    re, im = z[x], z[xi]
    place = 0
    for k in range(1, radix):
        place += j
        if place >= radix:
            place -= radix
        c, s = turns[2 * place], turns[2 * place + 1]
        a, b = z[x + k * far], z[xi + k * far]
        re += a * c - b * s
        im += a * s + b * c
    if j:
        c, s = roots[2 * (w + j - 1)], roots[2 * (w + j - 1) + 1]
        re, im = re * c - im * s, re * s + im * c
    z[y + j * step] = re
    z[yi + j * step] = im


def stage_function(dtype: str, threads: int) -> DeviceFunction:
    """``run(z, x, xi, y, yi, stage, n, lanes)``: one stage of all the block's transforms, from the places x and xi
    of the memory z to y and yi.
    """
    T = np.dtype(dtype).type
    two, three, four, five, seven, eight = [butterfly(r) for r in (2, 3, 4, 5, 7, 8)]

    @inline
    def run(z, x, xi, y, yi, stage, n, lanes):
        radix, m, s, units = stage[0], stage[1], stage[2], stage[5]
        roots, turns = pointer(stage[3], T), pointer(stage[4], T)
        far, i = s * m, thread()
        while i < units * lanes:
            lane = divided(i, stage[6], stage[7])
            u = i - lane * units
            if stage[4]:
                j = u // far
                u -= j * far
            p = divided(u, stage[8], stage[9])
            w = p * (radix - 1)
            at = lane * n + u
            to = at + s * w
            re, im, here, there = x + at, xi + at, y + to, yi + to
            if stage[4]:
                one_of_prime(z, re, im, here, there, far, roots, w, stage, j, turns)
            elif radix == 8:
                eight(z, re, im, here, there, far, s, roots, w)
            elif radix == 4:
                four(z, re, im, here, there, far, s, roots, w)
            elif radix == 2:
                two(z, re, im, here, there, far, s, roots, w)
            elif radix == 3:
                three(z, re, im, here, there, far, s, roots, w)
            elif radix == 5:
                five(z, re, im, here, there, far, s, roots, w)
            else:
                seven(z, re, im, here, there, far, s, roots, w)
            i += threads

    return run


def ends(dtype: str, threads: int) -> tuple[DeviceFunction, DeviceFunction]:
    """``(gather, scatter)``: numbers to shared memory and back."""
    T = np.dtype(dtype).type
    zero = T(0)

    @inline
    def gather(x, base, index, z, re, im, lanes, p):
        n, group, i = p[AT.n], p[AT.group], thread()
        factors = pointer(p[AT.x_factor], T)
        while i < n * group:
            if p[AT.x_lanes_first]:
                k = divided(i, p[AT.group_by], p[AT.group_shift])
                j = i - k * group
            else:
                j = divided(i, p[AT.n_by], p[AT.n_shift])
                k = i - j * n
            if j < lanes:
                number = index + k * p[AT.x_index_k] + j * p[AT.x_index_j]
                at = base + k * p[AT.x_step] + j * p[AT.x_lane]
                a, b = zero, zero
                if number < p[AT.x_limit]:
                    a = x[at]
                if p[AT.x_part] and number + p[AT.x_index_c] < p[AT.x_limit]:
                    b = x[at + p[AT.x_part]]
                if p[AT.x_factor]:
                    number = number >> p[AT.x_index_c]
                    c, s = factors[number], factors[number + p[AT.x_factor_plane]]
                    s = -s if p[AT.x_factor_swap] else s
                    a, b = a * c - b * s, a * s + b * c
                z[re + j * n + k] = a
                z[im + j * n + k] = b
            i += threads

    @inline
    def scatter(y, base, index, z, re, im, lanes, p, scale):
        n, group, i = p[AT.n], p[AT.group], thread()
        factors = pointer(p[AT.y_factor], T)
        while i < n * group:
            if p[AT.y_lanes_first]:
                k = divided(i, p[AT.group_by], p[AT.group_shift])
                j = i - k * group
            else:
                j = divided(i, p[AT.n_by], p[AT.n_shift])
                k = i - j * n
            if j < lanes:
                number = index + k * p[AT.y_index_k] + j * p[AT.y_index_j]
                at = base + k * p[AT.y_step] + j * p[AT.y_lane]
                a, b = z[re + j * n + k] * scale, z[im + j * n + k] * scale
                if p[AT.y_factor]:
                    place = number >> p[AT.y_index_c]
                    c, s = factors[place], factors[place + p[AT.y_factor_plane]]
                    s = -s if p[AT.y_factor_swap] else s
                    a, b = a * c - b * s, a * s + b * c
                if number < p[AT.y_limit]:
                    y[at] = a
                if p[AT.y_part] and number + p[AT.y_index_c] < p[AT.y_limit]:
                    y[at + p[AT.y_part]] = b
            i += threads

    return gather, scatter


@kernel
def batch(dtype: str, capacity: int, bounds: Bounds) -> Source:
    """A :class:`Pass`, ``capacity`` numbers a block. Parameters: x, y, address of the table, scale."""
    T, threads = np.dtype(dtype).type, bounds.threads
    memory = shared(dtype, 4 * capacity, "numbers")
    stage = stage_function(dtype, threads)
    gather, scatter = ends(dtype, threads)

    def body(x, y, table, scale):
        p = pointer(table, np.int64)
        dims = pointer(table + 8 * (FIELDS + STAGE * p[AT.stages]), np.int64)
        source, target = pointer(x, T), pointer(y, T)
        n, outer = p[AT.n], p[AT.outer]
        # places and not pointers are exchanged: NVVM 13.0 does not come to an end over pointers
        z, a, ai, b, bi = memory(), 0, capacity, 2 * capacity, 3 * capacity
        place = block() // p[AT.blocks]
        first = (block() - place * p[AT.blocks]) * p[AT.group]
        lanes = min(p[AT.group], p[AT.lanes] - first)
        at, to = first * p[AT.x_lane], first * p[AT.y_lane]
        x_index, y_index = first * p[AT.x_index_j], first * p[AT.y_index_j]
        for d in range(outer - 1, -1, -1):
            rest = place // dims[d]
            i = place - rest * dims[d]
            at += i * dims[outer + d]
            to += i * dims[2 * outer + d]
            x_index += i * dims[3 * outer + d]
            y_index += i * dims[4 * outer + d]
            place = rest
        gather(source, at, x_index, z, a, ai, lanes, p)
        if p[AT.swap]:
            a, ai, b, bi = ai, a, bi, b
        for number in range(p[AT.stages]):
            barrier()
            words = pointer(table + 8 * (FIELDS + STAGE * number), np.int64)
            stage(z, a, ai, b, bi, words, n, lanes)
            a, ai, b, bi = b, bi, a, ai
        if p[AT.swap]:
            a, ai = ai, a
        barrier()
        scatter(target, to, y_index, z, a, ai, lanes, p, T(scale))

    return Source(body, "iiid", *bounds)
