"""Products over dimensions, with their gradients."""

from __future__ import annotations

import math

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule, identity_vjp
from tilegrad.autograd.rules import view
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.movement import cat
from tilegrad.autograd.rules.reduce import all, dims_of, sum, with_dims
from tilegrad.autograd.rules.scan import exclusive_product
from tilegrad.engine.dtype import DType, dtype as as_dtype
from tilegrad.engine.ops import reduce as ops
from tilegrad.engine.ops.elementwise import OPS
from tilegrad.engine.shape import Shape, reduced_shape

__all__ = ["prod"]


def prod(
    input: Tensor, dim: int | None = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The product over ``dim`` (all dimensions for None); integers and bool give int64.

    Gradient: of ``input``; input and result are saved.
    """
    if dtype is not None:
        input = to_dtype(input, as_dtype(dtype))
        if not input.dtype.has_gradient:
            return to_dtype(prod(input, dim, keepdim), as_dtype(dtype))
    dims = dims_of("prod", dim, input.layout.ndim)
    second = dim is not None or keepdim
    if not input.layout.ndim and input.dtype.has_gradient:
        return _ELEMENT[second].record((input,), OPS["copy"](input))
    if input.layout.dtype.is_complex:
        return _of_complex(input, dims, keepdim)
    out = ops.reduce("prod", input, dims, keepdim)
    if dim is not None and math.prod([input.layout.shape[d] for d in dims]) == 1:
        return _SINGLE.record((input,), out)
    return _PROD[second].record((input,), out, (dims, keepdim))


def _of_complex(x: Tensor, dims: Shape, keepdim: bool) -> Tensor:
    """The product of halves, again and again: log2(n) elementwise products, with their gradients."""
    shape = reduced_shape(x.layout.shape, dims, keepdim)
    keep = [a for a in range(x.ndim) if a not in dims]
    flat = view.reshape(
        view.permute(x, [*keep, *dims]), [*[x.shape[a] for a in keep], -1 if x.numel() else 0]
    )
    if not x.numel():
        return sum(x, dims, keepdim) + 1  # recorded, as every product is
    while flat.shape[-1] > 1:
        half = flat.shape[-1] // 2
        made = view.narrow(flat, -1, 0, half) * view.narrow(flat, -1, half, half)
        rest = flat.shape[-1] - 2 * half
        flat = cat([made, view.narrow(flat, -1, 2 * half, rest)], -1) if rest else made
    return view.reshape(flat, shape)


_NAMES = ("prod", "prod_dim")
# of the element itself, whose gradient may not divide by it
_ELEMENT = [Rule(name, identity_vjp) for name in _NAMES]


def _single_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (view.reshape(grad, node.inputs[0].shape),)


# over a dimension of size 1: a function of the gradient alone
_SINGLE = Rule("prod_dim", _single_vjp)


def _prod_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """``product / x``, or where a zero makes that impossible the product of the other elements."""
    x, out = node.unpack()
    dims, keepdim = node.meta
    shape = node.inputs[0].shape
    grad, out = (with_dims(t, shape, dims, keepdim) for t in (grad, out))
    if bool(all(x.detach()).item()):
        return (grad * out / x,)
    return (grad * _product_of_others(x, dims),)


_PROD = [Rule(name, _prod_vjp, (0, -1)) for name in _NAMES]


def _product_of_others(x: Tensor, dims: Shape) -> Tensor:
    """For every element the product of all others over ``dims``."""
    keep = [a for a in range(x.ndim) if a not in dims]
    order = [*keep, *dims]
    last = view.permute(x, order)
    flat = view.reshape(last, [*(x.shape[a] for a in keep), -1])
    others = exclusive_product(flat, False) * exclusive_product(flat, True)
    back = view.view(others, [x.shape[a] for a in order])
    return view.permute(back, [order.index(a) for a in range(x.ndim)])
