"""Differences and sums along a dimension, and covariances, all composed of other functions."""

from __future__ import annotations

import warnings
from typing import Any

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.graph import called
from tilegrad.autograd.rules import arithmetic, pointwise, view
from tilegrad.autograd.rules.assign import clone
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.matmul import matmul
from tilegrad.autograd.rules.movement import cat
from tilegrad.autograd.rules.operands import Scalar
from tilegrad.autograd.rules.planar import complex, conj, imag, real
from tilegrad.autograd.rules.reduce import sum
from tilegrad.autograd.rules.scan import cumsum
from tilegrad.engine import dtype as dt, number
from tilegrad.engine.shape import as_index, existing_dim, normalize_dim, normalize_dims

__all__ = ["corrcoef", "cov", "cumulative_trapezoid", "diff", "gradient", "trapezoid", "trapz"]


def _part(x: Tensor, dim: int, start: int | None, stop: int | None) -> Tensor:
    size = x.layout.shape[dim]
    begin, end, _ = slice(start, stop).indices(size)
    return view.slice_(x, dim, begin, max(begin, end))


def diff(
    input: Tensor,
    n: int = 1,
    dim: int = -1,
    prepend: Tensor | None = None,
    append: Tensor | None = None,
) -> Tensor:
    """``n`` times the differences of neighbours along ``dim``; of truth values whether they differ.

    Args:
        prepend: goes in front of ``input``; append: behind it.

    Raises:
        RuntimeError: there is no dimension, or ``n`` is negative.
    """
    if not input.layout.ndim:
        raise RuntimeError("diff: expects input to be at least one-dimensional")
    if as_index("diff", n, "n") < 0:
        raise RuntimeError(f"diff: order must be non-negative but got {n}")
    for extra in (prepend, append):
        if extra is not None and extra.layout.ndim != input.layout.ndim:
            raise RuntimeError("diff: expects prepend or append to be the same dimension as input")
    axis = normalize_dim("diff", dim, input.layout.ndim)
    if n == 0:
        return clone(input)
    joined = [x for x in (prepend, input, append) if x is not None]
    made = cat(joined, axis) if len(joined) > 1 else input
    subtract = pointwise.logical_xor if made.layout.dtype is dt.bool_ else arithmetic.sub
    for _ in range(min(n, made.layout.shape[axis])):
        made = subtract(_part(made, axis, 1, None), _part(made, axis, None, -1))
    return made


# ------------------------------------------------------------------------------------- gradient


def gradient(
    input: Tensor, *, spacing: Any = 1, dim: Any = None, edge_order: int = 1
) -> tuple[Tensor, ...]:
    """Estimates of the derivatives of samples along each dimension, by central differences.

    Args:
        spacing: between samples: a number, one per dimension, or coordinates per dimension.
        dim: the dimensions, all by default.
        edge_order: 1 or 2, of the estimates at both ends.

    Raises:
        RuntimeError: a dimension has too few samples, or ``spacing`` does not fit ``dim``.
    """
    dims = normalize_dims("gradient", dim, input.layout.ndim)
    if isinstance(dim, tuple | list):
        dims = tuple([normalize_dim("gradient", d, input.layout.ndim) for d in dim])
    if edge_order not in (1, 2):
        raise RuntimeError("gradient: only supports edge_order=1 and edge_order=2.")
    spacing = 1 if spacing is None else spacing
    several = isinstance(spacing, tuple | list)
    steps = list(spacing) if several else [spacing] * len(dims)
    if several and isinstance(dim, int) and len(steps) == 1:
        dims = (normalize_dim("gradient", dim, input.layout.ndim),)
    if len(steps) != len(dims):
        raise RuntimeError(
            f"gradient: expected spacing to be unspecified, a scalar, or a list of length "
            f"{len(dims)}; got {len(steps)}"
        )
    if input.layout.dtype in (dt.uint8, dt.bool_):
        raise RuntimeError(f"gradient: does not support {input.layout.dtype.name} input.")
    if not input.layout.dtype.has_gradient:
        input = to_dtype(input, dt.get_default_dtype())
    made = []
    for axis, step in zip(dims, steps, strict=True):
        if input.layout.shape[axis] <= edge_order:
            raise RuntimeError("gradient: expected each dimension size to be at least edge_order+1")
        if isinstance(step, TensorBase) and step.layout.ndim:
            made.append(_by_coordinates(input, axis, step, edge_order))
        else:
            made.append(_by_step(input, axis, step, edge_order))
    return tuple(made)


def _by_step(x: Tensor, axis: int, step: Scalar, order: int) -> Tensor:
    def at(place: int) -> Tensor:
        return view.narrow(x, axis, place % x.layout.shape[axis], 1)

    inner = (_part(x, axis, 2, None) - _part(x, axis, None, -2)) / (2 * step)
    if order == 1:
        ends = (at(1) - at(0)) / step, (at(-1) - at(-2)) / step
    else:
        ends = (
            (at(0) * -1.5 + at(1) * 2 - at(2) * 0.5) / step,
            (at(-1) * 1.5 - at(-2) * 2 + at(-3) * 0.5) / step,
        )
    return cat([ends[0], inner, ends[1]], axis)


def _by_coordinates(x: Tensor, axis: int, places: Tensor, order: int) -> Tensor:
    count = x.layout.shape[axis]
    if places.layout.ndim != 1 or places.layout.shape[0] != count:
        raise RuntimeError(
            f"gradient: expected each tensor of spacing to have one element per sample; got "
            f"{list(places.shape)} for {count}"
        )
    shape = [-1 if a == axis else 1 for a in range(x.layout.ndim)]
    steps = view.reshape(diff(places), shape)
    before, after = _part(steps, axis, None, -1), _part(steps, axis, 1, None)

    def weighted(a: Tensor, b: Tensor, c: Tensor, start: int, stop: int | None) -> Tensor:
        first, middle, last = (
            _part(x, axis, start + k, None if stop is None or stop + k == 0 else stop + k)
            for k in range(3)
        )
        return a * first + b * middle + c * last

    inner = weighted(
        -after / (before * (before + after)),
        (after - before) / (before * after),
        before / (after * (before + after)),
        0,
        -2,
    )
    if order == 1:
        first = (_part(x, axis, 1, 2) - _part(x, axis, 0, 1)) / _part(steps, axis, 0, 1)
        last = (_part(x, axis, -1, None) - _part(x, axis, -2, -1)) / _part(steps, axis, -1, None)
        return cat([first, inner, last], axis)
    s, t = _part(steps, axis, 0, 1), _part(steps, axis, 1, 2)
    first = (
        -(2 * s + t) / (s * (s + t)) * _part(x, axis, 0, 1)
        + (s + t) / (s * t) * _part(x, axis, 1, 2)
        - s / (t * (s + t)) * _part(x, axis, 2, 3)
    )
    s, t = _part(steps, axis, -1, None), _part(steps, axis, -2, -1)
    last = (
        s / (t * (s + t)) * _part(x, axis, -3, -2)
        - (s + t) / (s * t) * _part(x, axis, -2, -1)
        + (2 * s + t) / (s * (s + t)) * _part(x, axis, -1, None)
    )
    return cat([first, inner, last], axis)


# ------------------------------------------------------------------------------------ trapezoids


def _areas(
    name: str, y: Tensor, x: Tensor | None, dx: Scalar | None, dim: int
) -> tuple[Tensor, int]:
    """Twice the areas between neighbours, and the dimension."""
    axis = existing_dim(name, dim, y.layout.ndim)
    if y.layout.dtype is dt.bool_:
        raise RuntimeError(f"{name}: received a bool input for `y`, but bool is not supported")
    if x is not None and x.layout.dtype is dt.bool_:
        raise RuntimeError(f"{name}: received a bool input for `x`, but bool is not supported")
    sums = _part(y, axis, 1, None) + _part(y, axis, None, -1)
    if x is None:
        return sums * (
            1.0 if dx is None else float(number.in_64_bits(number.required(dx, name)))
        ), axis
    if x.layout.ndim == 1:
        if x.layout.shape[0] != y.layout.shape[axis]:
            raise RuntimeError(f"{name}: There must be one `x` value for each sample point")
        x = view.view(x, [-1 if a == axis else 1 for a in range(y.layout.ndim)])
    elif x.layout.ndim < y.layout.ndim:
        x = view.view(x, (1,) * (y.layout.ndim - x.layout.ndim) + x.layout.shape)
    return sums * (_part(x, axis, 1, None) - _part(x, axis, None, -1)), axis


def trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: Scalar | None = None, dim: int = -1
) -> Tensor:
    """The integral along ``dim`` of samples ``y`` at ``x``, or ``dx`` (1) apart, by trapezoids.

    Raises:
        RuntimeError: bools, or ``x`` does not fit.
    """
    if y.layout.ndim and not y.layout.shape[normalize_dim("trapezoid", dim, y.layout.ndim)]:
        return sum(y, dim, dtype=y.layout.dtype)
    areas, axis = _areas("trapezoid", y, x, dx, dim)
    return called("trapezoid", sum(areas, axis) / 2.0)


def trapz(y: Tensor, x: Tensor | None = None, *, dx: Scalar | None = None, dim: int = -1) -> Tensor:
    """Another name of :func:`trapezoid`."""
    return trapezoid(y, x, dx=dx, dim=dim)


def cumulative_trapezoid(
    y: Tensor, x: Tensor | None = None, *, dx: Scalar | None = None, dim: int = -1
) -> Tensor:
    """The integrals of :func:`trapezoid` up to each sample but the first.

    Raises:
        RuntimeError: bools, or ``x`` does not fit.
    """
    areas, axis = _areas("cumulative_trapezoid", y, x, dx, dim)
    return called("cumulative_trapezoid", cumsum(areas / 2.0, axis))


# ----------------------------------------------------------------------------------- covariances


def _weights(name: str, given: Tensor | None, count: int, whole: bool) -> Tensor | None:
    if given is None:
        return None
    kind = given.layout
    if kind.ndim > 1:
        raise RuntimeError(
            f"cov: cov(): expected {name} to have one or fewer dimensions but got {name} with "
            f"{kind.ndim} dimensions"
        )
    if kind.dtype.is_floating_point is whole or kind.dtype is dt.bool_:
        wanted = "integral" if whole else "floating point"
        raise RuntimeError(
            f"cov: cov(): expected {name} to have {wanted} dtype but got {name} with "
            f"{kind.dtype.name} dtype"
        )
    if kind.numel != count:
        raise RuntimeError(
            f"cov: cov(): expected {name} to have the same numel as there are observations in the "
            f"input but got {kind.numel} != {count}"
        )
    if count and not bool((given.detach() >= 0).all().item()):
        raise RuntimeError(f"cov: cov(): {name} cannot be negative")
    return given


def cov(
    input: Tensor,
    *,
    correction: int = 1,
    fweights: Tensor | None = None,
    aweights: Tensor | None = None,
) -> Tensor:
    """Covariances of variables, the rows, over observations, the columns.

    Args:
        correction: taken from the number of observations that is divided by.
        fweights: how often each observation counts, integers; aweights: its weight.

    Raises:
        RuntimeError: shapes or dtypes do not fit, or weights are negative.
    """
    kind = input.layout
    if kind.ndim > 2:
        raise RuntimeError(
            f"cov: cov(): expected input to have two or fewer dimensions but got an input with "
            f"{kind.ndim} dimensions"
        )
    if kind.dtype is dt.bool_:
        raise RuntimeError("cov: cov(): bool dtype is not supported for input")
    rows = view.reshape(input, (1, -1)) if kind.ndim < 2 else input
    count = rows.layout.shape[1]
    often = _weights("fweights", fweights, count, True)
    weight = _weights("aweights", aweights, count, False)
    both = often if weight is None else weight if often is None else often * weight
    total: Any = count if both is None else sum(both)
    if both is not None and total.item() == 0:
        raise RuntimeError("cov: cov(): weights sum to zero, can't be normalized")
    if weight is not None and correction != 0:
        factor = total - correction * sum(both * weight) / total
    else:
        factor = total - correction
    if float(factor) <= 0:
        warnings.warn(
            "cov(): degrees of freedom is <= 0. Correction should be strictly less than the number "
            "of observations.",
            stacklevel=2,
        )
        factor = 0
    mean = sum(rows if both is None else rows * both, 1, True) / total
    apart = rows - mean
    other = apart if both is None else apart * both
    if kind.dtype.is_complex:
        other = conj(other)
    return view.squeeze(matmul(apart, view.transpose(other, 0, 1)) / factor)


def corrcoef(input: Tensor) -> Tensor:
    """Correlation coefficients of variables, the rows, over observations, the columns.

    Raises:
        RuntimeError: there are more than two dimensions.
    """
    if input.layout.ndim > 2:
        raise RuntimeError(
            f"corrcoef: expected input to have two or fewer dimensions but got an input with "
            f"{input.layout.ndim} dimensions"
        )
    made = cov(input)
    if not made.layout.ndim:
        return made / made
    deviations = pointwise.sqrt(view.diagonal(made))
    made = made / view.unsqueeze(deviations, 1) / view.unsqueeze(deviations, 0)
    if made.layout.dtype.is_complex:  # part by part, as PyTorch
        parts = [arithmetic.clamp(part, -1, 1) for part in (real(made), imag(made))]
        return called("corrcoef", complex(*parts))
    return arithmetic.clamp(made, -1, 1)
