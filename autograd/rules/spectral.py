"""``tilegrad.linalg``: eigenvalues and singular values, and what is made of them, by PyTorch's names.

Matrices of up to 32 rows (on CUDA of any number) by rotations of our own; larger ones by LAPACK in SciPy.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import linalg as parts
from tilegrad.autograd.rules.creation import eye, zeros
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.linalg import (
    adjoint,
    matrices,
    scaled_columns,
    scaled_rows,
)
from tilegrad.autograd.rules.masked import diag_embed, where
from tilegrad.autograd.rules.matmul import matmul
from tilegrad.autograd.rules.planar import conj, imag, real
from tilegrad.autograd.rules.view import expand, narrow, unsqueeze
from tilegrad.engine import dtype as dt, lapack
from tilegrad.engine.ops import linalg as ops

__all__ = [
    "eig", "eigh", "eigvals", "eigvalsh", "lstsq", "matrix_rank", "pinv",
    "svd", "svdvals",
]  # fmt: skip


class linalg_eigh(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class linalg_eig(NamedTuple):
    eigenvalues: Tensor
    eigenvectors: Tensor


class linalg_svd(NamedTuple):
    U: Tensor
    S: Tensor
    Vh: Tensor


class linalg_lstsq(NamedTuple):
    solution: Tensor
    residuals: Tensor
    rank: Tensor
    singular_values: Tensor


_ENDLESS = "The algorithm failed to converge because the input matrix contained non-finite values."


# ------------------------------------------------------------------------- symmetric matrices


def _symmetric(op: str, a: Tensor, lower: bool) -> tuple[Tensor, Tensor]:
    n = a.layout.shape[-1]
    if not a.layout.numel:
        return real(parts.blank(a, n)), parts.blank(a, n, n)
    if ops.rotates(a.layout):
        values, vectors, info = ops.eigh(a.detach(), lower=lower)
        if info.any().item():  # as LAPACK, which rotates what is not finite into NaN
            lost = unsqueeze(info != 0, -1)
            values = where(lost, math.nan, values)
            vectors = where(unsqueeze(lost, -1), math.nan, vectors)
    else:
        values, vectors = map(tensor_of, lapack.eigh(op, a.detach(), lower))
    _EIGH.record_all((a,), (values, vectors), None)
    return values, vectors


def _eigh_vjp(node: Node, of_values: Tensor, of_vectors: Tensor) -> tuple[Tensor | None, ...]:
    """V (diag(gL) + K / E) V^H with E_ij = l_j - l_i and K the skew part of V^H gV: vectors stay orthonormal.
    Between equal eigenvalues the vectors are not determined: their part is left out, which is right for what
    does not depend on the choice.
    """
    values, vectors = node.unpack()
    gaps = unsqueeze(values, -2) - unsqueeze(values, -1)
    apart = gaps != 0
    inner = matmul(adjoint(vectors), of_vectors)
    _phaseless("linalg_eigh_backward", "eigenvectors", inner)
    inner = (inner - adjoint(inner)) * 0.5 / where(apart, gaps, gaps + 1)
    inner = inner * apart + diag_embed(of_values)
    return (matmul(matmul(vectors, inner), adjoint(vectors)),)


_EIGH = Rule("linalg_eigh", _eigh_vjp, (-1, -2), whole=True)


def _phaseless(op: str, what: str, inner: Tensor) -> None:
    """Refuse gradients of complex vectors that depend on their phases, which nothing determines.

    Raises:
        RuntimeError: the diagonal of ``inner`` is not real.
    """
    if not inner.layout.dtype.is_complex:
        return
    diagonal = parts.diagonal_of(inner.detach())
    along, across = real(diagonal), imag(diagonal)
    if not bool((across.abs() <= 1e-2 + 1e-2 * along.abs()).all().item()):
        raise RuntimeError(
            f"{op}: The {what} in the complex case are specified up to multiplication by e^{{i phi}}. The "
            f"specified loss function depends on this quantity, so it is ill-defined."
        )


def _half(op: str, UPLO: str) -> bool:
    if not isinstance(UPLO, str) or UPLO.upper() not in ("L", "U"):
        raise RuntimeError(f"Expected UPLO argument to be 'L' or 'U', but got {UPLO}")
    return UPLO.upper() == "L"


def eigh(A: Tensor, UPLO: str = "L") -> linalg_eigh:
    """Eigenvalues in rising order and orthonormal vectors (columns) of symmetric matrices, of which the
    lower (``UPLO="U"``: upper) half is read; cyclic Jacobi up to 32 rows.

    Gradient: of ``A``, where the eigenvalues differ, or the result does not depend on the vectors' choice.

    NaN for what is not finite.
    """
    matrices("linalg.eigh", A, True)
    return linalg_eigh(*_symmetric("linalg.eigh", A, _half("linalg.eigh", UPLO)))


def eigvalsh(A: Tensor, UPLO: str = "L") -> Tensor:
    """The eigenvalues of :func:`eigh`.

    Gradient: of ``A``.
    """
    matrices("linalg.eigvalsh", A, True)
    return _symmetric("linalg.eigh", A, _half("linalg.eigvalsh", UPLO))[0]


# -------------------------------------------------------------------------- any square matrices


def _any(op: str, a: Tensor) -> tuple[Tensor, Tensor]:
    n, kind = a.layout.shape[-1], a.layout.dtype.to_complex()
    if not a.layout.numel:
        return to_dtype(parts.blank(a, n), kind), to_dtype(parts.blank(a, n, n), kind)
    values, vectors = map(tensor_of, lapack.eig(op, a.detach()))
    _EIG.record_all((a,), (values, vectors), None)
    return values, vectors


def _eig_vjp(node: Node, of_values: Tensor, of_vectors: Tensor) -> tuple[Tensor | None, ...]:
    """V^-H (diag(gL) + (V^H gV - V^H V diag(Re(V^H gV))) / conj(E)) V^H with E_ij = l_j - l_i: vectors keep
    their length.

    Source: Boeddeker et al., On the Computation of Complex-valued Gradients (2017), 4.77.
    """
    values, vectors = node.unpack()
    back = adjoint(vectors)
    inner = matmul(back, of_vectors)
    _phaseless("linalg_eig_backward", "eigenvectors", inner)
    inner = inner - scaled_columns(matmul(back, vectors), real(parts.diagonal_of(inner)))
    gaps = conj(unsqueeze(values, -2) - unsqueeze(values, -1))
    one = eye(values.layout.shape[-1], dtype=values.layout.dtype, device=values.layout.device)
    inner = inner / (gaps + one)
    inner = inner * (1 - one) + diag_embed(of_values)
    return (parts.solve(back, matmul(inner, back))[0],)


_EIG = Rule("linalg_eig", _eig_vjp, (-1, -2), whole=True)


def eig(A: Tensor) -> linalg_eig:
    """Eigenvalues and vectors (columns, of length 1) of square matrices, complex, by LAPACK's geev in SciPy;
    in its order.

    Gradient: of ``A``, where the eigenvalues differ, of what does not depend on the vectors' phases.

    Raises:
        RuntimeError: a matrix is not finite.
        ImportError: SciPy is not installed.
    """
    matrices("linalg.eig", A, True)
    return linalg_eig(*_any("linalg.eig", A))


def eigvals(A: Tensor) -> Tensor:
    """The eigenvalues of :func:`eig`.

    Gradient: of ``A``.
    """
    op = "linalg.eigvals"
    matrices(op, A, True)
    if (state.grad and A._tracked) or not A.layout.numel:
        return _any(op, A)[0]
    return tensor_of(lapack.eig(op, A.detach(), vectors=False)[0])


# ----------------------------------------------------------------------------- singular values


def _thin(op: str, a: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    m, n = a.layout.shape[-2:]
    k = min(m, n)
    if not a.layout.numel:
        return parts.blank(a, m, k), real(parts.blank(a, k)), parts.blank(a, k, n)
    if ops.rotates(a.layout):
        u, s, vh, info = ops.svd(a.detach())
        parts.check(op, info, _ENDLESS)
    else:
        u, s, vh = map(tensor_of, lapack.svd(op, a.detach()))
    _SVD.record_all((a,), (u, s, vh), None)
    return u, s, vh


def _svd_vjp(node: Node, of_u: Tensor, of_s: Tensor, of_vh: Tensor) -> tuple[Tensor | None, ...]:
    """Source: Townsend, Differentiating the Singular Value Decomposition (2016). Between equal singular
    values vectors are not determined: their part is left out.
    """
    u, s, vh = node.unpack()
    (m, k), n = u.layout.shape[-2:], vh.layout.shape[-1]
    left, right = matmul(adjoint(u), of_u), matmul(vh, adjoint(of_vh))
    _phaseless("svd_backward", "singular vectors", left + right)
    squares = s * s
    gaps = unsqueeze(squares, -2) - unsqueeze(squares, -1)
    apart = gaps != 0
    gaps = where(apart, gaps, gaps + 1)
    inner = scaled_columns((left - adjoint(left)) * apart / gaps, s)
    inner = inner + scaled_rows((right - adjoint(right)) * apart / gaps, s)
    less = 1 / where(s != 0, s, s + 1)
    if u.layout.dtype.is_complex:  # the phase between both vectors
        inner = inner + diag_embed(parts.diagonal_of(left - adjoint(left)) * less * 0.5)
    made = matmul(matmul(u, inner + diag_embed(of_s)), vh)
    if m > k:
        beyond = of_u - matmul(u, left)
        made = made + matmul(scaled_columns(beyond, less), vh)
    if n > k:
        across = of_vh - matmul(adjoint(right), vh)
        made = made + matmul(u, scaled_rows(across, less))
    return (made,)


_SVD = Rule("linalg_svd", _svd_vjp, (-1, -2, -3), whole=True)


def svd(A: Tensor, full_matrices: bool = True, *, driver: str | None = None) -> linalg_svd:
    """``A = U diag(S) Vh``, S in falling order; ``full_matrices``: U (m, m) and Vh (n, n), else (m, k) and
    (k, n). One-sided Jacobi where min(m, n) is 32 or less.

    Gradient: of ``A``, where singular values differ (and are not 0, of U and Vh of matrices that are not
    square), of the first k vectors.

    Raises:
        LinAlgError: a matrix is not finite.
    """
    matrices("linalg.svd", A)
    if driver is not None:
        _refuse_driver("torch.linalg.svd", driver, A)
    u, s, vh = _thin("linalg.svd", A)
    if full_matrices:
        u, vh = _completed(u), adjoint(_completed(adjoint(vh)))
    return linalg_svd(u, s, vh)


def _refuse_driver(op: str, driver: str, a: Tensor) -> None:
    if a.layout.device.type == "cpu":
        raise RuntimeError(
            f"{op}: keyword argument `driver=` is only supported on CUDA inputs with cuSOLVER backend."
        )


def _completed(u: Tensor) -> Tensor:
    """Orthonormal columns, with more behind them until the matrix is square."""
    m, k = u.layout.shape[-2:]
    if m == k:
        return u
    made, tau = parts.geqrf(u.detach())
    whole = parts.multiply_q(made, tau, None, shape=(m, m)) if k else _identity(u, m)
    return parts.joined(u, narrow(whole, -1, k, m - k), -1)


def _identity(u: Tensor, m: int) -> Tensor:
    one = eye(m, dtype=u.layout.dtype, device=u.layout.device)
    return expand(one, (*u.layout.shape[:-2], m, m))


def svdvals(A: Tensor, *, driver: str | None = None) -> Tensor:
    """The singular values in falling order.

    Gradient: of ``A``.
    """
    matrices("linalg.svdvals", A)
    if driver is not None:
        _refuse_driver("torch.linalg.svdvals", driver, A)
    return _thin("linalg.svd", A)[1]


# ------------------------------------------------------------------------------------- tolerance


def _tolerances(
    a: Tensor, atol: float | Tensor | None, rtol: float | Tensor | None
) -> tuple[float | Tensor | None, float | Tensor | None]:
    """Those that are not given, as PyTorch: rtol = eps max(m, n) unless atol is given and above 0."""
    if rtol is None:
        usual = dt.finfo(a.layout.dtype).eps * max(a.layout.shape[-2:], default=0)
        if atol is None:
            rtol = usual
        elif isinstance(atol, TensorBase):
            rtol = where(atol > 0, atol * 0, atol * 0 + usual)
        else:
            rtol = 0.0 if atol > 0 else usual
    return (0.0 if atol is None else atol), rtol


def _least(
    a: Tensor, sizes: Tensor, atol: float | Tensor | None, rtol: float | Tensor | None
) -> Tensor:
    """The tolerance of each matrix, (…, 1), for its falling singular values."""
    absolute, relative = _tolerances(a, atol, rtol)
    largest = sizes.amax(-1, keepdim=True)

    def column(x: float | Tensor | None) -> float | Tensor:
        if isinstance(x, TensorBase):
            return unsqueeze(x, -1)
        return 0.0 if x is None else float(x)  # type: ignore[arg-type]

    relative = largest * column(relative)
    first = column(absolute)
    if not isinstance(first, TensorBase):
        return relative.clamp(min=first)
    return relative.maximum(first.to(relative.layout.dtype))


def matrix_rank(
    A: Tensor, tol: float | Tensor | None = None, *, atol: float | Tensor | None = None, rtol: float | Tensor | None = None, hermitian: bool = False
) -> Tensor:  # fmt: skip
    """How many singular values exceed ``max(atol, rtol * largest)``, int64; ``tol`` stands for atol alone."""
    matrices("torch.linalg.matrix_rank", A, hermitian)
    if tol is not None:
        atol, rtol = tol, 0.0
    sizes = eigvalsh(A.detach()).abs() if hermitian else svdvals(A.detach())
    if not sizes.layout.shape[-1]:
        return zeros(*A.layout.shape[:-2], dtype=dt.int64, device=A.layout.device)
    return (sizes > _least(A, sizes, atol, rtol)).sum(-1)


def pinv(
    A: Tensor, *, atol: float | Tensor | None = None, rtol: float | Tensor | None = None, hermitian: bool = False, rcond: float | Tensor | None = None
) -> Tensor:  # fmt: skip
    """The pseudo-inverse (Moore, Penrose) by singular values above ``max(atol, rtol * largest)``.

    Gradient: of ``A``, of constant rank (Golub, Pereyra, 1973).
    """
    if A.layout.ndim < 2:
        raise RuntimeError(
            f"linalg.pinv({parts.title(A)}{{{list(A.layout.shape)}}}): expected a tensor with 2 or more "
            f"dimensions of float, double, cfloat or cdouble types"
        )
    matrices("linalg.pinv", A, hermitian)
    if rcond is not None:
        rtol = rcond
    m, n = A.layout.shape[-2:]
    if not A.layout.numel:
        return parts.blank(A, n, m)
    made = _pseudo(A.detach(), atol, rtol, hermitian)
    _PINV.record_all((A,), (made,), None)
    return made


def _pseudo(
    a: Tensor, atol: float | Tensor | None, rtol: float | Tensor | None, hermitian: bool
) -> Tensor:
    if hermitian:
        values, vectors = eigh(a)
        sizes = values.abs()
        kept = sizes > _least(a, sizes, atol, rtol)
        inverse = where(kept, 1 / where(kept, values, values * 0 + 1), values * 0)
        return matmul(scaled_columns(vectors, inverse), adjoint(vectors))
    u, s, vh = svd(a, False)
    kept = s > _least(a, s, atol, rtol)
    inverse = where(kept, 1 / where(kept, s, s * 0 + 1), s * 0)
    return matmul(scaled_columns(adjoint(vh), inverse), adjoint(u))


def _pinv_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, made = node.unpack()
    m, n = a.layout.shape[-2:]
    back, turned = adjoint(grad), adjoint(made)
    if m <= n:
        inner = matmul(back, made)
        outer = matmul(inner, turned)
        found = outer - adjoint(matmul(made, inner)) - matmul(matmul(a, made), outer)
        return (found + matmul(matmul(turned, made), back - matmul(inner, a)),)
    inner = matmul(made, back)
    outer = matmul(turned, inner)
    found = outer - adjoint(matmul(inner, made)) - matmul(matmul(outer, made), a)
    return (found + matmul(matmul(back - matmul(a, inner), made), turned),)


_PINV = Rule("linalg_pinv", _pinv_vjp, (0, -1), whole=True)


# --------------------------------------------------------------------------------- least squares

_DRIVERS = ("gels", "gelsy", "gelsd", "gelss")


def lstsq(
    input: Tensor, b: Tensor, rcond: float | None = None, *, driver: str | None = None
) -> linalg_lstsq:
    """The X of least ``|A X - B|``, and of these the least ``|X|``: by QR (``driver="gels"``, which
    supposes full rank), else by singular values.

    Returns:
        solution; residuals, where the rank is full and there are more rows than columns; rank, unless by
        gels; singular values by gelsd and gelss.

    Gradient: of both, by the pseudo-inverse.
    """
    op = "torch.linalg.lstsq"
    matrices(op, input, name="input")
    device = input.layout.device
    if driver is None:
        driver = "gelsy" if device.type == "cpu" else "gels"
    if driver not in _DRIVERS or (device.type != "cpu" and driver != "gels"):
        names = f"({', '.join(_DRIVERS)})" if device.type == "cpu" else "'gels'"
        raise RuntimeError(f"{op}: parameter `driver` should be one of {names}")
    if b.layout.dtype is not input.layout.dtype:
        raise RuntimeError(
            f"{op}: Expected input and other to have the same dtype, but got input's dtype "
            f"{parts.title(input)} and other's dtype {parts.title(b)}"
        )
    if b.layout.ndim < 1:
        raise RuntimeError(f"{op}: other must have at least 1 dimension.")
    vector = b.layout.ndim == input.layout.ndim - 1 and b.layout.shape == input.layout.shape[:-1]
    sides = unsqueeze(b, -1) if vector else b
    if sides.layout.ndim < 2 or sides.layout.shape[-2] != input.layout.shape[-2]:
        raise RuntimeError(f"{op}: input.size(-2) should match other.size(-2)")
    a, sides = parts.together(op, input, sides)
    return _least_squares(a, sides, driver, rcond, vector)


def _least_squares(
    a: Tensor, b: Tensor, driver: str, rcond: float | None, vector: bool
) -> linalg_lstsq:
    m, n = a.layout.shape[-2:]
    nothing = zeros(0, dtype=a.layout.dtype, device=a.layout.device)
    empty = real(nothing + parts.nothing(a))
    rank, sizes = zeros(0, dtype=dt.int64, device=a.layout.device), real(nothing)
    relative = dt.finfo(a.layout.dtype).eps * max(m, n) if rcond is None else rcond
    if driver == "gels":
        x = _by_qr(a, b)
        full = True
    else:
        x = matmul(pinv(a, rtol=relative), b)
        found = svdvals(a.detach())
        rank = matrix_rank(a, rtol=relative)
        full = bool((rank == n).all().item())
        if driver in ("gelsd", "gelss"):
            sizes = found
    residuals = empty
    if m > n and full and driver != "gelsy":
        less = matmul(a, x) - b
        residuals = real(less * conj(less)).sum(-2)
    return linalg_lstsq(x.squeeze(-1) if vector else x, residuals, rank, sizes)


def _by_qr(a: Tensor, b: Tensor) -> Tensor:
    m, n = a.layout.shape[-2:]
    if m >= n:
        q, r = parts.qr(a, "reduced")
        return parts.triangular(r, matmul(adjoint(q), b), lower=False)
    q, r = parts.qr(adjoint(a), "reduced")
    return matmul(q, parts.triangular(adjoint(r), b, lower=True))
