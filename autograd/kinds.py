"""Flags and integers as what they are, from a function's first instruction on.

:func:`exact` puts a few instructions at the start of functions: an argument that is annotated as a
``bool`` or an ``int`` (``| None``) is compared with its default (and a flag with its opposite), or its
class with ``int``. Whatever else it is goes to :class:`_Flag` or :class:`_Whole`, which gives the bool or
the int that it stands for (NumPy's, a tensor of one integer) or refuses it. So no plan is ever kept
under a float that equals an int, and ``x.sum(0, 1)`` is no ``keepdim``.
"""

from __future__ import annotations

import builtins
import re
import sys
from collections.abc import Iterable
from types import CodeType, FunctionType

import numpy as np

from tilegrad.autograd.arguments import MISSING, VERSIONS, assemble
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.names import begun
from tilegrad.engine.dtype import bool_

_COUNTED = re.compile("dim|axis|index")
_TRUTHS = ("inplace", "return_indices")  # PyTorch's are Python's: whatever counts as true
_EARLIER = sys.version_info < (3, 12)


class _Argument:
    """An argument of ``function`` that is not plainly what it should be."""

    __slots__ = ("function", "name", "position")

    def __init__(self, function: str, name: str, position: int):
        self.function, self.name, self.position = function, name, position

    def refused(self, wanted: str, value: object) -> TypeError:
        return TypeError(
            f"{self.function}(): argument '{self.name}' (position {self.position}) must be "
            f"{wanted}, not {type(value).__name__}"
        )


class _Flag(_Argument):
    __slots__ = ()

    def __call__(self, value: object) -> object:
        if value is MISSING:
            return value
        if isinstance(value, (builtins.bool, np.bool_)):
            return builtins.bool(value)
        raise self.refused("bool", value)


class _Whole(_Argument):
    __slots__ = ()

    def __call__(self, value: object) -> object:
        if value is MISSING:
            return value
        if isinstance(value, (builtins.bool, np.ndarray)) or not hasattr(value, "__index__"):
            raise self.refused("int", value)
        if isinstance(value, TensorBase):
            kind = value.layout
            if kind.numel != 1 or kind.dtype.has_gradient or kind.dtype is bool_:
                raise self.refused("int", value)
            return int(value.__index__())  # what a device says of a failed read is no wrong kind
        try:
            return int(value.__index__())
        except (TypeError, ValueError):
            raise self.refused("int", value) from None


_done: set[FunctionType] = set()


def exact(functions: Iterable[object]) -> None:
    """Let the functions among these see their flags and integers as such."""
    if sys.version_info[:2] not in VERSIONS or sys.implementation.name != "cpython":
        return
    for function in functions:
        if not isinstance(function, FunctionType) or function in _done:
            continue
        if hasattr(function, "__signature__"):
            continue
        code = function.__code__
        names = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
        kinds = [str(function.__annotations__.get(n)) for n in names]
        wanted = [(n, k) for n, k in zip(names, kinds, strict=True) if _checked_here(n, k)]
        if wanted:
            _done.add(function)
            function.__code__ = _with_checks(function, wanted)


def _checked_here(name: str, kind: str) -> bool:
    """Dimensions and indices are looked at where they are counted (``normalize_dim``), which costs views
    less.
    """
    if kind not in _KINDS:
        return False
    if kind.startswith("bool"):
        return name not in _TRUTHS
    return not _COUNTED.search(name)


def _default(function: FunctionType, name: str) -> object:
    code = function.__code__
    if name in (function.__kwdefaults__ or {}):
        return (function.__kwdefaults__ or {})[name]
    given = function.__defaults__ or ()
    named = code.co_varnames[code.co_argcount - len(given) : code.co_argcount]
    return dict(zip(named, given, strict=True)).get(name, MISSING)


def _with_checks(function: FunctionType, wanted: list[tuple[str, str]]) -> CodeType:
    code = function.__code__
    constants: list[object] = []

    def constant(value: object) -> int:
        constants.append(value)
        return len(code.co_consts) + len(constants) - 1

    words = []
    for name, kind in wanted:
        place = code.co_varnames.index(name)
        way = "DEREF" if name in code.co_cellvars else "FAST"  # a cell is in its argument's place
        load, store = (f"LOAD_{way}", place), (f"STORE_{way}", place)
        check = _KINDS[kind](function.__name__, name, place + 1)
        call = assemble(*_called(constant(check), load), store)
        default = _default(function, name)
        known = [default] if default is not MISSING else []
        if kind.startswith("bool"):
            known += [v for v in (False, True) if v is not default]
        if kind.endswith("None") and default is not None:
            known.append(None)
        if kind.startswith("int"):
            test = assemble(
                *_called(constant(type), load), ("LOAD_CONST", constant(int)), ("IS_OP", 0)
            )
            call = test + _jump(len(call) // 2) + call
        for value in reversed(known):
            test = assemble(load, ("LOAD_CONST", constant(value)), ("IS_OP", 0))
            call = test + _jump(len(call) // 2) + call
        words.append(call)
    return begun(code, b"".join(words), list(code.co_varnames), constants)


def _called(function: int, argument: tuple[str, int]) -> list[tuple[str, int]]:
    """A call of one of the constants with one argument."""
    load = [("PUSH_NULL", 0), ("LOAD_CONST", function)]
    if sys.version_info >= (3, 13):
        load.reverse()
    return [*load, argument, *([("PRECALL", 1)] if _EARLIER else []), ("CALL", 1)]


def _jump(units: int) -> bytes:
    return assemble(("POP_JUMP_FORWARD_IF_TRUE" if _EARLIER else "POP_JUMP_IF_TRUE", units))


_KINDS: dict[str, type[_Argument]] = {
    "bool": _Flag, "bool | None": _Flag, "int": _Whole, "int | None": _Whole
}  # fmt: skip
