"""Matrices of a kind and a condition number, as NumPy arrays; wide draws, rounded at the end."""

from __future__ import annotations

from typing import Any

import numpy as np

Rng = np.random.Generator


def numbers(rng: Rng, shape: tuple[int, ...], dtype: str, scale: float = 1.0) -> Any:
    """Normal numbers times ``scale``."""
    made = rng.standard_normal(shape)
    if dtype.startswith("complex"):
        made = made + 1j * rng.standard_normal(shape)
    return np.asarray(made * scale).astype(dtype)


def _reflected(rng: Rng, x: Any, dtype: str) -> Any:
    """A random reflection of the rows."""
    v = numbers(rng, (*x.shape[:-1], 1), "complex128" if dtype.startswith("complex") else "float64")
    length = np.sqrt((np.abs(v) ** 2).sum((-2, -1), keepdims=True))
    v = v / np.where(length > 0, length, 1)
    return x - 2 * v @ (v.conj().swapaxes(-1, -2) @ x)


def _between(rng: Rng, x: Any, dtype: str) -> Any:
    """``Q x P`` for random unitary Q and P, each two reflections."""
    for _ in range(2):
        x = _reflected(rng, x, dtype)
        x = _reflected(rng, x.swapaxes(-1, -2), dtype).swapaxes(-1, -2)
    return x


def _spectrum(rng: Rng, k: int, cond: float, how: str) -> Any:
    if how == "one small":
        made = np.ones(k)
        made[-1:] = 1 / cond
    elif how == "one large":
        made = np.full(k, 1 / cond)
        made[:1] = 1
    else:
        made = np.geomspace(1, 1 / cond, k) if k else np.ones(0)
    return made


def _diagonal(shape: tuple[int, ...], values: Any) -> Any:
    made = np.zeros(shape)
    k = min(shape[-2:])
    made[..., range(k), range(k)] = values
    return made


def conditioned(rng: Rng, shape: tuple[int, ...], dtype: str, cond: float, how: str = "even", scale: float = 1.0) -> Any:  # fmt: skip
    """Singular values from 1 down to 1 / ``cond``."""
    values = _spectrum(rng, min(shape[-2:]), cond, how)
    return (_between(rng, _diagonal(shape, values), dtype) * scale).astype(dtype)


def hermitian(
    rng: Rng, shape: tuple[int, ...], dtype: str, cond: float, how: str = "even", scale: float = 1.0, definite: bool = False
) -> Any:  # fmt: skip
    """Eigenvalues of magnitudes from 1 down to 1 / ``cond``, of both signs unless ``definite``."""
    n = shape[-1]
    values = _spectrum(rng, n, cond, how)
    if not definite:
        values = values * rng.choice([-1, 1], n)
    x = _diagonal(shape, values)
    for _ in range(2):
        v = numbers(
            rng, (*shape[:-1], 1), "complex128" if dtype.startswith("complex") else "float64"
        )
        length = np.sqrt((np.abs(v) ** 2).sum((-2, -1), keepdims=True))
        v = v / np.where(length > 0, length, 1)
        x = x - 2 * v @ (v.conj().swapaxes(-1, -2) @ x)
        x = x - 2 * (x @ v) @ v.conj().swapaxes(-1, -2)
    x = (x + x.conj().swapaxes(-1, -2)) / 2
    return (x * scale).astype(dtype)


def triangular(rng: Rng, shape: tuple[int, ...], dtype: str, cond: float, lower: bool, scale: float = 1.0) -> Any:  # fmt: skip
    """A triangle of about that condition; the other half is not zero, and must not be read."""
    n = shape[-1]
    x = numbers(rng, shape, dtype) / max(n, 1)
    values = np.geomspace(1, 1 / min(cond, 1e6), n) if n else np.ones(0)
    eye = np.eye(n)
    inner = np.tril(x, -1) if lower else np.triu(x, 1)
    inner = inner * values[None, :] if lower else inner * values[:, None]
    other = x - (np.tril(x) if lower else np.triu(x))
    return ((inner + other + eye * values) * scale).astype(dtype)


def special(rng: Rng, shape: tuple[int, ...], dtype: str, kind: str) -> Any:
    """Matrices of small integers that rounding cannot excuse: zeros, identities, permutations, of low rank, …"""
    m, n = shape[-2:]
    eye = np.broadcast_to(np.eye(m, n), shape)
    if kind == "zeros":
        made = np.zeros(shape)
    elif kind == "identity":
        made = eye
    elif kind == "minus":
        made = -eye
    elif kind == "permutation":
        made = eye[..., rng.permutation(m), :]
    elif kind == "ones":
        made = np.ones(shape)
    elif kind == "jordan":
        made = 2 * eye + np.broadcast_to(np.eye(m, n, 1), shape)
    elif kind == "nilpotent":
        made = np.broadcast_to(np.eye(m, n, 1), shape)
    elif kind == "zero row":
        made = rng.integers(-3, 4, shape).astype(float)
        made[..., m // 2 : m // 2 + 1, :] = 0
    elif kind == "rank one":
        made = rng.integers(-2, 3, (*shape[:-1], 1)) * rng.integers(-2, 3, (*shape[:-2], 1, n))
    elif kind == "symmetric":
        made = rng.integers(-3, 4, shape)
        made = made + made.swapaxes(-1, -2)
    elif kind == "graded":
        made = rng.standard_normal(shape) * np.geomspace(1, 1e-12, m)[:, None]
    else:
        made = rng.integers(-3, 4, shape)
    return np.array(made).astype(dtype)


def spoiled(rng: Rng, x: Any) -> Any:
    """``x`` with NaN or an infinity in one element of some matrices, the first among them."""
    made = x.copy().reshape(-1, *x.shape[-2:])
    for k in range(len(made)):
        if made[k].size and (k == 0 or rng.random() < 0.3):
            i, j = (int(rng.integers(s)) for s in made[k].shape)
            made[k, i, j] = made[k, j % made.shape[1], i % made.shape[2]] = rng.choice(
                [np.nan, np.inf, -np.inf]
            )
    return made.reshape(x.shape)
