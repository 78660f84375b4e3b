"""A layer of recurrent cells in one direction, and its backward pass, as ops on arrays.

Sequences are packed: of a batch sorted by falling length, the members that have step t are the first
``sizes[t]``, and the rows of all steps follow each other.
"""

from __future__ import annotations

from typing import Any

from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.ops.conv import nothing
from tilegrad.engine.ops.elementwise import contiguous, copy_as
from tilegrad.engine.shape import Shape

GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}


def _plan(
    gx: Layout, w: Layout, h: Layout, *rest: Layout, mode: str, sizes: Shape, reverse: bool,
    save: bool,
) -> Plan:  # fmt: skip
    """Operands: input's part of the pre-activations (written), weight, states (written), cells of an LSTM
    (written), of a GRU the bias if there is one.
    """
    H, total = h.shape[1], gx.shape[0]
    units = layout((total, H), gx.dtype, gx.device)
    outs = (units, units) if save and mode in ("lstm", "gru") else (units,)
    if not total:
        return Plan(outs, nothing)
    launch, scratch = kernel("recurrent", gx.device).layer(
        gx.dtype.name, mode, H, sizes, reverse, save, mode == "gru" and bool(rest)
    )
    return Plan(outs, launch, scratch)


def _plan_backward(
    g: Layout, w: Layout, dh: Layout, *rest: Layout, mode: str, sizes: Shape, reverse: bool
) -> Plan:
    """Operands: gradient of the output, weight, that of the states (written), that of the cells of an
    LSTM (written), then the output of a plain cell; gates and cells of an LSTM; gates, candidate's parts
    and states before each step of a GRU.
    """
    H = dh.shape[1]
    gates = layout((g.shape[0], GATES[mode] * H), g.dtype, g.device)
    outs = (gates, gates) if mode == "gru" else (gates,)
    if not g.shape[0]:
        return Plan(outs, nothing)
    launch, scratch = kernel("recurrent", g.device).layer_backward(
        g.dtype.name, mode, H, sizes, reverse
    )
    return Plan(outs, launch, scratch)


_forward = Op("recurrent", _plan)
_backward = Op("recurrent_backward", _plan_backward)


def _fresh(x: Array) -> Array:
    """A row-major copy."""
    return copy_as(x, layout(x.layout.shape, x.dtype, x.device))


def forward(
    mode: str, gx: Array, w: Array, b: Array | None, states: tuple[Array, ...], sizes: Shape,
    reverse: bool, save: bool,
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:  # fmt: skip
    """(output, last states, what the backward pass needs of an LSTM, the cells before each step, or of a
    GRU, the candidate's part of the states' product) of a layer.

    Args:
        gx: (rows, gates H), the input's part of the pre-activations, row-major; with ``save`` the gates
            are written over it, and without it is used up.
        w: (gates H, H). b: (gates H,), of a GRU only. states: (batch, H) at the beginning, of an LSTM two.
    """
    now = tuple(map(_fresh, states))
    made = _forward(
        gx, contiguous(w), *now, *(() if b is None else (contiguous(b),)),
        mode=mode, sizes=sizes, reverse=reverse, save=save,
    )  # fmt: skip
    out, *kept = made if isinstance(made, tuple) else (made,)
    return out, now, tuple(kept)


def backward(
    mode: str, g: Array, w: Array, grads: tuple[Array, ...], kept: tuple[Array, ...], sizes: Shape,
    reverse: bool,
) -> tuple[Array, Array, tuple[Array, ...]]:  # fmt: skip
    """(gradients of the input's part, of the states' part, of the first states); ``grads`` are those of
    the last states, ``kept`` the operands of :func:`_plan_backward` after them.
    """
    now = tuple(map(_fresh, grads))
    made: Any = _backward(
        contiguous(g), contiguous(w), *now, *map(contiguous, kept), mode=mode, sizes=sizes,
        reverse=reverse,
    )  # fmt: skip
    dx, dh = made if mode == "gru" else (made, made)
    return dx, dh, now
