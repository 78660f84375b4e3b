"""Other names of arguments, as PyTorch has them: ``axis`` for ``dim``, ``keepdims`` for ``keepdim``,
and names for sizes that are given one by one (``zeros(size=(2, 3))``).

:func:`renamed` adds them to functions as arguments of their own, which a few instructions at the
start move to where they belong. A call without them passes two jumps; a wrapper would add its frame.
"""

from __future__ import annotations

import dis
import inspect
import itertools
import sys
from collections.abc import Iterable
from types import CodeType, FunctionType
from typing import Any

from tilegrad.autograd.arguments import MISSING, VERSIONS, assemble, rows_of, table_entry

ALIASES = {"dim": "axis", "keepdim": "keepdims", "split_size_or_sections": "split_size"}
SEVERAL = ("size", "shape", "dims", "repeats")  # arguments like *size


_MORE = "(more)"
_BOTH = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


class _Merge:
    """The value of an argument that was given by its other name."""

    __slots__ = ("alias", "default", "function", "name")

    def __init__(self, function: str, name: str, alias: str, default: Any):
        self.function, self.name, self.alias, self.default = function, name, alias, default

    def __call__(self, value: Any, given: Any) -> Any:
        if value is not self.default:
            raise TypeError(
                f"{self.function}() got both '{self.name}' and its other name '{self.alias}'"
            )
        return given


class _Surplus:
    """Refuses an argument by position that is taken by name only."""

    __slots__ = ("count", "function")

    def __init__(self, function: str, count: int):
        self.function, self.count = function, count

    def __call__(self, value: Any, given: Any) -> Any:
        raise TypeError(
            f"{self.function}() takes from 1 to {self.count} positional arguments but more were given"
        )


class _Several:
    """What was given for ``*size``, or by the name of it."""

    __slots__ = ("function", "name")

    def __init__(self, function: str, name: str):
        self.function, self.name = function, name

    def __call__(self, given: tuple[Any, ...], keywords: dict[str, Any]) -> tuple[Any, ...]:
        for name in keywords:
            if name != self.name:
                raise TypeError(f"{self.function}() got an unexpected keyword argument '{name}'")
        if given:
            raise TypeError(f"{self.function}() got multiple values for argument '{self.name}'")
        return (keywords[self.name],)


def renamed(functions: Iterable[Any]) -> None:
    """Let the functions among these that take ``dim`` or ``keepdim`` take their other names too."""
    known = sys.version_info[:2] in VERSIONS and sys.implementation.name == "cpython"
    for function in functions:
        if not isinstance(function, FunctionType) or hasattr(function, "__signature__"):
            continue
        code = function.__code__
        count = code.co_argcount + code.co_kwonlyargcount
        takes = code.co_varnames[:count]
        found = {n: a for n, a in ALIASES.items() if n in takes}
        last = code.co_varnames[count : count + 1]
        several = code.co_flags & _BOTH == inspect.CO_VARARGS and last[0] in SEVERAL
        if not known or not (found or several):
            continue
        signature = inspect.signature(function)
        if found:
            _add(function, signature, found)
        if several:
            code = function.__code__
            merge = _Several(function.__name__, last[0])
            function.__code__ = _with_keywords(code, merge)
            function.__signature__ = signature  # type: ignore[attr-defined]


def _add(function: FunctionType, signature: inspect.Signature, found: dict[str, str]) -> None:
    """Give ``function`` the arguments, all of them by position so that calls stay fast; where it has
    some by name only, one before them refuses what is given by position.
    """
    parameters = signature.parameters
    empty = inspect.Parameter.empty
    values = {n: MISSING if p.default is empty else p.default for n, p in parameters.items()}
    first = next(k for k, n in enumerate(values) if n in found or values[n] is not MISSING)
    code = function.__code__
    count = code.co_argcount
    name = function.__name__
    words: list[tuple[str, str, Any]] = [
        (n, alias, _Merge(name, n, alias, values[n])) for n, alias in found.items()
    ]
    added: list[Any] = [None] * len(found)
    if code.co_kwonlyargcount:
        words.insert(0, (_MORE, _MORE, _Surplus(name, count)))
        added.append(None)
    function.__code__ = _with_prologue(code, words)
    given = list(values.values())
    function.__defaults__ = (*given[first:count], *added, *given[count:])
    function.__kwdefaults__ = None
    function.__signature__ = signature  # type: ignore[attr-defined]


def _with_prologue(code: CodeType, merges: list[tuple[str, str, Any]]) -> CodeType:
    """``code`` with an argument more for each alias, in the place of its first locals: these are
    not needed before the arguments have been moved.
    """
    count, only = code.co_argcount, code.co_kwonlyargcount
    aliases = [alias for _, alias, _ in merges]
    named = code.co_varnames[count : count + only]
    if set(named) & set(code.co_cellvars):
        raise ValueError(f"{code.co_name}: an inner function holds an argument given by name only")

    def apart(name: str) -> str:  # a local of that name is another thing
        return f"{name}_" if name in aliases else name

    kept = [apart(n) for n in code.co_varnames]
    names = kept[:count] + aliases + list(named) + kept[count + len(aliases) + only :]
    code = code.replace(co_cellvars=tuple([apart(n) for n in code.co_cellvars]))
    words = [
        _moved(name in code.co_cellvars, names.index(name), place, constant)
        for (name, _, _), place, constant in zip(
            merges, itertools.count(count), itertools.count(len(code.co_consts)), strict=False
        )
    ]
    if aliases[0] == _MORE:
        moves = range(count, count + only)
        words += [assemble(("LOAD_FAST", k + len(aliases)), ("STORE_FAST", k)) for k in moves]
    made = begun(code, b"".join(words), names, [merge for _, _, merge in merges])
    return made.replace(co_argcount=count + len(merges) + only, co_kwonlyargcount=0)


def _with_keywords(code: CodeType, several: _Several) -> CodeType:
    """``code``, which takes ``*args``, with ``**keywords`` in the place of its first local."""
    place = code.co_argcount + code.co_kwonlyargcount
    names = [n if n != "keywords" else "keywords_" for n in code.co_varnames]
    names[place + 1 : place + 2] = ["keywords"]
    prologue = _moved(False, place, place + 1, len(code.co_consts), "FALSE")
    made = begun(code, prologue, names, [several])
    return made.replace(co_flags=code.co_flags | inspect.CO_VARKEYWORDS)


def begun(code: CodeType, prologue: bytes, names: list[str], constants: list[Any]) -> CodeType:
    """``code`` with a prologue, new names of its locals and more constants."""
    if len(names) != len(code.co_varnames) and (code.co_cellvars or code.co_freevars):
        raise ValueError(f"{code.co_name}: no place for other names of arguments")
    start = next(i.offset + 2 for i in dis.get_instructions(code) if i.opname == "RESUME")
    units = len(prologue) // 2
    table = b"".join(
        table_entry(begin + units, end + units, target + units, depth, lasti)
        for begin, end, target, depth, lasti in rows_of(code.co_exceptiontable)
    )
    return code.replace(
        co_nlocals=len(names),
        co_varnames=tuple(names),
        co_consts=(*code.co_consts, *constants),
        co_code=code.co_code[:start] + prologue + code.co_code[start:],
        co_stacksize=max(code.co_stacksize, 6),
        co_exceptiontable=table,
        co_linetable=_with_gap(code.co_linetable, start // 2, units),
    )


def _moved(cell: bool, target: int, source: int, constant: int, unless: str = "NONE") -> bytes:
    """``if source is not None: target = constant(target, source)``, for places of locals; or where
    the source is not FALSE. An inner function holds the target where it is a cell.
    """
    load = [("PUSH_NULL", 0), ("LOAD_CONST", constant)]
    if sys.version_info >= (3, 13):
        load.reverse()
    call = [("PRECALL", 2)] if sys.version_info < (3, 12) else []
    cold = assemble(
        *load, ("LOAD_DEREF" if cell else "LOAD_FAST", target), ("LOAD_FAST", source), *call,
        ("CALL", 2), ("STORE_DEREF" if cell else "STORE_FAST", target),
    )  # fmt: skip
    jump = "POP_JUMP_FORWARD_IF_" if sys.version_info < (3, 12) else "POP_JUMP_IF_"
    test = [("TO_BOOL", 0)] if unless == "FALSE" and sys.version_info >= (3, 13) else []
    return assemble(("LOAD_FAST", source), *test, (jump + unless, len(cold) // 2)) + cold


def _with_gap(table: bytes, start: int, units: int) -> bytes:
    """A line table with ``units`` code units of no line put in at ``start``."""
    at, place = 0, 0
    while at < start:
        at += (table[place] & 7) + 1
        place += 1
        while place < len(table) and not table[place] & 128:
            place += 1
    gap = bytearray()
    while units:
        gap.append(128 | 15 << 3 | min(units, 8) - 1)
        units -= min(units, 8)
    return table[:place] + bytes(gap) + table[place:]
