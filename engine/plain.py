"""The calls of :mod:`tilegrad.engine.calls` and storages, in plain Python.

For interpreters whose objects machine code does not know; see :mod:`tilegrad.engine.interpreter`. What
is there only to be fast answers None: its callers then go the long way.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from tilegrad.engine import inference


class Storage:
    """A block of memory; see :class:`tilegrad.engine.memory.Storage`."""

    __slots__ = ("address", "base", "nbytes", "pool", "version")

    def __init__(self, address: int, nbytes: int, pool: Any, base: object = None):
        self.address = address
        self.nbytes = nbytes
        self.pool = pool
        self.base = base
        here = inference.here.value
        inside = here and (
            inference.question()
            if here == inference.SEVERAL
            else here == threading.get_ident()
        )  # fmt: skip
        self.version = inference.MARK if inside else 0

    def __del__(self) -> None:
        pool = self.pool
        if pool is not None:
            pool.counts.cells[0] -= pool.size
            pool.append(self.address)


def _none(*_: object) -> None:
    """The long way, always."""


def _exact(base: type, *values: object) -> bool | None:
    for value in values:
        if isinstance(value, base):
            return None
        if value.__class__ is tuple:
            for item in value:
                if item.__class__ is float or item.__class__ is bool or isinstance(item, base):
                    return None
    return True


def calls(tensor: type, base: type, first: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """Plain functions for :mod:`tilegrad.engine.calls`.

    Args:
        tensor: the class of what ops make; base: of what they take.
        first: what its slots beside layout, storage and address hold at first.
    """
    make, slots = object.__new__, tuple(first.items())

    def new(layout: Any, storage: Any, address: int) -> Any:
        made: Any = make(tensor)
        made.layout = layout
        made.storage = storage
        made.address = address
        for name, value in slots:
            setattr(made, name, value)
        return made

    def all_equal(array: Any, value: int) -> bool:
        kind = array.layout
        words = (ctypes.c_int64 * kind.numel).from_address(array.address)
        return all(word == value for word in words)

    return {
        "new": new, "fresh": _none, "run": _none, "run_at": _none, "show": _none, "exact": partial(_exact, base),
        "all_equal": all_equal,
    }  # fmt: skip
