"""What the families share: parameters that broadcast, probabilities and logits, values computed when asked for."""

from __future__ import annotations

from collections.abc import Callable
from functools import update_wrapper
from importlib import import_module
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.mode import enable_grad
from tilegrad.autograd.size import Size
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.dtype import finfo, get_default_dtype
from tilegrad.nn import functional as F

Value = Tensor | float
Shape = Any  # a sequence of sizes
euler_constant = 0.57721566490153286060


def broadcast_all(*values: Any) -> tuple[Tensor, ...]:
    """The values as tensors of one shape; numbers take the dtype and device of the first tensor.

    Raises:
        ValueError: one is neither a tensor nor a number.
    """
    if not all(isinstance(v, (Tensor, int, float)) for v in values):
        raise ValueError(
            "broadcast_all: Input arguments must all be instances of Number, torch.Tensor or objects "
            f"implementing __torch_function__; got {', '.join(type(v).__name__ for v in values)}"
        )
    first = next((v for v in values if isinstance(v, Tensor)), None)
    kind = get_default_dtype() if first is None else first.dtype
    where = None if first is None else first.device
    made = [v if isinstance(v, Tensor) else fn.tensor(v, dtype=kind, device=where) for v in values]
    return tuple(fn.broadcast_tensors(*made))


def standard_normal(shape: Shape, like: Tensor) -> Tensor:
    """Normal numbers of mean 0 and variance 1, in the dtype and on the device of ``like``."""
    return fn.randn(shape, dtype=like.dtype, device=like.device)


def uniform(shape: Shape, like: Tensor) -> Tensor:
    """Uniform over [0, 1), in the dtype and on the device of ``like``."""
    return fn.rand(shape, dtype=like.dtype, device=like.device)


def constant_like(like: Tensor, shape: Shape, value: float) -> Tensor:
    """``value`` everywhere, in the dtype and on the device of ``like``."""
    return fn.full(shape, value, dtype=like.dtype, device=like.device)


def sum_rightmost(value: Tensor, dims: int) -> Tensor:
    """The sum over the last ``dims`` dimensions."""
    return value if dims == 0 else value.reshape((*value.shape[:-dims], -1)).sum(-1)


def logits_to_probs(logits: Tensor, is_binary: bool = False) -> Tensor:
    """Sigmoid if ``is_binary``, else softmax over the last dimension."""
    return fn.sigmoid(logits) if is_binary else F.softmax(logits, dim=-1)


def clamp_probs(probs: Tensor) -> Tensor:
    """``probs`` kept away from 0 and 1 by the dtype's epsilon."""
    eps = finfo(probs.dtype).eps
    return probs.clamp(min=eps, max=1 - eps)


def probs_to_logits(probs: Tensor, is_binary: bool = False) -> Tensor:
    """log p, less log(1 - p) if ``is_binary``; finite at 0 and 1."""
    kept = clamp_probs(probs)
    return fn.log(kept) - fn.log1p(-kept) if is_binary else fn.log(kept)


class lazy_property:
    """A value worked out when it is first asked for, with gradients recorded, and kept in the instance."""

    def __init__(self, wrapped: Callable[[Any], Any]):
        self.wrapped = wrapped
        update_wrapper(self, wrapped)  # type: ignore[arg-type]

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        with enable_grad():
            value = self.wrapped(instance)
        instance.__dict__[self.wrapped.__name__] = value
        return value


def _below(n: int, diag: int, like: Tensor) -> Tensor:
    """Which places of an n x n matrix lie on or below diagonal ``diag``."""
    place = fn.arange(n, device=like.device)
    below: Tensor = place < place.view(-1, 1) + (diag + 1)
    return below


def tril_matrix_to_vec(mat: Tensor, diag: int = 0) -> Tensor:
    """The elements on and below diagonal ``diag`` of the last two dimensions, row by row.

    Raises:
        ValueError: there is no such diagonal.
    """
    n = mat.shape[-1]
    if not -n <= diag < n:
        raise ValueError(f"tril_matrix_to_vec: diag ({diag}) provided is outside [{-n}, {n - 1}].")
    vector: Tensor = mat[..., _below(n, diag, mat)]
    return vector


def vec_to_tril_matrix(vec: Tensor, diag: int = 0) -> Tensor:
    """The square matrix with these elements on and below diagonal ``diag``, row by row, zeros elsewhere.

    Raises:
        ValueError: no matrix has so many.
    """
    count = vec.shape[-1]
    root = ((1 + 2 * diag) ** 2 + 8 * count + 4 * abs(diag) * (diag + 1)) ** 0.5
    size = (root - (1 + 2 * diag)) / 2
    if round(size) - size > finfo(vec.dtype).eps:
        raise ValueError(
            f"vec_to_tril_matrix: The size of last dimension is {count} which cannot be expressed as the "
            f"lower triangular part of a square D x D matrix."
        )
    n = round(size)
    mat = vec.new_zeros((*vec.shape[:-1], n, n))
    mat[..., _below(n, diag, vec)] = vec
    return mat


def enumerated(
    count: int, batch_shape: Size, like: Tensor, expand: bool, dtype: Any = None
) -> Tensor:
    """0, 1, … below ``count`` along a first dimension, then ones or, if ``expand``, the batch."""
    values = fn.arange(count, dtype=like.dtype if dtype is None else dtype, device=like.device)
    values = values.view((-1,) + (1,) * len(batch_shape))
    return values.expand((-1, *batch_shape)) if expand else values


def linalg() -> Any:
    """The module of linear algebra, loaded when a matrix is first factored."""
    return import_module("tilegrad.linalg")
