"""Arguments that PyTorch's functions have beside those of ours: ``axis`` for ``dim``, ``keepdims`` for
``keepdim``, names for sizes that are given one by one (``zeros(size=(2, 3))``), and ``out``.

:func:`renamed` adds them to functions as arguments of their own, which a few instructions at the
start move to where they belong. A call without them passes two jumps; a wrapper would add its frame.
"""

from __future__ import annotations

import dis
import inspect
import itertools
import sys
from collections.abc import Callable, Iterable, Mapping
from types import CodeType, FunctionType
from typing import Any, Protocol

from tilegrad.autograd.arguments import MISSING, VERSIONS, assemble, rows_of, table_entry
from tilegrad.autograd.older import Older, has_older

ALIASES = {"dim": "axis", "keepdim": "keepdims", "split_size_or_sections": "split_size"}
SEVERAL = ("size", "shape", "dims", "repeats")  # arguments like *size


# what a function has arguments of more in; see :mod:`tilegrad.autograd.extra`


class ExtraCall(Protocol):
    """Arguments that a function has beside its own: see :class:`tilegrad.autograd.extra.Extra`."""

    @property
    def words(self) -> tuple[str, ...]: ...
    @property
    def kinds(self) -> Mapping[str, str]: ...

    def call(
        self, values: tuple[Any, ...], keywords: dict[str, object], extra: dict[str, Any]
    ) -> object: ...


Extras = Callable[[FunctionType], ExtraCall | None]

_MORE = "(more)"
_BOTH = inspect.CO_VARARGS | inspect.CO_VARKEYWORDS


class _Merge:
    """The value of an argument that was given by its other name."""

    __slots__ = ("alias", "default", "function", "name")

    def __init__(self, function: str, name: str, alias: str, default: object):
        self.function, self.name, self.alias, self.default = function, name, alias, default

    def __call__(self, value: object, given: object) -> object:
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

    def __call__(self, value: object, given: object) -> object:
        most = f"from 1 to {self.count}" if self.count > 1 else "1"
        raise TypeError(
            f"{self.function}() takes {most} positional argument{'s' * (self.count > 1)} but "
            f"{self.count + 1} were given"
        )


class _Several:
    """A call that gives ``*size`` by name, or has one of the ``extra`` arguments."""

    __slots__ = ("extra", "function", "keywords", "name")

    def __init__(
        self, function: FunctionType, name: str, keywords: tuple[str, ...], extra: ExtraCall | None
    ):
        self.function, self.name, self.keywords, self.extra = function, name, keywords, extra

    def __call__(self, given: dict[str, object], *values: Any) -> object:
        name, function = self.name, self.function
        *places, size = values
        split = len(places) - len(self.keywords)
        words = dict(zip(self.keywords, places[split:], strict=True))
        extra = {}
        for word, value in given.items():
            if word == name:
                if size:
                    raise TypeError(
                        f"{function.__name__}() got multiple values for argument '{name}'"
                    )
                size = (value,)
            elif self.extra and word in self.extra.words:
                extra[word] = value
            else:
                raise TypeError(
                    f"{function.__name__}() got an unexpected keyword argument '{word}'"
                )
        positional = (*places[:split], *size)
        if extra and self.extra:
            return self.extra.call(positional, words, extra)
        return function(*positional, **words)


def renamed(functions: Iterable[object], extras: Extras | None = None) -> None:
    """Let the functions among these that take ``dim`` or ``keepdim`` take their other names too, and those
    for which ``extras`` gives something, the arguments in its ``words``: a call that has one goes to it.
    """
    known = sys.version_info[:2] in VERSIONS and sys.implementation.name == "cpython"
    for function in functions:
        if not isinstance(function, FunctionType) or hasattr(function, "__signature__"):
            continue
        code = function.__code__
        count = code.co_argcount + code.co_kwonlyargcount
        takes = code.co_varnames[:count]
        found = {n: a for n, a in ALIASES.items() if n in takes}
        extra = extras and extras(function)
        last = code.co_varnames[count : count + 1]
        several = code.co_flags & _BOTH == inspect.CO_VARARGS and last[0] in SEVERAL
        older = code.co_kwonlyargcount > 0 and has_older(function.__name__)
        if not known or not (found or several or extra or older):
            continue
        if older and not extra:
            _add_rest(function)
            continue
        signature = inspect.signature(function)
        keywords = code.co_varnames[code.co_argcount : count]
        if found or (extra and not several):
            _add(function, signature, found, extra)
        if several:
            code = function.__code__
            call = _Several(function, last[0], keywords, extra)
            function.__code__ = _with_keywords(code, call)
            function.__signature__ = _with_words(signature, extra)  # type: ignore[attr-defined]


def _add_rest(function: FunctionType) -> None:
    """Give ``function`` an argument like ``*more``, in the place of its first local, which :class:`Older` puts
    in order: its own keep their places, so that calls stay as fast as they were.
    """
    code = function.__code__
    place = code.co_argcount + code.co_kwonlyargcount
    names = list(code.co_varnames)
    names[place : place + 1] = [_MORE]
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    prologue = _ordered(list(range(place)), place, len(code.co_consts), "FALSE")
    made = begun(code, prologue, names, [Older(function)])
    function.__code__ = made.replace(co_flags=code.co_flags | inspect.CO_VARARGS)


def _with_words(signature: inspect.Signature, extra: ExtraCall | None) -> inspect.Signature:
    """``signature`` with the extra arguments."""
    if not extra:
        return signature
    only = inspect.Parameter.KEYWORD_ONLY
    more = [
        inspect.Parameter(word, only, default=None, annotation=extra.kinds[word])
        for word in extra.words
    ]
    return signature.replace(parameters=[*signature.parameters.values(), *more])


def _add(
    function: FunctionType,
    signature: inspect.Signature,
    found: dict[str, str],
    extra: ExtraCall | None,
) -> None:
    """Give ``function`` the arguments, all of them by position so that calls stay fast; where it has
    some by name only, one before them refuses what is given by position.
    """
    parameters = signature.parameters
    empty = inspect.Parameter.empty
    values = {n: MISSING if p.default is empty else p.default for n, p in parameters.items()}
    optional = (k for k, n in enumerate(values) if n in found or values[n] is not MISSING)
    first = next(optional, len(values))
    code = function.__code__
    count = code.co_argcount
    name = function.__name__
    words: list[tuple[str, str, object]] = [
        (n, alias, _Merge(name, n, alias, values[n])) for n, alias in found.items()
    ]
    added: list[object] = [None] * len(found)
    if code.co_kwonlyargcount or extra:
        surplus: object = _Surplus(name, count)
        if code.co_kwonlyargcount and has_older(name):
            surplus = Older(function)
        words.insert(0, (_MORE, _MORE, surplus))
        added.append(None)
    function.__code__ = _with_prologue(code, words, extra)
    given = list(values.values())
    last = [None] * len(extra.words) if extra else []
    function.__defaults__ = (*given[first:count], *added, *given[count:], *last)
    function.__kwdefaults__ = None
    function.__signature__ = _with_words(signature, extra)  # type: ignore[attr-defined]


def _with_prologue(
    code: CodeType, merges: list[tuple[str, str, object]], extra: ExtraCall | None
) -> CodeType:
    """``code`` with an argument more for each alias and extra argument, in the place of its first locals:
    these are not needed before the arguments have been moved.
    """
    count, only = code.co_argcount, code.co_kwonlyargcount
    aliases = [alias for _, alias, _ in merges]
    words = list(extra.words) if extra else []
    named = code.co_varnames[count : count + only]
    if set(named) & set(code.co_cellvars):
        raise ValueError(f"{code.co_name}: an inner function holds an argument given by name only")

    def apart(name: str) -> str:  # a local of that name is another thing
        return f"{name}_" if name in aliases or name in words else name

    kept = [apart(n) for n in code.co_varnames]
    total = count + len(aliases) + only + len(words)
    names = kept[:count] + aliases + list(named) + words + kept[total:]
    code = code.replace(co_cellvars=tuple([apart(n) for n in code.co_cellvars]))
    constants = itertools.count(len(code.co_consts))
    parts = [
        _moved(name in code.co_cellvars, names.index(name), place, next(constants))
        for place, (name, _, _) in enumerate(merges, count)
    ]
    if merges and isinstance(merges[0][2], Older):
        own = [*range(count), *range(count + len(aliases), count + len(aliases) + only)]
        parts[0] = _ordered(own, count, len(code.co_consts))
    if aliases and aliases[0] == _MORE:
        moves = range(count, count + only)
        parts += [assemble(("LOAD_FAST", k + len(aliases)), ("STORE_FAST", k)) for k in moves]
    if extra:
        given = [
            ("LOAD_DEREF" if n in code.co_cellvars else "LOAD_FAST", k)
            for k, n in enumerate([*names[:count], *named])
        ]
        places = range(total - len(words), total)
        given += [("LOAD_FAST", k) for k in places]
        constant = next(constants)
        parts += [_left(given, place, constant) for place in places]
    values = [merge for _, _, merge in merges] + ([extra] if extra else [])
    made = begun(code, b"".join(parts), names, values)
    return made.replace(co_argcount=total, co_kwonlyargcount=0)


def _with_keywords(code: CodeType, several: _Several) -> CodeType:
    """``code``, which takes ``*args``, with ``**keywords`` in the place of its first local; a call that
    has any goes to ``several``.
    """
    place = code.co_argcount + code.co_kwonlyargcount
    names = [n if n != "keywords" else "keywords_" for n in code.co_varnames]
    names[place + 1 : place + 2] = ["keywords"]
    given = [
        ("LOAD_DEREF" if n in code.co_cellvars else "LOAD_FAST", k)
        for k, n in enumerate(names[: place + 1])
    ]
    prologue = _left(given, place + 1, len(code.co_consts), "FALSE")
    made = begun(code, prologue, names, [several])
    return made.replace(co_flags=code.co_flags | inspect.CO_VARKEYWORDS)


def begun(code: CodeType, prologue: bytes, names: list[str], constants: list[object]) -> CodeType:
    """``code`` with a prologue, new names of its locals and more constants."""
    body = code.co_code
    if code.co_cellvars or code.co_freevars:
        body = _shifted(code, len(names) - len(code.co_varnames))
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
        co_code=body[:start] + prologue + body[start:],
        co_stacksize=max(code.co_stacksize, 6, len(names) + 4),
        co_exceptiontable=table,
        co_linetable=_with_gap(code.co_linetable, start // 2, units),
    )


def _moved(cell: bool, target: int, source: int, constant: int) -> bytes:
    """``if source is not None: target = constant(target, source)``, for places of locals. An inner
    function holds the target where it is a cell.
    """
    arguments = [("LOAD_DEREF" if cell else "LOAD_FAST", target), ("LOAD_FAST", source)]
    last = ("STORE_DEREF" if cell else "STORE_FAST", target)
    return _unless(source, "NONE", _called(constant, arguments, last))


def _ordered(targets: list[int], source: int, constant: int, unless: str = "NONE") -> bytes:
    """``if source is not None: targets = constant(source, *targets)``, for places of locals; or where the
    source is not FALSE.
    """
    given = [("LOAD_FAST", place) for place in (source, *targets)]
    stores = [("STORE_FAST", place) for place in targets]
    body = _called(constant, given, ("UNPACK_SEQUENCE", len(targets))) + assemble(*stores)
    return _unless(source, unless, body)


def _left(
    arguments: list[tuple[str, int]], source: int, constant: int, unless: str = "NONE"
) -> bytes:
    """``if source is not None: return constant(source, *arguments)``, for places of locals; or where the
    source is not FALSE.
    """
    given = [("LOAD_FAST", source), *arguments]
    return _unless(source, unless, _called(constant, given, ("RETURN_VALUE", 0)))


def _called(constant: int, arguments: list[tuple[str, int]], last: tuple[str, int]) -> bytes:
    """A call of a constant, and what is done with its result."""
    load = [("PUSH_NULL", 0), ("LOAD_CONST", constant)]
    if sys.version_info >= (3, 13):
        load.reverse()
    count = len(arguments)
    call = [("PRECALL", count)] if sys.version_info < (3, 12) else []
    return assemble(*load, *arguments, *call, ("CALL", count), last)


def _unless(source: int, what: str, body: bytes) -> bytes:
    """``body``, jumped over where a local is NONE, or FALSE."""
    jump = "POP_JUMP_FORWARD_IF_" if sys.version_info < (3, 12) else "POP_JUMP_IF_"
    test = [("TO_BOOL", 0)] if what == "FALSE" and sys.version_info >= (3, 13) else []
    return assemble(("LOAD_FAST", source), *test, (jump + what, len(body) // 2)) + body


# instructions whose argument is a place among locals and the variables of inner and outer functions
_PLACED = frozenset((*dis.hasfree, dis.opmap["MAKE_CELL"], dis.opmap["LOAD_FAST"]))
_PAIRED = frozenset(number for name, number in dis.opmap.items() if name.count("_FAST") == 2)


def _shifted(code: CodeType, by: int) -> bytes:
    """The byte code where ``by`` more locals stand before the variables of inner and outer functions."""
    words = bytearray(code.co_code)
    if by:
        for at in range(0, len(words), 2):
            if words[at] in _PAIRED and max(divmod(words[at + 1], 16)) >= len(code.co_varnames):
                raise ValueError(f"{code.co_name}: no place for more arguments")
            if words[at] in _PLACED and words[at + 1] >= len(code.co_varnames):
                if words[at + 1] + by > 255:
                    raise ValueError(f"{code.co_name}: no place for more arguments")
                words[at + 1] += by
    return bytes(words)


def _with_gap(table: bytes, start: int, units: int) -> bytes:
    """A line table with ``units`` code units, of the line before them, put in at ``start``."""
    at, place = 0, 0
    while at < start:
        at += (table[place] & 7) + 1
        place += 1
        while place < len(table) and not table[place] & 128:
            place += 1
    gap = bytearray()
    while units:
        gap += bytes((128 | 13 << 3 | min(units, 8) - 1, 0))
        units -= min(units, 8)
    return table[:place] + bytes(gap) + table[place:]
