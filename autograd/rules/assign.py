"""Copying and filling, PyTorch's names and arguments."""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, refuse_overlap, refuse_view, zeros_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule, check_inplace, kept, rebase
from tilegrad.autograd.rules.elementwise import apart, unary
from tilegrad.autograd.rules.operands import Scalar, operand
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.ops import elementwise as ops
from tilegrad.engine.ops.elementwise import OPS
from tilegrad.engine.transfer import copy_across

__all__ = ["clone", "fill_", "zero_"]


def zero_(input: Tensor) -> Tensor:
    """Write zeros over ``input``."""
    return _written(input, 0.0, _ZERO)


def fill_(input: Tensor, value: Scalar | Tensor) -> Tensor:
    """Write ``value`` over ``input``.

    Raises:
        RuntimeError: it is a tensor with dimensions.
    """
    if isinstance(value, TensorBase):
        if value.layout.ndim:
            raise RuntimeError(
                f"fill_: fill_ only supports 0-dimension value tensor but got tensor with "
                f"{value.layout.ndim} dimensions."
            )
        return copy_(input, apart(value, input))
    return _written(input, value, _FILL)


def _written(input: Tensor, value: object, rule: Rule) -> Tensor:
    check_inplace(rule.name, input, True)
    if value.__class__ is not float:
        value = number.required(value, rule.name)
    return rule.write((input,), ops.fill, input, value)


def _constant_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (zeros_of(node.inputs[0]),)


_ZERO, _FILL = Rule("zero_", _constant_vjp), Rule("fill_", _constant_vjp)


def copy_(input: Tensor, other: Tensor | Scalar, non_blocking: bool = False) -> Tensor:
    """Write ``other``, broadcast and cast, over ``input``, also from one device to the other.

    With ``non_blocking`` a copy from page-locked memory to the GPU is queued, not waited for.
    """
    check_inplace("copy_", input, other is input)
    source = operand(other, input, "copy_")
    refuse_overlap("copy_", input, (source,))
    if source.layout.device is input.layout.device:
        return _COPY.write((input, source), OPS["copy"], source, input)
    return _COPY.write((input, source), copy_across, input, source, non_blocking)


def _copy_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return None if node.edges[0] is None else zeros_of(node.inputs[0]), grad


_COPY = Rule("copy_", _copy_vjp)


def before(name: str, input: Tensor, *others: object) -> Tensor:
    """``input`` for an op ``name`` of it and ``others`` whose result :func:`overwrite` writes over it; where
    that op is recorded, and may keep it, a copy of the same history.
    """
    check_inplace(name, input)
    if not state.grad:
        return input
    if not any(isinstance(t, TensorBase) and t.requires_grad for t in (input, *others)):
        return input
    return kept(input)


def overwrite(name: str, input: Tensor, made: Tensor) -> Tensor:
    """Write ``made``, the result of an op on ``input``, over it, and give it the history of ``made``.

    Raises:
        RuntimeError: its shape is another, or its dtype of a higher category than that of ``input``.
    """
    if made.layout.shape != input.layout.shape:
        raise RuntimeError(
            f"{name}: output with shape {list(input.shape)} doesn't match the broadcast shape "
            f"{list(made.shape)}"
        )
    if not dt.can_cast(made.layout.dtype, input.layout.dtype):
        raise RuntimeError(
            f"{name}: result type {made.dtype.name} can't be cast to the desired output type "
            f"{input.dtype.name}"
        )
    kind = input.layout
    if not (made._tracked and made._node is not None and state.grad) or (
        made.layout.dtype is not kind.dtype or made.layout.device is not kind.device
    ):
        return copy_(input, made)
    check_inplace(name, input)
    if input._base is not None and input._node is None:
        refuse_view(name, input, "is being")
    OPS["copy"](made, input)
    rebase(input, made._node, made._index)
    return input


def clone(input: Tensor) -> Tensor:
    """A copy with memory of its own, recorded."""
    return unary(OPS["copy"], input)
