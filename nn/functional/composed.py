"""Functions made of others: distances, normalisation."""

from __future__ import annotations

from tilegrad.autograd.graph import called
from tilegrad.autograd.tensor import Tensor


def normalize(input: Tensor, p: float = 2.0, dim: int = 1, eps: float = 1e-12) -> Tensor:
    """x over its ``p`` norm along ``dim``, or over ``eps`` where that is larger."""
    return input / input.norm(p, dim, keepdim=True).clamp(min=eps)


def cosine_similarity(x1: Tensor, x2: Tensor, dim: int = 1, eps: float = 1e-8) -> Tensor:
    """x1 . x2 / (|x1| |x2|) along ``dim``, each length at least ``eps``."""
    first, second = (x / x.norm(2, dim, keepdim=True).clamp(min=eps) for x in (x1, x2))
    return (first * second).sum(dim)


def pairwise_distance(
    x1: Tensor, x2: Tensor, p: float = 2.0, eps: float = 1e-6, keepdim: bool = False
) -> Tensor:
    """The ``p`` norm of ``x1 - x2 + eps`` along the last dimension."""
    return called("pairwise_distance", (x1 - x2 + eps).norm(p, -1, keepdim=keepdim))
