"""Transforms of even real length by the complex one of half the length: the step after, or before, it. See
:mod:`tilegrad.kernels.cpu.fft.real`; a thread takes a pair of numbers from both ends.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, pointer, thread
from tilegrad.kernels.cuda.run.jit import Source, kernel
from tilegrad.kernels.fourier import halved, spectrum_place, whole
from tilegrad.kernels.function import inline
from tilegrad.kernels.params import places


class Halves(NamedTuple):
    """Rows of ``half`` complex numbers, and spectra of ``half + 1`` at strided places, in reals."""

    rows: int
    pairs: int  # threads of a row
    half: int
    z_row: int  # from row to row of half-length data, whose numbers are neighbours
    step: int  # from number to number of a spectrum
    valid: int  # numbers of a spectrum that are there; the others are zero
    minus: int  # 1: the spectrum is conjugated
    roots: int  # address: real parts, then imaginary ones
    outer: int  # dimensions of rows; their sizes and their strides in spectra follow the table


AT = places(Halves)
FIELDS = len(Halves._fields)


@kernel
def after(dtype: str, threads: int) -> Source:
    """Spectra x of real rows from the transforms z of half length. Parameters: z, x, address of the table."""
    T = np.dtype(dtype).type
    half, zero, one = T(0.5), T(0), T(1)

    def body(z, x, table):
        p, dims = pointer(table, np.int64), pointer(table + 8 * FIELDS, np.int64)
        h, step, pairs = p[AT.half], p[AT.step], p[AT.pairs]
        roots, source, target = pointer(p[AT.roots], T), pointer(z, T), pointer(x, T)
        i = block() * threads + thread()
        row = i // pairs
        k = i - row * pairs
        if row < p[AT.rows]:
            sign = -one if p[AT.minus] else one
            at, to = row * p[AT.z_row], spectrum_place(row, dims, p[AT.outer])
            if k == 0:
                a, b = source[at], source[at + 1]
                target[to], target[to + 1] = a + b, zero
                target[to + h * step], target[to + h * step + 1] = a - b, zero
            elif 2 * k <= h:
                low, high = at + 2 * k, at + 2 * (h - k)
                r, i, s, t = whole(
                    source[low], source[low + 1], source[high], source[high + 1],
                    roots[k], roots[h + k], half,
                )  # fmt: skip
                low, high = to + k * step, to + (h - k) * step
                target[high], target[high + 1] = s, t * sign
                target[low], target[low + 1] = r, i * sign

    return Source(body, "iii", threads)


@kernel
def before(dtype: str, threads: int) -> Source:
    """What the inverse transform of half length takes to real rows, from their spectra x. Parameters: x, z,
    address of the table.
    """
    T = np.dtype(dtype).type
    zero, one = T(0), T(1)

    @inline
    def number(x, at, step, k, valid, sign):
        a, b = zero, zero
        if k < valid:
            a, b = x[at + k * step], x[at + k * step + 1] * sign
        return a, b

    def body(x, z, table):
        p, dims = pointer(table, np.int64), pointer(table + 8 * FIELDS, np.int64)
        h, step, valid, pairs = p[AT.half], p[AT.step], p[AT.valid], p[AT.pairs]
        roots, source, target = pointer(p[AT.roots], T), pointer(x, T), pointer(z, T)
        i = block() * threads + thread()
        row = i // pairs
        k = i - row * pairs
        if row < p[AT.rows]:
            sign = -one if p[AT.minus] else one
            to, at = row * p[AT.z_row], spectrum_place(row, dims, p[AT.outer])
            a, b = number(source, at, step, k, valid, sign)
            c, d = number(source, at, step, h - k, valid, sign)
            if k == 0:
                target[to], target[to + 1] = a + c, a - c
            elif 2 * k <= h:
                r, i, s, t = halved(a, b, c, d, roots[k], roots[h + k])
                target[to + 2 * (h - k)], target[to + 2 * (h - k) + 1] = s, t
                target[to + 2 * k], target[to + 2 * k + 1] = r, i

    return Source(body, "iii", threads)
