"""Derivatives that a formula's author wrote, kept for :mod:`derive` to find.

Apart from it, because every formula table declares some and few processes derive any.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilegrad.kernels.forking import DATA, fork_lock
from tilegrad.kernels.function import DeviceFunction, Intrinsic

rows: dict[Any, dict[str, DeviceFunction | int]] = {}
on_change: list[Callable[[], None]] = []  # called after each declaration
lock = fork_lock(DATA)


def parameters(function: Any) -> list[str]:
    """Names of the arguments of a device function or an intrinsic."""
    if isinstance(function, Intrinsic):
        return _arguments(function.cpu)[1:]
    return _arguments(function.function) if isinstance(function, DeviceFunction) else []


def _arguments(function: Callable[..., Any]) -> list[str]:
    code = function.__code__
    return list(code.co_varnames[: code.co_argcount])


def declare(function: DeviceFunction | Intrinsic, **grads: DeviceFunction | int) -> None:
    """Say what the derivatives of ``function`` are, instead of deriving them from its source.

    Args:
        function: a formula or intrinsic.
        grads: per parameter a formula whose own parameters name what it reads: parameters of
            ``function``, or ``out`` for its result; or a constant -1, 0 or 1. One that reads ``g``,
            the gradient that comes in, is g times the derivative.
    """
    names = parameters(function)
    for parameter, grad in grads.items():
        if parameter not in names:
            raise TypeError(
                f"declare: {function.__name__} has parameters {names}; got {parameter!r}"
            )
        if isinstance(grad, int):
            if grad not in (-1, 0, 1):
                raise TypeError(f"declare: a constant derivative is -1, 0 or 1; got {grad}")
            continue
        unknown = set(parameters(grad)) - {*names, "out", "g"}
        if unknown:
            raise TypeError(
                f"declare: {grad.__name__} may read {[*names, 'out', 'g']}; got {sorted(unknown)}"
            )
    with lock:
        rows[function] = {**rows.get(function, {}), **grads}
        for forget in on_change:
            forget()


def declared(function: Any) -> dict[str, DeviceFunction | int] | None:
    """The declared derivatives of a function, by parameter."""
    try:
        return rows.get(function)
    except TypeError:  # not hashable
        return None
