"""Matrix products ``out = x @ y`` of floats, complex numbers and integers, with batches, bias and strides.

A row of the result does not depend on how many other rows there are, on the batch or on the number
of threads: the order of summation follows from K alone, or for N = 1 from K and the layout of x.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels.cpu import tuning
from tilegrad.kernels.cpu.parts import gemm as kernels
from tilegrad.kernels.cpu.parts.gemm import AT
from tilegrad.kernels.cpu.run import caches, jit, splitting
from tilegrad.kernels.cpu.simd.vector import lanes
from tilegrad.kernels.cpu.tuning import Gemm
from tilegrad.kernels.dtypes import COMPLEX, is_float
from tilegrad.kernels.plans import merge_batch

Launch = Callable[..., None]
Strides = tuple[tuple[int, ...], ...]  # of x, y and out


def matmul(
    dtype: str,
    M: int,
    N: int,
    K: int,
    batch: tuple[int, ...],
    x_strides: tuple[int, ...],
    y_strides: tuple[int, ...],
    out_strides: tuple[int, ...],
    *,
    accumulate: bool = False,
) -> tuple[Launch, int]:
    """Prepare ``out = x @ y`` for these sizes; gives ``(launch, scratch_bytes)``.

    ``launch(x, y, out, scratch=0, bias=0)`` takes addresses. ``x`` is ``(*batch, M, K)``, ``y``
    ``(*batch, K, N)``, ``out`` ``(*batch, M, N)``; strides are in elements, one per batch dimension
    (0 where an operand is broadcast), then that of the rows and that of the columns. The columns
    of ``out`` must be adjacent. ``scratch`` has ``scratch_bytes`` bytes, best aligned to 64.

    A non-zero ``bias`` is the address of ``N`` adjacent elements that are added to every row; with
    ``accumulate`` the product is added to what ``out`` holds, and there is no bias.

    dtype: float32, float64, complex64, complex128, int8, int16, int32, int64 or uint8; integer sums wrap
    around.
    """
    if 0 in (M, N, *batch):
        return lambda x, y, out, scratch=0, bias=0: None, 0
    shape, strides = merge_batch(batch, x_strides, y_strides, out_strides)
    M, shape, strides = _fold_batch_into_rows(M, shape, strides)
    return _prepare(_Problem(dtype, M, N, K, shape, strides, accumulate))


def multiplies(dtype: str) -> bool:
    """Whether there are products of ``dtype``."""
    return True


class _Problem(NamedTuple):
    dtype: str
    M: int
    N: int
    K: int
    batch: tuple[int, ...]
    strides: Strides
    accumulate: bool

    @property
    def items(self) -> int:
        return math.prod(self.batch)


class _Choice(NamedTuple):
    variant: str  # of ``gemm.gemm``, or "dot"
    transposed: bool = False  # compute the transposed product, out' = y' @ x'
    pack_b: bool = False  # a task packs each panel of y that it reads
    prepack_b: bool = False  # all of y is packed before the product
    pack_a: bool = False  # a task packs each block of x that it reads
    row_major_b: bool = False  # rows of y are contiguous

    @property
    def x_cost(self) -> float:
        """What it costs to read an element of x once more, in multiply-adds."""
        return Gemm.pack_a_cost if self.pack_a else Gemm.read_cost

    @property
    def y_cost(self) -> float:
        """The same of y."""
        if not self.pack_b:
            return Gemm.read_cost
        return Gemm.pack_row_major_b_cost if self.row_major_b else Gemm.pack_col_major_b_cost


def _fold_batch_into_rows(
    M: int, shape: tuple[int, ...], strides: Strides
) -> tuple[int, tuple[int, ...], Strides]:
    """A batch of ``x`` against one ``y`` is one taller matrix where the rows follow each other."""
    x, y, out = strides
    if not shape or y[-3] != 0 or not (M == 1 or all(s[-3] == M * s[-2] for s in (x, out))):
        return M, shape, strides
    row = -3 if M == 1 else -2
    strides = ((*x[:-3], x[row], x[-1]), (*y[:-3], *y[-2:]), (*out[:-3], out[row], out[-1]))
    return M * shape[-1], shape[:-1], strides


def _prepare(problem: _Problem) -> tuple[Launch, int]:
    if len(problem.batch) > 2:
        return _loop_over_batch(problem)
    if not is_float(problem.dtype) and problem.dtype not in COMPLEX:
        return _prepare_integer_gemm(problem)
    choice = _choose(problem)
    if choice.transposed:
        x, y, out = ((*s[:-2], s[-1], s[-2]) for s in problem.strides)
        problem = problem._replace(M=problem.N, N=problem.M, strides=(y, x, out))
    return _prepare_gemm(problem, choice)


def _loop_over_batch(problem: _Problem) -> tuple[Launch, int]:
    """More batch dimensions than a kernel counts: the outermost is stepped through here."""
    size = np.dtype(problem.dtype).itemsize
    x_step, y_step, out_step = (s[0] * size for s in problem.strides)
    count, *rest = problem.batch
    inner, scratch_bytes = _prepare(
        problem._replace(batch=tuple(rest), strides=tuple(s[1:] for s in problem.strides))
    )

    def launch(x: int, y: int, out: int, scratch: int = 0, bias: int = 0) -> None:
        for i in range(count):
            inner(x + i * x_step, y + i * y_step, out + i * out_step, scratch, bias)

    return launch, scratch_bytes


def _choose(problem: _Problem) -> _Choice:
    """The fastest variant for these sizes and strides; all but "dot" give the same bits."""
    _, M, N, K, _, strides, _ = problem
    size, pairs = np.dtype(problem.dtype).itemsize, problem.dtype in COMPLEX
    (x_row, x_col), (y_row, y_col), (out_row, _) = (s[-2:] for s in strides)
    if N == 1 and (out_row == 1 or M == 1):
        if y_row == 1 and x_col == 1:
            return _Choice("dot")
        if x_row == 1 or M == 1:
            return _Choice("gemv", transposed=True, pack_a=y_row != 1)
        if x_col == 1 and not pairs:
            return _Choice(
                _col_major_b(problem.dtype, 1, x_row), transposed=True, pack_a=y_row != 1
            )
    pack_a = x_col != 1 or (min(M, N, K) >= 16 and x_row * size % caches.WAY == 0)
    if y_col == 1 or N == 1:
        if M == 1:
            return _Choice("gemv", pack_a=pack_a)
        pack_b = M >= Gemm.pack_b_rows and not _reads_in_place(problem.dtype, N, K, y_row)
    elif M <= Gemm.col_major_b_rows and y_row == 1 and not pairs:
        return _Choice(_col_major_b(problem.dtype, M, y_col), pack_a=pack_a)
    else:
        pack_b = True
    prepack_b = pack_b and M >= Gemm.prepack_rows and K * N * size >= Gemm.prepack_bytes
    return _Choice(
        "row_major_b",
        pack_b=pack_b and not prepack_b,
        prepack_b=prepack_b,
        pack_a=pack_a,
        row_major_b=y_col == 1,
    )


def _reads_in_place(dtype: str, N: int, K: int, row: int) -> bool:
    """Whether a row-major y, its rows ``row`` elements apart, is as well read where it lies: a block
    of KC rows stays in the L2 cache, no vector is in two lines, and rows do not evict each other.
    """
    size, share = np.dtype(dtype).itemsize, tuning.micro_kernel(dtype).b_in_place
    block = kernels.kc_for(dtype, K) * N * size
    aligned = row * size % caches.LINE == 0 and row * size % caches.WAY != 0
    return aligned and 8 * block <= share * caches.size(2)


def _col_major_b(dtype: str, rows: int, column: int) -> str:
    """The variant for a column-major y, its columns ``column`` elements apart.

    One row of x has too few sums to hide the latency of a multiply-add, and so takes more columns at
    a time, unless these evict each other from the cache.
    """
    at_once = kernels.nr_for(dtype, "gemv_col") * lanes(dtype)
    held = caches.places(column * np.dtype(dtype).itemsize)
    return "gemv_col" if rows == 1 and at_once <= held else "col_major_b"


def _params(problem: _Problem) -> np.ndarray:
    """The parameter block of a product that reads its operands in place."""
    p = np.zeros(len(AT), np.int64)
    p[[AT.rows, AT.cols, AT.depth]] = problem.M, problem.N, problem.K
    p[AT.inner_items], p[AT.accumulate] = [1, *problem.batch][-1], problem.accumulate
    x, y, out = ((0,) * (4 - len(s)) + s for s in problem.strides)
    p[[AT.x_outer, AT.x_inner, AT.x_row, AT.x_col]] = x
    p[[AT.y_outer, AT.y_inner, AT.y_row, AT.y_col]] = y
    p[[AT.out_outer, AT.out_inner, AT.out_row]] = out[:3]
    p[AT.bias_step] = 1
    return p


def _prepare_integer_gemm(problem: _Problem) -> tuple[Launch, int]:
    params, tasks = _params(problem), problem.items * problem.M
    function, address = kernels.integer_gemm.build(problem.dtype), params.ctypes.data
    small = splitting.serial(tasks * problem.N * problem.K, Gemm.serial)

    def launch(
        x: int, y: int, out: int, scratch: int = 0, bias: int = 0, _params: Any = params
    ) -> None:
        function(x, y, out, bias, address, tasks, 0 if small else jit.get_num_threads())

    return launch, 0


def _prepare_gemm(problem: _Problem, choice: _Choice) -> tuple[Launch, int]:
    dtype, variant = problem.dtype, choice.variant
    p, W = _params(problem), lanes(dtype)
    row, col_major_b = tuning.micro_kernel(dtype), variant in ("col_major_b", "gemv_col")
    panel = tuning.NR_VECTORS if variant == "col_major_b" else kernels.nr_for(dtype, variant)
    tasks, small = _split(p, problem, choice, W * panel)
    p[AT.kc] = kernels.kc_for(dtype, problem.K)
    p[AT.y_panel] = p[AT.y_col] * W * (1 if col_major_b else tuning.NR_VECTORS)
    p[AT.bias_step], p[AT.pack_a], p[AT.pack_b] = (
        not choice.transposed,
        choice.pack_a,
        choice.pack_b,
    )
    _even_blocks(p, kernels.mc_max(dtype) if choice.pack_a else row.mc, row.mr[0])
    function = kernels.dot.build(dtype) if variant == "dot" else kernels.gemm.build(dtype, variant)
    address, scratch_bytes = p.ctypes.data, 0
    if choice.prepack_b:
        pack, scratch_bytes = _prepack_b(p, problem)

        def launch(
            x: int, y: int, out: int, scratch: int = 0, bias: int = 0, _params: Any = p
        ) -> None:
            threads = 0 if small else jit.get_num_threads()
            pack(y, scratch, threads)
            function(x, scratch, out, bias, address, tasks, threads)

    elif choice.transposed:

        def launch(
            x: int, y: int, out: int, scratch: int = 0, bias: int = 0, _params: Any = p
        ) -> None:
            function(y, x, out, bias, address, tasks, 0 if small else jit.get_num_threads())

    else:

        def launch(
            x: int, y: int, out: int, scratch: int = 0, bias: int = 0, _params: Any = p
        ) -> None:
            function(x, y, out, bias, address, tasks, 0 if small else jit.get_num_threads())

    return launch, scratch_bytes


def _even_blocks(p: np.ndarray, most: int, mr: int) -> None:
    """Cut the rows of a task into as few blocks as there have to be, of about the same size and whole
    tiles of ``mr`` rows.
    """
    rows = int(p[AT.task_rows])
    rows = -(-rows // -(-rows // splitting.extent(rows, most)))
    p[AT.mc] = min(most, -(-rows // mr) * mr)


def _prepack_b(p: np.ndarray, problem: _Problem) -> tuple[Launch, int]:
    """``(pack(y, panels, threads), bytes)``; the parameters are set to read ``y`` from the panels."""
    N, K = problem.N, problem.K
    width = tuning.NR_VECTORS * lanes(problem.dtype)
    panels = -(-N // width)
    outer, inner = [1, 1, *problem.batch][-2:]
    steps = tuple(int(p[place]) for place in (AT.y_row, AT.y_col, AT.y_outer, AT.y_inner))
    outer, inner = outer if steps[2] else 1, inner if steps[3] else 1  # one copy serves a broadcast
    tasks, function = (
        outer * inner * panels,
        kernels.prepack_b.build(problem.dtype, tuning.NR_VECTORS),
    )
    item = panels * width * K
    p[[AT.y_row, AT.y_panel]] = width, width * K
    p[[AT.y_outer, AT.y_inner]] = item * inner * (outer > 1), item * (inner > 1)

    def pack(y: int, panels: int, threads: int) -> None:
        function(y, panels, K, N, *steps, inner, tasks, threads)

    return pack, outer * inner * item * np.dtype(problem.dtype).itemsize


def _split(p: np.ndarray, problem: _Problem, choice: _Choice, panel: int) -> tuple[int, bool]:
    """Cut the work into tasks, which no sum depends on; gives (tasks, too small for threads)."""
    M, N, items = problem.M, problem.N, problem.items
    # where one of them is small it is memory that takes the time: such work counts eightfold
    depth = max(1, problem.K)
    work = items * M * N * depth * max(1, 8 // min(M, N, depth))
    work *= 4 if problem.dtype in COMPLEX else 1
    most = max(
        1, min(Gemm.tasks, work // Gemm.grain), min(4 * Gemm.tasks, work // Gemm.large_grain)
    )
    most = splitting.pieces(most, M * N)
    rows, cols = _unit_shape(problem, most, choice, panel)
    grid_rows, grid_cols = -(-M // rows), -(-N // cols)
    units = items * grid_rows * grid_cols
    per_task, tasks = splitting.share(
        units, 1, -(-units // max(most, min(units, 4 * Gemm.tasks, work // Gemm.grain)))
    )
    p[[AT.grid_rows, AT.grid_cols, AT.task_rows, AT.task_cols]] = grid_rows, grid_cols, rows, cols
    p[[AT.units, AT.per_task]] = units, per_task
    return tasks, splitting.serial(work, Gemm.serial)


def _unit_shape(problem: _Problem, most: int, choice: _Choice, panel: int) -> tuple[int, int]:
    """Rows and columns of a unit, of those halved until there are about ``most`` units.

    The choice has the least time for the busiest thread: every unit reads (or packs) its rows of
    ``x`` and its columns of ``y`` once.
    """
    M, N, threads = problem.M, problem.N, jit.processors()
    row = tuning.micro_kernel(problem.dtype)

    def time(cell: tuple[int, int]) -> float:
        rows, cols = cell
        units = problem.items * -(-M // rows) * -(-N // cols)
        each = rows * cols + cols * choice.y_cost + rows * choice.x_cost
        return -(-units // threads) * each

    cells = [
        (-(-M // grid_rows // row.mr_min) * row.mr_min, -(-N // grid_cols // panel) * panel)
        for grid_rows in _halvings(M, 2 * row.mr[0], most)
        for grid_cols in _halvings(N, 2 * panel, most // grid_rows)
    ]
    return cells[-1] if splitting.PIECES else min(cells, key=time)


def _halvings(count: int, least: int, most: int) -> Iterator[int]:
    """1, 2, 4, … up to ``most``, while parts of ``count`` that are halved have ``least``."""
    parts = 1
    while parts <= most:
        yield parts
        if count // parts < least:
            return
        parts *= 2
