"""Variances, norms and logsumexp, with their gradients."""

from __future__ import annotations

import math
import warnings
from functools import lru_cache
from importlib import import_module

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of, zeros_of
from tilegrad.autograd.graph import Node, called
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import arithmetic, pointwise, view
from tilegrad.autograd.rules.elementwise import apply, binary, to_dtype
from tilegrad.autograd.rules.rearrange import broadcast_tensors
from tilegrad.autograd.rules.reduce import (
    Dims,
    dims_of,
    mean,
    only,
    reduced_count,
    sum,
    with_dims,
)
from tilegrad.engine.dtype import DType, bool_, dtype as as_dtype, get_default_dtype, result_type
from tilegrad.engine.number import in_64_bits
from tilegrad.engine.ops import reduce as ops
from tilegrad.engine.ops.elementwise import OPS, cast
from tilegrad.engine.shape import Shape, reduced_shape

__all__ = ["logsumexp", "norm", "std", "std_mean", "var", "var_mean"]


# ------------------------------------------------------------------------------------- variances


def _var_grad(node: Node, grad: Tensor, x: Tensor, of_mean: Tensor | None = None) -> Tensor:
    """d var / d x = 2 (x - mean) / (count - correction), times ``grad``; with what flows into the
    mean. Without a degree of freedom among all elements its NaN and infinities are constants, as
    PyTorch's.
    """
    dims, keepdim, correction, whole = node.meta
    shape = node.inputs[0].shape
    count = reduced_count(shape, dims)
    free = count - correction
    scale = 2.0 / free if free > 0 else math.inf if free == 0 else math.nan
    if whole and free <= 0:
        x = x.detach()
    grad_of_var = with_dims(grad, shape, dims, keepdim) * scale
    if of_mean is None:
        return apply(OPS["var_vjp"], grad_of_var, x, mean(x, dims, True))
    grad_of_mean = with_dims(of_mean, shape, dims, keepdim) / count
    return apply(OPS["var_mean_vjp"], grad_of_var, grad_of_mean, x, mean(x, dims, True))


def _var_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (x,) = node.unpack()
    return (_var_grad(node, grad, x),)


def _std_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, out = node.unpack()
    return (_var_grad(node, _of_root(grad, out), x),)


def _of_root(grad: Tensor, out: Tensor) -> Tensor:
    """The gradient of a variance, given that of its root ``out``; zero where that is."""
    return only(pointwise.ne(out.detach(), 0), grad / (out * 2.0))


def _var_mean_vjp(node: Node, grad: Tensor, of_mean: Tensor) -> tuple[Tensor | None, ...]:
    (x,) = node.unpack()
    return (_var_grad(node, grad, x, of_mean),)


def _std_mean_vjp(node: Node, grad: Tensor, of_mean: Tensor) -> tuple[Tensor | None, ...]:
    x, out = node.unpack()
    return (_var_grad(node, _of_root(grad, out), x, of_mean),)


def _spread_about_mean(
    name: str,
    input: Tensor,
    dim: Dims | bool,
    unbiased: bool | None,
    keepdim: bool,
    correction: float | None,
) -> tuple[Tensor, Tensor]:
    """``(var or std, mean)``, recorded as ``name``; where only the first is wanted, for it alone."""
    if isinstance(dim, bool):  # PyTorch's var(input, unbiased)
        dim, unbiased = None, dim
    if correction is None:
        correction = 1.0 if unbiased is None or unbiased else 0.0
    else:
        in_64_bits(correction)
        correction = float(correction)  # a tensor of one element may change before the gradient
    if not input.dtype.has_gradient:
        raise RuntimeError(
            f"{name}: std and var only support floating point and complex dtypes; "
            f"got {input.layout.describe()}"
        )
    dims = dims_of(name, dim, input.layout.ndim)
    center = ops.mean(input, dims, keepdim)
    if _lacks_freedom(input.layout.shape, dims, correction):
        _warn_of_freedom(name)
    out = ops.reduce("var", input, dims, keepdim, center, correction)
    meta = (dims, keepdim, correction, dim is None or not input.layout.ndim)
    made = out if name[:3] == "var" else OPS["sqrt"](out)
    if name in ("var", "std"):
        return _VARIANCES[name].record((input,), made, meta), tensor_of(center)
    found, middle = _VARIANCES[name].record_all((input,), (made, center), meta)
    return found, middle


_VARIANCES = {
    "var": Rule("var", _var_vjp, (0,)), "std": Rule("std", _std_vjp, (0, -1)),
    "var_mean": Rule("var_mean", _var_mean_vjp, (0,)),
    "std_mean": Rule("std_mean", _std_mean_vjp, (0, -1)),
}  # fmt: skip


@lru_cache(maxsize=4096)
def _lacks_freedom(shape: Shape, dims: Shape, correction: float) -> bool:
    return reduced_count(shape, dims) <= correction


def _warn_of_freedom(name: str) -> None:
    warnings.warn(
        f"{name}(): degrees of freedom is <= 0. Correction should be strictly less than the reduction "
        f"factor (input numel divided by output numel).",
        stacklevel=4,
    )


def var(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The variance over ``dim``, the sum of squared deviations over ``count - correction`` (1).

    Gradient: of ``input``, which is saved.

    Raises:
        RuntimeError: the dtype is not floating point.
    """
    return _spread_about_mean("var", input, dim, unbiased, keepdim, correction)[0]


def std(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> Tensor:
    """The standard deviation over ``dim``: the square root of :func:`var`.

    Gradient: of ``input``; input and result are saved; zero where the result is.

    Raises:
        RuntimeError: the dtype is not floating point.
    """
    return _spread_about_mean("std", input, dim, unbiased, keepdim, correction)[0]


def var_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """``(var, mean)`` over ``dim``."""
    return _spread_about_mean("var_mean", input, dim, unbiased, keepdim, correction)


def std_mean(
    input: Tensor,
    dim: Dims | bool = None,
    unbiased: bool | None = None,
    keepdim: bool = False,
    *,
    correction: float | None = None,
) -> tuple[Tensor, Tensor]:
    """``(std, mean)`` over ``dim``."""
    return _spread_about_mean("std_mean", input, dim, unbiased, keepdim, correction)


# ----------------------------------------------------------------------------------------- norms


def _norm2_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, out = node.unpack()
    dims, keepdim = node.meta
    share = only(pointwise.ne(out.detach(), 0), grad / out)
    return (x * with_dims(share, node.inputs[0].shape, dims, keepdim),)


def _norm_end_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The elements of extreme magnitude share the gradient evenly."""
    x, out = node.unpack()
    dims, keepdim = node.meta
    shape = node.inputs[0].shape
    x, end = x.detach(), with_dims(out.detach(), shape, dims, keepdim)
    count = sum(binary(OPS["magnitude_matches"], x, end), dims, True)
    share = with_dims(grad, shape, dims, keepdim) / count
    return (apply(OPS["norm_inf_vjp"], share, x, end),)


_NORM2 = Rule("norm2", _norm2_vjp, (0, -1))
_NORM_INF = Rule("norm_inf", _norm_end_vjp, (0, -1))


def norm(
    input: Tensor,
    p: float | str | None = "fro",
    dim: Dims = None,
    keepdim: bool = False,
    *,
    dtype: DType | None = None,
) -> Tensor:
    """The p-norm ``(sum |x|^p)^(1/p)`` over ``dim`` (all dimensions for None); ``"fro"`` is 2,
    ``"nuc"`` the sum of the singular values of matrices in two dimensions, 0 counts what is not zero, ``inf`` and ``-inf`` give the largest and smallest magnitude.

    Gradient: of ``input``; input and result are saved.

    Raises:
        RuntimeError: the dtype is not floating point.
    """
    if dtype is not None:
        input = to_dtype(input, as_dtype(dtype))
    if not input.dtype.has_gradient:
        raise RuntimeError(f"norm: Expected a floating point tensor; got {input.layout.describe()}")
    if isinstance(p, str) and (
        p != "fro" or not (dim is None or isinstance(dim, int) or len(dim) < 3)
    ):
        matrices = import_module("tilegrad.autograd.rules.matrices")  # which stands on this
        every = (
            tuple(range(input.layout.ndim))
            if dim is None
            else (dim,)
            if isinstance(dim, int)
            else dim
        )
        made: Tensor = matrices.matrix_norm(input, p, every, keepdim)
        return made
    order = 2.0 if p is None or isinstance(p, str) else float(in_64_bits(p))
    dims = dims_of("norm", dim, input.layout.ndim)
    if input.layout.dtype.is_complex and order != 2:
        return called("norm", norm(pointwise.abs(input), order, dims, keepdim))
    if order == 0:
        count = ops.reduce("sum", cast(input, bool_), dims, keepdim)
        return _NORM0.record((input,), cast(count, input.dtype))
    if math.isinf(order):
        if any(not input.layout.shape[a] for a in dims):
            raise RuntimeError(
                f"norm: cannot compute the {order} norm of nothing, because the operation does not "
                f"have an identity; got {input.layout.describe()}"
            )
        size = OPS["abs"](input)
        out = ops.reduce("amax" if order > 0 else "amin", size, dims, keepdim)
        return _NORM_INF.record((input,), out, (dims, keepdim))
    if order == 1:
        return called("norm", sum(pointwise.abs(input), dims, keepdim))
    if order == 2:
        return _NORM2.record((input,), ops.reduce("norm2", input, dims, keepdim), (dims, keepdim))
    return _general_norm(input, order, dims, keepdim)


def _norm0_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (zeros_of(node.inputs[0]),)


_NORM0 = Rule("norm0", _norm0_vjp)


def _general_norm(x: Tensor, p: float, dims: tuple[int, ...], keepdim: bool) -> Tensor:
    plain = x.detach()
    powers = sum(arithmetic.pow(pointwise.abs(plain), p), dims, keepdim)
    out = arithmetic.pow(powers, 1.0 / p)
    return _NORM.record((x,), out, (dims, keepdim, p))


def _norm_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, out = node.unpack()
    dims, keepdim, p = node.meta
    shape = node.inputs[0].shape
    grad, out = (with_dims(t, shape, dims, keepdim) for t in (grad, out))
    return (apply(OPS["norm_vjp"], grad, x, out, params=(p,)),)


_NORM = Rule("norm", _norm_vjp, (0, -1))


# ------------------------------------------------------------------------------------- logsumexp


def _logsumexp_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, out = node.unpack()
    dims, keepdim = node.meta
    shape = node.inputs[0].shape
    grad, out = (with_dims(t, shape, dims, keepdim) for t in (grad, out))
    return (apply(OPS["logsumexp_vjp"], grad, x, out),)


_LOGSUMEXP = Rule("logsumexp", _logsumexp_vjp, (0, -1))


def logsumexp(input: Tensor, dim: Dims, keepdim: bool = False) -> Tensor:
    """``log(sum(exp(x)))`` over ``dim``, by the largest element so that nothing overflows.

    Gradient: of ``input``; input and result are saved.
    """
    if not input.dtype.has_gradient:
        input = to_dtype(input, get_default_dtype())
    dims = dims_of("logsumexp", dim, input.layout.ndim)
    if input.layout.dtype.is_complex:
        return _complex_logsumexp(input, dims, keepdim)
    out = ops.logsumexp(input, dims, keepdim)
    return _LOGSUMEXP.record((input,), out, (dims, keepdim))


def _complex_logsumexp(x: Tensor, dims: Shape, keepdim: bool) -> Tensor:
    """By the largest real part, in functions that have gradients of their own."""
    shape = x.layout.shape
    if not x.layout.numel:
        return pointwise.log(sum(pointwise.exp(x), dims, keepdim))
    top = tensor_of(ops.reduce("amax", x.detach().real, dims, True))
    top = only(pointwise.eq(top - top, 0), top)  # infinite ones take nothing away
    total = sum(pointwise.exp(x - top), dims, keepdim)
    left = top if keepdim else view.view(top, reduced_shape(shape, dims, False))
    return called("logsumexp", pointwise.log(total) + left)


# --------------------------------------------------------------------------- products of rows


def row_products(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """``(sum(x y), sum(x x), sum(y y))`` over the last dimension of two tensors of one shape.

    Gradient: of both, which are saved.
    """
    x, y = broadcast_tensors(x, y)
    kind = result_type((x.dtype, 2), (y.dtype, 2))
    x, y = to_dtype(x, kind), to_dtype(y, kind)
    dims = (x.ndim - 1,)
    made = [ops.reduce("sum", OPS["mul"](a, b), dims) for a, b in ((x, y), (x, x), (y, y))]
    both, first, second = _ROW_PRODUCTS.record_all((x, y), tuple(made))
    return both, first, second


def _products_vjp(node: Node, *grads: Tensor) -> tuple[Tensor | None, ...]:
    x, y = node.unpack()
    both, first, second = (view.unsqueeze(g, -1) for g in grads)
    return (
        None if node.edges[0] is None else (y * both).addcmul_(x, first, value=2.0),
        None if node.edges[1] is None else (x * both).addcmul_(y, second, value=2.0),
    )


_ROW_PRODUCTS = Rule("row_products", _products_vjp, (0, 1))
