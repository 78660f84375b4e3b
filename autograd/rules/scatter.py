"""gather, scatter and their kin: one index per element, along one dimension.

``gather`` is undone by ``scatter_add`` and back, so gradients of any order follow. Values that meet
at one place are combined in index order, whatever the number of threads.
"""

from __future__ import annotations

from functools import lru_cache

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, refuse_overlap, zeros_of
from tilegrad.autograd.graph import Node, called
from tilegrad.autograd.rule import Rule, writable
from tilegrad.autograd.rules import view
from tilegrad.autograd.rules.assign import before, overwrite
from tilegrad.autograd.rules.index import (
    COPY,
    FRESH,
    IN_PLACE,
    Scalar,
    at_least_1d,
    constant,
    dim_of,
    index_of,
    require_same_dtype,
    write,
    zeros,
)
from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.ops import index as ops
from tilegrad.engine.shape import broadcast_shapes

__all__ = ["gather", "scatter", "scatter_add", "scatter_reduce", "take_along_dim"]


def gather(input: Tensor, dim: int, index: Tensor, *, sparse_grad: bool = False) -> Tensor:
    """``out[i, j, …] = input[index[i, j, …], j, …]`` for ``dim`` 0, and so on.

    Args:
        index: int64 or int32, the rank of ``input``, no larger than it beside ``dim``.
        sparse_grad: accepted for compatibility; gradients are dense.

    Gradient: of ``input``; equal indices add up.
    """
    dim = dim_of("gather", dim, input)
    index = index_of("gather", index) if index.layout.numel else index.to(dt.int64)
    if input.layout.ndim == 0 or index.layout.ndim == 0:
        return view.reshape(gather(at_least_1d(input), dim, at_least_1d(index)), index.shape)
    return _GATHER.record((input, index), ops.gather(input, index, dim), dim)


def _gather_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (at,) = node.unpack()
    return placed(node.inputs[0], node.meta, at, grad), None


_GATHER = Rule("gather", _gather_vjp, (1,))


def placed(kind: Layout, dim: int, index: Tensor, source: Tensor) -> Tensor:
    """:func:`scatter_add` to zeros shaped like ``kind``, for indices that are known to be in bounds."""
    whole = zeros_of(layout(kind.shape, source.layout.dtype, source.layout.device))
    return _scatter_combine(_SCATTER_ADD, whole, dim, index, source, FRESH)


def _scatter_combine(
    rule: Rule, x: Tensor, dim: int, index: Tensor, source: Tensor, target: str
) -> Tensor:
    """Write or add ``source`` to ``x`` at ``index`` along ``dim``; ``target``: see :func:`write`."""
    name = rule.name
    if target == IN_PLACE:
        writable(name + "_", x)
    dim = dim_of(name, dim, x)
    index = index_of(name, index)
    require_same_dtype(name, x, source)
    if x.layout.ndim == 0:
        flat = _scatter_combine(
            rule, at_least_1d(x), dim, at_least_1d(index), at_least_1d(source), target
        )
        return x if target == IN_PLACE else view.reshape(flat, ())
    at, values = index, _cropped(at_least_1d(source), index)
    if target == IN_PLACE and values is not source:  # what is used is looked at where it is written
        refuse_overlap(name + "_", x, (source,), False)

    combine = "sum" if rule is _SCATTER_ADD else "set"

    def run(inplace: bool, checked: bool) -> Array:
        return ops.scatter(name, x, at, values, dim, combine, inplace, checked)

    return write(rule, run, (x, index, values), dim, target)


def _cropped(source: Tensor, index: Tensor) -> Tensor:
    """The part of ``source`` that has an index."""
    if source.layout.ndim == index.layout.ndim:
        wanted, have = index.layout.shape, source.layout.shape
        if wanted == have:
            return source
        for dim, (n, m) in enumerate(zip(wanted, have, strict=True)):
            if n < m:
                source = view.slice_(source, dim, 0, n)
    return source


def _scatter_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (at,) = node.unpack()
    wanted = node.edges
    return (
        None if wanted[0] is None else scatter(grad, node.meta, at, 0),
        None,
        None if wanted[2] is None else gather(grad, node.meta, at),
    )


def _scatter_add_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (at,) = node.unpack()
    return grad, None, None if node.edges[2] is None else gather(grad, node.meta, at)


_SCATTER = Rule("scatter", _scatter_vjp, (1,))
_SCATTER_ADD = Rule("scatter_add", _scatter_add_vjp, ((1, 2),))


def _scatter(
    input: Tensor, dim: int, index: Tensor, src: Tensor | Scalar | None, value: Scalar | None,
    reduce: str | None, target: str,
) -> Tensor:  # fmt: skip
    given = src if value is None else value
    if not isinstance(given, TensorBase):
        if given is None:
            raise TypeError("scatter: needs src or value; got neither")
        given = view.expand(constant(given, input), at_least_1d(index).shape)
    if reduce is not None:
        if reduce not in ("add", "multiply"):
            raise RuntimeError(f"scatter: reduce must be 'add' or 'multiply'; got {reduce!r}")
        how = {"add": "sum", "multiply": "prod"}[reduce]
        return reduced("scatter", input, dim, index, given, how, True, target)
    made = _scatter_combine(_SCATTER, input, dim, index, given, target)
    fresh = target == COPY and not isinstance(src, TensorBase)
    return called("scatter_value", made) if fresh else made


def scatter(
    input: Tensor, dim: int, index: Tensor, src: Tensor | Scalar | None = None, *,
    value: Scalar | None = None, reduce: str | None = None,
) -> Tensor:  # fmt: skip
    """A copy of ``input`` with ``out[index[i, j, …], j, …] = src[i, j, …]`` for ``dim`` 0.

    Of values that meet at one place the last stays, or with ``reduce`` ``"add"`` or ``"multiply"``
    they are combined with the one there.

    Args:
        index: int64 or int32, no larger than ``src``, nor than ``input`` beside ``dim``.
        src: a tensor of ``input``'s dtype, or a number (also as ``value``).

    Gradient: of ``input`` and ``src``.
    """
    return _scatter(input, dim, index, src, value, reduce, COPY)


def scatter_(
    input: Tensor, dim: int, index: Tensor, src: Tensor | Scalar | None = None, *,
    value: Scalar | None = None, reduce: str | None = None,
) -> Tensor:  # fmt: skip
    """:func:`scatter` in place."""
    return _scatter(input, dim, index, src, value, reduce, IN_PLACE)


def scatter_add(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """A copy of ``input`` with ``out[index[i, j, …], j, …] += src[i, j, …]`` for ``dim`` 0.

    Gradient: of ``input`` and ``src``.
    """
    return _scatter_combine(_SCATTER_ADD, input, dim, index, src, COPY)


def scatter_add_(input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """:func:`scatter_add` in place."""
    return _scatter_combine(_SCATTER_ADD, input, dim, index, src, IN_PLACE)


def take_along_dim(input: Tensor, indices: Tensor, dim: int | None = None) -> Tensor:
    """:func:`gather` with both operands broadcast beside ``dim``; flattened if it is None.

    Gradient: of ``input``.
    """
    indices = index_of("take_along_dim", indices)
    if dim is None:
        flat = view.reshape(input, (-1,))
        return gather(flat, 0, _from_end(view.reshape(indices, (-1,)), flat.layout.numel))
    axis = dim_of("take_along_dim", dim, input)
    if input.ndim != indices.ndim:
        raise RuntimeError(
            f"take_along_dim: input and indices should have the same number of dimensions; "
            f"got {input.ndim} and {indices.ndim}"
        )
    own, other = list(input.shape), list(indices.shape)
    own[axis] = other[axis] = 1
    common = list(broadcast_shapes("take_along_dim", tuple(own), tuple(other)))
    own[:], other[:] = common, common
    own[axis], other[axis] = input.shape[axis], indices.shape[axis]
    indices = _from_end(indices, input.layout.shape[axis])
    return gather(view.expand(input, own), axis, view.expand(indices, other))


def _from_end(indices: Tensor, size: int) -> Tensor:
    """Indices of which negative ones count from the end, as others."""
    return indices + indices.lt(0) * size


# -------------------------------------------------------------------------------- scatter_reduce

_EMPTY = {"sum": 0.0, "mean": 0.0, "prod": 1.0, "amax": float("-inf"), "amin": float("inf")}


def _start_value(reduce: str, kind: dt.DType) -> Scalar:
    """What combines with any value to that value."""
    if reduce in ("amax", "amin") and not kind.is_floating_point:
        if kind is dt.bool_:
            return reduce == "amin"
        limits = dt.iinfo(kind)
        return limits.min if reduce == "amax" else limits.max
    return _EMPTY[reduce]


def reduced(
    name: str, x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, include_self: bool,
    target: str,
) -> Tensor:  # fmt: skip
    """:func:`scatter_reduce`; ``target``: see :func:`write`."""
    if reduce not in _EMPTY:
        raise RuntimeError(f"{name}: reduce must be one of {list(_EMPTY)}; got {reduce!r}")
    if target == IN_PLACE:
        writable(name + "_", x)
        refuse_overlap(name + "_", x, (index, src), False)
        old = before(name + "_", x, src)
        made = reduced(name, old, dim, index, src, reduce, include_self, COPY)
        return overwrite(name + "_", x, made)
    require_same_dtype(name, x, src)
    if not include_self:
        x = scatter(x, dim, index, _start_value(reduce, x.dtype))
    if reduce == "mean":
        return called(name, _mean(name, x, dim, index, src, include_self))
    if reduce == "sum":
        return called(name, scatter_add(x, dim, index, src))
    return _combine_saving(_combining(name, reduce), x, dim, index, src, reduce)


@lru_cache(maxsize=None)
def _combining(name: str, reduce: str) -> Rule:
    """The rule of products and extremes, for a function of this name."""
    if reduce == "prod":
        return Rule(name, _prod_vjp, ((0, 2), 1, 2, (-1, 2)))
    return Rule(name, _extreme_vjp, (0, 1, 2, -1))


def _mean(name: str, x: Tensor, dim: int, index: Tensor, src: Tensor, include_self: bool) -> Tensor:
    if x.dtype is dt.bool_:
        if index.layout.numel:
            raise NotImplementedError(f"{name}: the mean is not implemented for 'bool'")
        return scatter_add(x, dim, index, src)
    one, none = constant(1, x), constant(int(include_self), x)
    counts = scatter_add(
        view.expand(none, x.shape).clone(), dim, index, view.expand(one, src.shape)
    )
    counts = counts.clamp_min(1)
    total = scatter_add(x, dim, index, src)
    if x.dtype.is_floating_point:
        return total / counts
    return total.floor_divide(counts)


def _combine_saving(
    rule: Rule, x: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str
) -> Tensor:
    """Products and extremes: the gradient reads both operands, the index and the result."""
    name = rule.name
    dim = dim_of(name, dim, x)
    index = index_of(name, index)
    if x.layout.ndim == 0:
        flat = (at_least_1d(t) for t in (x, index, src))
        x1, index, src = flat
        return view.reshape(_combine_saving(rule, x1, 0, index, src, reduce), ())
    src = _cropped(at_least_1d(src), index)
    out = ops.scatter(name, x, index, src, dim, reduce)
    return rule.record((x, index, src), out, dim)


def _prod_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """A source's share is the product of the others: result / source, or, for the only zero that
    meets a place, the product with 1 in its stead.
    """
    x, index, src, out = (t.conj() for t in node.unpack())
    dim = node.meta
    g, g_src = None, None
    if node.edges[0] is not None:
        one = view.expand(constant(1, grad), node.inputs[0].shape)
        g = grad * scatter_reduce(one, dim, index, src, "prod")
    if node.edges[2] is not None:
        zero = src.eq(0)
        count = scatter_add(zeros(x.shape, x), dim, index, zero.to(x.dtype))
        alone = zero.logical_and(gather(count, dim, index).eq(1))
        others = scatter_reduce(x, dim, index, src.masked_fill(alone, 1), "prod")
        usual = gather(grad * out, dim, index) / src.masked_fill(zero, 1)
        g_src = gather(grad * others, dim, index).where(alone, usual)
    return g, None, g_src


def _extreme_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """All values equal to the extreme share the gradient evenly."""
    x, index, src, out = node.unpack()
    dim = node.meta
    out = out.detach()
    own = x.eq(out).to(grad.dtype)
    theirs = src.eq(gather(out, dim, index)).to(grad.dtype)
    share = grad / scatter_add(own, dim, index, theirs).clamp_min(1)
    return own * share, None, theirs * gather(share, dim, index)


def scatter_reduce(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """A copy of ``input`` where ``src[i, j, …]`` is combined into ``out[index[i, j, …], j, …]``.

    Args:
        reduce: ``"sum"``, ``"prod"``, ``"mean"``, ``"amax"`` or ``"amin"``.
        include_self: whether the value of ``input`` takes part where a source arrives.

    Gradient: of ``input`` and ``src``; of equal extremes each gets the same share.
    """
    return reduced("scatter_reduce", input, dim, index, src, reduce, include_self, COPY)


def scatter_reduce_(
    input: Tensor, dim: int, index: Tensor, src: Tensor, reduce: str, *, include_self: bool = True
) -> Tensor:
    """:func:`scatter_reduce` in place."""
    return reduced("scatter_reduce", input, dim, index, src, reduce, include_self, IN_PLACE)
