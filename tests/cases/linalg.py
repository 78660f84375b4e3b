"""Rows for linear algebra: factorisations, solves and what is made of them."""

from __future__ import annotations

from typing import Any

from tests.cases.case import Arg, Case


def _positive(t: Any, x: Any) -> Any:
    """Symmetric, positive definite."""
    return x @ x.mT + 3 * t.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def _far(t: Any, x: Any) -> Any:
    """Far from singular."""
    return x + 6 * t.eye(x.shape[-1], dtype=x.dtype, device=x.device)


def _symmetric(x: Any) -> Any:
    return x + x.mT


_S, _B, _M = Arg((2, 3, 3)), Arg((2, 3, 2)), Arg((4, 3))
_WHY = "sums of products of factors, in another order"
_LARGE = {"tolerance": 20, "reason": _WHY, "second_order": False, "numeric": False,
          "simulated": ("forward",)}  # fmt: skip

CASES = [
    Case("cholesky-batch", lambda t, x: t.linalg.cholesky(_positive(t, x)), (_S,), tolerance=4, reason=_WHY),
    Case("cholesky-upper", lambda t, x: t.linalg.cholesky(_positive(t, x), upper=True), (_S,), tolerance=4,
         reason=_WHY, simulated=("forward",)),
    Case("cholesky-blocks", lambda t, x: t.linalg.cholesky(_positive(t, x)), (Arg((1, 70, 70), -0.5, 0.5),), **_LARGE),
    Case("cholesky_solve", lambda t, b, x: t.cholesky_solve(b, t.linalg.cholesky(_positive(t, x))), (_B, _S),
         tolerance=8, reason=_WHY, simulated=("forward",)),
    Case("cholesky_inverse", lambda t, x: t.cholesky_inverse(t.linalg.cholesky(_positive(t, x))), (_S,),
         tolerance=8, reason=_WHY, simulated=("forward",)),
    Case("solve_triangular-lower", lambda t, a, b: t.linalg.solve_triangular(_far(t, a), b, upper=False), (_S, _B)),
    Case("solve_triangular-right-upper-unit",
         lambda t, a, b: t.linalg.solve_triangular(a * 0.1, b.mT, upper=True, left=False, unitriangular=True),
         (_S, _B)),
    Case("solve_triangular-blocks", lambda t, a, b: t.linalg.solve_triangular(_far(t, a), b, upper=True),
         (Arg((70, 70), -0.3, 0.3), Arg((70, 3))), **_LARGE),
    Case("lu_factor", lambda t, x: t.linalg.lu_factor(x)[0], (_S,), tolerance=10, reason=_WHY),
    Case("lu-tall", lambda t, x: t.linalg.lu(x), (Arg((5, 3)),), tolerance=10, reason=_WHY,
         simulated=("forward",)),
    Case("lu-wide", lambda t, x: t.linalg.lu(x), (Arg((2, 3, 5)),), tolerance=10, reason=_WHY,
         simulated=("forward",)),
    Case("lu_factor-blocks", lambda t, x: t.linalg.lu_factor(_far(t, x))[0], (Arg((40, 40), -1, 1),), **_LARGE),
    Case("lu_solve-adjoint", lambda t, a, b: t.linalg.lu_solve(*t.linalg.lu_factor(_far(t, a)), b, adjoint=True),
         (_S, _B), tolerance=4, reason=_WHY, simulated=("forward",)),
    Case("solve", lambda t, a, b: t.linalg.solve(_far(t, a), b), (_S, _B), tolerance=4, reason=_WHY),
    Case("solve-right", lambda t, a, b: t.linalg.solve(_far(t, a), b.mT, left=False), (_S, _B), tolerance=4,
         reason=_WHY, simulated=("forward",)),
    Case("solve-vectors", lambda t, a, b: t.linalg.solve(_far(t, a), b), (_S, Arg((2, 3))), tolerance=4,
         reason=_WHY, simulated=("forward",)),
    Case("inv", lambda t, x: t.linalg.inv(_far(t, x)), (_S,), tolerance=4, reason=_WHY),
    Case("inv-blocks", lambda t, x: t.linalg.inv(_far(t, x)), (Arg((40, 40), -0.5, 0.5),), **_LARGE),
    Case("det", lambda t, x: t.linalg.det(x), (_S,), tolerance=10, reason=_WHY),
    Case("slogdet", lambda t, x: t.linalg.slogdet(_far(t, x))[1], (_S,), tolerance=4, reason=_WHY,
         simulated=("forward",)),
    Case("qr-tall", lambda t, x: t.linalg.qr(x), (_M,), tolerance=10, reason=_WHY),
    Case("qr-wide", lambda t, x: t.linalg.qr(x), (Arg((2, 3, 5)),), tolerance=10, reason=_WHY,
         simulated=("forward",)),
    Case("qr-complete", lambda t, x: t.linalg.qr(x, "complete"), (_M,), differentiable=(), tolerance=10, reason=_WHY),
    Case("qr-blocks", lambda t, x: t.linalg.qr(x), (Arg((50, 40)),), **_LARGE),
    Case("householder_product", lambda t, x, tau: t.linalg.householder_product(x, tau), (_M, Arg((2,), 0.1, 0.5)),
         tolerance=4, reason=_WHY, simulated=("forward",)),
    Case("ormqr", lambda t, x, tau, c: t.ormqr(x, tau, c, True, True), (_M, Arg((3,), 0.1, 0.5), Arg((4, 2))),
         tolerance=8, reason=_WHY, simulated=("forward",)),
    Case("geqrf", lambda t, x: t.geqrf(x), (_M,), differentiable=(), tolerance=10, reason=_WHY),
    Case("eigh", lambda t, x: (lambda w, v: (w, v.abs()))(*t.linalg.eigh(_symmetric(x))), (_S,), tolerance=20,
         reason="vectors of close eigenvalues"),
    Case("eigvalsh-upper", lambda t, x: t.linalg.eigvalsh(_symmetric(x), "U"), (_S,), tolerance=10, reason=_WHY,
         simulated=()),
    Case("svd", lambda t, x: (lambda u, s, v: (u.abs(), s, v.abs()))(*t.linalg.svd(x, False)), (_M,), tolerance=20,
         reason="vectors of close singular values"),
    Case("svd-wide-full", lambda t, x: t.linalg.svd(x)[1], (Arg((2, 3, 4)),), tolerance=10, reason=_WHY,
         simulated=("forward",)),
    Case("pinv", lambda t, x: t.linalg.pinv(x), (_M,), tolerance=20, reason=_WHY, simulated=("forward",)),
    Case("lstsq", lambda t, a, b: t.linalg.lstsq(a, b, driver="gels")[0], (_M, Arg((4, 2))), tolerance=20,
         reason=_WHY, simulated=()),
    Case("matrix_exp", lambda t, x: t.linalg.matrix_exp(x), (Arg((2, 3, 3), -1, 1),), tolerance=10, reason=_WHY,
         simulated=("forward",)),
    Case("matrix_power-inverse", lambda t, x: t.linalg.matrix_power(_far(t, x), -3), (_S,), tolerance=10,
         reason=_WHY, simulated=()),
    Case("multi_dot", lambda t, x, y, z: t.linalg.multi_dot([x, y, z]), (Arg((3,)), Arg((3, 4)), Arg((4, 2))),
         simulated=()),
    Case("cond-1", lambda t, x: t.linalg.cond(_far(t, x), 1), (_S,), tolerance=10, reason=_WHY, differentiable=(), simulated=()),
]  # fmt: skip
