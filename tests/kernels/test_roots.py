"""Roots of unity, factors and chirps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tilegrad.kernels import roots


def _exact(k: int, n: int) -> complex:
    """e^(-2 pi i k / n) to some 30 digits, rounded once: Taylor's series on an eighth of a turn, in integers."""
    digits = 40
    one = 10**digits
    pi = 31415926535897932384626433832795028841971
    pi = pi * one // 10**40
    eighth, rest = divmod(8 * k, n)
    a = rest if eighth % 2 == 0 else n - rest
    angle = pi * a // (4 * n)
    cosine, sine, term = 0, 0, one
    for j in range(60):
        sign = -1 if j // 2 % 2 else 1
        if j % 2:
            sine += sign * term
        else:
            cosine += sign * term
        term = term * angle // (one * (j + 1))
    c, s = (sine, cosine) if eighth in (1, 2, 5, 6) else (cosine, sine)
    c = -c if 2 <= eighth < 6 else c
    s = -s if eighth >= 4 else s
    return complex(c / one, -s / one)


@pytest.mark.parametrize("n", [1, 2, 3, 8, 12, 97, 1 << 10, 65537, 3**10, (1 << 22) + 2])
def test_roots_are_right_to_an_ulp(n: int, rng: np.random.Generator) -> None:
    k = np.unique(np.concatenate([np.arange(min(n, 16)), rng.integers(0, n, 60), [n - 1, n // 2]]))
    found = roots.exact_turns(k, n)
    for place, value in zip(k, found, strict=True):
        want = _exact(int(place), n)
        for a, b in ((value.real, want.real), (value.imag, want.imag)):
            assert abs(a - b) <= math.ulp(b), (n, place, a, b)


def test_factors_are_radices_and_primes() -> None:
    for n in range(1, 3000):
        found = roots.factors(n)
        primes = [
            p
            for p in range(2, n + 1)
            if n % p == 0 and all(p % q for q in range(2, math.isqrt(p) + 1))
        ]
        smooth = not primes or primes[-1] <= roots.LARGEST_PRIME
        assert roots.is_smooth(n) is smooth
        if smooth:
            assert math.prod(found) == n
            assert all(r in roots.RADICES or r in primes for r in found)


def test_padded_lengths_are_long_enough_and_short() -> None:
    for n in (67, 1009, 65537, 99991):
        length = roots.padded(n)
        assert 2 * n - 1 <= length <= 4 * n and roots.is_smooth(length)
        assert max(roots.factors(length)) <= 9


@pytest.mark.parametrize("n", [1, 2, 60, 77, 13 * 31, 1024])
def test_the_transform_of_a_table_is_the_definition(n: int, rng: np.random.Generator) -> None:
    x = rng.standard_normal(n) + 1j * rng.standard_normal(n)
    matrix = roots.exact_turns(np.outer(np.arange(n), np.arange(n)) % n, n)
    np.testing.assert_allclose(roots.transform(x), matrix @ x, rtol=0, atol=1e-12 * n)


def test_chirps_of_long_lengths_do_not_overflow() -> None:
    n = 67
    k = np.arange(n)
    np.testing.assert_allclose(roots.chirp(n), np.exp(-1j * np.pi * k * k / n), atol=1e-11)
