"""Elementwise functions of the user's own: one function on numbers becomes a differentiable op."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol, overload

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.call_source import are_tensors, call_source, tuple_source
from tilegrad.autograd.checking import Check
from tilegrad.autograd.extra import write_into
from tilegrad.autograd.rules import elementwise as rules
from tilegrad.autograd.rules.creation import tensor
from tilegrad.autograd.rules.operands import plain_operand
from tilegrad.autograd.subject import FormulaFunction, Subject, attach
from tilegrad.engine import calls, dtype as dt
from tilegrad.engine.ops.elementwise import Elementwise
from tilegrad.kernels.formulas.formula import Formula
from tilegrad.kernels.function import DeviceFunction, function_from_source

PROMOTIONS = ("float", "same", "compare")


class ElementwiseFunction(FormulaFunction, Protocol):
    """What :func:`elementwise` makes."""

    def check(
        self, domain: tuple[float, float] = (-3.0, 3.0), seed: int = 0, orders: int = 2
    ) -> None:
        """Compare the kernels of each device with the formula run as Python, their bits between runs and
        numbers of threads, and gradients of two orders with differences; print a table.

        Args:
            domain: where operands are drawn from.
            seed: of the numbers.
            orders: of gradients; 0 for a function that jumps, which differences cannot follow.

        Raises:
            CheckError: something differs; the message has the operands.
        """


Grad = Callable[..., object] | Mapping[str, Callable[..., object]]


@overload
def elementwise(function: Callable[..., object], /) -> ElementwiseFunction: ...
@overload
def elementwise(
    *, grad: Grad | None = None, promotion: str | None = None
) -> Callable[[Callable[..., object]], ElementwiseFunction]: ...


def elementwise(
    function: Callable[..., object] | None = None,
    /,
    *,
    grad: Grad | None = None,
    promotion: str | None = None,
) -> ElementwiseFunction | Callable[[Callable[..., object]], ElementwiseFunction]:
    """Make a function of tensors from a function of numbers: kernels for every device, broadcasting,
    promotion of dtypes and derivatives of any order, from its source.

    Arguments without a default are operands: tensors, or numbers beside them. Those whose default is a
    number are scalars; given a tensor, they become operands. Literals have the operands' dtype. Inside, a
    function may use arithmetic, comparisons, ``if``, loops over ``range``, ``abs``, ``min``, ``max``, the
    standard formulas (``exp``, ``log``, ``erf``, ... by name, or as ``math.exp``), other functions of
    the same kind, and numbers of an enclosing scope. It returns a number, or a tuple of them: a tensor each.

    Args:
        grad: the derivative, where it is not to be worked out: a function for one operand, or one per
            argument by its name. Its own arguments name what it reads: arguments, or ``out``.
        promotion: how dtypes go through. ``float``: integers become the default float; ``same``: the
            promoted dtype in and out; ``compare``: as ``same``, but the result is bool. By default what
            the source does: ``compare`` where it returns a truth value, ``same`` where it adds,
            multiplies and compares alone, else ``float``; what looks at bits takes integers only.

    Raises:
        FormulaError: the function holds something that no kernel can; names line and expression.
    """
    if function is None:
        return lambda f: _make(f, grad, promotion)
    return _make(function, grad, promotion)


def _make(
    function: Callable[..., object], grad: Grad | None, promotion: str | None
) -> ElementwiseFunction:
    from tilegrad.kernels.formulas import user

    name = user.title(function)
    made = user.formulas(function)
    kind = user.kind_of(function) if promotion is None else promotion
    if promotion is not None and kind not in PROMOTIONS:
        raise ValueError(f"elementwise: promotion must be one of {PROMOTIONS}; got {promotion!r}")
    names, defaults = _arguments(function)
    if grad is not None:
        _declare(name, made, names, grad)
    work = _Calls(name, made, kind, names, defaults)
    call = function_from_source(
        work.text(), name, {"calls": work, "Tensor": TensorBase, "rules": rules, "engine": calls},
        module=function.__module__,
    )  # fmt: skip
    call.__doc__, call.__qualname__ = inspect.getdoc(function), function.__qualname__
    call.__signature__ = _signature(names, defaults)  # type: ignore[attr-defined]
    call.formulas = made  # type: ignore[attr-defined]
    call.formula = made[0] if len(made) == 1 else None  # type: ignore[attr-defined]
    call.source = "\n".join(f.source or "" for f in made)  # type: ignore[attr-defined]
    call.derivative = work.derivative  # type: ignore[attr-defined]
    call.python = function  # type: ignore[attr-defined]
    work.call = call
    attach(Subject(call, tuple(names[: work.arity]), function, work.checking, lambda: made))
    call.check = work.check  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]  # its attributes are set above


def _arguments(function: Callable[..., object]) -> tuple[list[str], dict[str, float]]:
    """Names of all arguments, and the defaults of those that are scalars."""
    defaults: dict[str, float] = {}
    names: list[str] = []
    for parameter in inspect.signature(function).parameters.values():
        value = parameter.default
        names.append(parameter.name)
        if value is parameter.empty:
            if defaults:
                raise TypeError(
                    f"{function.__name__}: operands come before scalars; got {parameter.name} without "
                    f"a default behind {next(iter(defaults))}"
                )
            continue
        if value.__class__ not in (int, float, bool):
            raise TypeError(
                f"{function.__name__}: the default of a scalar is a number; got "
                f"{parameter.name}={value!r}"
            )
        defaults[parameter.name] = value
    if len(defaults) == len(names):
        raise TypeError(
            f"{function.__name__}: one argument at least is an operand, without a default; got "
            f"{', '.join(names)}"
        )
    return names, defaults


def _declare(name: str, made: tuple[DeviceFunction, ...], names: Sequence[str], grad: Grad) -> None:
    from tilegrad.kernels.formulas import user
    from tilegrad.kernels.formulas.declared import declare

    if len(made) > 1:
        raise TypeError(f"{name}: grad= is for functions of one output; got {len(made)}")
    if not isinstance(grad, Mapping):
        if len(names) > 1:
            raise TypeError(f"{name}: grad= must name its argument, as in grad={{{names[0]!r}: f}}")
        grad = {names[0]: grad}
    declare(made[0], **{wrt: user.formulas(f)[0] for wrt, f in grad.items()})


def _signature(names: Sequence[str], defaults: Mapping[str, float]) -> inspect.Signature:
    both, by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    given = [
        inspect.Parameter(n, both, default=defaults.get(n, inspect.Parameter.empty)) for n in names
    ]
    return inspect.Signature([*given, inspect.Parameter("out", by_name, default=None)])


class _Calls:
    """The ops behind one function, and the calls that are not straight ones."""

    def __init__(
        self,
        name: str,
        made: tuple[DeviceFunction, ...],
        kind: str,
        names: list[str],
        defaults: dict[str, float],
    ):
        self.name, self.made, self.kind = name, made, kind
        self.names, self.defaults = names, defaults
        self.arity = len(names) - len(defaults)
        self.variants: dict[tuple[str, ...], tuple[Elementwise, ...]] = {}
        self.ops = self.ops_for(())
        self.call: Any = None

    def ops_for(self, operands: tuple[str, ...]) -> tuple[Elementwise, ...]:
        """The ops where these scalars are operands."""
        found = self.variants.get(operands)
        if found is None:
            found = self.variants[operands] = tuple(
                Elementwise(
                    Formula(
                        self.name,
                        self.ordered(f, operands),
                        kind=self.kind,
                        params=len(self.defaults) - len(operands),
                        differentiable=self.kind not in ("compare", "integer"),
                    )
                )
                for f in self.made
            )
        return found

    def ordered(self, formula: DeviceFunction, operands: tuple[str, ...]) -> DeviceFunction:
        """The formula with these scalars in front of the others."""
        rest = [n for n in self.defaults if n not in operands]
        order = [*self.names[: self.arity], *operands, *rest]
        if order == self.names:
            return formula
        from tilegrad.kernels.formulas.derive import call_of
        from tilegrad.kernels.formulas.symbolic.source import write

        title = f"{formula.__name__}_of_{'_'.join(operands)}"
        called = replace(call_of(formula), name=title, parameters=order)
        return write(called, f"{formula.__name__}, {', '.join(operands)} as operands")

    def text(self) -> str:
        """The source of the public function: the straight call, and all others."""
        operands, params = self.names[: self.arity], self.names[self.arity :]
        given = [*operands, *(f"{p}={self.defaults[p]!r}" for p in params), "*", "out=None"]
        usual = ["out is None", *are_tensors(operands)]
        usual += [f"{p}.__class__ is float" for p in params]
        values = ", ".join(operands)
        call = "apply" if params else {1: "unary", 2: "binary"}.get(self.arity, "apply")
        tail = f", params={tuple_source(params)}" if params else ""
        runs = [f"rules.{call}(calls.ops[{k}], {values}{tail})" for k in range(len(self.ops))]
        body = [f"return {runs[0] if len(runs) == 1 else tuple_source(runs)}"]
        if params and len(runs) == 1:
            fresh = " and ".join(f"not {x}._tracked and {x}._base is None" for x in operands)
            key = tuple_source(f"{x}.layout" for x in operands)
            body = [
                f"if {fresh}:",
                f"    made = engine.run_at(calls.ops[0], {key}, {tuple_source(params)}, {values})",
                "    if made is not None:",
                "        return made",
                *body,
            ]
        if params and self.kind != "float":
            body = []  # what a scalar is to the dtype is looked at
        other = f"calls.other({tuple_source(operands)}, {tuple_source(params)}, out)"
        return call_source(self.name, given, other, (usual, body))

    def other(self, operands: tuple[object, ...], params: tuple[Any, ...], out: Any) -> Any:
        """A call with numbers among its operands, tensors among its scalars, or ``out``."""
        given = dict(zip(self.defaults, params, strict=True))
        tensors = {n: v for n, v in given.items() if isinstance(v, TensorBase)}
        scalars = [v for n, v in given.items() if n not in tensors]
        values = [*operands, *tensors.values()]
        like = next((v for v in values if isinstance(v, TensorBase)), None)
        if like is None:
            raise TypeError(
                f"{self.name}: one operand at least must be a tensor; got "
                f"{', '.join(type(v).__name__ for v in values)}"
            )
        for value in scalars:
            if value.__class__ not in (int, float, bool):
                raise TypeError(
                    f"{self.name}: a scalar must be a number; got {type(value).__name__}"
                )
        ready = [plain_operand(v, like, self.name) for v in values]
        wanted = dt.result_type(*((t.layout.dtype, 2 if t.layout.ndim else 1) for t in ready))
        if scalars:
            wanted = dt.result_type((wanted, 2), *((dt.of_scalar(s), 0) for s in scalars))
        if self.kind == "float" and not wanted.is_floating_point:
            wanted = dt.get_default_dtype()
        ready = [rules.to_dtype(t, wanted) for t in ready]
        numbers = tuple([float(s) if wanted.is_floating_point else int(s) for s in scalars])
        ops = self.ops_for(tuple(tensors))

        def run() -> object:
            made = tuple([rules.apply(op, *ready, params=numbers) for op in ops])
            return made[0] if len(made) == 1 else made

        return run() if out is None else write_into(self.name, run, out, values)

    def checking(
        self, domain: tuple[float, float] = (-3.0, 3.0), seed: int = 0, orders: int = 2
    ) -> tuple[Check, Callable[[], None]]:
        """The checks, and what runs them all."""

        def make(array: object, device: str) -> Tensor:
            return tensor(array).to(device)

        work = Check(self.call, self.made, self.names, self.defaults, self.kind, make)
        return work, partial(work.run, *domain, seed, orders)

    def check(
        self, domain: tuple[float, float] = (-3.0, 3.0), seed: int = 0, orders: int = 2
    ) -> None:
        """See :meth:`ElementwiseFunction.check`."""
        work, run = self.checking(domain, seed, orders)
        run()
        print(f"{self.name}\n{work.table()}")

    def derivative(self, name: str, output: int = 0) -> str:
        """The source of the derivative of an output with respect to an argument."""
        from tilegrad.kernels.formulas.derive import differentiate

        return differentiate(self.made[output], name).source or ""
