"""Symbols: tensors without values, over which a function runs once, so that what it computes is written down.

A :class:`Trace` answers the engine's ops before they are planned. An elementwise op on symbols is one more
value of a chain of formulas, its operands cast as the op itself would promote them; a tensor that is no
symbol becomes an operand of its own. Any other op is refused with the line that calls it.
"""

from __future__ import annotations

import itertools
import linecache
import sys
import threading
from collections.abc import Callable
from types import FrameType, FunctionType, TracebackType
from typing import Any, NoReturn

from tilegrad.autograd.annotations import Number
from tilegrad.autograd.copying import of_kind
from tilegrad.autograd.fused_reduction import Reduced
from tilegrad.autograd.mode import set_grad, state
from tilegrad.autograd.operators import ElementwiseMethods
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine import dispatch
from tilegrad.engine.array import Array, Layout, empty_layout, layout, to_numpy
from tilegrad.engine.device import CPU, Device
from tilegrad.engine.dtype import DType
from tilegrad.engine.ops import elementwise as ops
from tilegrad.engine.ops.elementwise import OPS, Elementwise
from tilegrad.engine.transfer import host
from tilegrad.kernels.formulas.composed import Chain

_INSTEAD = {  # by the engine's family of an op
    "matmul": "call it outside, and fuse what comes before and after it",
    "view": "change the shape before the call, and pass the result",
    "index": "index before the call, and pass the part",
    "random": "draw before the call, and pass the tensor",
    "reduce": "end the function with x.sum(...), mean, amax or amin, or reduce outside it",
}
_OUTSIDE = "call it outside the fused function"
_VALUE = "use tilegrad.where, or branch on a Python value that is passed as an argument"
_SHAPE = "shapes are not known while fusing: pass the number as an argument"
_OVER = "write x = x + y in place of x += y"
_LIKE = "write the number, as in tilegrad.where(x > 0, x, 0)"
_BY_NAME = {
    _VALUE: "item tolist numpy __bool__ __int__ __float__ __index__ __array__ __dlpack__ __dlpack_device__ "
    "__cuda_array_interface__ __contains__",
    _SHAPE: "shape size numel nelement nbytes stride __len__ storage_offset",
    _INSTEAD[
        "index"
    ]: "__getitem__ __setitem__ __iter__ getitem index_select gather take select narrow diagonal",
    _INSTEAD["matmul"]: "__matmul__ __rmatmul__ matmul mm bmm mv dot linear",
    _INSTEAD[
        "view"
    ]: "reshape view expand expand_as permute transpose t T mT flatten unflatten squeeze "
    "unsqueeze movedim unfold",
    _INSTEAD[
        "reduce"
    ]: "sum mean prod amax amin max min any all var std norm logsumexp argmax argmin",
    _OUTSIDE: "is_cuda get_device cpu cuda data_ptr backward",
}
_BY_METHOD = {title: instead for instead, titles in _BY_NAME.items() for title in titles.split()}
_WORDS = {
    "__bool__": "a branch on a tensor", "__getitem__": "an index", "__setitem__": "a write to an element",
    "__iter__": "a loop over a tensor", "__len__": "len()", "__float__": "float()", "__int__": "int()",
    "__index__": "a tensor as an index", "__array__": "a NumPy function", "__matmul__": "a matrix product (@)",
    "__rmatmul__": "a matrix product (@)", "__contains__": "in", "getitem": "an index",
}  # fmt: skip


class FuseError(TypeError):
    """A function does what one kernel cannot hold; the message names the op, its place and a way out."""


class _Open(threading.local):
    """The traces that run in this thread, innermost last."""

    def __init__(self) -> None:
        self.traces: list[Trace] = []


_open = _Open()


class Symbol(Tensor):
    """Stands for a tensor of a dtype, with or without dimensions, of which nothing else is known."""

    __slots__ = ()
    _keeps_class = False  # a trace makes what ops give

    def __repr__(self) -> str:
        return f"Symbol({self.layout.dtype.name})"

    @property
    def ndim(self) -> int:
        """For the library, which asks whether there are dimensions; the caller's code is refused."""
        if not _library(sys._getframe(1)):
            refuse("ndim", _SHAPE)
        return self.layout.ndim

    @property
    def device(self) -> Device:
        """For the library."""
        if not _library(sys._getframe(1)):
            refuse("device", _OUTSIDE)
        return self.layout.device

    def dim(self) -> int:
        """As :attr:`ndim`."""
        if not _library(sys._getframe(1)):
            refuse("dim", _SHAPE)
        return self.layout.ndim

    def detach(self) -> Tensor:
        """The same value, through which no gradient flows."""
        return _open.traces[-1].detached(self)

    data = property(detach)

    def to(self, *args: object, **kwargs: object) -> Tensor:
        """In another dtype; a device is refused."""
        given = [*args, *kwargs.values()]
        if kwargs.get("device") is not None or any(isinstance(v, str | Tensor) for v in given):
            refuse("to", "give a dtype alone: a fused function runs where its operands are")
        return super().to(*args, **kwargs)

    def type_as(self, other: Tensor) -> Tensor:
        return super().to(dtype=other.layout.dtype)

    def sum(self, dim: object = None, keepdim: bool = False) -> Reduced:  # type: ignore[override]
        """The sum of the elements, with which a function may end."""
        return _open.traces[-1].reduced(self, "sum", dim, keepdim)

    def mean(self, dim: object = None, keepdim: bool = False) -> Reduced:  # type: ignore[override]
        """Their mean."""
        return _open.traces[-1].reduced(self, "mean", dim, keepdim)

    def amax(self, dim: object = None, keepdim: bool = False) -> Reduced:  # type: ignore[override]
        """The largest."""
        return _open.traces[-1].reduced(self, "amax", dim, keepdim)

    def amin(self, dim: object = None, keepdim: bool = False) -> Reduced:  # type: ignore[override]
        """The smallest."""
        return _open.traces[-1].reduced(self, "amin", dim, keepdim)

    __hash__ = object.__hash__


def _refusing(title: str, instead: str) -> Callable[..., NoReturn]:
    def method(self: Symbol, *args: object, **kwargs: object) -> NoReturn:
        called, _ = _of_caller(sys._getframe(1))
        if called:  # by a function of the library, which is what the caller knows
            refuse(called, _BY_METHOD.get(called, _OUTSIDE))
        refuse(title, instead)

    return method


# methods of symbols besides those of ElementwiseMethods
ALLOWED = {
    "to", "type_as", "float", "double", "int", "long", "short", "bool", "char", "byte", "detach", "clone",
    "contiguous", "where", "masked_fill", "dim", "ndimension", "is_floating_point", "element_size",
    "is_contiguous", "is_inference",
}  # fmt: skip


def _is_elementwise(title: str) -> bool:
    """Whether a method's name is that of an elementwise function, which gives new memory."""
    over = title.endswith("_") and not title.endswith("__")
    return not over and (title in ALLOWED or title in vars(ElementwiseMethods))


def _refuse_others() -> None:
    """Every other method of tensors is refused by its name."""
    for title in dir(Tensor):
        value = getattr(Tensor, title)
        instead = _BY_METHOD.get(title, "")
        if title in vars(Symbol) or not (instead or isinstance(value, FunctionType)):
            continue
        if title[0] != "_":
            over = title.endswith("_")
            instead = instead or ("" if _is_elementwise(title) else _OVER if over else _OUTSIDE)
        elif title.startswith("__i") and not instead and title != "__invert__":
            instead = _OVER
        if instead:
            made = _refusing(_WORDS.get(title, title), instead)
            setattr(Symbol, title, property(made) if isinstance(value, property) else made)


_refuse_others()


# ---------------------------------------------------------------------------------------- places


def _library(frame: FrameType) -> bool:
    """Whether a frame runs this library's code, generated functions included."""
    package = str(frame.f_globals.get("__name__", "")).split(".")[0]
    return package == "tilegrad" or frame.f_code.co_filename.startswith("<tilegrad ")


def _of_caller(frame: FrameType | None) -> tuple[str, FrameType | None]:
    """(the library's function that the caller's code called, the caller's frame)."""
    title = ""
    while frame is not None and _library(frame):
        if frame.f_code is Trace.run.__code__:
            return title, None
        title = frame.f_code.co_name
        frame = frame.f_back
    return title, frame


def _where(frame: FrameType | None, line: int = 0) -> str:
    """The text and the place of a line, as error messages have them."""
    if frame is None:
        code = _open.traces[-1].function.__code__
        return f"({code.co_filename}, line {code.co_firstlineno})"
    file, line = frame.f_code.co_filename, line or frame.f_lineno
    text = linecache.getline(file, line, frame.f_globals).strip()
    return f"{f'got {text!r} ' if text else ''}({file}, line {line})"


def refuse(what: str, instead: str) -> NoReturn:
    """Raise :class:`FuseError` for what the caller's code does now."""
    _, frame = _of_caller(sys._getframe(1))
    raise FuseError(
        f"{_open.traces[-1].title}: cannot fuse {what}; {_where(frame)}: {instead}"
    ) from None


def _failed(error: Exception) -> Exception:
    """What is told of an error of the library: itself, if the call is one of an elementwise function."""
    place: TracebackType | None = error.__traceback__
    caller: TracebackType | None = None
    title = ""
    while place is not None:
        if not _library(place.tb_frame):
            caller, title = place, ""
        elif caller is not None and not title:
            title = place.tb_frame.f_code.co_name
        place = place.tb_next
    if not title or _is_elementwise(title) or title in OPS:
        return error
    assert caller is not None
    where = _where(caller.tb_frame, caller.tb_lineno)
    instead = _BY_METHOD.get(title, _OUTSIDE)
    return FuseError(f"{_open.traces[-1].title}: cannot fuse {title}; {where}: {instead}")


# ----------------------------------------------------------------------------------------- trace


Made = Array | tuple[Array, ...]  # by an op


class Trace:
    """One run of a function over symbols.

    Args:
        function: what runs; title: its name in messages.
        name_of: what the function calls a tensor that is no argument; "" if that is not known.

    Attributes:
        chain: the values.
        captured: tensors that the function found elsewhere, each with the name of its argument.
    """

    def __init__(
        self, function: Callable[..., object], title: str, name_of: Callable[[Array], str]
    ):
        self.function: Any = function
        self.title = title
        self.name_of = name_of
        self.chain = Chain()
        self.captured: dict[str, Tensor] = {}
        self.busy = False
        self.taken: set[str] = set()  # names of arguments
        self.ends: list[
            tuple[Reduced, FuseError]
        ] = []  # reductions, and the error if one is not the end
        self._symbols: dict[int, tuple[Array, int]] = {}  # by storage: the symbol and its value
        self._found: dict[int, tuple[Array, int]] = {}  # by identity: tensors that are no symbols
        self._constants: dict[
            int, Array
        ] = {}  # by storage: what ops made of nothing, while tracing

    def run(self, arguments: dict[str, object], structure: dict[str, tuple[DType, bool]]) -> object:
        """The results of the function, in which the arguments named in ``structure`` are symbols."""
        given = dict(arguments)
        self.taken = set(given)
        for title, (kind, dims) in structure.items():
            given[title] = self.symbol(self.chain.argument(title, kind.name), kind, dims)
        before = state.asked, state.grad
        _open.traces.append(self)
        try:
            state.asked = True  # a no_grad of the function's own is seen by it
            if state.grad:
                set_grad(False)
            with dispatch.tracing(self):
                returned = self.function(**given)
            if self.ends and not any(returned is end for end, _ in self.ends):
                raise self.ends[0][1]
            return returned
        except FuseError:
            raise
        except Exception as error:
            if self.ends:
                raise self.ends[-1][1] from error
            told = _failed(error)
            if told is error:
                raise
            raise told from error
        finally:
            _open.traces.pop()
            state.asked, grad = before
            if grad is not state.grad:
                set_grad(grad)

    def reduced(self, x: Symbol, kind: str, dim: Any, keepdim: bool) -> Reduced:
        """What a reduction of a symbol gives."""
        made = Reduced(x, kind, dim, keepdim)
        try:
            refuse(kind, _INSTEAD["reduce"])
        except FuseError as error:
            self.ends.append((made, error))
        return made

    def symbol(self, value: int, kind: DType, dims: bool) -> Symbol:
        """A new symbol for a value."""
        made: Symbol = of_kind(Symbol, empty_layout(layout((1,) if dims else (), kind)))
        self._symbols[id(made.storage)] = made, value
        return made

    def detached(self, x: Tensor) -> Tensor:
        """A symbol whose value is a constant to gradients."""
        value = self.chain.constant(self.value(x))
        return self.symbol(value, x.layout.dtype, bool(x.layout.ndim))

    def __call__(
        self,
        op: Any,
        arrays: tuple[Array, ...],
        params: tuple[float, ...],
        metadata: dict[str, Any],
    ) -> Any:
        if self.busy:
            return NotImplemented
        if isinstance(op, Elementwise) and op.formula.kind == "fill":
            return self._fill(op, arrays, params)
        if op is ops.FULL:
            return self._full(params, **metadata)
        if all(map(self._is_constant, arrays)):
            return self._run(op, arrays, params, metadata)
        if not isinstance(op, Elementwise):
            self._refuse_op(op)
        if len(arrays) > op.formula.arity:
            refuse(f"{_of_caller(sys._getframe(1))[0]}, which writes over an operand", _OVER)
        dispatch.check_dtypes(op.name, [a.layout for a in arrays], metadata)
        wanted = op.operand_dtypes([a.layout for a in arrays])
        made = metadata.get("dtype") or op.result_dtype(wanted[-1])
        values = [
            self.chain.cast(self.value(a), kind.name)
            for a, kind in zip(arrays, wanted, strict=True)
        ]
        if op is ops.copy:
            result = self.chain.cast(values[0], made.name)
        else:
            values += [self.chain.number(p, wanted[0].name) for p in params]
            result = self.chain.call(op.formula.function, values, made.name)
        if not (state.asked and op.differentiable):
            result = self.chain.constant(result) if made.is_floating_point else result
        return self.symbol(result, made, any(a.layout.ndim for a in arrays))

    def value(self, array: Array) -> int:
        """The value that an operand stands for."""
        found = self._symbols.get(id(array.storage))
        if found is not None:
            symbol, value = found
            return value if symbol is array else self.chain.constant(value)
        if id(array) in self._found:
            return self._found[id(array)][1]
        kind = array.layout
        if self._is_constant(array):
            if kind.ndim and kind.numel == 1:
                refuse("a tensor of the shape of an operand", _LIKE)
            if not kind.ndim:
                return self.chain.number(_exactly(array), kind.dtype.name)
        title = self._title(self.name_of(array))
        value = self.chain.argument(title, kind.dtype.name)
        self._found[id(array)] = array, value
        self.captured[title] = array  # type: ignore[assignment]
        return value

    def _title(self, name: str) -> str:
        taken = {v.of for v in self.chain.values if v.kind == "argument"} | self.taken
        names = itertools.chain(
            [name] if name else [], (f"{name or 'c'}{k}" for k in itertools.count(1))
        )
        return next(n for n in names if n not in taken)

    def _is_constant(self, array: Array) -> bool:
        return id(array.storage) in self._constants or ops.number_of(array) is not None

    def _fill(self, op: Elementwise, arrays: tuple[Array, ...], params: tuple[float, ...]) -> Made:
        """Memory filled anew: constants are, symbols and found tensors are not."""
        target = arrays[-1]
        title, _ = _of_caller(sys._getframe(2))
        known = id(target.storage) in self._symbols or id(target) in self._found
        if known or (title.endswith("_") and not title.endswith("__")):
            refuse(title, _OVER)
        return self._run(op, arrays, params, {})

    def _full(self, params: tuple[float, ...], kind: Layout) -> Made:
        """A tensor of one number, which is a constant."""
        if kind.ndim or kind.device is not CPU:
            return self._run(ops.FULL, (), params, {"kind": kind})
        made = empty_layout(kind)
        to_numpy(made)[...] = params[0]  # a number, for which no kernel need be compiled
        self._constants[id(made.storage)] = made
        return made  # type: ignore[return-value]

    def _run(
        self,
        op: Any,
        arrays: tuple[Array, ...],
        params: tuple[float, ...],
        metadata: dict[str, object],
    ) -> Made:
        """Run an op of no symbols: what it gives is the same in every call."""
        if op.planner.__module__ == "tilegrad.engine.ops.random":
            self._refuse_op(op)
        self.busy = True
        try:
            made: Made = op(*arrays, params=params, **metadata)
        finally:
            self.busy = False
        for array in made if isinstance(made, tuple) else (made,):
            self._constants[id(array.storage)] = array
        return made

    def _refuse_op(self, op: Any) -> NoReturn:
        family = op.planner
        family = getattr(family, "func", family).__module__.rpartition(".")[2]
        title, _ = _of_caller(sys._getframe(2))
        instead = _BY_METHOD.get(title) or _INSTEAD.get(family, _OUTSIDE)
        refuse(_WORDS.get(title, title or op.name), instead)


def _exactly(array: Array) -> Number:
    """The number that a constant was made of, else what it holds."""
    number = ops.number_of(array)
    held: Number = host(array).item() if number is None else number
    return held
