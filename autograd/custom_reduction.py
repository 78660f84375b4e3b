"""Reductions of the user's own: how two partial results combine becomes a differentiable op."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property, partial
from typing import Any, Protocol, overload

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.call_source import are_tensors, call_source, tuple_source
from tilegrad.autograd.checking_reduction import ReductionCheck
from tilegrad.autograd.extra import write_into
from tilegrad.autograd.mode import state
from tilegrad.autograd.reduction_gradients import Derived, Given
from tilegrad.autograd.reduction_parts import Parts
from tilegrad.autograd.rule import Rule, needs_graph
from tilegrad.autograd.rules import elementwise as rules
from tilegrad.autograd.rules.creation import tensor
from tilegrad.autograd.rules.operands import plain_operand
from tilegrad.autograd.rules.reduce import dims_of
from tilegrad.autograd.subject import Subject, UserFunction, attach
from tilegrad.engine import calls, dtype as dt
from tilegrad.engine.dispatch import Op
from tilegrad.engine.ops.reduce import own_reduction
from tilegrad.engine.shape import broadcast_shapes
from tilegrad.kernels.function import DeviceFunction, function_from_source
from tilegrad.kernels.monoids import MONOIDS, Own, own_monoid

Function = Callable[..., object]
Grad = Function | Mapping[str, Function]
Dims = int | Sequence[int] | None
Identity = float | tuple[float, ...]

PROMOTIONS = ("float", "same")


class ReductionFunction(UserFunction, Protocol):
    """What :func:`reduction` makes.

    Attributes:
        formulas: per accumulator, how two partial results combine, in the form that kernels compile.
        source: the source of all its formulas.
    """

    __name__: str
    formulas: tuple[DeviceFunction, ...]
    source: str

    def __call__(
        self,
        *operands: object,
        dim: Dims = None,
        keepdim: bool = False,
        out: object = None,
        **params: object,
    ) -> Any:
        """The reduction of tensors, which broadcast and are promoted, over ``dim``."""

    def derivative(self, name: str) -> str:
        """The source of what the gradient of an operand is made of."""

    def check(self, domain: tuple[float, float] = (-3.0, 3.0), seed: int = 0) -> None:
        """Compare the kernels of each device with a fold in Python; see that the combination is
        associative, commutative and has its identity; compare bits between runs and numbers of threads,
        and gradients of two orders with differences; print a table.

        Args:
            domain: where operands are drawn from.
            seed: of the numbers.

        Raises:
            CheckError: something differs; the message has the numbers.
        """


@overload
def reduction(
    combine: Function,
    /,
    *,
    identity: Identity,
    each: Function | None = None,
    last: Function | None = None,
    grad: Grad | None = None,
    promotion: str | None = None,
) -> ReductionFunction: ...
@overload
def reduction(
    *,
    identity: Identity,
    each: Function | None = None,
    last: Function | None = None,
    grad: Grad | None = None,
    promotion: str | None = None,
) -> Callable[[Function], ReductionFunction]: ...


def reduction(
    combine: Function | None = None,
    /,
    *,
    identity: Identity,
    each: Function | None = None,
    last: Function | None = None,
    grad: Grad | None = None,
    promotion: str | None = None,
) -> ReductionFunction | Callable[[Function], ReductionFunction]:
    """Make a function of tensors from how two partial results combine: deterministic kernels for every
    device over any dimensions, and its gradient. What functions may hold, :func:`elementwise` says.

    Float32 is combined in float32 for short runs and in float64 beyond, integers and bool in int64, as
    the sum is. The combination must be associative and commutative, to rounding; ``check()`` tries it.

    Args:
        identity: what changes nothing, a number per accumulator; infinities stand for the ends of an
            integer's range.
        each: what an element contributes, a number per accumulator; one argument for each operand, and
            scalars, whose default is a number. Without it, the element.
        last: what the accumulators give, a number for each result; takes scalars, too. Without it, the
            accumulators.
        grad: the gradient with respect to an operand, where it cannot be worked out, as a function of
            numbers for each element: a function for one operand, or one for each by its name. Its
            arguments name what it reads: operands, scalars, ``out`` and ``grad``, the result and its
            gradient (``out_0``, ``grad_0``, … of several), and ``count``, the elements in a result.
        promotion: ``float``: integers become the default float; ``same``: they are totalled as they are.
            By default what the source does, as for :func:`elementwise`.

    Raises:
        FormulaError: a function holds something that no kernel can; names line and expression.
        TypeError: the functions do not fit each other.
    """
    if combine is not None:
        return _make(combine, identity, each, last, grad, promotion)
    return lambda function: _make(function, identity, each, last, grad, promotion)


def _make(
    combine: Function,
    identity: object,
    each: Function | None,
    last: Function | None,
    grad: Grad | None,
    promotion: str | None,
) -> ReductionFunction:
    from tilegrad.kernels.formulas import user

    parts = Parts.of(user.title(combine), combine, identity, each, last)
    kind = parts.kind if promotion is None else promotion
    if kind not in PROMOTIONS:
        raise ValueError(f"reduction: promotion must be one of {PROMOTIONS}; got {promotion!r}")
    work = Reduction(parts, kind, grad)
    call = function_from_source(
        work.text(), parts.name, {"work": work, "Tensor": TensorBase, "dims_of": dims_of, "calls": calls},
        module=combine.__module__,
    )  # fmt: skip
    call.__doc__, call.__qualname__ = inspect.getdoc(combine), combine.__qualname__
    made: Any = call
    made.formulas, made.source = parts.combines, work.source()
    made.derivative = work.derivative
    work.call, made.check = made, work.check
    attach(Subject(made, tuple(parts.operands), None, work.checking))
    result: ReductionFunction = made
    return result


class Reduction:
    """The ops behind one function, and its calls."""

    def __init__(self, parts: Parts, kind: str, grad: Grad | None):
        self.parts, self.kind, self.name = parts, kind, parts.name
        self.defaults = parts.scalars
        self.call: Any = None
        self.op = self.op_of(parts.results, parts.truth)
        self.given = None if grad is None else Given(parts, self.op, grad)

    def op_of(self, results: tuple[DeviceFunction, ...], truth: bool = False) -> Op:
        """The op that gives ``results``."""
        parts = self.parts
        own = Own(
            parts.contributions, parts.combines, parts.starts, results, len(parts.operands),
            len(parts.scalars),
        )  # fmt: skip
        monoid = own_monoid(self.name, own, parts.lifts is None)
        MONOIDS[monoid.name] = monoid
        return own_reduction(self.name, monoid.name, self.kind, truth)

    @cached_property
    def gradient(self) -> Derived | Given | None:
        """How operands get their gradient; None where nobody knows."""
        parts = self.parts
        return self.given or Derived.of(parts, self.op, self.op_of)

    @cached_property
    def recorded(self) -> Rule | None:
        """The rule of a call that needs no more than one, if there is such."""
        how = self.gradient
        if how is None or len(self.parts.results) > 1 or self.parts.truth:
            return None
        if isinstance(how, Given):
            return how.rule if len(how.formulas) == len(self.parts.operands) else None
        return how.rule if how.last is None else None

    def text(self) -> str:
        """The source of the public function: the straight call, and all others."""
        operands, scalars = self.parts.operands, self.defaults
        values = tuple_source(operands)
        given = [*operands, "dim=None", "keepdim=False", "*"]
        given += [*(f"{p}={v!r}" for p, v in scalars.items()), "out=None"]
        x, *rest = operands
        usual = ["out is None", *are_tensors(operands)]
        usual += [f"{x}.layout.shape == {n}.layout.shape" for n in rest]
        fresh = [f"not {n}._tracked and {n}._base is None" for n in operands]
        body = [f"dims = dims_of({self.name!r}, dim, {x}.layout.ndim)"]
        if scalars:
            usual += [*(f"{p}.__class__ is float" for p in scalars), *fresh]
            key = tuple_source([*(f"{n}.layout" for n in operands), "dims", "keepdim"])
            run = f"calls.run_at(work.op, {key}, {tuple_source(scalars)}, {', '.join(operands)})"
            body += [f"made = {run}", "if made is not None:", "    return made"]
        else:
            body += [
                f"if {' and '.join(fresh)}:",
                f"    made = calls.run(work.op, {', '.join(operands)}, dims, keepdim)",
                "    if made is not None:",
                "        return made",
                "elif work.recorded is not None:",
                f"    return work.recorded.at({values}, (dims, keepdim))",
            ]
        other = f"work.other({values}, dim, keepdim, {tuple_source(scalars)}, out)"
        return call_source(self.name, given, other, (usual, body))

    def other(
        self,
        operands: tuple[object, ...],
        dim: Dims,
        keepdim: object,
        params: tuple[Any, ...],
        out: Any,
    ) -> Any:
        """A call with numbers among its operands, scalars, ``out``, or a gradient to record."""
        like = next((v for v in operands if isinstance(v, TensorBase)), None)
        if like is None:
            raise TypeError(
                f"{self.name}: one operand at least must be a tensor; got "
                f"{', '.join(type(v).__name__ for v in operands)}"
            )
        for word, value in zip(self.defaults, params, strict=True):
            if value.__class__ not in (int, float, bool):
                raise TypeError(
                    f"{self.name}: the scalar {word} must be a number; got {type(value).__name__} "
                    f"(an argument of each without a default is an operand)"
                )
        ready = tuple([plain_operand(v, like, self.name) for v in operands])
        shape = broadcast_shapes(self.name, *(t.layout.shape for t in ready))
        dims = dims_of(self.name, dim, len(shape))
        numbers = tuple([float(v) for v in params])
        if out is not None:
            return write_into(
                self.name,
                lambda: self.op(*ready, params=numbers, dims=dims, keepdim=bool(keepdim)),
                out, operands,
            )  # fmt: skip
        if not state.grad or self.parts.truth or not needs_graph(ready):
            return self.op(*ready, params=numbers, dims=dims, keepdim=bool(keepdim))
        if self.gradient is None:
            raise RuntimeError(
                f"{self.name}: an operand requires grad, and no gradient can be derived: the "
                f"combination of each accumulator must be a sum of its two parts, or their max or min; "
                f"give reduction(grad=...), or detach() the operand"
            )
        kind = dt.result_type(*((t.layout.dtype, 2 if t.layout.ndim else 1) for t in ready))
        ready = tuple([rules.to_dtype(t, kind) for t in ready])
        return self.gradient.call(ready, dims, bool(keepdim), numbers)

    def source(self) -> str:
        """Of all its functions."""
        parts = self.parts
        every = [*(parts.lifts or ()), *parts.combines, *(parts.finishes or ())]
        return "\n".join(f.source or "" for f in every)

    def derivative(self, name: str) -> str:
        """The source of what the gradient of an operand is made of."""
        if name not in self.parts.operands:
            raise TypeError(
                f"{self.name}: derivative of one of {list(self.parts.operands)}; got {name!r}"
            )
        if self.gradient is None:
            raise TypeError(f"{self.name}: no gradient can be derived, and none was given")
        return self.gradient.source(name)

    def checking(
        self, domain: tuple[float, float] = (-3.0, 3.0), seed: int = 0
    ) -> tuple[ReductionCheck, Callable[[], None]]:
        """The checks, and what runs them all."""

        def make(array: object, device: str) -> Tensor:
            return tensor(array).to(device)

        differentiable = self.gradient is not None and not self.parts.truth
        work = ReductionCheck(self.call, self.parts, self.kind, differentiable, make)
        return work, partial(work.run, *domain, seed)

    def check(self, domain: tuple[float, float] = (-3.0, 3.0), seed: int = 0) -> None:
        """See :meth:`ReductionFunction.check`."""
        work, run = self.checking(domain, seed)
        run()
        print(f"{self.name}\n{work.table()}")
