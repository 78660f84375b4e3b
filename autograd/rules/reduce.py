"""Sums, products and truth over dimensions, with their gradients."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from typing import Any

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import pointwise, view
from tilegrad.autograd.rules.elementwise import apply, to_dtype
from tilegrad.autograd.size import sizes
from tilegrad.engine import calls
from tilegrad.engine.dtype import DType, bool_, dtype as as_dtype, uint8
from tilegrad.engine.ops import reduce as ops
from tilegrad.engine.ops.elementwise import OPS, cast, scalar
from tilegrad.engine.shape import Shape, as_indices, normalize_dims, numel, reduced_shape

__all__ = ["all", "any", "count_nonzero", "mean", "nanmean", "nansum", "sum"]

Dims = int | Sequence[int] | None


_ALL = tuple(tuple(range(ndim)) for ndim in range(16))


def dims_of(name: str, dim: Dims, ndim: int) -> Shape:
    """``normalize_dims``, the common cases first."""
    if dim.__class__ is int and -ndim <= dim < ndim:  # type: ignore[operator]
        return (dim % ndim,)  # type: ignore[operator]
    if (dim is None or (dim.__class__ is tuple and not dim)) and ndim < 16:
        return _ALL[ndim]
    return normalize_dims(name, dim, ndim)


def _spread(node: Node, grad: Tensor) -> Tensor:
    """``grad`` (or anything shaped as the result) as a view that broadcasts over the input."""
    dims, keepdim = node.meta
    return with_dims(grad, node.inputs[0].shape, dims, keepdim)


def with_dims(value: Tensor, shape: Shape, dims: Shape, keepdim: bool) -> Tensor:
    """A reduction's result with its reduced dimensions back, of size 1."""
    return value if keepdim else view.view(value, reduced_shape(shape, dims, True))


def reduced_count(shape: Shape, dims: Shape) -> int:
    """Elements that go into each result."""
    return numel(tuple(shape[a] for a in dims))


def only(mask: Tensor, value: Tensor) -> Tensor:
    """``value`` where the mask is set, zero elsewhere (also where ``value`` is not finite)."""
    zero = tensor_of(scalar(0.0, value.dtype, value.device))
    return apply(OPS["where"], mask, value, zero)


def _sum_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (view.expand(_spread(node, grad), node.inputs[0].shape),)


_SUM, _SUM_DIM = Rule("sum", _sum_vjp), Rule("sum_dim", _sum_vjp)


def sum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The sum over ``dim`` (all dimensions for None); integers and bool give int64.

    Gradient: of ``input``.
    """
    if dtype is not None:
        input = to_dtype(input, as_dtype(dtype))
        if not input.dtype.has_gradient:
            return to_dtype(sum(input, dim, keepdim), as_dtype(dtype))
    dims = dims_of("sum", dim, input.layout.ndim)
    made = ops.reduce("sum", input, dims, keepdim)
    if input._tracked or input._base is not None:
        rule = _SUM if dim is None and not keepdim else _SUM_DIM
        return rule.record((input,), made, (dims, keepdim))
    return tensor_of(made)


def sum_to_size(input: Tensor, *size: Any) -> Tensor:
    """``input`` summed over the dimensions along which ``size`` broadcasts to its shape.

    Raises:
        RuntimeError: ``size`` does not broadcast to the shape of ``input``.
    """
    shape: Shape = tuple(size[0]) if len(size) == 1 and not isinstance(size[0], int) else size
    if not calls.exact(shape):
        shape = sizes(shape)  # which refuses them
    have = input.layout.shape
    lead = len(have) - len(shape)
    if lead < 0 or builtins.any(
        s not in (1, h) for s, h in zip(shape, have[max(lead, 0) :], strict=True)
    ):
        as_indices("sum_to_size", shape, "size")
        raise RuntimeError(f"sum_to_size: size {shape} is not expandable to size {have}")
    if have == shape:
        return input if have else sum(input)  # which is a tensor of its own
    dims = tuple(a for a, h in enumerate(have) if a < lead or (shape[a - lead] == 1 and h != 1))
    kept = input
    if dims:
        kept = _SUM_DIM.record((input,), ops.reduce("sum", input, dims, True), (dims, True))
    return view.view(kept, shape) if lead else kept


def _mean_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    count = reduced_count(node.inputs[0].shape, node.meta[0])
    return (
        view.expand(_spread(node, grad) * (1.0 / builtins.max(count, 1)), node.inputs[0].shape),
    )


_MEAN, _MEAN_DIM = Rule("mean", _mean_vjp), Rule("mean_dim", _mean_vjp)


def mean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean over ``dim`` (all dimensions for None) of a floating-point tensor.

    Gradient: of ``input``.

    Raises:
        RuntimeError: the dtype is not floating point.
    """
    if dtype is not None:
        input = to_dtype(input, as_dtype(dtype))
    if not input.dtype.has_gradient:
        raise RuntimeError(
            f"mean: could not infer output dtype. Input dtype must be either a floating point or "
            f"complex dtype. Got: {input.dtype.name}"
        )
    dims = dims_of("mean", dim, input.layout.ndim)
    rule = _MEAN if dim is None and not keepdim else _MEAN_DIM
    return rule.record((input,), ops.mean(input, dims, keepdim), (dims, keepdim))


def nansum(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The sum over ``dim``, NaN counting as zero.

    Gradient: of ``input``; zero at NaN.
    """
    if dtype is not None:
        input = to_dtype(input, as_dtype(dtype))
    if input.layout.dtype.is_complex:
        raise RuntimeError("nansum: nansum on CPU does not support complex inputs")
    if not input.dtype.is_floating_point:
        return sum(input, dim, keepdim, dtype=dtype)
    dims = dims_of("nansum", dim, input.layout.ndim)
    plain = input.detach()
    out = ops.reduce("sum", only(pointwise.eq(plain, plain), plain), dims, keepdim)
    return _NANSUM.record((input,), out, (dims, keepdim))


def _nansum_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x = node.unpack()[0].detach()
    return (only(pointwise.eq(x, x), _spread(node, grad)),)


_NANSUM = Rule("nansum", _nansum_vjp, (0,))


def nanmean(
    input: Tensor, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:
    """The mean over ``dim`` of what is not NaN.

    Gradient: of ``input``; zero at NaN.

    Raises:
        RuntimeError: the dtype is neither floating point nor complex.
    """
    if not input.layout.dtype.has_gradient:
        raise RuntimeError(
            f"nanmean: expected input to have floating point or complex dtype but got "
            f"{input.layout.dtype.name}"
        )
    count = sum(pointwise.eq(input.detach(), input.detach()), dim, keepdim)
    return nansum(input, dim, keepdim, dtype=dtype) / count


# ----------------------------------------------------------------------------------------- truth


def any(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether some element over ``dim`` is not zero; uint8 stays uint8, as in PyTorch."""
    return _truth("any", input, dim, keepdim)


def all(input: Tensor, dim: Dims = None, keepdim: bool = False) -> Tensor:
    """Whether every element over ``dim`` is not zero; uint8 stays uint8, as in PyTorch."""
    return _truth("all", input, dim, keepdim)


def _truth(name: str, x: Tensor, dim: Dims, keepdim: bool) -> Tensor:
    out = tensor_of(ops.reduce(name, x, dims_of(name, dim, x.layout.ndim), keepdim))
    return to_dtype(out, uint8) if x.dtype is uint8 else out


def count_nonzero(input: Tensor, dim: Dims = None) -> Tensor:
    """How many elements over ``dim`` are not zero, as int64."""
    dims = dims_of("count_nonzero", dim, input.layout.ndim)
    return tensor_of(ops.reduce("sum", cast(input, bool_), dims))
