"""Discrete Fourier transforms of one dimension of a batch, planned as passes: the same on every device.

A *pass* transforms numbers that a block of working memory holds. A longer transform is two of them over a
matrix of ``rows x columns`` of its numbers: columns, a factor each, then rows (Cooley and Tukey, 1965; Bailey's
four steps, 1990). Lengths with large prime factors are convolutions of a smooth length (Bluestein, 1970). Real
transforms of even length are complex ones of half of it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np

from tilegrad.kernels import roots
from tilegrad.kernels.function import inline
from tilegrad.kernels.plans import merge_dims

Launch = Callable[..., None]
Sizes = tuple[int, ...]


class Line(NamedTuple):
    """The transformed dimension: its length (of the real side, if there is one), how many numbers of x there
    are, the others being zero, and strides in x and y in reals.
    """

    n: int
    valid: int
    x_step: int
    y_step: int


class Batch(NamedTuple):
    """The transforms of a pass: sizes, strides in x and y in reals, and by how much the index of a number
    grows in either. The last dimension is the lanes.
    """

    sizes: Sizes
    x_strides: Sizes
    y_strides: Sizes
    x_index: Sizes
    y_index: Sizes

    @property
    def total(self) -> int:
        return int(np.prod(self.sizes, dtype=np.int64))

    def ordered(self, order: list[int]) -> Batch:
        """With the dimensions in another order."""
        return Batch(*(tuple(values[d] for d in order) for values in self))

    def with_lane(self, *lane: int) -> Batch:
        """With one more dimension, the last."""
        return Batch(*((*values, one) for values, one in zip(self, lane, strict=True)))

    def of_size(self, d: int, size: int) -> Batch:
        """With another size of dimension ``d``."""
        return self._replace(sizes=(*self.sizes[:d], size, *self.sizes[d + 1 :]))

    def of_rows(self, x: int = 0, y: int = 0) -> Batch:
        """With rows of ``x`` or ``y`` reals that follow each other on that side, if it is not 0."""
        found = self
        if x:
            found = found._replace(x_strides=self._strides(x), x_index=(0,) * len(self.sizes))
        if y:
            found = found._replace(y_strides=self._strides(y), y_index=(0,) * len(self.sizes))
        return found

    def _strides(self, row: int) -> Sizes:
        strides = []
        for size in self.sizes[::-1]:
            strides.append(row)
            row *= size
        return tuple(strides[::-1])


class Factor(NamedTuple):
    """What a number is multiplied by, found by its index: planes of the table; conjugated by ``swap``."""

    table: np.ndarray
    plane: int
    swap: bool


@dataclass(frozen=True)
class End:
    """Where the numbers of a transform lie.

    Part ``c`` (re, im) of number ``k`` lies at ``k step + c part``, in reals; without imaginary parts ``part`` is
    0. Its index is ``k index_k + c index_c``; it is there if that is below ``limit``, else zero, or left out.
    """

    step: int
    part: int
    limit: int
    index_k: int = 1
    index_c: int = 0
    factor: Factor | None = None

    def across(self, count: int) -> End:
        """Every ``count``-th number."""
        return replace(self, step=self.step * count, index_k=self.index_k * count)


def complex_end(step: int, limit: int, factor: Factor | None = None) -> End:
    """Complex numbers, ``step`` reals apart."""
    return End(step, 1, limit, factor=factor)


def real_end(step: int, limit: int) -> End:
    """Reals for the real parts of complex numbers, whose imaginary parts are zero or left out."""
    return End(step, 0, limit)


def packed_end(step: int, limit: int) -> End:
    """Reals, two of which are a complex number."""
    return End(2 * step, step, limit, 2, 1)


def mode(end: End, lane: int, lane_index: int, n: int, count: int) -> tuple[int, int]:
    """(how an end moves ``count`` lanes, its limit): see the constants."""
    limit, neighbours = end.limit, count > 1
    if lane_index == 0 and end.part == 1 and end.step == 2 and not (neighbours and lane == 2):
        return ROWS, min(2 * n, limit * (2 - end.index_c))
    if lane_index == 0 and end.part == 0 and end.step == 1 and not (neighbours and lane == 1):
        return ROWS, min(n, limit)
    if neighbours and end.part == 1 and lane == 2 and (end.index_c == 0 or limit % 2 == 0):
        return PAIRS, limit
    return (REALS if neighbours and lane == 1 else ANY), limit


# modes: anything; lanes are neighbouring complex numbers; lanes are neighbouring reals, each part by
# itself; a lane's reals are neighbours, ``limit`` of them
ANY, PAIRS, REALS, ROWS = range(4)


class Planner:
    """Plans transforms for a device.

    Args:
        prepare: ``(dtype, n, batch, x, y, swap, scale)`` to the launch ``(x, y, scratch)`` of one pass, and its
            bytes of scratch.
        halves: ``(after, dtype, batch, half, row, step, valid, minus)`` to the launch ``(from, to)`` of the step
            after, or before, a real transform's complex one.
        rows: ``(dtype, n, count)`` to the rows of the matrix that ``count`` transforms are cut into; 0: they are
            passes.
        beyond: elements past a table's end that a pass may read, for a dtype.
        near: bytes between two passes that the second finds in the cache; larger batches go in chunks.
    """

    def __init__(
        self,
        prepare: Callable[..., tuple[Launch, int]],
        halves: Callable[..., Launch],
        rows: Callable[[str, int, int], int],
        beyond: Callable[[str], int],
        near: int,
    ):
        self.prepare, self.halves, self.rows, self.beyond = prepare, halves, rows, beyond
        self.near = near

    def fft(
        self,
        dtype: str,
        kind: str,
        batch: tuple[Sizes, Sizes, Sizes],
        line: Line,
        forward: bool,
        scale: float,
    ) -> tuple[Launch, int]:
        """``launch(x, y, scratch)`` of a transform of one dimension, and the bytes of scratch.

        x may be y where they have the same strides and ``kind`` is ``c2c``.

        Args:
            dtype: of the parts, ``float32`` or ``float64``.
            kind: ``c2c``, ``real`` (the same of real numbers), ``r2c`` (the first half of that) or ``c2r`` (from
                this half).
            batch: sizes of the other dimensions, their strides in x and y, in reals.
            forward: the sign of the exponent: negative.
            scale: of the result.
        """
        if line.n * int(np.prod(batch[0], dtype=np.int64)) == 0:
            return _nothing, 0
        sizes, strides = merge_dims(batch[0], batch[1:])
        none = (0,) * max(len(sizes), 1)
        whole = Batch(sizes or (1,), strides[0] or none, strides[1] or none, none, none)
        line = line._replace(valid=min(line.valid, line.n))
        prepared = {
            "c2c": self._complex, "real": self._of_real, "r2c": self._to_spectrum, "c2r": self._from_spectrum,
        }[kind]  # fmt: skip
        return prepared(dtype, whole, line, forward, scale)

    def _complex(
        self, dtype: str, batch: Batch, line: Line, forward: bool, scale: float
    ) -> tuple[Launch, int]:
        x, y = complex_end(line.x_step, line.valid), complex_end(line.y_step, line.n)
        return self.transform(dtype, line.n, batch, x, y, not forward, scale)

    def _of_real(
        self, dtype: str, batch: Batch, line: Line, forward: bool, scale: float
    ) -> tuple[Launch, int]:
        x, y = real_end(line.x_step, line.valid), complex_end(line.y_step, line.n)
        return self.transform(dtype, line.n, batch, x, y, not forward, scale)

    def _to_spectrum(
        self, dtype: str, batch: Batch, line: Line, forward: bool, scale: float
    ) -> tuple[Launch, int]:
        n, half = line.n, line.n // 2
        if (
            n % 2 or not line.x_step
        ):  # in expanded memory the parts of a pair are not apart, which says: none
            x, y = real_end(line.x_step, line.valid), complex_end(line.y_step, half + 1)
            return self.transform(dtype, n, batch, x, y, not forward, scale)
        # the spectrum has room for what is between
        inside = line.y_step == 2 and len(batch.sizes) == 1
        row = batch.y_strides[0] if inside else 2 * half
        x, z = packed_end(line.x_step, line.valid), complex_end(2, half)
        first, more = self.transform(dtype, half, batch.of_rows(y=row), x, z, False, scale)
        second = self.halves(True, dtype, batch, half, row, line.y_step, half + 1, not forward)
        if inside:

            def launch_inside(x: int, y: int, scratch: int = 0) -> None:
                first(x, y, scratch)
                second(y, y)

            return launch_inside, more
        held = _whole(batch.total * row * np.dtype(dtype).itemsize)

        def launch(x: int, y: int, scratch: int) -> None:
            first(x, scratch, scratch + held)
            second(scratch, y)

        return launch, held + more

    def _from_spectrum(
        self, dtype: str, batch: Batch, line: Line, forward: bool, scale: float
    ) -> tuple[Launch, int]:
        n, half = line.n, line.n // 2
        valid = min(line.valid, half + 1)
        if n % 2:
            weights = Factor(*_weights(n, dtype, self.beyond(dtype)), False)
            x, y = complex_end(line.x_step, valid, weights), real_end(line.y_step, n)
            return self.transform(dtype, n, batch, x, y, not forward, scale)
        row = 2 * half
        first = self.halves(False, dtype, batch, half, row, line.x_step, valid, forward)
        z, y = complex_end(2, half), packed_end(line.y_step, n)
        second, more = self.transform(dtype, half, batch.of_rows(x=row), z, y, True, scale)
        return _chain(first, second, batch.total * row * np.dtype(dtype).itemsize, 0, more)

    def transform(
        self, dtype: str, n: int, batch: Batch, x: End, y: End, swap: bool, scale: float = 1.0
    ) -> tuple[Launch, int]:
        """``launch(x, y, scratch)`` of complex transforms between two ends, and the bytes of scratch."""
        size = 2 * np.dtype(dtype).itemsize
        if not roots.is_smooth(n):
            run = partial(self._convolved, dtype, n, x=x, y=y, swap=swap, scale=scale)
            return self._in_chunks(dtype, batch, roots.padded(n) * size, run)
        rows = self.rows(dtype, n, max(batch.sizes))
        if rows:
            run = partial(self._four_step, dtype, n, rows, x=x, y=y, swap=swap, scale=scale)
            return self._in_chunks(dtype, batch, n * size, run)
        return self.prepare(dtype, n, _lanes_last(batch), x, y, swap, scale)

    def _in_chunks(
        self, dtype: str, batch: Batch, each: int, make: Callable[[Batch], tuple[Launch, int]]
    ) -> tuple[Launch, int]:
        """``make(batch)``, or of one part of it after the other; ``each``: bytes that a transform needs between
        its passes.
        """
        dims = [d for d in range(len(batch.sizes)) if batch.x_index[d] == batch.y_index[d] == 0]
        d = max(dims, key=lambda d: batch.sizes[d], default=-1)
        if d < 0 or batch.total * each <= self.near:
            return make(batch)
        count = batch.sizes[d]
        chunk = max(1, self.near // (batch.total // count * each))
        if chunk >= count:
            return make(batch)
        size = np.dtype(dtype).itemsize
        x_step, y_step = (chunk * s[d] * size for s in (batch.x_strides, batch.y_strides))
        launch, scratch = make(batch.of_size(d, chunk))
        whole, left = divmod(count, chunk)
        rest, more = make(batch.of_size(d, left)) if left else (_nothing, 0)

        def run(x: int, y: int, scratch: int) -> None:
            for _ in range(whole):
                launch(x, y, scratch)
                x, y = x + x_step, y + y_step
            rest(x, y, scratch)

        return run, max(scratch, more)

    def _four_step(
        self,
        dtype: str,
        n: int,
        rows: int,
        batch: Batch,
        *,
        x: End,
        y: End,
        swap: bool,
        scale: float,
    ) -> tuple[Launch, int]:
        """Columns of the matrix, whose results get their factors, then its rows."""
        columns = n // rows
        table = Factor(*_products(rows, columns, dtype, self.beyond(dtype)), swap)
        inside = batch.of_rows(y=2 * n).with_lane(columns, x.step, 2, x.index_k, 1)
        between = complex_end(2, n, table).across(columns)
        first, bytes_first = self.prepare(dtype, rows, inside, x.across(columns), between, swap)
        inside = batch.of_rows(x=2 * n).with_lane(rows, 2 * columns, y.step, 0, y.index_k)
        second, bytes_second = self.transform(
            dtype, columns, inside, complex_end(2, columns), y.across(rows), swap, scale
        )
        held = batch.total * 2 * n * np.dtype(dtype).itemsize
        return _chain(first, second, held, bytes_first, bytes_second)

    def _convolved(
        self, dtype: str, n: int, batch: Batch, *, x: End, y: End, swap: bool, scale: float
    ) -> tuple[Launch, int]:
        """Bluestein's sums: ``jk = (j^2 + k^2 - (k - j)^2) / 2`` makes the transform a convolution."""
        length, tables = _chirps(n, dtype, x.factor is not None, self.beyond(dtype))
        before, spectrum, after = [Factor(*table, swap) for table in tables]
        first, bytes_first = self.transform(
            dtype, length, batch.of_rows(y=2 * length), replace(x, factor=before),
            complex_end(2, length, spectrum), swap,
        )  # fmt: skip
        second, bytes_second = self.transform(
            dtype, length, batch.of_rows(x=2 * length), complex_end(2, length),
            replace(y, factor=after), not swap, scale,
        )  # fmt: skip
        held = batch.total * 2 * length * np.dtype(dtype).itemsize
        return _chain(first, second, held, bytes_first, bytes_second)


def _chain(
    first: Launch, second: Launch, held: int, bytes_first: int, bytes_second: int
) -> tuple[Launch, int]:
    """One after the other, with ``held`` bytes of scratch between them."""
    held = _whole(held)
    if not bytes_first:

        def launch_second(x: int, y: int, scratch: int) -> None:
            first(x, scratch)
            second(scratch, y, scratch + held)

        return launch_second, held + bytes_second

    def launch(x: int, y: int, scratch: int) -> None:
        first(x, scratch, scratch + held)
        second(scratch, y, scratch + held)

    return launch, held + max(bytes_first, bytes_second)


def _nothing(*args: int) -> None:
    """The launch of a transform without elements."""


def _lanes_last(batch: Batch) -> Batch:
    """The dimension for lanes last: neighbours, or else the largest."""
    sizes, x_strides, y_strides, *_ = batch
    near = [min(x_strides[d], y_strides[d]) <= 2 and sizes[d] > 4 for d in range(len(sizes))]
    return batch.ordered(sorted(range(len(sizes)), key=lambda d: (near[d], sizes[d])))


def _whole(nbytes: int) -> int:
    """Whole cache lines."""
    return -(-nbytes // 64) * 64


@lru_cache(maxsize=64)
def _weights(n: int, dtype: str, beyond: int) -> tuple[np.ndarray, int]:
    """1, 2, 2, …, 0: a real signal of odd length is the real part of so much of its spectrum."""
    weights = np.zeros(n, np.complex128)
    weights[0], weights[1 : n // 2 + 1] = 1, 2
    return roots.planes(weights, dtype, beyond)


@lru_cache(maxsize=64)
def _products(rows: int, columns: int, dtype: str, beyond: int) -> tuple[np.ndarray, int]:
    return roots.planes(roots.products(rows, columns), dtype, beyond)


@lru_cache(maxsize=64)
def _chirps(
    n: int, dtype: str, weighted: bool, beyond: int
) -> tuple[int, list[tuple[np.ndarray, int]]]:
    """(length, planes of the chirp before, of the convolution's factors, of the chirp after). Zeros follow
    them: what there is no number for is multiplied as well.
    """
    length, chirp, spectrum = roots.bluestein(n)
    before = chirp
    if weighted:
        before = chirp * np.where(np.arange(n) > n // 2, 0, np.where(np.arange(n), 2.0, 1.0))
    tables = [
        roots.planes(values, dtype, length - len(values) + beyond)
        for values in (before, spectrum, chirp)
    ]
    return length, tables


def real_roots(half: int) -> np.ndarray:
    """The roots that join the halves of a real transform."""
    return roots.exact_turns(np.arange(half), 2 * half)


# what kernels of both devices compute between a real transform and the complex one of half its length


@inline
def spectrum_place(row, dims, outer):
    """Where the spectrum of a row begins."""
    at = 0
    for d in range(outer - 1, -1, -1):
        rest = row // dims[d]
        at += (row - rest * dims[d]) * dims[outer + d]
        row = rest
    return at


@inline
def whole(a, b, c, d, w, v, half):
    """(X_k, X_(h-k)) of Z_k = a + ib, Z_(h-k) = c + id, and the root w + iv; numbers or vectors."""
    er, ei, dr, di = (a + c) * half, (b - d) * half, (a - c) * half, (b + d) * half
    tr, ti = w * di + v * dr, v * di - w * dr
    return er + tr, ei + ti, er - tr, ti - ei


@inline
def halved(a, b, c, d, w, v):
    """(Z_k, Z_(h-k)) of X_k = a + ib, X_(h-k) = c + id, doubled, and the root w + iv."""
    er, ei, dr, di = a + c, b - d, a - c, b + d
    tr, ti = dr * w + di * v, di * w - dr * v
    return er - ti, ei + tr, er + ti, tr - ei
