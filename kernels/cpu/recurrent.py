"""Recurrent cells: one step of a batch, between the matrix products.

A row is a member of the batch. ``gx`` and ``gh`` hold the parts of the pre-activations that come from the
input and from the state, ``gates`` times H a row; states are (rows, H), written in place. For the
backward pass a step keeps its gates (of a GRU also the candidate's part of ``gh``) and what the states
were before.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.cpu.simd.vector import head, lanes, load_masked, splat, store_masked
from tilegrad.kernels.cpu.tuning import Recurrent
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
from tilegrad.kernels.function import DeviceFunction, inline

PLAIN = {"tanh": (tanh_cell, tanh_cell_grad), "relu": (relu_cell, relu_cell_grad)}


@kernel
def plain_forward(dtype: str, mode: str, save: bool) -> Kernel:
    """A plain cell; arguments: gx, gh, h, out, where the states before are kept, rows, H."""
    T, W, cell = np.dtype(dtype).type, lanes(dtype), PLAIN[mode][0]

    def body(task, gx_, gh_, h_, out_, before_, rows, H, per):
        gx, gh, h = pointer(gx_, T), pointer(gh_, T), pointer(h_, T)
        out, before = pointer(out_, T), pointer(before_, T)
        zero = splat(T(0))
        for q in range(task * per, min(rows * H, (task + 1) * per), W):
            mask = head(T, min(rows * H, (task + 1) * per) - q)
            if save:
                store_masked(before, q, load_masked(h, q, mask, zero), mask)
            made = cell(load_masked(gx, q, mask, zero), load_masked(gh, q, mask, zero))
            store_masked(h, q, made, mask)
            store_masked(out, q, made, mask)

    return body, "iiiiiiii"


@kernel
def plain_backward(dtype: str, mode: str) -> Kernel:
    """Arguments: gradient of the output, the output, that of the state, that of the pre-activation."""
    T, W, grad = np.dtype(dtype).type, lanes(dtype), PLAIN[mode][1]

    def body(task, g_, out_, dh_, dx_, rows, H, per):
        g, out, dh, dx = pointer(g_, T), pointer(out_, T), pointer(dh_, T), pointer(dx_, T)
        zero = splat(T(0))
        for q in range(task * per, min(rows * H, (task + 1) * per), W):
            mask = head(T, min(rows * H, (task + 1) * per) - q)
            total = load_masked(g, q, mask, zero) + load_masked(dh, q, mask, zero)
            store_masked(dx, q, grad(total, load_masked(out, q, mask, zero)), mask)

    return body, "iiiiiii"


def rows_of(dtype: str, width: int) -> tuple[DeviceFunction, DeviceFunction]:
    """Inline functions that take and put ``width`` vectors, H apart."""
    T = np.dtype(dtype).type
    if width == 3:

        @inline
        def take(p, q, H, mask):
            zero = splat(T(0))
            return (
                load_masked(p, q, mask, zero),
                load_masked(p, q + H, mask, zero),
                load_masked(p, q + 2 * H, mask, zero),
            )

    else:

        @inline
        def take(p, q, H, mask):
            zero = splat(T(0))
            return (
                load_masked(p, q, mask, zero),
                load_masked(p, q + H, mask, zero),
                load_masked(p, q + 2 * H, mask, zero),
                load_masked(p, q + 3 * H, mask, zero),
            )

    @inline
    def put(p, q, H, mask, a, b, c):
        store_masked(p, q, a, mask)
        store_masked(p, q + H, b, mask)
        store_masked(p, q + 2 * H, c, mask)

    return take, put


@kernel
def lstm_forward(dtype: str, save: bool) -> Kernel:
    """Arguments: gx, gh, h, c, out, then kept: gates, the cells and the states before; rows, H."""
    T, W = np.dtype(dtype).type, lanes(dtype)
    take, put = rows_of(dtype, 4)

    def body(task, gx_, gh_, h_, c_, out_, kept_, cells_, before_, rows, H, per):
        gx, gh, h, c = pointer(gx_, T), pointer(gh_, T), pointer(h_, T), pointer(c_, T)
        out, kept = pointer(out_, T), pointer(kept_, T)
        cells, before = pointer(cells_, T), pointer(before_, T)
        zero = splat(T(0))
        for row in range(task * per, min(rows, (task + 1) * per)):
            for j in range(0, H, W):
                mask, p, q = head(T, H - j), row * H + j, 4 * row * H + j
                old = load_masked(c, p, mask, zero)
                i, f, g, o, cell, made = lstm_cell(take(gx, q, H, mask), take(gh, q, H, mask), old)
                if save:
                    put(kept, q, H, mask, i, f, g)
                    store_masked(kept, q + 3 * H, o, mask)
                    store_masked(cells, p, old, mask)
                    store_masked(before, p, load_masked(h, p, mask, zero), mask)
                store_masked(c, p, cell, mask)
                store_masked(h, p, made, mask)
                store_masked(out, p, made, mask)

    return body, "iiiiiiiiiii"


@kernel
def lstm_backward(dtype: str) -> Kernel:
    """Arguments: gradient of the output, kept gates and cells, gradients of state and cell (that of
    the cell is written), gradients of the pre-activations; rows, H.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    take, put = rows_of(dtype, 4)

    def body(task, g_, kept_, cells_, dh_, dc_, dx_, rows, H, per):
        grad, kept, cells = pointer(g_, T), pointer(kept_, T), pointer(cells_, T)
        dh, dc, dx = pointer(dh_, T), pointer(dc_, T), pointer(dx_, T)
        zero = splat(T(0))
        for row in range(task * per, min(rows, (task + 1) * per)):
            for j in range(0, H, W):
                mask, p, q = head(T, H - j), row * H + j, 4 * row * H + j
                total = load_masked(grad, p, mask, zero) + load_masked(dh, p, mask, zero)
                di, df, dg, do, past = lstm_cell_grad(
                    take(kept, q, H, mask),
                    load_masked(cells, p, mask, zero),
                    total,
                    load_masked(dc, p, mask, zero),
                )
                put(dx, q, H, mask, di, df, dg)
                store_masked(dx, q + 3 * H, do, mask)
                store_masked(dc, p, past, mask)

    return body, "iiiiiiiii"


@kernel
def gru_forward(dtype: str, save: bool) -> Kernel:
    """Arguments: gx, gh, h, out, then kept: gates with the candidate's part of gh, the states before;
    rows, H.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    take, put = rows_of(dtype, 3)

    def body(task, gx_, gh_, h_, out_, kept_, before_, rows, H, per):
        gx, gh, h = pointer(gx_, T), pointer(gh_, T), pointer(h_, T)
        out, kept, before = pointer(out_, T), pointer(kept_, T), pointer(before_, T)
        zero = splat(T(0))
        for row in range(task * per, min(rows, (task + 1) * per)):
            for j in range(0, H, W):
                mask, p, q = head(T, H - j), row * H + j, 3 * row * H + j
                old, parts = load_masked(h, p, mask, zero), take(gh, q, H, mask)
                r, z, n, made = gru_cell(take(gx, q, H, mask), parts, old)
                if save:
                    at = 4 * row * H + j
                    put(kept, at, H, mask, r, z, n)
                    store_masked(kept, at + 3 * H, parts[2], mask)
                    store_masked(before, p, old, mask)
                store_masked(h, p, made, mask)
                store_masked(out, p, made, mask)

    return body, "iiiiiiiii"


@kernel
def gru_backward(dtype: str) -> Kernel:
    """Arguments: gradient of the output, kept gates and states, gradient of the state (written: what
    flows past the gates), gradients of the pre-activations' two parts; rows, H.
    """
    T, W = np.dtype(dtype).type, lanes(dtype)
    take, _ = rows_of(dtype, 4)
    _, put = rows_of(dtype, 3)

    def body(task, g_, kept_, before_, dh_, dx_, dgh_, rows, H, per):
        grad, kept, before = pointer(g_, T), pointer(kept_, T), pointer(before_, T)
        dh, dx, dgh = pointer(dh_, T), pointer(dx_, T), pointer(dgh_, T)
        zero = splat(T(0))
        for row in range(task * per, min(rows, (task + 1) * per)):
            for j in range(0, H, W):
                mask, p, q = head(T, H - j), row * H + j, 3 * row * H + j
                total = load_masked(grad, p, mask, zero) + load_masked(dh, p, mask, zero)
                r, z, n, hn = take(kept, 4 * row * H + j, H, mask)
                old = load_masked(before, p, mask, zero)
                dr, dz, dn, dhn, past = gru_cell_grad((r, z, n), hn, old, total)
                put(dx, q, H, mask, dr, dz, dn)
                put(dgh, q, H, mask, dr, dz, dhn)
                store_masked(dh, p, past, mask)

    return body, "iiiiiiiii"


def cell(dtype: str, mode: str, rows: int, H: int, save: bool) -> Callable[..., None]:
    """A launch of one step, ``(gx, gh, h, out, before)`` of a plain cell (mode "tanh" or "relu"),
    ``(gx, gh, h, c, out, gates, cells, before)`` of an LSTM, ``(gx, gh, h, out, gates, before)`` of a GRU.
    """
    if mode in PLAIN:
        return _shared(plain_forward.build(dtype, mode, save), rows, H, 1)
    factory = lstm_forward if mode == "lstm" else gru_forward
    return _shared(factory.build(dtype, save), rows, H, 0)


def cell_backward(dtype: str, mode: str, rows: int, H: int) -> Callable[..., None]:
    """A launch of one step back: ``(g, out, dh, dx)``, ``(g, gates, cells, dh, dc, dx)`` or
    ``(g, gates, before, dh, dx, dgh)``.
    """
    if mode in PLAIN:
        return _shared(plain_backward.build(dtype, mode), rows, H, 1)
    factory = lstm_backward if mode == "lstm" else gru_backward
    return _shared(factory.build(dtype), rows, H, 0)


def _shared(function: Callable[..., None], rows: int, H: int, flat: int) -> Callable[..., None]:
    """Rows, or (``flat``) elements, shared out to tasks."""
    if flat:
        per, tasks = splitting.share(rows * H, 1, Recurrent.grain, Recurrent.tasks)
    else:
        per, tasks = splitting.share(rows, 4 * H, Recurrent.grain, Recurrent.tasks)
    return bind(function, rows, H, per, tasks, TEAM if tasks > 1 else 0)
