"""Bilinear forms, and their gradients, which are such forms again."""

from __future__ import annotations

import math

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules.elementwise import binary, to_dtype
from tilegrad.autograd.rules.matmul import matmul
from tilegrad.autograd.rules.movement import cat
from tilegrad.autograd.rules.reduce import sum
from tilegrad.autograd.rules.view import narrow, permute, reshape, unsqueeze
from tilegrad.engine.ops.conv import check_one_dtype
from tilegrad.engine.ops.elementwise import OPS

__all__ = ["bilinear"]

_SAVES = ((0, 1, 2), (1, 0, 2), (2, 0, 1))  # of three factors each is read for the others
CHUNK = 1 << 16  # elements of what is between, where the operands are smaller


def bilinear(input1: Tensor, input2: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """x1 W_k x2 + b_k for every output k.

    Args:
        input1: (..., I); input2: (..., J); weight: (K, I, J); bias: (K,).

    Returns:
        (..., K).

    Raises:
        RuntimeError: shapes that do not go together, or several dtypes.
    Gradient: of all, any order; the first three save each other.
    """
    if weight.layout.ndim != 3:
        raise (IndexError if weight.layout.ndim < 3 else RuntimeError)(
            f"bilinear(): weight must have 3 dimensions; got {tuple(weight.shape)}"
        )
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
    check_one_dtype(
        "bilinear()", [t.layout for t in (input1, input2, weight, bias) if t is not None]
    )
    samples = math.prod(input1.shape[:-1])
    x, y = (reshape(t, (samples, t.shape[-1])) for t in (input1, input2))
    result: Tensor = reshape(_forms(x, y, weight), (*input1.shape[:-1], outputs))
    result = to_dtype(result, weight.layout.dtype)  # sums of integers are wider
    return result if bias is None else result + bias


def _chunks(x: Tensor, y: Tensor, outputs: int, width: int) -> list[tuple[int, int]]:
    """(first, count) of the outputs that are worked on at once: ``width`` numbers each and sample."""
    most = max(CHUNK, x.numel() + y.numel())
    step = max(1, min(outputs, most // max(1, x.shape[0] * width)))
    return [(k, min(step, outputs - k)) for k in range(0, max(1, outputs), step)]


def _forms(x: Tensor, y: Tensor, weight: Tensor) -> Tensor:
    """(N, K): ``x_n W_k y_n`` for (N, I), (N, J) and (K, I, J)."""
    given, (K, I, J) = (x, y, weight), weight.shape  # noqa: E741
    x, y, weight = (t.detach() for t in given)
    parts = []
    for first, count in _chunks(x, y, K, J):
        columns = reshape(permute(narrow(weight, 0, first, count), (1, 0, 2)), (I, count * J))
        left = reshape(matmul(x, columns), (x.shape[0], count, J))
        parts.append(sum(binary(OPS["mul"], left, unsqueeze(y, 1)), -1))
    out = parts[0] if len(parts) == 1 else cat(parts, 1)
    return _FORMS.record(given, out)


def _forms_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, y, weight = node.unpack()
    wanted = [edge is not None for edge in node.edges]
    return (
        _forms(grad, y, permute(weight, (1, 0, 2))) if wanted[0] else None,
        _forms(grad, x, permute(weight, (2, 0, 1))) if wanted[1] else None,
        _weights(grad, x, y) if wanted[2] else None,
    )


def _weights(grad: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """(K, I, J): the sum over n of ``g_nk x_ni y_nj``."""
    given, (N, K), I = (grad, x, y), grad.shape, x.shape[1]  # noqa: E741
    grad, x, y = (t.detach() for t in given)
    parts = []
    for first, count in _chunks(x, y, K, I):
        left = binary(OPS["mul"], unsqueeze(narrow(grad, 1, first, count), 2), unsqueeze(x, 1))
        parts.append(matmul(permute(reshape(left, (N, count * I)), (1, 0)), y))
    out = parts[0] if len(parts) == 1 else cat(parts, 0)
    made = _WEIGHTS.record(given, out)
    return reshape(made, (K, I, y.shape[1]))


def _weights_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    g, x, y = node.unpack()
    grad = reshape(grad, (node.inputs[0].shape[1], node.inputs[1].shape[1], grad.shape[1]))
    wanted = [edge is not None for edge in node.edges]
    return (
        _forms(x, y, grad) if wanted[0] else None,
        _forms(g, y, permute(grad, (1, 0, 2))) if wanted[1] else None,
        _forms(g, x, permute(grad, (2, 0, 1))) if wanted[2] else None,
    )


_FORMS = Rule("bilinear", _forms_vjp, _SAVES)
_WEIGHTS = Rule("bilinear_weight", _weights_vjp, _SAVES)
