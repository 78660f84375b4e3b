"""What factorisations ask of numbers, real or complex: conjugates, magnitudes, quotients."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels.dtypes import part_of, row
from tilegrad.kernels.formulas.pair import conj, paired
from tilegrad.kernels.formulas.planar.arithmetic import divide, real_part
from tilegrad.kernels.formulas.powers import hypot
from tilegrad.kernels.function import DeviceFunction, inline


class Field(NamedTuple):
    """The numbers of a dtype.

    Attributes:
        part: NumPy's type of a real number beside them.
        wide: theirs, of parts of float64.
        conj: the conjugate.
        real: the real part.
        imag: the imaginary part.
        size: the magnitude that pivots are chosen by: of complex numbers the sum of both parts', as LAPACK.
        square: the squared magnitude.
        magnitude: its root.
        quotient: of two.
        tau: of ``(alpha, beta)``, of a real beta, the factor (beta - alpha) / beta of a reflection.
    """

    part: Any
    wide: Any
    conj: DeviceFunction
    real: DeviceFunction
    imag: DeviceFunction
    size: DeviceFunction
    square: DeviceFunction
    magnitude: DeviceFunction
    quotient: DeviceFunction
    tau: DeviceFunction


@inline
def itself(x):
    """x"""
    return x


@inline
def nothing(x):
    """0, in the type of x."""
    return type(x)(0)


@inline
def size(x):
    """abs(x)"""
    return abs(x)


@inline
def square(x):
    """x x"""
    return x * x


@inline
def quotient(x, y):
    """x / y"""
    return x / y


@inline
def tau(alpha, beta):
    """(beta - alpha) / beta"""
    return (beta - alpha) / beta


@inline
def imag_part(z):
    """The imaginary part."""
    return z.imag


@inline
def sum_of_parts(z):
    """abs(re) + abs(im)"""
    return abs(z.real) + abs(z.imag)


@inline
def squared(z):
    """re re + im im"""
    return z.real * z.real + z.imag * z.imag


@inline
def magnitude(z):
    """abs(z)"""
    return hypot(z.real, z.imag)


@inline
def tau_of_pair(alpha, beta):
    """(beta - alpha) / beta, of a real beta"""
    return paired((beta - alpha.real) / beta, -alpha.imag / beta)


def field(dtype: str) -> Field:
    """The numbers of ``dtype``."""
    part = np.dtype(part_of(dtype)).type
    if row(dtype).kind == "c":
        return Field(
            part, np.complex128, conj, real_part, imag_part, sum_of_parts, squared, magnitude, divide,
            tau_of_pair,
        )  # fmt: skip
    return Field(part, np.float64, itself, itself, nothing, size, square, size, quotient, tau)


def across(F: Field) -> DeviceFunction:
    """``across(a, k, m)``: in row ``k`` of ``a`` (rows of ``m``) what the rows before it, of length 1, have no part
    in: of the axes the one that has most, less its parts along them, twice (Gram, Schmidt). Numbers are ``F.wide``.
    """
    zero, one, conj, square = F.wide(0), F.wide(1), F.conj, F.square

    @inline
    def largest_axis(a, k, m):
        axis, most = 0, -1.0
        for i in range(m):
            rest = 1.0
            for j in range(k):
                rest -= square(a[j * m + i])
            if rest > most:
                axis, most = i, rest
        return axis

    @inline
    def set_across(a, k, m):
        axis = largest_axis(a, k, m)
        for i in range(m):
            a[k * m + i] = one if i == axis else zero
        for _ in range(2):
            for j in range(k):
                dot = zero
                for i in range(m):
                    dot += conj(a[j * m + i]) * a[k * m + i]
                for i in range(m):
                    a[k * m + i] = a[k * m + i] - dot * a[j * m + i]

    return set_across
