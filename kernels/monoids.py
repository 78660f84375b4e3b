"""Reductions as monoids: how an element enters, how two totals combine, how the result comes out.

A reduction over a set of numbers is ``finish(combine(lift(x0), lift(x1), …), count, p)`` where
``combine`` is associative with the identity ``start``. Each is written once, as scalar functions
for every device. ``lift(x, c)`` gets a second number per output, the ``c`` of a centred reduction
(such as the mean, for a variance), else zero. ``p`` is a parameter of the call.

``combine`` and the lifts marked ``lanes`` use only operators and ``select``, so a vector of lanes
may stand for each number.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad.kernels import dtypes
from tilegrad.kernels.formulas.primitives import cast, select
from tilegrad.kernels.formulas.transcendental import exp, log1p
from tilegrad.kernels.function import DeviceFunction, inline


@inline
def add(a, b):
    """a + b"""
    return a + b


@inline
def multiply(a, b):
    """a b"""
    return a * b


@inline
def larger(a, b):
    """max(a, b); NaN if either is NaN."""
    return select(a == a, select(a > b, a, b), a)


@inline
def smaller(a, b):
    """min(a, b); NaN if either is NaN."""
    return select(a == a, select(a < b, a, b), a)


@inline
def either(a, b):
    """a or b, as bits."""
    return a | b


@inline
def both(a, b):
    """a and b, as bits."""
    return a & b


@inline
def add_logs(a, b):
    """log(e^a + e^b) = max(a, b) + log1p(e^-|a - b|)."""
    top, low = select(a > b, a, b), select(a > b, b, a)
    sum_ = top + log1p(exp(low - top))
    sum_ = select(top == low, top + cast(0.6931471805599453, a), sum_)  # also both infinite
    return select(a == a, select(b == b, sum_, b), a)


@inline
def itself(x, c):
    """x"""
    return x


@inline
def truth(x, c):
    """1 where x is not zero (NaN is not), else 0."""
    return np.uint8(1) if x != c else np.uint8(0)


@inline
def squared(x, c):
    """(x - c)^2"""
    d = x - c
    return d * d


@inline
def exponential(x, c):
    """e^(x - c)"""
    return exp(x - c)


@inline
def total(a, count, p):
    """What was combined."""
    return a


@inline
def quotient(a, count, p):
    """a / p: a sum for p = 1, a mean for p = count."""
    return a / p


@inline
def corrected(a, count, p):
    """a / max(count - p, 0): Bessel's correction for p = 1."""
    return a / max(count - p, count - count)


@inline
def root(a, count, p):
    """The square root."""
    return math.sqrt(a)


@dataclass(frozen=True)
class Monoid:
    """One reduction.

    Attributes:
        name: key in :data:`MONOIDS`.
        lift: ``lift(x, c)``, what an element contributes.
        combine: associative, commutative.
        start: the identity: "0", "1", "low" or "high" (the ends of the dtype's range).
        finish: ``finish(total, count, p)``.
        centred: whether ``c`` is an operand.
        lanes: whether ``lift`` may be given vectors.
        accumulate: dtype of totals: "wide" (see :mod:`tilegrad.kernels.dtypes`), "same" as the input,
            or its name.
    """

    name: str
    lift: DeviceFunction
    combine: DeviceFunction
    start: str = "0"
    finish: DeviceFunction = total
    centred: bool = False
    lanes: bool = True
    accumulate: str = "wide"

    def block_dtype(self, dtype: str) -> str:
        """Dtype in which short runs of an input of ``dtype`` are combined."""
        if self.accumulate not in ("wide", "same"):
            return self.accumulate
        return dtype if self.accumulate == "same" else dtypes.row(dtype).short

    def total_dtype(self, dtype: str) -> str:
        """Dtype in which the results of short runs are combined."""
        block = self.block_dtype(dtype)
        return dtypes.row(block).accumulator if self.accumulate == "wide" else block

    def finishing(self, dtype: str) -> DeviceFunction:
        """``finish`` for totals of ``dtype``; integers come out as they are."""
        return self.finish if dtypes.is_float(dtype) else total

    def identity(self, dtype: str) -> Any:
        """The identity as a NumPy scalar of ``dtype``."""
        kind = np.dtype(dtype)
        if self.start in ("0", "1"):
            return kind.type(int(self.start))
        if kind.kind == "b":
            return kind.type(self.start == "high")
        if kind.kind == "f":
            return kind.type(math.inf if self.start == "high" else -math.inf)
        limits = np.iinfo(kind)
        return kind.type(limits.max if self.start == "high" else limits.min)


def _table(*rows: Monoid) -> dict[str, Monoid]:
    return {row.name: row for row in rows}


MONOIDS = _table(
    Monoid("sum", itself, add, finish=quotient),
    Monoid("prod", itself, multiply, "1"),
    Monoid("amax", itself, larger, "low", accumulate="same"),
    Monoid("amin", itself, smaller, "high", accumulate="same"),
    Monoid("any", truth, either, "0", lanes=False, accumulate="uint8"),
    Monoid("all", truth, both, "1", lanes=False, accumulate="uint8"),
    Monoid("norm2", squared, add, finish=root),
    Monoid("var", squared, add, finish=corrected, centred=True),
    Monoid("sum_exp", exponential, add, centred=True),
)

# of scans: how two totals combine, and the identity
SCANS = {"cumsum": (add, 0), "cumprod": (multiply, 1), "logcumsumexp": (add_logs, -math.inf)}
