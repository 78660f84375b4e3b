"""A layer of recurrent cells in one direction, and its backward pass, as ops on arrays.

Sequences are packed: of a batch sorted by falling length, the members that have step t are the first
``sizes[t]``, and the rows of all steps follow each other. A step is a product of the states with the
weight and one launch of the cell; of a step that is a plan, so that a call is the launches alone.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.ops.elementwise import contiguous, copy_as
from tilegrad.engine.shape import Shape

GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}
Step = tuple[int, Callable[..., None], Callable[..., None]]  # first row, product, cell


def _steps(
    x: Layout, H: int, sizes: Shape, reverse: bool, strides: tuple[Shape, Shape, Shape],
    sums: tuple[int, int], cell: Callable[[int], Callable[..., None]], accumulate: bool,
) -> tuple[list[Step], int]:  # fmt: skip
    """(the steps in order, bytes of scratch of a product): products of ``sizes[t]`` rows, with ``sums`` =
    (columns of the result, length of the sums).
    """
    family, most = kernel("matmul", x.device), 0
    made: dict[int, tuple[Callable[..., None], Callable[..., None]]] = {}
    steps: list[Step] = []
    first = 0
    for n in sizes:
        if n not in made:
            product, scratch = family.matmul(
                x.dtype.name, n, *sums, (), *strides, accumulate=accumulate
            )
            made[n] = product, cell(n)
            most = max(most, scratch)
        steps.append((first, *made[n]))
        first += n
    return steps[::-1] if reverse else steps, most


def _padded(nbytes: int) -> int:
    return -(-nbytes // 64) * 64


def _plan(
    gx: Layout, w: Layout, h: Layout, *rest: Layout, mode: str, sizes: Shape, reverse: bool,
    save: bool,
) -> Plan:  # fmt: skip
    """Operands: input's part of the pre-activations, weight, states (written), cells of an LSTM
    (written), bias if there is one.
    """
    H, G, size = h.shape[1], GATES[mode], gx.itemsize
    total, cells = gx.shape[0], mode == "lstm"
    biased = len(rest) > cells
    units = layout((total, H), gx.dtype, gx.device)
    outs: tuple[Layout, ...] = (units,)
    if save:
        kept = layout((total, 4 * H), gx.dtype, gx.device)
        outs = (units, units, *((kept,) if G > 1 else ()), *((units,) if cells else ()))
    family = kernel("recurrent", gx.device)
    steps, scratch_bytes = _steps(
        gx, H, sizes, reverse, ((H, 1), (1, H), (G * H, 1)), (G * H, H),
        lambda n: family.cell(gx.dtype.name, mode, n, H, save), False,
    )  # fmt: skip
    place = _padded(sizes_most(sizes) * G * H * size)

    def launch(gx: int, w: int, h: int, *addresses: int) -> None:
        c = addresses[:1] if cells else ()
        bias = addresses[cells] if biased else 0
        out, *saved, scratch = addresses[cells + biased :]
        before, kept = (saved[0], saved[1:]) if save else (0, [0, 0][: (G > 1) + cells])
        wide = [4, 1][: len(kept)]  # H of a row of gates, of one of cells
        for first, product, cell in steps:
            at = first * H * size
            product(h, w, scratch, scratch + place, bias)
            moved = [k + at * m if save else 0 for k, m in zip(kept, wide, strict=True)]
            cell(gx + at * G, scratch, h, *c, out + at, *moved, before + at if save else 0)

    return Plan(outs, launch, max(64, place + scratch_bytes))


def sizes_most(sizes: Shape) -> int:
    """Members of the batch."""
    return max(sizes, default=0)


def _plan_backward(
    g: Layout, w: Layout, dh: Layout, *rest: Layout, mode: str, sizes: Shape, reverse: bool
) -> Plan:
    """Operands: gradient of the output, weight, that of the states (written), that of the cells of an
    LSTM (written), then what the forward pass kept: the output of a plain cell; gates, cells of an
    LSTM; gates, states of a GRU.
    """
    H, G, size = dh.shape[1], GATES[mode], g.itemsize
    total, cells, two = g.shape[0], mode == "lstm", mode == "gru"
    gates = layout((total, G * H), g.dtype, g.device)
    family = kernel("recurrent", g.device)
    steps, scratch = _steps(
        g, H, sizes, not reverse, ((G * H, 1), (H, 1), (H, 1)), (H, G * H),
        lambda n: family.cell_backward(g.dtype.name, mode, n, H), two,
    )  # fmt: skip
    wide = (1,) if G == 1 else (4, 1)

    def launch(g: int, w: int, dh: int, *addresses: int) -> None:
        dc = addresses[:1] if cells else ()
        kept = addresses[cells : cells + len(wide)]
        dx, *others = addresses[cells + len(wide) :]
        second = others[:two]
        workspace = others[two] if scratch else 0
        for first, product, cell in steps:
            at = first * H * size
            moved = [k + at * m for k, m in zip(kept, wide, strict=True)]
            made = [d + at * G for d in (dx, *second)]
            cell(g + at, *moved, dh, *dc, *made)
            product(made[-1], w, dh, workspace)

    return Plan((gates, *[gates] * two), launch, scratch)


_forward = Op("recurrent", _plan)
_backward = Op("recurrent_backward", _plan_backward)


def _fresh(x: Array) -> Array:
    """A row-major copy."""
    return copy_as(x, layout(x.layout.shape, x.dtype, x.device))


def forward(
    mode: str, gx: Array, w: Array, b: Array | None, states: tuple[Array, ...], sizes: Shape,
    reverse: bool, save: bool,
) -> tuple[Array, tuple[Array, ...], tuple[Array, ...]]:  # fmt: skip
    """(output, last states, what the backward pass needs: the states before each step, then gates and
    cells) of a layer.

    Args:
        gx: (rows, gates H), the input's part of the pre-activations. w: (gates H, H). b: (gates H,).
        states: (batch, H) at the beginning, of an LSTM two.
    """
    now = tuple(map(_fresh, states))
    made = _forward(
        contiguous(gx), contiguous(w), *now, *(() if b is None else (contiguous(b),)),
        mode=mode, sizes=sizes, reverse=reverse, save=save,
    )  # fmt: skip
    out, *kept = made if save else (made,)
    return out, now, tuple(kept)


def backward(
    mode: str, g: Array, w: Array, grads: tuple[Array, ...], kept: tuple[Array, ...], sizes: Shape,
    reverse: bool,
) -> tuple[Array, Array, tuple[Array, ...]]:  # fmt: skip
    """(gradients of the input's part, of the states' part, of the first states); ``grads`` are those of
    the last states.
    """
    now = tuple(map(_fresh, grads))
    made: Any = _backward(
        contiguous(g), contiguous(w), *now, *kept, mode=mode, sizes=sizes, reverse=reverse
    )
    dx, dh = made if mode == "gru" else (made, made)
    return dx, dh, now
