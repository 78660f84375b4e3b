"""What a Python number becomes where it meets a dtype: the one place that decides.

A number stands beside a tensor (:func:`wrapped`: arithmetic and comparison, modulo the integer's
size, as PyTorch's) or is stored in one (:func:`stored`: filling, bounds, factors, constructors;
what does not fit is an error). NumPy scalars count as the Python number that they hold.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from tilegrad.engine.dtype import DType, bool_

# Or complex: type checkers are told of those where a function takes them, which few do.
Number = bool | int | float


def plain(value: Any) -> Number | None:
    """``value`` as a Python number of exactly bool, int, float or complex; None if it is none."""
    if value.__class__ in (bool, int, float, complex):
        return value  # type: ignore[return-value]
    if isinstance(value, np.generic):
        value = value.item()
        if isinstance(value, np.floating):  # of more than 64 bits
            return float(value)
        if isinstance(value, np.complexfloating):
            return complex(value)  # type: ignore[return-value]
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    return complex(value) if isinstance(value, complex) else None  # type: ignore[return-value]


def required(value: Any, op: str) -> Number:
    """:func:`plain`, that of a tensor without dimensions too; TypeError for what is no number."""
    number = plain(value)
    if number is None and hasattr(value, "layout") and not value.layout.ndim:
        number = plain(value.item())
    if number is None:
        raise TypeError(f"{op}: expected a number; got {type(value).__name__}")
    return number


def in_64_bits(value: Any) -> Any:
    """``value``, or OverflowError for an int that neither int64 nor uint64 holds."""
    if isinstance(value, int):
        if value >= 1 << 64:
            raise OverflowError("int too big to convert")
        if value < -(1 << 63):
            raise OverflowError("can't convert negative int to unsigned")
    return value


def wrapped(value: Number, kind: DType) -> Number:
    """The operand that ``value`` is beside a tensor once both have the dtype ``kind``.

    Raises:
        OverflowError: an int of more than 64 bits.
    """
    in_64_bits(value)
    if kind is bool_:
        return bool(value)
    if kind.is_complex:
        return _rounded_parts(value, kind)
    if kind.is_floating_point:
        return _rounded(float(value), kind)
    whole, bits = int(value), 8 * kind.itemsize
    whole &= (1 << bits) - 1
    return whole - (1 << bits) if kind.is_signed and whole >> (bits - 1) else whole


def _rounded(value: float, kind: DType) -> float:
    """Infinity for what rounds beyond the largest float, which no conversion to C would make."""
    if kind.low <= value <= kind.high or not math.isfinite(value):
        return value
    with np.errstate(over="ignore"):
        return float(kind.numpy.type(value))


def _rounded_parts(value: complex, kind: DType) -> Number:
    """:func:`_rounded` of both parts."""
    part = kind.to_real()
    made = complex(_rounded(value.real, part), _rounded(value.imag, part))
    return made  # type: ignore[return-value]


def stored(value: Number, kind: DType, op: str) -> Number:
    """The element of dtype ``kind`` that ``value`` becomes. Fractions are cut off; a negative int
    counts from the top in an unsigned dtype.

    Raises:
        RuntimeError: ``kind`` cannot hold it.
        OverflowError: an int of more than 64 bits.
    """
    if value.__class__ is kind.python and kind.low <= value <= kind.high:
        return value
    in_64_bits(value)
    if kind is bool_:
        return bool(value)
    if kind.is_complex:
        parts = complex(value)
        real = kind.to_real()
        for part in (parts.real, parts.imag):
            if math.isfinite(part) and not real.low <= part <= real.high:
                raise _overflow(value, kind, op)
        return parts  # type: ignore[return-value]
    if isinstance(value, complex):
        if value.imag:
            raise _overflow(value, kind, op)
        value = value.real
    if kind.is_floating_point:
        value = float(value)
        if math.isfinite(value) and not kind.low <= value <= kind.high:
            raise _overflow(value, kind, op)
        return value
    if isinstance(value, int):
        if not (kind.low if kind.is_signed else -kind.high) <= value <= kind.high:
            raise _overflow(value, kind, op)
        return wrapped(value, kind)
    if not kind.low <= value <= kind.high or value != value:
        raise _overflow(value, kind, op)
    return int(value)


def padding(value: Number, kind: DType, op: str) -> Number:
    """:func:`stored` for what goes through a float64: no negative number in an unsigned dtype.

    Raises:
        RuntimeError: ``kind`` cannot hold it.
    """
    if kind is not bool_ and not kind.has_gradient:
        if isinstance(value, complex) or not kind.low <= value <= kind.high:
            raise _overflow(value, kind, op)
    elif isinstance(value, int):
        value = float(value)
    return stored(value, kind, op)


def _overflow(value: Number, kind: DType, op: str) -> RuntimeError:
    return RuntimeError(
        f"{op}: value cannot be converted to type {kind.name} without overflow; got {value}"
    )


def element(value: Number, kind: DType, op: str) -> Number:
    """:func:`stored` for data: what is no int64 is refused, floats round to infinity.

    Raises:
        ValueError: an int that int64 does not hold.
        RuntimeError: ``kind`` cannot hold ``value``.
    """
    if kind is bool_:
        return bool(value)
    if kind.is_complex:
        return _rounded_parts(value, kind)
    if isinstance(value, complex):
        raise RuntimeError(
            f"{op}: value cannot be converted to type {kind.name} without overflow; got {value}"
        )
    if kind.is_floating_point:
        return _rounded(float(value), kind)
    long_int(value, op)
    return stored(value, kind, op)


def long_int(value: Number, op: str) -> Number:
    """``value``, or ValueError for an int that int64 does not hold."""
    if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f"{op}: Overflow when unpacking long long; got {value}")
    return value
