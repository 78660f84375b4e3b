"""Recurrent cells: one step of a batch, between the matrix products; a unit per thread.

Arrays as in :mod:`tilegrad.kernels.cpu.recurrent`.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cuda.device.ptx import block, pointer, thread
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


@kernel
def plain_forward(dtype: str, mode: str, save: bool, threads: int) -> Source:
    """A plain cell; parameters: gx, gh, h, out, where the states before are kept, units."""
    T, cell = np.dtype(dtype).type, PLAIN[mode][0]

    def plain(gx, gh, h, out, before, total):
        e = block() * threads + thread()
        if e < total:
            if save:
                pointer(before, T)[e] = pointer(h, T)[e]
            made = cell(pointer(gx, T)[e], pointer(gh, T)[e])
            pointer(h, T)[e] = made
            pointer(out, T)[e] = made

    return Source(plain, "i" * 6, threads)


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
    """Parameters: gx, gh, h, c, out, then kept: gates, the cells and the states before; units, H with
    multiplier and shift.
    """
    T, divide = np.dtype(dtype).type, division(wide)

    def lstm(gx, gh, h, c, out, gates, cells, before, total, H, m, s):
        e = block() * threads + thread()
        if e < total:
            row = divide(e, H, m, s)
            q = e + 3 * row * H
            x, y, kept = pointer(gx, T), pointer(gh, T), pointer(gates, T)
            old = pointer(c, T)[e]
            i, f, g, o, cell, made = lstm_cell(
                (x[q], x[q + H], x[q + 2 * H], x[q + 3 * H]),
                (y[q], y[q + H], y[q + 2 * H], y[q + 3 * H]),
                old,
            )
            if save:
                kept[q] = i
                kept[q + H] = f
                kept[q + 2 * H] = g
                kept[q + 3 * H] = o
                pointer(cells, T)[e] = old
                pointer(before, T)[e] = pointer(h, T)[e]
            pointer(c, T)[e] = cell
            pointer(h, T)[e] = made
            pointer(out, T)[e] = made

    return Source(lstm, "i" * 12, threads)


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
    """Parameters: gx, gh, h, out, then kept: gates with the candidate's part of gh, the states before;
    units, H with multiplier and shift.
    """
    T, divide = np.dtype(dtype).type, division(wide)

    def gru(gx, gh, h, out, gates, before, total, H, m, s):
        e = block() * threads + thread()
        if e < total:
            row = divide(e, H, m, s)
            q = e + 2 * row * H
            x, y, kept = pointer(gx, T), pointer(gh, T), pointer(gates, T)
            old, part = pointer(h, T)[e], y[q + 2 * H]
            r, z, n, made = gru_cell((x[q], x[q + H], x[q + 2 * H]), (y[q], y[q + H], part), old)
            if save:
                at = q + row * H
                kept[at] = r
                kept[at + H] = z
                kept[at + 2 * H] = n
                kept[at + 3 * H] = part
                pointer(before, T)[e] = old
            pointer(h, T)[e] = made
            pointer(out, T)[e] = made

    return Source(gru, "i" * 10, threads)


@kernel
def gru_backward(dtype: str, wide: bool, threads: int) -> Source:
    """Parameters: gradient of the output, kept gates and states, gradient of the state (written: what
    flows past the gates), gradients of the pre-activations' two parts; units, H with multiplier and
    shift.
    """
    T, divide = np.dtype(dtype).type, division(wide)

    def gru_grad(grad, gates, before, dh, dx, dgh, total, H, m, s):
        e = block() * threads + thread()
        if e < total:
            row = divide(e, H, m, s)
            q = e + 2 * row * H
            at = q + row * H
            kept, first, second = pointer(gates, T), pointer(dx, T), pointer(dgh, T)
            dr, dz, dn, dhn, past = gru_cell_grad(
                (kept[at], kept[at + H], kept[at + 2 * H]),
                kept[at + 3 * H],
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

    return Source(gru_grad, "i" * 10, threads)


def cell(dtype: str, mode: str, rows: int, H: int, save: bool) -> Callable[..., None]:
    """See :func:`tilegrad.kernels.cpu.recurrent.cell`."""
    total, threads = rows * H, grid("recurrent", dtype).bounds.threads
    blocks = (-(-total // threads), 1, 1)
    if mode in PLAIN:
        return bind(plain_forward.build(dtype, mode, save, threads), total, *blocks)
    factory = lstm_forward if mode == "lstm" else gru_forward
    function = factory.build(dtype, save, is_wide(4 * total), threads)
    return bind(function, total, H, *magic(H), *blocks)


def cell_backward(dtype: str, mode: str, rows: int, H: int) -> Callable[..., None]:
    """See :func:`tilegrad.kernels.cpu.recurrent.cell_backward`."""
    total, threads = rows * H, grid("recurrent", dtype).bounds.threads
    blocks = (-(-total // threads), 1, 1)
    if mode in PLAIN:
        return bind(plain_backward.build(dtype, mode, threads), total, *blocks)
    factory = lstm_backward if mode == "lstm" else gru_backward
    function = factory.build(dtype, is_wide(4 * total), threads)
    return bind(function, total, H, *magic(H), *blocks)
