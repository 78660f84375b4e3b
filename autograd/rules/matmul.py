"""Matrix products, PyTorch's names and arguments."""

from __future__ import annotations

import numpy as np

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, tensor_of
from tilegrad.autograd.graph import Node, called
from tilegrad.autograd.later import of_one
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules.elementwise import contiguous
from tilegrad.autograd.rules.operands import Scalar, of_common_dtype
from tilegrad.autograd.rules.view import permute, reshape, transpose, unsqueeze
from tilegrad.engine import number
from tilegrad.engine.array import Layout
from tilegrad.engine.ops import matmul as ops
from tilegrad.engine.ops.create import from_host
from tilegrad.engine.shape import numel

__all__ = ["addmm", "addmv", "baddbmm", "bmm", "dot", "matmul", "mm", "mv", "outer"]


def _conjugates(grad: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """What multiplies ``grad``: operands, of complex ones the conjugates; None where nothing was saved."""
    if grad.layout.dtype.is_complex:
        x, y = (v if v is None else of_one("conj", v) for v in (x, y))
    return x, y


def _matmul_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, y = _conjugates(grad, *node.unpack())
    left, right = node.edges[0] is not None, node.edges[1] is not None
    return (
        _left_gradient(grad, node.inputs[0], y) if left else None,
        _right_gradient(grad, x, node.inputs[1]) if right else None,
    )


def _left_gradient(grad: Tensor, left: Layout, y: Tensor) -> Tensor:
    """grad @ y^T, for any number of dimensions; ``left``: layout of the left operand."""
    if y.ndim == 1:
        return unsqueeze(grad, -1) * y if left.ndim > 1 else grad * y
    if left.ndim == 1:
        return matmul(y, unsqueeze(grad, -1)).squeeze(-1)
    dims = _summed(grad, left) if y.ndim > 2 else ()
    if not dims:
        return matmul(grad, transpose(y, -2, -1))
    rows, columns = _stacked(transpose(grad, -2, -1), dims), _stacked(transpose(y, -2, -1), dims)
    return reshape(matmul(transpose(rows, -2, -1), columns), left.shape)


def _right_gradient(grad: Tensor, x: Tensor, right: Layout) -> Tensor:
    """x^T @ grad, for any number of dimensions; ``right``: layout of the right operand."""
    if x.ndim == 1:
        return unsqueeze(x, -1) * unsqueeze(grad, -2) if right.ndim > 1 else grad * x
    if right.ndim == 1:
        return matmul(transpose(x, -2, -1), unsqueeze(grad, -1)).squeeze(-1)
    if right.ndim == 2 and x.ndim > 2:  # one product over all rows of the batch
        count = numel(x.layout.shape[:-1])
        rows = reshape(x, (count, x.layout.shape[-1]))
        return matmul(transpose(rows, 0, 1), reshape(grad, (count, grad.layout.shape[-1])))
    dims = _summed(grad, right) if x.ndim > 2 else ()
    if not dims:
        return matmul(transpose(x, -2, -1), grad)
    rows = transpose(_stacked(x, dims), -2, -1)
    return reshape(matmul(rows, _stacked(grad, dims)), right.shape)


def _summed(grad: Tensor, operand: Layout) -> tuple[int, ...]:
    """The batch dimensions, as negative numbers, along which ``operand`` was broadcast. Its gradient
    is a sum over them: one product with them inside, instead of a product for each.
    """
    batch, own = grad.layout.shape[-3::-1], operand.shape[-3::-1]  # from the last on
    own += (1,) * (len(batch) - len(own))
    return tuple([-3 - d for d, n in enumerate(batch) if own[d] == 1 and n != 1])


def _stacked(x: Tensor, dims: tuple[int, ...]) -> Tensor:
    """The matrices along ``dims`` below each other: (rest of the batch, all rows, columns)."""
    shape = x.layout.shape
    ndim = len(shape)
    folded = sorted(d + ndim for d in dims)
    rest = [d for d in range(ndim - 2) if d not in folded]
    rows = shape[-2]
    for d in folded:
        rows *= shape[d]
    order = (*rest, *folded, ndim - 2, ndim - 1)
    return reshape(permute(x, order), (*[shape[d] for d in rest], rows, shape[-1]))


_MATMUL = Rule(ops.matmul, _matmul_vjp, saves=((0, 1), (1, 0)), whole=True)
_BMM = Rule(ops.matmul, _matmul_vjp, saves=((0, 1), (1, 0)), name="bmm", whole=True)


def _linear_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = _conjugates(grad, *node.unpack())
    left, right, *bias = (e is not None for e in node.edges)
    of_weight = None
    if right:  # one product over all rows
        outputs, features = node.inputs[1].shape
        count = numel(node.inputs[0].shape[:-1])
        rows = transpose(reshape(grad, (count, outputs)), 0, 1)
        of_weight = matmul(rows, reshape(x, (count, features)))
    gradients = (matmul(grad, weight) if left else None, of_weight)
    if not bias:
        return gradients
    return (*gradients, grad if bias[0] else None)  # the graph sums it over the rows


_LINEAR = Rule(ops.linear, _linear_vjp, saves=((0, 1), (1, 0)), whole=True)


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """Matrix product; batch dimensions broadcast, vectors count as a row or a column.

    Args:
        input: (..., M, K) or (K,); other: (..., K, N) or (K,); the same dtype.

    Returns:
        (..., M, N), without the dimension a vector stood for.

    Raises:
        RuntimeError: the inner sizes or the dtypes differ.

    Gradient: both; each saves the other.
    """
    try:
        return _MATMUL.at((input, other))
    except AttributeError:
        if not isinstance(other, np.ndarray):
            raise
        right = _beside(other, input)
        return _MATMUL.at((input.to(right.dtype), right))


def of_array(array: np.ndarray, other: Tensor) -> Tensor:
    """``array @ other``, in the dtype that NumPy computes in."""
    left = _beside(array, other)
    return _MATMUL.at((left, other.to(left.dtype)))


def _beside(array: np.ndarray, like: Tensor) -> Tensor:
    return tensor_of(from_host(of_common_dtype(array, like, "matmul"), None, like.layout.device))


def linear(input: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """``input @ weight.T + bias``.

    Args:
        input: (..., in_features); weight: (out_features, in_features) or (in_features,);
        bias: (out_features,).
    """
    if weight.layout.ndim == 1:
        out = matmul(input, weight)
        return out if bias is None else out + bias
    if bias is None:
        return _LINEAR.at((input, weight))
    held = bias if bias.layout.contiguous else contiguous(bias)
    return _LINEAR.at((input, weight, held))


def _dims(op: str, input: Tensor, first: int, other: Tensor, second: int) -> None:
    if input.ndim != first or other.ndim != second:
        raise RuntimeError(
            f"{op}: expected a {first}-D and a {second}-D tensor; "
            f"got {tuple(input.shape)} and {tuple(other.shape)}"
        )


def mm(input: Tensor, mat2: Tensor) -> Tensor:
    """Product of two matrices."""
    _dims("mm", input, 2, mat2, 2)
    return matmul(input, mat2)


def bmm(input: Tensor, mat2: Tensor) -> Tensor:
    """Products of two batches of matrices, without broadcasting."""
    _dims("bmm", input, 3, mat2, 3)
    if input.shape[0] != mat2.shape[0]:
        raise RuntimeError(
            f"bmm: Expected size for first two dimensions of batch2 tensor to be equal; "
            f"got {tuple(input.shape)} and {tuple(mat2.shape)}"
        )
    return _BMM.at((input, mat2))


def mv(input: Tensor, vec: Tensor) -> Tensor:
    """Product of a matrix and a vector."""
    _dims("mv", input, 2, vec, 1)
    return matmul(input, vec)


def dot(input: Tensor, tensor: Tensor) -> Tensor:
    """Inner product of two vectors."""
    _dims("dot", input, 1, tensor, 1)
    return matmul(input, tensor)


def outer(input: Tensor, vec2: Tensor) -> Tensor:
    """Outer product of two vectors."""
    _dims("outer", input, 1, vec2, 1)
    return unsqueeze(input, 1) * vec2


def addmm(
    input: Tensor, mat1: Tensor, mat2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1
) -> Tensor:
    """``beta * input + alpha * mat1 @ mat2``."""
    _dims("addmm", mat1, 2, mat2, 2)
    return scaled("addmm", input, matmul(mat1, mat2), beta, alpha)


def addmv(
    input: Tensor, mat: Tensor, vec: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1
) -> Tensor:
    """``beta * input + alpha * mat @ vec``."""
    _dims("addmv", mat, 2, vec, 1)
    return scaled("addmv", input, matmul(mat, vec), beta, alpha)


def baddbmm(
    input: Tensor, batch1: Tensor, batch2: Tensor, *, beta: Scalar = 1, alpha: Scalar = 1
) -> Tensor:
    """``beta * input + alpha * batch1 @ batch2``."""
    return scaled("baddbmm", input, bmm(batch1, batch2), beta, alpha)


def _factor(op: str, value: Scalar, product: Tensor) -> Scalar:
    """``value`` as an element of the product.

    Raises:
        RuntimeError: its dtype cannot hold it.
    """
    kind = product.layout.dtype
    if value.__class__ is complex and not kind.is_complex:
        raise RuntimeError(
            f"{op}: value cannot be converted to type {kind.name} without overflow; got {value}"
        )
    return number.stored(number.required(value, op), kind, op)


def scaled(op: str, input: Tensor, product: Tensor, beta: Scalar, alpha: Scalar) -> Tensor:
    """``beta * input + alpha * product``; NaN of ``input`` is not seen where ``beta`` is 0.

    Raises:
        RuntimeError: their dtypes differ, but for an outer product.
    """
    if not isinstance(input, TensorBase):
        raise TypeError(f"argument 'input' (position 1) must be Tensor, not {type(input).__name__}")
    if input.layout.dtype is not product.layout.dtype and op != "addr":
        raise RuntimeError(
            f"{op}: input and matrices must have the same dtype; "
            f"got {input.layout.dtype.name} and {product.layout.dtype.name}"
        )
    if alpha != 1:
        product = product * _factor(op, alpha, product)
    beta = beta if beta == 1 else _factor(op, beta, product)
    if beta != 0:
        product = product + (input if beta == 1 else input * beta)
    return called(op, product)
