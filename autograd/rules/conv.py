"""Convolutions and transposed convolutions, PyTorch's names and arguments."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.graph import Node, called
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import reduce
from tilegrad.autograd.rules.elementwise import binary, to_dtype
from tilegrad.autograd.rules.matmul import matmul
from tilegrad.autograd.rules.movement import flip, pad
from tilegrad.autograd.rules.view import narrow, reshape, squeeze, transpose, unsqueeze, view
from tilegrad.engine import calls, dtype as dt
from tilegrad.engine.ops import conv as ops
from tilegrad.engine.ops.elementwise import OPS

__all__: list[str] = []

Sizes = int | Sequence[int]
INTEGERS = (dt.uint8, dt.int8, dt.int16, dt.int32, dt.int64)


def _conv_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, weight = node.unpack()
    _, *how = node.meta
    by_x = by_weight = None
    if node.edges[0] is not None:
        by_x = _CONV_INPUT.at((grad, weight), (node.inputs[0].shape[2:], *how))
    if node.edges[1] is not None:
        by_weight = _CONV_WEIGHT.at((x, grad), (node.inputs[1].shape[2:], *how))
    if len(node.edges) == 2:
        return by_x, by_weight
    if node.edges[2] is None:
        return by_x, by_weight, None
    return by_x, by_weight, reduce.sum(grad, (0, *range(2, grad.ndim)))


def _input_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    y, weight = node.unpack()
    _, *how = node.meta
    by_y = by_weight = None
    if node.edges[0] is not None:
        by_y = _CONV.at((grad, weight), (node.inputs[0].shape[2:], *how))
    if node.edges[1] is not None:
        by_weight = _CONV_WEIGHT.at((grad, y), (node.inputs[1].shape[2:], *how))
    return by_y, by_weight


def _weight_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, y = node.unpack()
    _, *how = node.meta
    by_x = by_y = None
    if node.edges[0] is not None:
        by_x = _CONV_INPUT.at((y, grad), (node.inputs[0].shape[2:], *how))
    if node.edges[1] is not None:
        by_y = _CONV.at((x, grad), (node.inputs[1].shape[2:], *how))
    return by_x, by_y


_CONV = Rule(ops.conv, _conv_vjp, ((0, 1), (1, 0)))
_CONV_INPUT = Rule(ops.conv_input, _input_vjp, ((0, 1), (1, 0)))
_CONV_WEIGHT = Rule(ops.conv_weight, _weight_vjp, ((0, 1), (1, 0)))


# ------------------------------------------------------------------------------------ functions


def _batched(op: str, input: Tensor, dims: int) -> Tensor:
    """``input``, which has no batch dimension, with one.

    Raises:
        RuntimeError: the number of dimensions is not ``dims + 1``.
    """
    if input.ndim == dims + 1:
        return unsqueeze(input, 0)
    raise RuntimeError(
        f"{op}: Expected {dims + 1}D (unbatched) or {dims + 2}D (batched) input to {op}, but got "
        f"input of size: {list(input.shape)}"
    )


def _forward(
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes | str,
    dilation: Sizes,
    groups: int,
) -> Tensor:
    op = f"conv{dims}d"
    if input.layout.dtype.is_complex and weight.layout.dtype.is_complex:
        rest = (stride, padding, dilation, groups)
        return _of_complex(
            dims, lambda x, w: _forward(dims, x, w, None, *rest), input, weight, bias
        )
    single = input.layout.ndim != dims + 2
    x = _batched(op, input, dims) if single else input
    kind, bias_kind = x.layout, None if bias is None else bias.layout
    given = (op, kind, weight.layout, bias_kind, stride, padding, dilation, groups)
    try:
        how = ops.resolved(*given) if calls.exact(*given) else ops.resolve(*given)
    except TypeError:  # an argument has no hash, or is wrong
        how = ops.resolve(*given)
    if kind.shape[1] == 0:
        out = _of_no_channels(x, weight, bias, how[0])
    elif not kind.dtype.is_floating_point and kind.dtype in INTEGERS:
        out = _of_integers(x, weight, bias, *how)
    else:
        out = _CONV.at((x, weight) if bias is None else (x, weight, bias), how)
    return squeeze(out, 0) if single else out


def _transposed(
    dims: int,
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sizes,
    padding: Sizes,
    output_padding: Sizes,
    groups: int,
    dilation: Sizes,
) -> Tensor:
    op = f"conv_transpose{dims}d"
    if input.layout.dtype.is_complex and weight.layout.dtype.is_complex:
        rest = (stride, padding, output_padding, groups, dilation)
        return _of_complex(
            dims, lambda x, w: _transposed(dims, x, w, None, *rest), input, weight, bias
        )
    single = input.layout.ndim != dims + 2
    y = _batched(op, input, dims) if single else input
    kind, bias_kind = y.layout, None if bias is None else bias.layout
    given = (
        op, kind, weight.layout, bias_kind, stride, padding, output_padding, dilation, groups
    )  # fmt: skip
    try:
        resolve = ops.resolved_transpose if calls.exact(*given) else ops.resolve_transpose
        how = resolve(*given)
    except TypeError:  # an argument has no hash, or is wrong
        how = ops.resolve_transpose(*given)
    if kind.dtype is dt.int64:
        out = _of_stuffed_integers(y, weight, *how)
    else:
        out = _CONV_INPUT.at((y, weight), how)
    if bias is not None:
        made = binary(OPS["add"], out, view(bias, (bias.layout.shape[0],) + (1,) * dims))
        if not dt.can_cast(made.dtype, out.dtype):
            raise RuntimeError(
                f"{op}: result type {made.dtype.name} can't be cast to the desired output type "
                f"{out.dtype.name}"
            )
        out = called("conv", to_dtype(made, out.dtype))
    return squeeze(out, 0) if single else out


def _of_complex(
    dims: int,
    run: Callable[[Tensor, Tensor], Tensor],
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
) -> Tensor:
    """Three convolutions of real numbers: of the real parts, of the imaginary ones, of their sums."""
    ops.check_one_dtype("conv", [t.layout for t in (x, weight, bias) if t is not None])
    first, second = run(x.real, weight.real), run(x.imag, weight.imag)
    sums = run(x.real + x.imag, weight.real + weight.imag)
    out = (first - second) + (sums - first - second) * 1j
    if bias is not None:
        out = out + view(bias, (bias.layout.shape[0],) + (1,) * dims)
    return called("conv", out)


def _of_no_channels(x: Tensor, weight: Tensor, bias: Tensor | None, out: tuple[int, ...]) -> Tensor:
    """What PyTorch makes of an input without channels: no channels either, and gradients of zeros."""
    given = [t for t in (x, weight, bias) if t is not None]
    ops.check_one_dtype("conv", [t.layout for t in given])
    shape = (x.shape[0], 0, *out)
    made = binary(OPS["add"], reshape(x, shape), reshape(weight, shape))
    return made if bias is None else binary(OPS["add"], made, reshape(bias[:0], shape))


def _of_stuffed_integers(
    y: Tensor,
    weight: Tensor,
    size: tuple[int, ...],
    stride: tuple[int, ...],
    before: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """A transposed convolution of integers: that of ``y``, with zeros between its elements, with the
    reversed kernel.
    """
    ops.check_one_dtype("conv_input", [y.layout, weight.layout])
    for axis, (n, s) in enumerate(zip(y.shape[2:], stride, strict=True), start=2):
        if s > 1 and n:
            apart = pad(unsqueeze(y, axis + 1), (0, 0) * (y.ndim - 1 - axis) + (0, s - 1))
            y = reshape(apart, (*y.shape[:axis], n * s, *y.shape[axis + 1 :]))
            y = narrow(y, axis, 0, (n - 1) * s + 1)
    (K, made), kernel = weight.shape[:2], weight.shape[2:]
    taps = transpose(reshape(weight, (groups, K // groups, made, *kernel)), 1, 2)
    turned = flip(reshape(taps, (groups * made, K // groups, *kernel)), tuple(range(2, y.ndim)))
    edges = tuple(d * (k - 1) - b for d, k, b in zip(dilation, kernel, before, strict=True))
    ones = (1,) * len(size)
    return _of_integers(y, turned, None, size, ones, edges, dilation, groups)


def _of_integers(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    out: tuple[int, ...],
    stride: tuple[int, ...],
    before: tuple[int, ...],
    dilation: tuple[int, ...],
    groups: int,
) -> Tensor:
    """A convolution of integers, whose sums wrap around: one matrix product per place of the kernel."""
    ops.check_one_dtype("conv", [t.layout for t in (x, weight, bias) if t is not None])
    dims, (K, inputs) = len(out), weight.shape[:2]
    windows = weight.shape[2:]
    reach = [
        (o - 1) * s + d * (k - 1) + 1
        for o, s, d, k in zip(out, stride, dilation, windows, strict=True)
    ]
    edges = [(b, r - n - b) for b, r, n in zip(before, reach, x.shape[2:], strict=True)]
    wide = pad(x, [n for pair in reversed(edges) for n in pair])
    taps = reshape(weight, (groups, K // groups, inputs, -1))
    total: Tensor | None = None
    for tap, place in enumerate(itertools.product(*(range(k) for k in windows))):
        part = wide
        for axis in range(dims):
            first = place[axis] * dilation[axis]
            part = part[
                (slice(None),) * (2 + axis)
                + (slice(first, first + (out[axis] - 1) * stride[axis] + 1, stride[axis]),)
            ]
        columns = reshape(part, (x.shape[0], groups, inputs, math.prod(out)))
        product = matmul(taps[..., tap], columns)
        total = product if total is None else binary(OPS["add"], total, product)
    assert total is not None
    made = reshape(total, (x.shape[0], K, *out))
    return made if bias is None else binary(OPS["add"], made, view(bias, (K,) + (1,) * dims))


def conv1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    r"""Cross-correlation of (N, C, L) or (C, L) with ``weight`` (K, C / groups, kernel).

    .. math:: y_{nkl} = b_k + \sum_{c,t} w_{kct} \, x_{n, c, l s + t d - p}

    Args:
        input: floating point, or integers (without gradient). weight: the same dtype. bias: (K,) or
            None.
        stride, dilation: positive. padding: zeros on both sides, "valid" (none) or "same".
    Returns:
        (N, K, L') with L' = (L + 2 padding - dilation (kernel - 1) - 1) // stride + 1.
    Raises:
        RuntimeError: shapes that do not go together.
    Gradient: input, weight and bias, of any order; input and weight save each other.
    """
    return _forward(1, input, weight, bias, stride, padding, dilation, groups)


def conv2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """:func:`conv1d` over two dimensions: (N, C, H, W) or (C, H, W), weight (K, C / groups, R, S)."""
    return _forward(2, input, weight, bias, stride, padding, dilation, groups)


def conv3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes | str = 0,
    dilation: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """:func:`conv1d` over three dimensions: (N, C, D, H, W), weight (K, C / groups, Q, R, S)."""
    return _forward(3, input, weight, bias, stride, padding, dilation, groups)


def conv_transpose1d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """The adjoint of :func:`conv1d` in its input: (N, K, L) with ``weight`` (K, C / groups, kernel).

    Returns:
        (N, C, L') with L' = (L - 1) stride - 2 padding + dilation (kernel - 1) + output_padding + 1.
    Raises:
        RuntimeError: shapes that do not go together.
    Gradient: input, weight and bias, of any order; input and weight save each other.
    """
    return _transposed(1, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose2d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """:func:`conv_transpose1d` over two dimensions."""
    return _transposed(2, input, weight, bias, stride, padding, output_padding, groups, dilation)


def conv_transpose3d(
    input: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Sizes = 1,
    padding: Sizes = 0,
    output_padding: Sizes = 0,
    groups: int = 1,
    dilation: Sizes = 1,
) -> Tensor:
    """:func:`conv_transpose1d` over three dimensions."""
    return _transposed(3, input, weight, bias, stride, padding, output_padding, groups, dilation)
