"""Special functions: errors against mpmath, edges and gradients in step with PyTorch."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
import torch

import tilegrad
from tests.kernels.formulas.test_transcendental import evaluate, ulps
from tilegrad.kernels.formulas.beyond import TABLE

Exact = Callable[..., Any]


def scaled(exact: Exact, sign: int) -> Exact:
    return lambda x: exact(x) * mpmath.exp(sign * x)


# row, what mpmath has, where to sample, the largest error in ulp of float64
UNARY: list[tuple[str, Exact, tuple[float, float], float]] = [
    ("erfcx", lambda x: mpmath.exp(x * x) * mpmath.erfc(x), (-26, 300), 4),
    ("ndtr", mpmath.ncdf, (-37, 9), 4),
    (
        "log_ndtr",
        lambda x: mpmath.log(mpmath.ncdf(x)) if x < 5 else mpmath.log1p(-mpmath.ncdf(-x)),
        (-300, 30),
        4,
    ),
    ("i0", lambda x: mpmath.besseli(0, x), (0, 700), 4),
    ("i0e", scaled(lambda x: mpmath.besseli(0, x), -1), (0, 700), 4),
    ("i1", lambda x: mpmath.besseli(1, x), (0, 700), 4),
    ("i1e", scaled(lambda x: mpmath.besseli(1, x), -1), (0, 700), 4),
    ("modified_bessel_k0", lambda x: mpmath.besselk(0, x), (0, 700), 4),
    ("modified_bessel_k1", lambda x: mpmath.besselk(1, x), (0, 700), 4),
    ("scaled_modified_bessel_k0", scaled(lambda x: mpmath.besselk(0, x), 1), (0, 700), 4),
    ("scaled_modified_bessel_k1", scaled(lambda x: mpmath.besselk(1, x), 1), (0, 700), 4),
]
BINARY: list[tuple[str, Exact, float]] = [
    ("zeta", lambda a, x: mpmath.zeta(a, x), 4),
    ("igamma", lambda a, x: mpmath.gammainc(a, 0, x, regularized=True), 4),
    ("igammac", lambda a, x: mpmath.gammainc(a, x, mpmath.inf, regularized=True), 4),
]
# first derivatives: what mpmath has, and where to sample
SLOPES: list[tuple[str, Exact, tuple[float, float]]] = [
    ("erf", lambda x: 2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x), (-26, 26)),
    ("erfc", lambda x: -2 / mpmath.sqrt(mpmath.pi) * mpmath.exp(-x * x), (-26, 26)),
    ("special.ndtr", mpmath.npdf, (-37, 37)),
    ("special.log_ndtr", lambda x: mpmath.npdf(x) / mpmath.ncdf(x), (-300, 37)),
    ("special.i1", lambda x: (mpmath.besseli(0, x) + mpmath.besseli(2, x)) / 2, (1e-300, 709)),
    ("special.i1e", lambda x: mpmath.mpf(0.5) - x, (5e-324, 1e-17)),
    ("asinh", lambda x: 1 / mpmath.sqrt(x * x + 1), (-1e300, 1e300)),
    ("acosh", lambda x: 1 / mpmath.sqrt(x * x - 1), (1.001, 1e300)),
]
# functions that oscillate: their zeros, the envelope, where the error is of the function and where of the envelope
Wave = tuple[
    str, Exact, list[Any], Callable[[float], float], tuple[float, float], tuple[float, float]
]
WAVES: list[Wave] = [
    *(
        (f"bessel_{kind}{n}", lambda x, n=n, f=f: f(n, x), [zero(n, k) for k in (1, 2, 3)],
         lambda x: math.sqrt(2 / (math.pi * x)), (1e-9, 8), (8, 1e9))
        for kind, f, zero in (("j", mpmath.besselj, mpmath.besseljzero), ("y", mpmath.bessely, mpmath.besselyzero))
        for n in (0, 1)
    ),
    ("airy_ai", mpmath.airyai, [mpmath.airyaizero(k) for k in (1, 2)],
     lambda x: abs(x) ** -0.25 / math.sqrt(math.pi), (-5, 103), (-1e10, -5)),
    ("spherical_bessel_j0", lambda x: mpmath.sin(x) / x, [mpmath.pi], lambda x: 1 / x, (1e-9, 8), (8, 1e9)),
]  # fmt: skip
# what PyTorch's own are good to: j0(4) is off by 2e-9, y1(8) by 3e-8, airy_ai by 2e-5, at -300 in float32 by 6e-4
COARSE = {n: 1e-4 if n == "airy_ai" else 1e-7 for n, *_ in WAVES if n != "spherical_bessel_j0"}
INFINITE = (
    "i0",
    "i1",
    "modified_bessel_i0",
    "modified_bessel_i1",
    "airy_ai",
    "polygamma",
)  # at inf, where PyTorch has NaN
NAMES = {"igamma": "gammainc", "igammac": "gammaincc"}


def denormal(name: str) -> np.ndarray:
    """Numbers with few digits, but where the result is 1 / x."""
    return np.array([] if name.endswith(("k1", "y1")) else [5e-324, 2e-319, 1.1e-310])


def error_of(name: str, exact: Exact, *operands: np.ndarray) -> np.ndarray:
    # mpmath's zeta is good to digits behind the point, and the results are as small as 1e-240
    with mpmath.workdps(400 if name == "zeta" else 50):
        want = [
            exact(*map(mpmath.mpf, v)) for v in zip(*(o.tolist() for o in operands), strict=True)
        ]
        top = np.array([float(v) for v in want])
        rest = np.array([float(v - mpmath.mpf(float(h))) for v, h in zip(want, top, strict=True)])
    return ulps(evaluate(TABLE[name].function, *operands), top, rest)


@pytest.mark.parametrize(("name", "exact", "ends", "bound"), UNARY, ids=[r[0] for r in UNARY])
def test_error(
    name: str, exact: Exact, ends: tuple[float, float], bound: float, rng: np.random.Generator
) -> None:
    low, high = ends
    near = rng.uniform(max(low, -12), min(high, 12), 150)
    x = np.concatenate(
        [near, rng.uniform(low, high, 50), np.exp(rng.uniform(-20, 2, 50)), denormal(name)]
    )
    error = error_of(name, exact, x)
    assert error.max() <= bound, x[error.argmax()]


@pytest.mark.parametrize(("name", "exact", "bound"), BINARY, ids=[r[0] for r in BINARY])
def test_error_of_two(name: str, exact: Exact, bound: float, rng: np.random.Generator) -> None:
    count = 40 if name == "zeta" else 150  # with 400 digits each takes a sixth of a second
    a = np.exp(rng.uniform(-4, 5 if name == "zeta" else 8, count))
    alone, near = np.exp(rng.uniform(-6, 5, count)), a * np.exp(rng.normal(0, 0.5, count))
    x = np.where(rng.random(count) < 0.3, alone, near)
    error = error_of(name, exact, a + 1 if name == "zeta" else a, x)
    assert error.max() <= bound, (a[error.argmax()], x[error.argmax()])


@pytest.mark.parametrize(
    ("name", "exact", "zeros", "envelope", "near", "far"), WAVES, ids=[r[0] for r in WAVES]
)
def test_error_of_waves(
    name: str,
    exact: Exact,
    zeros: Any,
    envelope: Any,
    near: Any,
    far: Any,
    rng: np.random.Generator,
) -> None:
    low, high = near
    around = [
        float(z) * (1 + 1e-6 * u) for z in zeros if low < z < high for u in rng.normal(size=10)
    ]
    x = np.concatenate([around, rng.uniform(low, high, 150), rng.uniform(low, high, 40) * 1e-3])
    last, first = np.log(np.sort(np.abs(far)))
    x = np.concatenate([x, np.exp(rng.uniform(last, first, 100)) * np.sign(far[0])])
    x = np.concatenate([x, denormal(name)]) if low > 0 else x
    have = evaluate(TABLE[name].function, x)
    with mpmath.workdps(40):
        for v, h in zip(x.tolist(), have.tolist(), strict=True):
            want = exact(mpmath.mpf(v))
            size = (
                abs(float(want))
                if low <= v <= high or 0 < v < 1e-300
                else max(abs(float(want)), envelope(v))
            )
            assert abs(h - want) <= 4 * np.spacing(size), v


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("name", "exact", "ends"), SLOPES, ids=[r[0] for r in SLOPES])
def test_error_of_slopes(
    name: str, exact: Exact, ends: tuple[float, float], dtype: str, rng: Any
) -> None:
    """Where PyTorch's lose digits (e^(-x^2) of a rounded square), or all of them (1 / sqrt(x^2 + 1) beyond 2^64)."""
    low, high = np.clip(ends, *(np.array([-1, 1]) * float(np.finfo(dtype).max)))
    found = np.concatenate(
        [
            rng.uniform(low, high, 60),
            rng.uniform(-9, 14, 60),
            10.0 ** rng.uniform(-18, 12, 40),
            [low],
        ]
    )
    x = found[(low <= found) & (found <= high)].astype(dtype)
    leaf = tilegrad.tensor(x, requires_grad=True)
    function: Any = tilegrad.special if "." in name else tilegrad
    getattr(function, name.split(".")[-1])(leaf).sum().backward()
    with mpmath.workdps(60), np.errstate(over="ignore"):
        want = [exact(mpmath.mpf(v)) for v in x.tolist()]
        top = np.array([float(v) for v in want])
        rest = np.array([float(v - mpmath.mpf(float(h))) for v, h in zip(want, top, strict=True)])
    error = ulps(leaf.grad.numpy(), top, rest)
    assert error.max() <= 4, x[error.argmax()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_error_of_the_slope_of_the_incomplete_gamma(dtype: str, rng: np.random.Generator) -> None:
    """Of large a, where PyTorch's exponent is a difference of large numbers, and where x^a is no number but x^(a - 1) is."""
    a = np.exp(rng.uniform(-30, 15, 150)).astype(dtype)
    near = a * (1 + rng.normal(size=150) / np.sqrt(1 + a))
    x = np.where(rng.random(150) < 0.4, np.exp(rng.uniform(-80, 6, 150)), np.abs(near)).astype(
        dtype
    )
    if dtype == "float64":
        a = np.concatenate([a, [1e-310, 2.0, 1.5, 1e20, 300.0]])
        x = np.concatenate([x, [2e-310, 1e-290, 1e-300, 1e20 + 1e10, 1e-300]])
    leaf = tilegrad.tensor(x, requires_grad=True)
    tilegrad.special.gammainc(tilegrad.tensor(a), leaf).sum().backward()
    with mpmath.workdps(60):
        want = [
            mpmath.exp((mpmath.mpf(b) - 1) * mpmath.log(v) - v - mpmath.loggamma(b))
            for b, v in zip(a.tolist(), x.tolist(), strict=True)
        ]
        top = np.array([float(v) for v in want])
        rest = np.array([float(v - mpmath.mpf(float(h))) for v, h in zip(want, top, strict=True)])
    error = ulps(leaf.grad.numpy(), top, rest)
    assert error.max() <= 4, (a[error.argmax()], x[error.argmax()])


@pytest.mark.parametrize("name", ["i0", "i1"])
def test_slopes_beyond_the_largest_number(name: str) -> None:
    x = tilegrad.tensor([-800.0, 100.0], requires_grad=True)
    getattr(tilegrad.special, name)(x).sum().backward()
    assert (x.grad == tilegrad.tensor([-math.inf if name == "i0" else math.inf, math.inf])).all()


def test_polygamma(rng: np.random.Generator) -> None:
    """4 ulp; left of 0 of the largest term. Orders whose factorial float32 does not hold are none of its own."""
    right = np.concatenate([np.exp(rng.uniform(-5, 5, 40)), rng.uniform(0.1, 12, 40)])
    left = rng.uniform(-9, 0, 60)
    for n in (1, 2, 3, 8, 20):
        have = tilegrad.polygamma(n, tilegrad.tensor(np.concatenate([right, left]))).numpy()
        with mpmath.workdps(60):
            for x, h in zip(np.concatenate([right, left]).tolist(), have.tolist(), strict=True):
                want = mpmath.polygamma(n, mpmath.mpf(x))
                term = math.factorial(n) * abs(x - round(x)) ** -(n + 1) if x < 0 else 0.0
                assert abs(h - want) <= 4 * np.spacing(max(term, abs(float(want)))), (n, x)
    # PyTorch: -inf and NaN
    have = tilegrad.polygamma(40, tilegrad.tensor([5.0, 100.0])).numpy()
    np.testing.assert_allclose(have, [float(mpmath.polygamma(40, x)) for x in (5, 100)], 1e-6)


def test_terms_left_of_zero() -> None:
    """As many as there are, in the time of a few: PyTorch adds up ten thousand million."""
    q = tilegrad.tensor([-1e10 - 0.5, -2.5, -1e17, -1.0, math.inf, -1e-30], dtype=tilegrad.float64)
    half = math.pi**2  # the sum over all whole k of (k + 1/2)^-2
    want = [half, 4 + 4 / 9 + 4 / 25 + half / 2, math.inf, math.inf, 0, 1e60]
    np.testing.assert_allclose(tilegrad.special.zeta(2.0, q).numpy(), want, 1e-9)


def test_large_terms() -> None:
    """Their powers are no float64 where the sum is one."""
    for x, q in ((1.5, 1e300), (3.0, 3e12), (1.001, 1.1e9), (20.0, 1.1e9), (2.0, math.inf)):
        have = tilegrad.special.zeta(x, tilegrad.tensor(q, dtype=tilegrad.float64)).item()
        with mpmath.workdps(40):
            big, y = mpmath.mpf(q), mpmath.mpf(x)
            want = big ** (1 - y) * (1 / (y - 1) + 1 / (2 * big) + y / (12 * big**2))
            assert have == want or abs(have - want) <= 3 * np.spacing(float(want)), (x, q)


@pytest.mark.parametrize("n", [0, 1, 2, 5])
def test_polygamma_in_step(n: int) -> None:
    """Values and gradients of three orders, as function, method, in place and into ``out``."""
    results = []
    for t in (torch, tilegrad):
        x = t.tensor([0.3, 2.0, 7.5, -0.5, -3.25, 40.0], dtype=t.float64, requires_grad=True)
        found = [t.special.polygamma(n, x)]
        for _ in range(3):
            found += t.autograd.grad(found[-1].sum(), x, create_graph=True)
        plain = x.detach()
        found += [
            plain.polygamma(n),
            plain.clone().polygamma_(n),
            t.polygamma(n, input=plain, out=t.ones(6)),
        ]
        found += [t.polygamma(n, t.tensor([1, 2])), t.polygamma(n, t.tensor([True]))]
        results.append(found)
    for theirs, ours in zip(*results, strict=True):
        assert str(ours.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
        rtol = 1e-6 if ours.dtype is tilegrad.float32 else 1e-8  # of PyTorch's trigamma
        np.testing.assert_allclose(ours.detach().numpy(), theirs.detach().numpy(), rtol)


def test_polygamma_refuses() -> None:
    for t in (torch, tilegrad):
        x = t.ones(2)
        with pytest.raises(RuntimeError, match="does not support negative n"):
            t.polygamma(-1, x)
        for n in (1.0, True):
            with pytest.raises(TypeError, match="argument 'n' .* must be int"):
                t.polygamma(n, x)
        with pytest.raises(TypeError, match="must be Tensor"):
            t.polygamma(1, 3.0)
        with pytest.raises(RuntimeError, match="can't be cast"):
            t.ones(2, dtype=t.int64).polygamma_(1)
        for call in (t.polygamma, lambda p, x, t=t: t.special.multigammaln(x, p)):
            with pytest.raises(NotImplementedError, match="not implemented for 'ComplexFloat'"):
                call(2, t.ones(2, dtype=t.complex64))


def called(t: Any, name: str, *operands: Any, **named: Any) -> Any:
    function = getattr(t.special, NAMES.get(name, name))
    return function(2, *operands, **named) if name == "polygamma" else function(*operands, **named)


def both(name: str, *values: Any) -> tuple[Any, Any]:
    ours, theirs = (called(t, name, *map(t.tensor, values)) for t in (tilegrad, torch))
    return ours.numpy(), theirs.numpy()


@pytest.mark.parametrize("name", [n for n in TABLE if "polynomial" not in n and n != "zeta"])
def test_edges(name: str) -> None:
    """Infinities, zeros, NaN and negative numbers, as PyTorch."""
    row = TABLE[name]
    values = np.array([0.0, -0.0, 1.0, -1.0, 2.5, 600.0, -300.0, np.nan, np.inf, -np.inf])
    values = values[:8] if name in INFINITE else values
    count = len(values)
    operands = [values] if row.arity == 1 else [np.repeat(values, count), np.tile(values, count)]
    if name in NAMES:  # PyTorch's forget NaN beside zeros and infinities
        kept = ~(np.isnan(operands[0]) | np.isnan(operands[1]))
        operands = [o[kept] for o in operands]
    have, want = both(name, *operands)
    rtol = COARSE.get(name, 1e-9 if name in NAMES else 1e-12)
    np.testing.assert_allclose(have, want, rtol, atol=1e-300)
    single, wide = both(name, *(o.astype(np.float32) for o in operands))
    assert single.dtype == wide.dtype == np.float32
    wide = have.astype(np.float32) if name in COARSE else wide
    np.testing.assert_allclose(single, wide, rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("name", TABLE)
def test_gradients_and_devices(name: str, device: str) -> None:
    """The derivatives that PyTorch has, to 1e-9, and numbers of the simulated GPU."""
    row, rng = TABLE[name], np.random.default_rng(1)
    domains = row.domain * row.arity if len(row.domain) == 1 else row.domain
    values = [rng.uniform(low, high, (2, 5)) for low, high in domains]
    results = []
    for t, where in ((torch, "cpu"), (tilegrad, device)):
        operands = [t.tensor(v, device=where, requires_grad=True) for v in values]
        out = called(t, name, *operands)
        slopes: list[Any] = []
        for x in operands:
            try:
                slopes.append(t.autograd.grad(out.sum(), x, retain_graph=True)[0].cpu().numpy())
            except (RuntimeError, NotImplementedError) as error:
                slopes.append(type(error))
        results.append((out.detach().cpu().numpy(), out.requires_grad, slopes))
    (want, asked, slopes), (have, asks, ours) = results
    np.testing.assert_allclose(have, want, rtol=COARSE.get(name, 1e-9))
    assert asked is asks
    for g, w in zip(ours, slopes, strict=True):
        if isinstance(w, type):
            assert g is w
        else:
            np.testing.assert_allclose(g, w, rtol=1e-9)


def test_polynomials() -> None:
    """Of degrees below 0 and beyond the recurrence's, of integers and of what is no degree."""
    degrees = np.array([-1.0, 0.0, 1.0, 2.7, 9.0, 200.0])
    for name in (n for n in TABLE if "polynomial" in n):
        for x in (-0.7, 0.3, 1.0, -1.0):
            if "hermite" in name and abs(x) == 1:
                continue
            have, want = both(name, np.full(6, x), degrees)
            np.testing.assert_allclose(have, want, rtol=1e-9, atol=1e-11 * max(1, abs(want).max()))
        last = getattr(tilegrad.special, name)(
            tilegrad.tensor([0.5, 0.5]), tilegrad.tensor([np.inf, np.nan])
        )
        assert last.isnan().all()


def test_airy_at_infinity() -> None:
    ends = tilegrad.tensor([math.inf, -math.inf, -1e300], dtype=tilegrad.float64)
    made = tilegrad.special.airy_ai(ends)
    assert (made[:2] == 0).all() and 0 < made[2].abs() < 1e-75


def test_inverse_of_the_normal_law(rng: np.random.Generator) -> None:
    p = np.concatenate([rng.uniform(0, 1, 200), np.exp(rng.uniform(-690, 0, 100))])
    x = evaluate(TABLE["ndtri"].function, p)
    with mpmath.workdps(330):
        for v, q in zip(x.tolist(), p.tolist(), strict=True):
            off = (mpmath.ncdf(v) - q) / mpmath.npdf(v)
            assert abs(off) <= 4 * abs(np.spacing(v)), (q, v)


@pytest.mark.parametrize("name", TABLE)
def test_arguments(name: str) -> None:
    """Dtypes, ``out``, numbers, complex tensors and PyTorch's names of arguments: as there, errors too."""
    count = TABLE[name].arity
    named = {
        "airy_ai",
        "scaled_modified_bessel_k0",
        "scaled_modified_bessel_k1",
        "spherical_bessel_j0",
    }
    words = ("x", "n") if "polynomial" in name else ("x",) if name in named else ("input", "other")
    found = []
    for t in (torch, tilegrad):
        x, whole = t.tensor([0.6, 0.9]), t.tensor([1, 2])
        calls: list[Callable[[], Any]] = [
            lambda x=x, t=t: called(t, name, *[x] * count, out=t.empty(2, dtype=t.float64)),
            lambda x=x, t=t: called(t, name, *[x] * count, out=t.empty(0)),
            lambda x=x, t=t: called(t, name, *[x] * count, out=t.empty(2, dtype=t.int64)),
            lambda x=x, t=t: called(t, name, **dict.fromkeys(words[:count], x)),
            lambda whole=whole, t=t: called(t, name, *[whole] * count),
            lambda whole=whole, t=t: called(t, name, *[whole != 1] * count),
            lambda x=x, t=t: called(t, name, *[x.to(t.complex64)] * count),
            lambda t=t: called(t, name, *[0.5] * count),
            lambda x=x, t=t: called(t, name, x, *[1] * (count - 1)),
            lambda x=x, t=t: called(t, name, *[1.5] * (count - 1), x),
        ]
        results: list[Any] = []
        for call in calls:
            try:
                made = call()
                results.append((str(made.dtype).split(".")[1], made.shape, made.numpy()))
            except (NotImplementedError, RuntimeError, TypeError) as error:
                results.append(type(error))
        found.append(results)
    for number, (want, have) in enumerate(zip(*found, strict=True)):
        if isinstance(want, type) or isinstance(have, type):
            assert have is want, (number, have, want)
        else:
            assert have[:2] == want[:2], number
            np.testing.assert_allclose(have[2], want[2], 1e-5, 1e-6)


def test_forms() -> None:
    """As method, in place, with ``out=``, of integers and of numbers."""
    x = tilegrad.tensor([1.0, 2.0])
    assert (x.i0() == tilegrad.i0(x)).all() and (x.igamma(x) == tilegrad.igamma(x, x)).all()
    assert (x.clone().igammac_(x) == tilegrad.special.gammaincc(x, x)).all()
    out = tilegrad.empty(2)
    assert tilegrad.i0(x, out=out) is out
    assert tilegrad.special.i1e(tilegrad.tensor([1, 2])).dtype is tilegrad.float32


@pytest.mark.parametrize("a", [1e5 + 0.3, 3e9, 1e20])
def test_the_incomplete_gamma_of_large_a(a: float) -> None:
    """4 ulp where no series ends: on both sides of a, in the steep part and where one of the two is small."""
    root = math.sqrt(a)
    x = np.array([a, a - 0.3 * root, a + 0.2 * root, a + 6 * root, a - 15 * root])
    lower, upper = (evaluate(TABLE[name].function, np.full(len(x), a), x) for name in NAMES)
    with mpmath.workdps(40):
        top, log_gamma = mpmath.mpf(a), mpmath.loggamma(a)
        for v, below, above in zip(x.tolist(), lower.tolist(), upper.tolist(), strict=True):
            steps = [v + math.copysign(root, v - a) * k for k in range(16)]
            most = (top - 1) * mpmath.log(v) - v  # quad looks at absolute errors
            found = mpmath.quad(
                lambda t, most=most: mpmath.exp((top - 1) * mpmath.log(t) - t - most), steps
            )
            found = abs(found) * mpmath.exp(most - log_gamma)
            small, other = (above, below) if v >= a else (below, above)
            assert abs(small - found) <= 4 * math.ulp(float(found)), v
            assert abs(other - (1 - found)) <= 4 * math.ulp(other), v


def test_small_results_of_the_incomplete_gamma() -> None:
    """To the last that a float64 holds, denormal ones too."""
    lower, upper = (TABLE[name].function for name in NAMES)
    cases: list[tuple[Any, float, float, Exact]] = [
        *((upper, a, x, lambda a, x: a * mpmath.e1(x)) for a in (1e-310, 1e-300) for x in (1e-300, 0.3, 2.0, 12.0)),
        *((upper, a, x, lambda a, x: mpmath.gammainc(a, x, regularized=True)) for a, x in ((0.3, 730.0), (7.99, 720.0))),
        *((lower, a, x, lambda a, x: mpmath.gammainc(a, 0, x, regularized=True))
          for a, x in ((11.9999, 1e-26), (12.0, 1e-25), (1e4, 6700.0))),
    ]  # fmt: skip
    for function, a, x, exact in cases:
        have = evaluate(function, np.array([a]), np.array([x]))[0]
        with mpmath.workdps(50):
            assert (
                abs(have - exact(mpmath.mpf(a), mpmath.mpf(x))) <= 4 * math.ulp(have)
                and 0 < have < 1e-40
            ), (a, x)


@pytest.mark.parametrize(("a", "x"), [(0.007282260346374815, 0.5444123947390265), (0.30604038434267083, 0.8170777331748311),
                                      (0.03377933383901718, 1.1231504535567285), (0.8366142343687, 1.2434334086717)])  # fmt: skip
def test_the_upper_incomplete_gamma_of_small_a(a: float, x: float) -> None:
    """Where 1 - P cancels, a + 1 rounds a away and a product of the fraction's steps would add up its roundings."""
    have = tilegrad.special.gammaincc(
        tilegrad.tensor(a, dtype=tilegrad.float64), tilegrad.tensor(x, dtype=tilegrad.float64)
    ).item()
    want = mpmath.gammainc(a, x, mpmath.inf, regularized=True)
    assert abs(have - want) <= 4 * math.ulp(float(want))
