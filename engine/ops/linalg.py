"""Factorisations of matrices and solves with them, over batches in any leading dimensions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Layout, layout
from tilegrad.engine.dispatch import Op, Plan, composed, kernel
from tilegrad.engine.ops.elementwise import contiguous
from tilegrad.engine.shape import Shape, merge_dims, numel
from tilegrad.kernels.blocked import Strides
from tilegrad.kernels.plans import with_absent

ONE = Strides(0, 0, 0)  # the strides of a right-hand side that is the identity


def _strides(x: Layout) -> Strides | None:
    """From a matrix, a row, a column to the next; None where the batch has no one stride."""
    sizes, (steps,) = merge_dims(x.shape[:-2], (x.strides[:-2],))
    if len(sizes) > 1:
        return None
    return Strides(steps[0] if sizes else 0, *x.strides[-2:])


def _op(name: str, planner: Callable[..., Plan], matrices: tuple[int, ...] = (0,)) -> Op:
    """The op of a planner that knows one stride for the whole batch in the operands ``matrices``, and others
    row-major: what is not so is copied first.
    """

    def fits(place: int, x: Layout) -> bool:
        return _strides(x) is not None if place in matrices else x.contiguous

    def plan(*layouts: Layout, **metadata: Any) -> Plan:
        if all(fits(place, x) for place, x in enumerate(layouts)):
            return planner(*layouts, **metadata)
        return composed(
            lambda arrays, params: op(*map(contiguous, arrays), params=params, **metadata)
        )

    op = Op(name, plan, planar=True)
    return op


def _of(x: Layout, *shape: int, dtype: dt.DType | None = None) -> Layout:
    """A row-major layout of the batch of ``x`` by ``shape``."""
    return layout((*x.shape[:-2], *shape), dtype or x.dtype, x.device)


def _batch(x: Layout) -> int:
    return numel(x.shape[:-2])


def _given(x: Layout) -> Strides:
    found = _strides(x)
    assert found is not None
    return found


def _plan_cholesky(x: Layout, *, upper: bool) -> Plan:
    n, (step, row, col) = x.shape[-1], _given(x)
    out = _of(x, n, n)
    over = Strides(n * n, n, 1)
    if upper:  # the lower factor of the transposed, seen transposed
        row, col = col, row
        out = layout(out.shape, x.dtype, x.device, (*out.strides[:-2], 1, n))
    launch, scratch = kernel("linalg", x.device).cholesky(
        x.dtype.name, _batch(x), n, Strides(step, row, col), over
    )
    return Plan((out, _of(x, dtype=dt.int32)), launch, scratch)


def _plan_triangular(a: Layout, b: Layout, *, lower: bool, unit: bool, left: bool) -> Plan:
    n, N = a.shape[-1], b.shape[-1 if left else -2]
    launch, scratch = kernel("linalg", a.device).triangular(
        a.dtype.name, _batch(a), n, N, _given(a), _given(b), lower, unit, left
    )
    return Plan((_of(b, *b.shape[-2:]),), launch, scratch)


def _plan_lu(x: Layout) -> Plan:
    m, n = x.shape[-2:]
    launch, scratch = kernel("linalg", x.device).lu(x.dtype.name, _batch(x), m, n, _given(x))
    pivots = _of(x, min(m, n), dtype=dt.int32)
    return Plan((_of(x, m, n), pivots, _of(x, dtype=dt.int32)), launch, scratch)


def _plan_lu_solve(lu: Layout, pivots: Layout, b: Layout, *, transposed: bool, left: bool) -> Plan:
    n, N = lu.shape[-1], b.shape[-1 if left else -2]
    launch, scratch = kernel("linalg", lu.device).lu_solve(
        lu.dtype.name, _batch(lu), n, N, _given(lu), n, _given(b), transposed, left
    )
    return Plan((_of(b, *b.shape[-2:]),), launch, scratch)


def _plan_solve(x: Layout, b: Layout | None = None) -> Plan:
    n = x.shape[-1]
    N, strides = (n, ONE) if b is None else (b.shape[-1], _given(b))
    launch, scratch = kernel("linalg", x.device).solve(
        x.dtype.name, _batch(x), n, N, _given(x), strides
    )
    outs = (
        _of(x, n, N), _of(x, n, n), _of(x, n, dtype=dt.int32), _of(x, dtype=dt.int32),
    )  # fmt: skip
    return Plan(outs, with_absent(launch, (True, b is not None, *[True] * 4)), scratch)


def _plan_qr(x: Layout) -> Plan:
    m, n = x.shape[-2:]
    launch, scratch = kernel("linalg", x.device).qr(x.dtype.name, _batch(x), m, n, _given(x))
    return Plan((_of(x, m, n), _of(x, min(m, n))), launch, scratch)


def _plan_multiply_q(
    a: Layout, tau: Layout, c: Layout | None = None, *, shape: Shape, left: bool, transposed: bool
) -> Plan:
    """``shape``: of the result."""
    m, k = a.shape[-2], tau.shape[-1]
    launch, scratch = kernel("linalg", a.device).multiply_q(
        a.dtype.name, _batch(a), m, k, _given(a), k, *shape, ONE if c is None else _given(c), left,
        transposed,
    )  # fmt: skip
    given = (True, True, c is not None, True)
    return Plan((_of(a, *shape),), with_absent(launch, given), scratch)


def _plan_eigh(x: Layout, *, lower: bool) -> Plan:
    n, (step, row, col) = x.shape[-1], _given(x)
    strides = Strides(step, row, col) if lower else Strides(step, col, row)
    conj = x.dtype.is_complex and not lower
    launch = kernel("linalg", x.device).eigh(x.dtype.name, _batch(x), n, strides, conj)
    outs = (_of(x, n, dtype=x.dtype.to_real()), _of(x, n, n), _of(x, dtype=dt.int32))
    return Plan(outs, launch, 2 * _wide(x) * _batch(x) * n * n)


def _wide(x: Layout) -> int:
    """Bytes of a number that rotations compute with."""
    return 16 if x.dtype.is_complex else 8


def _plan_svd(x: Layout) -> Plan:
    """Left vectors (m by k), values, right vectors (k by n), codes; of the transposed where m < n."""
    m, n = x.shape[-2:]
    k, (step, row, col) = min(m, n), _given(x)
    values = _of(x, k, dtype=x.dtype.to_real())
    outs = (_of(x, m, k), values, _of(x, k, n), _of(x, dtype=dt.int32))
    left, right = Strides(m * k, k, 1), Strides(k * n, n, 1)
    family = kernel("linalg", x.device)
    room = _wide(x) * _batch(x) * (m + n) * k
    if m >= n:
        return Plan(
            outs,
            family.svd(x.dtype.name, _batch(x), m, n, Strides(step, row, col), left, right),
            room,
        )
    right, left = Strides(k * n, 1, n), Strides(m * k, 1, k)
    turned = family.svd(x.dtype.name, _batch(x), n, m, Strides(step, col, row), right, left)

    def launch(x: int, u: int, s: int, vt: int, info: int, room: int) -> None:
        turned(x, vt, s, u, info, room)

    return Plan(outs, launch, room)


cholesky = _op("cholesky", _plan_cholesky)
triangular = _op("solve_triangular", _plan_triangular, (0, 1))
lu = _op("lu_factor", _plan_lu)
lu_solve = _op("lu_solve", _plan_lu_solve, (0, 2))
solve = _op("solve", _plan_solve, (0, 1))
qr = _op("geqrf", _plan_qr)
multiply_q = _op("ormqr", _plan_multiply_q, (0, 2))
eigh = _op("eigh", _plan_eigh)
svd = _op("svd", _plan_svd)


def rotates(x: Layout) -> bool:
    """Whether the device's own kernels find eigenvalues and singular values of matrices of this size."""
    return kernel("linalg", x.device).rotates(min(x.shape[-2:]))  # type: ignore[no-any-return]
