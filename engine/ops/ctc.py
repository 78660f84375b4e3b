"""The loss of connectionist temporal classification, and its backward op, on arrays."""

from __future__ import annotations

import numpy as np

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.ops.conv import nothing
from tilegrad.engine.ops.elementwise import contiguous
from tilegrad.engine.transfer import check_unless


def _plan(x: Layout, labels: Layout, table: Layout, *, blank: int, longest: int) -> Plan:
    """Operands: (steps, N, C), labels (any,), (3, N), all contiguous."""
    steps, N, C = x.shape
    family = kernel("ctc", x.device)
    outs = (
        layout((N,), x.dtype, x.device),
        layout((N, steps, family.pitch_of(longest)), x.dtype, x.device),
        layout((N, 2), dt.int64, x.device),
    )
    if not N:
        return Plan(outs, nothing)
    return Plan(outs, *family.ctc(x.dtype.name, steps, N, C, blank, longest))


def _plan_backward(
    grad: Layout, x: Layout, labels: Layout, table: Layout, losses: Layout, states: Layout, *, blank: int,
    longest: int,
) -> Plan:  # fmt: skip
    """Operands: (N,), those of :func:`_plan`, the losses (N,) and the states (N, steps, …)."""
    out = layout(x.shape, x.dtype, x.device)
    if not out.numel:
        return Plan((out,), nothing)
    launch = kernel("ctc", x.device).ctc_backward(x.dtype.name, *x.shape, blank, longest)
    return Plan((out,), *launch)


_forward = Op("ctc_loss", _plan)
_backward = Op("ctc_loss_backward", _plan_backward)


def _check_labels(status: np.ndarray) -> None:
    bad, label = status[np.argmax(status[:, 0])]
    if bad:
        raise IndexError(f"ctc_loss: Target {label} is out of bounds.")


def ctc(x: Array, labels: Array, table: Array, blank: int, longest: int) -> tuple[Array, Array]:
    """(losses (N,), states): -log of the probabilities of all alignments, inf where there is none, and for each
    state at each step the logarithm of the probability of what leads there.

    Args:
        x: (steps, N, C) log-probabilities. labels: int64, those of all sequences.
        table: (3, N) int64: of each sequence its steps, its number of labels, and where in ``labels`` they begin.
        longest: the largest number of labels.

    Raises:
        IndexError: a label is no class.
    """
    losses, states, status = _forward(
        contiguous(x), contiguous(labels), contiguous(table), blank=blank, longest=longest
    )
    check_unless(0, status, _check_labels)
    return losses, states


def backward(
    grad: Array, x: Array, labels: Array, table: Array, losses: Array, states: Array, blank: int, longest: int,
    zero_infinity: bool,
) -> Array:  # fmt: skip
    """The gradient of ``x``: e^x minus the probability of each class at a step, times ``grad``; NaN in the steps of
    a sequence whose loss is infinite, with ``zero_infinity`` 0.
    """
    operands = (
        contiguous(grad),
        contiguous(x),
        contiguous(labels),
        contiguous(table),
        losses,
        states,
    )
    made: Array = _backward(*operands, params=(int(zero_infinity),), blank=blank, longest=longest)
    return made
