"""``tilegrad.linalg``: norms, powers and products of matrices, by PyTorch's names."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase
from tilegrad.autograd.rules import (
    assembly,
    contraction,
    distances,
    linalg as parts,
    matmul as products,
    moments,
    view,
)
from tilegrad.autograd.rules.creation import eye
from tilegrad.autograd.rules.decompositions import inv, solve
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.autograd.rules.linalg import matrices
from tilegrad.autograd.rules.masked import where
from tilegrad.autograd.rules.planar import conj, real
from tilegrad.autograd.rules.rearrange import movedim
from tilegrad.autograd.rules.spectral import svdvals
from tilegrad.engine import dtype as dt
from tilegrad.engine.dtype import DType
from tilegrad.engine.shape import as_index, broadcast_shapes, normalize_dim, normalize_dims, numel

__all__ = [
    "cond", "cross", "diagonal", "matmul", "matrix_exp", "matrix_norm", "matrix_power", "multi_dot",
    "norm", "tensorinv", "tensorsolve", "vander", "vecdot", "vector_norm",
]  # fmt: skip

Dims = int | Sequence[int] | None
Order = float | str


# ---------------------------------------------------------------------------------------- norms


def _as_asked(op: str, x: Tensor, dtype: DType | None) -> Tensor:
    parts.floating(op, x)
    if dtype is None:
        return x
    kind = dt.dtype(dtype)
    if not kind.has_gradient:
        raise RuntimeError(f"{op}: dtype should be floating point or complex. Got {kind.name}")
    if kind.is_complex is not x.layout.dtype.is_complex:
        sort = "complex" if x.layout.dtype.is_complex else "real"
        raise RuntimeError(f"{op}: dtype should be {sort} for {sort} inputs, but got {kind.name}")
    if kind.itemsize < x.layout.dtype.itemsize:
        raise RuntimeError(
            f"{op}: the dtype of the input ({x.layout.dtype.name}) should be convertible without narrowing "
            f"to the specified dtype ({kind.name})"
        )
    return to_dtype(x, kind)


def vector_norm(
    x: Tensor, ord: float = 2, dim: Dims = None, keepdim: bool = False, *, dtype: DType | None = None
) -> Tensor:  # fmt: skip
    """``(sum |x|^ord)^(1/ord)`` over ``dim`` (all for None); inf, -inf: the extremes, 0: how many are not 0.

    Gradient: of ``x``.
    """
    if isinstance(ord, str):
        raise TypeError("linalg_vector_norm(): argument 'ord' (position 2) must be Number, not str")
    x = _as_asked("linalg.vector_norm", x, dtype)
    if isinstance(dim, TensorBase):
        dim = as_index("linalg.vector_norm", dim)
    if dim is not None and not isinstance(dim, int) and len(dim) == 0:
        dim = None
    dims = normalize_dims("linalg.vector_norm", dim, x.layout.ndim)
    order = float(ord)
    empty = numel(tuple([x.layout.shape[d] for d in dims])) == 0 if x.layout.ndim else False
    if (
        empty
        and (order < 0 or math.isinf(order))
        and (dim is None or any(not x.layout.shape[d] for d in dims))
    ):
        raise RuntimeError(
            f"linalg.vector_norm cannot compute the {order} norm on an empty "
            f"{'tensor' if dim is None else 'dimension'} because the operation does not have an identity"
        )
    return moments.norm(x, order, None if dim is None else dims, keepdim)


def _two(op: str, A: Tensor, dim: Sequence[int]) -> tuple[int, int]:
    if len(dim) != 2:
        raise RuntimeError(f"{op}: dim must be a 2-tuple. Got {' '.join(map(str, dim))}")
    first, second = (normalize_dim(op, d, A.layout.ndim) for d in dim)
    if first == second:
        raise RuntimeError(f"{op}: dims must be different. Got ({dim[0]}, {dim[1]})")
    return first, second


def _greatest(sizes: Tensor, dim: int, keepdim: bool = False) -> Tensor:
    """The largest of what is not negative; 0 of nothing."""
    if sizes.layout.shape[dim]:
        return sizes.amax(dim, keepdim=keepdim)
    return sizes.sum(dim, keepdim=keepdim)


def matrix_norm(
    A: Tensor, ord: Order = "fro", dim: Sequence[int] = (-2, -1), keepdim: bool = False, *,
    dtype: DType | None = None,
) -> Tensor:  # fmt: skip
    """Norms of matrices in two dimensions: "fro", "nuc", 1, -1, inf, -inf (sums of columns, rows), 2, -2
    (extreme singular values).

    Gradient: of ``A``.
    """
    op = "linalg.matrix_norm"
    matrices(op, A)
    A = _as_asked(op, A, dtype)
    first, second = _two(op, A, dim)
    if ord == "fro":
        return moments.norm(A, 2, (first, second), keepdim)
    if ord == "nuc" or (not isinstance(ord, str) and abs(ord) == 2):
        values = svdvals(movedim(A, (first, second), (-2, -1)))
        if ord == "nuc":
            made = values.sum(-1)
        else:
            made = _greatest(values, -1) if ord > 0 else values.amin(-1)  # type: ignore[operator]
        for place in sorted((first, second)) if keepdim else ():
            made = view.unsqueeze(made, place)
        return made
    if isinstance(ord, str) or abs(ord) not in (1, math.inf):
        raise RuntimeError(f"{op}: Order {ord} not supported.")
    across, along = (first, second) if abs(ord) == 1 else (second, first)
    sums = moments.norm(A, 1, across, True)
    made = _greatest(sums, along, True) if ord > 0 else sums.amin(along, keepdim=True)
    for place in sorted((first, second), reverse=True) if not keepdim else ():
        made = view.squeeze(made, place)
    return made


def norm(
    A: Tensor, ord: Order | None = None, dim: Dims = None, keepdim: bool = False, *,
    dtype: DType | None = None,
) -> Tensor:  # fmt: skip
    """:func:`vector_norm` over one dimension (or all, flattened), :func:`matrix_norm` over two.

    Gradient: of ``A``.
    """
    dims = (dim,) if isinstance(dim, int) else dim
    if ord is None:
        return vector_norm(A, 2, dims, keepdim, dtype=dtype)
    if dims is not None and len(dims) not in (1, 2):
        raise RuntimeError("linalg.norm: If dim is specified, it must be of length 1 or 2.")
    if dims is None and A.layout.ndim not in (1, 2):
        raise RuntimeError(
            "linalg.norm: If dim is not specified but ord is, the input must be 1D or 2D. Got "
            f"{A.layout.ndim}D."
        )
    if (len(dims) if dims is not None else A.layout.ndim) == 1:
        if isinstance(ord, str):
            raise RuntimeError(f"linalg.norm: Order {ord} not supported.")
        return vector_norm(A, ord, dims, keepdim, dtype=dtype)
    return matrix_norm(A, ord, (0, 1) if dims is None else dims, keepdim, dtype=dtype)


def cond(A: Tensor, p: Order | None = None) -> Tensor:
    """The condition number ``|A| |A^-1|``: of the 2-norm (None, 2, -2) by singular values; inf where a
    matrix is singular.

    Gradient: of ``A``.
    """
    matrices("linalg.cond", A)
    if p is None or (not isinstance(p, str) and abs(p) == 2):
        values = svdvals(A)
        if not values.layout.shape[-1]:
            return values.sum(-1)
        most, least = values.amax(-1), values.amin(-1)
        return least / most if p == -2 else most / least
    if isinstance(p, str) and p not in ("fro", "nuc"):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if not isinstance(p, str) and abs(p) not in (1, math.inf):
        raise RuntimeError(f"linalg.cond got an invalid norm type: {p}")
    if not isinstance(p, str) and not A.layout.numel:
        return real(A).sum((-2, -1))
    matrices(f"linalg.cond(ord={p})" if isinstance(p, str) else "linalg.cond", A, True)
    made, info = parts.inverse(A)
    found = matrix_norm(A, p) * matrix_norm(made, p)
    return where(info == 0, found, math.inf) if _any(info) else found


def _any(info: Tensor) -> bool:
    return bool(info.any().item()) if info.layout.numel else False


# ------------------------------------------------------------------------------------- products


def matmul(input: Tensor, other: Tensor) -> Tensor:
    """:func:`tilegrad.matmul`."""
    return products.matmul(input, other)


def cross(input: Tensor, other: Tensor, *, dim: int = -1) -> Tensor:
    """Cross products of vectors of size 3 along ``dim``; others broadcast.

    Gradient: of both.
    """
    if input.layout.ndim != other.layout.ndim:
        raise RuntimeError("linalg.cross: inputs must have the same number of dimensions.")
    axis = normalize_dim("linalg.cross", dim, input.layout.ndim)
    for x in (input, other):
        if x.layout.shape[axis] != 3:
            raise RuntimeError(
                f"linalg.cross: inputs dimension {dim} must have length 3. Got "
                f"{input.layout.shape[axis]} and {other.layout.shape[axis]}"
            )
    shape = broadcast_shapes("linalg.cross", input.layout.shape, other.layout.shape)
    return distances.cross(view.expand(input, shape), view.expand(other, shape), axis)


def diagonal(A: Tensor, *, offset: int = 0, dim1: int = -2, dim2: int = -1) -> Tensor:
    """The diagonals of matrices, as a view."""
    return view.diagonal(A, offset, dim1, dim2)


def vecdot(x: Tensor, y: Tensor, *, dim: int = -1) -> Tensor:
    """Inner products of vectors along ``dim``.

    Gradient: of both.

    Raises:
        RuntimeError: they are of two dtypes, or whole numbers.
    """
    if not x.layout.dtype.has_gradient:
        raise RuntimeError(
            f"linalg.vecdot: Expected a floating point or complex tensor as input. Got {x.layout.dtype.name}"
        )
    if x.layout.dtype is not y.layout.dtype:
        raise RuntimeError(
            f"linalg.vecdot: Expected vectors of same dtype but found {x.layout.dtype.name} and "
            f"{y.layout.dtype.name}"
        )
    shape = broadcast_shapes("linalg.vecdot", x.layout.shape, y.layout.shape)
    axis = normalize_dim("linalg.vecdot", dim, len(shape))
    return (conj(x) * y).sum(axis, dtype=x.layout.dtype)


def vander(x: Tensor, *, N: int | None = None) -> Tensor:
    """Rows ``1, x, x^2, …`` of ``N`` powers (by default as many as elements) of vectors.

    Gradient: of ``x``.
    """
    if x.layout.ndim == 0:
        x = view.reshape(x, (1,))
    count = x.layout.shape[-1] if N is None else N
    if count <= 1:
        raise RuntimeError("N must be greater than 1.")
    flat = view.reshape(x, (-1,))
    rows = assembly.vander(flat, count, True)
    return view.reshape(rows, (*x.layout.shape, count))


def multi_dot(tensors: Sequence[Tensor]) -> Tensor:
    """The product of matrices in the order of the fewest multiplications; the first and the last may be
    vectors.

    Gradient: of all.
    """
    op = "multi_dot"
    if len(tensors) < 2:
        raise RuntimeError(f"{op}(): expected at least 2 tensors but got {len(tensors)}")
    first, *middle, last = tensors
    for x in (first, last):
        if x.layout.ndim not in (1, 2):
            which = "the first" if x is first else "the last"
            raise RuntimeError(f"{op}(): {which} tensor must be 1D or 2D but got {x.layout.ndim}D")
    for place, x in enumerate(middle, 1):
        if x.layout.ndim != 2:
            raise RuntimeError(f"{op}(): tensor {place} must be 2D but got {x.layout.ndim}D")
    for place, (x, y) in enumerate(itertools.pairwise(tensors)):
        if x.layout.shape[-1] != y.layout.shape[0]:
            raise RuntimeError(
                f"{op}(): tensors {place} and {place + 1} with shapes {list(x.layout.shape)} and "
                f"{list(y.layout.shape)} cannot be multiplied"
            )
    row, column = first.layout.ndim == 1, last.layout.ndim == 1
    made = contraction.chain_matmul(
        view.unsqueeze(first, 0) if row else first,
        *middle,
        view.unsqueeze(last, 1) if column else last,
    )
    if column:
        made = view.squeeze(made, -1)
    return view.squeeze(made, 0) if row else made


# --------------------------------------------------------------------------------------- powers


def _ones(A: Tensor) -> Tensor:
    n = A.layout.shape[-1]
    one = eye(n, dtype=A.layout.dtype, device=A.layout.device)
    return view.expand(one, A.layout.shape)


def matrix_power(A: Tensor, n: int) -> Tensor:
    """``A`` times itself, ``n`` factors, by squaring; of the inverse for negative ``n``.

    Gradient: of ``A``.
    """
    if A.layout.ndim < 2:
        raise RuntimeError(
            "linalg.matrix_power: The input tensor A must have at least 2 dimensions."
        )
    if A.layout.shape[-1] != A.layout.shape[-2]:
        raise RuntimeError(
            f"linalg.matrix_power: A must be batches of square matrices, but they are "
            f"{A.layout.shape[-2]} by {A.layout.shape[-1]} matrices"
        )
    if n < 0:
        return matrix_power(inv(A), -n)
    if n == 0:
        return _ones(A) + parts.nothing(A)
    made: Tensor | None = None
    square = A
    while True:
        if n & 1:
            made = square if made is None else products.matmul(made, square)
        n >>= 1
        if not n:
            return made * 1 if made is A else made  # type: ignore[return-value]
        square = products.matmul(square, square)


# of the diagonal Padé approximant of degree 13 (Higham, 2005), and the norm up to which it holds in float64
_PADE = (
    64764752532480000.0, 32382376266240000.0, 7771770303897600.0, 1187353796428800.0, 129060195264000.0,
    10559470521600.0, 670442572800.0, 33522128640.0, 1323241920.0, 40840800.0, 960960.0, 16380.0, 182.0, 1.0,
)  # fmt: skip
_HOLDS = 5.371920351148152


def matrix_exp(A: Tensor) -> Tensor:
    """``sum A^k / k!`` by scaling, a Padé approximant and squaring, in float64.

    Source: Higham, The Scaling and Squaring Method for the Matrix Exponential Revisited (2005).

    Gradient: of ``A``, as the approximant's.
    """
    matrices("linalg.matrix_exp", A, True)
    if not A.layout.numel:
        return A * 1
    kind = A.layout.dtype
    wide = dt.complex128 if kind.is_complex else dt.float64
    if kind is not wide:  # squaring doubles the error, each time
        return to_dtype(matrix_exp(to_dtype(A, wide)), kind)
    sizes = moments.norm(A.detach(), 1, -2, False).amax(-1)
    halvings = (sizes / _HOLDS).log2().ceil().clamp(min=0, max=1000)
    halvings = where(sizes.isfinite(), halvings, 0.0)
    most = int(halvings.max().item())
    times = view.unsqueeze(view.unsqueeze(halvings, -1), -1)
    made = _pade(A * (0.5**times))
    for k in range(most):
        made = where(times > k, products.matmul(made, made), made)
    return made


def _pade(x: Tensor) -> Tensor:
    b, one = _PADE, _ones(x)
    two = products.matmul(x, x)
    four = products.matmul(two, two)
    six = products.matmul(two, four)
    inner = products.matmul(six, b[13] * six + b[11] * four + b[9] * two)
    odd = products.matmul(x, inner + b[7] * six + b[5] * four + b[3] * two + b[1] * one)
    even = products.matmul(six, b[12] * six + b[10] * four + b[8] * two)
    even = even + b[6] * six + b[4] * four + b[2] * two + b[0] * one
    return parts.solve(even - odd, even + odd)[0]


# -------------------------------------------------------------------------------------- tensors


def tensorinv(A: Tensor, ind: int = 2) -> Tensor:
    """The inverse of :func:`tilegrad.tensordot` with ``A``, whose first ``ind`` dimensions are its rows.

    Gradient: of ``A``.
    """
    if ind <= 0:
        raise RuntimeError(f"Expected a strictly positive integer for 'ind', but got {ind}")
    shape = A.layout.shape
    rows, cols = numel(shape[:ind]), numel(shape[ind:])
    if rows != cols:
        raise RuntimeError(
            f"Expected self to satisfy the requirement prod(self.shape[ind:]) == prod(self.shape[:ind]), "
            f"but got {cols} != {rows}"
        )
    made = inv(view.reshape(A, (rows, cols)))
    return view.reshape(made, (*shape[ind:], *shape[:ind]))


def tensorsolve(A: Tensor, B: Tensor, dims: Sequence[int] | None = None) -> Tensor:
    """The X of ``tensordot(A, X, X.ndim) = B``; ``dims`` of A are moved to its end first.

    Gradient: of both.
    """
    if dims is not None:
        A = movedim(A, tuple(dims), tuple(range(A.layout.ndim - len(dims), A.layout.ndim)))
    shape = A.layout.shape[B.layout.ndim :]
    rows, cols = B.layout.numel, numel(shape)
    if rows != cols:
        raise RuntimeError(
            f"Expected self to satisfy the requirement prod(self.shape[other.ndim:]) == "
            f"prod(self.shape[:other.ndim]), but got {cols} != {rows}"
        )
    found = solve(view.reshape(A, (rows, cols)), view.reshape(B, (rows,)))
    return view.reshape(found, shape)
