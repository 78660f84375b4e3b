"""Softmax and log-softmax, with gradients of any order."""

from __future__ import annotations

import warnings

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import pointwise
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.reduce import sum
from tilegrad.engine.dtype import DType, dtype as as_dtype
from tilegrad.engine.ops import softmax as ops
from tilegrad.engine.shape import normalize_dim

__all__ = ["log_softmax", "softmax"]


def _softmax_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """y (g - sum(g y)); in one kernel, unless it is to be differentiated again."""
    (y,) = node.unpack()
    if state.grad:
        weighed = grad * y
        return (weighed - y * sum(weighed, node.meta, True),)
    return (tensor_of(ops.softmax_backward(grad, y, node.meta)),)


def _log_softmax_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """g - e^y sum(g); in one kernel, unless it is to be differentiated again."""
    (y,) = node.unpack()
    if state.grad:
        return (grad - pointwise.exp(y) * sum(grad, node.meta, True),)
    return (tensor_of(ops.softmax_backward(grad, y, node.meta, logs=True)),)


_SOFTMAX = Rule("softmax", _softmax_vjp, (-1,))
LOG_SOFTMAX = Rule("log_softmax", _log_softmax_vjp, (-1,))


def _apply(name: str, input: Tensor, dim: int | None, dtype: DType | None) -> Tensor:
    if dtype is not None:
        input = to_dtype(input, as_dtype(dtype))
    kind = input.layout
    axis = _implicit_dim(name, kind.ndim) if dim is None else normalize_dim(name, dim, kind.ndim)
    if not kind.dtype.is_floating_point:
        raise NotImplementedError(f"\"{name}\" not implemented for '{kind.dtype.name}'")
    logs = name == "log_softmax"
    out = ops.softmax(input, axis, logs)
    return (LOG_SOFTMAX if logs else _SOFTMAX).record((input,), out, axis)


def _implicit_dim(name: str, ndim: int) -> int:
    """PyTorch's legacy choice where no dimension is given."""
    warnings.warn(
        f"Implicit dimension choice for {name} has been deprecated. Change the call to include dim=X "
        f"as an argument.",
        stacklevel=4,
    )
    return 0 if ndim in (0, 1, 3) else 1


def softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """``e^x / sum(e^x)`` along ``dim``, by the largest element so that nothing overflows.

    Gradient: of ``input``; the result is saved.

    Raises:
        NotImplementedError: the dtype is not floating point.
    """
    return _apply("softmax", input, dim, _dtype(_stacklevel, dtype))


def log_softmax(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """``x - log(sum(e^x))`` along ``dim``.

    Gradient: of ``input``; the result is saved.

    Raises:
        NotImplementedError: the dtype is not floating point.
    """
    return _apply("log_softmax", input, dim, _dtype(_stacklevel, dtype))


def softmin(
    input: Tensor, dim: int | None = None, _stacklevel: int = 3, dtype: DType | None = None
) -> Tensor:
    """Softmax of ``-input`` along ``dim``."""
    return softmax(-input, dim, _stacklevel, dtype)


def _dtype(third: DType | int | None, dtype: DType | None) -> DType | None:
    """The dtype, which ``torch.softmax`` takes in third place and its functional twin in fourth."""
    return third if dtype is None and not isinstance(third, int) else dtype
