"""Row layouts: which thread keeps which elements of a row in registers.

A *row* is the ``n`` elements of one reduction: a row, a column or a channel of an array. Either
neighbouring threads have neighbouring elements of a row, or, in columns, neighbouring rows. A thread's
elements are a tuple: ``vectors`` groups of ``V`` adjacent elements. The functions made here take and
return such tuples, written out element by element. A row longer than its threads can keep is read
in tiles.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.cuda.device.ptx import (
    WARP,
    barrier,
    block,
    instruction,
    load_vector,
    shared,
    store_vector,
    thread,
)
from tilegrad.kernels.cuda.device.shapes import Bounds
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce
from tilegrad.kernels.cuda.parts.strided import index_params, offset_of
from tilegrad.kernels.cuda.tuning import Rows
from tilegrad.kernels.formulas.primitives import select
from tilegrad.kernels.function import DeviceFunction, inline
from tilegrad.kernels.source import device_function, tuple_of


class RowLayout(NamedTuple):
    """The thread map of a block: how threads are distributed over rows.

    Attributes:
        columns: whether neighbouring threads have neighbouring rows.
        lanes: threads of a row, a power of 2.
        vectors: groups of elements that each of them keeps.
        V: elements of a group.
        bounds: of a block.
    """

    columns: bool
    lanes: int
    vectors: int
    V: int
    bounds: Bounds

    def __str__(self) -> str:
        return f"{'c' if self.columns else 'r'}{self.lanes}x{self.vectors}x{self.V}"

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.bounds.threads

    @property
    def rows(self) -> int:
        """Rows of a block."""
        return self.threads // self.lanes

    @property
    def slots(self) -> int:
        """Elements of a thread."""
        return self.vectors * self.V

    @property
    def tile(self) -> int:
        """Elements of a row that its threads keep at a time."""
        return self.lanes * self.slots

    def blocks(self, rows: int) -> int:
        """The number of blocks for ``rows`` rows."""
        return -(-rows // self.rows)


def vector(dtype: str, *sizes: int) -> int:
    """Elements that move together: 16 bytes of them, if they divide all of ``sizes``."""
    V = 16 // np.dtype(dtype).itemsize
    return 1 if any(n % V for n in sizes) else V


def layout_of(chosen: Rows, columns: bool, lanes: int, vectors: int, V: int) -> RowLayout:
    """The layout with so many threads to a row."""
    threads = max(chosen.threads, lanes)
    bounds = Bounds(threads, chosen.resident // threads)
    return RowLayout(columns, lanes, vectors, V, bounds)


def row_layout(chosen: Rows, n: int, V: int, most: int, columns: bool = False) -> RowLayout:
    """The layout for rows of ``n`` elements, with at most ``most`` to a thread: half of that unless
    they move in vectors within a warp, a quarter in columns, as their addresses take registers too.

    Its tile is smaller than ``n`` where a row does not fit.
    """
    least = chosen.least
    counts = [k for k in (least, 2 * least, 4 * least, 8 * least) if k <= most]
    few = [k for k in counts if k <= max(most // (4 if columns else 2), least)]
    if columns:
        options = [(lanes, least) for lanes in (1, 2, 4)]
        options += [(lanes, k) for lanes in (8, WARP) for k in few]
    else:
        options = [(lanes, least) for lanes in (4, 8, 16)]
        options += [(WARP, k) for k in (counts if V > 1 else few)]
        options += [(lanes, k) for lanes in (chosen.threads, chosen.resident) for k in few]
    made = [layout_of(chosen, columns, lanes, -(-k // V), V) for lanes, k in options]
    return next((s for s in made if s.tile >= n), made[-1])


class RowGeometry(NamedTuple):
    """How rows lie in memory, and the layout of the threads over them.

    Attributes:
        layout: the threads.
        rows: how many.
        n: elements of a row.
        step: elements from the start of a row to that of the next.
        runs: whether a row is several runs of elements.
        t: index parameters of a row's groups; see :func:`place_of`.
    """

    layout: RowLayout
    rows: int
    n: int
    step: int
    runs: bool = False
    t: tuple[int, ...] = ()

    @property
    def groups(self) -> int:
        """Groups of a row."""
        return self.n // self.layout.V

    @property
    def tiles(self) -> int:
        """Tiles of a row."""
        return max(1, -(-self.n // self.layout.tile))


def rows_of(chosen: Rows, rows: int, n: int, V: int, most: int) -> RowGeometry:
    """Contiguous rows of ``n`` elements."""
    return RowGeometry(row_layout(chosen, n, V, most), rows, n, n)


def channels_of(chosen: Rows, N: int, C: int, S: int, dtype: str, most: int) -> RowGeometry:
    """The channels of an array (N, C, S); in columns, a thread keeps half of ``most``."""
    if S == 1:
        return RowGeometry(row_layout(chosen, N, 1, 2 * most, True), C, N, 1, False, (C,))
    V = vector(dtype, S)
    t = tuple(index_params((N, S // V), (C * S, V))) if N > 1 else ()
    return RowGeometry(row_layout(chosen, N * S, V, most), C, N * S, S, N > 1, t)


@lru_cache(maxsize=None)
def thread_map(layout: RowLayout) -> tuple[DeviceFunction, DeviceFunction]:
    """The device functions ``lane()`` and ``row()``: a thread's index within its row, and the index
    of that row in the grid.
    """
    columns, lanes, rows = layout.columns, layout.lanes, layout.rows

    @inline
    def lane():
        return thread() // rows if columns else thread() % lanes

    @inline
    def row():
        return block() * rows + (thread() % rows if columns else thread() // lanes)

    return lane, row


def reduce_row(combine: DeviceFunction, dtype: str, layout: RowLayout) -> DeviceFunction:
    """The device function ``reduce_row(a)``: the reduction over the threads of a row (a warp or
    block reduce), its result in all of them.

    All threads of the block must call it.
    """
    if not layout.columns:
        return block_reduce(combine, dtype, layout.lanes)
    lanes, rows, T = layout.lanes, layout.rows, np.dtype(dtype).type
    parts = shared(dtype, layout.threads, "reduce_row")

    @inline
    def reduce_columns(a):
        if lanes > 1:
            held = parts()
            barrier()
            held[thread()] = a
            barrier()
            column = thread() % rows
            a = held[column]
            for k in range(1, lanes):
                a = T(combine(a, held[k * rows + column]))
        return a

    return reduce_columns


# ----------------------------------------------------------------------- a thread's own elements


@lru_cache(maxsize=None)
def valid_count(layout: RowLayout) -> DeviceFunction:
    """The device function ``valid(groups, first)``: how many groups a thread has, from its group
    ``first`` on, in a row of ``groups``; it may be zero or less.
    """
    lanes, shift = layout.lanes, layout.lanes.bit_length() - 1

    @inline
    def valid(groups, first):
        return np.int32((groups - first + (lanes - 1)) >> shift)

    return valid


# hides from the compiler how a number is computed: in a loop over tiles it would otherwise keep a
# register pair for each of a thread's offsets
opaque64 = instruction("opaque64", "mov.b64 $0, $1;", "l", "l", "x", lambda x: x, effects=False)

# the offsets of a row's groups: adjacent, ``t[0]`` apart, or at ``place(group, t)``
ADJACENT, STRIDED = "adjacent", "strided"
Place = str | DeviceFunction


def _starts(layout: RowLayout, place: Place) -> tuple[list[str], list[str]]:
    """(statements, the offsets of a thread's groups) from base, first and t."""
    jumps = range(0, layout.lanes * layout.vectors, layout.lanes)
    if place == ADJACENT:
        head = [f"start = base + first * {layout.V}"]
        return head, [f"start + {jump * layout.V}" for jump in jumps]
    if place == STRIDED:
        head = ["start = base + opaque64(first) * t[0]", f"jump = {layout.lanes} * t[0]"]
        return head, [f"start + {j} * jump" for j in range(layout.vectors)]
    return [], [f"base + place(first + {jump}, t)" for jump in jumps]


def place_of(layout: RowLayout, runs: bool, wide: bool) -> Place:
    """How the offsets of a row's groups follow from the geometry's ``t``."""
    if layout.columns:
        return STRIDED
    return offset_of(2, 0, wide) if runs else ADJACENT


def loader(layout: RowLayout, place: Place, shares: bool = False) -> DeviceFunction:
    """The device function ``load(p, base, first, valid, aligned, fill, t)``.

    It loads group ``first`` and every ``lanes``-th after it, of the row that starts at ``p[base]``:
    ``valid`` groups, then ``fill``. ``aligned``: whether vector loads are allowed. ``shares``: a
    group is one element, repeated ``V`` times.
    """
    V, names = layout.V, []
    single = V == 1 or shares
    head, starts = _starts(layout, place)
    body = ["    " + line for line in head]
    for j, start in enumerate(starts):
        at, v = f"at{j}", f"v{j}"
        body.append(f"    {at} = {start}")
        if single:
            body.append(f"    {v} = p[{at}] if {j} < valid else fill")
        else:
            fills = ", ".join(["fill"] * V)
            apart = ", ".join(f"p[{at} + {k}]" for k in range(V))
            body += [
                "    if aligned:",
                f"        {v} = vector(p, {at}) if {j} < valid else ({fills})",
                "    else:",
                f"        {v} = ({apart}) if {j} < valid else ({fills})",
            ]
        names += [v if single else f"{v}[{k}]" for k in range(V)]
    lines = [
        "def load(p, base, first, valid, aligned, fill, t):",
        *body,
        f"    return {tuple_of(names)}",
    ]
    return device_function(
        "load", lines, {"place": place, "vector": load_vector(V), "opaque64": opaque64}, __name__
    )


def storer(layout: RowLayout, place: Place) -> DeviceFunction:
    """The device function ``store(p, base, first, valid, aligned, values, t)``; see
    :func:`loader`.
    """
    V = layout.V
    head, starts = _starts(layout, place)
    body = ["    " + line for line in head]
    for j, start in enumerate(starts):
        values = [f"values[{j * V + k}]" for k in range(V)]
        body += [f"    if {j} < valid:", f"        at = {start}"]
        single = [f"        p[at + {k}] = {value}" for k, value in enumerate(values)]
        if V > 1:
            body += ["        if aligned:", f"            vector(p, at, ({', '.join(values)}))"]
            body += ["        else:", *["    " + line for line in single]]
        else:
            body += single
    lines = ["def store(p, base, first, valid, aligned, values, t):", *body]
    return device_function(
        "store", lines, {"place": place, "vector": store_vector(V), "opaque64": opaque64}, __name__
    )


def map_elements(
    layout: RowLayout, formula: DeviceFunction, tuples: int, scalars: int = 0
) -> DeviceFunction:
    """The device function ``map(x, …, a, …)``: ``formula(x[i], …, a, …)`` for every element ``i``
    of ``tuples`` tuples, with further ``scalars``.
    """
    x = [f"x{k}" for k in range(tuples)]
    a = [f"a{k}" for k in range(scalars)]
    values = [
        f"formula({', '.join([f'{name}[{i}]' for name in x] + a)})" for i in range(layout.slots)
    ]
    lines = [f"def map({', '.join(x + a)}):", f"    return {tuple_of(values)}"]
    return device_function("map", lines, {"formula": formula}, __name__)


def fill_invalid(layout: RowLayout) -> DeviceFunction:
    """The device function ``fill_invalid(x, valid, fill)``: the valid elements of a tuple, ``fill``
    for the others.
    """
    values = [f"select({i // layout.V} < valid, x[{i}], fill)" for i in range(layout.slots)]
    lines = ["def fill_invalid(x, valid, fill):", f"    return {tuple_of(values)}"]
    return device_function("fill_invalid", lines, {"select": select}, __name__)


def thread_reduce(layout: RowLayout, combine: DeviceFunction) -> DeviceFunction:
    """The device function ``thread_reduce(x)``: the reduction of a thread's elements, as a tree."""
    terms = [f"x[{i}]" for i in range(layout.slots)]
    while len(terms) > 1:
        terms = [f"combine({a}, {b})" for a, b in zip(terms[::2], terms[1::2], strict=True)]
    lines = ["def thread_reduce(x):", f"    return {terms[0]}"]
    return device_function("thread_reduce", lines, {"combine": combine}, __name__)
