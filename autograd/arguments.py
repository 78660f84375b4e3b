"""TypeErrors for what is no tensor (no int, no float) where one belongs, at no cost for calls that succeed.

:func:`checked` gives a function an outermost ``except`` clause. Only when an exception leaves the
function are its arguments looked at: if one that is annotated as a tensor (or a number, a string, sizes) is
none, that is what the caller is told, whatever went wrong first. The clause is added to the byte code, where an exception
table makes it free until it is needed; a wrapper would add its frame to every call.
"""

from __future__ import annotations

import builtins
import functools
import inspect
import itertools
import re
import sys
from collections.abc import Callable, Iterable
from types import CodeType, FunctionType

import numpy as np

from tilegrad.autograd.base import TensorBase
from tilegrad.engine.dtype import DType

# whose byte code the clause is written in
VERSIONS = ((3, 11), (3, 12), (3, 13))

_GENERATORS = inspect.CO_GENERATOR | inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR
_TENSOR = re.compile(r"\bTensor\b")
_SEQUENCE = re.compile(r"\b(Sequence|Iterable|list|tuple)\[(tuple\[)?Tensor\b(?! \|)")
_MIXED = re.compile(r"\b(Sequence|Iterable|list|tuple)\[Tensor \|")  # of tensors and others
_NUMBER = re.compile(r"\b(Scalar|Number|float|int|bool)\b(?!])")
_INTEGERS = re.compile(r"\bSequence\[int\]")


class _Missing:
    """What stands for an argument that was not given."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "<missing>"


MISSING = _Missing()


def _ordered(function: FunctionType) -> list[str]:
    """The arguments that the function was written with, in the order of their places in a frame."""
    kinds = {n: p.kind for n, p in inspect.signature(function).parameters.items()}
    last = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return sorted(kinds, key=lambda n: (kinds[n] in last, kinds[n] is last[1]))


def _arguments(function: FunctionType, values: dict[str, object]) -> dict[str, object]:
    """The arguments among a frame's locals, by their place: other names of arguments stand where the
    first locals do (:mod:`tilegrad.autograd.names`), and their words name what was moved there.
    """
    places = zip(_ordered(function), function.__code__.co_varnames, strict=False)
    return {name: values[place] for name, place in places if place in values}


class _Refusal:
    """Raises a TypeError for the first argument of ``function`` that should be a tensor."""

    __slots__ = ("function",)

    def __init__(self, function: FunctionType):
        self.function = function

    def __call__(self) -> None:
        error = sys.exc_info()[1]
        if isinstance(error, Exception):
            self.look(
                _arguments(self.function, sys._getframe(1).f_locals), isinstance(error, TypeError)
            )

    def look(self, values: dict[str, object], typed: bool = False) -> None:
        """Raise for ``values``, the function's arguments, unless all is well; with ``typed``, which a
        TypeError has been raised for already, for tensors only.
        """
        function = self.function
        code, names = function.__code__, _ordered(function)
        alone = len(names) - bool(code.co_flags & inspect.CO_VARARGS)
        absent = [n for n in names if values.get(n) is MISSING]
        if absent:
            raise TypeError(
                f"{function.__name__}() missing {len(absent)} required positional argument"
                f"{'s' * (len(absent) > 1)}: {' and '.join(map(repr, absent))}"
            ) from None
        for position, name in enumerate(names, 1):
            kind = str(function.__annotations__.get(name, ""))
            if name not in values or "Callable" in kind:
                continue
            value = values[name]
            if _MIXED.search(kind):
                continue
            if not _TENSOR.search(kind) or (
                kind == "Number | Tensor" and isinstance(value, TensorBase)
            ):
                if not typed and position <= alone:
                    self._plain(value, kind, name, position)
                continue
            optional = "None" in kind or _default(function, name) is None
            if value is None and optional:
                continue
            if position > alone:  # *tensors
                self._elements(value, name, code.co_argcount + 1)
            elif _SEQUENCE.search(kind):
                if not isinstance(value, TensorBase):
                    self._elements(value, name, position)
            elif not (
                isinstance(value, TensorBase)
                or (_NUMBER.search(kind) and _number(value))
                or (_INTEGERS.search(kind) and isinstance(value, (list, tuple)))
            ):
                raise TypeError(
                    f"{function.__name__}(): argument '{name}' (position {position}) must be "
                    f"Tensor, not {type(value).__name__}"
                ) from None

    def _plain(self, value: object, kind: str, name: str, position: int) -> None:
        """Raise if ``value`` should be one integer, or one number, and is something else."""
        wanted = kind.removesuffix(" | None")
        if wanted not in _PLAIN or (value is None and wanted != kind) or name == "reduction":
            return  # PyTorch looks a reduction up before its kind
        words, fits = _PLAIN[wanted]
        if wanted == "int" and isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise ValueError(
                f"{self.function.__name__}(): argument '{name}' (position {position}): Overflow when "
                f"unpacking long long"
            ) from None
        if not fits(value):
            raise TypeError(
                f"{self.function.__name__}(): argument '{name}' (position {position}) must be "
                f"{words}, not {type(value).__name__}"
            ) from None

    def _elements(self, value: object, name: str, position: int) -> None:
        if not isinstance(value, (list, tuple)):
            raise TypeError(
                f"{self.function.__name__}(): argument '{name}' (position {position}) must be "
                f"tuple of Tensors, not {type(value).__name__}"
            ) from None
        for place, element in enumerate(value):
            if isinstance(element, (list, tuple)):  # meshgrid([a, b])
                self._elements(element, name, position)
            elif not isinstance(element, TensorBase):
                raise TypeError(
                    f"{self.function.__name__}(): expected Tensor as element {place} in argument "
                    f"'{name}' (position {position}), but got {type(element).__name__}"
                ) from None


def _number(value: object) -> bool:
    return isinstance(value, (builtins.bool, int, float, complex, np.generic))


def tensors_or_numbers(op: str, *values: object) -> None:
    """
    Raises:
        TypeError: one of ``values`` is neither a tensor nor a number.
    """
    if not all(isinstance(v, TensorBase) or _number(v) for v in values):
        kinds = ", ".join(type(v).__name__ for v in values)
        raise TypeError(f"{op}(): received an invalid combination of arguments; got ({kinds})")


def _a_number(value: object) -> bool:
    if isinstance(value, TensorBase):
        return value.layout.numel == 1
    return _number(value)


def _an_int(value: object) -> bool:
    if isinstance(value, TensorBase):
        return value.layout.numel == 1 and not value.layout.dtype.is_floating_point
    return hasattr(value, "__index__") and not isinstance(value, np.ndarray)


def _ints(value: object) -> bool:
    return isinstance(value, (tuple, list, range)) and all(_an_int(v) for v in value)


# by annotation: what PyTorch calls it, and whether a value is one
_PLAIN: dict[str, tuple[str, Callable[[object], bool]]] = {
    "int": ("int", _an_int),
    "float": ("float", lambda v: _a_number(v) and not isinstance(v, complex)),
    "Scalar": ("Number", _a_number),
    "Number": ("Number", _a_number),
    "Number | Tensor": ("Number", _a_number),
    "float | str": ("Number", lambda v: isinstance(v, str) or _a_number(v)),
    "str": ("str", lambda v: isinstance(v, str)),
    "DType": ("dtype", lambda v: isinstance(v, (DType, str, type, np.dtype))),
    "Sequence[int]": ("tuple of ints", _ints),
    "int | Sequence[int]": ("tuple of ints", lambda v: _an_int(v) or _ints(v)),
    "Sizes": ("tuple of ints", lambda v: _an_int(v) or _ints(v)),
}


def _default(function: FunctionType, name: str) -> object:
    parameter = inspect.signature(function).parameters.get(name)
    return inspect.Parameter.empty if parameter is None else parameter.default


_done: dict[FunctionType, None] = {}


def checked(functions: Iterable[object]) -> None:
    """Let the functions among these that take tensors refuse what is none.

    On a Python whose byte code is not known here they stay as they are: what is no tensor is then an
    AttributeError.
    """
    if sys.version_info[:2] not in VERSIONS or sys.implementation.name != "cpython":
        return
    for function in functions:
        if not isinstance(function, FunctionType) or function in _done:
            continue
        if function.__code__.co_flags & _GENERATORS:
            continue
        if any(_TENSOR.search(str(a)) for a in _parameters(function)):
            _done[function] = None
            function.__code__ = with_clause(function.__code__, _Refusal(function))


class _Left:
    """Leaves an operator that refused its right operand to the class of that, as Python has it: the answer is
    NotImplemented where the class reflects the operator. Else the error goes on.
    """

    __slots__ = ("name",)

    def __init__(self, name: str):
        self.name = name

    def __call__(self) -> object:
        error = sys.exc_info()[1]
        frame = sys._getframe(1)
        other = frame.f_locals.get(frame.f_code.co_varnames[1])
        own = getattr(type(other), self.name, None)
        if (
            not isinstance(error, TypeError)
            or own in (None, getattr(object, self.name, None))
            or isinstance(other, _KNOWN)
        ):
            raise  # what the clause that calls this is about
        return NotImplemented


# what operators have an answer for, and sequences, which would be repeated
_KNOWN = (
    TensorBase, np.ndarray, np.generic, int, float, complex, str, bytes, list, tuple, type(None),
)  # fmt: skip
_ARITHMETIC = "add sub mul truediv floordiv mod pow and or xor lshift rshift matmul"
_COMPARED = {"lt": "gt", "le": "ge", "gt": "lt", "ge": "le"}


def reflected(kind: type) -> None:
    """Let the operators of ``kind`` leave operands that they do not know to their classes."""
    if sys.version_info[:2] not in VERSIONS or sys.implementation.name != "cpython":
        return
    pairs = [(f"__{i}{n}__", f"__r{n}__") for n in _ARITHMETIC.split() for i in ("", "i")]
    pairs += [(f"__{one}__", f"__{other}__") for one, other in _COMPARED.items()]
    for name, other in pairs:
        method = vars(kind).get(name)
        if isinstance(method, FunctionType):
            code = with_clause(method.__code__, _Left(other), True)
            made = FunctionType(
                code, method.__globals__, method.__name__, method.__defaults__, method.__closure__
            )
            made.__kwdefaults__ = method.__kwdefaults__
            setattr(kind, name, functools.update_wrapper(made, method))


def _parameters(function: FunctionType) -> list[object]:
    return [a for name, a in function.__annotations__.items() if name != "return"]


# --------------------------------------------------------------------------------- byte code


def _varint(value: int) -> list[int]:
    """Six bits a byte, the lowest first (as line tables have it)."""
    out = []
    while value > 63:
        out.append(64 | (value & 63))
        value >>= 6
    return [*out, value]


def table_entry(start: int, end: int, target: int, depth: int, lasti: int) -> bytes:
    """One row of an exception table: six bits a byte, the highest first; in code units."""
    out: list[int] = []
    for value in (start, end - start, target, depth << 1 | lasti):
        digits = [d & 63 for d in _varint(value)][::-1]
        out += [64 | d for d in digits[:-1]] + digits[-1:]
    out[0] |= 128
    return bytes(out)


def rows_of(table: bytes) -> list[tuple[int, int, int, int, int]]:
    """(start, end, target, depth, lasti) of every row of an exception table."""
    starts = [i for i, byte in enumerate(table) if byte & 128] + [len(table)]
    rows = []
    for begin, stop in itertools.pairwise(starts):
        values, value = [], 0
        for byte in table[begin:stop]:
            value = value << 6 | (byte & 63)
            if not byte & 64:
                values.append(value)
                value = 0
        start, size, target, last = values
        rows.append((start, start + size, target, last >> 1, last & 1))
    return rows


@functools.cache
def _handler(constant: int, answers: bool) -> tuple[bytes, bytes]:
    """The handler that calls a constant, and what puts the state of exceptions back after it."""
    load = [("PUSH_NULL", 0), ("LOAD_CONST", constant)]
    if sys.version_info >= (3, 13):
        load.reverse()
    if sys.version_info < (3, 12):
        load.append(("PRECALL", 0))
    after = [("POP_TOP", 0), ("RERAISE", 0)]
    if answers:
        # under the answer lie the error, and what was handled before, which POP_EXCEPT puts back
        after = [("SWAP", 2), ("POP_TOP", 0), ("SWAP", 2), ("POP_EXCEPT", 0), ("RETURN_VALUE", 0)]
    return assemble(("PUSH_EXC_INFO", 0), *load, ("CALL", 0), *after), assemble(
        ("COPY", 3), ("POP_EXCEPT", 0), ("RERAISE", 1)
    )


def assemble(*words: tuple[str, int]) -> bytes:
    """Instructions with their inline caches."""
    import opcode

    caches: dict[str, int] = opcode._inline_cache_entries  # type: ignore[attr-defined]
    out = bytearray()
    for name, argument in words:
        number = opcode.opmap[name]
        for shift in (16, 8):
            if argument >> shift:
                out += bytes((opcode.EXTENDED_ARG, argument >> shift & 255))
        units = caches.get(name, 0) if isinstance(caches, dict) else caches[number]
        out += bytes((number, argument & 255)) + bytes(2 * units)
    return bytes(out)


def with_clause(code: CodeType, handler: Callable[[], object], answers: bool = False) -> CodeType:
    """``code`` with ``except BaseException: handler(); raise`` around all of it, or, if it ``answers``, with
    ``except BaseException: return handler()`` (CPython).
    """
    size = len(code.co_code) // 2
    call, leave = _handler(len(code.co_consts), answers)
    landing = size + len(call) // 2
    table, reached = b"", 0
    for start, end, *place in rows_of(code.co_exceptiontable):
        if reached < start:
            table += table_entry(reached, start, size, 0, False)
        table += table_entry(start, end, *place)
        reached = end
    if reached < size:
        table += table_entry(reached, size, size, 0, False)
    table += table_entry(size, landing, landing, 1, True)
    back = code.co_firstlineno - [x for _, _, x in code.co_lines() if x is not None][-1]
    lines, left = bytearray(), (len(call) + len(leave)) // 2
    while left:  # the line of "def", without columns
        delta = _varint(abs(back) << 1 | (back < 0))
        lines += bytes((128 | 13 << 3 | min(left, 8) - 1, *delta))
        left, back = left - min(left, 8), 0
    return code.replace(
        co_code=code.co_code + call + leave,
        co_consts=(*code.co_consts, handler),
        co_stacksize=max(code.co_stacksize, 8),
        co_exceptiontable=table,
        co_linetable=code.co_linetable + bytes(lines),
    )
