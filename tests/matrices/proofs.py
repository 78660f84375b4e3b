"""How far results are from what they promise, per matrix, relative to the operands: backward errors where one can
be told, else errors beside NumPy's float64 over the condition number.

``f(ins, outs, unit)`` yields pairs of a name and errors; ``unit`` is eps times rows.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np

Errors = Iterator[tuple[str, Any]]
_edge = [False]


@contextlib.contextmanager
def at_edge(edge: bool) -> Iterator[None]:
    """While it lasts, what a matrix that is as good as singular cannot promise is left out."""
    _edge[0] = edge
    try:
        yield
    finally:
        _edge[0] = False


def turned(x: Any) -> Any:
    """The adjoint."""
    return x.conj().swapaxes(-1, -2)


def size(x: Any) -> Any:
    """The largest magnitude of each matrix, (…, 1, 1)."""
    return np.abs(x).max((-2, -1), keepdims=True, initial=0)


def over(x: Any, *by: Any) -> Any:
    """``|x|`` over the product of the sizes; 0 where there is nothing and nothing is left."""
    whole: Any = 1
    for one in by:
        whole = whole * size(one)
    least = np.finfo(x.dtype).tiny * 1e10
    return np.where(np.abs(x) == 0, 0, np.abs(x) / np.maximum(whole, least))


def unitary(q: Any) -> Any:
    """How far the columns are from orthonormal."""
    return np.abs(turned(q) @ q - np.eye(q.shape[-1]))


def zero(x: Any) -> Any:
    """Infinite where it is not zero."""
    return np.where(x == 0, 0, np.inf)


def small(x: Any) -> Any:
    """A float64 or complex128 copy of size 1 (0 stays), and the sizes, for NumPy's LAPACK."""
    scale = np.where(size(x) > 0, size(x), 1)
    return (x / scale).astype("complex128" if x.dtype.kind == "c" else "float64"), scale


def singular(a: Any) -> Any:
    """Singular values."""
    if 0 in a.shape:
        return np.zeros((*a.shape[:-2], min(a.shape[-2:])))
    made, scale = small(a)
    return np.linalg.svd(made, compute_uv=False) * scale[..., 0]


def condition(a: Any) -> Any:
    """The condition number, (…, 1, 1)."""
    s = singular(a)
    if not s.shape[-1]:
        return np.ones((*s.shape[:-1], 1, 1))
    return np.where(s[..., -1:] > 0, s[..., :1] / s[..., -1:], np.inf)[..., None]


def half(a: Any, upper: bool) -> Any:
    """The Hermitian matrix of a half."""
    if upper:
        return half(turned(a), False)
    n = a.shape[-1]
    return np.tril(a, -1) + turned(np.tril(a, -1)) + np.eye(n) * a.real


def residual(a: Any, x: Any, b: Any) -> Any:
    """Of ``a x = b``, over ``|a| |x| + |b|``, by column."""
    left = np.abs(a @ x - b)
    if not left.size:
        return left
    columns = (
        np.abs(x).max(-2, keepdims=True, initial=0),
        np.abs(b).max(-2, keepdims=True, initial=0),
    )
    whole = size(a) * a.shape[-1] ** 0.5 * columns[0] + columns[1]
    return np.where(left == 0, 0, left / np.maximum(whole, np.finfo(left.dtype).tiny * 1e10))


# ------------------------------------------------------------------------------------ factors


def cholesky(ins: Any, outs: Any, unit: float) -> Errors:
    """L L^H = A, L a lower triangle of positive diagonal."""
    yield from _cholesky(ins[0], outs[0], False)


def cholesky_upper(ins: Any, outs: Any, unit: float) -> Errors:
    """U^H U = A."""
    yield from _cholesky(ins[0], turned(outs[0]), True)


def _cholesky(a: Any, low: Any, upper: bool) -> Errors:
    a = half(a, upper)
    if not _edge[0]:
        yield "L L^H - A", over(low @ turned(low) - a, a)
        yield "other half", zero(np.triu(low, 1))
        yield "diagonal", zero(low[..., range(low.shape[-1]), range(low.shape[-1])].real < 0)


def lu(ins: Any, outs: Any, unit: float) -> Errors:
    """P L U = A, L unit and at most 1 (sqrt 2 of complex numbers)."""
    a, (p, low, high) = ins[0], outs[:3]
    k = low.shape[-1]
    yield "P L U - A", over(p @ low @ high - a, a)
    yield "P", zero(turned(p) @ p - np.eye(p.shape[-1]))
    yield "L", zero(np.triu(low, 1))
    yield "L's diagonal", zero(low[..., range(k), range(k)] - 1)
    yield "pivoting", zero(np.abs(low) > (1.4143 if a.dtype.kind == "c" else 1.0001))
    yield "U", zero(np.tril(high, -1))


def lu_factor(ins: Any, outs: Any, unit: float) -> Errors:
    """L and U in one, and pivots."""
    made, pivots = outs[:2]
    m, n = made.shape[-2:]
    k = min(m, n)
    low = np.tril(made[..., :, :k], -1) + np.eye(m, k)
    high = np.triu(made[..., :k, :])
    count = math.prod(made.shape[:-2])
    p = np.tile(np.eye(m), (count, 1, 1))
    for rows, order in zip(p, pivots.reshape(count, k), strict=True):
        for i, j in enumerate(order):
            rows[[i, j - 1]] = rows[[j - 1, i]]
    p = turned(p.reshape(*made.shape[:-2], m, m))
    yield from lu(ins, [p, low, high], unit)


def qr(ins: Any, outs: Any, unit: float) -> Errors:
    """Q R = A, Q unitary, R an upper triangle."""
    a, (q, r) = ins[0], outs[:2]
    yield "Q R - A", over(q @ r - a, a)
    yield "Q^H Q - 1", unitary(q)
    yield "R", zero(np.tril(r, -1))


def only_r(ins: Any, outs: Any, unit: float) -> Errors:
    """R^H R = A^H A."""
    a, r = ins[0], outs[-1]
    yield "R^H R - A^H A", over(turned(r) @ r - turned(a) @ a, a, a)
    yield "R", zero(np.tril(r, -1))


def reflections(ins: Any, outs: Any, unit: float) -> Errors:
    """Results of a product, (geqrf's Q) R and the Q itself, are those of a QR."""
    yield from qr(ins, outs, unit)


def applied(ins: Any, outs: Any, unit: float) -> Errors:
    """``outs``: op(Q) C or C op(Q), the same product by a whole Q, and that Q."""
    made, product, q = outs[:3]
    yield "Q C", over(made - product, ins[1])
    yield "Q^H Q - 1", unitary(q)


# --------------------------------------------------------------------------------------- solves


def solve(ins: Any, outs: Any, unit: float) -> Errors:
    """A X = B."""
    a, b = ins[:2]
    if not _edge[0]:
        yield "A X - B", residual(a, outs[0], b)


def solve_vector(ins: Any, outs: Any, unit: float) -> Errors:
    """A x = b."""
    yield from solve([ins[0], ins[1][..., None]], [outs[0][..., None]], unit)


def solve_right(ins: Any, outs: Any, unit: float) -> Errors:
    """X A = B."""
    yield from solve([turned(ins[0]), turned(ins[1])], [turned(outs[0])], unit)


def solve_adjoint(ins: Any, outs: Any, unit: float) -> Errors:
    """A^H X = B."""
    yield from solve([turned(ins[0]), ins[1]], outs, unit)


def solve_hermitian(ins: Any, outs: Any, unit: float) -> Errors:
    """A X = B for the lower half of A."""
    yield from solve([half(ins[0], False), ins[1]], outs, unit)


def solve_symmetric(ins: Any, outs: Any, unit: float) -> Errors:
    """A X = B for the lower half of a symmetric, complex A."""
    low = np.tril(ins[0], -1)
    whole = low + low.swapaxes(-1, -2) + np.eye(low.shape[-1]) * ins[0]
    yield from solve([whole, ins[1]], outs, unit)


def triangle(lower: bool, unit: bool, how: str) -> Any:
    """Of solves with a triangle."""

    def prove(ins: Any, outs: Any, _: float) -> Errors:
        a = np.tril(ins[0]) if lower else np.triu(ins[0])
        if unit:
            a = a - np.eye(a.shape[-1]) * a + np.eye(a.shape[-1])
        a = turned(a) if how == "adjoint" else a.swapaxes(-1, -2) if how == "transposed" else a
        x, b = outs[0], ins[1]
        if how == "right":
            a, x, b = (t.swapaxes(-1, -2) for t in (a, x, b))
        if not _edge[0]:
            yield "A X - B", residual(a, x, b)

    return prove


for _lower in (False, True):
    for _unit in (False, True):
        for _how in ("left", "right", "transposed"):
            globals()[
                f"triangle_{'lower' if _lower else 'upper'}_{'unit' if _unit else 'any'}_{_how}"
            ] = triangle(_lower, _unit, _how)


def factor_solve(ins: Any, outs: Any, unit: float) -> Errors:
    """L L^H X = B for a factor L."""
    low = np.tril(ins[0])
    inner = turned(low) @ outs[0]
    if not _edge[0]:
        yield (
            "L L^H X - B",
            residual(low, inner, ins[1]) / max(1, float(np.max(condition(low), initial=1))),
        )


def inverse(ins: Any, outs: Any, unit: float) -> Errors:
    """A X = 1, or X A = 1, to the condition number."""
    a, x = ins[0], outs[0]
    one = np.eye(a.shape[-1])
    if not _edge[0]:
        both = [
            np.max(np.abs(e), (-2, -1), keepdims=True, initial=0)
            for e in (a @ x - one, x @ a - one)
        ]
        yield "A X - 1", np.minimum(*both) / np.maximum(size(a) * size(x) * a.shape[-1] ** 0.5, 1)


def factor_inverse(ins: Any, outs: Any, unit: float) -> Errors:
    """The inverse of L L^H."""
    low = np.tril(ins[0])
    a = low @ turned(low)
    for name, error in inverse([a], outs, unit):
        yield name, error / max(1, float(np.max(condition(low), initial=1)))


def inverse_of_tensor(ins: Any, outs: Any, unit: float) -> Errors:
    """The inverse of a matrix whose sides are two dimensions each."""
    a, x = ins[0], outs[0]
    n = a.shape[0] * a.shape[1]
    yield from inverse([a.reshape(n, n)], [x.reshape(n, n)], unit)


def solve_of_tensor(ins: Any, outs: Any, unit: float) -> Errors:
    """A x = b where both sides of A are two dimensions."""
    a, b = ins[:2]
    n = b.size
    yield from solve_vector([a.reshape(n, n), b.reshape(n)], [outs[0].reshape(n)], unit)


# ------------------------------------------------------------------------------------ numbers


def _log_determinant(a: Any) -> tuple[Any, Any]:
    if 0 in a.shape[-2:]:
        return np.ones(a.shape[:-2]), np.zeros(a.shape[:-2])
    made, scale = small(a)
    sign, log = np.linalg.slogdet(made)
    return sign, log + a.shape[-1] * np.log(scale[..., 0, 0])


def determinant(ins: Any, outs: Any, unit: float) -> Errors:
    """The determinant, relative, over the condition number."""
    a = ins[0]
    sign, log = _log_determinant(a)
    kind = np.clongdouble if a.dtype.kind == "c" else np.longdouble
    right = np.exp(log.astype(np.longdouble)) * sign.astype(kind)
    largest, least = np.finfo(np.float32 if unit > 1e-10 else np.float64).max, np.finfo(
        np.float32 if unit > 1e-10 else np.float64).tiny  # fmt: skip
    made = outs[0]
    error = np.abs(made - right) / np.maximum(np.abs(right), least * 1e3) / _by_condition(a)
    fits = (np.abs(right) < largest / 1e3) & (np.abs(right) > least * 1e3)
    if not _edge[0]:
        yield "determinant", np.where(fits, error, 0)
        yield "overflow", np.where((np.abs(right) > largest * 1e3) & np.isfinite(made), np.inf, 0)


def _by_condition(a: Any) -> Any:
    return np.maximum(condition(a)[..., 0, 0], 1)


def log_determinant(ins: Any, outs: Any, unit: float) -> Errors:
    """Its sign and logarithm, the second absolute, over the condition number."""
    sign, log = _log_determinant(ins[0])
    if not _edge[0]:
        by = _by_condition(ins[0]) * np.maximum(np.abs(log), 1)
        yield "logarithm", np.where(outs[1] == log, 0, np.abs(outs[1] - log)) / by
        yield "sign", np.abs(outs[0] - sign) / by


def log_of_determinant(ins: Any, outs: Any, unit: float) -> Errors:
    """Its logarithm: NaN of a negative one, on the plane up to full turns of complex ones."""
    sign, log = _log_determinant(ins[0])
    if _edge[0]:
        return
    by = _by_condition(ins[0]) * np.maximum(np.abs(log), 1)
    if ins[0].dtype.kind == "c":
        yield "logarithm", np.abs(outs[0].real - log) / by
        yield "phase", np.abs(np.exp(1j * outs[0].imag) - sign) / by
    else:
        yield "sign", zero(np.isnan(outs[0]) != (sign < 0))
        yield "logarithm", np.where(sign < 0, 0, np.abs(outs[0] - log)) / by


def rank(ins: Any, outs: Any, unit: float) -> Errors:
    """How many singular values exceed the usual tolerance, where none is near it."""
    yield from _rank(ins[0], outs[0], unit)


def _rank(a: Any, made: Any, unit: float) -> Errors:
    s = singular(a)
    bound = s[..., :1] * unit / (max(4, *a.shape[-2:])) * max(a.shape[-2:])
    near = ((s > bound / 30) & (s < bound * 30) & (bound > 0)).any(-1)
    yield "rank", np.where(near | (made == (s > bound).sum(-1)), 0, np.inf)


def conditions(ins: Any, outs: Any, unit: float) -> Errors:
    """The condition number, its relative error over itself."""
    right = condition(ins[0])[..., 0, 0]
    made = outs[0]
    clear = right < 0.01 / unit
    yield "condition", np.where(clear, np.abs(made - right) / np.maximum(right, 1) ** 2, 0)
    yield "singular", np.where(clear | (made > 1e-3 / unit) | np.isnan(made), 0, np.inf)


def close(ins: Any, outs: Any, unit: float) -> Errors:
    """Pairs of a result and the same by another way, relative to the second's size."""
    for k, (a, b) in enumerate(zip(outs[::2], outs[1::2], strict=True)):
        if a.size:
            least = np.finfo(np.float64).tiny
            yield f"pair {k}", np.abs(a - b).max() / max(np.abs(b).max(), least)


def norm_of(name: str) -> Any:
    """Of norms by NumPy's name for them."""

    def prove(ins: Any, outs: Any, unit: float) -> Errors:
        a, made = ins[0], outs[0]
        magnitude = np.abs(a)
        if name == "fro":
            scale = np.where(size(a) > 0, size(a), 1)
            right = np.sqrt(((magnitude / scale) ** 2).sum((-2, -1))) * scale[..., 0, 0]
        elif name in ("one", "inf"):
            right = magnitude.sum(-2 if name == "one" else -1).max(-1, initial=0)
        else:
            s = singular(a)
            right = s.sum(-1) if name == "nuc" else s.max(-1, initial=0)
        yield (
            "norm",
            np.where(right == made, 0, np.abs(made - right) / np.where(right > 0, right, 1)),
        )

    return prove


norm_fro, norm_one, norm_inf, norm_nuc, norm_two = map(norm_of, ("fro", "one", "inf", "nuc", "two"))

# ------------------------------------------------------------------------------------- spectra


def eigh(ins: Any, outs: Any, unit: float) -> Errors:
    """A V = V L, V unitary, L rising."""
    yield from _eigh(half(ins[0], False), outs)


def eigh_upper(ins: Any, outs: Any, unit: float) -> Errors:
    """Of the upper half."""
    yield from _eigh(half(ins[0], True), outs)


def _eigh(a: Any, outs: Any) -> Errors:
    values, v = outs[:2]
    yield "A V - V L", over(a @ v - v * values[..., None, :], a)
    yield "V^H V - 1", unitary(v)
    yield "order", zero(np.diff(values) < 0)


def eigvalsh(ins: Any, outs: Any, unit: float) -> Errors:
    """Eigenvalues beside NumPy's, over the largest."""
    a = half(ins[0], False)
    if 0 in a.shape:
        return
    made, scale = small(a)
    right = np.linalg.eigvalsh(made) * scale[..., 0]
    yield "values", over((outs[0] - right)[..., None], a) / a.shape[-1] ** 0.5


def eig(ins: Any, outs: Any, unit: float) -> Errors:
    """A V = V L, columns of length 1."""
    a, (values, v) = ins[0], outs[:2]
    yield "A V - V L", over(a @ v - v * values[..., None, :], a)
    yield "length", np.abs((np.abs(v) ** 2).sum(-2) - 1)


def eigvals(ins: Any, outs: Any, unit: float) -> Errors:
    """Their sum is the trace."""
    a, values = ins[0], outs[0]
    trace = a[..., range(a.shape[-1]), range(a.shape[-1])].sum(-1)
    yield "trace", over((values.sum(-1) - trace)[..., None, None], a) / max(a.shape[-1], 1)


def svd(ins: Any, outs: Any, unit: float) -> Errors:
    """U S Vh = A, both unitary, S falling and not negative."""
    a, (u, s, vh) = ins[0], outs[:3]
    k = s.shape[-1]
    yield "U S Vh - A", over((u[..., :k] * s[..., None, :]) @ vh[..., :k, :] - a, a)
    yield "U^H U - 1", unitary(u)
    yield "V^H V - 1", unitary(turned(vh))
    yield "order", zero(np.diff(s) > 0)
    yield "sign", zero(s < 0)


def old_svd(ins: Any, outs: Any, unit: float) -> Errors:
    """With V for Vh."""
    yield from svd(ins, [*outs[:2], turned(outs[2])], unit)


def svdvals(ins: Any, outs: Any, unit: float) -> Errors:
    """Beside NumPy's, over the largest."""
    right = singular(ins[0])
    if right.size:
        yield "values", over((outs[0] - right)[..., None], right[..., None])


def pseudo(ins: Any, outs: Any, unit: float) -> Errors:
    """The pseudo-inverse, beside NumPy's over what is kept, where no singular value is near the tolerance."""
    a, x = ins[0], outs[0]
    if 0 in a.shape:
        return
    made, scale = small(a)
    s = np.linalg.svd(made, compute_uv=False)
    bound = s[..., :1] * unit / max(4, *a.shape[-2:]) * max(a.shape[-2:])
    near = ((s > bound / 30) & (s < bound * 30) & (s > 0)).any(-1)[..., None, None]
    u, s, vh = np.linalg.svd(made, full_matrices=False)
    kept = s > bound
    least = np.where(kept, s, np.inf).min(-1)[..., None, None]
    right = (
        (turned(vh) * np.where(kept, 1 / np.where(kept, s, 1), 0)[..., None, :]) @ turned(u) / scale
    )
    by = np.where(np.isfinite(least), (s[..., :1, None] / least), 1)
    error = over(x - right, right) / np.maximum(by, 1)
    # a column space that is left out is known to eps over the least value kept only
    yield "pseudo-inverse", np.where(near, 0, error / np.maximum(by, 1))


def least_squares(ins: Any, outs: Any, unit: float) -> Errors:
    """The residual is orthogonal to the columns of A; of full rank."""
    a, b, x = ins[0], ins[1], outs[0]
    left = a @ x - b
    columns = np.abs(left).max(-2, keepdims=True, initial=0) + np.abs(x).max(
        -2, keepdims=True, initial=0
    ) * size(a)
    whole = size(a) * np.maximum(
        columns + np.abs(b).max(-2, keepdims=True, initial=0), np.finfo(np.float64).tiny
    )
    if not _edge[0] and left.size:
        slope = np.abs(turned(a) @ left)
        yield "A^H (A X - B)", np.where(slope == 0, 0, slope / whole / np.maximum(a.shape[-2], 1) ** 0.5) / np.sqrt(
            np.minimum(condition(a), 1e4))  # fmt: skip


# ----------------------------------------------------------------------------------- functions


def exponential(ins: Any, outs: Any, unit: float) -> Errors:
    """Beside a Taylor series of a halved matrix, squared, in wide numbers; over the norm of A."""
    a, made = ins[0], outs[0]
    largest = np.abs(a).sum(-2).max((-1,), initial=0)
    halvings = int(max(0, np.ceil(np.log2(max(float(largest.max(initial=0)), 1e-3)))) + 4)
    if halvings > 12:
        return
    x = a / 2.0**halvings
    one = np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape)
    term, total = one, one
    for k in range(1, 18):
        term = term @ x / k
        total = total + term
    for _ in range(halvings):
        total = total @ total
    by = np.maximum(largest, 1)[..., None, None]
    yield "exponential", over(made - total, total) / by


def _power(a: Any, n: int) -> Any:
    made = np.broadcast_to(np.eye(a.shape[-1], dtype=a.dtype), a.shape)
    for _ in range(n):
        made = made @ a
    return made


def power_of(n: int) -> Any:
    """Of powers, over those of magnitudes."""

    def prove(ins: Any, outs: Any, unit: float) -> Errors:
        a = ins[0]
        if n < 0:
            if not _edge[0]:
                error = np.abs(_power(a, -n) @ outs[0] - np.eye(a.shape[-1]))
                yield "A^-n A^n - 1", error / np.maximum(condition(a), 1) ** -n
            return
        yield (
            "power",
            over(outs[0] - _power(a, n), _power(np.abs(a), n) + np.finfo(np.float64).tiny * 1e20),
        )

    return prove


for _n in (-2, -1, 0, 1, 2, 3, 5, 8):
    globals()[f"power_{_n}".replace("-", "m")] = power_of(_n)


def product(ins: Any, outs: Any, unit: float) -> Errors:
    """A chain of products."""
    right, whole = ins[0], np.abs(ins[0])
    for x in ins[1:]:
        right, whole = right @ x, whole @ np.abs(x)
    if right.size:
        yield "product", np.abs(outs[0] - right) / np.maximum(whole, np.finfo(np.float64).tiny)


def cross(ins: Any, outs: Any, unit: float) -> Errors:
    """Cross products along the last dimension."""
    a, b = np.broadcast_arrays(*ins[:2])
    right = np.stack([a[..., 1] * b[..., 2] - a[..., 2] * b[..., 1], a[..., 2] * b[..., 0] - a[..., 0] * b[..., 2],
                      a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]], -1)  # fmt: skip
    yield "cross", np.abs(outs[0] - right) / np.maximum(size(a[None]) * size(b[None]), 1e-300)[0]


def inner(ins: Any, outs: Any, unit: float) -> Errors:
    """conj(x) y, summed."""
    a, b = ins[:2]
    whole = (np.abs(a) * np.abs(b)).sum(-1)
    yield "inner", np.abs(outs[0] - (a.conj() * b).sum(-1)) / np.maximum(whole, 1e-300)


def powers(ins: Any, outs: Any, unit: float) -> Errors:
    """Rows of powers."""
    right = ins[0][..., None] ** np.arange(outs[0].shape[-1])
    yield "powers", np.abs(outs[0] - right) / np.maximum(np.abs(right), 1e-300)


def nothing(ins: Any, outs: Any, unit: float) -> Errors:
    """Only its form is PyTorch's."""
    yield from ()
