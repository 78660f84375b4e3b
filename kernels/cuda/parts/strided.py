"""Strided blocks: from a linear index to an offset, with divisions prepared on the host.

A kernel takes the sizes and strides of a block as plain parameters after its others. ``index_params``
lays them out on the host, `unpack_params` hands them to the kernel's function as one tuple, and
:func:`offset_of` is the device function that reads them there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache

from tilegrad.kernels.cuda.device.ptx import multiply_wide
from tilegrad.kernels.function import DeviceFunction, function_from_source, inline
from tilegrad.kernels.source import device_function

NARROW = 1 << 31  # indices below this are divided by multiplying
PER_AXIS = 4  # size, multiplier, shift, stride


def magic(divisor: int) -> tuple[int, int]:
    """(multiplier, shift) with ``n // divisor == (n * multiplier) >> shift`` for 0 <= n < 2^31.

    Source: Granlund and Montgomery, Division by Invariant Integers using Multiplication (1994).
    """
    shift = 31 + max(divisor - 1, 0).bit_length()
    return -(-(1 << shift) // max(divisor, 1)), shift


def index_params(sizes: Sequence[int], *strides: Sequence[int]) -> list[int]:
    """A block's parameters, innermost dimension first: of one operand, or of several together."""
    flat: list[int] = []
    for axis in range(len(sizes) - 1, -1, -1):
        flat += [sizes[axis], *magic(sizes[axis]), *(steps[axis] for steps in strides)]
    return flat


def is_wide(count: int, *blocks: tuple[Sequence[int], Sequence[int]]) -> bool:
    """Whether ``count`` elements, or an offset in a block of (sizes, strides), need 64 bits."""
    extents = [sum((n - 1) * abs(s) for n, s in zip(*block)) for block in blocks]
    return max([count, *extents]) >= NARROW


@lru_cache(maxsize=None)
def offset_of(dims: int, first: int = 0, wide: bool = False) -> DeviceFunction:
    """The device function ``offset(index, t)``: the offset, in elements, of a block's
    element ``index`` in row-major order.

    ``first``: where the block's parameters begin in ``t``.
    """
    lines, terms, rest = [], [], "index"
    for axis in range(dims):
        size, multiplier, shift, stride = (f"t[{first + PER_AXIS * axis + k}]" for k in range(4))
        if axis == dims - 1:
            terms.append(f"{rest} * {stride}")
        else:
            above = f"r{axis}"
            divide = (
                f"{rest} // {size}" if wide else f"multiply_wide({rest}, {multiplier}) >> {shift}"
            )
            lines.append(f"    {above} = {divide}")
            terms.append(f"({rest} - {above} * {size}) * {stride}")
            rest = above
    lines = ["def offset(index, t):", *lines, f"    return {' + '.join(terms) or '0'}"]
    return device_function("offset", lines, {"multiply_wide": multiply_wide}, __name__)


@lru_cache(maxsize=None)
def offsets_of(dims: int, count: int, first: int = 0, wide: bool = False) -> DeviceFunction:
    """:func:`offset_of` for ``count`` operands that are walked together: a tuple of offsets."""
    per_axis = 3 + count
    lines, rest = [], "index"
    terms: list[list[str]] = [[] for _ in range(count)]
    for axis in range(dims):
        at = first + per_axis * axis
        here = rest
        if axis < dims - 1:
            above = f"r{axis}"
            divide = f"{rest} // t[{at}]" if wide else f"({rest} * t[{at + 1}]) >> t[{at + 2}]"
            here = f"i{axis}"
            lines += [f"    {above} = {divide}", f"    {here} = {rest} - {above} * t[{at}]"]
            rest = above
        for k in range(count):
            terms[k].append(f"{here} * t[{at + 3 + k}]")
    made = ", ".join(" + ".join(sums) or "0" for sums in terms)
    lines = ["def offsets(index, t):", *lines, f"    return ({made},)"]
    return device_function("offsets", lines, {}, __name__)


@lru_cache(maxsize=None)
def division(wide: bool) -> DeviceFunction:
    """The device function ``divide(n, divisor, multiplier, shift)`` for n >= 0, with the numbers of
    :func:`magic`; below 2^31 it multiplies.
    """

    @inline
    def divide(n, divisor, multiplier, shift):
        return n // divisor if wide else multiply_wide(n, multiplier) >> shift

    return divide


def unpack_params(function: DeviceFunction, fixed: int, count: int) -> Callable[..., None]:
    """A kernel body: ``function(a0, …, (n0, …, n<count - 1>))`` with ``fixed`` first arguments."""
    first = [f"a{k}" for k in range(fixed)]
    rest = [f"n{k}" for k in range(count)]
    packed = f"({', '.join(rest)}{',' if count == 1 else ''})" if rest else "(0,)"
    name = function.__name__
    source = (
        f"def {name}_body({', '.join(first + rest)}):\n    kernel({', '.join([*first, packed])})\n"
    )
    return function_from_source(source, f"{name}_body", {"kernel": function}, function.__module__)
