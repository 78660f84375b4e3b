"""Recurrent cells: all steps of a layer in one launch, a task a block of the batch's members.

A row is a member of the batch at one step. ``gx`` holds the input's part of the pre-activations, ``gates``
times H a row; the product of the states with the weight is added to it (of a GRU it stands apart, as the
reset gate scales a part of it), and the gates are written over it for the backward pass. States are
(batch, H), written in place. The weight is packed once a layer. Members do not meet: a task runs its own
through all steps, without waiting for others.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.parts import gemm
from tilegrad.kernels.cpu.parts.micro_kernel import micro_kernel
from tilegrad.kernels.cpu.run import jit, splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import offset, pointer
from tilegrad.kernels.cpu.simd.vector import head, lanes, load_masked, splat, store_masked
from tilegrad.kernels.cpu.tuning import Gemm, Recurrent
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
GATES = {"tanh": 1, "relu": 1, "lstm": 4, "gru": 3}

Launch = Callable[..., None]


class Layer(NamedTuple):
    """The parameters of a launch.

    Attributes:
        table: address of (first row, members) of each step in order (int64); steps: how many.
        batch: members; per: of a task. H: units.
        w_row, w_panel: elements between rows and panels of the weight.
        kc: products that are summed before they are added to the result.
    """

    table: int
    steps: int
    batch: int
    per: int
    H: int
    w_row: int
    w_panel: int
    kc: int


def _product(dtype: str, vectors: int) -> DeviceFunction:
    """The device function ``product(a, a_row, w, K, of, out, out_row, N, c_in, c_row, rows)``: ``out = c_in +
    a @ w`` for panels of ``vectors`` vectors, or for 0 a ``w`` whose columns are contiguous; ``c_in`` is an
    address, 0 for zeros.
    """
    T, size, W = np.dtype(dtype).type, np.dtype(dtype).itemsize, lanes(dtype)
    row = tuning.micro_kernel(dtype)
    NR, columns = max(1, vectors) * W, vectors == 0
    tiles = {0: row.col_major_mr, 2: row.mr, 4: row.conv_few, 8: (1,)}[vectors]
    full = micro_kernel(vectors, () if columns else tiles, False, True)
    single = micro_kernel(1, tiles, columns)

    @inline
    def product(a, a_row, w, K, of, out, out_row, N, c_in, c_row, rows):
        for k in range(0, max(1, K), of.kc):
            depth, j = min(of.kc, K - k), 0
            while j < N:
                o = offset(out, j)
                c, c_step = o, out_row
                if k == 0:
                    c, c_step = pointer(c_in + size * j if c_in != 0 else 0, T), c_row
                left = N - j
                place = j // NR * of.w_panel + k * of.w_row + j % NR
                b, step = pointer(w + size * place, T), of.H if columns else of.w_row
                x = offset(a, k)
                if not columns and left >= NR and j % NR == 0:
                    full(x, a_row, 1, b, step, o, out_row, c, c_step, rows, depth, W)
                    j += NR
                else:
                    tail = min(W, left)
                    single(x, a_row, 1, b, step, o, out_row, c, c_step, rows, depth, tail)
                    j += W

    return product


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


# ---------------------------------------------------------------------------------------- forward


@kernel
def plain_forward(dtype: str, mode: str, vectors: int) -> Kernel:
    """Plain cells; arguments: gx (written), weight, h, out."""
    T, size, W = np.dtype(dtype).type, np.dtype(dtype).itemsize, lanes(dtype)
    cell = PLAIN[mode][0]
    product = _product(dtype, vectors)

    def body(task, gx_, w, h_, out_, of):
        H, start, steps = of.H, task * of.per, pointer(of.table, np.int64)
        h = pointer(h_ + size * start * H, T)
        zero = splat(T(0))
        for s in range(of.steps):
            rows = min(steps[2 * s + 1], of.batch, start + of.per) - start
            at = steps[2 * s] + start
            if rows > 0:
                x_, total = gx_ + size * at * H, rows * H
                x, out = pointer(x_, T), pointer(out_ + size * at * H, T)
                product(h, H, w, H, of, x, H, H, x_, H, rows)
                for q in range(0, total, W):
                    mask = head(T, total - q)
                    made = cell(load_masked(x, q, mask, zero))
                    store_masked(h, q, made, mask)
                    store_masked(out, q, made, mask)

    return body, ("iiii", Layer)


@kernel
def lstm_forward(dtype: str, save: bool, vectors: int) -> Kernel:
    """Arguments: gx (written: the gates, if ``save``), weight, h, c, out, and what the cells were before
    each step.
    """
    T, size, W = np.dtype(dtype).type, np.dtype(dtype).itemsize, lanes(dtype)
    take, put = rows_of(dtype, 4)
    product = _product(dtype, vectors)

    def body(task, gx_, w, h_, c_, out_, cells_, of):
        H, start, steps = of.H, task * of.per, pointer(of.table, np.int64)
        h, c = pointer(h_ + size * start * H, T), pointer(c_ + size * start * H, T)
        zero = splat(T(0))
        for s in range(of.steps):
            rows = min(steps[2 * s + 1], of.batch, start + of.per) - start
            at = steps[2 * s] + start
            if rows > 0:
                x_ = gx_ + size * at * 4 * H
                x, out = pointer(x_, T), pointer(out_ + size * at * H, T)
                cells = pointer(cells_ + size * at * H, T)
                product(h, H, w, H, of, x, 4 * H, 4 * H, x_, 4 * H, rows)
                for row in range(rows):
                    for j in range(0, H, W):
                        mask, p, q = head(T, H - j), row * H + j, 4 * row * H + j
                        old = load_masked(c, p, mask, zero)
                        i, f, g, o, cell, made = lstm_cell(take(x, q, H, mask), old)
                        if save:
                            put(x, q, H, mask, i, f, g)
                            store_masked(x, q + 3 * H, o, mask)
                            store_masked(cells, p, old, mask)
                        store_masked(c, p, cell, mask)
                        store_masked(h, p, made, mask)
                        store_masked(out, p, made, mask)

    return body, ("iiiiii", Layer)


@kernel
def gru_forward(dtype: str, save: bool, vectors: int) -> Kernel:
    """Arguments: gx (written: the gates, if ``save``), weight, h, bias (0 for none), out, the candidate's part
    of the states' product, a row of gates for each member.
    """
    T, size, W = np.dtype(dtype).type, np.dtype(dtype).itemsize, lanes(dtype)
    take, put = rows_of(dtype, 3)
    product = _product(dtype, vectors)

    def body(task, gx_, w, h_, bias, out_, parts_, scratch, of):
        H, start, steps = of.H, task * of.per, pointer(of.table, np.int64)
        h = pointer(h_ + size * start * H, T)
        gh = pointer(scratch + size * start * 3 * H, T)
        zero = splat(T(0))
        for s in range(of.steps):
            rows = min(steps[2 * s + 1], of.batch, start + of.per) - start
            at = steps[2 * s] + start
            if rows > 0:
                x, out = pointer(gx_ + size * at * 3 * H, T), pointer(out_ + size * at * H, T)
                kept = pointer(parts_ + size * at * H, T)
                product(h, H, w, H, of, gh, 3 * H, 3 * H, bias, 0, rows)
                for row in range(rows):
                    for j in range(0, H, W):
                        mask, p, q = head(T, H - j), row * H + j, 3 * row * H + j
                        old, parts = load_masked(h, p, mask, zero), take(gh, q, H, mask)
                        r, z, n, made = gru_cell(take(x, q, H, mask), parts, old)
                        if save:
                            put(x, q, H, mask, r, z, n)
                            store_masked(kept, p, parts[2], mask)
                        store_masked(h, p, made, mask)
                        store_masked(out, p, made, mask)

    return body, ("iiiiiii", Layer)


# --------------------------------------------------------------------------------------- backward


@kernel
def plain_backward(dtype: str, mode: str, vectors: int) -> Kernel:
    """Arguments: gradient of the output, weight, that of the state (written), the output, that of the
    pre-activation, a padded row of it for each member.
    """
    T, size, W = np.dtype(dtype).type, np.dtype(dtype).itemsize, lanes(dtype)
    grad = PLAIN[mode][1]
    product, pad = _product(dtype, vectors), Gemm.pack_pad

    def body(task, g_, w, dh_, out_, dx_, scratch, of):
        H, start, steps = of.H, task * of.per, pointer(of.table, np.int64)
        dh, wide = pointer(dh_ + size * start * H, T), H + pad
        a = pointer(scratch + size * start * wide, T)
        zero = splat(T(0))
        for s in range(of.steps):
            rows = min(steps[2 * s + 1], of.batch, start + of.per) - start
            at = steps[2 * s] + start
            if rows > 0:
                g, out = pointer(g_ + size * at * H, T), pointer(out_ + size * at * H, T)
                dx = pointer(dx_ + size * at * H, T)
                for row in range(rows):
                    for j in range(0, H, W):
                        mask, p = head(T, H - j), row * H + j
                        total = load_masked(g, p, mask, zero) + load_masked(dh, p, mask, zero)
                        made = grad(total, load_masked(out, p, mask, zero))
                        store_masked(dx, p, made, mask)
                        store_masked(a, row * wide + j, made, mask)
                product(a, wide, w, H, of, dh, H, H, 0, 0, rows)

    return body, ("iiiiii", Layer)


@kernel
def lstm_backward(dtype: str, vectors: int) -> Kernel:
    """Arguments: gradient of the output, weight, those of state and cell (written), kept gates and cells,
    gradients of the pre-activations, a padded row of these for each member.
    """
    T, size, W = np.dtype(dtype).type, np.dtype(dtype).itemsize, lanes(dtype)
    take, put = rows_of(dtype, 4)
    product, pad = _product(dtype, vectors), Gemm.pack_pad

    def body(task, g_, w, dh_, dc_, gates_, cells_, dx_, scratch, of):
        H, start, steps = of.H, task * of.per, pointer(of.table, np.int64)
        dh_at, wide = dh_ + size * start * H, 4 * H + pad
        dh, dc = pointer(dh_at, T), pointer(dc_ + size * start * H, T)
        a = pointer(scratch + size * start * wide, T)
        zero = splat(T(0))
        for s in range(of.steps):
            rows = min(steps[2 * s + 1], of.batch, start + of.per) - start
            at = steps[2 * s] + start
            if rows > 0:
                g, cells = pointer(g_ + size * at * H, T), pointer(cells_ + size * at * H, T)
                gates = pointer(gates_ + size * at * 4 * H, T)
                dx = pointer(dx_ + size * at * 4 * H, T)
                for row in range(rows):
                    for j in range(0, H, W):
                        mask, p, q = head(T, H - j), row * H + j, 4 * row * H + j
                        di, df, dg, do, past = lstm_cell_grad(
                            take(gates, q, H, mask),
                            load_masked(cells, p, mask, zero),
                            load_masked(g, p, mask, zero) + load_masked(dh, p, mask, zero),
                            load_masked(dc, p, mask, zero),
                        )
                        put(dx, q, H, mask, di, df, dg)
                        store_masked(dx, q + 3 * H, do, mask)
                        put(a, row * wide + j, H, mask, di, df, dg)
                        store_masked(a, row * wide + j + 3 * H, do, mask)
                        store_masked(dc, p, past, mask)
                product(a, wide, w, 4 * H, of, dh, H, H, 0, 0, rows)

    return body, ("iiiiiiii", Layer)


@kernel
def gru_backward(dtype: str, vectors: int) -> Kernel:
    """Arguments: gradient of the output, weight, that of the state (written), kept gates, candidate's parts
    and states, gradients of the pre-activations' two parts, a padded row of the second for each member.
    """
    T, size, W = np.dtype(dtype).type, np.dtype(dtype).itemsize, lanes(dtype)
    take, put = rows_of(dtype, 3)
    product, pad = _product(dtype, vectors), Gemm.pack_pad

    def body(task, g_, w, dh_, gates_, parts_, before_, dx_, dgh_, scratch, of):
        H, start, steps = of.H, task * of.per, pointer(of.table, np.int64)
        dh_at, wide = dh_ + size * start * H, 3 * H + pad
        dh = pointer(dh_at, T)
        a = pointer(scratch + size * start * wide, T)
        zero = splat(T(0))
        for s in range(of.steps):
            rows = min(steps[2 * s + 1], of.batch, start + of.per) - start
            at = steps[2 * s] + start
            if rows > 0:
                g, gates = pointer(g_ + size * at * H, T), pointer(gates_ + size * at * 3 * H, T)
                parts, before = (
                    pointer(parts_ + size * at * H, T),
                    pointer(before_ + size * at * H, T),
                )
                dx, dgh = pointer(dx_ + size * at * 3 * H, T), pointer(dgh_ + size * at * 3 * H, T)
                for row in range(rows):
                    for j in range(0, H, W):
                        mask, p, q = head(T, H - j), row * H + j, 3 * row * H + j
                        dr, dz, dn, dhn, past = gru_cell_grad(
                            take(gates, q, H, mask),
                            load_masked(parts, p, mask, zero),
                            load_masked(before, p, mask, zero),
                            load_masked(g, p, mask, zero) + load_masked(dh, p, mask, zero),
                        )
                        put(dx, q, H, mask, dr, dz, dn)
                        put(dgh, q, H, mask, dr, dz, dhn)
                        put(a, row * wide + j, H, mask, dr, dz, dhn)
                        store_masked(dh, p, past, mask)
                product(a, wide, w, 3 * H, of, dh, H, H, dh_at, H, rows)

    return body, ("iiiiiiiii", Layer)


# ------------------------------------------------------------------------------------- launchers


def layer(
    dtype: str, mode: str, H: int, sizes: Sequence[int], reverse: bool, save: bool, biased: bool
) -> tuple[Launch, int]:
    """Prepare a layer in one direction; gives ``(launch, scratch_bytes)``.

    Of mode "tanh" or "relu" ``launch(gx, w, h, out, scratch)``, of "lstm" ``launch(gx, w, h, c, out, [cells],
    scratch)``, of "gru" ``launch(gx, w, h, [bias], out, [parts], scratch)``; what is in brackets is there with
    ``save`` or ``biased``. ``w`` is (gates H, H), ``gx`` is written over, with the gates if ``save``.
    """
    batch, N = max(sizes), GATES[mode] * H
    pack, vectors, packed_bytes = _packing(dtype, (N, H), False, len(sizes), batch)
    of, keep = _parameters(dtype, sizes, reverse, H, H, vectors, pack is None)
    tasks, threads = -(-batch // of.per), _threads(batch, of)
    rows_bytes = batch * N * np.dtype(dtype).itemsize if mode == "gru" else 0
    if mode in PLAIN:
        run = bind(plain_forward.build(dtype, mode, vectors), *of, tasks, threads)
    elif mode == "lstm":
        run = bind(lstm_forward.build(dtype, save, vectors), *of, tasks, threads)
    else:
        run = bind(gru_forward.build(dtype, save, vectors), *of, tasks, threads)

    def launch(gx: int, w: int, *addresses: int, _keep: Any = keep) -> None:
        *rest, scratch = addresses
        if pack is not None:
            pack(w, scratch)
            w = scratch
        if mode == "lstm" and not save:
            rest.append(0)
        if mode == "gru":
            if not biased:
                rest.insert(1, 0)
            rest += [scratch + packed_bytes] if save else [0, scratch + packed_bytes]
        run(gx, w, *rest)

    return launch, max(64, packed_bytes + rows_bytes)


def layer_backward(
    dtype: str, mode: str, H: int, sizes: Sequence[int], reverse: bool
) -> tuple[Launch, int]:
    """Prepare the adjoint of :func:`layer`; gives ``(launch, scratch_bytes)``.

    ``launch(g, w, dh, out, dx, scratch)``, of an LSTM ``launch(g, w, dh, dc, gates, cells, dx, scratch)``, of a
    GRU ``launch(g, w, dh, gates, parts, before, dx, dgh, scratch)``: ``before`` the states before each step.
    """
    batch, K = max(sizes), GATES[mode] * H
    pack, vectors, packed_bytes = _packing(dtype, (K, H), True, len(sizes), batch)
    of, keep = _parameters(dtype, sizes, not reverse, H, K, vectors, pack is None)
    tasks, threads = -(-batch // of.per), _threads(batch, of)
    if mode in PLAIN:
        run = bind(plain_backward.build(dtype, mode, vectors), *of, tasks, threads)
    else:
        factory = lstm_backward if mode == "lstm" else gru_backward
        run = bind(factory.build(dtype, vectors), *of, tasks, threads)

    def launch(g: int, w: int, *addresses: int, _keep: Any = keep) -> None:
        *rest, scratch = addresses
        if pack is not None:
            pack(w, scratch)
            w = scratch
        run(g, w, *rest, scratch + packed_bytes)

    rows_bytes = batch * (K + Gemm.pack_pad) * np.dtype(dtype).itemsize
    return launch, packed_bytes + rows_bytes


def _panel_vectors(rows: int) -> int:
    """Vectors of a panel that have enough sums in flight where a task has so many rows."""
    return 8 if rows == 1 else 4 if rows <= Recurrent.few else tuning.NR_VECTORS


def _rows(batch: int) -> int:
    """Members of a task."""
    return splitting.share(batch, 1, max(Recurrent.rows, -(-batch // jit.processors())))[0]


def _packing(
    dtype: str, shape: tuple[int, int], row_major: bool, steps: int, batch: int
) -> tuple[Callable[[int, int], None] | None, int, int]:
    """(``pack(w, panels)``, vectors of a panel, bytes of all); of few steps None, as the weight is read where
    it lies: row by row for the backward pass, column by column (0 vectors) for the forward pass.
    """
    vectors = _panel_vectors(_rows(batch))
    if steps * -(-batch // Recurrent.few) < Recurrent.packs:
        return None, vectors if row_major else 0, 0
    K, N = shape if row_major else shape[::-1]
    NR = vectors * lanes(dtype)
    panels = -(-N // NR)
    strides = (N, 1) if row_major else (1, K)
    function = gemm.prepack_b.build(dtype, vectors)
    threads = 0 if splitting.serial(K * N, Recurrent.grain) else TEAM
    tail = (K, N, *strides, 0, 0, 1, panels, threads)

    def pack(w: int, out: int) -> None:
        function(w, out, *tail)

    return pack, vectors, -(-panels * NR * K * np.dtype(dtype).itemsize // 64) * 64


def _parameters(
    dtype: str, sizes: Sequence[int], reverse: bool, H: int, K: int, vectors: int,
    in_place: bool,
) -> tuple[Layer, np.ndarray]:  # fmt: skip
    """(parameters, the table of steps, which must live as long as the launch)."""
    firsts = np.cumsum([0, *sizes[:-1]])
    steps = np.stack([firsts, np.array(sizes)], 1).astype(np.int64)
    steps = np.ascontiguousarray(steps[::-1] if reverse else steps)
    NR, batch = max(1, vectors) * lanes(dtype), max(sizes)
    row, panel = NR, NR * K
    if in_place:
        row, panel = (H, NR) if vectors else (1, NR * H)
    kc, per = gemm.kc_for(dtype, K), _rows(batch)
    return Layer(steps.ctypes.data, len(sizes), batch, per, H, row, panel, kc), steps


def _threads(batch: int, of: Layer) -> int:
    """TEAM, where several tasks have work enough for threads."""
    work = of.steps * batch * of.H * of.H
    return 0 if of.per >= batch or splitting.serial(work, Gemm.serial) else TEAM
