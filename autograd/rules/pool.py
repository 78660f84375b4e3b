"""Pools, PyTorch's names and arguments."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias, TypeVar

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node, called, tied
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule, needs_graph
from tilegrad.autograd.rules import reduce
from tilegrad.autograd.rules.view import squeeze, unsqueeze
from tilegrad.engine.ops import pool as ops
from tilegrad.engine.shape import as_index, normalize_dim

__all__ = [
    "adaptive_avg_pool1d", "avg_pool1d", "max_pool1d", "max_pool2d",
    "max_pool3d",
]  # fmt: skip

Sizes = int | Sequence[int]


def _max_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (index,) = node.unpack()
    return tied(
        node, _MAX_BACKWARD.run(grad, index, size=node.inputs[0].shape[2:], **node.meta)
    ), None


def _max_backward_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (index,) = node.unpack()
    return _MAX_GATHER.run(grad, index, **{k: v for k, v in node.meta.items() if k != "size"}), None


def _mean_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (tied(node, _MEAN_BACKWARD.run(grad, size=node.inputs[0].shape[2:], **node.meta)),)


def _mean_backward_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (_MEAN.run(grad, **{k: v for k, v in node.meta.items() if k != "size"}),)


_MAX = Rule("max_pool", _max_vjp, (1,))
_MAX_BACKWARD = Rule(ops.max_pool_backward, _max_backward_vjp, (1,))
_MAX_GATHER = Rule(ops.max_pool_gather, _max_vjp, (1,))
_MEAN = Rule(ops.avg_pool, _mean_vjp)
_MEAN_BACKWARD = Rule(ops.avg_pool_backward, _mean_backward_vjp)


# ------------------------------------------------------------------------------------ functions


Pooled: TypeAlias = "Tensor | tuple[Tensor, ...]"  # the values, or with where each stood
P = TypeVar("P", bound=Tensor | tuple[Tensor, ...])


def _apply(op: str, input: Tensor, dims: int, run: Callable[[Tensor], P]) -> P:
    """``run`` on the batched input; a missing batch dimension is added and taken off again.

    Raises:
        RuntimeError: the number of dimensions is neither ``dims + 1`` nor ``dims + 2``, or a size
            other than the batch's is 0.
        IndexError: of ``avg_pool2d``, which looks for its channels first, it is less than three.
    """
    if input.ndim not in (dims + 1, dims + 2) or 0 in input.layout.shape[input.ndim - dims - 1 :]:
        if op == "avg_pool2d":
            normalize_dim(op, -3, input.ndim)
        raise RuntimeError(
            f"{op}: Expected {dims + 1}D or {dims + 2}D (batch mode) tensor with optional 0 dim "
            f"batch size for input, but got: {list(input.shape)}"
        )
    if input.ndim == dims + 2:
        return run(input)
    out = run(unsqueeze(input, 0))
    made: Any = tuple([squeeze(o, 0) for o in out]) if isinstance(out, tuple) else squeeze(out, 0)
    if dims > 1:
        name = f"{op}_with_indices" if op.startswith("max_pool") else op
        called(name, made[0] if isinstance(out, tuple) else made)
    return made  # type: ignore[no-any-return]  # as ``out``


def _max_pool(
    dims: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    dilation: Sizes,
    ceil_mode: bool,
    return_indices: bool,
) -> Any:
    op = f"max_pool{dims}d"

    def run(x: Tensor) -> Pooled:
        how = ops.resolve(op, x.layout.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
        return _maxima(x, return_indices, how)

    return _apply(op, input, dims, run)


def _maxima(x: Tensor, return_indices: bool, how: dict[str, Any]) -> Pooled:
    """The values, and the indices if asked for; they are computed only where somebody needs them."""
    if not return_indices and not (state.grad and needs_graph((x,))):
        return tensor_of(ops.max_pool(x, indexed=False, **how))
    out, indices = map(tensor_of, ops.max_pool(x, indexed=True, **how))
    (values,) = _MAX.record_all((x, indices), (out,), how)
    return (values, indices) if return_indices else values


def _avg_pool(
    dims: int,
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None,
    padding: Sizes,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor_override: int | None = None,
) -> Tensor:
    op = f"avg_pool{dims}d"
    if divisor_override == 0:
        raise RuntimeError(f"{op}: divisor must be not zero")

    def run(x: Tensor) -> Tensor:
        size = x.layout.shape[2:]
        how = ops.resolve(op, size, kernel_size, stride, padding, 1, ceil_mode)
        return _MEAN.run(x, include_pad=count_include_pad, divisor=divisor_override, **how)

    return _apply(op, input, dims, run)


def _adaptive_size(op: str, x: Tensor, dims: int, output_size: object) -> tuple[int, ...]:
    """The sizes asked for, None standing for the input's."""
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * dims
    if len(given) != dims:
        raise RuntimeError(f"{op}: output_size must be one int or {dims} ints; got {output_size}")
    sizes = x.layout.shape[2:]
    out = tuple(
        n if g is None else as_index(op, g, "output_size", place)
        for place, (g, n) in enumerate(zip(given, sizes, strict=True))
    )
    if any(n < 0 for n in out):
        raise RuntimeError(
            f"{op}: elements of output_size must be greater than or equal to 0; got {output_size}"
        )
    return out


def _adaptive_avg(dims: int, input: Tensor, output_size: object) -> Tensor:
    op = f"adaptive_avg_pool{dims}d"

    def run(x: Tensor) -> Tensor:
        out = _adaptive_size(op, x, dims, output_size)
        if out == (1,) * dims:
            return reduce.mean(x, tuple(range(2, dims + 2)), True)
        return _MEAN.run(x, adaptive=True, out=out)

    return _apply(op, input, dims, run)


def _adaptive_max(dims: int, input: Tensor, output_size: object, return_indices: bool) -> Any:
    op = f"adaptive_max_pool{dims}d"

    def run(x: Tensor) -> Pooled:
        out = _adaptive_size(op, x, dims, output_size)
        return _maxima(x, return_indices, {"adaptive": True, "out": out})

    return _apply(op, input, dims, run)


def max_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """The largest element of each window of (N, C, L) or (C, L).

    Args:
        input: floating point or integers. stride: ``kernel_size`` if None. padding: of the least
            value there is.
        ceil_mode: a last, partial window counts too.
        return_indices: also return where in the plane each was (int64); the first among equals.
    Returns:
        (N, C, L') with L' = (L + 2 padding - dilation (kernel_size - 1) - 1) / stride + 1, rounded.
    Raises:
        RuntimeError: sizes out of range.
    Gradient: flows to the element that was taken; saves the indices.
    """
    return _max_pool(1, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """:func:`max_pool1d` over two dimensions: (N, C, H, W) or (C, H, W)."""
    return _max_pool(2, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def max_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    dilation: Sizes = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """:func:`max_pool1d` over three dimensions: (N, C, D, H, W) or (C, D, H, W)."""
    return _max_pool(3, input, kernel_size, stride, padding, dilation, ceil_mode, return_indices)


def avg_pool1d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Tensor:
    """The mean of each window of (N, C, L) or (C, L).

    Args:
        input: floating point, or int64 (without gradient; the mean is rounded towards zero).
        stride: ``kernel_size`` if None. padding: of zeros.
        ceil_mode: a last, partial window counts too.
        count_include_pad: whether padding counts in the mean's divisor.
    Returns:
        (N, C, L') with L' = (L + 2 padding - kernel_size) / stride + 1, rounded.
    Raises:
        RuntimeError: sizes out of range.
    Gradient: the adjoint; saves nothing.
    """
    return _avg_pool(1, input, kernel_size, stride, padding, ceil_mode, count_include_pad)


def avg_pool2d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """:func:`avg_pool1d` over two dimensions; ``divisor_override`` replaces the divisor."""
    return _avg_pool(
        2, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def avg_pool3d(
    input: Tensor,
    kernel_size: Sizes,
    stride: Sizes | None = None,
    padding: Sizes = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """:func:`avg_pool1d` over three dimensions; ``divisor_override`` replaces the divisor."""
    return _avg_pool(
        3, input, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override
    )


def adaptive_avg_pool1d(input: Tensor, output_size: object) -> Tensor:
    """The mean of each of ``output_size`` windows that cover (N, C, L) or (C, L) evenly.

    Window ``o`` runs from floor(o L / output_size) to ceil((o + 1) L / output_size).

    Raises:
        RuntimeError: sizes out of range.
    Gradient: the adjoint; saves nothing.
    """
    return _adaptive_avg(1, input, output_size)


def adaptive_avg_pool2d(input: Tensor, output_size: object) -> Tensor:
    """:func:`adaptive_avg_pool1d` over two dimensions; None keeps a size."""
    return _adaptive_avg(2, input, output_size)


def adaptive_avg_pool3d(input: Tensor, output_size: object) -> Tensor:
    """:func:`adaptive_avg_pool1d` over three dimensions; None keeps a size."""
    return _adaptive_avg(3, input, output_size)


def adaptive_max_pool1d(input: Tensor, output_size: object, return_indices: bool = False) -> Any:
    """The largest element of the windows of :func:`adaptive_avg_pool1d`."""
    return _adaptive_max(1, input, output_size, return_indices)


def adaptive_max_pool2d(input: Tensor, output_size: object, return_indices: bool = False) -> Any:
    """The largest element of the windows of :func:`adaptive_avg_pool2d`."""
    return _adaptive_max(2, input, output_size, return_indices)


def adaptive_max_pool3d(input: Tensor, output_size: object, return_indices: bool = False) -> Any:
    """The largest element of the windows of :func:`adaptive_avg_pool3d`."""
    return _adaptive_max(3, input, output_size, return_indices)
