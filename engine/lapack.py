"""Eigenvalues and singular values of larger matrices, and of any that are not symmetric, by LAPACK in SciPy,
on the CPU.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from tilegrad.engine.array import Array, from_numpy, to_numpy
from tilegrad.engine.device import CPU
from tilegrad.engine.errors import LinAlgError

Results = tuple[Any, ...]


def library(op: str, x: Array) -> ModuleType:
    """``scipy.linalg.lapack``.

    Raises:
        ImportError: SciPy is not installed.
        NotImplementedError: the matrices are not on the CPU.
    """
    if x.layout.device is not CPU:
        raise NotImplementedError(
            f"{op}: LAPACK runs on the CPU only; got a tensor on {x.layout.device}"
        )
    try:
        from scipy.linalg import lapack
    except ImportError:
        raise ImportError(
            f"{op}: matrices of more than 32 rows go to LAPACK in SciPy, which is not installed: "
            f"pip install 'tilegrad[linalg]'"
        ) from None
    return lapack  # type: ignore[no-any-return]


def each(x: Array, run: Callable[..., Results], *more: Array) -> tuple[Array, ...]:
    """The results of ``run`` on every matrix of a batch, stacked."""
    batch, several = x.layout.shape[:-2], [to_numpy(t) for t in (x, *more)]
    tails = [v.shape[len(batch):] for v in several]  # fmt: skip
    rows = [v.reshape(-1, *tail) for v, tail in zip(several, tails, strict=True)]
    made = [run(*given) for given in zip(*rows, strict=True)]
    stacked = [np.stack([np.asarray(m[k]) for m in made]) for k in range(len(made[0]))]
    return tuple([from_numpy(s.reshape((*batch, *s.shape[1:]))) for s in stacked])


def failed(op: str, code: int, what: str) -> None:
    """Raise where LAPACK gave a code.

    Raises:
        LinAlgError: it did.
    """
    if code:
        raise LinAlgError(f"{op}: {what} (error code: {code}).")


def letter(x: Array) -> str:
    """That LAPACK's names begin with."""
    return {"float32": "s", "float64": "d", "complex64": "c", "complex128": "z"}[
        x.layout.dtype.name
    ]


def finite(op: str, a: np.ndarray) -> None:
    """Refuse what is not finite, which LAPACK may not come back from.

    Raises:
        LinAlgError: it is not.
    """
    if not np.isfinite(a).all():
        raise LinAlgError(
            f"{op}: The algorithm failed to converge because the input matrix contained non-finite values."
        )


def eigh(op: str, x: Array, lower: bool) -> tuple[Array, ...]:
    """Eigenvalues in rising order and vectors as columns: divide and conquer (syevd, heevd)."""
    kind = "heevd" if x.layout.dtype.is_complex else "syevd"
    function = getattr(library(op, x), letter(x) + kind)

    def run(a: np.ndarray) -> Results:
        finite(op, a)
        values, vectors, code = function(a, compute_v=1, lower=int(lower))
        failed(op, code, "The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated eigenvalues")  # fmt: skip
        return values, vectors

    return each(x, run)


def eig(op: str, x: Array, vectors: bool = True) -> tuple[Array, ...]:
    """Eigenvalues, complex, in LAPACK's order, and vectors of length 1 as columns, unless they are not
    wanted: geev.
    """
    function, given = getattr(library(op, x), f"{letter(x)}geev"), x.layout.dtype
    kind = np.dtype(given.to_complex().name)

    def run(a: np.ndarray) -> Results:
        if not np.isfinite(a).all():
            raise RuntimeError(f"torch.{op}: input tensor should not contain infs or NaNs.")
        a, scale = _sized(a)
        if given.is_complex:
            values, _, right, code = function(a, compute_vl=0, compute_vr=int(vectors))
        else:
            real, imag, _, right, code = function(a, compute_vl=0, compute_vr=int(vectors))
            values, right = real + 1j * imag, _paired(right, imag) if vectors else right
        values = values * scale
        failed(op, code, "The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated eigenvalues")  # fmt: skip
        made = values.astype(kind)
        return (made, right.astype(kind)) if vectors else (made,)

    return each(x, run)


def _sized(a: np.ndarray) -> tuple[np.ndarray, Any]:
    """``a`` over a power of two near its largest element, and that: SciPy's geev scales matrices that are very
    large or small, and leaves their eigenvalues so.
    """
    largest = max(float(np.abs(part).max(initial=0)) for part in (a.real, a.imag))
    scale = a.real.dtype.type(2.0 ** max(-1000, np.frexp(largest)[1] - 1))
    return (a, a.real.dtype.type(1)) if scale == 0 or 1e-3 < largest < 1e3 else (a / scale, scale)


def _paired(right: np.ndarray, imag: np.ndarray) -> np.ndarray:
    """Complex vectors of geev's real ones, which has the parts of a conjugate pair in two columns."""
    made = right.astype(np.result_type(right, 1j))
    for j in np.flatnonzero(imag > 0):
        made[:, j].imag = right[:, j + 1]
        made[:, j + 1] = made[:, j].conj()
    return made


def svd(op: str, x: Array) -> tuple[Array, ...]:
    """Left vectors (m by k), singular values in falling order, right vectors (k by n): gesdd."""
    function = getattr(library(op, x), f"{letter(x)}gesdd")

    def run(a: np.ndarray) -> Results:
        finite(op, a)
        u, s, vh, code = function(a, compute_uv=1, full_matrices=0)
        failed(op, code, "The algorithm failed to converge because the input matrix is ill-conditioned or has too many repeated singular values")  # fmt: skip
        return u, s, vh

    return each(x, run)


def ldl(op: str, x: Array, hermitian: bool) -> tuple[Array, ...]:
    """L and D of a symmetric (Hermitian) matrix's lower half in one matrix, int32 pivots, codes: sytrf,
    hetrf.
    """
    function = getattr(library(op, x), letter(x) + ("hetrf" if hermitian else "sytrf"))

    def run(a: np.ndarray) -> Results:
        made, pivots, code = function(a, lower=1)
        return made, pivots.astype(np.int32), np.int32(code)

    return each(x, run)


def ldl_solve(op: str, ld: Array, pivots: Array, b: Array, hermitian: bool) -> Array:
    """The solution by the factors of :func:`ldl`: sytrs, hetrs."""
    function = getattr(library(op, ld), letter(ld) + ("hetrs" if hermitian else "sytrs"))
    (made,) = each(ld, lambda a, p, c: (function(a, p, c, lower=1)[0],), pivots, b)
    return made
