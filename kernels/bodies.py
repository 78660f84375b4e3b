"""Bodies of kernels that anybody writes: plain Python becomes what kernels are made of.

A body is compiled as it stands; only what its names mean is replaced. ``exp``, ``math.exp`` and
``np.exp`` become the formula of that name, functions of the user's are brought the same way, and
numbers stay what they are. A body's key is its code and the values behind its names, so that it needs
no source and a comment compiles nothing anew.
"""

from __future__ import annotations

import builtins
import dis
import inspect
import linecache
import math
import os
import re
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from tilegrad.kernels.formulas.user import standard
from tilegrad.kernels.function import DeviceFunction, Intrinsic

Function = Callable[..., Any]


class BodyError(TypeError):
    """A body of a kernel holds something that cannot be compiled; the message names its place."""


class Body(DeviceFunction):
    """A function whose names mean what kernels know; its key is its code and what they mean."""

    def __init__(
        self, function: Function, key: str, origin: Function, fastmath: tuple[str, ...] = ()
    ):
        super().__init__(function)
        self._key = "\0".join([key, *fastmath])
        self.origin = origin
        self.fastmath = fastmath

    def __call__(self, *args: Any, **named: Any) -> Any:
        return self.function(*args, **named)

    @property
    def key(self) -> str:
        return self._key

    @property
    def asks(self) -> tuple[str, ...]:
        """The names of its parameters."""
        return asked(self.function)


class FormulaModule(types.ModuleType):
    """What a module is in a body: the formulas by their names, else what it has."""

    def __init__(self, module: types.ModuleType):
        super().__init__(module.__name__)
        self.module = module

    def __getattr__(self, name: str) -> Any:
        known = standard().get(name)
        if known is not None:
            return known
        value = getattr(self.module, name)
        return getattr(value, "numpy", np.dtype(bool)).type if _is_dtype(value) else value


def _is_dtype(value: Any) -> bool:
    return type(value).__name__ == "DType" and type(value).__module__ == "tilegrad.engine.dtype"


def asked(function: Function) -> tuple[str, ...]:
    """The names of a function's parameters.

    Raises:
        BodyError: it has ``*args`` or ``**kwargs``.
    """
    parameters = inspect.signature(function).parameters.values()
    for p in parameters:
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            raise BodyError(f"{function.__name__}: name each argument; got {p}")
    return tuple([p.name for p in parameters])


def constants(function: Function) -> dict[str, Any]:
    """The parameters that have a default: numbers fixed when it is compiled."""
    found = {}
    for p in inspect.signature(function).parameters.values():
        if p.default is not p.empty:
            found[p.name] = p.default
    return found


def with_constants(function: Function, values: Mapping[str, Any]) -> Function:
    """``function`` with these defaults, wherever its parameters stand. Calls leave them out, and name what
    stands behind the first: a default is a constant to compilers, which an argument is not.
    """
    code = function.__code__
    if not values and not code.co_kwonlyargcount:
        return function
    count = code.co_argcount + code.co_kwonlyargcount
    names = code.co_varnames[:count]
    first = min([names.index(n) for n in values], default=count)
    made = types.FunctionType(
        code.replace(co_argcount=count, co_kwonlyargcount=0), function.__globals__,
        function.__name__, tuple([values.get(n) for n in names[first:]]), function.__closure__,
    )  # fmt: skip
    made.__doc__, made.__qualname__ = function.__doc__, function.__qualname__
    made.__module__ = function.__module__
    return made


# ------------------------------------------------------------------------------------- bringing

Meaning = Callable[[Any], Any]  # of a value that only a device knows: what stands for it, or None


def bring(
    title: str,
    function: Function,
    special: Meaning = lambda value: None,
    fastmath: tuple[str, ...] = (),
) -> Body:
    """``function`` for the kernels of a device.

    Args:
        title: whose body it is, for errors.
        special: what stands for a value on the device; None where nothing special does.
        fastmath: LLVM's flags for arithmetic of the user's own.

    Raises:
        BodyError: it does something, or one of its names means something, that no kernel can hold.
    """
    return _Bringing(title, special, fastmath).body(function)


# instructions that no kernel has: what they are of, and what to write instead
_REFUSED = {
    "RAISE_VARARGS": ("raise or assert", "a kernel raises nothing: check before the call"),
    "MAKE_FUNCTION": ("a function or a comprehension within it", "write a loop over range(...)"),
    "LIST_APPEND": ("a comprehension", "write a loop over range(...)"),
    "BUILD_LIST": ("a list", "use scratch memory, or a variable per element"),
    "BUILD_MAP": ("a dict", "use a variable per element"),
    "BUILD_SET": ("a set", "use a variable per element"),
    "BUILD_STRING": ("a text", "a kernel has numbers only"),
    "FORMAT_VALUE": ("a text", "a kernel has numbers only"),  # Python 3.12 and before
    "FORMAT_SIMPLE": ("a text", "a kernel has numbers only"),
    "IMPORT_NAME": ("an import", "import at the top of the file"),
    "STORE_GLOBAL": ("a global variable", "write to an output"),
    "YIELD_VALUE": ("a yield", "write to an output"),
}


class _Bringing:
    """Brings a function and all that it calls."""

    def __init__(self, title: str, special: Meaning, fastmath: tuple[str, ...]):
        self.title, self.special, self.fastmath = title, special, fastmath
        self.open: list[Function] = []
        self.made: dict[Function, Body] = {}

    def body(self, function: Function) -> Body:
        found = self.made.get(function)
        if found is not None:
            return found
        if function in self.open:
            raise self.error(function, f"{function.__name__} cannot call itself; write a loop")
        self.open.append(function)
        try:
            made = self.made[function] = self.brought(function)
        finally:
            self.open.pop()
        return made

    def error(self, function: Function, what: str, line: int = 0) -> BodyError:
        code = function.__code__
        return BodyError(
            f"{self.title}: {what} {_place(code.co_filename, line or code.co_firstlineno)}"
        )

    def refuse(self, function: Function) -> None:
        """Raise for what Python does and no kernel can."""
        line, steps = 0, list(dis.get_instructions(function.__code__))
        for step in steps:
            begins = getattr(
                step, "line_number", step.starts_line
            )  # from 3.13 on; before, the other was the line
            line = begins or line
            if step.opname in _REFUSED:
                appends = step.opname == "BUILD_LIST" and any(
                    later.opname == "LIST_APPEND" for later in steps
                )  # from Python 3.12 on a comprehension is not a function of its own
                what, instead = _REFUSED["LIST_APPEND" if appends else step.opname]
                raise self.error(function, f"a kernel cannot hold {what}; {instead}", line)

    def brought(self, function: Function) -> Body:
        self.refuse(function)
        code = function.__code__
        free = dict(zip(code.co_freevars, function.__closure__ or (), strict=True))
        scope: dict[str, Any] = {"__name__": function.__module__, "__builtins__": builtins}
        texts = [function.__module__, function.__qualname__, _text_of_code(code)]
        for name in _global_names(code):
            if name in function.__globals__:
                scope[name] = self.meaning(function, name, function.__globals__[name])
            elif not hasattr(builtins, name):
                scope[name] = self.unknown(function, name)
            else:
                continue
            texts.append(f"{name}={self.text(code, scope[name])}")
        cells = []
        for name, cell in free.items():
            value = self.meaning(function, name, cell.cell_contents)
            texts.append(f"{name}={self.text(code, value)}")
            cells.append(types.CellType(value))
        made = types.FunctionType(
            code, scope, function.__name__, function.__defaults__, tuple(cells)
        )
        made.__kwdefaults__ = function.__kwdefaults__
        made.__doc__, made.__qualname__ = function.__doc__, function.__qualname__
        texts.append(repr(constants(function)))
        return Body(made, "\0".join(texts), function, self.fastmath)

    def unknown(self, function: Function, name: str) -> Any:
        found = self.special(name)
        if found is None:
            found = standard().get(name)
        if found is None:
            raise self.error(
                function,
                f"no kernel knows the name {name!r}; define it before the first call, or pass it as an "
                f"argument",
            )
        return found

    def meaning(self, function: Function, name: str, value: Any) -> Any:
        """What stands for the value of a name."""
        special = self.special(value)
        if special is not None:
            return special
        if isinstance(value, types.ModuleType):
            known = value in (math, np) or value.__name__ == "tilegrad"
            return FormulaModule(value) if known else value
        if isinstance(value, (DeviceFunction, Intrinsic, bool, int, float, np.generic)):
            return value
        if isinstance(value, type):
            return value
        if isinstance(value, np.dtype) or _is_dtype(value):
            return value.type if isinstance(value, np.dtype) else value.numpy.type
        if isinstance(value, tuple) and all(isinstance(v, (int, float)) for v in value):
            return value
        own = getattr(value, "formula", None)
        if isinstance(own, DeviceFunction):  # one of tilegrad.elementwise
            return own
        python = getattr(value, "py_func", value)  # of a numba dispatcher
        title, module = getattr(python, "__name__", "?"), getattr(python, "__module__", "") or ""
        if module.split(".")[0] in ("math", "numpy", "tilegrad") or isinstance(python, np.ufunc):
            if title in standard():
                return standard()[title]
        if isinstance(python, types.FunctionType):
            return self.body(python)
        if isinstance(python, types.BuiltinFunctionType):
            return value
        raise self.error(
            function,
            f"a kernel cannot hold {name}, a {type(value).__name__}; use numbers, and pass tensors as "
            f"operands of the op",
        )

    def text(self, code: types.CodeType, value: Any) -> str:
        """The same in every process for what compiles to the same."""
        if isinstance(value, FormulaModule):
            used = [n for n in _attributes(code) if n in standard()]
            return f"{value.__name__}:{[standard()[n].key for n in used]}"
        if isinstance(value, DeviceFunction):
            return value.key
        if isinstance(value, (types.ModuleType, Intrinsic)) or callable(value):
            return f"{getattr(value, '__module__', '')}.{value.__name__}"
        return f"{type(value).__name__} {value!r}"


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    yield code
    for value in code.co_consts:
        if isinstance(value, types.CodeType):
            yield from _codes(value)


def _global_names(code: types.CodeType) -> list[str]:
    found: dict[str, None] = {}
    for one in _codes(code):
        for step in dis.get_instructions(one):
            if step.opname in ("LOAD_GLOBAL", "LOAD_NAME"):
                found[step.argval] = None
    return list(found)


def _attributes(code: types.CodeType) -> list[str]:
    return [name for one in _codes(code) for name in one.co_names]


def _text_of_code(code: types.CodeType) -> str:
    """What runs, without where it was written."""
    consts = [
        _text_of_code(c) if isinstance(c, types.CodeType) else repr(c) for c in code.co_consts
    ]
    names = (code.co_varnames, code.co_names, code.co_freevars, code.co_argcount)
    table = getattr(code, "co_exceptiontable", b"")
    return f"{code.co_code.hex()} {consts} {names} {table.hex()}"


# ------------------------------------------------------------------------------------ asking


def ask(function: Any, known: Mapping[str, Any]) -> Any:
    """``function``, a value or a callable, of what its parameters name."""
    if not callable(function):
        return function
    return function(*[known[name] for name in asked(function)])


def names_of(function: Any) -> tuple[str, ...]:
    """What :func:`ask` will look up."""
    return asked(function) if callable(function) else ()


def text_of(function: Any) -> str:
    """The same in every process for equal values, and for functions of equal code."""
    return _text_of_code(function.__code__) if hasattr(function, "__code__") else repr(function)


def refuse_unknown(title: str, names: Sequence[str], known: Sequence[str]) -> None:
    """Raise :class:`BodyError` where something is asked for that nobody has."""
    for name in names:
        if name not in known:
            raise BodyError(
                f"{title} asks for {name!r}, which is none of {', '.join(dict.fromkeys(known))}"
            )


# ------------------------------------------------------------------------------------ reporting

_PLACE = re.compile(r'File "([^"]+)", line (\d+)')
_NOISE = (
    "Failed in", "During:", "File ", "<source", "def ", "There are", "This error", "Enable logging",
    "[1]", "[2]", "*",
)  # fmt: skip


@contextmanager
def reported(title: str, body: Body) -> Iterator[None]:
    """Raise what the compiler says of a body as a :class:`BodyError` that names the line."""
    try:
        yield
    except Exception as error:
        if not type(error).__module__.startswith("numba"):
            raise
        raise BodyError(f"{title} cannot be compiled: {_explained(str(error), body)}") from error


def _explained(text: str, body: Body) -> str:
    """The compiler's reason, and the line of the user's that it is about: the first that is named
    behind the reason.
    """
    text = _COLOURS.sub("", text)
    lines = [line.strip() for line in text.splitlines()]
    reasons = [
        line for line in lines
        if line and not line.startswith(_NOISE) and not set(line) <= {"^", "-"}
    ]  # fmt: skip
    told = next((r for r in reasons if _PLAIN.search(r)), reasons[0] if reasons else "?")
    code = body.origin.__code__
    places = [(os.path.abspath(f), int(n)) for f, n in _PLACE.findall(text[text.find(told) :])]
    file, line = next(
        (p for p in places if linecache.getline(*p)), (code.co_filename, code.co_firstlineno)
    )
    told = _CAST.sub(r"\1", told)
    return f"{told.rstrip('.:')} {_place(file, line)}"


def _place(file: str, line: int) -> str:
    """Where something stands, with the line itself."""
    source = linecache.getline(file, line).strip()
    return f"({file}, line {line}{': ' + source if source else ''})"


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")
_CAST = re.compile(r"(Cannot cast \S+ to \S+?):? .*")
_PLAIN = re.compile(
    r"Unknown attribute|Untyped global|Cannot unify|No implementation|Invalid use|not supported|"
    r"cannot|Unsupported|unsupported|NameError|undefined",
)
