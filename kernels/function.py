"""Python functions that compilers will see later: formulas, loop bodies and LLVM intrinsics.

A module of kernels must be importable without numba, because a process that finds its kernels in
the cache never needs a compiler. So the decorators here only *mark* a function. The device's
compiler turns the mark into its own kind of object when it meets one
(``tilegrad.kernels.cpu.run.jit``, ``tilegrad.kernels.cuda.run.jit``).
"""

from __future__ import annotations

import dis
import hashlib
import inspect
import linecache
import os
import re
import sys
from collections.abc import Callable
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from tilegrad.kernels import dtypes

_IMPORT = re.compile(
    r"^\s*(?:from|import)\s+(tilegrad\.kernels[\w.]*)(?:\s+import\s+(\([^)]*\)|.+))?", re.M
)


class DeviceFunction:
    """A scalar function or loop body that kernels call and every device compiles for itself.

    Calling it runs the Python source, which is what the CUDA simulator and the tests do.
    """

    def __init__(self, function: Callable[..., Any], source: str | None = None):
        self.function = function
        self.source = source
        self.compiled: dict[str, Any] = {}
        self.near: tuple[DeviceFunction, DeviceFunction] | None = None  # see mostly
        self.fastmath: tuple[str, ...] = ()  # LLVM's flags for its arithmetic, on the CPU
        self.__name__ = function.__name__
        self.__doc__ = function.__doc__
        self.__module__ = function.__module__

    def __call__(self, *args: Any) -> Any:
        return self.function(*args)

    def __repr__(self) -> str:
        return f"<device function {self.__module__}.{self.__name__}>"

    @property
    def key(self) -> str:
        """Names this function and everything its source depends on."""
        if self.source is not None:
            text = hashlib.sha256(self.source.encode()).hexdigest()[:16]
        else:
            text = source_digest(self.__module__)
        bound = ",".join(_stable(value) for value in _bound_values(self.function))
        return f"{self.__module__}.{self.function.__qualname__}:{text}({bound})"


def _bound_values(function: Callable[..., Any]) -> list[Any]:
    """What a function made inside another one holds besides its source."""
    cells = getattr(function, "__closure__", None) or ()
    return [*(cell.cell_contents for cell in cells), *(function.__defaults__ or ())]


def _stable(value: Any) -> str:
    """A text that is the same in every process for equal values, and differs for others."""
    if isinstance(value, (DeviceFunction, Intrinsic)):
        return value.key if isinstance(value, DeviceFunction) else value.__name__
    if isinstance(value, (int, float, str, bool, type, type(None))):
        return repr(value)
    return f"{type(value).__name__}@{id(value)}"  # unknown: compile again rather than go stale


class Intrinsic:
    """A function whose body is emitted as compiler IR, by one emitter per device.

    ``python`` is what the simulator runs; ``cpu`` follows ``numba.extending.intrinsic``'s protocol
    ``(typing_context, *argument_types) -> (signature, codegen)``; ``cuda`` likewise.
    """

    def __init__(self, cpu: Callable[..., Any]):
        self.cpu = cpu
        self.cuda_emitter: Callable[..., Any] | None = None
        self.python: Callable[..., Any] | None = None
        self.compiled: dict[str, Any] = {}
        self.__name__ = cpu.__name__
        self.__doc__ = cpu.__doc__
        self.__module__ = cpu.__module__

    def __call__(self, *args: Any) -> Any:
        if self.python is None:
            raise NotImplementedError(f"{self.__name__}: this intrinsic has no Python meaning")
        return self.python(*args)

    def in_python(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: the meaning of this intrinsic when its caller runs as plain Python."""
        self.python = function
        return function

    def on_cuda(self, emitter: Callable[..., Any]) -> Callable[..., Any]:
        """Decorator: the CUDA emitter, where the CPU's IR does not serve."""
        self.cuda_emitter = emitter
        return emitter


class TypedFunction(DeviceFunction):
    """A device function with one implementation per type of its first argument."""

    def __init__(self, stem: Callable[..., Any], cases: dict[str, DeviceFunction]):
        super().__init__(stem)
        self.cases = cases

    def __call__(self, *args: Any) -> Any:
        return self.case(getattr(args[0], "dtype", "float64"))(*args)

    def case(self, dtype: Any) -> DeviceFunction:
        """The implementation for a first argument of this type (anything whose str names it)."""
        try:
            return self.cases[str(dtype)]
        except KeyError:
            raise dtypes.DTypeError(str(dtype), self.__name__) from None


class Chooser:
    """What numba takes for a dispatcher: hands each call on, by the type of its first argument.

    Args:
        for_numba: the device's object behind a case.
        kind: the type that numba gives dispatchers of the device.
    """

    is_compiling = False

    def __init__(
        self, function: TypedFunction, for_numba: Callable[[DeviceFunction], Any], kind: Any
    ):
        self.function = function
        self.for_numba = for_numba
        self._numba_type_ = kind(self)

    def get_call_template(self, args: Any, kws: Any) -> Any:
        return self.for_numba(self.function.case(args[0])).get_call_template(args, kws)

    def get_overload(self, args: Any) -> Any:
        return self.for_numba(self.function.case(args[0])).get_overload(args)


def by_type(**cases: DeviceFunction) -> Callable[[Callable[..., Any]], TypedFunction]:
    """Decorate a documented stem: ``@by_type(float32=sin_single, float64=sin_double)``.

    The stem gives the name, the parameters and the docstring; its body is never run.
    """

    def decorate(stem: Callable[..., Any]) -> TypedFunction:
        return TypedFunction(stem, cases)

    return decorate


def mostly(
    near: DeviceFunction, when: DeviceFunction
) -> Callable[[DeviceFunction], DeviceFunction]:
    """Decorate a formula that has a cheaper twin for common arguments: ``formula.near``.

    Where ``when(*args)`` holds, ``near(*args)`` has the bits of the formula. A loop may test a
    block of elements and run ``near`` on all of it, which stays free of the formula's rare branch.
    """

    def decorate(function: DeviceFunction) -> DeviceFunction:
        function.near = (near, when)
        return function

    return decorate


def inline(function: Callable[..., Any]) -> DeviceFunction:
    """Mark a function that kernels call; it is inlined into each of them."""
    return DeviceFunction(function)


@cache
def steps(function: DeviceFunction) -> int:
    """How long a formula is, with those it calls: in instructions of Python."""
    if isinstance(function, TypedFunction):
        return max(steps(case) for case in function.cases.values())
    plain = function.function
    names = inspect.getclosurevars(plain)
    known = {**names.globals, **names.nonlocals}
    count = 0
    for instruction in dis.get_instructions(plain):
        called = known.get(instruction.argval) if isinstance(instruction.argval, str) else None
        count += 1 + (steps(called) if isinstance(called, DeviceFunction) else 0)
    return count


def arithmetic(body: Callable[..., None]) -> Callable[..., None]:
    """Mark the body of a CPU kernel whose loops compute more than they load and store: they take the whole
    width of the registers, also on processors where LLVM takes half of it.
    """
    body.__dict__["arithmetic"] = True
    return body


def is_arithmetic(body: Callable[..., None]) -> bool:
    """Whether :func:`arithmetic` marked it."""
    return "arithmetic" in body.__dict__


def intrinsic(emitter: Callable[..., Any]) -> Intrinsic:
    """Mark an IR emitter as a function that kernels call."""
    return Intrinsic(emitter)


def function_from_source(
    source: str, name: str, scope: dict[str, Any], module: str | None = None
) -> Callable[..., Any]:
    """The function ``name`` that ``source`` defines over the globals ``scope``.

    The source stays readable in tracebacks and to ``inspect``.
    """
    file = f"<tilegrad {name} {hashlib.sha256(source.encode()).hexdigest()[:12]}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    names = {**scope, "__name__": module or __name__}
    exec(compile(source, file, "exec"), names)
    function: Callable[..., Any] = names[name]
    return function


ROOMS = ("parts", "run", "simd", "device")
NO_FAMILIES = (*ROOMS, "tools", "tuning")  # beside the families of a device


def place(module: str) -> str:
    """``conv.forward`` for ``tilegrad.kernels.cpu.conv.forward``: its path below the device, without
    the rooms that all families share; another package's module as it is.
    """
    package, _, rest = module.partition(".kernels.")
    if package != "tilegrad":
        return module
    return ".".join(word for word in rest.split(".")[1:] if word not in ROOMS)


@lru_cache(maxsize=None)
def source_digest(module: str) -> str:
    """A hash over the source of ``module`` and of every kernel module it imports, in turn."""
    digest = hashlib.sha256()
    for name in sorted(_closure(module)):
        digest.update(name.encode() + b"\0" + _read(name).encode() + b"\0")
    return digest.hexdigest()[:16]


def _closure(module: str) -> set[str]:
    seen: set[str] = set()
    queue = [module]
    while queue:
        name = queue.pop()
        if name in seen:
            continue
        seen.add(name)
        for package, names in _IMPORT.findall(_read(name)):
            queue.append(package)
            for part in re.split(r"[,\s()]+", names):
                if part and _path(f"{package}.{part}") is not None:
                    queue.append(f"{package}.{part}")
    return seen


_HERE = os.path.dirname(os.path.realpath(__file__))


def _path(module: str) -> Path | None:
    if not module.startswith("tilegrad.kernels"):
        loaded = sys.modules.get(module)
        file = inspect.getsourcefile(loaded) if loaded is not None else None
        return Path(file) if file else None
    return _own_path(module)


@lru_cache(maxsize=None)
def _own_path(module: str) -> Path | None:
    """The file of one of our modules of kernels; asked for hundreds of names before the first kernel."""
    base = os.path.join(_HERE, *module.split(".")[2:])
    for path in (f"{base}.py", os.path.join(base, "__init__.py")):
        if os.path.isfile(path):
            return Path(path)
    return None


@lru_cache(maxsize=None)
def _read(module: str) -> str:
    path = _path(module)
    return "" if path is None else path.read_text(encoding="utf-8")
