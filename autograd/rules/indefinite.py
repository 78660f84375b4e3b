"""L D L^T of symmetric matrices that need not be definite, by LAPACK in SciPy; without gradients."""

from __future__ import annotations

from typing import NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.rules import linalg as parts
from tilegrad.autograd.rules.creation import zeros
from tilegrad.autograd.rules.linalg import matrices
from tilegrad.autograd.rules.masked import tril
from tilegrad.engine import dtype as dt, lapack

__all__ = ["ldl_factor", "ldl_factor_ex", "ldl_solve"]


class linalg_ldl_factor(NamedTuple):
    LD: Tensor
    pivots: Tensor


class linalg_ldl_factor_ex(NamedTuple):
    LD: Tensor
    pivots: Tensor
    info: Tensor


def ldl_factor_ex(
    A: Tensor, *, hermitian: bool = False, check_errors: bool = False
) -> linalg_ldl_factor_ex:
    """L and D of ``A = L D L^H`` in one matrix (Bunch, Kaufman; LAPACK's sytrf in SciPy), pivots, codes."""
    matrices("torch.linalg.ldl_factor_ex", A, True)
    n = A.layout.shape[-1]
    if not A.layout.numel:
        pivots = zeros(*A.layout.shape[:-2], n, dtype=dt.int32, device=A.layout.device)
        return linalg_ldl_factor_ex(A * 1, pivots, parts.codes_like(A))
    made, pivots, info = map(
        tensor_of,
        lapack.ldl(
            "torch.linalg.ldl_factor_ex", A.detach(), hermitian and A.layout.dtype.is_complex
        ),
    )
    made = tril(made)
    if check_errors:
        parts.check(
            "torch.linalg.ldl_factor_ex",
            info,
            "D[{0},{0}] is zero, the matrix is singular.",
        )
    return linalg_ldl_factor_ex(made, pivots, info)


def ldl_factor(A: Tensor, *, hermitian: bool = False) -> linalg_ldl_factor:
    """L and D of ``A = L D L^H`` in one matrix, and int32 pivots, for :func:`ldl_solve`; no gradient."""
    return linalg_ldl_factor(*ldl_factor_ex(A, hermitian=hermitian, check_errors=True)[:2])


def ldl_solve(LD: Tensor, pivots: Tensor, B: Tensor, *, hermitian: bool = False) -> Tensor:
    """The solution of ``A X = B`` by the factors of :func:`ldl_factor`; no gradient."""
    op = "torch.linalg.ldl_solve"
    matrices(op, LD, True, "LD")
    if B.layout.ndim < 2 or B.layout.shape[-2] != LD.layout.shape[-1]:
        raise RuntimeError(
            f"{op}: Expected B to have as many rows as LD; got {B.layout.describe()}"
        )
    factors, sides = parts.together(op, LD, B)
    order = pivots.expand(*factors.layout.shape[:-1])
    if not sides.layout.numel:
        return sides * 1
    hermitian = hermitian and LD.layout.dtype.is_complex
    return tensor_of(lapack.ldl_solve(op, factors.detach(), order, sides.detach(), hermitian))
