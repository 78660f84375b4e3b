"""Parameters of kernels: a letter each, or named structures of them, for both devices.

A kernel's body takes addresses, sizes and scalars. Where they are more than a few, they come as
NamedTuples whose fields are int64 (``int``: sizes, addresses) or float64 (``float``)::

    class Rows(NamedTuple):
        rows: int
        n: int  # elements of a row

    def body(task, x, out, p):  # reads p.rows, p.n
        ...

    return body, ("ii", Rows)

The machine code takes the fields one by one, in order, as if each had its letter: a structure costs
nothing. The host fills it by name and hands it on as ``bind(function, *Rows(rows=…, n=…), …)``.
"""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

# letters, and structures among them: what a body takes, in order
Signature = str | tuple[Any, ...]

_LETTERS = {int: "i", float: "d"}


def letters(signature: Signature) -> str:
    """A letter per argument of the machine code: ``i`` int64, ``d`` float64."""
    parts = (signature,) if isinstance(signature, str) else signature
    return "".join(p if isinstance(p, str) else _fields(p) for p in parts)


@cache
def _fields(structure: Any) -> str:
    hints = typing.get_type_hints(structure)
    for name in structure._fields:
        if hints[name] not in _LETTERS:
            raise TypeError(
                f"{structure.__name__}.{name}: int or float expected; got {hints[name]}"
            )
    return "".join(_LETTERS[hints[name]] for name in structure._fields)


def kinds(
    signature: Signature, scalars: dict[str, Any], named: Callable[[list[Any], type[Any]], Any]
) -> list[Any]:
    """A compiler's type of each parameter of the body: ``scalars`` has its type of a letter,
    ``named(types, structure)`` makes that of a structure.
    """
    parts = (signature,) if isinstance(signature, str) else signature
    found: list[Any] = []
    for part in parts:
        if isinstance(part, str):
            found += [scalars[letter] for letter in part]
        else:
            found.append(named([scalars[letter] for letter in _fields(part)], part))
    return found


def grouped(signature: Signature, values: Sequence[Any]) -> tuple[Any, ...]:
    """The body's parameters, in Python, for the arguments of the machine code."""
    if isinstance(signature, str):
        return tuple(values)
    found: list[Any] = []
    at = 0
    for part in signature:
        count = len(letters((part,)))
        some = values[at : at + count]
        found += some if isinstance(part, str) else [part._make(some)]
        at += count
    return tuple(found)


def places(structure: type[Any]) -> Any:
    """Where the fields of a structure are that is kept as an array: a ``structure`` of 0, 1, 2, …"""
    return structure._make(range(len(structure._fields)))
