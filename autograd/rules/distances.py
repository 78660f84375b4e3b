"""Distances between vectors, cross products, and vectors scaled to a norm."""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.graph import Node, called
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import arithmetic, pairs, pointwise, view
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.masked import masked_fill, where
from tilegrad.autograd.rules.matmul import matmul
from tilegrad.autograd.rules.moments import norm
from tilegrad.autograd.rules.movement import cat, roll
from tilegrad.autograd.rules.operands import Scalar
from tilegrad.autograd.rules.reduce import sum
from tilegrad.engine import dtype as dt
from tilegrad.engine.shape import broadcast_shapes, normalize_dim

__all__ = ["cdist", "cross", "dist", "renorm"]

_MODES = (
    "use_mm_for_euclid_dist_if_necessary", "use_mm_for_euclid_dist",
    "donot_use_mm_for_euclid_dist",
)  # fmt: skip
_MANY = 25  # rows of one operand above which a product is used unasked


def cross(input: Tensor, other: Tensor, dim: int | None = None) -> Tensor:
    """Cross products of vectors of size 3 along ``dim``, by default the first of that size.

    Gradient: of both.

    Raises:
        RuntimeError: no dimension of both has size 3, or dtypes differ.
    """
    a, b = input.layout, other.layout
    if a.ndim != b.ndim:
        raise RuntimeError("cross: inputs must have the same number of dimensions.")
    if dim is None:
        found = [k for k, n in enumerate(a.shape) if n == 3]
        if not found:
            raise RuntimeError(f"cross: no dimension of size 3 in input; got {list(a.shape)}")
        dim = found[0]
    axis = normalize_dim("cross", dim, a.ndim)
    if a.shape[axis] != 3 or b.shape[axis] != 3:
        raise RuntimeError(
            f"cross: inputs dimension {dim} must have length 3. Got {a.shape[axis]} and "
            f"{b.shape[axis]}"
        )
    if a.dtype is not b.dtype:
        raise RuntimeError(f"cross: expected scalar type {a.dtype.name} but found {b.dtype.name}")
    x, y = roll(input, -1, axis), roll(other, -1, axis)
    made = roll(pointwise.mul(input, y) - pointwise.mul(x, other), -1, axis)
    return called("linalg_cross", made)


def dist(input: Tensor, other: Tensor, p: Scalar = 2) -> Tensor:
    """The ``p``-norm of ``input - other``.

    Raises:
        TypeError: one of the two is no tensor.
        RuntimeError: the dtype is not floating point.
    """
    for place, name, x in ((1, "input", input), (2, "other", other)):
        if not isinstance(x, TensorBase):
            raise TypeError(
                f"dist(): argument '{name}' (position {place}) must be Tensor, not {type(x).__name__}"
            )
    return norm(arithmetic.sub(input, other), p)


def renorm(input: Tensor, p: Scalar, dim: int, maxnorm: Scalar) -> Tensor:
    """``input`` with the slices along ``dim`` whose ``p``-norm exceeds ``maxnorm`` scaled to it.

    Gradient: of ``input``.

    Raises:
        RuntimeError: integers, fewer than two dimensions, or a norm that is no number from 0 on.
    """
    kind = input.layout
    if not kind.dtype.has_gradient:
        raise RuntimeError(
            f"renorm: Expected a floating point or complex tensor as input. Got {kind.dtype.name}"
        )
    for name, value in (("p", p), ("maxnorm", maxnorm)):
        if isinstance(value, complex):
            raise RuntimeError(f"renorm: {name} must be real-valued; got {value}")
    if not p > 0:
        raise RuntimeError("renorm: non-positive-norm not supported")
    if not maxnorm >= 0:
        raise RuntimeError(f"renorm: expected maxnorm to be >= 0 but got {maxnorm}")
    if kind.ndim < 2:
        raise RuntimeError(f"renorm: input needs at least 2 dimensions, got {kind.ndim} dimensions")
    axis = normalize_dim("renorm", dim, kind.ndim)
    others = [k for k in range(kind.ndim) if k != axis]
    length = norm(input, p, others, True)
    factor = where(length > maxnorm, maxnorm / (length + 1e-7), 1.0)
    return called("renorm", input * factor)


# ---------------------------------------------------------------------------- all against all


def cdist(
    x1: Tensor,
    x2: Tensor,
    p: float = 2.0,
    compute_mode: object = "use_mm_for_euclid_dist_if_necessary",
) -> Tensor:
    """The ``p``-norm distances of every row of ``x1`` to every row of ``x2``.

    Args:
        x1: (..., P, M); x2: (..., R, M); their batches broadcast.
        compute_mode: whether Euclidean distances come from a product, which is quick, and less exact for
            rows that are close: where there are more than 25 rows, always, or never
            (``donot_use_mm_for_euclid_dist``).

    Returns:
        (..., P, R).

    Gradient: of both; zero for rows that are equal.

    Raises:
        ValueError: another mode; numbers and None are none.
        RuntimeError: integers, two dtypes, fewer than two dimensions, or sizes that do not fit.
    """
    if compute_mode not in _MODES:
        raise ValueError(f"cdist: {compute_mode} is not a valid value for compute_mode")
    a, b = x1.layout, x2.layout
    for name, kind in (("X1", a), ("X2", b)):
        if not kind.dtype.is_floating_point:
            raise RuntimeError(
                f"cdist: only supports floating-point dtypes, {name} got: {kind.dtype.name}"
            )
        if kind.ndim < 2:
            raise RuntimeError(
                f"cdist: only supports at least 2D tensors, {name} got: {kind.ndim}D"
            )
    if a.dtype is not b.dtype:
        raise RuntimeError(f"cdist: expected scalar type {a.dtype.name} but found {b.dtype.name}")
    if a.shape[-1] != b.shape[-1]:
        raise RuntimeError(
            f"cdist: X1 and X2 must have the same number of columns. X1: {a.shape[-1]} X2: "
            f"{b.shape[-1]}"
        )
    if p < 0:
        raise RuntimeError("cdist: only supports non-negative p values")
    common = dt.promote_types(a.dtype, b.dtype)
    x1, x2 = to_dtype(x1, common), to_dtype(x2, common)
    many = a.shape[-2] > _MANY or b.shape[-2] > _MANY
    if p == 2 and (compute_mode == _MODES[1] or (compute_mode == _MODES[0] and many)):
        return _by_product(x1, x2)
    return pairs.across(x1, x2, float(p))


def _by_product(x1: Tensor, x2: Tensor) -> Tensor:
    """``|x|^2 - 2 x y + |y|^2`` as one product with two columns more, which does not round twice."""
    batch = broadcast_shapes("cdist", x1.layout.shape[:-2], x2.layout.shape[:-2])
    x, y = (
        view.expand(t, (*batch, *t.layout.shape[-2:])) if t.layout.shape[:-2] != batch else t
        for t in (x1, x2)
    )
    a, b = x.detach(), y.detach()
    lengths = [sum(t * t, -1, True) for t in (a, b)]
    ones = [pointwise.eq(t, t).to(t.layout.dtype) for t in lengths]
    left = cat([a * -2, lengths[0], ones[0]], -1)
    right = cat([b, ones[1], lengths[1]], -1)
    squares = matmul(left, view.transpose(right, -2, -1))
    return _EUCLID.record((x, y), pointwise.sqrt(arithmetic.clamp_min(squares, 0)))


def _euclid_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    x, y, made = node.unpack()
    ratio = masked_fill(grad / made, pointwise.eq(made.detach(), 0), 0)
    first = second = None
    if node.edges[0] is not None:
        first = x * sum(ratio, -1, True) - matmul(ratio, y)
    if node.edges[1] is not None:
        across = view.transpose(ratio, -2, -1)
        second = y * sum(across, -1, True) - matmul(across, x)
    return first, second


_EUCLID = Rule("euclidean_dist", _euclid_vjp, (0, 1, -1))
