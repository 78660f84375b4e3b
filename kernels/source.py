"""Functions written as source text, where their parameters or unrolled steps depend on a plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from tilegrad.kernels.function import DeviceFunction, function_from_source


def indented(lines: Iterable[str], by: int) -> str:
    """Lines of source text, ``by`` spaces in."""
    return "\n".join(" " * by + line for line in lines)


def listed(names: Iterable[str]) -> str:
    """``a, b, ``: parameters before others, or the left side of an unpacking of any length."""
    return "".join(f"{name}, " for name in names)


def tuple_of(values: Sequence[str]) -> str:
    """A tuple, in pieces: Python makes a list of one that is long, which numba does not take."""
    pieces = [values[k : k + 16] for k in range(0, len(values), 16)]
    return " + ".join(f"({', '.join(piece)},)" for piece in pieces)


def define(
    name: str, lines: Sequence[str], scope: dict[str, Any], module: str
) -> Callable[..., Any]:
    """The function ``name`` of these lines over ``scope``, as one of ``module``."""
    return function_from_source("\n".join([*lines, ""]), name, scope, module)


def device_function(
    name: str, lines: Sequence[str], scope: dict[str, Any], module: str
) -> DeviceFunction:
    """:func:`define` for a function that kernels call; its text is its key."""
    return DeviceFunction(define(name, lines, scope, module), "\n".join([*lines, ""]))
