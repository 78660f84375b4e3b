"""Lines of an array, shared out to threads that keep them in registers.

A *line* is ``n`` elements that one number is computed from: a row, a column, a channel. Either the
threads of a line are neighbours and so are their elements, or neighbouring threads have
neighbouring lines. A thread's elements are a tuple, ``vectors`` groups of ``V`` that lie together
in memory; the functions made here take and give such tuples, written out element by element.
A line longer than its threads can keep comes in tiles.
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
from tilegrad.kernels.cuda.parts.block_reduce import block_reduce
from tilegrad.kernels.cuda.parts.strided import numbers, offset_of
from tilegrad.kernels.formulas.primitives import select
from tilegrad.kernels.function import DeviceFunction, function_from_source, inline

THREADS = 256
LEAST = 4  # elements a thread should have before a line gets more threads
RESIDENT = 1024  # threads that must fit on a multiprocessor, registers permitting


class Seating(NamedTuple):
    """How threads share lines.

    Attributes:
        columns: whether neighbouring threads have neighbouring lines.
        lanes: threads of a line, a power of 2.
        vectors: groups of elements that each of them keeps.
        V: elements of a group.
    """

    columns: bool
    lanes: int
    vectors: int
    V: int

    def __str__(self) -> str:
        return f"{'c' if self.columns else 'r'}{self.lanes}x{self.vectors}x{self.V}"

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return max(THREADS, self.lanes)

    @property
    def lines(self) -> int:
        """Lines of a block."""
        return self.threads // self.lanes

    @property
    def slots(self) -> int:
        """Elements of a thread."""
        return self.vectors * self.V

    @property
    def tile(self) -> int:
        """Elements of a line that its threads keep at a time."""
        return self.lanes * self.slots

    def blocks(self, lines: int) -> int:
        """Blocks for so many lines."""
        return -(-lines // self.lines)


def vector(dtype: str, *sizes: int) -> int:
    """Elements that move together: 16 bytes of them, if they divide all of ``sizes``."""
    V = 16 // np.dtype(dtype).itemsize
    return 1 if any(n % V for n in sizes) else V


def seating(n: int, V: int, most: int, columns: bool = False) -> Seating:
    """The seating for lines of ``n`` elements, of which a thread keeps ``most`` at most: half of
    that unless they move in vectors within a warp, a quarter in columns, for the sake of the
    registers that their addresses take.

    Its tile is smaller than ``n`` where they do not fit.
    """
    counts = [k for k in (LEAST, 8, 16, 32) if k <= most]
    few = [k for k in counts if k <= max(most // (4 if columns else 2), LEAST)]
    if columns:
        options = [(lanes, LEAST) for lanes in (1, 2, 4)]
        options += [(lanes, k) for lanes in (8, WARP) for k in few]
    else:
        options = [(lanes, LEAST) for lanes in (4, 8, 16)]
        options += [(WARP, k) for k in (counts if V > 1 else few)]
        options += [(lanes, k) for lanes in (THREADS, RESIDENT) for k in few]
    made = [Seating(columns, lanes, -(-k // V), V) for lanes, k in options]
    return next((s for s in made if s.tile >= n), made[-1])


class Form(NamedTuple):
    """How lines lie in memory, and who takes them.

    Attributes:
        seat: the threads.
        lines: how many.
        n: elements of a line.
        step: from a line's beginning to the next one's.
        runs: whether a line is several runs of elements.
        t: what finds a line's groups; see :func:`place_of`.
    """

    seat: Seating
    lines: int
    n: int
    step: int
    runs: bool = False
    t: tuple[int, ...] = ()

    @property
    def groups(self) -> int:
        """Groups of a line."""
        return self.n // self.seat.V

    @property
    def tiles(self) -> int:
        """Tiles of a line."""
        return max(1, -(-self.n // self.seat.tile))


def rows_of(lines: int, n: int, V: int, most: int) -> Form:
    """Lines of ``n`` elements that follow each other."""
    return Form(seating(n, V, most), lines, n, n)


def channels_of(N: int, C: int, S: int, dtype: str, most: int) -> Form:
    """The channels of an array (N, C, S); in columns, a thread keeps half of ``most``."""
    if S == 1:
        return Form(seating(N, 1, 2 * most, True), C, N, 1, False, (C,))
    V = vector(dtype, S)
    t = tuple(numbers((N, S // V), (C * S, V))) if N > 1 else ()
    return Form(seating(N * S, V, most), C, N * S, S, N > 1, t)


@lru_cache(maxsize=None)
def places(seat: Seating) -> tuple[DeviceFunction, DeviceFunction]:
    """The device functions ``lane()`` and ``line()``: a thread's number within its line, and the
    line's, of all blocks.
    """
    columns, lanes, lines = seat.columns, seat.lanes, seat.lines

    @inline
    def lane():
        return thread() // lines if columns else thread() % lanes

    @inline
    def line():
        return block() * lines + (thread() % lines if columns else thread() // lanes)

    return lane, line


def fold(combine: DeviceFunction, dtype: str, seat: Seating) -> DeviceFunction:
    """The device function ``fold(a)``: the combination over a line's threads, in all of them.

    All threads of the block must call it.
    """
    if not seat.columns:
        return block_reduce(combine, dtype, seat.lanes)
    lanes, lines, T = seat.lanes, seat.lines, np.dtype(dtype).type
    parts = shared(dtype, seat.threads, "fold")

    @inline
    def fold_columns(a):
        if lanes > 1:
            held = parts()
            barrier()
            held[thread()] = a
            barrier()
            column = thread() % lines
            a = held[column]
            for k in range(1, lanes):
                a = T(combine(a, held[k * lines + column]))
        return a

    return fold_columns


# ----------------------------------------------------------------------- a thread's own elements


def _made(name: str, lines: list[str], scope: dict[str, object]) -> DeviceFunction:
    source = "\n".join(lines) + "\n"
    return DeviceFunction(function_from_source(source, name, scope, __name__), source)


def _tuple(values: list[str]) -> str:
    """A tuple, in pieces: Python makes a list of one that is long, which numba does not take."""
    pieces = [values[k : k + 16] for k in range(0, len(values), 16)]
    return " + ".join(f"({', '.join(piece)},)" for piece in pieces)


@lru_cache(maxsize=None)
def present(seat: Seating) -> DeviceFunction:
    """The device function ``have(groups, first)``: which of its groups, from ``first`` on, a thread
    has in a line of ``groups``: so many, its first ones.
    """
    lanes, shift = seat.lanes, seat.lanes.bit_length() - 1

    @inline
    def have(groups, first):
        return np.int32((groups - first + (lanes - 1)) >> shift)

    return have


# hides from the compiler how a number came about: in a loop over tiles it would otherwise keep a
# register pair for every one of a thread's places
opaque = instruction("opaque", "mov.b64 $0, $1;", "l", "l", "x", lambda x: x, effects=False)

# where a line's groups lie: side by side, ``t[0]`` apart, or at ``place(group, t)``
ADJACENT, STRIDED = "adjacent", "strided"
Place = str | DeviceFunction


def _starts(seat: Seating, place: Place) -> tuple[list[str], list[str]]:
    """(statements, the places of a thread's groups) from base, first and t."""
    jumps = range(0, seat.lanes * seat.vectors, seat.lanes)
    if place == ADJACENT:
        head = [f"start = base + first * {seat.V}"]
        return head, [f"start + {jump * seat.V}" for jump in jumps]
    if place == STRIDED:
        head = ["start = base + opaque(first) * t[0]", f"jump = {seat.lanes} * t[0]"]
        return head, [f"start + {j} * jump" for j in range(seat.vectors)]
    return [], [f"base + place(first + {jump}, t)" for jump in jumps]


def place_of(seat: Seating, runs: bool, wide: bool) -> Place:
    """Where the groups of a line lie, given the form's ``t``."""
    if seat.columns:
        return STRIDED
    return offset_of(2, 0, wide) if runs else ADJACENT


def loader(seat: Seating, place: Place, shares: bool = False) -> DeviceFunction:
    """The device function ``load(p, base, first, have, aligned, fill, t)``.

    The elements of ``p`` that group number ``first`` and every ``lanes``-th after it begin with,
    for a line that starts at ``base``: ``have`` groups, then ``fill``. ``aligned``: whether vectors
    may be loaded. ``shares``: a group has one element, given ``V`` times.
    """
    V, names = seat.V, []
    single = V == 1 or shares
    head, starts = _starts(seat, place)
    body = ["    " + line for line in head]
    for j, start in enumerate(starts):
        at, v = f"at{j}", f"v{j}"
        body.append(f"    {at} = {start}")
        if single:
            body.append(f"    {v} = p[{at}] if {j} < have else fill")
        else:
            fills = ", ".join(["fill"] * V)
            apart = ", ".join(f"p[{at} + {k}]" for k in range(V))
            body += [
                "    if aligned:",
                f"        {v} = vector(p, {at}) if {j} < have else ({fills})",
                "    else:",
                f"        {v} = ({apart}) if {j} < have else ({fills})",
            ]
        names += [v if single else f"{v}[{k}]" for k in range(V)]
    lines = [
        "def load(p, base, first, have, aligned, fill, t):",
        *body,
        f"    return {_tuple(names)}",
    ]
    return _made("load", lines, {"place": place, "vector": load_vector(V), "opaque": opaque})


def storer(seat: Seating, place: Place) -> DeviceFunction:
    """The device function ``store(p, base, first, have, aligned, values, t)``; see
    :func:`loader`.
    """
    V = seat.V
    head, starts = _starts(seat, place)
    body = ["    " + line for line in head]
    for j, start in enumerate(starts):
        values = [f"values[{j * V + k}]" for k in range(V)]
        body += [f"    if {j} < have:", f"        at = {start}"]
        single = [f"        p[at + {k}] = {value}" for k, value in enumerate(values)]
        if V > 1:
            body += ["        if aligned:", f"            vector(p, at, ({', '.join(values)}))"]
            body += ["        else:", *["    " + line for line in single]]
        else:
            body += single
    lines = ["def store(p, base, first, have, aligned, values, t):", *body]
    return _made("store", lines, {"place": place, "vector": store_vector(V), "opaque": opaque})


def each(seat: Seating, formula: DeviceFunction, tuples: int, scalars: int = 0) -> DeviceFunction:
    """The device function ``map(x, …, a, …)``: ``formula(x[i], …, a, …)`` for every element ``i``
    of ``tuples`` tuples, with further ``scalars``.
    """
    x = [f"x{k}" for k in range(tuples)]
    a = [f"a{k}" for k in range(scalars)]
    values = [
        f"formula({', '.join([f'{name}[{i}]' for name in x] + a)})" for i in range(seat.slots)
    ]
    lines = [f"def map({', '.join(x + a)}):", f"    return {_tuple(values)}"]
    return _made("map", lines, {"formula": formula})


def kept(seat: Seating) -> DeviceFunction:
    """The device function ``keep(x, have, fill)``: a tuple's elements that there are, else fill."""
    values = [f"select({i // seat.V} < have, x[{i}], fill)" for i in range(seat.slots)]
    lines = ["def keep(x, have, fill):", f"    return {_tuple(values)}"]
    return _made("keep", lines, {"select": select})


def total(seat: Seating, combine: DeviceFunction) -> DeviceFunction:
    """The device function ``total(x)``: a tuple's combination, as a tree."""
    terms = [f"x[{i}]" for i in range(seat.slots)]
    while len(terms) > 1:
        terms = [f"combine({a}, {b})" for a, b in zip(terms[::2], terms[1::2], strict=True)]
    return _made("total", ["def total(x):", f"    return {terms[0]}"], {"combine": combine})
