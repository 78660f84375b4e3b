"""Blocked matrix factorisations, the same on every device: steps over parts of matrices.

A factorisation halves its matrix until a *leaf* fits a device's kernel; what lies between is matrix
products, which the device's own :func:`matmul` runs. A :class:`Program` gathers the steps while it is
planned; its launch runs them one after the other, all of them over the whole batch.

Source: Toledo, Locality of Reference in LU Decomposition with Partial Pivoting (1997); Elmroth, Gustavson,
Applying Recursion to Serial and Parallel QR Factorization (2000).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np

from tilegrad.kernels.dtypes import part_of, row

Launch = Callable[..., None]
Place = tuple[int, int]  # number of the array, bytes from its address on
ALIGNED = 16  # elements: what is put in scratch memory begins at a multiple
SPANNED = 1e-60  # of two columns' squared lengths: a product below says nothing of their angle


class Strides(NamedTuple):
    """From a matrix, a row, a column to the next, in elements."""

    step: int
    row: int
    col: int


class Sides(NamedTuple):
    """What singular vectors are found of: sizes of the matrices, strides of them, of left and right vectors."""

    m: int
    n: int
    step: int
    row: int
    col: int
    l_step: int
    l_row: int
    l_col: int
    r_step: int
    r_row: int
    r_col: int


class Block(NamedTuple):
    """A batch of matrices in an array: its number, then elements."""

    array: int
    at: int
    rows: int
    cols: int
    step: int  # from a matrix of the batch to the next
    row: int
    col: int
    conj: bool = False  # read as the conjugates of what lies there, which only complex numbers tell

    def part(self, i: int, j: int, rows: int, cols: int) -> Block:
        """``rows`` by ``cols`` elements from (i, j) on."""
        return self._replace(at=self.at + i * self.row + j * self.col, rows=rows, cols=cols)

    @property
    def T(self) -> Block:
        """The transposed matrices, in the same memory."""
        return self._replace(rows=self.cols, cols=self.rows, row=self.col, col=self.row)

    @property
    def bar(self) -> Block:
        """The conjugate matrices, in the same memory."""
        return self._replace(conj=not self.conj)

    @property
    def H(self) -> Block:
        """The conjugate transposed matrices, in the same memory."""
        return self.T.bar

    @property
    def strides(self) -> Strides:
        """Without the place."""
        return Strides(self.step, self.row, self.col)


class Leaves(NamedTuple):
    """What a device has: its matrix product, the kernels of leaves and their largest sizes.

    Attributes:
        matmul: see :func:`tilegrad.kernels.cpu.matmul.matmul`.
        take: ``(dtype, count, rows, cols, strides, out_strides, part, negate, conj) -> launch(x, out)``.
        widen: ``(dtype, count, rows, cols, strides, out_step, negate, conj) -> launch(x, out)``, of complex;
            None where ``matmul`` takes complex numbers.
        cholesky: ``(dtype, count, n, strides, first) -> launch(a, info)``.
        solve: ``(dtype, unit, conj, count, n, N, strides, b_strides) -> launch(l, b)``.
        panel: ``(dtype, count, m, n, strides, first, pivots) -> launch(a, pivots, info, buffer)``.
        swaps: ``(dtype, count, cols, strides, pivots, first, last, back) -> launch(a, pivots)``.
        reflect: ``(dtype, count, m, n, strides, tau) -> launch(a, tau, buffer)``.
        triangle: ``(dtype, count, n, tau) -> launch(gram, tau, t)``.
        leaf, columns: sizes of a triangle's and a panel's leaf.
    """

    matmul: Callable[..., tuple[Launch, int]]
    take: Callable[..., Launch]
    widen: Callable[..., Launch] | None
    cholesky: Callable[..., Launch]
    solve: Callable[..., Launch]
    panel: Callable[..., Launch]
    swaps: Callable[..., Launch]
    reflect: Callable[..., Launch]
    triangle: Callable[..., Launch]
    leaf: int
    columns: int


class Program:
    """Steps over ``count`` matrices each, in ``arrays`` arrays of the launch and scratch memory."""

    def __init__(self, leaves: Leaves, dtype: str, count: int, arrays: int):
        self.leaves, self.dtype, self.count, self.arrays = leaves, dtype, count, arrays
        self.size = np.dtype(dtype).itemsize
        self.complex = row(dtype).kind == "c"
        self.steps: list[tuple[Launch, tuple[Place, ...]]] = []
        self._used = self.scratch = 0  # bytes: now, and at most

    @contextmanager
    def room(self, *shapes: tuple[int, int]) -> Iterator[list[Block]]:
        """Row-major matrices in scratch memory, for the steps that are added meanwhile."""
        before, made = self._used, []
        for rows, cols in shapes:
            at = self._used // self.size
            step = -(-rows * cols // ALIGNED) * ALIGNED
            made.append(Block(self.arrays, at, rows, cols, step, cols, 1))
            self._used += step * self.count * self.size
        self.scratch = max(self.scratch, self._used)
        yield made
        self._used = before

    def add(self, launch: Launch, *places: Block | Place) -> None:
        """A step over the blocks' first elements, and places in arrays of other dtypes."""
        found = [(p.array, p.at * self.size) if isinstance(p, Block) else p for p in places]
        self.steps.append((launch, tuple(found)))

    def matmul(
        self, x: Block, y: Block, out: Block, accumulate: bool = True, negate: bool = False
    ) -> None:
        """``out += x @ y``, or ``out = x @ y``; ``negate``: less it, by a copy of one."""
        if 0 in (x.rows, y.cols) or (accumulate and x.cols == 0):
            return
        if out.col != 1:
            x, y, out = y.T, x.T, out.T
        conj = self.complex and (x.conj or y.conj)
        if self.complex and self.leaves.widen is not None:
            self._matmul_of_parts(x, y, out, accumulate, negate)
        elif not (negate or conj):
            self._product(self.dtype, x, y, out, accumulate)
        else:
            one = x if (x.conj if conj else x.rows <= y.cols) else y
            with self.room((one.rows, one.cols)) as (made,):
                self.take(one, made, negate=negate)
                self.matmul(*((made, y) if one is x else (x, made)), out, accumulate)

    def _matmul_of_parts(
        self, x: Block, y: Block, out: Block, accumulate: bool, negate: bool
    ) -> None:
        """The product of pairs of floats, (M, 2K), with y made wide: [re im; -im re] of each element."""
        if x.col != 1 or (x.conj and x.cols):
            with self.room((x.rows, x.cols)) as (copy,):
                self.take(x, copy)
                self._matmul_of_parts(copy, y, out, accumulate, negate)
            return
        K, N, widen = y.rows, y.cols, self.leaves.widen
        assert widen is not None
        with self.room((2 * K, N)) as (wide,):
            if K:
                steps = y.strides, 2 * wide.step
                how = widen(self.dtype, self.count, K, N, *steps, negate, y.conj)
                self.add(how, y, wide)
            pairs = x._replace(cols=2 * K, step=2 * x.step, row=2 * x.row)
            right = wide._replace(cols=2 * N, step=2 * wide.step, row=2 * N)
            result = out._replace(cols=2 * N, step=2 * out.step, row=2 * out.row)
            self._product(part_of(self.dtype), pairs, right, result, accumulate)

    def _product(self, dtype: str, x: Block, y: Block, out: Block, accumulate: bool) -> None:
        strides = [b.strides if self.count > 1 else b.strides[1:] for b in (x, y, out)]
        batch = (self.count,) if self.count > 1 else ()
        launch, nbytes = self.leaves.matmul(
            dtype, x.rows, y.cols, x.cols, batch, *strides, accumulate=accumulate
        )
        elements = -(-nbytes // self.size)
        with self.room((1, -(-elements // self.count))) as (scratch,):
            self.add(launch, x, y, out, *([scratch] if nbytes else []))

    def take(self, x: Block, out: Block, part: str = "all", negate: bool = False) -> None:
        """A part of ``x`` in ``out``, zeros elsewhere."""
        if x.rows and x.cols:
            steps = x.rows, x.cols, x.strides, out.strides
            how = part, negate, self.complex and x.conj
            self.add(self.leaves.take(self.dtype, self.count, *steps, *how), x, out)

    def subtract(self, x: Block, y: Block, out: Block) -> None:
        """``out -= x @ y``."""
        if 0 not in (x.rows, x.cols, y.cols):
            self.matmul(x, y, out, negate=True)

    def launch(self) -> Launch:
        """All steps, as one."""
        steps = self.steps

        def run(*given: int) -> None:
            for function, places in steps:
                function(*[given[array] + at for array, at in places])

        return run


def half(n: int, leaf: int) -> int:
    """Where a matrix of ``n`` is cut: a power of 2 times ``leaf``, half of ``n`` or more."""
    part = leaf
    while 2 * part < n:
        part *= 2
    return part


# ----------------------------------------------------------------------------------- triangles


def solve(p: Program, a: Block, b: Block, lower: bool, unit: bool) -> None:
    """``b = a^-1 b`` for a triangular ``a``, whose other half is not read."""
    n, leaf = a.rows, p.leaves.leaf
    if n == 0 or b.cols == 0:
        return
    if n <= leaf:
        if not lower:  # from the last row on, it is lower
            end = n - 1
            a = a.part(end, end, n, n)._replace(row=-a.row, col=-a.col)
            b = b.part(end, 0, n, b.cols)._replace(row=-b.row)
        steps = n, b.cols, a.strides, b.strides
        p.add(p.leaves.solve(p.dtype, unit, p.complex and a.conj, p.count, *steps), a, b)
        return
    k = half(n, leaf)
    first, last = a.part(0, 0, k, k), a.part(k, k, n - k, n - k)
    above, below = b.part(0, 0, k, b.cols), b.part(k, 0, n - k, b.cols)
    if lower:
        solve(p, first, above, lower, unit)
        p.subtract(a.part(k, 0, n - k, k), above, below)
        solve(p, last, below, lower, unit)
    else:
        solve(p, last, below, lower, unit)
        p.subtract(a.part(0, k, k, n - k), below, above)
        solve(p, first, above, lower, unit)


def cholesky(p: Program, a: Block, info: Place, first: int = 0) -> None:
    """The lower factor over the lower half of ``a``; the rest of ``a`` is overwritten in part."""
    n, leaf = a.rows, p.leaves.leaf
    if n <= leaf:
        p.add(p.leaves.cholesky(p.dtype, p.count, n, a.strides, first), a, info)
        return
    k = half(n, leaf)
    head, left, rest = (
        a.part(0, 0, k, k), a.part(k, 0, n - k, k), a.part(k, k, n - k, n - k),
    )  # fmt: skip
    cholesky(p, head, info, first)
    solve(p, head.bar, left.T, lower=True, unit=False)  # left @ head^-H
    if p.complex:
        _square(p, left, left, rest, negate=True)
    else:
        with p.room((n - k, k)) as (less,):
            p.take(left, less, negate=True)
            _square(p, less, left, rest)
    cholesky(p, rest, info, first + k)


SQUARE = 256  # rows from which on the half of a symmetric product that nobody reads is left out


def _square(p: Program, x: Block, y: Block, out: Block, negate: bool = False) -> None:
    """The lower half of ``out += x @ y^H``, or less it."""
    n = x.rows
    if n <= SQUARE:
        p.matmul(x, y.H, out, negate=negate)
        return
    k = half(n, SQUARE)
    head, top = x.part(0, 0, k, x.cols), y.part(0, 0, k, x.cols)
    below, across = x.part(k, 0, n - k, x.cols), y.part(k, 0, n - k, x.cols)
    _square(p, head, top, out.part(0, 0, k, k), negate)
    p.matmul(below, top.H, out.part(k, 0, n - k, k), negate=negate)
    _square(p, below, across, out.part(k, k, n - k, n - k), negate)


# ------------------------------------------------------------------------------------------ LU


def lu(p: Program, a: Block, pivots: Place, info: Place, pivots_step: int) -> None:
    """``a`` becomes L (unit, below the diagonal) and U of its rows exchanged; ``pivots`` (int32, from 1)
    says with which row each was exchanged, ``info`` the first column without a pivot, else 0.
    """
    k = min(a.rows, a.cols)
    _columns(p, a, 0, k, pivots, info, pivots_step)
    if a.cols > k:
        right = a.part(0, k, a.rows, a.cols - k)
        _swap(p, right, pivots, pivots_step, 0, k)
        solve(p, a.part(0, 0, k, k), right.part(0, 0, k, right.cols), lower=True, unit=True)


def _swap(
    p: Program, a: Block, pivots: Place, step: int, first: int, last: int, back: bool = False
) -> None:
    if a.cols and last > first:
        how = p.leaves.swaps(p.dtype, p.count, a.cols, a.strides, step, first, last, back)
        p.add(how, a, pivots)


def _columns(
    p: Program, a: Block, first: int, last: int, pivots: Place, info: Place, step: int
) -> None:
    """The columns from ``first`` to ``last``, from row ``first`` on."""
    m, n, leaf = a.rows - first, last - first, p.leaves.columns
    if n <= leaf:
        part = a.part(first, first, m, n)
        with p.room((m, n)) as (buffer,):
            how = p.leaves.panel(p.dtype, p.count, m, n, part.strides, first, step, buffer.step)
            p.add(how, part, pivots, info, buffer)
        return
    k = half(n, leaf)
    middle = first + k
    _columns(p, a, first, middle, pivots, info, step)
    right = a.part(0, middle, a.rows, n - k)
    _swap(p, right, pivots, step, first, middle)
    top = right.part(first, 0, k, n - k)
    solve(p, a.part(first, first, k, k), top, lower=True, unit=True)
    p.subtract(a.part(middle, first, m - k, k), top, right.part(middle, 0, m - k, n - k))
    _columns(p, a, middle, last, pivots, info, step)
    _swap(p, a.part(0, first, a.rows, k), pivots, step, middle, last)


def lu_solve(p: Program, a: Block, pivots: Place, step: int, b: Block, transposed: bool) -> None:
    """``b = (P L U)^-1 b``, or of the transposed."""
    n = a.rows
    if not transposed:
        _swap(p, b, pivots, step, 0, n)
        solve(p, a, b, lower=True, unit=True)
        solve(p, a, b, lower=False, unit=False)
    else:
        solve(p, a.T, b, lower=True, unit=False)
        solve(p, a.T, b, lower=False, unit=True)
        _swap(p, b, pivots, step, 0, n, back=True)


# ------------------------------------------------------------------------------------------ QR


def qr(p: Program, a: Block, tau: Place, tau_step: int) -> None:
    """``a`` becomes R (on and above the diagonal) and the vectors v of reflections 1 - tau v v^H."""
    size, k = p.leaves.columns, min(a.rows, a.cols)
    for j in range(0, k, size):
        n = min(size, k - j)
        part, right = a.part(j, j, a.rows - j, n), a.part(j, j + n, a.rows - j, a.cols - j - n)
        place = (tau[0], tau[1] + j * p.size)
        with p.room((part.rows, n)) as (buffer,):
            steps = part.rows, n, part.strides, tau_step, buffer.step
            p.add(p.leaves.reflect(p.dtype, p.count, *steps), part, place, buffer)
        if right.cols:
            reflected(p, part, place, tau_step, right, transposed=True)


def reflected(p: Program, a: Block, tau: Place, tau_step: int, c: Block, transposed: bool) -> None:
    """``c = Q c``, or of the adjoint, for the reflections in the columns of ``a``:
    Q = 1 - V T V^H (Schreiber, Van Loan, 1989).
    """
    m, n, N = a.rows, a.cols, c.cols
    if 0 in (m, n, N):
        return
    with p.room((m, n), (n, n), (n, n), (n, N), (n, N)) as (v, gram, t, w, u):
        p.take(a, v, "unit_lower")
        p.matmul(v.H, v, gram, accumulate=False)
        p.add(p.leaves.triangle(p.dtype, p.count, n, gram.step, tau_step), gram, tau, t)
        p.matmul(v.H, c, w, accumulate=False)
        p.matmul(t.H if transposed else t, w, u, accumulate=False)
        p.matmul(v, u, c)


def multiply_q(p: Program, a: Block, tau: Place, tau_step: int, c: Block, transposed: bool) -> None:
    """``c = Q c``, or of the adjoint, for all reflections of :func:`qr`."""
    size, k = p.leaves.columns, a.cols
    starts = range(0, k, size)
    for j in starts if transposed else reversed(starts):
        n = min(size, k - j)
        part = a.part(j, j, a.rows - j, n)
        place = (tau[0], tau[1] + j * p.size)
        reflected(p, part, place, tau_step, c.part(j, 0, c.rows - j, c.cols), transposed)


# ------------------------------------------------------------------------ what the engine asks for


Made = tuple[Launch, int]  # a launch, and the bytes of scratch memory that it takes last


def cholesky_of(
    leaves: Leaves, dtype: str, count: int, n: int, strides: Strides, out_strides: Strides
) -> Made:
    """``launch(x, out, info)``: the lower factor of the lower half of ``x``, zeros above it; ``info``
    (int32) names the first pivot, from 1, that is not positive, else 0.
    """
    p = Program(leaves, dtype, count, 3)
    out = Block(1, 0, n, n, *out_strides)
    p.take(Block(0, 0, n, n, *strides), out, "lower")
    cholesky(p, out, (2, 0))
    if n > leaves.leaf:
        p.take(out, out, "lower")
    return p.launch(), p.scratch


def triangular_of(
    leaves: Leaves, dtype: str, count: int, n: int, N: int, strides: Strides, b_strides: Strides,
    lower: bool, unit: bool, left: bool,
) -> Made:  # fmt: skip
    """``launch(a, b, out)``: ``a^-1 b`` (n by N), or ``b a^-1`` (N by n); ``out`` is row-major."""
    p = Program(leaves, dtype, count, 3)
    a, rows, cols = Block(0, 0, n, n, *strides), *((n, N) if left else (N, n))
    out = Block(2, 0, rows, cols, rows * cols, cols, 1)
    p.take(Block(1, 0, rows, cols, *b_strides), out)
    if left:
        solve(p, a, out, lower, unit)
    else:
        solve(p, a.T, out.T, not lower, unit)
    return p.launch(), p.scratch


def lu_of(leaves: Leaves, dtype: str, count: int, m: int, n: int, strides: Strides) -> Made:
    """``launch(x, out, pivots, info)``: see :func:`lu`; results row-major."""
    p = Program(leaves, dtype, count, 4)
    out = Block(1, 0, m, n, m * n, n, 1)
    p.take(Block(0, 0, m, n, *strides), out)
    lu(p, out, (2, 0), (3, 0), min(m, n))
    return p.launch(), p.scratch


def lu_solve_of(
    leaves: Leaves, dtype: str, count: int, n: int, N: int, strides: Strides, pivots_step: int,
    b_strides: Strides, transposed: bool, left: bool,
) -> Made:  # fmt: skip
    """``launch(lu, pivots, b, out)``: the solution for right-hand sides ``b`` (n by N), or with ``left``
    false of ``X A = b`` (N by n); ``transposed``: of the adjoint of A; ``out`` is row-major.
    """
    p = Program(leaves, dtype, count, 4)
    rows, cols = (n, N) if left else (N, n)
    out = Block(3, 0, rows, cols, rows * cols, cols, 1)
    p.take(Block(2, 0, rows, cols, *b_strides), out)
    side = out if left else out.T
    a = Block(0, 0, n, n, *strides, transposed)
    lu_solve(p, a, (1, 0), pivots_step, side, transposed is left)
    return p.launch(), p.scratch


def solve_of(
    leaves: Leaves, dtype: str, count: int, n: int, N: int, strides: Strides, b_strides: Strides
) -> Made:
    """``launch(x, b, made, lu, pivots, info)``: ``x^-1 b``, or with 0 for the address of ``b`` the inverse,
    and the LU that it was made of; results row-major.
    """
    p = Program(leaves, dtype, count, 6)
    made, factors = Block(2, 0, n, N, n * N, N, 1), Block(3, 0, n, n, n * n, n, 1)
    p.take(Block(0, 0, n, n, *strides), factors)
    lu(p, factors, (4, 0), (5, 0), n)
    p.take(Block(1, 0, n, N, *b_strides), made, "eye" if b_strides == (0, 0, 0) else "all")
    lu_solve(p, factors, (4, 0), n, made, False)
    return p.launch(), p.scratch


def qr_of(leaves: Leaves, dtype: str, count: int, m: int, n: int, strides: Strides) -> Made:
    """``launch(x, out, tau)``: see :func:`qr`; results row-major."""
    p = Program(leaves, dtype, count, 3)
    out = Block(1, 0, m, n, m * n, n, 1)
    p.take(Block(0, 0, m, n, *strides), out)
    qr(p, out, (2, 0), min(m, n))
    return p.launch(), p.scratch


def multiply_q_of(
    leaves: Leaves, dtype: str, count: int, m: int, k: int, strides: Strides, tau_step: int,
    rows: int, cols: int, c_strides: Strides, left: bool, transposed: bool,
) -> Made:  # fmt: skip
    """``launch(a, tau, c, out)``: ``Q c`` or ``c Q`` (rows by cols), or of the adjoint of Q, for the k
    reflections of m numbers in the columns of ``a``; where ``c`` has no strides, of the identity.
    ``c Q`` is the adjoint of ``Q^H c^H``.
    """
    p = Program(leaves, dtype, count, 4)
    out = Block(3, 0, rows, cols, rows * cols, cols, 1)
    part = "eye" if c_strides == (0, 0, 0) else "all"
    p.take(Block(2, 0, rows, cols, *c_strides, conj=not left), out, part)
    side = out if left else out.T
    multiply_q(p, Block(0, 0, m, k, *strides), (1, 0), tau_step, side, transposed is left)
    if p.complex and not left:
        p.take(out.bar, out)
    return p.launch(), p.scratch
