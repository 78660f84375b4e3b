"""The kernels of matrix products: register tiles over shared memory, and matrix times vector.

``tiles``: a block computes a rectangle of the result. Panels of x and y, 8 or 16 deep, go through
registers to one half of a double buffer in shared memory while the other half is multiplied. A warp
covers ``LM`` by ``LN`` threads' rectangles, so that its reads of a panel are broadcasts or 128
consecutive bytes. Any strides are read; consecutive, aligned ones 16 bytes at a time.

Every element is a chain of fused multiply-adds over k in order, cut every ``CHUNK`` steps, whatever
the tile: a row of the result does not depend on how many other rows there are. Chunks are launches
that add to the result one after the other or, where there are few tiles, blocks side by side.

Source: Volkov and Demmel, Benchmarking GPUs to Tune Dense Linear Algebra (2008), for register
tiles; the staging through registers is as in CUTLASS's SIMT kernels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.jit import Source, kernel
from tilegrad.kernels.cuda.ptx import (
    WARP,
    barrier,
    block,
    block_y,
    load_vector,
    pointer,
    shared,
    store_vector,
    thread,
)
from tilegrad.kernels.cuda.reduce import tree
from tilegrad.kernels.cuda.strided import PER_AXIS, offset_of, spread
from tilegrad.kernels.cuda.tile import narrow, opaque, outer, zeros
from tilegrad.kernels.function import DeviceFunction, function_from_source, inline
from tilegrad.kernels.monoids import add

CHUNK = 2048  # steps of k that are summed in registers before the sum goes to memory
GROUP = 8  # rows of tiles that are walked together, so that they share y in the L2 cache
PAD = 4  # elements between rows of a panel: a transposing store then hits a bank twice, not 4 times


class Tile(NamedTuple):
    """A block's rectangle ``BM`` by ``BN``, its depth, a thread's rectangle, and a warp's lanes."""

    BM: int
    BN: int
    BK: int
    TM: int
    TN: int
    LM: int
    LN: int
    per_sm: int

    @property
    def threads(self) -> int:
        return self.BM // self.TM * (self.BN // self.TN)


# blocks of a multiprocessor: as many as the registers of the totals and of two panels allow
TILES = {
    "large": Tile(128, 128, 8, 8, 8, 4, 8, 2),
    "medium": Tile(64, 64, 8, 8, 8, 4, 8, 6),
    "small": Tile(32, 32, 16, 4, 4, 4, 8, 8),
    "skinny": Tile(4, 128, 16, 4, 4, 1, 32, 8),
    "double": Tile(64, 64, 8, 4, 4, 4, 8, 2),
}


class Operand(NamedTuple):
    """How panels of x or y are read: ``L`` rows (or columns) of the result by ``BK`` steps of k.

    ``along``: "k" or "lane", the direction of neighbouring threads, and of vectors of ``V``. Rows
    beyond the matrix are read from its last ones: what comes of them is not stored.
    """

    name: str
    L: int
    BK: int
    along: str
    V: int
    threads: int
    start: int  # of the first panel in shared memory
    size: int  # bytes of an element

    @property
    def row(self) -> int:
        """Elements between the steps of a panel."""
        return self.L + PAD

    @property
    def count(self) -> int:
        """Vectors that a thread moves."""
        return max(1, self.L * self.BK // (self.V * self.threads))

    @property
    def guard(self) -> str:
        """The condition under which a thread moves anything, if not all do."""
        vectors = self.L * self.BK // self.V
        return f"t < {vectors}" if vectors < self.threads else ""

    @property
    def across(self) -> int:
        """Vectors side by side in the faster direction."""
        return (self.L if self.along == "lane" else self.BK) // self.V

    @property
    def shares(self) -> int:
        """Vectors of a thread that lie in one row of the faster direction."""
        return max(1, self.across // self.threads)

    @property
    def jump(self) -> int:
        """Rows of the slower direction from one of a thread's vectors to the next."""
        return max(1, self.threads // self.across)

    def spot(self, i: int) -> tuple[int, int]:
        """(fast, slow): how far vector ``i`` of a thread lies from its first one."""
        return i % self.shares * self.threads * self.V, i // self.shares * self.jump

    def setup(self) -> list[str]:
        """Addresses of this thread's vectors and their places in the panel."""
        n, V = self.name, self.V
        fast, slow = _mod("t", self.across), _div("t", self.across)
        lines = [f"{n}_fast, {n}_slow = i32({fast} * {V}), i32({slow})"]
        extent = "M" if n == "x" else "N"
        base = f"{n}_address + {self.size} * ({n}_offset(item, numbers) + "
        if self.along == "lane":
            for i in range(self.shares):
                lane = f"min({n}0 + {n}_fast + {self.spot(i)[0]}, {extent} - {V})"
                lines.append(f"{n}_at{i} = {base}{lane} * {n}s_lane + (first + {n}_slow) * {n}s_k)")
            lines.append(f"{n}_k = {n}_slow")
            lines.append(f"{n}_put = i32({self.start} + {n}_slow * {self.row} + {n}_fast)")
        else:
            for i in range(self.count):
                lane = f"min({n}0 + {n}_slow + {self.spot(i)[1]}, {extent} - 1)"
                lines.append(f"{n}_at{i} = {base}{lane} * {n}s_lane + (first + {n}_fast) * {n}s_k)")
            lines.append(f"{n}_k = {n}_fast")
            lines.append(f"{n}_put = i32({self.start} + {n}_fast * {self.row} + {n}_slow)")
        return lines

    def advance(self, way: str) -> list[str]:
        """Go on by a number of bytes."""
        count = self.shares if self.along == "lane" else self.count
        return [f"{self.name}_at{i} += {way}" for i in range(count)]

    def fetch(self) -> list[str]:
        """Load the vectors of the next panel; zero from the end of k on."""
        n, lines = self.name, []
        zero = "zero" if self.V == 1 else "(" + "zero, " * self.V + ")"
        for i in range(self.count):
            slow = self.spot(i)[1]
            here, down = f"{n}_at{i}", 0
            if self.along == "lane":
                here, down = f"{n}_at{i % self.shares}", slow
                here += f" + {self.size} * {slow} * {n}s_k" if slow else ""
            value = f"load_{n}(pointer({here}, T), 0)"
            if self.V == 1:
                value = f"A(pointer({here}, T)[0])"
            conditions = [self.guard] if self.guard else []
            conditions.append(f"{n}_k + {down} < left")
            lines.append(f"{n}v{i} = {value} if {' and '.join(conditions)} else {zero}")
        return lines

    def stash(self) -> list[str]:
        """Store the vectors in the half of the buffer that ``to`` says (0 or 1)."""
        n, lines = self.name, []
        for i in range(self.count):
            fast, slow = self.spot(i)
            further = fast + slow * self.row if self.along == "lane" else slow
            at = f"{n}_put + to * {self.BK * self.row} + {further}"
            if self.V == 1:
                lines.append(f"panels[{at}] = {n}v{i}")
            elif self.along == "lane":
                lines.append(f"store_{n}(panels, {at}, {n}v{i})")
            else:
                lines += [f"panels[{at} + {j * self.row}] = {n}v{i}[{j}]" for j in range(self.V)]
        return [f"if {self.guard}:", *("    " + x for x in lines)] if self.guard else lines


_BODY = """
def multiply(x_address, y_address, out_address, bias_address, parts, fresh, final, M, N, K, xs_lane, xs_k,
             ys_k, ys_lane, os_row, x_step, y_step, tiles_m, tiles_n, numbers):
    t = i32(thread())
    per_item = tiles_m * tiles_n
    item = block() // per_item
    tile = block() - item * per_item
    band = tile // ({GROUP} * tiles_n)
    height = min({GROUP}, tiles_m - band * {GROUP})
    rest = tile - band * {GROUP} * tiles_n
    x0 = i32((band * {GROUP} + rest % height) * {BM})
    y0 = i32(rest // height * {BN})
    corner = place()  # kept in memory until the end, for want of registers
    if t == 0:
        corner[0], corner[1], corner[2] = item, x0, y0
    zero = A(0)
    first = i32(block_y() * {CHUNK})
    left = i32(min(K - first, {CHUNK}))  # steps of k that are not in registers yet
{setup}
    row, column = i32({row}), i32({column})
    panels = memory()
    totals = zeros()
    to = i32(0)
{fetch_first}
{stash_first}
    barrier()
    while left > 0:
        left = i32(left - {BK})
{advance}
{fetch}
        x_from = row + to * {XS}
        y_from = {Y0} + column + to * {YS}
{steps}
        to = i32(1 - to)
{stash}
        barrier()
    u = opaque(t)  # what follows is not worth registers while the panels are multiplied
    out = pointer(out_address + {size} * out_offset(corner[0], numbers), T)
    bias = pointer(bias_address, T)
    whole = ((out_address | os_row * {size}) & {mask}) == 0 and N % {W} == 0
{store}
"""

_STORE = """
{spill}
    barrier()
    e = u * {W}
    while e < {half}:
        r = corner[1] + {e_row}
        c = corner[2] + {e_column}
        at = block_y() * parts + r * os_row + c
        if r < M and c < N:
            if whole:
                v = fragment(panels, e)
                o = empty if fresh else load_out(out, at)
                store_out(out, at, ({finished},))
            else:
                for j in range(min({W}, N - c)):
                    o = T(0) if fresh else out[at + j]
                    out[at + j] = finish(panels[e + j], o, fresh, final, bias, c + j)
        e += {step}
    barrier()
"""


def _div(number: str, by: int) -> str:
    """``number // by`` for a power of two, which a shift does without asking for signs."""
    return f"({number} >> {by.bit_length() - 1})" if by > 1 else number


def _mod(number: str, by: int, of: int = 1) -> str:
    """``number // of % by`` for powers of two."""
    return f"({_div(number, of)} & {by - 1})" if by > 1 else "0"


def _indent(lines: list[str], depth: int) -> str:
    return "\n".join(" " * depth + line for line in lines)


@kernel
def tiles(
    dtype: str, tile: str, x_along: str, x_vector: int, y_along: str, y_vector: int,
    dims: int, biased: bool, activation: DeviceFunction | None = None,
) -> Source:  # fmt: skip
    """``out = activation(x @ y + bias)`` for a batch of matrices.

    Parameters: addresses of x, y, out and bias, 0 or, where chunks of K are blocks of their own (the
    grid's second index), the distance between their results, whether out is overwritten (else added
    to), whether bias and activation are due, M, N, K, the strides of x (rows, k),
    of y (k, columns) and of the rows of out, bytes from a panel of x and of y to the next, tiles down and across, then the batch as three blocks
    of ``dims`` dimensions.
    """
    shape = TILES[tile]
    T = np.dtype(dtype).type
    A = T if np.dtype(dtype).kind == "f" else np.int64
    W = 16 // np.dtype(A).itemsize

    @inline
    def finish(total, old, fresh, final, bias, c):  # type: ignore[no-untyped-def]
        v = total if fresh else A(old) + total
        if biased:
            v = v + A(bias[c]) if final else v
        if activation is not None:
            v = activation(v) if final else v
        return T(v)

    reads = (x_along, x_vector, y_along, y_vector)
    text, held = _source(shape, np.dtype(dtype).itemsize, W, reads)
    name = np.dtype(A).name
    scope = {
        "T": T, "A": A, "i32": narrow, "opaque": opaque, "thread": thread, "block": block, "block_y": block_y,
        "barrier": barrier,
        "pointer": pointer, "outer": outer, "zeros": zeros(name, shape.TM * shape.TN),
        "fragment": load_vector(W), "spill": store_vector(W), "finish": finish,
        "load_out": load_vector(W), "store_out": store_vector(W), "empty": (T(0),) * W,
        "load_x": load_vector(x_vector), "load_y": load_vector(y_vector),
        "store_x": store_vector(x_vector), "store_y": store_vector(y_vector),
        "memory": shared(name, held, "panels"), "place": shared("int64", 3, "corner"),
        "x_offset": offset_of(dims, 0), "y_offset": offset_of(dims, PER_AXIS * dims),
        "out_offset": offset_of(dims, 2 * PER_AXIS * dims),
    }  # fmt: skip
    body = DeviceFunction(function_from_source(text, "multiply", scope, __name__), text)
    count = 3 * PER_AXIS * dims
    vectors = x_vector > 1 and y_vector > 1
    per_sm = shape.per_sm if vectors or name != dtype else max(1, shape.per_sm // 2)
    return Source(spread(body, 19, count), "i" * (19 + count), shape.threads, per_sm)


def _source(
    tile: Tile, size: int, W: int, reads: tuple[str, int, str, int]
) -> tuple[str, int]:
    """(source of the body, elements of shared memory)."""
    XS, YS = tile.BK * (tile.BM + PAD), tile.BK * (tile.BN + PAD)
    x = Operand("x", tile.BM, tile.BK, *reads[:2], tile.threads, 0, size)
    y = Operand("y", tile.BN, tile.BK, *reads[2:], tile.threads, 2 * XS, size)
    rows, cols = tile.LM * tile.TM, tile.LN * tile.TN
    WM, names = max(1, tile.BM // rows), tile._asdict()
    common = {
        **{key: names[key] for key in ("BM", "BN", "BK")},
        "GROUP": GROUP, "CHUNK": CHUNK, "W": W, "size": size, "mask": W * size - 1,
        "XS": XS, "YS": YS, "Y0": 2 * XS,
    }  # fmt: skip
    half = tile.BM * W // tile.TM * tile.BN
    parts = []
    for p in range(tile.TM // W):
        near = _mod("e", tile.LM * W, tile.BN)
        parts.append(_STORE.format(
            **common, half=half, step=tile.threads * W, e_column=_mod("e", tile.BN),
            e_row=f"{_div('e', tile.BN * tile.LM * W)} * {rows} + {near} + {p * tile.LM * W}",
            spill=_indent(_spill(tile, W, p, rows), 4),
            finished=", ".join(f"finish(v[{j}], o[{j}], fresh, final, bias, c + {j})" for j in range(W)),
        ))  # fmt: skip
    text = _BODY.format(
        **common,
        row=f"{_mod('t', WM, 32)} * {rows} + {_div(_mod('t', 32), tile.LN)} * {W}",
        column=f"{_div('t', 32 * WM)} * {cols} + {_mod('t', tile.LN)} * {W}",
        setup=_indent([*x.setup(), *y.setup()], 4),
        fetch_first=_indent([*x.fetch(), *y.fetch()], 4),
        stash_first=_indent([*x.stash(), *y.stash()], 4),
        fetch=_indent([*x.fetch(), *y.fetch()], 8),
        stash=_indent([*x.stash(), *y.stash()], 8),
        steps=_indent(_steps(tile, W, XS // tile.BK, YS // tile.BK), 8),
        advance=_indent([*x.advance("x_step"), *y.advance("y_step")], 8),
        store="".join(parts),
    )
    return text, max(2 * (XS + YS), half)


def _steps(tile: Tile, W: int, x_row: int, y_row: int) -> list[str]:
    """The multiply-adds of a panel, step by step."""
    lines = []
    for k in range(tile.BK):
        parts = {}
        for name, row, across, T in (
            ("x", x_row, tile.LM, tile.TM), ("y", y_row, tile.LN, tile.TN),
        ):  # fmt: skip
            names = []
            for p in range(T // W):
                lines.append(f"{name}f{p} = fragment(panels, {name}_from + {k * row + p * across * W})")
                names += [f"{name}f{p}[{j}]" for j in range(W)]
            parts[name] = ", ".join(names)
        lines.append(f"totals = outer(totals, ({parts['x']},), ({parts['y']},))")
    return lines


def _spill(tile: Tile, W: int, p: int, rows: int) -> list[str]:
    """Totals of row part ``p`` to shared memory, where whole rows of the result come together."""
    WM = max(1, tile.BM // rows)
    lines = [
        f"down = {_mod('u', WM, 32)} * {tile.LM * W} + {_div(_mod('u', 32), tile.LN)} * {W}",
        f"across = {_div('u', 32 * WM)} * {tile.LN * tile.TN} + {_mod('u', tile.LN)} * {W}",
        f"held = down * {tile.BN} + across",
    ]
    for j in range(W):
        for q in range(tile.TN // W):
            values = ", ".join(f"totals[{(p * W + j) * tile.TN + q * W + i}]" for i in range(W))
            lines.append(f"spill(panels, held + {j * tile.BN + q * tile.LN * W}, ({values},))")
    return lines


@kernel
def vectors(dtype: str, lanes: int, vector: int, dims: int) -> Source:
    """``out[m] = sum over k of x[m, k] v[k]`` for a batch, ``lanes`` threads to a row.

    Parameters: addresses of x, v, out and bias (or 0), rows in all, M, K, the strides of x (rows,
    k), of v and of out, then the batch as three blocks of ``dims`` dimensions.
    """
    T = np.dtype(dtype).type
    A = T if np.dtype(dtype).kind == "f" else np.int64
    fold = tree(add, np.dtype(A).name, lanes)
    x_offset, v_offset = offset_of(dims, 0), offset_of(dims, PER_AXIS * dims)
    out_offset = offset_of(dims, 2 * PER_AXIS * dims)
    load, V, size = load_vector(vector), vector, np.dtype(dtype).itemsize
    threads = max(lanes, 128)
    groups = threads // lanes

    @inline
    def times_vector(x_address, v_address, out_address, bias, rows, M, K, xm, xk, vk, om, t):  # type: ignore[no-untyped-def]
        lane = thread() % lanes
        r = block() * groups + thread() // lanes
        active = r < rows
        item = r // M if active else 0
        m = r - item * M if active else 0
        x_start = x_address + size * (x_offset(item, t) + m * xm)
        v_start = v_address + size * v_offset(item, t)
        x, v = pointer(x_start, T), pointer(v_start, T)
        a0 = a1 = a2 = a3 = A(0)
        end = K if active else 0
        if V > 1 and ((x_start | v_start) & (V * size - 1)) == 0:
            k = lane * V
            while k + V <= end:
                p, q = load(x, k), load(v, k)
                a0 += p[0] * q[0]
                a1 += p[1 % V] * q[1 % V]
                if V > 2:
                    a2 += p[2 % V] * q[2 % V]
                    a3 += p[3 % V] * q[3 % V]
                k += lanes * V
            while k < end:
                a0 += A(x[k]) * A(v[k])
                k += 1
        else:
            k = lane
            while k + 3 * lanes < end:
                a0 += A(x[k * xk]) * A(v[k * vk])
                a1 += A(x[(k + lanes) * xk]) * A(v[(k + lanes) * vk])
                a2 += A(x[(k + 2 * lanes) * xk]) * A(v[(k + 2 * lanes) * vk])
                a3 += A(x[(k + 3 * lanes) * xk]) * A(v[(k + 3 * lanes) * vk])
                k += 4 * lanes
            while k < end:
                a0 += A(x[k * xk]) * A(v[k * vk])
                k += lanes
        total = fold((a0 + a1) + (a2 + a3))
        if active and lane == 0:
            if bias != 0:
                total += A(pointer(bias, T)[0])
            pointer(out_address, T)[out_offset(item, t) + m * om] = T(total)

    count = 3 * PER_AXIS * dims
    return Source(spread(times_vector, 11, count), "i" * (11 + count), threads)


@kernel
def tall_vectors(dtype: str, dims: int) -> Source:
    """:func:`vectors` where the rows of x are neighbours in memory, not its columns.

    A block has 32 rows and 8 threads for each; the grid's second index is the item of the batch.
    """
    T = np.dtype(dtype).type
    A = T if np.dtype(dtype).kind == "f" else np.int64
    x_offset, v_offset = offset_of(dims, 0), offset_of(dims, PER_AXIS * dims)
    out_offset = offset_of(dims, 2 * PER_AXIS * dims)
    parts = shared(np.dtype(A).name, 8 * WARP, "rows")

    @inline
    def times_vector(x_address, v_address, out_address, bias, rows, M, K, xm, xk, vk, om, t):  # type: ignore[no-untyped-def]
        lane, part = thread() % 32, thread() // 32
        m, item = block() * 32 + lane, block_y()
        x, v = pointer(x_address, T), pointer(v_address, T)
        x_at, v_at = x_offset(item, t) + m * xm, v_offset(item, t)
        a0 = a1 = a2 = a3 = A(0)
        end = K if m < M else 0
        k = part
        while k + 24 < end:
            a0 += A(x[x_at + k * xk]) * A(v[v_at + k * vk])
            a1 += A(x[x_at + (k + 8) * xk]) * A(v[v_at + (k + 8) * vk])
            a2 += A(x[x_at + (k + 16) * xk]) * A(v[v_at + (k + 16) * vk])
            a3 += A(x[x_at + (k + 24) * xk]) * A(v[v_at + (k + 24) * vk])
            k += 32
        while k < end:
            a0 += A(x[x_at + k * xk]) * A(v[v_at + k * vk])
            k += 8
        held = parts()
        held[thread()] = (a0 + a1) + (a2 + a3)
        barrier()
        if part == 0 and m < M:
            total = held[lane]
            for j in range(1, 8):
                total += held[j * 32 + lane]
            if bias != 0:
                total += A(pointer(bias, T)[0])
            pointer(out_address, T)[out_offset(item, t) + m * om] = T(total)

    count = 3 * PER_AXIS * dims
    return Source(spread(times_vector, 11, count), "i" * (11 + count), 256)


@kernel
def add_chunks(dtype: str, biased: bool) -> Source:
    """``out = chunk 0 + chunk 1 + …`` in order, then the bias: the second stage of a split K.

    Parameters: parts, out, bias, elements, N, chunks, whether to start from what ``out`` holds.
    """
    T = np.dtype(dtype).type
    A = T if np.dtype(dtype).kind == "f" else np.int64

    def sum_chunks_body(parts, out, bias, total, N, chunks, accumulate):  # type: ignore[no-untyped-def]
        i = block() * 256 + thread()
        if i < total:
            source, target = pointer(parts, T), pointer(out, T)
            a = A(source[i])
            if accumulate:
                a = A(target[i]) + a
            for c in range(1, chunks):
                a = a + A(source[c * total + i])
            if biased:
                a = a + A(pointer(bias, T)[i % N])
            target[i] = T(a)

    return Source(sum_chunks_body, "i" * 7)
