"""Factorisations of matrices on the CPU: leaves and panels here, blocks of any size by
:mod:`tilegrad.kernels.blocked`; batches of very small matrices by a lane each.
"""

from __future__ import annotations

from tilegrad.kernels import blocked
from tilegrad.kernels.blocked import Leaves, Made, Strides
from tilegrad.kernels.cpu.linalg import lanes, panels, triangles
from tilegrad.kernels.cpu.linalg.jacobi import eigh as eigh, svd as svd
from tilegrad.kernels.cpu.matmul import matmul
from tilegrad.kernels.cpu.tuning import Linalg

_LEAVES = Leaves(
    matmul, triangles.take, None, triangles.cholesky, triangles.solve, panels.panel, panels.swaps,
    panels.reflect, panels.triangle, Linalg.leaf, Linalg.panel,
)  # fmt: skip


def cholesky(dtype: str, count: int, n: int, strides: Strides, out_strides: Strides) -> Made:
    """See :func:`tilegrad.kernels.blocked.cholesky_of`."""
    if n <= Linalg.small and dtype in lanes.WORDS:
        return lanes.cholesky(dtype, count, n, strides, out_strides), 0
    return blocked.cholesky_of(_LEAVES, dtype, count, n, strides, out_strides)


def lu(dtype: str, count: int, m: int, n: int, strides: Strides) -> Made:
    """See :func:`tilegrad.kernels.blocked.lu_of`."""
    if m == n <= Linalg.small and dtype in lanes.WORDS:
        factor = lanes.lu(dtype, count, n, 0, strides, Strides(0, 0, 0))

        def launch(x: int, out: int, pivots: int, info: int) -> None:
            factor(x, 0, 0, out, pivots, info)

        return launch, 0
    return blocked.lu_of(_LEAVES, dtype, count, m, n, strides)


def solve(dtype: str, count: int, n: int, N: int, strides: Strides, b_strides: Strides) -> Made:
    """See :func:`tilegrad.kernels.blocked.solve_of`."""
    if n <= Linalg.small and dtype in lanes.WORDS:
        return lanes.lu(dtype, count, n, N, strides, b_strides), 0
    return blocked.solve_of(_LEAVES, dtype, count, n, N, strides, b_strides)


def triangular(
    dtype: str,
    count: int,
    n: int,
    N: int,
    strides: Strides,
    b_strides: Strides,
    lower: bool,
    unit: bool,
    left: bool,
) -> Made:
    """See :func:`tilegrad.kernels.blocked.triangular_of`."""
    return blocked.triangular_of(_LEAVES, dtype, count, n, N, strides, b_strides, lower, unit, left)


def lu_solve(
    dtype: str,
    count: int,
    n: int,
    N: int,
    strides: Strides,
    pivots_step: int,
    b_strides: Strides,
    transposed: bool,
    left: bool,
) -> Made:
    """See :func:`tilegrad.kernels.blocked.lu_solve_of`."""
    return blocked.lu_solve_of(
        _LEAVES, dtype, count, n, N, strides, pivots_step, b_strides, transposed, left
    )


def qr(dtype: str, count: int, m: int, n: int, strides: Strides) -> Made:
    """See :func:`tilegrad.kernels.blocked.qr_of`."""
    return blocked.qr_of(_LEAVES, dtype, count, m, n, strides)


def multiply_q(
    dtype: str,
    count: int,
    m: int,
    k: int,
    strides: Strides,
    tau_step: int,
    rows: int,
    cols: int,
    c_strides: Strides,
    left: bool,
    transposed: bool,
) -> Made:
    """See :func:`tilegrad.kernels.blocked.multiply_q_of`."""
    return blocked.multiply_q_of(
        _LEAVES, dtype, count, m, k, strides, tau_step, rows, cols, c_strides, left, transposed
    )


def rotates(n: int) -> bool:
    """Whether eigenvalues and singular values of n rows (or columns, the fewer) are found here."""
    return n <= Linalg.jacobi
