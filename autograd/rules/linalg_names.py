"""Linear algebra under the names that it has outside ``tilegrad.linalg``."""

from __future__ import annotations

import math
from typing import NamedTuple, NoReturn

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.mode import state
from tilegrad.autograd.rules import decompositions, linalg as parts, matrices as products, spectral
from tilegrad.autograd.rules.creation import zeros
from tilegrad.autograd.rules.decompositions import halves, linalg_slogdet, product_of
from tilegrad.autograd.rules.linalg import adjoint, matrices, together
from tilegrad.autograd.rules.masked import where
from tilegrad.autograd.rules.matmul import matmul
from tilegrad.autograd.rules.random import randn
from tilegrad.autograd.rules.view import expand, transpose as turned

__all__ = [
    "cholesky", "cholesky_inverse", "cholesky_solve", "det", "geqrf", "inverse", "logdet", "lu",
    "lu_solve", "lu_unpack", "matrix_exp", "matrix_power", "orgqr", "ormqr", "pca_lowrank", "pinverse",
    "qr", "slogdet", "svd", "svd_lowrank", "symeig", "triangular_solve",
]  # fmt: skip


class geqrf_result(NamedTuple):
    a: Tensor
    tau: Tensor


class lu_unpack_result(NamedTuple):
    P: Tensor
    L: Tensor
    U: Tensor


class qr_result(NamedTuple):
    Q: Tensor
    R: Tensor


class svd_result(NamedTuple):
    U: Tensor
    S: Tensor
    V: Tensor


class triangular_solve_result(NamedTuple):
    solution: Tensor
    cloned_coefficient: Tensor


# ------------------------------------------------------------------------------------ Cholesky


def cholesky(input: Tensor, upper: bool = False) -> Tensor:
    """:func:`tilegrad.linalg.cholesky`.

    Gradient: of ``input``.
    """
    matrices("cholesky", input, True)
    made, info = parts.cholesky(input, upper)
    parts.check("cholesky", info, parts.NOT_POSITIVE)
    return made


def cholesky_solve(input: Tensor, input2: Tensor, upper: bool = False) -> Tensor:
    """The solution of ``A X = input`` by the factor ``input2`` of ``A = L L^H`` (``upper``: U^H U).

    Gradient: of both.
    """
    if input.layout.ndim < 2:
        raise RuntimeError(
            f"b should have at least 2 dimensions, but has {input.layout.ndim} dimensions instead"
        )
    if input2.layout.ndim < 2:
        raise RuntimeError(
            f"u should have at least 2 dimensions, but has {input2.layout.ndim} dimensions instead"
        )
    matrices("cholesky_solve", input2, True, "A")
    _fits("cholesky_solve", input2, input)
    factor, sides = together("cholesky_solve", input2, input)
    lower = adjoint(factor) if upper else factor
    inner = parts.triangular(lower, sides, lower=True)
    return parts.triangular(adjoint(lower), inner, lower=False)


def cholesky_inverse(input: Tensor, upper: bool = False) -> Tensor:
    """The inverse of ``A = L L^H`` (``upper``: U^H U) by its factor ``input``.

    Gradient: of ``input``.
    """
    matrices("cholesky_inverse", input, True)
    one = products._ones(input)
    return cholesky_solve(one, input, upper)


def _fits(op: str, A: Tensor, b: Tensor) -> None:
    """Whether the right-hand sides have as many rows."""
    n, (rows, cols) = A.layout.shape[-1], b.layout.shape[-2:]
    if n != rows:
        raise RuntimeError(
            f"Incompatible matrix sizes for {op}: each A matrix is {n} by {n} but each b matrix is {rows} by "
            f"{cols}"
        )


# ------------------------------------------------------------------------- LU, determinants, solves


def det(input: Tensor) -> Tensor:
    """:func:`tilegrad.linalg.det`.

    Gradient: of ``input``.
    """
    return decompositions.det(input)


def slogdet(input: Tensor) -> linalg_slogdet:
    """:func:`tilegrad.linalg.slogdet`.

    Gradient: of ``input``.
    """
    return decompositions.slogdet(input)


def logdet(input: Tensor) -> Tensor:
    """The logarithm of the determinant; NaN where a real one is negative.

    Gradient: of ``input``.
    """
    matrices("logdet", input, True)
    sign, logabsdet = decompositions.slogdet(input)
    if input.layout.dtype.is_complex:
        return sign.log() + logabsdet
    return where(sign < 0, math.nan, logabsdet)


def inverse(input: Tensor) -> Tensor:
    """:func:`tilegrad.linalg.inv`.

    Gradient: of ``input``.
    """
    return decompositions.inv(input)


def lu(
    A: Tensor, pivot: bool = True, get_infos: bool = False
) -> tuple[Tensor, Tensor] | tuple[Tensor, Tensor, Tensor]:
    """:func:`tilegrad.linalg.lu_factor` (``get_infos``: with codes), which raises nothing for codes.

    Gradient: of ``A``.
    """
    decompositions._pivoted("lu", pivot)
    matrices("lu", A)
    made, pivots, info = parts.lu_factor(A)
    return (made, pivots, info) if get_infos else (made, pivots)


def lu_solve(input: Tensor, LU_data: Tensor, LU_pivots: Tensor) -> Tensor:
    """:func:`tilegrad.linalg.lu_solve` for right-hand sides ``input``.

    Gradient: of ``input`` and ``LU_data``.
    """
    return decompositions.lu_solve(LU_data, LU_pivots, input)


def lu_unpack(
    LU_data: Tensor, LU_pivots: Tensor, unpack_data: bool = True, unpack_pivots: bool = True
) -> lu_unpack_result:
    """P, L and U of what :func:`tilegrad.linalg.lu_factor` gives; empty what is not asked for.

    Gradient: of ``LU_data``.
    """
    if unpack_pivots and LU_pivots.layout.dtype.name != "int32":
        raise RuntimeError(
            "torch.lu_unpack: LU_pivots is expected to be a contiguous tensor of torch.int32 dtype.\n"
            "Note: this function is intended to be used with the output produced by torch.linalg.lu_factor"
        )
    kind, device = LU_data.layout.dtype, LU_data.layout.device
    p = low = high = zeros(0, dtype=kind, device=device)
    if unpack_pivots:
        p = parts.permutation(LU_pivots, LU_data.layout.shape[-2], kind)
    if unpack_data:
        low, high = halves(LU_data)
    return lu_unpack_result(p, low, high)


def triangular_solve(
    input: Tensor, A: Tensor, upper: bool = True, transpose: bool = False, unitriangular: bool = False
) -> triangular_solve_result:  # fmt: skip
    """The solution of ``A X = input`` for a triangle of A, and a copy of A.

    Gradient: of both.
    """
    if input.layout.ndim < 2:
        raise RuntimeError(
            f"torch.triangular_solve: Expected b to have at least 2 dimensions, but it has "
            f"{input.layout.ndim} dimensions instead"
        )
    if A.layout.ndim < 2:
        raise RuntimeError(
            f"torch.triangular_solve: Expected A to have at least 2 dimensions, but it has "
            f"{A.layout.ndim} dimensions instead"
        )
    matrices("triangular_solve", A, True)
    _fits("triangular_solve", A, input)
    a, b = together("triangular_solve", A, input)
    if transpose:
        made = parts.triangular(turned(a, -2, -1), b, upper, unitriangular)
    else:
        made = parts.triangular(a, b, not upper, unitriangular)
    return triangular_solve_result(made, a * 1)


# ------------------------------------------------------------------------------------------ QR


def qr(input: Tensor, some: bool = True) -> qr_result:
    """:func:`tilegrad.linalg.qr`, reduced if ``some``, else complete.

    Gradient: of ``input``.
    """
    return qr_result(*decompositions.qr(input, "reduced" if some else "complete"))


def geqrf(input: Tensor) -> geqrf_result:
    """R on and above the diagonal, the vectors of reflections below it, and their factors tau.

    Gradient: none.
    """
    matrices("torch.geqrf", input, name="input")
    if state.grad and input._tracked:
        raise NotImplementedError("the derivative for 'geqrf' is not implemented.")
    return geqrf_result(*parts.geqrf(input))


def orgqr(input: Tensor, input2: Tensor) -> Tensor:
    """:func:`tilegrad.linalg.householder_product`.

    Gradient: of both.
    """
    return decompositions.householder_product(input, input2)


def ormqr(
    input: Tensor, input2: Tensor, input3: Tensor, left: bool = True, transpose: bool = False
) -> Tensor:
    """``Q C`` (``left=False``: ``C Q``; ``transpose``: of Q^H) for C = ``input3`` and the reflections
    ``input``, ``input2`` of :func:`geqrf`.

    Gradient: of all.
    """
    op = "torch.ormqr"
    matrices(op, input, name="input")
    if input3.layout.ndim < 2:
        raise RuntimeError(f"{op}: other must have at least 2 dimensions.")
    m, k = input.layout.shape[-2], input2.layout.shape[-1]
    side = input3.layout.shape[-2 if left else -1]
    if side < k or side != m:
        raise RuntimeError(
            f"{op}: other.shape[{-2 if left else -1}] must be "
            f"{'greater than or equal to tau.shape[-1]' if side < k else 'equal to input.shape[-2]'}"
        )
    if min(m, input.layout.shape[-1]) != k:
        raise RuntimeError(
            f"{op}: tau.shape[-1] must be equal to min(other.shape[{-2 if left else -1}], input.shape[-1])"
        )
    if input2.layout.shape[:-1] != input.layout.shape[:-2]:
        raise RuntimeError(
            f"{op}: Expected batch dimensions of tau to be equal to input.shape[:-2], but got "
            f"{list(input2.layout.shape[:-1])}"
        )
    if input3.layout.shape[:-2] != input.layout.shape[:-2]:
        raise RuntimeError(
            f"{op}: Expected batch dimensions of other to be equal to input.shape[:-2], but got "
            f"{list(input3.layout.shape[:-2])}"
        )
    return product_of(input, input2, input3, left, transpose)


# --------------------------------------------------------------------------- spectra and powers


def svd(input: Tensor, some: bool = True, compute_uv: bool = True) -> svd_result:
    """``input = U diag(S) V^H``, reduced if ``some``; zeros for U and V without ``compute_uv``.

    Gradient: of ``input``.
    """
    matrices("linalg.svd", input)
    if compute_uv:
        u, s, vh = spectral.svd(input, not some)
        return svd_result(u, s, adjoint(vh))
    m, n = input.layout.shape[-2:]
    kind, device, batch = input.layout.dtype, input.layout.device, input.layout.shape[:-2]
    u, v = (zeros(*batch, size, size, dtype=kind, device=device) for size in (m, n))
    return svd_result(u, spectral.svdvals(input), v)


def symeig(input: Tensor, eigenvectors: bool = False, upper: bool = True) -> NoReturn:
    """Refused: PyTorch has removed it for :func:`tilegrad.linalg.eigh`."""
    raise RuntimeError(
        "This function was deprecated since version 1.9 and is now removed. The default behavior has changed "
        "from using the upper triangular portion of the matrix by default to using the lower triangular "
        "portion: use linalg.eigh or linalg.eigvalsh"
    )


def pinverse(input: Tensor, rcond: float = 1e-15) -> Tensor:
    """:func:`tilegrad.linalg.pinv`.

    Gradient: of ``input``.
    """
    return spectral.pinv(input, rtol=rcond)


def matrix_exp(input: Tensor) -> Tensor:
    """:func:`tilegrad.linalg.matrix_exp`.

    Gradient: of ``input``.
    """
    return products.matrix_exp(input)


def matrix_power(input: Tensor, n: int) -> Tensor:
    """:func:`tilegrad.linalg.matrix_power`.

    Gradient: of ``input``.
    """
    return products.matrix_power(input, n)


def _range_of(A: Tensor, q: int, niter: int, M: Tensor | None) -> Tensor:
    """Orthonormal columns that the largest singular vectors lie near.

    Source: Halko, Martinsson, Tropp, Finding Structure with Randomness (2009), algorithm 4.4.
    """

    def times(x: Tensor, turned: bool = False) -> Tensor:
        made = matmul(adjoint(A) if turned else A, x)
        return made if M is None else made - matmul(adjoint(M) if turned else M, x)

    start = randn(A.layout.shape[-1], q, dtype=A.layout.dtype, device=A.layout.device)
    made = decompositions.qr(times(start)).Q
    for _ in range(niter):
        made = decompositions.qr(times(made, True)).Q
        made = decompositions.qr(times(made)).Q
    return made


def svd_lowrank(A: Tensor, q: int | None = 6, niter: int | None = 2, M: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """The ``q`` largest singular values of ``A - M`` and their vectors, U, S and V, from random vectors and
    ``niter`` power iterations.

    Gradient: of ``A`` and ``M``.
    """
    q, niter = 6 if q is None else q, 2 if niter is None else niter
    if M is not None:
        M = expand(M, A.layout.shape)
    wide = A.layout.shape[-2] < A.layout.shape[-1]
    if wide:
        A, M = adjoint(A), None if M is None else adjoint(M)
    basis = _range_of(A, q, niter, M)
    small = matmul(adjoint(basis), A if M is None else A - M)
    u, s, vh = spectral.svd(small, False)
    left, right = matmul(basis, u), adjoint(vh)
    return (right, s, left) if wide else (left, s, right)


def pca_lowrank(
    A: Tensor, q: int | None = None, center: bool = True, niter: int = 2
) -> tuple[Tensor, Tensor, Tensor]:
    """:func:`svd_lowrank` of ``A``, less the mean of each column if ``center``.

    Gradient: of ``A``.
    """
    m, n = A.layout.shape[-2:]
    q = min(6, m, n) if q is None else q
    if not 0 <= q <= min(m, n):
        raise ValueError(
            f"q(={q}) must be non-negative integer and not greater than min(m, n)={min(m, n)}"
        )
    if niter < 0:
        raise ValueError(f"niter(={niter}) must be non-negative integer")
    if not center:
        return svd_lowrank(A, q, niter)
    return svd_lowrank(A - A.mean(-2, keepdim=True), q, niter)
