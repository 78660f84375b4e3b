"""Recurrent cells: a step is a product of the states with the weight and one launch, a unit per thread.

Arrays as in :mod:`tilegrad.kernels.cpu.recurrent`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, pointer, thread
from tilegrad.kernels.cuda.matmul import matmul
from tilegrad.kernels.cuda.parts.strided import division, is_wide, magic
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.cuda.tuning import grid
from tilegrad.kernels.formulas.recurrent import (
    gru_cell,
    gru_cell_grad,
    lstm_cell,
    lstm_cell_grad,
    relu_cell,
    relu_cell_grad,
    tanh_cell,
    tanh_cell_grad,
)

PLAIN = {"tanh": (tanh_cell, tanh_cell_grad), "relu": (relu_cell, relu_cell_grad)}
GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}

Launch = Callable[..., None]
Step = tuple[int, Launch, Launch]  # first row, product, cell


@kernel
def plain_forward(dtype: str, mode: str, threads: int) -> Source:
    """A plain cell; parameters: the pre-activations, h, out, units."""
    T, cell = np.dtype(dtype).type, PLAIN[mode][0]

    def plain(x, h, out, total):
        e = block() * threads + thread()
        if e < total:
            made = cell(pointer(x, T)[e])
            pointer(h, T)[e] = made
            pointer(out, T)[e] = made

    return Source(plain, "i" * 4, threads)


@kernel
def plain_backward(dtype: str, mode: str, threads: int) -> Source:
    """Parameters: gradient of the output, the output, that of the state, that of the pre-activation,
    units.
    """
    T, grad = np.dtype(dtype).type, PLAIN[mode][1]

    def plain_grad(g, out, dh, dx, total):
        e = block() * threads + thread()
        if e < total:
            pointer(dx, T)[e] = grad(pointer(g, T)[e] + pointer(dh, T)[e], pointer(out, T)[e])

    return Source(plain_grad, "i" * 5, threads)


@kernel
def lstm_forward(dtype: str, save: bool, wide: bool, threads: int) -> Source:
    """Parameters: the pre-activations (with ``save`` the gates are written over them), h, c, out, what the
    cells were before; units, H with multiplier and shift.
    """
    T, divide = np.dtype(dtype).type, division(wide)

    def lstm(gx, h, c, out, cells, total, H, m, s):
        e = block() * threads + thread()
        if e < total:
            row = divide(e, H, m, s)
            q = e + 3 * row * H
            x, old = pointer(gx, T), pointer(c, T)[e]
            i, f, g, o, cell, made = lstm_cell((x[q], x[q + H], x[q + 2 * H], x[q + 3 * H]), old)
            if save:
                x[q] = i
                x[q + H] = f
                x[q + 2 * H] = g
                x[q + 3 * H] = o
                pointer(cells, T)[e] = old
            pointer(c, T)[e] = cell
            pointer(h, T)[e] = made
            pointer(out, T)[e] = made

    return Source(lstm, "i" * 9, threads)


@kernel
def lstm_backward(dtype: str, wide: bool, threads: int) -> Source:
    """Parameters: gradient of the output, kept gates and cells, gradients of state and cell (that of
    the cell is written), gradients of the pre-activations; units, H with multiplier and shift.
    """
    T, divide = np.dtype(dtype).type, division(wide)

    def lstm_grad(grad, gates, cells, dh, dc, dx, total, H, m, s):
        e = block() * threads + thread()
        if e < total:
            row = divide(e, H, m, s)
            q = e + 3 * row * H
            kept, target = pointer(gates, T), pointer(dx, T)
            di, df, dg, do, past = lstm_cell_grad(
                (kept[q], kept[q + H], kept[q + 2 * H], kept[q + 3 * H]),
                pointer(cells, T)[e],
                pointer(grad, T)[e] + pointer(dh, T)[e],
                pointer(dc, T)[e],
            )
            target[q] = di
            target[q + H] = df
            target[q + 2 * H] = dg
            target[q + 3 * H] = do
            pointer(dc, T)[e] = past

    return Source(lstm_grad, "i" * 10, threads)


@kernel
def gru_forward(dtype: str, save: bool, wide: bool, threads: int) -> Source:
    """Parameters: gx (with ``save`` the gates are written over it), gh, h, out, the candidate's part of gh;
    units, H with multiplier and shift.
    """
    T, divide = np.dtype(dtype).type, division(wide)

    def gru(gx, gh, h, out, parts, total, H, m, s):
        e = block() * threads + thread()
        if e < total:
            row = divide(e, H, m, s)
            q = e + 2 * row * H
            x, y = pointer(gx, T), pointer(gh, T)
            old, part = pointer(h, T)[e], y[q + 2 * H]
            r, z, n, made = gru_cell((x[q], x[q + H], x[q + 2 * H]), (y[q], y[q + H], part), old)
            if save:
                x[q] = r
                x[q + H] = z
                x[q + 2 * H] = n
                pointer(parts, T)[e] = part
            pointer(h, T)[e] = made
            pointer(out, T)[e] = made

    return Source(gru, "i" * 9, threads)


@kernel
def gru_backward(dtype: str, wide: bool, threads: int) -> Source:
    """Parameters: gradient of the output, kept gates, candidate's parts and states, gradient of the state
    (written: what flows past the gates), gradients of the pre-activations' two parts; units, H with
    multiplier and shift.
    """
    T, divide = np.dtype(dtype).type, division(wide)

    def gru_grad(grad, gates, parts, before, dh, dx, dgh, total, H, m, s):
        e = block() * threads + thread()
        if e < total:
            row = divide(e, H, m, s)
            q = e + 2 * row * H
            kept, first, second = pointer(gates, T), pointer(dx, T), pointer(dgh, T)
            dr, dz, dn, dhn, past = gru_cell_grad(
                (kept[q], kept[q + H], kept[q + 2 * H]),
                pointer(parts, T)[e],
                pointer(before, T)[e],
                pointer(grad, T)[e] + pointer(dh, T)[e],
            )
            first[q] = dr
            first[q + H] = dz
            first[q + 2 * H] = dn
            second[q] = dr
            second[q + H] = dz
            second[q + 2 * H] = dhn
            pointer(dh, T)[e] = past

    return Source(gru_grad, "i" * 11, threads)


def _cell(dtype: str, mode: str, rows: int, H: int, save: bool) -> Launch:
    """A launch of one step: ``(x, h, out)``, ``(x, h, c, out, cells)`` or ``(x, gh, h, out, parts)``."""
    total, threads = rows * H, grid("recurrent", dtype).bounds.threads
    blocks = (-(-total // threads), 1, 1)
    if mode in PLAIN:
        return bind(plain_forward.build(dtype, mode, threads), total, *blocks)
    factory = lstm_forward if mode == "lstm" else gru_forward
    function = factory.build(dtype, save, is_wide(4 * total), threads)
    return bind(function, total, H, *magic(H), *blocks)


def _cell_backward(dtype: str, mode: str, rows: int, H: int) -> Launch:
    """A launch of one step back: ``(g, out, dh, dx)``, ``(g, gates, cells, dh, dc, dx)`` or
    ``(g, gates, parts, before, dh, dx, dgh)``.
    """
    total, threads = rows * H, grid("recurrent", dtype).bounds.threads
    blocks = (-(-total // threads), 1, 1)
    if mode in PLAIN:
        return bind(plain_backward.build(dtype, mode, threads), total, *blocks)
    factory = lstm_backward if mode == "lstm" else gru_backward
    function = factory.build(dtype, is_wide(4 * total), threads)
    return bind(function, total, H, *magic(H), *blocks)


def _steps(
    sizes: Sequence[int], reverse: bool, product: Callable[[int], tuple[Launch, int]],
    cell: Callable[[int], Launch],
) -> tuple[list[Step], int]:  # fmt: skip
    """(the steps in order, bytes of scratch of a product)."""
    made: dict[int, tuple[Launch, Launch]] = {}
    steps: list[Step] = []
    first = most = 0
    for n in sizes:
        if n not in made:
            run, scratch = product(n)
            made[n], most = (run, cell(n)), max(most, scratch)
        steps.append((first, *made[n]))
        first += n
    return steps[::-1] if reverse else steps, most


def layer(
    dtype: str, mode: str, H: int, sizes: Sequence[int], reverse: bool, save: bool, biased: bool
) -> tuple[Launch, int]:
    """See :func:`tilegrad.kernels.cpu.recurrent.layer`."""
    size, N, gru = np.dtype(dtype).itemsize, GATES[mode] * H, mode == "gru"
    steps, scratch_bytes = _steps(
        sizes, reverse,
        lambda n: matmul(dtype, n, N, H, (), (H, 1), (1, H), (N, 1), accumulate=not gru),
        lambda n: _cell(dtype, mode, n, H, save),
    )  # fmt: skip
    place = -(-max(sizes) * N * size // 64) * 64 if gru else 0

    def launch(gx: int, w: int, h: int, *addresses: int) -> None:
        *rest, scratch = addresses
        states = (h, rest.pop(0)) if mode == "lstm" else (h,)
        bias = rest.pop(0) if biased else 0
        out, *kept = rest
        for first, product, cell in steps:
            x, at = gx + first * N * size, first * H * size
            more = [k + at for k in kept] if save else [0] * (mode not in PLAIN)
            if gru:
                product(h, w, scratch, scratch + place, bias)
                cell(x, scratch, h, out + at, *more)
            else:
                product(h, w, x, scratch)
                cell(x, *states, out + at, *more)

    return launch, max(64, place + scratch_bytes)


def layer_backward(
    dtype: str, mode: str, H: int, sizes: Sequence[int], reverse: bool
) -> tuple[Launch, int]:
    """See :func:`tilegrad.kernels.cpu.recurrent.layer_backward`."""
    size, K, gru = np.dtype(dtype).itemsize, GATES[mode] * H, mode == "gru"
    steps, scratch_bytes = _steps(
        sizes, not reverse,
        lambda n: matmul(dtype, n, H, K, (), (K, 1), (H, 1), (H, 1), accumulate=gru),
        lambda n: _cell_backward(dtype, mode, n, H),
    )  # fmt: skip

    def launch(g: int, w: int, dh: int, *addresses: int) -> None:
        *rest, scratch = addresses
        states = (dh, rest.pop(0)) if mode == "lstm" else (dh,)
        for first, product, cell in steps:
            at = first * H * size
            if gru:
                gates, parts, before, *made = rest
                kept = [gates + at * 3, parts + at, before + at]
            elif mode == "lstm":
                gates, cells, *made = rest
                kept = [gates + at * 4, cells + at]
            else:
                out, *made = rest
                kept = [out + at]
            made = [d + first * K * size for d in made]
            cell(g + at, *kept, *states, *made)
            product(made[-1], w, dh, scratch)

    return launch, max(64, scratch_bytes)
