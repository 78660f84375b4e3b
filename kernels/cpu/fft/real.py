"""Transforms of even real length by the complex one of half the length: the step after, or before, it.

``z_j = x_2j + i x_(2j+1)`` has the transform Z. With ``E = (Z_k + conj Z_(h-k)) / 2`` and
``O = (Z_k - conj Z_(h-k)) / 2i`` that of x is ``X_k = E + w^k O``, w the root of the whole length. Both steps take
``k`` and ``h - k`` together, whole vectors of them from both ends.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cpu.fft.pairs import backwards, load_im, load_re, store_pairs
from tilegrad.kernels.cpu.run.jit import Kernel, kernel
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.simd.vector import lanes, load, splat
from tilegrad.kernels.fourier import halved, spectrum_place, whole
from tilegrad.kernels.function import inline
from tilegrad.kernels.params import places


class Halves(NamedTuple):
    """Rows of ``half`` complex numbers, and spectra of ``half + 1`` at strided places, in reals."""

    rows: int
    per: int  # rows of a task
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
def after(dtype: str) -> Kernel:
    """Spectra of real rows from the transforms z of half length; x may be z where rows begin alike."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    half, size = T(0.5), np.dtype(dtype).itemsize

    def body(task, z, x, table):
        p, dims = pointer(table, np.int64), pointer(table + 8 * FIELDS, np.int64)
        h, step = p[AT.half], p[AT.step]
        re, im = pointer(p[AT.roots], T), pointer(p[AT.roots] + h * size, T)
        sign = T(-1) if p[AT.minus] else T(1)
        signs, halves = splat(sign), splat(half)
        source, target = pointer(z, T), pointer(x, T)
        for row in range(task * p[AT.per], min(p[AT.rows], (task + 1) * p[AT.per])):
            at, to = row * p[AT.z_row], spectrum_place(row, dims, p[AT.outer])
            a, b = source[at], source[at + 1]
            target[to], target[to + 1] = a + b, T(0)
            target[to + h * step], target[to + h * step + 1] = a - b, T(0)
            k = 1
            while step == 2 and 2 * (k + W) - 1 <= h:
                low, high = 2 * k, 2 * (h - k - W + 1)
                ar, ai = load_re(source, at + low), load_im(source, at + low)
                br = backwards(load_re(source, at + high))
                bi = backwards(load_im(source, at + high))
                ar, ai, br, bi = whole(ar, ai, br, bi, load(re, k), load(im, k), halves)
                store_pairs(target, to + low, ar, ai * signs)
                store_pairs(target, to + high, backwards(br), backwards(bi * signs))
                k += W
            while 2 * k <= h:
                low, high = at + 2 * k, at + 2 * (h - k)
                r, i, s, t = whole(
                    source[low], source[low + 1], source[high], source[high + 1], re[k], im[k], half
                )
                low, high = to + k * step, to + (h - k) * step
                target[high], target[high + 1] = s, t * sign
                target[low], target[low + 1] = r, i * sign
                k += 1

    return body, "iii"


@kernel
def before(dtype: str) -> Kernel:
    """What the inverse transform of half length takes to real rows, from their spectra x."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    size, zero = np.dtype(dtype).itemsize, T(0)

    @inline
    def number(x, at, step, k, valid, sign):
        if k < valid:
            return x[at + k * step], x[at + k * step + 1] * sign
        return zero, zero

    def body(task, x, z, table):
        p, dims = pointer(table, np.int64), pointer(table + 8 * FIELDS, np.int64)
        h, step, valid = p[AT.half], p[AT.step], p[AT.valid]
        re, im = pointer(p[AT.roots], T), pointer(p[AT.roots] + h * size, T)
        sign = T(-1) if p[AT.minus] else T(1)
        signs = splat(sign)
        source, target = pointer(x, T), pointer(z, T)
        for row in range(task * p[AT.per], min(p[AT.rows], (task + 1) * p[AT.per])):
            to, at = row * p[AT.z_row], spectrum_place(row, dims, p[AT.outer])
            a, _ = number(source, at, step, 0, valid, sign)
            b, _ = number(source, at, step, h, valid, sign)
            target[to], target[to + 1] = a + b, a - b
            k = 1
            while step == 2 and valid > h and 2 * (k + W) - 1 <= h:
                low, high = 2 * k, 2 * (h - k - W + 1)
                ar, ai = load_re(source, at + low), load_im(source, at + low) * signs
                br = backwards(load_re(source, at + high))
                bi = backwards(load_im(source, at + high)) * signs
                ar, ai, br, bi = halved(ar, ai, br, bi, load(re, k), load(im, k))
                store_pairs(target, to + low, ar, ai)
                store_pairs(target, to + high, backwards(br), backwards(bi))
                k += W
            while 2 * k <= h:
                a, b = number(source, at, step, k, valid, sign)
                c, d = number(source, at, step, h - k, valid, sign)
                r, i, s, t = halved(a, b, c, d, re[k], im[k])
                target[to + 2 * (h - k)], target[to + 2 * (h - k) + 1] = s, t
                target[to + 2 * k], target[to + 2 * k + 1] = r, i
                k += 1

    return body, "iii"
