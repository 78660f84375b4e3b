"""``tilegrad.linalg``: factorisations, determinants and solves, by PyTorch's names."""

from __future__ import annotations

from typing import NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import linalg as parts
from tilegrad.autograd.rules.creation import eye
from tilegrad.autograd.rules.linalg import adjoint, check, matrices, together
from tilegrad.autograd.rules.masked import diag_embed, tril, triu, where
from tilegrad.autograd.rules.matmul import matmul
from tilegrad.autograd.rules.planar import complex, conj, imag
from tilegrad.autograd.rules.view import expand, narrow, squeeze, unsqueeze
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops import linalg as ops

__all__ = [
    "cholesky", "cholesky_ex", "det", "householder_product", "inv", "inv_ex", "lu", "lu_factor",
    "lu_factor_ex", "lu_solve", "qr", "slogdet", "solve", "solve_ex", "solve_triangular",
]  # fmt: skip


class linalg_cholesky_ex(NamedTuple):
    L: Tensor
    info: Tensor


class linalg_inv_ex(NamedTuple):
    inverse: Tensor
    info: Tensor


class linalg_lu(NamedTuple):
    P: Tensor
    L: Tensor
    U: Tensor


class linalg_lu_factor(NamedTuple):
    LU: Tensor
    pivots: Tensor


class linalg_lu_factor_ex(NamedTuple):
    LU: Tensor
    pivots: Tensor
    info: Tensor


class linalg_qr(NamedTuple):
    Q: Tensor
    R: Tensor


class linalg_slogdet(NamedTuple):
    sign: Tensor
    logabsdet: Tensor


class linalg_solve_ex(NamedTuple):
    result: Tensor
    info: Tensor


# ------------------------------------------------------------------------------------ Cholesky


def cholesky(input: Tensor, *, upper: bool = False) -> Tensor:
    """The Cholesky factor L of ``A = L L^H`` (``upper``: U of ``A = U^H U``), right-looking by blocks.

    Args:
        input: (..., n, n), float; only the lower (upper) half is read.

    Raises:
        LinAlgError: a matrix is not positive definite.

    Gradient: of ``input`` (Murray, Differentiation of the Cholesky decomposition, 2016).
    """
    matrices("linalg.cholesky", input, True)
    made, info = parts.cholesky(input, upper)
    check("linalg.cholesky", info, parts.NOT_POSITIVE)
    return made


def cholesky_ex(
    input: Tensor, *, upper: bool = False, check_errors: bool = False
) -> linalg_cholesky_ex:
    """:func:`cholesky` and an int32 code for each matrix: 0, or the order of the first leading minor that
    is not positive; raises only with ``check_errors``.
    """
    matrices("linalg.cholesky_ex", input, True)
    made, info = parts.cholesky(input, upper)
    if check_errors:
        check("linalg.cholesky_ex", info, parts.NOT_POSITIVE)
    return linalg_cholesky_ex(made, info)


# -------------------------------------------------------------------------- LU and solves by it


def _pivoted(op: str, pivot: bool) -> None:
    if not pivot:
        raise RuntimeError(f"{op}: LU without pivoting is not implemented on the CPU")


def lu_factor_ex(
    A: Tensor, *, pivot: bool = True, check_errors: bool = False
) -> linalg_lu_factor_ex:
    """L and U of ``A = P L U`` in one matrix, int32 pivots (from 1) and codes: 0, or the first column whose
    pivot is 0.

    Gradient: of ``A``, (..., m, n) of any shape.
    """
    _pivoted("linalg.lu_factor", pivot)
    _wide_enough(A)
    made = linalg_lu_factor_ex(*parts.lu_factor(A))
    if check_errors:
        check("torch.linalg.lu_factor_ex", made.info, _ZERO, RuntimeError)
    return made


def _wide_enough(A: Tensor) -> None:
    if A.layout.ndim < 2:
        raise RuntimeError(
            f"torch.lu_factor: Expected tensor with 2 or more dimensions. Got size: {list(A.layout.shape)} "
            f"instead"
        )
    matrices("torch.lu_factor", A)


_ZERO = (
    "U[{0},{0}] is zero and using it on lu_solve would result in a division by zero. If you "
    "still want to perform the factorization, consider calling linalg.lu(A, pivot) or "
    "linalg.lu_factor_ex(A, pivot)"
)


def lu_factor(A: Tensor, *, pivot: bool = True) -> linalg_lu_factor:
    """L and U of ``A = P L U`` in one matrix and int32 pivots (from 1), for :func:`lu_solve`.

    Raises:
        RuntimeError: a pivot is zero.
    """
    _pivoted("linalg.lu_factor", pivot)
    _wide_enough(A)
    made, pivots, info = parts.lu_factor(A)
    check("torch.linalg.lu_factor", info, _ZERO, RuntimeError)
    return linalg_lu_factor(made, pivots)


def lu(A: Tensor, *, pivot: bool = True) -> linalg_lu:
    """``A = P L U``: a permutation, a unit lower and an upper triangle; (m, m), (m, k), (k, n)."""
    _pivoted("linalg.lu_factor", pivot)
    matrices("linalg.lu", A)
    made, pivots, _ = parts.lu_factor(A)
    return linalg_lu(parts.permutation(pivots, A.layout.shape[-2], A.layout.dtype), *halves(made))


def halves(made: Tensor) -> tuple[Tensor, Tensor]:
    """L and U of what :func:`lu_factor` gives."""
    m, n = made.layout.shape[-2:]
    k = min(m, n)
    left = tril(narrow(made, -1, 0, k), -1)
    one = eye(m, k, dtype=made.layout.dtype, device=made.layout.device)
    return left + one, triu(narrow(made, -2, 0, k))


def lu_solve(
    LU: Tensor, pivots: Tensor, B: Tensor, *, left: bool = True, adjoint: bool = False
) -> Tensor:
    """The solution of ``A X = B`` (``X A = B``; ``adjoint``: with A^H) by the factors of :func:`lu_factor`.

    Gradient: of ``LU`` and ``B``.
    """
    matrices("torch.linalg.lu_solve", LU, True, "LU")
    parts.floating("torch.linalg.lu_solve", LU)
    if pivots.layout.dtype is not dt.int32:
        raise RuntimeError("linalg.lu_solve: pivots should be a Tensor of scalar type torch.int32")
    _agree("linalg.lu_solve", LU, B, left)
    if pivots.layout.shape != LU.layout.shape[:-1]:
        raise RuntimeError(
            "linalg.lu_solve: Number of pivots per batch should be same as the dimension of the matrix"
        )
    factors, sides = together("linalg.lu_solve", LU, B)
    order = pivots
    if pivots.layout.shape[:-1] != factors.layout.shape[:-2]:
        order = expand(pivots, factors.layout.shape[:-1])
    return parts.lu_solve(factors, order, sides, adjoint, left)


def _agree(op: str, A: Tensor, B: Tensor, left: bool) -> None:
    """Whether the right-hand sides fit the matrices."""
    if A.layout.dtype is not B.layout.dtype:
        raise RuntimeError(
            f"{op}: Expected A and B to have the same dtype, but found A of type "
            f"{parts.title(A)} and B of type {parts.title(B)} instead"
        )
    if B.layout.ndim < 2:
        raise RuntimeError(f"{op}: The input tensor B must have at least 2 dimensions.")
    n, k = A.layout.shape[-1], B.layout.shape[-2 if left else -1]
    if n != k:
        raise RuntimeError(
            f"{op}: Incompatible shapes of A and B for the equation {'AX = B' if left else 'XA = B'} "
            f"({A.layout.shape[-2]}x{n} and {B.layout.shape[-2]}x{B.layout.shape[-1]})"
        )


def solve_triangular(
    input: Tensor, B: Tensor, *, upper: bool, left: bool = True, unitriangular: bool = False
) -> Tensor:
    """The solution of ``A X = B`` (``left=False``: ``X A = B``) for a triangle of A, which is all that is
    read, by blocked substitution.

    Gradient: of both.
    """
    matrices("linalg.solve_triangular", input, True)
    _agree("linalg.solve_triangular", input, B, left)
    a, b = together("linalg.solve_triangular", input, B)
    return parts.triangular(a, b, not upper, unitriangular, left)


def _is_vector(A: Tensor, B: Tensor) -> bool:
    """Whether B is a batch of vectors, as NumPy decides it."""
    a, b = A.layout.shape, B.layout.shape
    return len(b) == 1 or (len(a) - 1 == len(b) and b == a[:-1])


def _solve(op: str, A: Tensor, B: Tensor, left: bool) -> tuple[Tensor, Tensor]:
    matrices(op, A, True)
    vector = _is_vector(A, B)
    sides = unsqueeze(B, -1) if vector else B
    _agree(op, A, sides, left)
    a, b = together(op, A, sides)
    if left:
        made, _, _, info = parts.solve(a, b)
    else:
        made, _, _, info = parts.solve(adjoint(a), adjoint(b))
        made = adjoint(made)
    return (squeeze(made, -1) if vector else made), info


def solve_ex(
    A: Tensor, B: Tensor, *, left: bool = True, check_errors: bool = False
) -> linalg_solve_ex:
    """:func:`solve` and an int32 code for each matrix; raises only with ``check_errors``."""
    made, info = _solve("linalg.solve_ex", A, B, left)
    if check_errors:
        check("torch.linalg.solve_ex", info, parts.SINGULAR)
    return linalg_solve_ex(made, info)


def solve(A: Tensor, B: Tensor, *, left: bool = True) -> Tensor:
    """The solution of ``A X = B`` (``left=False``: ``X A = B``) by LU with partial pivoting.

    Args:
        A: (..., n, n); B: (..., n, k), or vectors (..., n).

    Raises:
        LinAlgError: a matrix is singular.

    Gradient: of both.
    """
    made, info = _solve("linalg.solve", A, B, left)
    check("torch.linalg.solve", info, parts.SINGULAR)
    return made


def inv_ex(A: Tensor, *, check_errors: bool = False) -> linalg_inv_ex:
    """:func:`inv` and an int32 code for each matrix; raises only with ``check_errors``."""
    matrices("linalg.inv_ex", A, True)
    made, info = parts.inverse(A)
    if check_errors:
        check("linalg.inv_ex", info, parts.UNINVERTIBLE)
    return linalg_inv_ex(made, info)


def inv(A: Tensor) -> Tensor:
    """The inverse, by LU with partial pivoting.

    Raises:
        LinAlgError: a matrix is singular.

    Gradient: of ``A``, ``-A^-H g A^-H``.
    """
    matrices("linalg.inv", A, True)
    made, info = parts.inverse(A)
    check("linalg.inv", info, parts.UNINVERTIBLE)
    return made


# ---------------------------------------------------------------------------------- determinants


def _factors(a: Tensor) -> tuple[Tensor, Tensor]:
    """The pivots of LU, and for each matrix 1 or -1, the sign of its exchanges of rows."""
    made, pivots, _ = parts.lu_factor(a.detach())
    stayed = pivots == parts.counting(1, a.layout.shape[-1] + 1, pivots)
    signs = stayed.to(a.layout.dtype.to_real()) * 2 - 1
    return parts.diagonal_of(made), signs.prod(-1)


def det(A: Tensor) -> Tensor:
    """The determinant: the product of the pivots of LU.

    Gradient: ``det(A) A^-H``; where a matrix is singular, its cofactors: of the matrix with eps in place of
    the pivot that is zero, by singular values where several are.
    """
    matrices("linalg.det", A, True)
    pivots, sign = _factors(A)
    made = pivots.prod(-1) * sign
    _DET.record_all((A,), (made,), None)
    return made


def _det_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, made = node.unpack()
    if not a.layout.numel:
        return (a * 0,)
    if bool((made == 0).any().item()):
        if not state.grad and bool((_zeros(a) > 1).any().item()):
            return (adjoint(_adjugate(a) * unsqueeze(unsqueeze(conj(grad), -1), -1)),)
        a = _mended(a)
        made = det(a)
    return (adjoint(_scaled_inverse(a, conj(grad) * made)),)


def _zeros(a: Tensor) -> Tensor:
    """How many pivots of each matrix are zero."""
    return (parts.diagonal_of(parts.lu_factor(a.detach())[0]) == 0).sum(-1)


def _adjugate(a: Tensor) -> Tensor:
    """The transposed cofactors, by singular values: V (the products of all others) U^H det(U Vh). Several zero
    pivots may stand for a rank of n - 1, which eps in their place would not tell from less.
    """
    u, s, vh = map(tensor_of, ops.svd(a.detach())[:3])
    n = s.layout.shape[-1]
    others = where(
        eye(n, dtype=s.layout.dtype, device=s.layout.device) > 0, 1.0, unsqueeze(s, -2)
    ).prod(-1)
    turn = unsqueeze(unsqueeze(det(u) * det(vh), -1), -1)
    return turn * matmul(adjoint(vh) * unsqueeze(others, -2), adjoint(u))


def _scaled_inverse(a: Tensor, by: Tensor) -> Tensor:
    """``by a^-1``, a number for each matrix."""
    return parts.inverse(a)[0] * unsqueeze(unsqueeze(by, -1), -1)


def _mended(a: Tensor) -> Tensor:
    """``a`` with eps, of the size of its largest pivot, added where pivots are zero."""
    factors, pivots, _ = parts.lu_factor(a.detach())
    diagonal = parts.diagonal_of(factors)
    largest = diagonal.abs().amax(-1, keepdim=True)
    least = dt.finfo(a.layout.dtype).eps * where(largest > 0, largest, largest + 1)
    more = where(diagonal == 0, least, diagonal * 0)
    low, _ = halves(factors)
    order = parts.permutation(pivots, a.layout.shape[-1], a.layout.dtype)
    return a + matmul(order, matmul(low, diag_embed(more)))


_DET = Rule("linalg_det", _det_vjp, (0, -1), whole=True)


def slogdet(A: Tensor) -> linalg_slogdet:
    """The sign of the determinant and the logarithm of its magnitude: ``sum log |u_ii|``.

    Gradient: ``A^-H``, by way of the logarithm, and of the sign of complex matrices.
    """
    matrices("linalg.slogdet", A, True)
    pivots, sign = _factors(A)
    sign = pivots.sgn().prod(-1) * sign
    logabsdet = pivots.abs().log().sum(-1)
    _SLOGDET.record_all((A,), (sign, logabsdet), None)
    return linalg_slogdet(sign, logabsdet)


def _slogdet_vjp(node: Node, of_sign: Tensor, grad: Tensor) -> tuple[Tensor | None, ...]:
    """(g - i Im(conj(g_sign) sign)) A^-H: the sign of a complex matrix turns with the trace of A^-1 dA."""
    a, sign = node.unpack()
    if not a.layout.numel:
        return (a * 0,)
    if a.layout.dtype.is_complex:
        grad = complex(grad, imag(conj(of_sign) * sign))
    return (adjoint(_scaled_inverse(a, grad)),)


_SLOGDET = Rule("linalg_slogdet", _slogdet_vjp, (0, -1), whole=True)


# ------------------------------------------------------------------------------------------ QR


def qr(A: Tensor, mode: str = "reduced") -> linalg_qr:
    """``A = Q R`` by Householder reflections; ``mode``: reduced, complete or r.

    Gradient: of ``A``, where its first columns are independent, not of mode r nor, for tall matrices, of
    mode complete.
    """
    matrices("linalg.qr", A)
    if mode not in ("reduced", "complete", "r"):
        raise RuntimeError(
            f"qr received unrecognized mode '{mode}' but expected one of 'reduced' (default), 'r', or "
            f"'complete'"
        )
    return linalg_qr(*parts.qr(A, mode))


def householder_product(input: Tensor, tau: Tensor) -> Tensor:
    """The first columns of ``H_1 H_2 … H_k``, ``H_i = 1 - tau_i v_i v_i^H``, ``v_i`` in column i of
    ``input``, which is 0 above the diagonal and 1 on it.

    Gradient: of both, by the product of the reflections one by one.
    """
    matrices("torch.linalg.householder_product", input, name="input")
    m, n = input.layout.shape[-2:]
    k = tau.layout.shape[-1] if tau.layout.ndim else 0
    if m < n:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-2] must be greater than or equal to "
            "input.shape[-1]"
        )
    if n < k:
        raise RuntimeError(
            "torch.linalg.householder_product: input.shape[-1] must be greater than or equal to "
            "tau.shape[-1]"
        )
    if tau.layout.shape[:-1] != input.layout.shape[:-2]:
        raise RuntimeError(
            f"torch.linalg.householder_product: Expected batch dimensions of tau to be equal to "
            f"input.shape[:-2], but got {list(tau.layout.shape[:-1])}"
        )
    if tau.layout.dtype is not input.layout.dtype:
        raise RuntimeError(
            f"torch.linalg.householder_product: tau dtype {tau.layout.dtype} does not match input dtype "
            f"{input.layout.dtype}"
        )
    return product_of(input, tau)


def product_of(a: Tensor, tau: Tensor, c: Tensor | None = None, left: bool = True,
               transposed: bool = False) -> Tensor:  # fmt: skip
    """The product of reflections with ``c``, or the first columns of it; recorded reflection by
    reflection where a gradient is asked for.
    """
    k = tau.layout.shape[-1]
    used = narrow(a, -1, 0, k)
    recorded = state.grad and any(t is not None and t._tracked for t in (a, tau, c))
    if not recorded:
        m, n = a.layout.shape[-2:]
        shape = (m, n) if c is None else None
        return parts.multiply_q(used.detach(), tau.detach(), c, left, transposed, shape)
    m, n = a.layout.shape[-2:]
    if c is None:
        one = eye(m, n, dtype=a.layout.dtype, device=a.layout.device)
        made = expand(one, (*a.layout.shape[:-2], m, n))
    else:
        made = c
    if not k:
        made = made + parts.nothing(a) + parts.nothing(tau)
    vectors = tril(used, -1) + eye(m, k, dtype=a.layout.dtype, device=a.layout.device)
    factors = conj(tau) if transposed else tau
    for i in range(k) if transposed is left else reversed(range(k)):
        v = narrow(vectors, -1, i, 1)
        t = unsqueeze(narrow(factors, -1, i, 1), -1)
        if left:
            made = made - t * matmul(v, matmul(adjoint(v), made))
        else:
            made = made - t * matmul(matmul(made, v), adjoint(v))
    return made
