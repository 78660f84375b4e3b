"""Functions made of others: bilinear forms, distances, normalisation."""

from __future__ import annotations

from tilegrad.autograd.tensor import Tensor


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1 W_k x2 + b_k for every output k.

    Args:
        input1: (..., I); input2: (..., J); weight: (K, I, J); bias: (K,).

    Returns:
        (..., K).
    """
    outputs, rows, columns = weight.shape
    if input1.shape[:-1] != input2.shape[:-1]:
        raise RuntimeError(
            f"bilinear(): input batch dimensions do not match; got {tuple(input1.shape)} and "
            f"{tuple(input2.shape)}"
        )
    if (input1.shape[-1], input2.shape[-1]) != (rows, columns):
        raise RuntimeError(
            f"bilinear(): input sizes do not match the weight {tuple(weight.shape)}; got "
            f"{tuple(input1.shape)} and {tuple(input2.shape)}"
        )
    flat = weight.permute(1, 0, 2).reshape(rows, outputs * columns)
    left = (input1 @ flat).reshape(*input1.shape[:-1], outputs, columns)
    result = (left * input2.unsqueeze(-2)).sum(-1)
    return result if bias is None else result + bias


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
    return (x1 - x2 + eps).norm(p, -1, keepdim=keepdim)
