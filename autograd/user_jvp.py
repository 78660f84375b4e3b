"""Directional derivatives of ops of the user's own: given ones, and those by way of the VJP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from tilegrad.autograd.annotations import Number, Tensor, Tensors
from tilegrad.autograd.base import TensorBase, zeros_of
from tilegrad.autograd.gradients import grad as gradients_of
from tilegrad.autograd.mode import enable_grad
from tilegrad.engine.signature import Operand, Signature
from tilegrad.kernels.bodies import asked


class DifferentiableOp(Protocol):
    """What is needed of an op here: see :class:`tilegrad.autograd.user_calls.Work`."""

    name: str
    signature: Signature
    operands: tuple[Operand, ...]
    outputs: tuple[Operand, ...]
    results: tuple[Operand, ...]
    call: Callable[..., Any]
    given_jvp: Callable[..., Any] | None


def forward(
    work: DifferentiableOp,
    primals: tuple[Tensor, ...],
    tangents: tuple[Tensor, ...],
    scalars: Mapping[str, Number],
) -> tuple[Tensors, Tensors]:
    """(results, their tangents) of an op; None stands for a tangent of zeros.

    Raises:
        RuntimeError: a tangent has another shape than its operand.
    """
    operands = work.operands
    if len(primals) != len(operands) or len(tangents) != len(operands):
        raise RuntimeError(
            f"{work.name}: jvp takes {len(operands)} operands and as many tangents; got {len(primals)} "
            f"and {len(tangents)}"
        )
    for x, primal, tangent in zip(operands, primals, tangents, strict=True):
        if tangent is not None and tangent.shape != primal.shape:
            raise RuntimeError(
                f"{work.name}: the tangent of {x.name} must have shape {list(primal.shape)}; got "
                f"{list(tangent.shape)}"
            )
    ready = [zeros_of(p.layout) if t is None else t for p, t in zip(primals, tangents, strict=True)]
    if work.given_jvp is None:
        return _by_the_vjp(work, primals, ready, scalars)
    results = _results(work, primals, scalars)
    values: dict[str, Any] = {s.name: s.default for s in work.signature.scalars} | dict(scalars)
    for x, primal, tangent in zip(operands, primals, ready, strict=True):
        values |= {x.name: primal, f"old_{x.name}": primal, f"tangent_{x.name}": tangent}
    values |= {y.name: value for y, value in zip(work.results, results, strict=True)}
    found = work.given_jvp(*[values[name] for name in asked(work.given_jvp)])
    made = tuple(found) if isinstance(found, (tuple, list)) else (found,)
    if len(made) != len(results):
        raise RuntimeError(
            f"{work.name}: .jvp must return a tangent for each of "
            f"{', '.join(y.name for y in work.results)}; got {len(made)} values"
        )
    for y, value, tangent in zip(work.results, results, made, strict=True):
        wrong = tangent is not None and tuple(getattr(tangent, "shape", ())) != tuple(value.shape)
        if wrong:
            raise RuntimeError(
                f"{work.name}: .jvp must return a tangent of {y.name} of shape {list(value.shape)}; got "
                f"{list(tangent.shape) if isinstance(tangent, TensorBase) else type(tangent).__name__}"
            )
    return _alone(results), _alone(made)


def _alone(values: Sequence[Tensor]) -> Tensors:
    return values[0] if len(values) == 1 else tuple(values)


def _results(
    work: DifferentiableOp, primals: Sequence[Tensor], scalars: Mapping[str, Number]
) -> tuple[Tensor, ...]:
    """What is written over, in copies, and the outputs."""
    ready = [p * 1 if x.inout else p for x, p in zip(work.operands, primals, strict=True)]
    by_name = {x.name: t for x, t in zip(work.operands, ready, strict=True)}
    made = work.call(**by_name, **scalars)
    outs = made if isinstance(made, tuple) else (made,)
    written = [t for x, t in zip(work.operands, ready, strict=True) if x.inout]
    return (*written, *(outs if work.outputs else ()))


def _by_the_vjp(
    work: DifferentiableOp,
    primals: Sequence[Tensor],
    tangents: Sequence[Tensor],
    scalars: Mapping[str, Number],
) -> tuple[Tensors, Tensors]:
    """The VJP is linear in the gradients that come in: its derivative by them, along the tangents."""
    with enable_grad():
        floats = [p.layout.dtype.is_floating_point for p in primals]
        leaves = [p.detach().requires_grad_(f) for p, f in zip(primals, floats, strict=True)]
        results = _results(work, leaves, scalars)
        flowing = [y for y in results if y.requires_grad]
        if not flowing:
            return _alone(results), _alone([zeros_of(y.layout) for y in results])
        given = [zeros_of(y.layout).requires_grad_() for y in flowing]
        wanted = [x for x, f in zip(leaves, floats, strict=True) if f]
        back = gradients_of(flowing, wanted, given, create_graph=True, materialize_grads=True)
        along = [t for t, f in zip(tangents, floats, strict=True) if f]
        pairs = [
            (b, t) for b, t in zip(back, along, strict=True) if b is not None and b.requires_grad
        ]
        found: Sequence[Any] = [zeros_of(y.layout) for y in flowing]
        if pairs:
            ends, ways = [b for b, _ in pairs], [t for _, t in pairs]
            found = gradients_of(ends, given, ways, materialize_grads=True)
    made = iter(found)
    out = [next(made) if y.requires_grad else zeros_of(y.layout) for y in results]
    return _alone([y.detach() for y in results]), _alone([t.detach() for t in out])
