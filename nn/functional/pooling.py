"""Pools that are made of others: with indices, undone, of fractional windows, by a power mean."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from tilegrad.autograd.graph import called
from tilegrad.autograd.rules import pool
from tilegrad.autograd.rules.creation import from_numpy, zeros
from tilegrad.autograd.rules.define import named
from tilegrad.autograd.rules.movement import pad
from tilegrad.autograd.rules.random import rand
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.shape import as_index, as_indices, spread

Sizes = int | Sequence[int]
Pair = tuple[Tensor, Tensor]


def _of(op: str, dims: int, name: str, value: object) -> tuple[int, ...]:
    several = isinstance(value, (tuple, list))
    given = tuple(value) if several else (as_index(op, value, name),) * dims  # type: ignore[arg-type]
    if len(given) != dims:
        raise RuntimeError(f"{op}: {name} must be one int or {dims} ints; got {value}")
    return as_indices(op, given, name)


def _indexed(function: Callable[..., Pair], dims: int) -> Callable[..., Pair]:
    def with_indices(
        input: Tensor, kernel_size: Sizes, stride: Sizes | None = None, padding: Sizes = 0,
        dilation: Sizes = 1, ceil_mode: bool = False, return_indices: bool = False,
    ) -> Pair:  # fmt: skip
        return function(input, kernel_size, stride, padding, dilation, ceil_mode, True)

    doc = f"(values, indices) of :func:`max_pool{dims}d`."
    return named(with_indices, f"max_pool{dims}d_with_indices", doc)


def _adaptive(function: Callable[..., Pair], dims: int) -> Callable[..., Pair]:
    def with_indices(input: Tensor, output_size: Sizes, return_indices: bool = False) -> Pair:
        return function(input, output_size, True)

    doc = f"(values, indices) of :func:`adaptive_max_pool{dims}d`."
    return named(with_indices, f"adaptive_max_pool{dims}d_with_indices", doc)


max_pool1d_with_indices = _indexed(pool.max_pool1d, 1)
max_pool2d_with_indices = _indexed(pool.max_pool2d, 2)
max_pool3d_with_indices = _indexed(pool.max_pool3d, 3)
adaptive_max_pool1d_with_indices = _adaptive(pool.adaptive_max_pool1d, 1)
adaptive_max_pool2d_with_indices = _adaptive(pool.adaptive_max_pool2d, 2)
adaptive_max_pool3d_with_indices = _adaptive(pool.adaptive_max_pool3d, 3)


# ------------------------------------------------------------------------------------------- undone


def _unpool(
    dims: int, input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None,
    padding: Sizes, output_size: Sequence[int] | None,
) -> Tensor:  # fmt: skip
    op = f"max_unpool{dims}d"
    if input.ndim not in (dims + 1, dims + 2):
        raise RuntimeError(
            f"{op}: input must have {dims + 1} or {dims + 2} dimensions; got {list(input.shape)}"
        )
    if indices.dtype.name != "int64":
        raise RuntimeError(
            f"{op}: elements in indices should be type int64 but got: {indices.dtype}"
        )
    if indices.shape != input.shape:
        raise RuntimeError(
            f"Expected shape of indices to be same as that of the input tensor ({list(input.shape)}) but "
            f"got indices tensor with shape: {list(indices.shape)}"
        )
    k = _of(op, dims, "kernel_size", kernel_size)
    s = k if stride is None else _of(op, dims, "stride", stride)
    p = _of(op, dims, "padding", padding)
    lead, small = input.shape[: input.ndim - dims], input.shape[input.ndim - dims :]
    usual = [(n - 1) * t + w - 2 * q for n, t, w, q in zip(small, s, k, p, strict=True)]
    size = usual
    if output_size is not None:
        size = list(output_size)[-dims:]
        if len(output_size) not in (dims, dims + 2, input.ndim):
            raise ValueError(
                f"output_size should be a sequence containing {dims} or {dims + 2} elements, but it has "
                f"a length of '{len(output_size)}'"
            )
        for n, u, t in zip(size, usual, s, strict=True):
            if not u - t < n < u + t:
                raise ValueError(
                    f"invalid output_size {output_size} (dim must be between {u - t} and {u + t})"
                )
    flat = input.reshape(*lead, -1)
    many = math.prod(size)
    at = indices.reshape(*lead, -1)
    if at.numel() and not (int(at.min().item()) >= 0 and int(at.max().item()) < many):
        raise RuntimeError(f"{op}: found an invalid max index for an output of {many} elements")
    empty = zeros((*lead, many), dtype=input.dtype, device=input.device)
    return called(op, empty.scatter(flat.ndim - 1, at, flat).reshape(*lead, *size))


def max_unpool1d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None,
    padding: Sizes = 0, output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """The values of :func:`max_pool1d` back where ``indices`` say they came from, among zeros."""
    return _unpool(1, input, indices, kernel_size, stride, padding, output_size)


def max_unpool2d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None,
    padding: Sizes = 0, output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """:func:`max_unpool1d` over two dimensions."""
    return _unpool(2, input, indices, kernel_size, stride, padding, output_size)


def max_unpool3d(
    input: Tensor, indices: Tensor, kernel_size: Sizes, stride: Sizes | None = None,
    padding: Sizes = 0, output_size: Sequence[int] | None = None,
) -> Tensor:  # fmt: skip
    """:func:`max_unpool1d` over three dimensions."""
    return _unpool(3, input, indices, kernel_size, stride, padding, output_size)


# ----------------------------------------------------------------------------- windows of fractions


def _starts(sample: np.ndarray, size: int, out: int, k: int) -> np.ndarray:
    """Where the windows begin, one of (…, out) for each of ``sample`` (…) (Graham 2014)."""
    last = size - k
    if out < 2:
        return np.full((*sample.shape, out), last, np.int64)
    kind = np.dtype(sample.dtype).type
    step = kind(last) / kind(out - 1)
    first = np.floor(sample * step).astype(np.int64)
    places = np.floor((np.arange(out).astype(kind) + sample[..., None]) * step).astype(np.int64)
    moved: np.ndarray = places - first[..., None]
    moved[..., -1] = last
    return moved


def _fractional(
    dims: int, input: Tensor, kernel_size: Sizes, output_size: Sizes | None,
    output_ratio: float | Sequence[float] | None, samples: Tensor | None,
) -> Pair:  # fmt: skip
    op = f"fractional_max_pool{dims}d"
    if output_size is None and output_ratio is None:
        raise ValueError(f"{op} requires specifying either an output_size or an output_ratio")
    if input.ndim not in (dims + 1, dims + 2) or 0 in input.shape[-dims - 1 :]:
        raise RuntimeError(
            f"{op}: Expected {dims + 1}D or {dims + 2}D tensor with non-zero sizes, but got: "
            f"{list(input.shape)}"
        )
    x = input if input.ndim == dims + 2 else input.unsqueeze(0)
    N, C, *size = x.shape
    k = _of(op, dims, "kernel_size", kernel_size)
    if output_size is None:
        assert output_ratio is not None
        ratios = spread(output_ratio, dims)
        out = [int(n * r) for n, r in zip(size, ratios, strict=True)]
    else:
        out = list(_of(op, dims, "output_size", output_size))
    if min(out) < 0 or min(k) < 1:
        raise RuntimeError(
            f"{op}: windows must have elements, and no output size may be negative; got {tuple(k)} and "
            f"{tuple(out)}"
        )
    for n, o, w in zip(size, out, k, strict=True):
        if o + w - 1 > n:
            raise RuntimeError(f"{op}: pool size {w} too large relative to input size {n}")
    if samples is None:
        samples = rand(N, C, dims, dtype=x.dtype, device=x.device)
    if input.ndim == dims + 1 and samples.ndim == 3:
        samples = samples[:1]
    if tuple(samples.shape) != (N, C, dims) or samples.dtype is not x.dtype:
        raise RuntimeError(f"{op}: Expect _random_samples of shape {(N, C, dims)}; got {tuple(samples.shape)}")  # fmt: skip
    drawn = samples.detach().cpu().numpy()
    flat = np.zeros((N, C) + (1,) * 2 * dims, np.int64)
    for axis in range(dims):
        # PyTorch draws the last dimension first in two dimensions, in three the first
        which = dims - 1 - axis if dims == 2 else axis
        places = _starts(drawn[:, :, which], size[axis], out[axis], k[axis])
        window = places[..., None] + np.arange(k[axis])
        shape = [N, C] + [1] * (2 * dims)
        shape[2 + axis], shape[2 + dims + axis] = out[axis], k[axis]
        flat = flat * size[axis] + window.reshape(shape)
    at = from_numpy(flat.reshape(N, C, math.prod(out) * math.prod(k))).to(x.device)
    values, where = x.reshape(N, C, math.prod(size)).gather(2, at), at
    if values.numel():
        values, which = pool.max_pool1d(values, math.prod(k), return_indices=True)
        where = at.gather(2, which)
    values, where = values.reshape(N, C, *out), where.reshape(N, C, *out)
    if input.ndim == dims + 1:
        values, where = values.squeeze(0), where.squeeze(0)
    return called(op, values), where


def fractional_max_pool2d_with_indices(
    input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Pair:  # fmt: skip
    """(values, indices) of :func:`fractional_max_pool2d`."""
    return _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool3d_with_indices(
    input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Pair:  # fmt: skip
    """(values, indices) of :func:`fractional_max_pool3d`."""
    return _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)


def fractional_max_pool2d(
    input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Tensor | Pair:  # fmt: skip
    """The largest element of windows that begin at random steps, ``output_size`` of them, or
    ``output_ratio`` times the input's sizes (Graham 2014).
    """
    pair = _fractional(2, input, kernel_size, output_size, output_ratio, _random_samples)
    return pair if return_indices else pair[0]


def fractional_max_pool3d(
    input: Tensor, kernel_size: Sizes, output_size: Sizes | None = None,
    output_ratio: float | Sequence[float] | None = None, return_indices: bool = False,
    _random_samples: Tensor | None = None,
) -> Tensor | Pair:  # fmt: skip
    """:func:`fractional_max_pool2d` over three dimensions."""
    pair = _fractional(3, input, kernel_size, output_size, output_ratio, _random_samples)
    return pair if return_indices else pair[0]


# ------------------------------------------------------------------------------------- power means


def _power(dims: int, x: Tensor, p: float, kernel_size: Sizes, stride: Sizes | None, ceil: bool) -> Tensor:  # fmt: skip
    k = _of(f"lp_pool{dims}d", dims, "kernel_size", kernel_size)
    average = (pool.avg_pool1d, pool.avg_pool2d, pool.avg_pool3d)[dims - 1]
    out = average(x.pow(p), k, stride, 0, ceil)
    return (out.sign() * out.abs().relu()).mul(math.prod(k)).pow(1.0 / p)


def lp_pool1d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    """The ``norm_type`` norm of each window of (N, C, L)."""
    return _power(1, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool2d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    """:func:`lp_pool1d` over two dimensions."""
    return _power(2, input, norm_type, kernel_size, stride, ceil_mode)


def lp_pool3d(
    input: Tensor, norm_type: float, kernel_size: Sizes, stride: Sizes | None = None,
    ceil_mode: bool = False,
) -> Tensor:  # fmt: skip
    """:func:`lp_pool1d` over three dimensions."""
    return _power(3, input, norm_type, kernel_size, stride, ceil_mode)


def local_response_norm(
    input: Tensor, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0
) -> Tensor:
    """x / (k + alpha mean of x^2 over ``size`` neighbouring channels)^beta (Krizhevsky et al. 2012)."""
    if input.ndim < 3:
        raise ValueError(
            f"Expected 3D or higher dimensionality                          input (got {input.ndim} "
            f"dimensions)"
        )
    if input.numel() == 0:
        return input
    N, C, *rest = input.shape
    squares = input.mul(input).reshape(N, 1, C, -1)
    padded = pad(squares, (0, 0, size // 2, (size - 1) // 2))
    means = pool.avg_pool2d(padded, (size, 1), stride=1).reshape(N, C, *rest)
    return input / means.mul(alpha).add(k).pow(beta)
