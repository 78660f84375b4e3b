"""The calls that every op is made of, bound once, when the first array is made.

They are machine code (:mod:`tilegrad.engine.native`), or plain Python where the interpreter's objects
are not those that machine code knows (:mod:`tilegrad.engine.plain`). Callers go by way of this module:
``calls.run(op, x)``. What answers None cannot be done so: no plan yet, an empty pool, an active mode.

- ``new(layout, storage, address)``: a tensor over ``storage``, from ``address`` on;
- ``fresh(plan)``: one with new memory for the output of a plan, or None;
- ``run(op, *arrays, *values)``: the result of an op without params, its metadata as ``op.names`` has
  them, or None;
- ``run_at(op, key, params, *arrays)``: the result by the plan of ``key``, or None;
- ``show(op, array, *values)``: the result of a view op that was asked for before, or None;
- ``exact(*values)``: True, or None where what is kept for their equals must not serve them: a tensor is among
  them or in a tuple, whose value may change, or a tuple holds a bool or a float, which equal ints;
- ``all_equal(array, value)``: whether each element of an int64 array on the CPU, one without gaps, is
  ``value``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilegrad.kernels.forking import compiler

Call = Callable[..., Any]

NAMES = ("new", "fresh", "run", "run_at", "show", "exact", "all_equal")

_make: Callable[[], dict[str, Call]] = dict
_bound = False


def bind_to(make: Callable[[], dict[str, Call]]) -> None:
    """``make()`` gives the calls by name: what a tensor is, only the layer above knows."""
    global _make
    _make = make


def _bind() -> None:
    global new, fresh, run, run_at, show, exact, all_equal, _bound
    with compiler:
        if not _bound:
            new, fresh, run, run_at, show, exact, all_equal = map(_make().__getitem__, NAMES)
            _bound = True


def _unbound(name: str) -> Call:
    """The call ``name`` before there is an array: it binds all of them."""

    def call(*args: Any) -> Any:
        _bind()
        return globals()[name](*args)

    return call


new, fresh, run, run_at, show, exact, all_equal = map(_unbound, NAMES)
