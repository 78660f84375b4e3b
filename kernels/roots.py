"""What Fourier transforms of a length need on every device: its factors, roots of unity, chirps.

Roots are computed in float64 from the exact fraction of a turn, folded into one octant, with the rounding
of the angle made good to first order; float32 tables are roundings of these.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from tilegrad.kernels.codelets import RADICES

LARGEST_PRIME = (
    61  # that gets a stage of its own; lengths with larger factors go by Bluestein's sums
)

_SPLITTER = 134217729.0  # 2^27 + 1: halves a mantissa


def exact_turns(k: np.ndarray, n: int) -> np.ndarray:
    """e^(-2 pi i k / n) for integers 0 <= k < n, as complex128."""
    eighth, rest = np.divmod(8 * k.astype(np.int64), n)
    odd = (eighth & 1) == 1
    a = np.where(
        odd, n - rest, rest
    )  # the angle is a / n of an eighth of a turn: within one octant
    high, low = _angle(a, n)
    sine, cosine = np.sin(high), np.cos(high)
    sine, cosine = sine + low * cosine, cosine - low * sine
    # octants 1, 2 and 5, 6 swap the two
    swap = ((eighth + 1) & 2) != 0
    c, s = np.where(swap, sine, cosine), np.where(swap, cosine, sine)
    c = np.where((eighth >= 2) & (eighth < 6), -c, c)
    s = np.where(eighth >= 4, -s, s)
    found: np.ndarray = c - 1j * s
    return found


def _angle(a: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """(angle, its rounding error) of pi a / (4 n), by Dekker's exact product."""
    x, y = a.astype(np.float64), math.pi / 4
    product = x * y
    high = (_SPLITTER * x) - (_SPLITTER * x - x)
    y_high = (_SPLITTER * y) - (_SPLITTER * y - y)
    low, y_low = x - high, y - y_high
    error = ((high * y_high - product) + high * y_low + low * y_high) + low * y_low
    error = error + x * (1.2246467991473532e-16 / 4)  # what pi itself lacks
    angle = product / n
    # the remainder of the division, exactly
    high = (_SPLITTER * angle) - (_SPLITTER * angle - angle)
    rest = product - high * n - (angle - high) * n
    return angle, (rest + error) / n


@lru_cache(maxsize=256)
def factors(n: int) -> tuple[int, ...]:
    """The radices of the stages of ``n``; () where a prime factor is too large for one."""
    found: list[int] = []
    twos = (n & -n).bit_length() - 1
    rest = n >> twos
    found += [8] * (twos // 3 - (twos % 3 == 1 and twos > 1))
    found += {0: [], 1: [4, 4] if twos > 1 else [2], 2: [4]}[twos % 3]
    threes = 0
    while rest % 3 == 0:
        rest, threes = rest // 3, threes + 1
    found += [9] * (threes // 2) + [3] * (threes % 2)
    p = 5
    while rest > 1:
        while rest % p == 0:
            found.append(p)
            rest //= p
        p += 2
        if p > LARGEST_PRIME:
            break
    return () if rest > 1 else tuple(sorted(found, reverse=True))


def is_smooth(n: int) -> bool:
    """Whether ``n`` is a product of radices that have stages."""
    return n == 1 or bool(factors(n))


@lru_cache(maxsize=256)
def padded(n: int) -> int:
    """The length of Bluestein's convolution for ``n``: the cheapest of small radices from ``2 n - 1`` on."""
    least, found = 2 * n - 1, 1 << (2 * n - 2).bit_length()
    best, cost = found, _cost(found)
    five = 1
    while five < 2 * found:
        three = five
        while three < 2 * found:
            two = three * 8
            while two < least:
                two *= 2
            if two <= found and _cost(two) < cost:
                best, cost = two, _cost(two)
            three *= 3
        five *= 5
    return best


def _cost(n: int) -> float:
    """A guess of what a transform of ``n`` costs."""
    return n * (2 + sum(math.pow(r, 0.7) for r in factors(n)))


def stage_tables(
    n: int, radices: tuple[int, ...]
) -> tuple[np.ndarray, list[tuple[int, int, int, int]]]:
    """(roots, stages) of Stockham's passes: stage (radix, m, s, first root) takes element
    ``q + s (p + m k)`` to ``q + s (radix p + j)`` with the root ``jp / (radix m)``, ``j >= 1``, in place
    ``p (radix - 1) + j - 1`` after its first.
    """
    roots, stages, at, left, s = [], [], 0, n, 1
    for radix in radices:
        m = left // radix
        j, p = np.arange(1, radix), np.arange(m)
        made = exact_turns((p[:, None] * j).ravel() % left, left)
        roots.append(made)
        stages.append((radix, m, s, at))
        at, left, s = at + len(made), m, s * radix
    return np.concatenate(roots) if roots else np.zeros(0, np.complex128), stages


def interleaved(values: np.ndarray, dtype: str) -> np.ndarray:
    """Complex numbers as pairs of reals of ``dtype``."""
    return np.ascontiguousarray(values).view(np.float64).astype(dtype)


def planes(values: np.ndarray, dtype: str, beyond: int = 0) -> tuple[np.ndarray, int]:
    """(real parts, then imaginary ones, as ``dtype``; elements from one to the other), ``beyond`` more than
    there are.
    """
    flat = values.ravel()
    plane = flat.size + beyond
    table = np.zeros(2 * plane, dtype)
    table[: flat.size], table[plane : plane + flat.size] = flat.real, flat.imag
    return table, plane


def chirp(n: int) -> np.ndarray:
    """e^(-pi i k^2 / n) for k below ``n``: Bluestein's factors (1970)."""
    k = np.arange(n, dtype=np.int64)
    if n < 1 << 31:
        square = k * k % (2 * n)
    else:
        square = np.array([int(i) * int(i) % (2 * n) for i in k], np.int64)
    return exact_turns(square, 2 * n)


def bluestein(n: int) -> tuple[int, np.ndarray, np.ndarray]:
    """(length of the convolution, chirp, what its transform is multiplied by), the inverse's scale included."""
    length, c = padded(n), chirp(n)
    kernel = np.zeros(length, np.complex128)
    kernel[:n] = c.conj()
    kernel[length - n + 1 :] = c[:0:-1].conj()
    return length, c, transform(kernel) / length


def transform(x: np.ndarray) -> np.ndarray:
    """The discrete Fourier transform of a table, by the stages that kernels run."""
    n = len(x)
    roots, stages = stage_tables(n, factors(n))
    for radix, m, s, first in stages:
        turns = exact_turns(np.multiply.outer(np.arange(radix), np.arange(radix)) % radix, radix)
        made = np.einsum("jk,kps->jps", turns, x.reshape(radix, m, s))
        by = roots[first : first + m * (radix - 1)].reshape(m, radix - 1)
        made[1:] *= by.T[:, :, None]
        x = made.transpose(1, 0, 2).reshape(n)
    return x


def products(rows: int, columns: int) -> np.ndarray:
    """The roots ``jk / (rows columns)`` for j below ``rows`` and k below ``columns``: the factors between the
    two passes of the four-step decomposition (Bailey, 1990).
    """
    j, k = np.arange(rows, dtype=np.int64), np.arange(columns, dtype=np.int64)
    return exact_turns(np.multiply.outer(j, k), rows * columns)


__all__ = [
    "LARGEST_PRIME", "RADICES", "bluestein", "products", "transform", "chirp", "exact_turns", "factors", "interleaved", "is_smooth", "padded", "planes",
    "stage_tables",
]  # fmt: skip
