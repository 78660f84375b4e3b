"""Draws by rejection: their distributions, their numbers on both devices, and how they move with parameters.

Statistics have fixed seeds. Each of the :data:`CHECKS` fails for a right sampler with a probability of 10^-4
under a fresh seed, which ``TILEGRAD_TEST_SEED=N`` gives it.
"""

from __future__ import annotations

import os
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.stats as st
import torch

import tilegrad
from tilegrad.autograd.rules.variates import (
    _dirichlet_grad,
    _sample_dirichlet,
    _standard_gamma,
    _standard_gamma_grad,
    von_mises,
)
from tilegrad.engine.ops import random as ops
from tilegrad.kernels import variates

SEED = int(os.environ.get("TILEGRAD_TEST_SEED", "20"))
COUNT = 40_000

# sampler, its parameters, the distribution
CHECKS: list[tuple[str, tuple[float, ...], Any]] = [
    *(("gamma", (a,), st.gamma(a)) for a in (0.3, 0.9, 1.0, 2.5, 60.0, 1e5)),
    *(("von_mises", (k,), st.vonmises(k)) for k in (1e-7, 0.2, 3.0, 90.0, 1e7)),
    *(("poisson", (r,), st.poisson(r)) for r in (0.2, 4.0, 9.9, 10.0, 35.0, 1000.0)),
    *(
        ("binomial", (n, p), st.binom(n, p))
        for n, p in ((1, 0.3), (12, 0.5), (500, 0.01), (40, 0.5), (60, 0.8), (5000, 0.3))
    ),
]
CALLS = {"gamma": _standard_gamma, "von_mises": von_mises, "poisson": tilegrad.poisson,
         "binomial": tilegrad.binomial}  # fmt: skip


def _p_value(drawn: np.ndarray, name: str, law: Any) -> float:
    """Of Kolmogorov and Smirnov's test, or for whole numbers of the chi-squared test."""
    if name in ("gamma", "von_mises"):
        return float(st.kstest(drawn, law.cdf).pvalue)
    low, high = law.ppf(1e-3), law.ppf(1 - 1e-3)
    edges = np.unique(np.floor(np.linspace(low, high, 25)))
    below = np.concatenate([[-np.inf], edges, [np.inf]])
    expected = np.diff(law.cdf(below))
    have, _ = np.histogram(drawn, np.concatenate([[-1], edges + 0.5, [np.inf]]))
    kept = expected * drawn.size > 5
    rest = have[~kept].sum(), expected[~kept].sum()
    have, expected = np.append(have[kept], rest[0]), np.append(expected[kept], rest[1])
    if rest[1] == 0:
        have, expected = have[:-1], expected[:-1]
    return float(st.chisquare(have, expected / expected.sum() * drawn.size).pvalue)


@pytest.mark.parametrize(("name", "params", "law"), CHECKS, ids=lambda x: str(x)[:20])
def test_distribution(name: str, params: tuple[float, ...], law: Any) -> None:
    generator = tilegrad.Generator().manual_seed(SEED)
    tensors = [tilegrad.full((COUNT,), p, dtype=tilegrad.float64) for p in params]
    drawn = CALLS[name](*tensors, generator=generator).numpy()
    assert _p_value(drawn, name, law) > 1e-4


def test_shares() -> None:
    """Marginals of Dirichlet's distribution are beta, for small parameters too."""
    generator = tilegrad.Generator().manual_seed(SEED)
    alpha = tilegrad.tensor([0.01, 0.4, 3.0], dtype=tilegrad.float64).expand(COUNT, 3)
    drawn = _sample_dirichlet(alpha, generator).numpy()
    np.testing.assert_allclose(drawn.sum(1), 1)
    for k, a in ((1, 0.4), (2, 3.0)):
        assert st.kstest(drawn[:, k], st.beta(a, 3.41 - a).cdf).pvalue > 1e-4
    tiny = _sample_dirichlet(tilegrad.full((1000, 2), 1e-4), generator).numpy()
    near = (tiny < 1e-6) | (tiny > 1 - 1e-6)  # as good as one-hot, where 0 / 0 would be a half
    assert near.mean() > 0.98


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("name", variates.TABLE)
def test_same_numbers(name: str, dtype: str, device: str) -> None:
    """On the simulated GPU, and for any number of threads, those of one thread of the CPU."""
    rng = np.random.default_rng(3)
    x = rng.uniform(0.2, 40, 300).astype(dtype)
    y = rng.uniform(0, 1, 300).astype(dtype)
    made = []
    for where, threads in (("cpu", 1), (device, 2)):
        before = tilegrad.get_num_threads()
        tilegrad.set_num_threads(threads)
        generator = tilegrad.Generator().manual_seed(-5)
        operands = [tilegrad.tensor(v, device=where) for v in (x, y)]
        first = ops.variates(name, *operands, generator)
        again = ops.variates(name, *operands, generator)
        tilegrad.set_num_threads(before)
        made.append([tilegrad.asarray(a).cpu().numpy() for a in (first, again)])
    assert not np.array_equal(*made[0])
    for one, other in zip(*made, strict=True):
        np.testing.assert_allclose(one, other, rtol=4 * np.finfo(dtype).eps)


def test_edges() -> None:
    nan, inf = float("nan"), float("inf")
    t = tilegrad.tensor
    assert tilegrad.poisson(t([0.0])).tolist() == [0.0]
    assert tilegrad.binomial(t([-1.0, 3.0, 3.0, 0.0]), t([0.5, 0.0, 1.5, 0.5])).tolist() == [
        0,
        0,
        3,
        0,
    ]
    assert tilegrad.binomial(t([3.0]), t([nan])).isnan().all()
    assert _standard_gamma(t([0.0])).item() == np.finfo(np.float32).tiny
    assert _standard_gamma(t([inf])).item() == inf
    assert _standard_gamma(t([nan, -1.0])).isnan().all()
    assert tilegrad.poisson(t([[]])).shape == (1, 0)


REFUSED: list[tuple[str, list[Any]]] = [
    ("poisson", [[-1.0]]),
    ("poisson", [[float("nan")]]),
    ("poisson", [[1]]),
    ("binomial", [[1], [0.5]]),
    ("binomial", [[1.0, 2.0], [0.5, 0.5, 0.5]]),
]


@pytest.mark.parametrize(("name", "values"), REFUSED)
def test_errors(name: str, values: list[Any]) -> None:
    raised = []
    for t in (torch, tilegrad):
        with pytest.raises((RuntimeError, ValueError, NotImplementedError)) as error:
            getattr(t, name)(*map(t.tensor, values))
        raised.append(error.type)
    assert raised[0] is raised[1]
    with pytest.raises(RuntimeError, match="expected float32"):
        tilegrad.binomial(tilegrad.tensor([1.0]), tilegrad.tensor([0.5], dtype="float64"))


def test_gradients_of_whole_numbers() -> None:
    rate = tilegrad.tensor([3.0], requires_grad=True)
    tilegrad.poisson(rate).sum().backward()
    assert rate.grad is not None and rate.grad.item() == 0
    with pytest.raises(RuntimeError, match="not implemented"):
        tilegrad.binomial(
            rate.detach(), tilegrad.tensor([0.5], requires_grad=True)
        ).sum().backward()


# ------------------------------------------------------------------------- implicit gradients


@pytest.mark.parametrize("alpha", [0.02, 0.7, 1.0, 3.3, 40.0, 900.0])
def test_gamma_gradient(alpha: float) -> None:
    """Against the integral that the distribution function is."""
    with mpmath.workdps(30):
        a = mpmath.mpf(alpha)
        for u in (0.01, 0.3, 0.6, 0.99, 1 - 1e-7):
            x = mpmath.mpf(float(st.gamma(alpha).ppf(u)))
            slope = mpmath.diff(lambda s, x=x: mpmath.gammainc(s, 0, x, regularized=True), a)
            want = -slope / (x ** (a - 1) * mpmath.exp(-x) / mpmath.gamma(a))
            operands = [tilegrad.tensor([float(v)], dtype="float64") for v in (a, x)]
            assert abs(_standard_gamma_grad(*operands).item() / want - 1) < 1e-12


@pytest.mark.parametrize("pair", [(0.05, 0.07), (0.3, 2.0), (2.0, 0.3), (5.0, 7.0), (200.0, 3.0)])
def test_dirichlet_gradient(pair: tuple[float, float]) -> None:
    with mpmath.workdps(30):
        a, b = map(mpmath.mpf, pair)
        for u in (0.02, 0.3, 0.6, 0.9):
            x = mpmath.mpf(float(st.beta(*pair).ppf(u)))
            if not 1e-200 < x < 1 - 1e-12:
                continue
            slope = mpmath.diff(lambda s, x=x, b=b: mpmath.betainc(s, b, 0, x, regularized=True), a)
            density = x ** (a - 1) * (1 - x) ** (b - 1) / mpmath.beta(a, b)
            want = -slope / density / (1 - x)
            operands = [tilegrad.tensor([float(v)], dtype="float64") for v in (x, a, a + b)]
            assert abs(_dirichlet_grad(*operands).item() / want - 1) < 1e-11


def test_large_parameters() -> None:
    """Where the normal distribution takes over, one goes into the other."""
    alpha = tilegrad.tensor([0.999e6, 1.001e6], dtype=tilegrad.float64)
    for z in (-3.0, 0.5, 4.0):
        below, beyond = _standard_gamma_grad(alpha, alpha + z * alpha.sqrt()).tolist()
        assert abs(below - beyond) < 1e-5 * abs(z) + 1e-6
        assert abs(below - (1 + z / 2e3)) < 1e-5


def test_gradients_of_means() -> None:
    """The mean of Gamma(a) is a, that of a share its parameter over the sum."""
    tilegrad.manual_seed(SEED)
    a = tilegrad.tensor([0.4, 3.0], dtype=tilegrad.float64, requires_grad=True)
    drawn = _standard_gamma(a.expand(COUNT, 2))
    (slope,) = tilegrad.autograd.grad(drawn.sum(), a)
    np.testing.assert_allclose(slope.numpy() / COUNT, 1, atol=0.05)
    shares = _sample_dirichlet(a.expand(COUNT, 2))
    (slope,) = tilegrad.autograd.grad(shares[:, 0].sum(), a)
    want = np.array([3.0, -0.4]) / 3.4**2
    np.testing.assert_allclose(slope.numpy() / COUNT, want, rtol=0.05)
