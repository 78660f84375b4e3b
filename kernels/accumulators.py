"""The accumulators of a reduction as one value: a number where there is one, a tuple where there are
several.

Kernels are written once for either. What depends on how many accumulators, operands, results and
scalars a reduction has are small device functions, made here from source; so is a kernel's body, which
takes addresses and scalars one by one and hands each group of them on as one value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any

import numpy as np

from tilegrad.kernels.function import DeviceFunction, function_from_source


def packed(items: Sequence[str]) -> str:
    """The source of these values as one: itself where there is one, 0 where there is none."""
    return "0" if not items else items[0] if len(items) == 1 else f"({', '.join(items)})"


def item(name: str, place: int, count: int) -> str:
    """The source of one of the ``count`` values that ``name`` stands for."""
    return name if count == 1 else f"{name}[{place}]"


def items(name: str, count: int) -> list[str]:
    """The sources of all of them."""
    return [item(name, place, count) for place in range(count)]


def function(
    name: str, parameters: str, value: str, scope: dict[str, Any], statements: Sequence[str] = ()
) -> DeviceFunction:
    """The device function ``name`` of these parameters, which returns ``value``."""
    lines = [f"def {name}({parameters}):", *statements, f"return {value}"]
    source = "\n    ".join(lines) + "\n"
    return DeviceFunction(function_from_source(source, name, scope, __name__), source)


def casting(width: int, dtype: str) -> Any:
    """``cast(a)``: accumulators in another dtype."""
    kind = np.dtype(dtype).type
    if width == 1:
        return kind
    return function("cast", "a", packed([f"A({a})" for a in items("a", width)]), {"A": kind})


def reading(width: int, read: Any = None) -> DeviceFunction:
    """``get(p, j, apart)``: number ``j`` of the accumulators in memory, each kind ``apart`` elements
    after the one before; ``read(p, index)`` loads an element.
    """
    indices = ["j", *(f"j + {k} * apart" for k in range(1, width))]
    values = [f"read(p, {i})" if read else f"p[{i}]" for i in indices]
    return function("get", "p, j, apart", packed(values), {"read": read} if read else {})


def writing(width: int, write: Any = None) -> DeviceFunction:
    """``put(p, j, apart, a)``: what :func:`reading` reads; ``write(p, index, value)`` stores an element."""
    lines = []
    for k, value in enumerate(items("a", width)):
        place = f"j + {k} * apart" if k else "j"
        lines.append(f"write(p, {place}, {value})" if write else f"p[{place}] = {value}")
    return function("put", "p, j, apart, a", "None", {"write": write} if write else {}, lines)


def pointing(count: int, pointer: Any) -> Any:
    """``pointers(a, T)``: typed pointers of ``count`` addresses."""
    if count == 1:
        return pointer
    values = [f"pointer({a}, T)" for a in items("a", count)]
    return function("pointers", "a, T", packed(values), {"pointer": pointer})


def storing(count: int, write: Any = None) -> Any:
    """``store(outs, j, v)``: result number ``j``, of ``count`` kinds that have an array each."""
    if count == 1 and write:
        return write
    lines = []
    for out, value in zip(items("outs", count), items("v", count), strict=True):
        lines.append(f"write({out}, j, {value})" if write else f"{out}[j] = {value}")
    return function("store", "outs, j, v", "None", {"write": write} if write else {}, lines)


def body_of(
    kernel: DeviceFunction, groups: Sequence[int], tail: int | None = None
) -> Callable[..., None]:
    """A kernel's body over numbers, ``groups`` of which ``kernel`` gets as one value each, and after
    them a tuple of ``tail`` numbers, if it has one.
    """
    names = [[f"a{g}_{k}" for k in range(count)] for g, count in enumerate(groups)]
    values = [packed(group) for group in names]
    if tail is not None:
        last = [f"n{k}" for k in range(tail)]
        names.append(last)
        values.append(f"({', '.join(last)},)" if last else "(0,)")
    parameters = ", ".join(n for group in names for n in group)
    title = f"{kernel.__name__}_body"
    source = f"def {title}({parameters}):\n    kernel({', '.join(values)})\n"
    body = function_from_source(source, title, {"kernel": kernel}, kernel.__module__)
    body.groups = tuple(groups)  # type: ignore[attr-defined]
    return body


@lru_cache(maxsize=None)
def in_parts(
    operands: int, results: int, params: int, parts: int
) -> Callable[..., Callable[..., None]]:
    """``join(first, last)``: the launch ``(*operands, *outs, scratch, *params)`` of two stages, where
    ``first``, which gets the scratch memory ``parts`` times, leaves totals in it for ``last``.
    """
    xs, outs = [f"x{k}" for k in range(operands)], [f"y{k}" for k in range(results)]
    ps = [f"p{k}" for k in range(params)]
    source = (
        f"def join(first, last):\n"
        f"    def launch({', '.join([*xs, *outs, 'scratch', *ps])}):\n"
        f"        first({', '.join([*xs, *['scratch'] * parts, *ps])})\n"
        f"        last({', '.join(['scratch', *outs, *ps])})\n"
        f"    return launch\n"
    )
    made: Callable[..., Callable[..., None]] = function_from_source(source, "join", {}, __name__)
    return made
