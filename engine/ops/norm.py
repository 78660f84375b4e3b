"""Normalisations and their backward ops: rows (layer, group, RMS norm) and channels (batch norm)."""

from __future__ import annotations

from functools import lru_cache, partial

from tilegrad.engine.array import Array, Layout, layout, window
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.ops.elementwise import contiguous, full
from tilegrad.engine.ops.reduce import reduce
from tilegrad.engine.shape import Shape

# ------------------------------------------------------------------------------------------ rows


class Rows:
    """How an array splits into rows: their length ``n``, and for weights per channel the elements
    ``S`` of one and the number of ``groups`` of channels (0 and 1: a weight per element).

    Made by :func:`rows_of`; they hold the ops over such rows.
    """

    __slots__ = ("S", "backward", "centred", "forward", "groups", "n")

    def __init__(self, n: int, S: int, groups: int, centred: bool):
        self.n = n
        self.S = S
        self.groups = groups
        self.centred = centred
        # an op for every choice of weight and bias: their calls need no metadata
        self.forward = {
            (weighted, biased): Op("row_norm", partial(_plan_rows, self, weighted, biased))
            for weighted in (False, True)
            for biased in (False, True)
        }
        self.backward = {
            weighted: Op("row_norm_backward", partial(_plan_rows_backward, self, weighted))
            for weighted in (False, True)
        }

    def __repr__(self) -> str:
        return f"Rows({self.n}, S={self.S}, groups={self.groups}, centred={self.centred})"

    def count(self, x: Layout) -> int:
        """Number of rows of ``x``."""
        return x.numel // self.n if self.n else 0


@lru_cache(maxsize=None)
def rows_of(n: int, S: int = 0, groups: int = 1, centred: bool = True) -> Rows:
    """The one :class:`Rows` of these numbers."""
    return Rows(n, S, groups, centred)


def _plan_rows(rows: Rows, weighted: bool, biased: bool, x: Layout, *rest: Layout) -> Plan:
    count = rows.count(x)
    statistic = layout((count,), x.dtype, x.device)
    launch = kernel("norm", x.device).row_norm(
        x.dtype.name, rows.centred, weighted, biased, count, rows.n, rows.S, rows.groups
    )
    whole = layout(x.shape, x.dtype, x.device)
    return Plan((whole, *[statistic] * (1 + rows.centred)), launch)


def _plan_rows_backward(rows: Rows, weighted: bool, g: Layout, x: Layout, *rest: Layout) -> Plan:
    family = kernel("norm", x.device)
    count, n, S, groups = rows.count(x), rows.n, rows.S, rows.groups
    whole = layout(x.shape, x.dtype, x.device)
    if S:
        sums = layout((count // groups, groups * (n // S)), x.dtype, x.device)
        outs: tuple[Layout, ...] = (whole, sums, sums)
    else:
        outs = (
            whole,
            layout((family.row_norm_parts(x.dtype.name, count), 2, n), x.dtype, x.device),
        )
    launch = family.row_norm_backward(x.dtype.name, rows.centred, weighted, count, n, S, groups)
    return Plan(outs, launch)


def row_norm(
    x: Array, weight: Array | None, bias: Array | None, eps: float, rows: Rows
) -> tuple[Array, Array | None, Array]:
    """(normalised ``x``, the rows' means or None, the rows' ``1 / sqrt(var + eps)``)."""
    given = [
        a if a.layout.contiguous else contiguous(a) for a in (x, weight, bias) if a is not None
    ]
    made = rows.forward[weight is not None, bias is not None](*given, params=(eps,))
    return made if rows.centred else (made[0], None, made[1])


def row_norm_backward(
    g: Array, x: Array, weight: Array | None, mean: Array | None, rstd: Array, rows: Rows
) -> tuple[Array, Array, Array]:
    """Gradients of the input, and of weight and bias as if there were both, flat."""
    given = [contiguous(a) for a in (g, x, weight, mean, rstd) if a is not None]
    outs = rows.backward[weight is not None](*given)
    if rows.S:
        grad, weight_grads, bias_grads = outs
        return grad, reduce("sum", weight_grads, (0,)), reduce("sum", bias_grads, (0,))
    grad, parts = outs
    both = reduce("sum", parts, (0,)) if parts.layout.shape[0] != 1 else parts
    return grad, window(both, (rows.n,), (1,)), window(both, (rows.n,), (1,), rows.n)


# -------------------------------------------------------------------------------------- channels


def channels(shape: Shape) -> tuple[int, int, int]:
    """(N, C, S) of an array whose dimension 1 counts channels."""
    size = 1
    for n in shape[2:]:
        size *= n
    return shape[0], shape[1], size


def _plan_batch(
    x: Layout, *rest: Layout, weighted: bool, shifted: bool, tracked: bool, training: bool
) -> Plan:
    statistic = layout((x.shape[1],), x.dtype, x.device)
    launch = kernel("batch_norm", x.device).batch_norm(
        x.dtype.name, (weighted, shifted, tracked), training, *channels(x.shape)
    )
    return Plan((layout(x.shape, x.dtype, x.device), statistic, statistic), launch)


def _plan_batch_backward(
    g: Layout, x: Layout, mean: Layout, rstd: Layout, *weight: Layout, training: bool
) -> Plan:
    statistic = layout((x.shape[1],), x.dtype, x.device)
    launch = kernel("batch_norm", x.device).batch_norm_backward(
        x.dtype.name, bool(weight), training, *channels(x.shape)
    )
    return Plan((layout(x.shape, x.dtype, x.device), statistic, statistic), launch)


_batch = Op("batch_norm", _plan_batch)
_batch_backward = Op("batch_norm_backward", _plan_batch_backward)


def batch_norm(
    x: Array,
    weight: Array | None,
    bias: Array | None,
    running: tuple[Array, Array] | None,
    training: bool,
    momentum: float,
    eps: float,
) -> tuple[Array, Array, Array]:
    """(normalised ``x``, the means, ``1 / sqrt(var + eps)`` used); training writes ``running``."""
    operands = [contiguous(a) for a in (x, weight, bias, *(running or ())) if a is not None]
    out, mean, rstd = _batch(
        *operands, params=(eps, momentum), weighted=weight is not None, shifted=bias is not None,
        tracked=running is not None, training=training,
    )  # fmt: skip
    if training and running is not None:
        for statistic in running:
            statistic.storage.version += 1
    return out, mean, rstd


def batch_norm_backward(
    g: Array, x: Array, weight: Array | None, mean: Array, rstd: Array, training: bool
) -> tuple[Array, Array, Array]:
    """Gradients of the input, and of weight and bias as if there were both."""
    if not x.layout.numel:
        none = full((x.layout.shape[1],), 0, x.dtype, x.device)
        return full(x.layout.shape, 0, x.dtype, x.device), none, none
    operands = [contiguous(a) for a in (g, x, mean, rstd, weight) if a is not None]
    grad, weight_grads, bias_grads = _batch_backward(*operands, training=training)
    return grad, weight_grads, bias_grads
