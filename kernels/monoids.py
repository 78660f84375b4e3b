"""Reductions as monoids: how an element enters, how two totals combine, how the result comes out.

A reduction over a set of numbers is ``finish(combine(lift(x0), lift(x1), …), count, p)`` where
``combine`` is associative with the identity ``start``. Each is written once, as scalar functions
for every device. ``lift(x, c)`` gets a second number per output, the ``c`` of a centred reduction
(such as the mean, for a variance), else zero. ``p`` is a parameter of the call.

``combine`` and the lifts marked ``lanes`` use only operators and ``select``, so a vector of lanes
may stand for each number.

A user's reduction (``own``) may have several operands, accumulators, results and scalars. Its functions
are of numbers alone: ``lift(x0, x1, …, p0, …)``, ``combine(a0, a1, …, b0, b1, …)``, ``finish(a0, a1, …,
p0, …)``, one for each number that they give.
"""

from __future__ import annotations

import ast
import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad.kernels import accumulators, dtypes
from tilegrad.kernels.accumulators import item, items, packed
from tilegrad.kernels.formulas.declared import parameters
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
class Own:
    """What a user's reduction is made of.

    Attributes:
        lifts: per accumulator, what elements contribute.
        combines: per accumulator.
        starts: the identity, a number per accumulator.
        finishes: per result.
        operands, params: how many arrays and scalars a call has.
    """

    lifts: tuple[DeviceFunction, ...]
    combines: tuple[DeviceFunction, ...]
    starts: tuple[float, ...]
    finishes: tuple[DeviceFunction, ...]
    operands: int
    params: int

    @property
    def key(self) -> str:
        """Names these functions and everything that their sources depend on."""
        groups = (self.lifts, self.combines, self.finishes)
        parts = [" ".join([f.key for f in group]) for group in groups]
        text = "\0".join([*parts, repr(self.starts), f"{self.operands} {self.params}"])
        return hashlib.sha256(text.encode()).hexdigest()[:16]


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
        accumulate: dtype of totals: "wide" (see :mod:`tilegrad.kernels.dtypes`), "short" as those of
            short runs, "same" as the input, or its name.
        own: of a user's, what stands in place of lift, combine, start and finish; these are then of use
            to kernels that know them, in vectors of lanes.
    """

    name: str
    lift: DeviceFunction = itself
    combine: DeviceFunction | None = add
    start: str = "0"
    finish: DeviceFunction = total
    centred: bool = False
    lanes: bool = True
    accumulate: str = "wide"
    own: Own | None = None

    @property
    def operands(self) -> int:
        """Arrays that are reduced together."""
        return self.own.operands if self.own else 1

    @property
    def width(self) -> int:
        """Accumulators."""
        return len(self.own.combines) if self.own else 1

    @property
    def results(self) -> int:
        """Arrays that are made."""
        return len(self.own.finishes) if self.own else 1

    @property
    def params(self) -> int:
        """Scalars of a call."""
        return self.own.params if self.own else 1

    def block_dtype(self, dtype: str) -> str:
        """Dtype in which short runs of an input of ``dtype`` are combined."""
        if self.accumulate not in ("wide", "short", "same"):
            return self.accumulate
        return dtype if self.accumulate == "same" else dtypes.row(dtype).short

    def total_dtype(self, dtype: str) -> str:
        """Dtype in which the results of short runs are combined."""
        block = self.block_dtype(dtype)
        return dtypes.row(block).accumulator if self.accumulate == "wide" else block

    def lifting(self, dtype: str) -> DeviceFunction:
        """``lift(x, c, p)``: what an element (of each operand) contributes, as accumulators of ``dtype``."""
        scope: dict[str, Any] = {"A": np.dtype(dtype).type, "f": self.lift}
        values = ["A(f(x, c))"]
        if self.own:
            scope |= {f"f{k}": f for k, f in enumerate(self.own.lifts)}
            given = [f"A({v})" for v in (*items("x", self.operands), *items("p", self.params))]
            values = [f"A(f{k}({', '.join(given)}))" for k in range(self.width)]
        return accumulators.function("lift", "x, c, p", packed(values), scope)

    def joining(self, dtype: str) -> DeviceFunction:
        """``join(a, b)``: accumulators of ``dtype``, combined."""
        if self.combine and (dtypes.is_float(dtype) or dtype == "int64"):
            return self.combine  # which keeps these types
        scope: dict[str, Any] = {"A": np.dtype(dtype).type, "f": self.combine}
        values = ["A(f(a, b))"]
        if self.own:
            scope |= {f"f{k}": f for k, f in enumerate(self.own.combines)}
            given = ", ".join([*items("a", self.width), *items("b", self.width)])
            values = [f"A(f{k}({given}))" for k in range(self.width)]
        return accumulators.function("join", "a, b", packed(values), scope)

    def finishing(self, dtype: str, out: Any) -> DeviceFunction:
        """``finish(a, count, p)``: what comes out, of the type ``out``, of accumulators of ``dtype``;
        integers come out of a built-in reduction as they are.
        """
        floating = dtypes.is_float(dtype)
        kind = np.dtype(dtype if floating else "float64").type
        scope: dict[str, Any] = {"P": kind, "Out": out, "f": self.finish if floating else total}
        values = ["Out(f(a, P(count), P(p)))"]
        if self.own:
            scope["P"] = np.dtype(dtype).type
            scope |= {f"f{k}": f for k, f in enumerate(self.own.finishes)}
            given = [*items("a", self.width)]
            given += [f"P({item('p', k, self.params)})" for k in range(self.params)]
            values = [f"Out(f{k}({', '.join(given)}))" for k in range(self.results)]
        return accumulators.function("finish", "a, count, p", packed(values), scope)

    def identity(self, dtype: str) -> Any:
        """The identity as a NumPy scalar of ``dtype``; of several accumulators, a tuple."""
        kind = np.dtype(dtype)
        if self.own:
            found = tuple([_as(kind, value) for value in self.own.starts])
            return found if len(found) > 1 else found[0]
        if self.start in ("0", "1"):
            return kind.type(int(self.start))
        return _as(kind, math.inf if self.start == "high" else -math.inf)


def form_of(function: DeviceFunction, left: str, right: str) -> DeviceFunction | None:
    """The combination of this module that ``function`` is of two of its parameters, by its source:
    :func:`add`, :func:`multiply`, :func:`larger` or :func:`smaller`.
    """
    from tilegrad.kernels.formulas.arithmetic import maximum, minimum
    from tilegrad.kernels.formulas.symbolic.source import read, stored

    definition = read(function)
    value = definition.body[-1].value if isinstance(definition.body[-1], ast.Return) else None
    sides: list[ast.expr] = []
    found = None
    if isinstance(value, ast.BinOp):
        sides = [value.left, value.right]
        found = {ast.Add: add, ast.Mult: multiply}.get(type(value.op))
    elif isinstance(value, ast.Call):
        sides = value.args
        found = {maximum: larger, minimum: smaller}.get(definition.lookup(value.func))
    names = [s.id for s in sides if isinstance(s, ast.Name)]
    plain = len(names) == len(sides) and not {left, right} & {*stored(*definition.body)}
    return found if plain and sorted(names) == sorted([left, right]) else None


def own_monoid(title: str, own: Own, whole: bool) -> Monoid:
    """A user's reduction, under a name that tells its functions. ``whole``: elements enter as they are."""
    form = None
    if len(own.combines) == 1:
        form = form_of(own.combines[0], *parameters(own.combines[0]))
    exact = form in (larger, smaller)  # nothing is rounded
    accumulate = "short" if exact else "wide"
    return Monoid(f"{title}_{own.key}", combine=form, lanes=whole, accumulate=accumulate, own=own)


def _as(kind: np.dtype, value: float) -> Any:
    """A number of this dtype; of an integer's, the ends of its range stand for the infinities."""
    if kind.kind == "b":
        return kind.type(value > 0)
    if kind.kind != "f" and math.isinf(value):
        limits = np.iinfo(kind)
        return kind.type(limits.max if value > 0 else limits.min)
    return kind.type(value)


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
