"""Factorisations of matrices and solves with them, differentiable: what the public functions are made of.

Matrices are the last two dimensions, batches any before them, real or complex. VJPs are written with
:func:`adjoint`, the conjugate transpose, and hold for both: a rule here is ``whole``.
"""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules.creation import eye, zeros
from tilegrad.autograd.rules.masked import tril, triu
from tilegrad.autograd.rules.matmul import matmul
from tilegrad.autograd.rules.movement import cat
from tilegrad.autograd.rules.planar import conj
from tilegrad.autograd.rules.view import diagonal, expand, narrow, transpose, unsqueeze
from tilegrad.engine import dtype as dt
from tilegrad.engine.errors import LinAlgError
from tilegrad.engine.ops import create, linalg as ops
from tilegrad.engine.shape import broadcast_shapes
from tilegrad.engine.transfer import host

__all__: list[str] = []

Pair = tuple[Tensor, Tensor]


def adjoint(x: Tensor) -> Tensor:
    """The conjugate transpose."""
    return conj(transpose(x, -2, -1))


def folded(x: Tensor) -> Tensor:
    """A triangle and its adjoint, which share the diagonal: its real part."""
    n = x.layout.shape[-1]
    both = x + adjoint(x)
    return both * (1 - 0.5 * eye(n, dtype=x.layout.dtype.to_real(), device=x.layout.device))


def matrices(op: str, x: Tensor, square: bool = False, name: str = "A") -> None:
    """Refuse what is no batch of (square) matrices of a floating or complex dtype, in PyTorch's words.

    Raises:
        RuntimeError: it is none.
    """
    if not isinstance(x, TensorBase):
        raise TypeError(
            f"{op}(): argument '{name}' (position 1) must be Tensor, not {type(x).__name__}"
        )
    shape = x.layout.shape
    if len(shape) < 2:
        raise RuntimeError(f"{op}: The input tensor {name} must have at least 2 dimensions.")
    if square and shape[-1] != shape[-2]:
        raise RuntimeError(
            f"{op}: {name} must be batches of square matrices, but they are {shape[-2]} by {shape[-1]} "
            f"matrices"
        )
    floating(op, x)


def floating(op: str, x: Tensor) -> None:
    """Refuse another dtype than a floating or complex one."""
    if not x.layout.dtype.has_gradient:
        raise RuntimeError(
            f"{op}: Expected a floating point or complex tensor as input. Got {title(x)}"
        )


def title(x: Tensor) -> str:
    """The dtype's name in PyTorch's messages."""
    return _SPELLED.get(x.layout.dtype.name, x.layout.dtype.name)


_SPELLED = {
    "float32": "Float", "float64": "Double", "int64": "Long", "int32": "Int", "int16": "Short", "int8": "Char", "uint8": "Byte", "bool": "Bool",
    "complex64": "ComplexFloat", "complex128": "ComplexDouble",
}  # fmt: skip


def check(op: str, info: Tensor, what: str, kind: type[RuntimeError] = LinAlgError) -> None:
    """Raise ``kind`` where a code is not 0; ``what`` may name it as ``{0}``.

    Raises:
        LinAlgError: a factorisation failed.
    """
    codes = host(info).reshape(-1)
    if not codes.any():
        return
    place = int(codes.nonzero()[0][0])
    batch = f"(Batch element {place}): " if info.ndim else ""
    raise kind(f"{op}: {batch}{what.format(codes[place])}")


SINGULAR = "The solver failed because the input matrix is singular."
UNINVERTIBLE = (
    "The diagonal element {0} is zero, the inversion could not be completed because the input matrix is "
    "singular."
)
NOT_POSITIVE = (
    "The factorization could not be completed because the input is not positive-definite (the leading "
    "minor of order {0} is not positive-definite)."
)


def codes_like(x: Tensor) -> Tensor:
    """Zeros for each matrix: nothing failed."""
    return zeros(*x.layout.shape[:-2], dtype=dt.int32, device=x.layout.device)


def together(op: str, *several: Tensor) -> list[Tensor]:
    """The matrices, their batches broadcast to each other."""
    batch = broadcast_shapes(op, *[x.layout.shape[:-2] for x in several])
    return [
        x if x.layout.shape[:-2] == batch else expand(x, (*batch, *x.layout.shape[-2:]))
        for x in several
    ]


def blank(x: Tensor, *shape: int) -> Tensor:
    """Zeros of the batch of ``x`` by ``shape``: the result where there are no elements to compute, recorded."""
    made = zeros(*x.layout.shape[:-2], *shape, dtype=x.layout.dtype, device=x.layout.device)
    return made + nothing(x)


# ------------------------------------------------------------------------------------ Cholesky


def cholesky(x: Tensor, upper: bool) -> Pair:
    """The factor (lower: L L^H; upper: U^H U) of the lower (upper) half of ``x``, and int32 codes.

    Gradient: of ``x``, half from each side (Murray, Differentiation of the Cholesky decomposition, 2016);
    the result is saved.
    """
    if not x.layout.numel:
        return x * 1, codes_like(x)
    made, info = ops.cholesky(x, upper=upper)
    _CHOLESKY.record_all((x,), (made,), upper)
    return made, info


def _cholesky_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (factor,) = node.unpack()
    if node.meta:
        factor, grad = adjoint(factor), adjoint(grad)
    inner = folded(tril(matmul(adjoint(factor), grad)))
    left = triangular(adjoint(factor), inner, lower=False)
    return (triangular(factor, left, lower=True, left=False) * 0.5,)


_CHOLESKY = Rule("linalg_cholesky_ex", _cholesky_vjp, (-1,), whole=True)


# ---------------------------------------------------------------------------- triangular solves


def triangular(a: Tensor, b: Tensor, lower: bool, unit: bool = False, left: bool = True) -> Tensor:
    """``a^-1 b`` (``b a^-1`` where ``left`` is false) for a triangle of ``a``; equal batches.

    Gradient: of both, from the result and ``a``.
    """
    if not b.layout.numel or not a.layout.numel:
        return b * 1 + nothing(a)
    made = ops.triangular(a, b, lower=lower, unit=unit, left=left)
    return _TRIANGULAR.record((a, b), made, (lower, unit, left))


def nothing(a: Tensor) -> Tensor:
    """Zero, as the sum of no elements of ``a``, so that a gradient is there: zeros."""
    return narrow(a, -1, 0, 0).sum()


def _triangular_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    lower, unit, left = node.meta
    a, made = node.unpack()
    of_b = triangular(adjoint(a), grad, not lower, unit, left)
    if node.edges[0] is None:
        return None, of_b
    of_a = matmul(of_b, adjoint(made)) if left else matmul(adjoint(made), of_b)
    of_a = tril(of_a, -1 if unit else 0) if lower else triu(of_a, 1 if unit else 0)
    return -of_a, of_b


_TRIANGULAR = Rule("linalg_solve_triangular", _triangular_vjp, (0, (-1, 0)), whole=True)


# ------------------------------------------------------------------------------------------ LU


def lu_factor(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """L (unit, below the diagonal) and U in one matrix, pivots (int32, from 1) and codes.

    Gradient: of ``x``; results are saved.
    """
    m, n = x.layout.shape[-2:]
    if not x.layout.numel:
        pivots = zeros(*x.layout.shape[:-2], min(m, n), dtype=dt.int32, device=x.layout.device)
        return x * 1, pivots, codes_like(x)
    made, pivots, info = ops.lu(x)
    _LU.record_all((x,), (made, pivots), None)
    return made, pivots, info


def _lu_vjp(node: Node, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
    """A = P L U, by blocks where it is not square: what lies beyond the square part is a solve."""
    made, pivots = node.unpack()
    m, n = made.layout.shape[-2:]
    k = min(m, n)
    square, of_square = made, grad
    if m > k:
        square, of_square = narrow(made, -2, 0, k), narrow(grad, -2, 0, k)
    if n > k:
        square, of_square = narrow(made, -1, 0, k), narrow(grad, -1, 0, k)
    lower, upper = tril(square, -1), triu(square)
    of_lower = matmul(adjoint(lower), tril(of_square, -1)) + tril(of_square, -1)  # L^H gL, L unit
    of_upper = matmul(triu(of_square), adjoint(upper))
    beyond = None
    if m > k:
        low, of_low = narrow(made, -2, k, m - k), narrow(grad, -2, k, m - k)
        of_upper = of_upper - matmul(adjoint(low), of_low)
        beyond = triangular(adjoint(upper), of_low, lower=True, left=False)
    if n > k:
        right, of_right = narrow(made, -1, k, n - k), narrow(grad, -1, k, n - k)
        of_lower = of_lower - matmul(of_right, adjoint(right))
        beyond = triangular(adjoint(square), of_right, lower=False, unit=True)
    inner = tril(of_lower, -1) + triu(of_upper)
    inner = triangular(adjoint(square), inner, lower=False, unit=True)
    inner = triangular(adjoint(upper), inner, lower=True, left=False)
    if beyond is not None:
        inner = joined(inner, beyond, -2 if m > k else -1)
    return (matmul(permutation(pivots, m, inner.layout.dtype), inner),)


_LU = Rule("linalg_lu_factor_ex", _lu_vjp, (-1, -2), whole=True)


def joined(x: Tensor, y: Tensor, dim: int) -> Tensor:
    """One beside the other."""
    return cat((x, y), dim)


def permutation(pivots: Tensor, m: int, kind: dt.DType) -> Tensor:
    """The matrix P (m by m) of A = P L U for pivots as of :func:`lu_factor`: its exchanges undone on the
    identity, as a solve with L = U = 1.
    """
    batch, k = pivots.layout.shape[:-1], pivots.layout.shape[-1]
    one = eye(m, dtype=kind, device=pivots.layout.device)
    one = expand(one, (*batch, m, m))
    if k < m:
        more = expand(counting(k + 1, m + 1, pivots), (*batch, m - k))
        pivots = joined(pivots, more, -1)
    return adjoint(tensor_of(ops.lu_solve(one, pivots, one, transposed=False, left=True)))


def counting(first: int, last: int, like: Tensor) -> Tensor:
    """The integers from ``first`` to before ``last``, in the dtype and on the device of ``like``."""
    return tensor_of(create.arange(first, last, 1, like.layout.dtype, like.layout.device))


def lu_solve(
    lu: Tensor, pivots: Tensor, b: Tensor, transposed: bool = False, left: bool = True
) -> Tensor:
    """The solution for right-hand sides ``b`` by the factors of :func:`lu_factor` (``transposed``: of the
    adjoint); equal batches.

    Gradient: of ``lu`` and ``b``.
    """
    if not b.layout.numel or not lu.layout.numel:
        return b * 1 + nothing(lu)
    if state.grad and lu._tracked:  # by parts that know their derivatives
        p = permutation(pivots, lu.layout.shape[-1], lu.layout.dtype)
        if not left:
            return adjoint(_by_parts(lu, p, adjoint(b), not transposed))
        return _by_parts(lu, p, b, transposed)
    made = ops.lu_solve(lu, pivots, b, transposed=transposed, left=left)
    return _LU_SOLVE.record((lu, pivots, b), made, (transposed, left))


def _by_parts(lu: Tensor, p: Tensor, b: Tensor, transposed: bool) -> Tensor:
    if not transposed:
        inner = triangular(lu, matmul(adjoint(p), b), lower=True, unit=True)
        return triangular(lu, inner, lower=False)
    inner = triangular(adjoint(lu), b, lower=True)
    return matmul(p, triangular(adjoint(lu), inner, lower=False, unit=True))


def _lu_solve_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    transposed, left = node.meta
    lu, pivots = node.unpack()
    return None, None, lu_solve(lu, pivots, grad, not transposed, left)


_LU_SOLVE = Rule("linalg_lu_solve", _lu_solve_vjp, (0, 1), whole=True)


# --------------------------------------------------------------------------- solve and inverse


def solve(a: Tensor, b: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``a^-1 b``, the LU it was made of, pivots, codes; equal batches.

    Gradient: of both; by the LU, or by a new solve where the gradient is differentiated too.
    """
    if not b.layout.numel or not a.layout.numel:
        _, pivots, info = lu_factor(a.detach())
        return b * 1 + nothing(a), a.detach(), pivots, info
    made, lu, pivots, info = ops.solve(a, b)
    _SOLVE.record_all((a, b, tensor_of(lu), tensor_of(pivots)), (made,), None)
    return made, lu, pivots, info


def _solve_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    a, lu, pivots, made = node.unpack()
    if state.grad:
        of_b = solve(adjoint(a), grad)[0]
    else:
        of_b = lu_solve(lu, pivots, grad, transposed=True)
    of_a = None if node.edges[0] is None else -matmul(of_b, adjoint(made))
    return of_a, of_b, None, None


_SOLVE = Rule("linalg_solve_ex", _solve_vjp, (0, 2, 3, -1), whole=True)


def inverse(a: Tensor) -> Pair:
    """``a^-1`` and codes.

    Gradient: of ``a``, from the result.
    """
    if not a.layout.numel:
        return a * 1, codes_like(a)
    made, _, _, info = ops.solve(a)
    _INVERSE.record_all((a,), (made,), None)
    return made, info


def _inverse_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    (made,) = node.unpack()
    turned = adjoint(made)
    return (-matmul(matmul(turned, grad), turned),)


_INVERSE = Rule("linalg_inv_ex", _inverse_vjp, (-1,), whole=True)


# ------------------------------------------------------------------------------------------ QR


def geqrf(x: Tensor) -> Pair:
    """R on and above the diagonal, reflections below it, and their factors tau; no gradient."""
    k = min(x.layout.shape[-2:])
    if not x.layout.numel:
        return x.detach() * 1, blank(x, k).detach()
    made, tau = ops.qr(x)
    return made, tau


def multiply_q(
    a: Tensor, tau: Tensor, c: Tensor | None, left: bool = True, transposed: bool = False,
    shape: tuple[int, int] | None = None,
) -> Tensor:  # fmt: skip
    """``Q c`` or ``c Q`` for the reflections of :func:`geqrf` (of the adjoint of Q); where ``c`` is None the
    first columns of Q, of the size ``shape``; equal batches, no gradient.
    """
    size = shape if shape is not None else c.layout.shape[-2:]  # type: ignore[union-attr]
    if 0 in size or not tau.layout.numel:
        if c is not None:
            return c.detach() * 1
        one = eye(*size, dtype=a.layout.dtype, device=a.layout.device)
        return expand(one, (*a.layout.shape[:-2], *size)) * 1
    operands = (a, tau) if c is None else (a, tau, c)
    return tensor_of(ops.multiply_q(*operands, shape=tuple(size), left=left, transposed=transposed))


def qr(x: Tensor, mode: str) -> Pair:
    """Q and R: "reduced" (m by k, k by n), "complete" (m by m, m by n) or "r".

    Gradient: of ``x``, where its first min(m, n) columns are independent (Walter, Lehmann, Walter,
    On Higher-Order Derivatives of QR, 2018).
    """
    m, n = x.layout.shape[-2:]
    k = m if mode == "complete" else min(m, n)
    made, tau = geqrf(x.detach())
    r = triu(narrow(made, -2, 0, k))
    if mode == "r":
        q = zeros(0, dtype=x.layout.dtype, device=x.layout.device)
    else:
        first = narrow(made, -1, 0, min(m, n))
        q = multiply_q(first, tau, None, shape=(m, k))
    q, r = q.detach(), r.detach()
    _QR.record_all((x,), (q, r), mode)
    return q, r


def _qr_vjp(node: Node, of_q: Tensor, of_r: Tensor) -> tuple[Tensor | None, ...]:
    mode, (m, n) = node.meta, node.inputs[0].shape[-2:]
    if mode == "r":
        raise RuntimeError(
            "The derivative of linalg.qr depends on Q, which is not computed when mode='r'. Please use "
            "linalg.qr(A, mode='reduced') if you are going to require gradients and you do not need Q."
        )
    if mode == "complete" and m > n:
        raise RuntimeError(
            "The QR decomposition is not differentiable when mode='complete' and nrows > ncols."
        )
    q, r, *whole = node.unpack()
    if not node.inputs[0].numel:
        return (whole[0] * 0,)
    if n <= m:
        return (_qr_grad(of_q, of_r, q, r),)
    first, last = narrow(of_r, -1, 0, m), narrow(of_r, -1, m, n - m)
    rest = narrow(whole[0], -1, m, n - m)
    left = _qr_grad(of_q + matmul(rest, adjoint(last)), first, q, narrow(r, -1, 0, m))
    return (joined(left, matmul(q, last), -1),)


def _qr_grad(of_q: Tensor, of_r: Tensor, q: Tensor, r: Tensor) -> Tensor:
    inner = folded(triu(matmul(of_r, adjoint(r)) - matmul(adjoint(q), of_q)))
    return triangular(adjoint(r), matmul(q, inner) + of_q, lower=True, left=False)


_QR = Rule("linalg_qr", _qr_vjp, (-1, -2, 0), whole=True)


# ------------------------------------------------------------------------------- diagonals


def diagonal_of(x: Tensor) -> Tensor:
    """The diagonals of matrices."""
    return diagonal(x, 0, -2, -1)


def scaled_columns(x: Tensor, by: Tensor) -> Tensor:
    """``x diag(by)``."""
    return x * unsqueeze(by, -2)


def scaled_rows(x: Tensor, by: Tensor) -> Tensor:
    """``diag(by) x``."""
    return x * unsqueeze(by, -1)
