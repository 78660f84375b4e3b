"""The tiled GEMM: tile iterators, main loop and epilogue of every kernel that multiplies matrices.

A block computes a tile of ``out[m, n] = sum over k of x[m, k] y[k, n]``. Tiles of x and y, 8 or 16
steps of k deep, go through registers to one half of a double buffer in shared memory while the other
half is multiplied. A warp covers ``LM`` by ``LN`` threads' tiles, so that its loads from shared memory
are broadcasts or 128 consecutive bytes. A :class:`TileIterator` says where the elements of x and y
are: strides for a matrix product, windows over an image for a convolution (implicit GEMM).

Every element is a chain of fused multiply-adds over k in order, whatever the tile, cut every ``chunk``
steps. The epilogue brings whole rows of the accumulators together in shared memory, adds the bias,
applies the activation and stores 16 bytes at a time.

Source: Volkov and Demmel, Benchmarking GPUs to Tune Dense Linear Algebra (2008), for register
tiles; the names, and staging through registers, are those of CUTLASS's SIMT kernels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tilegrad.kernels import dtypes
from tilegrad.kernels.cuda.device.ptx import (
    barrier,
    block,
    block_y,
    load_vector,
    multiply_wide,
    pointer,
    shared,
    store_vector,
    thread,
)
from tilegrad.kernels.cuda.device.registers import as_int32, opaque, outer_product, zeros
from tilegrad.kernels.cuda.device.shapes import Tile
from tilegrad.kernels.cuda.parts.strided import PER_AXIS, offset_of, unpack_params
from tilegrad.kernels.cuda.run.jit import Source
from tilegrad.kernels.function import DeviceFunction, function_from_source, inline
from tilegrad.kernels.source import indented

PAD = 4  # elements between rows in shared memory: a transposing store then has 2 bank conflicts, not 4


class Gemm(NamedTuple):
    """What every product takes after the addresses of x, y, out and bias.

    Attributes:
        parts: the distance between results where chunks of k are blocks of their own (the grid's second
            index), else 0.
        fresh: whether out is overwritten, else added to.
        final: whether this launch applies bias and activation.
        begin, chunk: the first step of k; steps of a chunk.
        M, N, K: rows, columns, steps of k.
        os_row: elements between rows of out.
        out_whole: whether its columns come in whole vectors.
        tiles_m, tiles_n: tiles down and across.
    """

    parts: int
    fresh: int
    final: int
    begin: int
    chunk: int
    M: int
    N: int
    K: int
    os_row: int
    out_whole: int
    tiles_m: int
    tiles_n: int


class TileIterator:
    """Loads the tiles of x or y: ``L`` rows (or columns) of the result by ``BK`` steps of k.

    A thread moves ``count`` vectors of ``V`` elements, neighbouring threads neighbouring vectors in
    the direction ``along``: "k" or "lane". Rows beyond the matrix are clamped to its last ones, and
    their results are not stored. Subclasses say where elements are; they write source text in which
    their own parameters are named ``<x or y>_<name>`` for the ``names`` they declare.
    """

    names: tuple[str, ...] = ()

    def __init__(self, name: str, tile: Tile, along: str, V: int, size: int):
        self.name, self.along, self.V, self.size = name, along, V, size
        self.L = tile.BM if name == "x" else tile.BN
        self.BK, self.threads = tile.BK, tile.threads
        self.extent = "M" if name == "x" else "N"
        self.row = self.L + PAD  # elements between the steps of k in shared memory
        self.half = self.BK * self.row
        self.start = 0 if name == "x" else 2 * tile.BK * (tile.BM + PAD)
        vectors = self.L * self.BK // V
        self.count = max(1, vectors // self.threads)
        self.guard = f"t < {vectors}" if vectors < self.threads else ""
        across = (self.L if along == "lane" else self.BK) // V
        self.across = across  # vectors side by side in the faster direction
        self.shares = max(1, across // self.threads)  # of a thread, in one row of that direction
        self.jump = max(1, self.threads // across)  # rows of the slower direction between others

    def vector_offset(self, i: int) -> tuple[int, int]:
        """(fast, slow): the offset of a thread's vector ``i`` from its first one."""
        return i % self.shares * self.threads * self.V, i // self.shares * self.jump

    def lane(self, i: int) -> str:
        """The row or column of the result that vector ``i`` begins in."""
        n = self.name
        if self.along == "lane":
            return f"min({n}0 + {n}_fast + {self.vector_offset(i)[0]}, {self.extent} - {self.V})"
        return f"min({n}0 + {n}_slow + {self.vector_offset(i)[1]}, {self.extent} - 1)"

    def depth(self, i: int) -> str:
        """The step of k, within the tile, that vector ``i`` begins at."""
        n = self.name
        return f"{n}_slow + {self.vector_offset(i)[1]}" if self.along == "lane" else f"{n}_fast"

    def setup(self) -> list[str]:
        """Statements before the main loop."""
        n = self.name
        fast, slow = div("t", self.across), mod("t", self.across)
        put = f"{n}_slow * {self.row} + {n}_fast"
        if self.along == "k":
            put = f"{n}_fast * {self.row} + {n}_slow"
        return [
            f"{n}_fast, {n}_slow = i32({slow} * {self.V}), i32({fast})",
            f"{n}_put = i32({self.start} + {put})",
            *self.begin(),
        ]

    def load_global(self) -> list[str]:
        """Load the vectors of the next tile from global memory; zero from the end of k on."""
        n = self.name
        zero = "zero" if self.V == 1 else "(" + "zero, " * self.V + ")"
        lines = self.prepare()
        for i in range(self.count):
            value, inside = self.value(i)
            conditions = [c for c in (self.guard, f"{self.depth(i)} < left", inside) if c]
            lines += self.locate(i)
            lines.append(f"{n}v{i} = {value} if {' and '.join(conditions)} else {zero}")
        return lines

    def store_shared(self) -> list[str]:
        """Store the vectors in shared memory, in half ``to`` (0 or 1) of the double buffer."""
        n, lines = self.name, []
        for i in range(self.count):
            fast, slow = self.vector_offset(i)
            extra = fast + slow * self.row if self.along == "lane" else slow
            at = f"{n}_put + to * {self.half} + {extra}"
            if self.V == 1:
                lines.append(f"smem[{at}] = {n}v{i}")
            elif self.along == "lane":
                lines.append(f"store_{n}(smem, {at}, {n}v{i})")
            else:
                lines += [f"smem[{at} + {j * self.row}] = {n}v{i}[{j}]" for j in range(self.V)]
        return [f"if {self.guard}:", *("    " + x for x in lines)] if self.guard else lines

    def begin(self) -> list[str]:
        """Statements before the first tile."""
        raise NotImplementedError

    def advance(self) -> list[str]:
        """Statements from a tile to the next."""
        raise NotImplementedError

    def prepare(self) -> list[str]:
        """Statements before the loads of a tile."""
        return []

    def locate(self, i: int) -> list[str]:
        """Statements before the load of vector ``i``."""
        return []

    def value(self, i: int) -> tuple[str, str]:
        """(the expression that loads vector ``i``, the condition that it exists, or nothing)."""
        raise NotImplementedError

    def load(self, address: str, index: str = "0") -> str:
        """The expression for a vector of elements ``index`` … from ``address`` on."""
        if self.V == 1:
            return f"A(pointer({address}, T)[{index}])"
        return f"load_{self.name}(pointer({address}, T), {index})"


class StridedIterator(TileIterator):
    """A matrix with any two strides. Addresses are advanced from tile to tile."""

    names = ("s_lane", "s_k", "step")  # strides; bytes from a tile to the next

    def _addresses(self) -> int:
        return self.shares if self.along == "lane" else self.count

    def begin(self) -> list[str]:
        n = self.name
        k = f"{n}_slow" if self.along == "lane" else f"{n}_fast"
        return [
            f"{n}_at{i} = {n}_address + {self.size} * ({n}_offset(item, params) + "
            f"{self.lane(i)} * {n}_s_lane + (first + {k}) * {n}_s_k)"
            for i in range(self._addresses())
        ]

    def advance(self) -> list[str]:
        return [f"{self.name}_at{i} += {self.name}_step" for i in range(self._addresses())]

    def value(self, i: int) -> tuple[str, str]:
        n, slow = self.name, self.vector_offset(i)[1]
        if self.along == "k":
            return self.load(f"{n}_at{i}"), ""
        extra = f" + {self.size * slow} * {n}_s_k" if slow else ""
        return self.load(f"{n}_at{i % self.shares}{extra}"), ""


_BODY = """
def multiply(x_address, y_address, out_address, bias_address, p, params):
    M, N, K, chunk, tiles_m, tiles_n = p.M, p.N, p.K, p.chunk, p.tiles_m, p.tiles_n
    fresh, final = p.fresh, p.final
    t = i32(thread())
    per_item = tiles_m * tiles_n
    item = block() // per_item
    tile = block() - item * per_item
    group = tile // ({GROUP_M} * tiles_n)
    group_rows = min({GROUP_M}, tiles_m - group * {GROUP_M})
    rest = tile - group * {GROUP_M} * tiles_n
    x0 = i32((group * {GROUP_M} + rest % group_rows) * {BM})
    y0 = i32(rest // group_rows * {BN})
    tile_origin = origin_memory()  # in shared memory: the epilogue needs it, the main loop has no registers for it
    if t == 0:
        tile_origin[0], tile_origin[1], tile_origin[2] = item, x0, y0
    zero = A(0)
    first = i32(p.begin + block_y() * chunk)
    left = i32(min(K - first, chunk))  # steps of k that are not in registers yet
{setup}
    row, column = i32({row}), i32({column})
    smem = shared_memory()
    accumulators = zeros()
    to = i32(0)
{load_first}
{store_first}
    barrier()
    while left > 0:
        left = i32(left - {BK})
{advance}
{load_global}
        x_from = row + to * {XS}
        y_from = {Y0} + column + to * {YS}
{fma_steps}
        to = i32(1 - to)
{store_shared}
        barrier()
    u = opaque(t)  # keeps what follows, the epilogue, out of the registers of the main loop
    out = pointer(out_address + {size} * out_offset(tile_origin[0], params), T)
    bias = pointer(bias_address + {size} * {bias_item}, T)
    whole = p.out_whole != 0 and (out_address & {mask}) == 0
{epilogue}
"""

_EPILOGUE = """
{store_fragment}
    barrier()
    e = u * {W}
    while e < {half}:
        r = tile_origin[1] + {e_row}
        c = tile_origin[2] + {e_column}
        if r < M and c < N:
            if whole:
                at = block_y() * p.parts + r * p.os_row + column_place(c, params)
                v = load_fragment(smem, e)
                o = empty if fresh else load_out(out, at)
                store_out(out, at, ({finished},))
            else:
                for j in range(min({W}, N - c)):
                    at = block_y() * p.parts + r * p.os_row + column_place(c + j, params)
                    o = T(0) if fresh else out[at]
                    out[at] = finish(smem[e + j], o, fresh, final, bias, {bias_index_j})
        e += {step}
    barrier()
"""


def div(number: str, by: int) -> str:
    """``number // by`` for a power of two, which a shift does without asking for signs."""
    return f"({number} >> {by.bit_length() - 1})" if by > 1 else number


def mod(number: str, by: int, of: int = 1) -> str:
    """``number // of % by`` for powers of two."""
    return f"({div(number, of)} & {by - 1})" if by > 1 else "0"


@inline
def itself(c, params):
    """Columns of a matrix are neighbours."""
    return c


def multiply(
    dtype: str, tile: Tile, x: TileIterator, y: TileIterator, dims: int, *, biased: str = "",
    activation: DeviceFunction | None = None, column_place: DeviceFunction = itself,
    more: int = 0, per_sm: int | None = None,
) -> Source:  # fmt: skip
    """The kernel ``out = activation(x @ y + bias)`` over tiles.

    Its parameters are addresses of x, y, out and bias, :class:`Gemm`, then the batch as three blocks of
    ``dims`` dimensions, the parameters of the iterators, and ``more``.

    Args:
        biased: a bias per "row" or per "column" of the result.
        column_place: where a column lies in a row of out, from the parameters as well.
    """
    T = np.dtype(dtype).type
    A = np.dtype(dtypes.row(dtype).short).type
    W = 16 // np.dtype(A).itemsize
    name, has_bias = np.dtype(A).name, biased != ""

    @inline
    def finish(total, old, fresh, final, bias, c):
        v = total if fresh else A(old) + total
        if has_bias:
            v = v + A(bias[c]) if final else v
        if activation is not None:
            v = activation(v) if final else v
        return T(v)

    walks = 3 * PER_AXIS * dims
    text, held = _source(tile, np.dtype(dtype).itemsize, W, x, y, walks, biased)
    scope = {
        "T": T, "A": A, "i32": as_int32, "opaque": opaque, "thread": thread, "block": block,
        "block_y": block_y, "barrier": barrier, "pointer": pointer, "outer_product": outer_product,
        "zeros": zeros(name, tile.TM * tile.TN), "load_fragment": load_vector(W),
        "store_fragment": store_vector(W), "load_out": load_vector(W), "store_out": store_vector(W),
        "empty": (T(0),) * W, "finish": finish, "column_place": column_place,
        "load_x": load_vector(x.V), "load_y": load_vector(y.V), "multiply_wide": multiply_wide,
        "store_x": store_vector(x.V), "store_y": store_vector(y.V),
        "shared_memory": shared(name, held, "smem"), "origin_memory": shared("int64", 3, "tile_origin"),
        "x_offset": offset_of(dims, 0), "y_offset": offset_of(dims, PER_AXIS * dims),
        "out_offset": offset_of(dims, 2 * PER_AXIS * dims),
    }  # fmt: skip
    body = DeviceFunction(function_from_source(text, "multiply", scope, __name__), text)
    count = walks + len(x.names) + len(y.names) + more
    limit = tile.per_sm if per_sm is None else per_sm
    signature = ("iiii", Gemm, "i" * count)
    return Source(unpack_params(body, 5, count), signature, tile.threads, limit)


def _source(
    tile: Tile, size: int, W: int, x: TileIterator, y: TileIterator, walks: int, biased: str
) -> tuple[str, int]:
    """(source of the body, elements of shared memory)."""
    rows, cols = tile.LM * tile.TM, tile.LN * tile.TN
    WM, names = max(1, tile.BM // rows), tile._asdict()
    common = {
        **{key: names[key] for key in ("BM", "BN", "BK", "GROUP_M")}, "W": W, "size": size, "mask": W * size - 1,
        "XS": x.half, "YS": y.half, "Y0": y.start,
    }  # fmt: skip
    half = tile.BM * W // tile.TM * tile.BN
    index = "r" if biased == "row" else "c"
    each = index if biased == "row" else "c + {}"
    parts = []
    for p in range(tile.TM // W):
        near = mod("e", tile.LM * W, tile.BN)
        finished = [
            f"finish(v[{j}], o[{j}], fresh, final, bias, {each.format(j)})" for j in range(W)
        ]
        parts.append(_EPILOGUE.format(
            **common, half=half, step=tile.threads * W, e_column=mod("e", tile.BN),
            e_row=f"{div('e', tile.BN * tile.LM * W)} * {rows} + {near} + {p * tile.LM * W}",
            store_fragment=indented(_store_accumulators(tile, W, p, rows), 4),
            finished=", ".join(finished), bias_index_j=each.format("j"),
        ))  # fmt: skip
    text = _BODY.format(
        **common,
        bias_item="tile_origin[0] * M" if biased == "row" else "0",
        row=f"{mod('t', WM, 32)} * {rows} + {div(mod('t', 32), tile.LN)} * {W}",
        column=f"{div('t', 32 * WM)} * {cols} + {mod('t', tile.LN)} * {W}",
        setup=indented([*_given(x, walks), *_given(y, walks + len(x.names)),
                        *x.setup(), *y.setup()], 4),
        load_first=indented([*x.load_global(), *y.load_global()], 4),
        store_first=indented([*x.store_shared(), *y.store_shared()], 4),
        load_global=indented([*x.load_global(), *y.load_global()], 8),
        store_shared=indented([*x.store_shared(), *y.store_shared()], 8),
        fma_steps=indented(_fma_steps(tile, W, x.row, y.row), 8),
        advance=indented([*x.advance(), *y.advance()], 8),
        epilogue="".join(parts),
    )  # fmt: skip
    return text, max(2 * (x.half + y.half), half)


def _given(iterator: TileIterator, first: int) -> list[str]:
    """The iterator's own parameters by name."""
    return [
        f"{iterator.name}_{name} = params[{first + k}]" for k, name in enumerate(iterator.names)
    ]


def _fma_steps(tile: Tile, W: int, x_row: int, y_row: int) -> list[str]:
    """The multiply-adds of a tile in shared memory, step by step."""
    lines = []
    for k in range(tile.BK):
        parts = {}
        for name, row, across, T in (
            ("x", x_row, tile.LM, tile.TM), ("y", y_row, tile.LN, tile.TN),
        ):  # fmt: skip
            names = []
            for p in range(T // W):
                lines.append(
                    f"{name}f{p} = load_fragment(smem, {name}_from + {k * row + p * across * W})"
                )
                names += [f"{name}f{p}[{j}]" for j in range(W)]
            parts[name] = ", ".join(names)
        lines.append(
            f"accumulators = outer_product(accumulators, ({parts['x']},), ({parts['y']},))"
        )
    return lines


def _store_accumulators(tile: Tile, W: int, p: int, rows: int) -> list[str]:
    """Store the accumulators of row part ``p`` to shared memory, which then holds whole rows of out."""
    WM = max(1, tile.BM // rows)
    lines = [
        f"down = {mod('u', WM, 32)} * {tile.LM * W} + {div(mod('u', 32), tile.LN)} * {W}",
        f"across = {div('u', 32 * WM)} * {tile.LN * tile.TN} + {mod('u', tile.LN)} * {W}",
        f"held = down * {tile.BN} + across",
    ]
    for j in range(W):
        for q in range(tile.TN // W):
            values = ", ".join(
                f"accumulators[{(p * W + j) * tile.TN + q * W + i}]" for i in range(W)
            )
            lines.append(
                f"store_fragment(smem, held + {j * tile.BN + q * tile.LN * W}, ({values},))"
            )
    return lines
