"""Functions made of others: distances, normalisation."""

from __future__ import annotations

from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.extra import write_into
from tilegrad.autograd.graph import called
from tilegrad.autograd.rules.rearrange import broadcast_tensors
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.dtype import promote_types
from tilegrad.engine.shape import as_index


def normalize(
    input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12, out: Tensor | None = None
) -> Tensor:
    """x over its ``p`` norm along ``dim``, or over ``eps`` where that is larger; in ``out`` if there is one."""
    if out is not None:
        made: Tensor = write_into("normalize", lambda: normalize(input, p, dim, eps), out, (input,))
        return made
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|) along ``dim`` of the shape that both broadcast to, each length at least ``eps``.

    Raises:
        RuntimeError: neither is of a floating point dtype, or one is complex.
    """
    dim = as_index("cosine_similarity", dim)
    kind = promote_types(x1.layout.dtype, x2.layout.dtype)
    if not kind.is_floating_point:
        raise RuntimeError(
            f"cosine_similarity: expected common dtype to be floating point, yet common dtype is {kind.name}"
        )
    if x1.layout.dtype is not x2.layout.dtype:
        x1, x2 = x1.to(kind), x2.to(kind)
    if x1.shape != x2.shape:
        x1, x2 = broadcast_tensors(x1, x2)
    first, second = (x / x.norm(2, dim, keepdim=True).clamp(min=eps) for x in (x1, x2))
    return (first * second).sum(dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The ``p`` norm of ``x1 - x2 + eps`` along the last dimension."""
    for place, x in enumerate((x1, x2), 1):
        if not isinstance(x, TensorBase):
            raise TypeError(
                f"pairwise_distance(): argument 'x{place}' (position {place}) must be Tensor, not {type(x).__name__}"
            )
    return called("pairwise_distance", (x1 - x2 + eps).norm(p, -1, keepdim=keepdim))
