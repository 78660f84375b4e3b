"""Chains of elementwise ops as one op: a function of tensors, run once over symbols, becomes a kernel."""

from __future__ import annotations

import contextlib
import inspect
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple, Protocol

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.call_source import are_tensors, call_source, tuple_source
from tilegrad.autograd.checking import FusedCheck
from tilegrad.autograd.extra import write_into
from tilegrad.autograd.fused_reduction import Ending, Reduced, Way
from tilegrad.autograd.rules import elementwise as rules
from tilegrad.autograd.rules.creation import tensor
from tilegrad.autograd.subject import FormulaFunction, Subject, attach
from tilegrad.autograd.symbols import FuseError as FuseError, Symbol, Trace
from tilegrad.engine import calls, dtype as dt
from tilegrad.engine.dtype import DType
from tilegrad.engine.ops.elementwise import Fused
from tilegrad.kernels.formulas.formula import Formula
from tilegrad.kernels.function import function_from_source

MANY = 16  # kernels of one signature that differ in numbers alone, before that is told
_KEPT = 4096  # layouts whose op is known


class FusedFunction(FormulaFunction, Protocol):
    """What :func:`fuse` makes."""

    def check(
        self,
        domain: tuple[float, float] = (-3.0, 3.0),
        seed: int = 0,
        dtypes: dict[str, str] | None = None,
    ) -> None:
        """Compare with the function as it was written, its kernels' bits between runs and numbers of
        threads, and gradients of two orders with differences; print a table.

        Args:
            domain: where operands are drawn from.
            seed: of the numbers.
            dtypes: of the operands that are no floats, by name.

        Raises:
            CheckError: something differs; the message has the operands.
        """


def fuse(function: Callable[..., object], /) -> FusedFunction:
    """Make one op of a function of tensors that is a chain of elementwise ops: its forward pass is one
    kernel per output, its gradient one per operand, and no tensor between is made or saved.

    The function is run once for each signature (the operands' dtypes, and which have no dimensions), with
    symbols for its tensors: operators, methods, ``tilegrad``'s and ``nn.functional``'s elementwise
    functions, ``where``, casts, calls of other functions. Dtypes go through as they would one op after the
    other. The function may end in ``x.sum(...)``, ``mean``, ``amax`` or ``amin`` of floats, which the same kernel
    computes. Arguments that are no tensors are what they are: another number makes another kernel, a tensor of
    no dimensions does not. Tensors of an enclosing scope become operands.

    Raises:
        FuseError: the function does something else (a product of matrices, a reduction, an index, a branch
            on a tensor); names the op and the line.
    """
    return _Calls(function).public()


class _Found(NamedTuple):
    """A tensor of an enclosing scope: how it is found, and what was found in the trace."""

    get: Callable[[], object]
    kind: DType
    dims: bool


class _Form(NamedTuple):
    """What one signature was traced to.

    Attributes:
        ops: one per output, with the places of its operands among the tensors of a call, behind which
            stand those that were found.
        many: None for one result, else the kind of sequence that the function returns.
        end: the reduction that combines the elements of the only op, of a function that ends in one.
    """

    ops: tuple[tuple[Fused, tuple[int, ...]], ...]
    found: tuple[_Found, ...]
    many: type | None
    end: Ending | None = None


class _Calls:
    """The forms of one function, by signature, and its calls."""

    def __init__(self, function: Callable[..., object]):
        from tilegrad.kernels.formulas.user import title

        self.function: Any = function
        self.title = title(function)
        self.parameters = inspect.signature(function).parameters
        for p in self.parameters.values():
            if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD) or p.name == "out":
                raise TypeError(
                    f"fuse: every argument is named, and none is called out; got {self.title}({p})"
                )
        self.forms: dict[Any, _Form] = {}
        self.known: dict[Any, Fused] = {}  # by the layouts of a call with tensors alone
        self.ways: dict[Any, Way] = {}  # by layouts and other arguments, what no op alone is
        self.kind: DType = (
            dt.get_default_dtype()
        )  # the default that the known ops were traced under
        self.call: Any = None

    def public(self) -> FusedFunction:
        """The function of tensors."""
        needed = [p for p in self.parameters.values() if p.default is p.empty]
        scope: dict[str, object] = {"calls": self, "Tensor": TensorBase, "rules": rules, "dt": dt}
        call = function_from_source(
            self.text([p.name for p in needed], scope), self.title, scope,
            module=self.function.__module__,
        )  # fmt: skip
        call.__doc__, call.__qualname__ = inspect.getdoc(self.function), self.function.__qualname__
        given = list(self.parameters.values())
        out = inspect.Parameter("out", inspect.Parameter.KEYWORD_ONLY, default=None)
        made: Any = call
        self.call = made
        made.__signature__ = inspect.Signature([*given, out])
        made.__wrapped__ = self.function
        made.derivative, made.check = self.derivative, self.check
        attach(
            Subject(
                made,
                tuple([p.name for p in needed]),
                self.function,
                self.checking,
                lambda: made.formulas,
            )
        )
        made.reduces = False
        made.formulas, made.source = (), f"# {self.title}: traced when it is called first\n"
        if needed:
            with contextlib.suppress(Exception):  # what no floats go through waits for its call
                self.trace(
                    (), dict.fromkeys([p.name for p in needed], (dt.get_default_dtype(), True)), {}
                )
        result: FusedFunction = made
        return result

    def text(self, needed: list[str], scope: dict[str, object]) -> str:
        """The source of the public function: the straight call of tensors, and all others."""
        heads, usual, star = [], ["out is None"], False
        for p in self.parameters.values():
            if p.kind is p.KEYWORD_ONLY and not star:
                heads.append("*")
                star = True
            if p.name in needed:
                heads.append(p.name)
                usual += are_tensors([p.name])
            else:
                scope[f"default_{p.name}"] = p.default
                heads.append(f"{p.name}=default_{p.name}")
                usual.append(f"{p.name} is default_{p.name}")
        heads += ["out=None"] if star else ["*", "out=None"]
        layouts = [f"{n}.layout" for n in needed]
        plain = [part for n in self.parameters if n not in needed for part in (n, f"{n}.__class__")]
        how = {1: "unary", 2: "binary"}.get(len(needed), "apply")
        alone = [
            f"op = calls.known.get({tuple_source(layouts)})",
            "if op is not None and calls.kind is dt._default:",
            f"    return rules.{how}(op, {', '.join(needed)})",
        ]
        known = ["out is None", *are_tensors(needed), "calls.kind is dt._default"]
        straight = [
            "try:",
            f"    way = calls.ways.get({tuple_source([*layouts, *plain])})",
            "except TypeError:",
            "    way = None",
            "if way is not None:",
            f"    made = way({tuple_source(needed)})",
            "    if made is not None:",
            "        return made",
        ]
        other = f"calls.other({tuple_source(self.parameters)}, out)"
        return call_source(self.title, heads, other, (usual, alone), (known, straight))

    def other(self, given: tuple[Any, ...], out: Any) -> Any:
        """A call that is not known by its layouts."""
        arguments = dict(zip(self.parameters, given, strict=True))
        tensors = {n: v for n, v in arguments.items() if isinstance(v, TensorBase)}
        plain = {n: v for n, v in arguments.items() if n not in tensors}
        structure = {n: (t.layout.dtype, bool(t.layout.ndim)) for n, t in tensors.items()}
        try:
            key = (
                dt.get_default_dtype(), tuple(structure.items()),
                tuple([(n, v.__class__, v, str(v) if v == 0 else "") for n, v in plain.items()]),
            )  # fmt: skip
            form = self.forms.get(key)
        except TypeError:
            raise TypeError(
                f"{self.title}: arguments are tensors, numbers and what else a dict may be asked for; "
                f"got {', '.join(type(v).__name__ for v in plain.values())}"
            ) from None
        others = None if form is None else _now(form)
        if form is None or others is None:
            form = self.trace(key, structure, plain)
            others = _now(form)
            assert others is not None
        values: list[Any] = [*tensors.values(), *others]

        def run() -> object:
            if form.end is not None:
                return form.end([values[p] for p in form.ops[0][1]])
            made = [rules.apply(op, *[values[p] for p in places]) for op, places in form.ops]
            return made[0] if form.many is None else form.many(made)

        if out is not None:
            return write_into(self.title, run, out, values)
        self.remember(form, tensors, plain)
        return run()

    def remember(self, form: _Form, tensors: dict[str, Any], plain: dict[str, Any]) -> None:
        """Let the next call of these layouts, and of these other arguments, go a straight way."""
        needed = [n for n, p in self.parameters.items() if p.default is p.empty]
        if needed != list(tensors) or not calls.exact(*plain.values()):
            return
        if any(isinstance(v, float) and v == 0 for v in plain.values()):  # of two signs
            return
        kind = dt.get_default_dtype()
        if self.kind is not kind or len(self.known) + len(self.ways) > _KEPT:
            self.known, self.ways, self.kind = {}, {}, kind
        layouts = tuple([t.layout for t in tensors.values()])
        alone = len(form.ops) == 1 and not form.many and not form.found and form.end is None
        usual = all(v is self.parameters[n].default for n, v in plain.items())
        if alone and usual and form.ops[0][1] == tuple(range(len(tensors))):
            self.known[layouts] = form.ops[0][0]
            return
        if form.end is not None and form.found:  # their layouts may change
            return
        way = _way(form) if form.end is None else form.end.way(form.ops[0][1], layouts)
        if way is not None:
            more = [part for v in plain.values() for part in (v, v.__class__)]
            self.ways[(*layouts, *more)] = way

    # ----------------------------------------------------------------------------------- trace

    def trace(
        self,
        key: tuple[object, ...],
        structure: dict[str, tuple[DType, bool]],
        plain: dict[str, object],
    ) -> _Form:
        """Run the function over symbols, and keep what it is under ``key``."""
        given = {n: plain.get(n, p.default) for n, p in self.parameters.items()}
        places = _Places(self.function)
        work = Trace(self.function, self.title, places.name)
        returned = work.run(given, structure)
        found = self._found(work, places, given, structure)
        form = self._form(work, returned, structure, found)
        if key:
            alike = [k for k in self.forms if k[:2] == key[:2]]
            if len(alike) + 1 == MANY:
                warnings.warn(
                    f"{self.title}: {MANY} kernels that differ in numbers alone; give a tensor of no "
                    f"dimensions for what changes from call to call",
                    stacklevel=4,
                )
            self.forms[key] = form
            self.known, self.ways = {}, {}
        self.call.formulas = tuple([op.formula.function for op, _ in form.ops])
        self.call.source = "\n".join(f.source or "" for f in self.call.formulas)
        self.call.reduces = form.end is not None
        if form.end is not None:
            self.call.source += f"# combined: {form.end.kind} over dim={form.end.dim}\n"
        return form

    def _found(
        self, work: Trace, places: _Places, given: dict[str, object],
        structure: dict[str, tuple[DType, bool]],
    ) -> tuple[_Found, ...]:  # fmt: skip
        """How to find the tensors that the function found by itself, again."""
        lost = [t for t in work.captured.values() if places.get(t) is None]
        if lost:  # was it made in the function, as a constant, or was it there before?
            again = Trace(self.function, self.title, places.name)
            again.run(given, structure)
            for tensor in again.captured.values():
                if any(tensor is one for one in lost):
                    raise FuseError(
                        f"{self.title}: a tensor of an enclosing scope is found by a name, or by an "
                        f"attribute of what a name means; got one {tensor.layout.describe()} that is not: "
                        f"pass it as an argument"
                    )
        return tuple(
            [
                _Found(places.get(t) or partial(_same, t), t.layout.dtype, bool(t.layout.ndim))
                for t in work.captured.values()
            ]
        )

    def _form(
        self, work: Trace, returned: Any, structure: dict[str, tuple[DType, bool]],
        found: tuple[_Found, ...],
    ) -> _Form:  # fmt: skip
        end = returned if isinstance(returned, Reduced) else None
        returned = returned if end is None else end.symbol
        many = type(returned) if isinstance(returned, tuple | list) else None
        results = list(returned) if many else [returned]
        if many not in (None, tuple, list) or not results:
            raise FuseError(f"{self.title}: returns a tensor, a tuple or a list; got {many}")
        titles = [*structure, *work.captured]
        kinds = {
            **{n: kind for n, (kind, _) in structure.items()},
            **{n: f.kind for n, f in zip(work.captured, found, strict=True)},
        }
        made = []
        for number, result in enumerate(results):
            if not isinstance(result, Symbol):
                raise FuseError(
                    f"{self.title}: every result is computed from an operand; got "
                    f"{type(result).__name__}"
                )
            value = work.value(result)
            names = work.chain.arguments(value)
            if not names:
                raise FuseError(f"{self.title}: a result is computed from an operand; got a number")
            title = self.title if len(results) == 1 else f"{self.title}_{number}"
            summary = (
                inspect.getdoc(self.function) or f"{title}({', '.join(names)})"
            ).splitlines()[0]
            formula = work.chain.formula(title, self.function.__module__, value, summary)
            row = Formula(self.title, formula)
            op = Fused(row, tuple([kinds[n] for n in names]), result.layout.dtype)
            made.append((op, tuple([titles.index(n) for n in names])))
        if end is None:
            return _Form(tuple(made), found, many)
        ((op, places),) = made
        if len({*op.operands, op.result}) > 1 or not op.result.is_floating_point:
            got = ", ".join(kind.name for kind in (*op.operands, op.result))
            raise FuseError(
                f"{self.title}: a fused function that ends in a reduction has operands and elements of one "
                f"floating dtype; got {got}: reduce outside the function"
            )
        every = tuple([titles[place] for place in places])
        ending = Ending(self.title, op.formula.function, every, end)
        return _Form((made[0],), found, None, ending)

    # ----------------------------------------------------------------------------- derivative, check

    def derivative(self, name: str, output: int = 0) -> str:
        """The source of the derivative of an output with respect to an argument."""
        from tilegrad.kernels.formulas.derive import differentiate

        if not self.call.formulas:
            raise FuseError(f"{self.title}: call it once: it is not traced yet")
        return differentiate(self.call.formulas[output], name).source or ""

    def checking(
        self, domain: tuple[float, float] = (-3.0, 3.0), seed: int = 0,
        dtypes: dict[str, str] | None = None,
    ) -> tuple[FusedCheck, Callable[[], None]]:  # fmt: skip
        """The checks, and what runs them all."""
        defaults = {n: p.default for n, p in self.parameters.items() if p.default is not p.empty}
        work = FusedCheck(
            self.call, self.function, list(self.parameters), defaults, dtypes or {},
            lambda array, device: tensor(array).to(device),
        )  # fmt: skip
        return work, partial(work.run, *domain, seed)

    def check(self, *given: Any, **named: Any) -> None:
        """See :meth:`FusedFunction.check`."""
        work, run = self.checking(*given, **named)
        run()
        print(f"{self.title}\n{work.table()}")


def _same(tensor: Tensor) -> Tensor:
    return tensor


def _way(form: _Form) -> Way:
    """What runs a form over tensors of the layouts it was traced for; gives None where one of an enclosing
    scope is of another kind by now.
    """

    def way(tensors: tuple[Tensor, ...]) -> object:
        others = _now(form) if form.found else ()
        if others is None:
            return None
        values = (*tensors, *others)
        made = [rules.apply(op, *[values[p] for p in places]) for op, places in form.ops]
        return made[0] if form.many is None else form.many(made)

    return way


def _now(form: _Form) -> list[Tensor] | None:
    """The tensors of enclosing scopes as they are now; None if one is of another kind than it was."""
    tensors = [f.get() for f in form.found]
    for found, t in zip(form.found, tensors, strict=True):
        if not isinstance(t, TensorBase):
            return None
        if t.layout.dtype is not found.kind or bool(t.layout.ndim) is not found.dims:
            return None
    return tensors  # type: ignore[return-value]


# --------------------------------------------------------------------------- tensors of a scope


def _codes(code: types.CodeType) -> Iterator[types.CodeType]:
    """A function's code and that of those within it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _codes(constant)


class _Places:
    """The tensors that a function's names lead to: looked for when the first one is asked for."""

    def __init__(self, function: object):
        self.function = function
        self.places: dict[int, tuple[str, Callable[[], object]]] | None = None

    def _place(self, tensor: object) -> tuple[str, Callable[[], object] | None]:
        if self.places is None:
            self.places = {id(get()): (name, get) for name, get in _ways(self.function)}
        return self.places.get(id(tensor), ("", None))

    def name(self, tensor: object) -> str:
        """What it is called; "" where no name leads to it."""
        return self._place(tensor)[0]

    def get(self, tensor: object) -> Callable[[], object] | None:
        """What gives the tensor that is there now; None where no name leads to it."""
        return self._place(tensor)[1]


def _ways(function: Any) -> Iterator[tuple[str, Callable[[], object]]]:
    """The names that lead to tensors from a function's code, and how to get what is there."""
    seen: set[int] = set()
    queue: list[Any] = [function]
    while queue:
        one = inspect.unwrap(queue.pop())
        if isinstance(one, types.MethodType):
            names = [n for code in _codes(one.__func__.__code__) for n in code.co_names]
            yield from _attributes(partial(getattr, one, "__self__"), names, 2)
            one = one.__func__
        if not isinstance(one, types.FunctionType) or id(one) in seen:
            continue
        seen.add(id(one))
        names = [n for code in _codes(one.__code__) for n in code.co_names]
        free = zip(one.__code__.co_freevars, one.__closure__ or (), strict=True)
        ways: list[tuple[str, Callable[[], object]]] = [
            *((name, partial(getattr, cell, "cell_contents")) for name, cell in free),
            *((n, partial(one.__globals__.__getitem__, n)) for n in names if n in one.__globals__),
        ]
        for name, get in ways:
            try:
                value = get()
            except ValueError:  # an empty cell
                continue
            if isinstance(value, TensorBase):
                yield name, get
            elif isinstance(value, types.FunctionType | types.MethodType):
                if not (value.__module__ or "").startswith("tilegrad"):
                    queue.append(value)
            elif not _is_library(value):
                yield from _attributes(get, names, 2)


def _is_library(value: object) -> bool:
    return isinstance(value, types.ModuleType) and value.__name__.split(".")[0] == "tilegrad"


def _attributes(
    get: Callable[[], object], names: Sequence[str], depth: int
) -> Iterator[tuple[str, Callable[[], object]]]:
    """The tensors among an object's attributes of these names, and of those in turn."""
    value = get()
    for name in names:
        if isinstance(getattr(type(value), name, None), property):
            continue  # it may do anything
        found = getattr(value, name, None)

        def way(name: str = name) -> object:
            return getattr(get(), name)

        if isinstance(found, TensorBase):
            yield name, way
        elif (
            depth > 1
            and found is not None
            and (hasattr(found, "parameters") or not callable(found))
        ):
            yield from _attributes(way, names, depth - 1)
