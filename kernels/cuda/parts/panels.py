"""Panels and register tiles: the frame of every kernel that multiplies matrices.

A block computes a rectangle of ``out[m, n] = sum over k of x[m, k] y[k, n]``. Panels of x and y, 8 or
16 steps of k deep, go through registers to one half of a double buffer in shared memory while the
other half is multiplied. A warp covers ``LM`` by ``LN`` threads' rectangles, so that its reads of a
panel are broadcasts or 128 consecutive bytes. Where the elements of x and y lie is up to their
:class:`Panel`: strides for a matrix product, windows over an image for a convolution.

Every element is a chain of fused multiply-adds over k in order, whatever the tile, cut every ``chunk``
steps. The totals come together in shared memory, whose rows go out 16 bytes at a time.

Source: Volkov and Demmel, Benchmarking GPUs to Tune Dense Linear Algebra (2008), for register
tiles; staging through registers is how CUTLASS's SIMT kernels do it.
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
from tilegrad.kernels.cuda.device.registers import narrow, opaque, outer, zeros
from tilegrad.kernels.cuda.parts.strided import PER_AXIS, offset_of, spread
from tilegrad.kernels.cuda.run.jit import Source
from tilegrad.kernels.function import DeviceFunction, function_from_source, inline

GROUP = 8  # rows of tiles that are walked together, so that they share y in the L2 cache
PAD = 4  # elements between rows of a panel: a transposing store then hits a bank twice, not 4 times
FIXED = 16  # parameters that every kernel has


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


class Panel:
    """How panels of x or y are read: ``L`` rows (or columns) of the result by ``BK`` steps of k.

    A thread moves ``count`` vectors of ``V`` elements, neighbouring threads neighbouring vectors in
    the direction ``along``: "k" or "lane". Rows beyond the matrix are read from its last ones: what
    comes of them is not stored. Subclasses say where elements lie; they write source text in which
    their own parameters are named ``<x or y>_<name>`` for the ``names`` they declare.
    """

    names: tuple[str, ...] = ()

    def __init__(self, name: str, tile: Tile, along: str, V: int, size: int):
        self.name, self.along, self.V, self.size = name, along, V, size
        self.L = tile.BM if name == "x" else tile.BN
        self.BK, self.threads = tile.BK, tile.threads
        self.extent = "M" if name == "x" else "N"
        self.row = self.L + PAD  # elements between the steps of a panel
        self.half = self.BK * self.row
        self.start = 0 if name == "x" else 2 * tile.BK * (tile.BM + PAD)
        vectors = self.L * self.BK // V
        self.count = max(1, vectors // self.threads)
        self.guard = f"t < {vectors}" if vectors < self.threads else ""
        across = (self.L if along == "lane" else self.BK) // V
        self.across = across  # vectors side by side in the faster direction
        self.shares = max(1, across // self.threads)  # of a thread, in one row of that direction
        self.jump = max(1, self.threads // across)  # rows of the slower direction between others

    def spot(self, i: int) -> tuple[int, int]:
        """(fast, slow): how far vector ``i`` of a thread lies from its first one."""
        return i % self.shares * self.threads * self.V, i // self.shares * self.jump

    def lane(self, i: int) -> str:
        """The row or column of the result that vector ``i`` begins in."""
        n = self.name
        if self.along == "lane":
            return f"min({n}0 + {n}_fast + {self.spot(i)[0]}, {self.extent} - {self.V})"
        return f"min({n}0 + {n}_slow + {self.spot(i)[1]}, {self.extent} - 1)"

    def depth(self, i: int) -> str:
        """The step of k, within the panel, that vector ``i`` begins at."""
        n = self.name
        return f"{n}_slow + {self.spot(i)[1]}" if self.along == "lane" else f"{n}_fast"

    def setup(self) -> list[str]:
        """Everything that holds for all panels."""
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

    def fetch(self) -> list[str]:
        """Load the vectors of the next panel; zero from the end of k on."""
        n = self.name
        zero = "zero" if self.V == 1 else "(" + "zero, " * self.V + ")"
        lines = self.prepare()
        for i in range(self.count):
            value, inside = self.value(i)
            conditions = [c for c in (self.guard, f"{self.depth(i)} < left", inside) if c]
            lines += self.locate(i)
            lines.append(f"{n}v{i} = {value} if {' and '.join(conditions)} else {zero}")
        return lines

    def stash(self) -> list[str]:
        """Store the vectors in the half of the buffer that ``to`` says (0 or 1)."""
        n, lines = self.name, []
        for i in range(self.count):
            fast, slow = self.spot(i)
            further = fast + slow * self.row if self.along == "lane" else slow
            at = f"{n}_put + to * {self.half} + {further}"
            if self.V == 1:
                lines.append(f"panels[{at}] = {n}v{i}")
            elif self.along == "lane":
                lines.append(f"store_{n}(panels, {at}, {n}v{i})")
            else:
                lines += [f"panels[{at} + {j * self.row}] = {n}v{i}[{j}]" for j in range(self.V)]
        return [f"if {self.guard}:", *("    " + x for x in lines)] if self.guard else lines

    def begin(self) -> list[str]:
        """Statements before the first panel."""
        raise NotImplementedError

    def advance(self) -> list[str]:
        """Statements from a panel to the next."""
        raise NotImplementedError

    def prepare(self) -> list[str]:
        """Statements before the loads of a panel."""
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


class Strided(Panel):
    """A matrix with any two strides. Addresses move on from panel to panel."""

    names = ("s_lane", "s_k", "step")  # strides; bytes from a panel to the next

    def _places(self) -> int:
        return self.shares if self.along == "lane" else self.count

    def begin(self) -> list[str]:
        n = self.name
        k = f"{n}_slow" if self.along == "lane" else f"{n}_fast"
        return [
            f"{n}_at{i} = {n}_address + {self.size} * ({n}_offset(item, numbers) + "
            f"{self.lane(i)} * {n}_s_lane + (first + {k}) * {n}_s_k)"
            for i in range(self._places())
        ]

    def advance(self) -> list[str]:
        return [f"{self.name}_at{i} += {self.name}_step" for i in range(self._places())]

    def value(self, i: int) -> tuple[str, str]:
        n, slow = self.name, self.spot(i)[1]
        if self.along == "k":
            return self.load(f"{n}_at{i}"), ""
        further = f" + {self.size * slow} * {n}_s_k" if slow else ""
        return self.load(f"{n}_at{i % self.shares}{further}"), ""


_BODY = """
def multiply(x_address, y_address, out_address, bias_address, parts, fresh, final, begin, chunk,
             M, N, K, os_row, out_whole, tiles_m, tiles_n, numbers):
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
    first = i32(begin + block_y() * chunk)
    left = i32(min(K - first, chunk))  # steps of k that are not in registers yet
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
    bias = pointer(bias_address + {size} * {bias_item}, T)
    whole = out_whole != 0 and (out_address & {mask}) == 0
{store}
"""

_STORE = """
{spill}
    barrier()
    e = u * {W}
    while e < {half}:
        r = corner[1] + {e_row}
        c = corner[2] + {e_column}
        if r < M and c < N:
            if whole:
                at = block_y() * parts + r * os_row + column_place(c, numbers)
                v = fragment(panels, e)
                o = empty if fresh else load_out(out, at)
                store_out(out, at, ({finished},))
            else:
                for j in range(min({W}, N - c)):
                    at = block_y() * parts + r * os_row + column_place(c + j, numbers)
                    o = T(0) if fresh else out[at]
                    out[at] = finish(panels[e + j], o, fresh, final, bias, {bias_index_j})
        e += {step}
    barrier()
"""


def div(number: str, by: int) -> str:
    """``number // by`` for a power of two, which a shift does without asking for signs."""
    return f"({number} >> {by.bit_length() - 1})" if by > 1 else number


def mod(number: str, by: int, of: int = 1) -> str:
    """``number // of % by`` for powers of two."""
    return f"({div(number, of)} & {by - 1})" if by > 1 else "0"


def indented(lines: list[str], depth: int) -> str:
    """Lines of source text at a depth."""
    return "\n".join(" " * depth + line for line in lines)


@inline
def itself(c, numbers):
    """Columns of a matrix are neighbours."""
    return c


def multiply(
    dtype: str, tile: Tile, x: Panel, y: Panel, dims: int, *, biased: str = "",
    activation: DeviceFunction | None = None, column_place: DeviceFunction = itself,
    more: int = 0, per_sm: int | None = None,
) -> Source:  # fmt: skip
    """The kernel ``out = activation(x @ y + bias)`` over panels.

    Its parameters are addresses of x, y, out and bias; 0 or, where chunks of k are blocks of their
    own (the grid's second index), the distance between their results; whether out is overwritten
    (else added to); whether bias and activation are due; the first step of k; steps of a chunk; M, N, K; elements between
    rows of out; whether its columns come in whole vectors; tiles down and across; then the batch as
    three blocks of ``dims`` dimensions, the parameters of the panels, and ``more``.

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
        "T": T, "A": A, "i32": narrow, "opaque": opaque, "thread": thread, "block": block,
        "block_y": block_y, "barrier": barrier, "pointer": pointer, "outer": outer,
        "zeros": zeros(name, tile.TM * tile.TN), "fragment": load_vector(W),
        "spill": store_vector(W), "load_out": load_vector(W), "store_out": store_vector(W),
        "empty": (T(0),) * W, "finish": finish, "column_place": column_place,
        "load_x": load_vector(x.V), "load_y": load_vector(y.V), "multiply_wide": multiply_wide,
        "store_x": store_vector(x.V), "store_y": store_vector(y.V),
        "memory": shared(name, held, "panels"), "place": shared("int64", 3, "corner"),
        "x_offset": offset_of(dims, 0), "y_offset": offset_of(dims, PER_AXIS * dims),
        "out_offset": offset_of(dims, 2 * PER_AXIS * dims),
    }  # fmt: skip
    body = DeviceFunction(function_from_source(text, "multiply", scope, __name__), text)
    count = walks + len(x.names) + len(y.names) + more
    limit = tile.per_sm if per_sm is None else per_sm
    return Source(spread(body, FIXED, count), "i" * (FIXED + count), tile.threads, limit)


def _source(
    tile: Tile, size: int, W: int, x: Panel, y: Panel, walks: int, biased: str
) -> tuple[str, int]:
    """(source of the body, elements of shared memory)."""
    rows, cols = tile.LM * tile.TM, tile.LN * tile.TN
    WM, names = max(1, tile.BM // rows), tile._asdict()
    common = {
        **{key: names[key] for key in ("BM", "BN", "BK")},
        "GROUP": GROUP, "W": W, "size": size, "mask": W * size - 1,
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
        parts.append(_STORE.format(
            **common, half=half, step=tile.threads * W, e_column=mod("e", tile.BN),
            e_row=f"{div('e', tile.BN * tile.LM * W)} * {rows} + {near} + {p * tile.LM * W}",
            spill=indented(_spill(tile, W, p, rows), 4),
            finished=", ".join(finished), bias_index_j=each.format("j"),
        ))  # fmt: skip
    text = _BODY.format(
        **common,
        bias_item="corner[0] * M" if biased == "row" else "0",
        row=f"{mod('t', WM, 32)} * {rows} + {div(mod('t', 32), tile.LN)} * {W}",
        column=f"{div('t', 32 * WM)} * {cols} + {mod('t', tile.LN)} * {W}",
        setup=indented([*_given(x, walks), *_given(y, walks + len(x.names)),
                        *x.setup(), *y.setup()], 4),
        fetch_first=indented([*x.fetch(), *y.fetch()], 4),
        stash_first=indented([*x.stash(), *y.stash()], 4),
        fetch=indented([*x.fetch(), *y.fetch()], 8),
        stash=indented([*x.stash(), *y.stash()], 8),
        steps=indented(_steps(tile, W, x.row, y.row), 8),
        advance=indented([*x.advance(), *y.advance()], 8),
        store="".join(parts),
    )  # fmt: skip
    return text, max(2 * (x.half + y.half), half)


def _given(panel: Panel, first: int) -> list[str]:
    """The panel's own parameters by name."""
    return [f"{panel.name}_{name} = numbers[{first + k}]" for k, name in enumerate(panel.names)]


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
                lines.append(
                    f"{name}f{p} = fragment(panels, {name}_from + {k * row + p * across * W})"
                )
                names += [f"{name}f{p}[{j}]" for j in range(W)]
            parts[name] = ", ".join(names)
        lines.append(f"totals = outer(totals, ({parts['x']},), ({parts['y']},))")
    return lines


def _spill(tile: Tile, W: int, p: int, rows: int) -> list[str]:
    """Totals of row part ``p`` to shared memory, where whole rows of the result come together."""
    WM = max(1, tile.BM // rows)
    lines = [
        f"down = {mod('u', WM, 32)} * {tile.LM * W} + {div(mod('u', 32), tile.LN)} * {W}",
        f"across = {div('u', 32 * WM)} * {tile.LN * tile.TN} + {mod('u', tile.LN)} * {W}",
        f"held = down * {tile.BN} + across",
    ]
    for j in range(W):
        for q in range(tile.TN // W):
            values = ", ".join(f"totals[{(p * W + j) * tile.TN + q * W + i}]" for i in range(W))
            lines.append(f"spill(panels, held + {j * tile.BN + q * tile.LN * W}, ({values},))")
    return lines
