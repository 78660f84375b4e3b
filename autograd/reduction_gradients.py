"""Gradients of the user's reductions: worked out from their functions, or by formulas that are given.

An accumulator whose combination is the sum of its two parts is S = sum of each(x), so that dS/dx =
each'(x); of one that is their max or min, the elements that reach it share the gradient evenly. What the
results make of the accumulators is differentiated as any elementwise function.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tilegrad.autograd.annotations import Tensor, Tensors
from tilegrad.autograd.graph import Node, zeros_of
from tilegrad.autograd.reduction_parts import Parts, itself
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import elementwise as rules, view
from tilegrad.autograd.rules.reduce import only, reduced_count, sum, with_dims
from tilegrad.engine.array import Layout
from tilegrad.engine.dispatch import Op
from tilegrad.engine.ops.elementwise import OPS, Elementwise
from tilegrad.engine.shape import Shape, broadcast_shapes
from tilegrad.kernels.formulas.declared import parameters
from tilegrad.kernels.formulas.formula import Formula
from tilegrad.kernels.function import DeviceFunction
from tilegrad.kernels.monoids import add, form_of, larger, smaller

_MATCHES = OPS["matches"]

Grads = tuple["Tensor | None", ...]


class Derived:
    """The gradient of accumulators that are sums, largest or smallest elements.

    Args:
        forms: per accumulator, :func:`add`, :func:`larger` or :func:`smaller`.
        op: gives the results and, unless they are the accumulators, these behind them.
    """

    def __init__(self, parts: Parts, forms: Sequence[DeviceFunction], op: Op):
        self.parts, self.forms, self.op = parts, forms, op
        name, params = parts.name, len(parts.scalars)
        self.each = self.last = None
        if parts.lifts is not None:
            self.each = [_elementwise(f"{name}_each", f, params) for f in parts.contributions]
        if parts.finishes is not None:
            self.last = [_elementwise(f"{name}_last", f, params) for f in parts.results]
        self.places = self._places()
        saves = (*self.places, *(-1 - q for q, form in enumerate(forms) if form is not add))
        self.rule = Rule(op, self.vjp, saves)

    @staticmethod
    def of(parts: Parts, op: Op, op_of: Callable[..., Op]) -> Derived | None:
        """None where the combination of an accumulator is neither a sum nor a max or min."""
        from tilegrad.kernels.formulas.derive import DerivativeError, constant, differentiate

        width, forms = len(parts.combines), []
        try:
            for q, combine in enumerate(parts.combines):
                names = parameters(combine)
                left, right = names[q], names[width + q]
                form = form_of(combine, left, right)
                slopes = [] if form else [constant(combine, n) for n in names]
                if slopes == [int(n in (left, right)) for n in names]:
                    form = add
                if form not in (add, larger, smaller):
                    return None
                forms.append(form)
            for f in parts.lifts or ():
                for name in parts.operands:
                    differentiate(f, name)
        except DerivativeError:
            return None
        if parts.finishes is not None:
            names = parameters(parts.results[0])
            own = [itself(n, names) for n in names[:width]]
            op = op_of((*parts.results, *own))
        return Derived(parts, forms, op)

    def _places(self) -> tuple[int, ...]:
        """Which operands the gradient reads."""
        if self.each is None:
            return (0,) if any(form is not add for form in self.forms) else ()
        found: set[int] = set()
        for op, form in zip(self.each, self.forms, strict=True):
            for place in range(len(self.parts.operands)):
                reads = {r for r in rules.derivative(op, place).reads if r is not None}
                found |= set(range(len(self.parts.operands))) if -1 in reads else reads
            if form is not add:
                found |= set(range(len(self.parts.operands)))
        return tuple(sorted(found))

    def call(
        self, ready: tuple[Tensor, ...], dims: Shape, keepdim: bool, params: tuple[float, ...]
    ) -> Tensors:
        """The results, recorded."""
        meta = (dims, keepdim, params)
        made = self.op(*ready, params=params, dims=dims, keepdim=keepdim)
        if self.last is None:
            return _recorded(self.rule, ready, made, meta)
        outs, totals = made[: len(self.last)], made[len(self.last) :]
        self.rule.record_all(ready, totals, meta)
        for op, out in zip(self.last, outs, strict=True):
            rules.rule_of(op).record_all(totals, (out,), params)
        results: tuple[Tensor, ...] = outs
        return results if len(results) > 1 else results[0]

    def vjp(self, node: Node, *grads: Tensor) -> Grads:
        """The gradient of each operand; ``grads`` are those of the accumulators."""
        dims, keepdim, params = _call_of(node)
        shape = broadcast_shapes(self.parts.name, *(kind.shape for kind in node.inputs))
        saved = dict(zip(self.rule.saves, node.unpack(), strict=True))
        xs: list[Any] = [saved.get(place) for place in range(len(node.inputs))]
        into = [with_dims(g, shape, dims, keepdim) for g in grads]
        for q, form in enumerate(self.forms):
            if form is not add:
                end = with_dims(saved[-1 - q].detach(), shape, dims, keepdim)
                reached = (
                    xs[0] if self.each is None else rules.apply(self.each[q], *xs, params=params)
                )
                ties = rules.binary(_MATCHES, view.expand(reached.detach(), shape), end)
                into[q] = only(ties, into[q] / sum(ties, dims, True))
        return tuple(
            None if edge is None else self._gradient(place, kind, xs, into, params, shape)
            for place, (edge, kind) in enumerate(zip(node.edges, node.inputs, strict=True))
        )

    def _gradient(
        self,
        place: int,
        kind: Layout,
        xs: list[Any],
        into: list[Tensor],
        params: tuple[float, ...],
        shape: Shape,
    ) -> Tensor:
        from tilegrad.kernels.formulas.derive import constant

        name, total = self.parts.operands[place], None
        for q, grad in enumerate(into):
            part = grad
            if self.each is not None:
                if constant(self.parts.contributions[q], name) == 0:
                    continue
                part = _pulled(self.each[q], xs, place, grad, params)
            total = part if total is None else total + part
        if total is None:
            return zeros_of(kind)
        return total if total.layout.shape == shape else view.expand(total, shape)

    def source(self, name: str) -> str:
        """The derivatives that it is made of."""
        from tilegrad.kernels.formulas.derive import differentiate

        lines = []
        for f in self.parts.lifts or ():
            lines.append(differentiate(f, name).source or "")
        for f in self.parts.finishes or ():
            totals = parameters(f)[: len(self.forms)]
            lines += [differentiate(f, total).source or "" for total in totals]
        return "\n".join(lines) or f"# d {self.parts.name} / d {name} = 1\n"


class Given:
    """The gradient by formulas of the user's, one for each operand that has one."""

    def __init__(self, parts: Parts, op: Op, grad: object):
        from tilegrad.kernels.formulas import user

        self.parts, self.op = parts, op
        if not isinstance(grad, Mapping):
            if len(parts.operands) > 1:
                raise TypeError(
                    f"{parts.name}: grad= must name its operand, as in grad={{{parts.operands[0]!r}: f}}"
                )
            grad = {parts.operands[0]: grad}
        unknown = set(grad) - set(parts.operands)
        if unknown:
            raise TypeError(
                f"{parts.name}: grad= is for the operands {list(parts.operands)}; got {sorted(unknown)}"
            )
        self.formulas: dict[str, DeviceFunction] = {}
        for operand, function in grad.items():
            made = user.of_callable(function)
            if made is None or len(made) != 1:
                raise TypeError(
                    f"{parts.name}: the gradient of {operand} must be a function that returns a number; "
                    f"got {function!r}"
                )
            self.formulas[operand] = made[0]
        self.steps = {n: self._step(n, f) for n, f in self.formulas.items()}
        read = {word for words, _, _ in self.steps.values() for word in words}
        places = [k for k, n in enumerate(parts.operands) if n in read]
        self.saves = (*places, *(-1 - k for k, n in enumerate(self.words("out")) if n in read))
        self.rule = Rule(op, self.vjp, self.saves)

    def words(self, what: str) -> list[str]:
        """``out`` or ``grad``, as a formula names those of each result."""
        count = len(self.parts.results)
        return [what] if count == 1 else [f"{what}_{k}" for k in range(count)]

    def _step(
        self, operand: str, formula: DeviceFunction
    ) -> tuple[list[str], list[str], Elementwise]:
        """(tensors that a formula reads, scalars that it reads, its op)."""
        parts, names = self.parts, parameters(formula)
        known = [*parts.operands, *self.words("out"), *self.words("grad")]
        scalars = [*parts.scalars, "count"]
        for name in names:
            if name not in known + scalars:
                raise TypeError(
                    f"{parts.name}: the gradient of {operand} may read {', '.join(known + scalars)}; "
                    f"got {name}"
                )
        tensors, numbers = [n for n in names if n in known], [n for n in names if n in scalars]
        title = f"{parts.name}_backward"
        if not tensors or names != tensors + numbers:
            from tilegrad.kernels.formulas.derive import call_of
            from tilegrad.kernels.formulas.symbolic.source import write

            tensors = tensors or self.words("grad")[:1]
            definition = replace(call_of(formula), parameters=[*tensors, *numbers])
            formula = write(replace(definition, name=f"{formula.__name__}_in_order"), title)
        return tensors, numbers, _elementwise(title, formula, len(numbers))

    def call(
        self, ready: tuple[Tensor, ...], dims: Shape, keepdim: bool, params: tuple[float, ...]
    ) -> Tensors:
        """The results, recorded.

        Raises:
            RuntimeError: an operand that requires grad has no formula.
        """
        for name, t in zip(self.parts.operands, ready, strict=True):
            if t._tracked and name not in self.formulas:
                raise RuntimeError(
                    f"{self.parts.name}: {name} requires grad, and grad= has no formula for it; got "
                    f"those of {', '.join(self.formulas)}"
                )
        made = self.op(*ready, params=params, dims=dims, keepdim=keepdim)
        return _recorded(self.rule, ready, made, (dims, keepdim, params))

    def vjp(self, node: Node, *grads: Tensor) -> Grads:
        """The gradient of each operand that needs one."""
        dims, keepdim, params = _call_of(node)
        shape = broadcast_shapes(self.parts.name, *(kind.shape for kind in node.inputs))
        known: dict[str, Any] = dict(zip(self.parts.scalars, params, strict=True))
        known["count"] = float(reduced_count(shape, dims))
        outs = self.words("out")
        for place, value in zip(self.saves, node.unpack(), strict=True):
            if place < 0:
                known[outs[-1 - place]] = with_dims(value, shape, dims, keepdim)
            else:
                known[self.parts.operands[place]] = value
        for word, grad in zip(self.words("grad"), grads, strict=True):
            known[word] = with_dims(grad, shape, dims, keepdim)
        result: list[Tensor | None] = []
        for name, edge in zip(self.parts.operands, node.edges, strict=True):
            if edge is None:
                result.append(None)
                continue
            tensors, numbers, op = self.steps[name]
            made = rules.apply(
                op, *[known[n] for n in tensors], params=tuple([known[n] for n in numbers])
            )
            result.append(made if made.layout.shape == shape else view.expand(made, shape))
        return tuple(result)

    def source(self, name: str) -> str:
        """The formula that was given."""
        if name not in self.formulas:
            raise TypeError(f"{self.parts.name}: grad= has no formula for {name}")
        return self.formulas[name].source or ""


def _elementwise(name: str, formula: DeviceFunction, params: int) -> Elementwise:
    return Elementwise(Formula(name, formula, params=params))


def _recorded(rule: Rule, inputs: tuple[Tensor, ...], made: Tensors, meta: object) -> Tensors:
    """What an op made, one result or several, recorded."""
    if isinstance(made, tuple):
        return rule.record_all(inputs, made, meta)
    return rule.record_all(inputs, (made,), meta)[0]


def _call_of(node: Node) -> tuple[Shape, bool, tuple[float, ...]]:
    """The dimensions, ``keepdim`` and scalars of a call; :meth:`Rule.at` knows no scalars."""
    dims, keepdim, *params = node.meta
    return dims, keepdim, params[0] if params else ()


def _pulled(
    op: Elementwise, xs: Sequence[Tensor], place: int, grad: Tensor, params: tuple[float, ...]
) -> Tensor:
    """``grad`` times the derivative of ``op(*xs)`` with respect to an operand."""
    how = rules.derivative(op, place)
    operands = [grad]
    for read in how.reads[1:]:
        operands.append(rules.apply(op, *xs, params=params) if read == -1 else xs[read])  # type: ignore[index]
    return rules.apply(how.op, *operands, params=tuple([params[p] for p in how.params]))
