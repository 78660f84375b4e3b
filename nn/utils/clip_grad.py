"""Limits on gradients."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterable

from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.creation import tensor
from tilegrad.autograd.rules.movement import stack
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.ops import clip as ops

Tensors = Tensor | Iterable[Tensor]


def _list(tensors: Tensors) -> list[Tensor]:
    return [tensors] if isinstance(tensors, Tensor) else list(tensors)


def _grads(parameters: Tensors) -> list[Tensor]:
    return [p._grad for p in _list(parameters) if p._grad is not None]


def _fused(tensors: list[Tensor], norm_type: float) -> bool:
    """Whether one kernel can take all of them."""
    dtypes = {t.dtype for t in tensors}
    return norm_type == 2.0 and len(dtypes) == 1 and all(d.is_floating_point for d in dtypes)


def get_total_norm(
    tensors: Tensors,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The norm of all elements of all tensors, as if they were one vector.

    Raises:
        RuntimeError: it is not finite and ``error_if_nonfinite`` is set.
    """
    given, order = _list(tensors), float(norm_type)  # also of "inf"
    if not any(t.numel() for t in given):
        return tensor(0.0, dtype=given[0].dtype if given else None)
    with no_grad():
        if _fused(given, order):
            total = tensor_of(ops.total_norm(given))
        else:
            each = [t.detach().norm(order) for t in given if t.numel()]
            total = stack([n.to(each[0].dtype) for n in each]).norm(order)
    if error_if_nonfinite and not math.isfinite(total.item()):
        raise RuntimeError(
            f"The total norm of order {norm_type} for gradients from `parameters` is non-finite, "
            f"so it cannot be clipped. To disable this error and scale the gradients by the "
            f"non-finite norm anyway, set `error_if_nonfinite=False`"
        )
    return total


def clip_grads_with_norm_(
    parameters: Tensors, max_norm: float, total_norm: Tensor, foreach: bool | None = None
) -> None:
    """Scale all gradients by ``min(1, max_norm / (total_norm + 1e-6))``, in place."""
    grads = _grads(parameters)
    if not grads:
        return
    with no_grad():
        if total_norm.dtype.is_floating_point and {g.dtype for g in grads} == {total_norm.dtype}:
            ops.shrink(grads, total_norm, float(max_norm))
            return
        factor = (float(max_norm) / (total_norm + 1e-6)).clamp(max=1.0)
        for grad in grads:
            grad.mul_(factor.to(grad.dtype))


def clip_grad_norm_(
    parameters: Tensors,
    max_norm: float,
    norm_type: float | str = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """Scale all gradients, in place, so that their norm together is at most ``max_norm``.

    Returns:
        The norm before, zero-dimensional.

    Raises:
        RuntimeError: the norm is not finite and ``error_if_nonfinite`` is set.
    """
    given = _list(parameters)
    total = get_total_norm(_grads(given), norm_type, error_if_nonfinite)
    clip_grads_with_norm_(given, max_norm, total)
    return total


def clip_grad_value_(parameters: Tensors, clip_value: float, foreach: bool | None = None) -> None:
    """Limit every element of every gradient to [-clip_value, clip_value], in place."""
    bound = float(clip_value)
    with no_grad():
        for grad in _grads(parameters):
            grad.clamp_(min=-bound, max=bound)


def clip_grad_norm(
    parameters: Tensors,
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """The old name of :func:`clip_grad_norm_`, with PyTorch's FutureWarning."""
    warnings.warn(
        "`clip_grad_norm` is now deprecated. Please use `clip_grad_norm_` instead.",
        FutureWarning,
        stacklevel=2,
    )
    return clip_grad_norm_(parameters, max_norm, norm_type, error_if_nonfinite, foreach)
