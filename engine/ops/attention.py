"""Scaled dot-product attention and its backward op, fused."""

from __future__ import annotations

from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.ops.elementwise import contiguous
from tilegrad.kernels.scores import Scores

NAME = "scaled_dot_product_attention"


def check(q: Layout, k: Layout, v: Layout, mask: Layout | None) -> None:
    """Raise RuntimeError unless queries, keys, values and mask go together, batches apart."""
    got = f"got query {q.describe()}, key {k.describe()} and value {v.describe()}"
    if min(q.ndim, k.ndim, v.ndim) < 2:
        raise RuntimeError(
            f"{NAME}: Expected query, key, and value to all be at least 2 dimensional; {got}"
        )
    if not q.dtype is k.dtype is v.dtype:
        raise RuntimeError(f"{NAME}: Expected query, key, and value to have the same dtype; {got}")
    if q.shape[-1] != k.shape[-1] or k.shape[-2] != v.shape[-2]:
        raise RuntimeError(
            f"{NAME}: query and key must have as many features, key and value as many positions; "
            f"{got}"
        )
    if mask is not None and mask.dtype.name != "bool" and mask.dtype is not q.dtype:
        raise RuntimeError(
            f"{NAME}: Expected attn_mask dtype to be bool or float or to match query dtype; "
            f"got {mask.describe()} and query {q.describe()}"
        )


def fits(q: Layout, k: Layout, v: Layout) -> bool:
    """Whether the fused op takes these operands: floats, none of them empty, features
    within the device's tiles. What it does not take is composed.
    """
    if not q.dtype.is_floating_point or 0 in (q.numel, k.numel, v.numel):
        return False
    found: bool = kernel("attention", q.device).fits(q.dtype.name, max(q.shape[-1], v.shape[-1]))
    return found


def _scores(
    q: Layout, k: Layout, v: Layout, mask: Layout | None, causal: bool, scale: float
) -> Scores:
    N, H, L, E = q.shape
    kind = "none" if mask is None else "bool" if mask.dtype.name == "bool" else "float"
    m = (0, 0, 0, 0) if mask is None else mask.strides
    return Scores(
        q.dtype.name, (N, H), H // k.shape[1], L, k.shape[2], E, v.shape[3], causal, kind,
        q.strides, k.strides, v.strides, m, scale,
    )  # fmt: skip


def _plan(
    q: Layout, k: Layout, v: Layout, mask: Layout | None = None, *, causal: bool, scale: float
) -> Plan:
    launch, scratch = kernel("attention", q.device).attention(_scores(q, k, v, mask, causal, scale))
    out = layout((*q.shape[:3], v.shape[3]), q.dtype, q.device)
    return Plan((out, layout(q.shape[:3], q.dtype, q.device)), launch, scratch)


def _plan_backward(
    g: Layout, q: Layout, k: Layout, v: Layout, out: Layout, lse: Layout,
    mask: Layout | None = None, *, causal: bool, scale: float,
) -> Plan:  # fmt: skip
    launch, scratch = kernel("attention", q.device).attention_backward(
        _scores(q, k, v, mask, causal, scale)
    )
    heads = q.shape[:2]
    shapes = (q.shape, (*heads, *k.shape[2:]), (*heads, *v.shape[2:]))
    return Plan(tuple(layout(s, q.dtype, q.device) for s in shapes), launch, scratch)


_forward = Op("attention", _plan)
_backward = Op("attention_backward", _plan_backward)


def _lined(x: Array) -> Array:
    """``x`` with the features of a position side by side."""
    return x if x.layout.strides[-1] == 1 or x.layout.shape[-1] == 1 else contiguous(x)


def attention(
    q: Array, k: Array, v: Array, mask: Array | None, causal: bool, scale: float
) -> tuple[Array, Array]:
    """(result, logarithm of each query's sum of exponentials).

    Args:
        q: (N, H, L, E); k: (N, H / n, S, E); v: (N, H / n, S, F): for which :func:`fits` holds.
        mask: (N, H, L, S), bool or of q's dtype, or None. Its strides may be 0.
        causal: whether query i sees keys 0 … i only.
        scale: of the scores.
    """
    given = [_lined(x) for x in (q, k, v)] + ([] if mask is None else [mask])
    out, lse = _forward(*given, causal=causal, scale=scale)
    return out, lse


def attention_backward(
    g: Array, q: Array, k: Array, v: Array, out: Array, lse: Array, mask: Array | None,
    causal: bool, scale: float,
) -> tuple[Array, Array, Array]:  # fmt: skip
    """Gradients of q, k and v; those of k and v have a head for each of q's."""
    given = [contiguous(g), *[_lined(x) for x in (q, k, v)], out, lse]
    dq, dk, dv = _backward(*given, *([] if mask is None else [mask]), causal=causal, scale=scale)
    return dq, dk, dv
