"""Tests of tensors: ``assert_close`` with PyTorch's tolerances and words, ``make_tensor``."""

from __future__ import annotations

import cmath
import math
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.comparison import isclose
from tilegrad.autograd.rules.creation import as_tensor, empty
from tilegrad.autograd.rules.random import randint
from tilegrad.autograd.trees import Nested
from tilegrad.engine import dtype as dt

TOLERANCES = {"float32": (1.3e-6, 1e-5), "float64": (1e-7, 1e-7)}  # relative, absolute; others: 0
_NUMBERS = {int: "int64", float: "float64", complex: "float64"}

Compared: TypeAlias = Nested  # of tensors, arrays and numbers
Message = str | Callable[[str], str] | None


@dataclass(frozen=True)
class _How:
    """The options of a comparison."""

    allow_subclasses: bool
    rtol: float | None
    atol: float | None
    equal_nan: bool
    check_device: bool
    check_dtype: bool
    check_stride: bool

    def tolerances(self, *dtypes: str) -> tuple[float, float]:
        """Relative and absolute: those given, or the loosest of the dtypes'.

        Raises:
            ValueError: one of the two is given alone.
        """
        if self.rtol is not None and self.atol is not None:
            return self.rtol, self.atol
        if (self.rtol is None) != (self.atol is None):
            absent = "rtol" if self.rtol is None else "atol"
            raise ValueError(
                f"Both 'rtol' and 'atol' must be either specified or omitted, but got no {absent}."
            )
        found = [TOLERANCES.get(name, (0.0, 0.0)) for name in dtypes]
        return max(r for r, _ in found), max(a for _, a in found)


def assert_close(
    actual: Compared,
    expected: Compared,
    *,
    allow_subclasses: bool = True,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = False,
    check_device: bool = True,
    check_dtype: bool = True,
    check_layout: bool = True,
    check_stride: bool = False,
    msg: Message = None,
) -> None:
    """Fail unless ``actual`` is ``expected``, up to ``atol + rtol * |expected|``: tensors, arrays, numbers, and
    nested sequences and mappings of them.

    Args:
        allow_subclasses: a tensor of a subclass counts as the tensor.
        rtol, atol: both or none; by default 1.3e-6 and 1e-5 of float32, 1e-7 of float64, 0 of others.
        equal_nan: NaNs equal NaNs. check_layout: all are strided.
        check_device, check_dtype, check_stride: these must be equal, too.
        msg: instead of the message, or a function of it.

    Raises:
        AssertionError: they differ.
        TypeError: of types that are not compared. ValueError: one tolerance alone.
    """
    __tracebackhide__ = True
    how = _How(allow_subclasses, rtol, atol, equal_nan, check_device, check_dtype, check_stride)
    error = None
    for item, left, right in list(_pairs(actual, expected, ())):
        try:
            problem = right if left is _Length else _problem(left, right, how)
        except (TypeError, ValueError) as refused:
            raise type(refused)(_at(str(refused), item)) from None
        if problem is not None and error is None:
            error = _at(problem, item)
    if error is not None:
        raise AssertionError(msg if isinstance(msg, str) else msg(error) if msg else error)


def assert_allclose(
    actual: Compared,
    expected: Compared,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str = "",
) -> None:
    """:func:`assert_close` by its older name: what is no tensor becomes one, dtypes may differ."""
    warnings.warn(
        "`torch.testing.assert_allclose()` is deprecated since 1.12 and will be removed in a future "
        "release. Please use `torch.testing.assert_close()` instead.",
        FutureWarning,
        stacklevel=2,
    )
    given = [x if isinstance(x, TensorBase) else as_tensor(x) for x in (actual, expected)]
    kinds = [TOLERANCES.get(x.dtype.name, (0.0, 0.0)) for x in given]
    if rtol is None and atol is None:
        rtol, atol = max(k[0] for k in kinds), max(k[1] for k in kinds)
    assert_close(
        *given, rtol=rtol, atol=atol, equal_nan=equal_nan, check_device=True, check_dtype=False,
        check_stride=False, msg=msg or None,
    )  # fmt: skip


class _Length:
    """Stands for a pair whose forms differ."""


def _pairs(
    actual: Compared, expected: Compared, item: tuple[Compared, ...]
) -> Iterator[tuple[Compared, Compared, Compared]]:
    """(where, one value, the other) of all that is compared; :class:`_Length` and what is wrong where the forms
    differ, which ends it.
    """
    both = (actual, expected)
    if all(isinstance(v, Sequence) and not isinstance(v, str) for v in both):
        if len(actual) != len(expected):
            yield (
                item,
                _Length,
                f"The length of the sequences mismatch: {len(actual)} != {len(expected)}",
            )
            return
        for place, (a, b) in enumerate(zip(actual, expected, strict=True)):
            yield from _pairs(a, b, (*item, place))
    elif all(isinstance(v, Mapping) for v in both):
        missing, more = set(expected) - set(actual), set(actual) - set(expected)
        if missing or more:
            yield (
                item,
                _Length,
                (
                    f"The keys of the mappings do not match:\nMissing keys in the actual mapping: "
                    f"{sorted(missing)}\nAdditional keys in the actual mapping: {sorted(more)}"
                ),
            )
            return
        for key in _in_order(actual):
            yield from _pairs(actual[key], expected[key], (*item, key))
    else:
        yield item, actual, expected


def _in_order(mapping: Mapping[Compared, Compared]) -> list[Compared]:
    try:
        return sorted(mapping)
    except TypeError:
        return list(mapping)


def _at(text: str, item: tuple[Compared, ...]) -> str:
    """``text``, and where it happened."""
    if not item:
        return text
    return f"{text}\n\nThe failure occurred for item {''.join(str([part]) for part in item)}"


def _problem(actual: Compared, expected: Compared, how: _How) -> str | None:
    """What is wrong with one pair, if anything.

    Raises:
        TypeError: of types that are not compared.
    """
    both = (actual, expected)
    if actual is None or expected is None:
        same = actual is expected
        return None if same else f"None mismatch: {actual} is not {expected}"
    if all(isinstance(v, bool | np.bool_) for v in both):
        one, other = bool(actual), bool(expected)
        return None if one is other else f"Booleans mismatch: {one} is not {other}"
    if all(isinstance(v, int | float | complex | np.number) for v in both):
        numbers = [v.item() if isinstance(v, np.number) else v for v in both]
        return _number_problem(numbers[0], numbers[1], how)
    related = isinstance(actual, type(expected)) or isinstance(expected, type(actual))
    strict = not how.allow_subclasses and type(actual) is not type(expected)
    if related and not strict:
        try:
            given = [v if isinstance(v, TensorBase) else as_tensor(v) for v in both]
        except (TypeError, ValueError, RuntimeError):
            given = []
        if given:
            with no_grad():
                return _tensor_problem(given[0], given[1], how)
    raise TypeError(
        f"No comparison pair was able to handle inputs of type {type(actual)} and {type(expected)}."
    )


def _number_problem(actual: Compared, expected: Compared, how: _How) -> str | None:
    rtol, atol = how.tolerances(*[_NUMBERS[type(v)] for v in (actual, expected)])
    if how.check_dtype and type(actual) is not type(expected):
        return f"The (d)types do not match: {type(actual)} != {type(expected)}."
    if actual == expected or (how.equal_nan and cmath.isnan(actual) and cmath.isnan(expected)):
        return None
    gap = abs(actual - expected)
    if cmath.isfinite(gap) and gap <= atol + rtol * abs(expected):
        return None
    return _number_text(actual, expected, rtol, atol)


def _number_text(actual: Compared, expected: Compared, rtol: float, atol: float) -> str:
    gap = abs(actual - expected)
    relative = math.inf if expected == 0 else gap / abs(expected)
    head = f"Expected {expected} but got {actual}."
    return _text("Scalars", head, (gap, None, atol), (relative, None, rtol))


def _text(
    what: str,
    head: str,
    absolute: tuple[Compared, Compared, float],
    relative: tuple[Compared, Compared, float],
) -> str:
    """PyTorch's message; of each difference its size, where it is, and what is allowed."""
    exact = absolute[2] == 0 and relative[2] == 0
    lines = [f"{what} are not {'equal' if exact else 'close'}!\n", head]
    for name, (size, place, allowed) in (("absolute", absolute), ("relative", relative)):
        where = "" if place is None else f" at index {place}"
        label = f"{name.title()} difference" if place is None else f"Greatest {name} difference"
        lines.append(f"{label}: {size}{where}" + ("" if exact else f" (up to {allowed} allowed)"))
    return "\n".join(lines)


def _tensor_problem(actual: Compared, expected: Compared, how: _How) -> str | None:
    rtol, atol = how.tolerances(actual.dtype.name, expected.dtype.name)
    checked = (
        ("shape", actual.shape, expected.shape, True),
        ("stride()", actual.stride(), expected.stride(), how.check_stride),
        ("device", actual.device, expected.device, how.check_device),
        ("dtype", actual.dtype, expected.dtype, how.check_dtype),
    )
    for name, have, want, wanted in checked:
        if wanted and have != want:
            return f"The values for attribute '{name}' do not match: {have} != {want}."
    if "meta" in (actual.device.type, expected.device.type):
        return None
    if actual.device != expected.device:
        actual, expected = actual.cpu(), expected.cpu()
    if actual.dtype is not expected.dtype:
        kind = dt.promote_types(actual.dtype, expected.dtype)
        actual, expected = actual.to(kind), expected.to(kind)
    fits = isclose(actual, expected, rtol=rtol, atol=atol, equal_nan=how.equal_nan)
    if bool(fits.all()):
        return None
    if actual.ndim == 0:
        return _number_text(actual.item(), expected.item(), rtol, atol)
    return _elements_text(actual, expected, fits, rtol, atol)


def _elements_text(
    actual: Compared, expected: Compared, fits: Compared, rtol: float, atol: float
) -> str:
    count, wrong = fits.numel(), fits.numel() - int(fits.sum())
    head = f"Mismatched elements: {wrong} / {count} ({wrong / count:.1%})"
    if not actual.dtype.is_floating_point:
        actual, expected = actual.long(), expected.long()
    gaps = (actual - expected).abs().flatten().masked_fill(fits.flatten(), 0)
    shares = (gaps / expected.abs().flatten()).masked_fill(fits.flatten(), 0)

    def largest(x: Compared, allowed: float) -> tuple[Compared, Compared, float]:
        value, place = x.max(0)
        where = np.unravel_index(int(place), tuple(fits.shape))
        return value.item(), tuple([int(i) for i in where]), allowed

    return _text("Tensor-likes", head, largest(gaps, atol), largest(shares, rtol))


# ----------------------------------------------------------------------------------------- samples


def make_tensor(
    *shape: Compared,
    dtype: Compared,
    device: Compared,
    low: float | None = None,
    high: float | None = None,
    requires_grad: bool = False,
    noncontiguous: bool = False,
    exclude_zero: bool = False,
    memory_format: Compared = None,
) -> Compared:
    """A tensor of random numbers in [low, high): by default [-9, 10) of integers, [0, 2) of bools, [-9, 9) of
    floats; bounds are cut to what the dtype has.

    Args:
        shape: sizes, or one sequence of them.
        noncontiguous: every second element of a larger tensor's rows; not with ``memory_format``.
        exclude_zero: 1, or the smallest normal number, in place of 0.

    Raises:
        ValueError: bounds that are NaN, in the wrong order or beyond the dtype; options that exclude each other.
    """
    kind = dt.dtype(dtype)
    sizes = tuple(shape[0]) if len(shape) == 1 and isinstance(shape[0], Sequence) else tuple(shape)
    if noncontiguous and memory_format is not None:
        raise ValueError(
            f"The parameters `noncontiguous` and `memory_format` are mutually exclusive, but got "
            f"{noncontiguous=} and {memory_format=}"
        )
    if requires_grad and not kind.is_floating_point:
        raise ValueError(
            f"`requires_grad=True` is not supported for boolean and integral dtypes, but got {dtype=}"
        )
    spaced = noncontiguous and math.prod(sizes) > 1
    whole = (*sizes[:-1], 2 * sizes[-1]) if spaced else sizes
    first, end = _bounds(kind, low, high)
    if kind.is_floating_point:
        made = empty(whole, dtype=kind, device=device).uniform_(first, end)
    else:
        made = randint(math.ceil(first), math.ceil(end), whole, dtype=kind, device=device)
    if spaced:
        made = made[..., 1::2]
    elif memory_format is not None:
        made = made.contiguous(memory_format=memory_format)
    if exclude_zero:
        made[made == 0] = dt.finfo(kind).tiny if kind.is_floating_point else 1
    return made.requires_grad_() if requires_grad else made


def _bounds(kind: dt.DType, low: float | None, high: float | None) -> tuple[float, float]:
    """What numbers are drawn from."""
    if kind is dt.bool_:
        least, most, usual = 0.0, 2.0, (0.0, 2.0)
    elif kind.is_floating_point:
        least, most, usual = dt.finfo(kind).min, dt.finfo(kind).max, (-9.0, 9.0)
    else:
        info = dt.iinfo(kind)
        least, most, usual = info.min, info.max + (kind is not dt.int64), (-9, 10)
    first, end = usual[0] if low is None else low, usual[1] if high is None else high
    if math.isnan(first) or math.isnan(end):
        raise ValueError(f"`low` and `high` cannot be NaN, but got low={first!r} and high={end!r}")
    if first == end and kind.is_floating_point:
        warnings.warn(
            "Passing `low==high` to `torch.testing.make_tensor` for floating or complex types is "
            "deprecated since 2.1 and will be removed in 2.3. Use `torch.full(...)` instead.",
            FutureWarning,
            stacklevel=3,
        )
    elif first >= end:
        raise ValueError(f"`low` must be less than `high`, but got {first} >= {end}")
    elif end < least or first >= most:
        raise ValueError(
            f"The value interval specified by `low` and `high` is [{first}, {end}), but {kind} only "
            f"supports [{least}, {most})"
        )
    return min(max(first, least), most), min(max(end, least), most)
