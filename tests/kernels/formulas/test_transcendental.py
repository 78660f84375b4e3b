"""Scalar formulas: accuracy, special values, gradients, and the same bits however they are run."""

from __future__ import annotations

import hashlib
import math
import os
import platform
import subprocess
import sys
from typing import Any

import mpmath
import numpy as np
import pytest
import scipy.special
import torch

from tilegrad.kernels.cpu.elementwise import elementwise, map_rows
from tilegrad.kernels.cpu.run.backend import optimised
from tilegrad.kernels.cpu.run.jit import assembly, simd_bits
from tilegrad.kernels.cpu.run.native import new_machine
from tilegrad.kernels.cpu.run.translate import translate
from tilegrad.kernels.formulas import (
    angles,
    arithmetic,
    declared,
    elementary,
    gamma,
    hyperbolic,
    powers,
    special,
    transcendental as t,
    trigonometric as g,
)
from tilegrad.kernels.function import DeviceFunction

FLOATS = ("float32", "float64")
TINY = {"float32": 2.0**-149, "float64": 2.0**-1074}


def evaluate(formula: DeviceFunction, *operands: np.ndarray) -> np.ndarray:
    """The formula over arrays of one length, by the elementwise loop."""
    out = np.empty_like(operands[0])
    dtypes = (str(out.dtype),) * (len(operands) + 1)
    launch = elementwise(formula, dtypes, (out.size,), ((1,),) * len(dtypes))
    launch(*(x.ctypes.data for x in operands), out.ctypes.data)
    return out


def ulps(have: np.ndarray, high: np.ndarray, low: np.ndarray | float = 0.0) -> np.ndarray:
    """|have - (high + low)| in units in the last place of the reference, a float64 sum."""
    dtype = have.dtype
    digits = np.finfo(dtype).nmant + 1
    with np.errstate(all="ignore"):
        unit = np.ldexp(
            1.0, np.maximum(np.frexp(high)[1] - digits, np.log2(TINY[str(dtype)])).astype(int)
        )
        error = np.abs((have.astype(np.float64) - high) / unit - low / unit)
        rounded = high.astype(dtype)
    same = (have == rounded) & ~np.isfinite(rounded) | np.isnan(have) & np.isnan(high)
    return np.where(same, 0, np.where(np.isnan(error), np.inf, error))


def bits(x: np.ndarray) -> np.ndarray:
    return x.view(f"u{x.itemsize}")


def same(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Equal to the bit, any NaN like another."""
    return (bits(x) == bits(y)) | (np.isnan(x) & np.isnan(y))


# --------------------------------------------------------------------------------------- accuracy


def sigmoid(x: np.ndarray) -> np.ndarray:
    t = np.exp(-np.abs(x))
    return np.where(x < 0, t, 1) / (1 + t)


def softplus(x: np.ndarray) -> np.ndarray:
    return np.maximum(x, 0) + np.log1p(np.exp(-np.abs(x)))


def positive(x: np.ndarray) -> np.ndarray:
    return x[x > 0]


# formula, float64 reference for float32, multiprecision reference, where to sample, error bounds
UNARY: dict[str, tuple[DeviceFunction, Any, Any, tuple[float, float], float, float]] = {
    "exp": (t.exp, np.exp, mpmath.exp, (-745, 710), 1.01, 1.0),
    "exp2": (t.exp2, np.exp2, lambda x: mpmath.mpf(2) ** x, (-1074, 1024), 1.02, 1.04),
    "expm1": (t.expm1, np.expm1, mpmath.expm1, (-5, 5), 1.21, 1.44),
    "log": (t.log, np.log, mpmath.log, (0, 5), 0.8, 0.85),
    "log2": (t.log2, np.log2, lambda x: mpmath.log(x, 2), (0, 5), 0.9, 0.9),
    "log10": (t.log10, np.log10, mpmath.log10, (0, 5), 0.72, 0.81),
    "log1p": (t.log1p, np.log1p, mpmath.log1p, (-1, 3), 1.54, 1.34),
    "sigmoid": (t.sigmoid, sigmoid, lambda x: 1 / (1 + mpmath.exp(-x)), (-740, 40), 1.76, 1.88),
    "softplus": (
        t.softplus,
        softplus,
        lambda x: mpmath.log1p(mpmath.exp(x)),
        (-40, 40),
        1.85,
        1.63,
    ),
    "tanh": (t.tanh, np.tanh, mpmath.tanh, (-4, 4), 1.3, 1.32),
    "sin": (g.sin, np.sin, mpmath.sin, (-1e3, 1e3), 1.52, 1.5),
    "cos": (g.cos, np.cos, mpmath.cos, (-1e3, 1e3), 1.5, 1.5),
    "tan": (g.tan, np.tan, mpmath.tan, (-1e3, 1e3), 0.57, 1.07),
    "asin": (angles.asin, np.arcsin, mpmath.asin, (-1, 1), 1.07, 1.09),
    "acos": (angles.acos, np.arccos, mpmath.acos, (-1, 1), 1.07, 1.08),
    "atan": (angles.atan, np.arctan, mpmath.atan, (-9, 9), 1.08, 1.16),
    "sinh": (hyperbolic.sinh, np.sinh, mpmath.sinh, (-9, 9), 1.6, 1.6),
    "cosh": (hyperbolic.cosh, np.cosh, mpmath.cosh, (-9, 9), 1.4, 1.45),
    "asinh": (hyperbolic.asinh, np.arcsinh, mpmath.asinh, (-9, 9), 0.51, 1.7),
    "acosh": (hyperbolic.acosh, np.arccosh, mpmath.acosh, (1, 9), 0.51, 2.0),
    "atanh": (hyperbolic.atanh, np.arctanh, mpmath.atanh, (-1, 1), 0.51, 1.74),
    "logit": (
        elementary.logit,
        scipy.special.logit,
        lambda x: mpmath.log(x / (1 - x)),
        (0, 1),
        1.5,
        1.5,
    ),
    "erf": (special.erf, scipy.special.erf, mpmath.erf, (-6, 6), 1.02, 1.0),
    "erfc": (special.erfc, scipy.special.erfc, mpmath.erfc, (-6, 27.5), 0.53, 2.0),
    "erfinv": (special.erfinv, scipy.special.erfinv, mpmath.erfinv, (-1, 1), 0.51, 1.72),
    "lgamma": (gamma.lgamma, scipy.special.gammaln, mpmath.loggamma, (0, 30), 0.51, 2.5),
    "digamma": (gamma.digamma, scipy.special.digamma, mpmath.digamma, (0, 30), 0.51, 3.4),
}
ON_POSITIVE = ("lgamma", "digamma")  # near their negative zeros the error is only small beside 1


@pytest.mark.parametrize("name", UNARY)
def test_float32_error_over_all_bit_patterns(name: str) -> None:
    formula, reference, _, _, bound, _ = UNARY[name]
    start = int(np.random.default_rng([ord(c) for c in name]).integers(4099))
    x = np.arange(start, 1 << 32, 4099, dtype=np.uint32).view(np.float32)
    x = positive(x) if name in ON_POSITIVE else x
    with np.errstate(all="ignore"):
        want = reference(x.astype(np.float64))
    error = ulps(evaluate(formula, x), want)
    worst = int(error.argmax())
    assert error[worst] <= bound, (x[worst], want[worst])


def zeros_of_lgamma() -> list[mpmath.mpf]:
    """Its zeros below -2, by secants from 1 / n! beside the poles."""
    found = []
    for n in range(2, 18):
        for side in (-1, 1):
            start = {(2, -1): -0.457, (3, 1): 0.2523, (3, -1): -0.1436}.get(
                (n, side), side / math.factorial(n)
            )
            if (n, side) != (2, 1):
                ends = (-n + mpmath.mpf(start), -n + mpmath.mpf(start) * (1 + mpmath.mpf(10) ** -4))
                found.append(
                    mpmath.findroot(
                        lambda x: mpmath.log(abs(mpmath.gamma(x))), ends, "secant", tol=1e-50
                    )
                )
    return found


@pytest.mark.parametrize("dtype", FLOATS)
def test_lgamma_between_its_poles(dtype: str, rng: np.random.Generator) -> None:
    """4 ulp of float64, half of one of float32, beside zeros too: a reflection subtracts what is nearly equal there."""
    with mpmath.workdps(60):
        zeros = zeros_of_lgamma()
        at = np.array([float(z) for z in zeros]).astype(dtype)
        away = np.array([float(z - mpmath.nint(z)) for z in zeros])
        x = np.concatenate(
            [
                at,
                *(np.nextafter(at, np.array(end, dtype)) for end in (-99, 0)),
                *(at + away * 2.0**-u for u in (1, 3, 9, 20)),
                rng.uniform(-3, -2, 150),
                rng.uniform(-26, -3, 150),
                -rng.integers(3, 26, 60) + np.ldexp(rng.normal(size=60), -rng.integers(2, 52, 60)),
            ]
        ).astype(dtype)
        x = x[(x != np.rint(x)) & (x < -2)]
        want = [mpmath.log(abs(mpmath.gamma(mpmath.mpf(v)))) for v in x.tolist()]
        top = np.array([float(v) for v in want])
        rest = np.array([float(v - mpmath.mpf(h)) for v, h in zip(want, top.tolist(), strict=True)])
    error = ulps(evaluate(gamma.lgamma, x), top, rest)
    assert error.max() <= (0.51 if dtype == "float32" else 4), x[error.argmax()]


@pytest.mark.parametrize("name", UNARY)
def test_float64_error(name: str, rng: np.random.Generator) -> None:
    formula, _, reference, (low, high), _, bound = UNARY[name]
    x = np.concatenate(
        [
            rng.uniform(low, high, 600),
            np.exp(rng.uniform(-700, 0, 100)),
            1 + rng.normal(0, 1e-3, 100),
            0.5 + np.ldexp(rng.normal(size=60), -rng.integers(2, 54, 60)),
        ]
    )
    if name in ("sin", "cos", "tan"):
        huge = np.ldexp(rng.uniform(1, 2, 200), rng.integers(20, 1023, 200))
        near_zeros = rng.integers(0, 1 << 29, 200) * (np.pi / 2)
        x = np.concatenate([x, huge, near_zeros, [5.319372648326541e255]])
    x = x[(x > low) & (x < high)] if name not in ("sin", "cos", "tan") else x
    with mpmath.workprec(1300 if name in ("sin", "cos", "tan") else 160):
        exact = [reference(mpmath.mpf(float(v))) for v in x]
        top = np.array([float(v) for v in exact])
        rest = np.array([float(v - mpmath.mpf(float(h))) for v, h in zip(exact, top, strict=True)])
    error = ulps(evaluate(formula, x), top, rest)
    worst = int(error.argmax())
    assert error[worst] <= bound, (x[worst], exact[worst])


BINARY: dict[str, tuple[DeviceFunction, Any, Any, float, float]] = {
    "pow": (powers.pow, np.power, lambda x, y: x**y, 0.52, 1.13),
    "atan2": (angles.atan2, np.arctan2, mpmath.atan2, 0.55, 1.07),
    "hypot": (powers.hypot, np.hypot, mpmath.hypot, 0.51, 0.51),
    "xlogy": (powers.xlogy, scipy.special.xlogy, lambda x, y: x * mpmath.log(y), 1.66, 1.52),
    "fmod": (powers.fmod, np.fmod, mpmath.fmod, 0.0, 0.0),
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", BINARY)
def test_error_of_two_operands(name: str, dtype: str, rng: np.random.Generator) -> None:
    formula, single, exact, *bounds = BINARY[name]
    n = 800
    x = np.concatenate([np.exp(rng.normal(0, 2, n)), np.exp(rng.uniform(-30, 30, n))]).astype(dtype)
    y = np.concatenate([np.exp(rng.normal(0, 1, n)), np.exp(rng.uniform(-30, 3, n))]).astype(dtype)
    have = evaluate(formula, x, y)
    if dtype == "float32":
        error = ulps(have, single(x.astype(np.float64), y.astype(np.float64)))
    else:
        with mpmath.workprec(200):
            want = [
                exact(*map(mpmath.mpf, pair)) for pair in zip(x.tolist(), y.tolist(), strict=True)
            ]
            top = np.array([float(v) for v in want])
            rest = np.array(
                [float(v - mpmath.mpf(float(h))) for v, h in zip(want, top, strict=True)]
            )
        error = ulps(have, top, rest)
    worst = int(error.argmax())
    assert error[worst] <= bounds[FLOATS.index(dtype)], (x[worst], y[worst])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("formula", "base"), [(powers.logaddexp, np.e), (powers.logaddexp2, 2.0)], ids=["e", "2"]
)
def test_sums_of_exponentials(formula, base, dtype, rng) -> None:
    """The result may cancel, so the error is measured beside the operands too."""
    x, y = (rng.normal(0, 5, 500).astype(dtype) for _ in range(2))
    with mpmath.workprec(160):
        b = mpmath.e if base == np.e else mpmath.mpf(2)
        pairs = zip(x.tolist(), y.tolist(), strict=True)
        want = np.array(
            [float(mpmath.log(b ** mpmath.mpf(p) + b ** mpmath.mpf(q), b)) for p, q in pairs]
        )
    size = np.maximum(np.maximum(abs(x), abs(y)), abs(want).astype(dtype))
    assert np.all(np.abs(evaluate(formula, x, y) - want) <= 3 * np.spacing(size))


@pytest.mark.parametrize("dtype", FLOATS)
def test_sinc(dtype: str, rng: np.random.Generator) -> None:
    x = np.concatenate([rng.uniform(-6, 6, 500), np.exp(rng.uniform(-20, 0, 100))]).astype(dtype)
    with mpmath.workprec(200):
        exact = [mpmath.sinpi(v) / (mpmath.pi * v) for v in map(mpmath.mpf, x.tolist())]
        top = np.array([float(v) for v in exact])
        rest = np.array([float(v - mpmath.mpf(float(h))) for v, h in zip(exact, top, strict=True)])
    assert ulps(evaluate(g.sinc, x), top, rest).max() <= 1.91
    whole = np.array([1, 2, -3, 1e6, 8388609, 3e30, 0.6 * float(np.finfo(dtype).max)], dtype)
    assert np.all(evaluate(g.sinc, whole) == 0)  # exactly, where sin(pi * x) rounded first is not


# --------------------------------------------------------------------------------- special values


def edges(dtype: str) -> np.ndarray:
    info = np.finfo(dtype)
    sizes = [
        0,
        TINY[dtype],
        info.tiny / 4,
        info.tiny,
        0.5,
        1,
        1.5,
        2,
        3,
        2.0**24,
        2.0**53,
        info.max,
    ]
    sizes += [np.nextafter(info.dtype.type(1), info.dtype.type(v)) for v in (0, 2)] + [np.inf]
    return np.array([*sizes, *(-v for v in sizes), np.nan], dtype)


NUMPY = {
    "asin": "arcsin", "acos": "arccos", "atan": "arctan", "asinh": "arcsinh",
    "acosh": "arccosh", "atanh": "arctanh",
}  # fmt: skip


def check_edges(have: np.ndarray, want: np.ndarray, where: list[Any], size: Any = 0.0) -> None:
    """Same zeros, infinities and NaN, signs included; finite values close, on the scale of size."""
    exact = (want == 0) | ~np.isfinite(want)
    agree = same(have, want) | (np.isnan(have) & np.isnan(want))
    with np.errstate(all="ignore"):
        close = np.abs(have - want) <= 8 * np.spacing(np.maximum(np.abs(want), size))
    wrong = np.flatnonzero(~np.where(exact, agree, close))
    assert not wrong.size, [(where[i], have[i], want[i]) for i in wrong[:5]]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [n for n in UNARY if n not in ("erf", "erfc")])
def test_special_values(name: str, dtype: str) -> None:
    """C's, as NumPy gives them, or PyTorch's."""
    x = edges(dtype)
    if name == "digamma":  # so close to a pole, the references are wrong
        x = x[(np.abs(x + 1) > 1e-6) | (x == -1)]
    ours = hasattr(np, NUMPY.get(name, name))
    with np.errstate(all="ignore"):
        if ours:
            want = getattr(np, NUMPY.get(name, name))(x)
        elif name in ("sigmoid", "softplus", "digamma"):
            want = UNARY[name][1](x.astype(np.float64)).astype(dtype)
        else:
            want = getattr(torch.special, {"lgamma": "gammaln"}.get(name, name))(
                torch.from_numpy(x)
            ).numpy()
    check_edges(evaluate(UNARY[name][0], x), want, list(x))


@pytest.mark.parametrize("dtype", FLOATS)
def test_special_values_of_erf(dtype: str) -> None:
    x = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, TINY[dtype], 30, -30], dtype)
    check_edges(
        evaluate(special.erf, x),
        np.array([0.0, -0.0, 1, -1, np.nan, TINY[dtype], 1, -1], dtype),
        list(x),
    )
    check_edges(evaluate(special.erfc, x), np.array([1, 1, 0, 2, np.nan, 1, 0, 2], dtype), list(x))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize(
    ("formula", "reference"),
    [
        (powers.pow, np.power),
        (angles.atan2, np.arctan2),
        (powers.hypot, np.hypot),
        (powers.fmod, np.fmod),
        (powers.logaddexp, np.logaddexp),
        (powers.xlogy, scipy.special.xlogy),
    ],
    ids=lambda f: f.__name__,
)
def test_special_values_of_two_operands(formula, reference, dtype) -> None:
    x, y = (m.ravel() for m in np.meshgrid(edges(dtype), edges(dtype)))
    x, y = x.copy(), y.copy()
    with np.errstate(all="ignore"):
        want = reference(x, y)
    cancels = reference is np.logaddexp
    size = np.minimum(np.maximum(abs(x), abs(y)), np.finfo(dtype).max) if cancels else 0
    check_edges(evaluate(formula, x, y), want, list(zip(x, y, strict=True)), size)


@pytest.mark.parametrize("dtype", FLOATS)
def test_remainder_is_pythons(dtype: str, rng: np.random.Generator) -> None:
    x = np.concatenate([rng.normal(0, 30, 300), [5.0, -5.0, 6.0, np.inf, 5.0, 1.0]]).astype(dtype)
    y = np.concatenate([rng.normal(0, 3, 300), [-3.0, 3.0, 3.0, 2.0, np.inf, 0.0]]).astype(dtype)
    have = evaluate(powers.remainder, x, y)
    for a, b, c in zip(x.tolist(), y.tolist(), have.tolist(), strict=True):
        if b == 0 or not np.isfinite(a):
            assert np.isnan(c)
        else:
            assert c == pytest.approx(a % b, rel=1e-6 if dtype == "float32" else 1e-15)


# -------------------------------------------------------------------- the same bits however it runs


def sample(name: str, dtype: str, count: int) -> np.ndarray:
    """Numbers over the whole range and close to 1, and the special ones."""
    rng = np.random.default_rng([ord(c) for c in name + dtype])
    whole = rng.integers(0, 1 << 8 * np.dtype(dtype).itemsize, count, dtype=np.uint64)
    whole = whole.astype(f"u{np.dtype(dtype).itemsize}").view(dtype)
    return np.concatenate([whole, rng.normal(0, 2, count).astype(dtype), edges(dtype)])


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_plain_python_gives_the_bits_of_the_compiled_formula(name: str, dtype: str) -> None:
    x = sample(name, dtype, 40)
    have = evaluate(UNARY[name][0], x)
    plain = np.array([UNARY[name][0](v) for v in x], dtype)
    if name == "lgamma":  # Python brings its own lgamma
        np.testing.assert_allclose(
            plain, have, rtol=1e-5 if dtype == "float32" else 1e-13, atol=1e-15
        )
    else:
        assert same(have, plain).all(), x[~same(have, plain)]


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("formula", [powers.pow, angles.atan2, powers.hypot, powers.logaddexp])
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_plain_python_gives_the_bits_of_two_operands(formula, dtype) -> None:
    x, y = sample("x", dtype, 40), sample("y", dtype, 40)[::-1].copy()
    plain = np.array([formula(a, b) for a, b in zip(x, y, strict=True)], dtype)
    assert same(evaluate(formula, x, y), plain).all()


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
def test_an_elements_bits_do_not_depend_on_its_neighbours(name: str, dtype: str) -> None:
    """Alone, an element goes through the loop's scalar tail; among others, through vectors."""
    x = sample(name, dtype, 300)
    together = evaluate(UNARY[name][0], x)
    for i in range(0, x.size, 23):
        assert same(evaluate(UNARY[name][0], x[i : i + 1].copy()), together[i : i + 1]).all()


def digest() -> str:
    """Of the bits of some formulas' results."""
    text = hashlib.sha256()
    for name in ("exp", "log", "sin", "tanh", "erf", "acos"):
        for dtype in FLOATS:
            out = evaluate(UNARY[name][0], sample(name, dtype, 2000))
            text.update(np.where(np.isnan(out), 0, out).tobytes())
    return text.hexdigest()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="forces x86 widths")
@pytest.mark.parametrize("width", ["128", "256"])
def test_bits_do_not_depend_on_the_vector_width(width: str) -> None:
    if int(width) >= simd_bits():
        pytest.skip("not narrower than this build")
    code = "from tests.kernels.formulas.test_transcendental import digest; print(digest())"
    paths = [p for p in sys.path if p]
    env = {**os.environ, "TILEGRAD_SIMD_BITS": width, "PYTHONPATH": os.pathsep.join(paths)}
    run = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert run.stdout.strip() == digest()


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="reads x86 assembly")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", UNARY)
def test_loops_are_vectorised_and_call_nothing(name: str, dtype: str) -> None:
    code = assembly(*map_rows.factory(UNARY[name][0], (dtype, dtype), "cc", 0))
    assert {128: "xmm", 256: "ymm", 512: "zmm"}[simd_bits()] in code
    if simd_bits() > 128:  # without fused multiply-add in hardware, the C library does it
        assert "call" not in code


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="makes x86 assembly")
@pytest.mark.parametrize("processor", ["skylake-avx512", "sapphirerapids", "znver4"])
def test_long_formulas_fill_the_registers_of_every_processor(processor: str) -> None:
    """LLVM takes half of the width for some; what loads and stores more than it computes is left to that."""
    loops = translate(*map_rows.factory(UNARY["exp"][0], ("float32", "float32"), "cc", 0))
    machine = new_machine((processor, ""), loops.arithmetic)
    assert loops.arithmetic and "zmm" in str(machine.emit_assembly(optimised(loops, machine)))
    assert not translate(*map_rows.factory(arithmetic.add, ("float32",) * 3, "ccc", 0)).arithmetic


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("formula", [g.sin, g.cos, g.tan], ids=lambda f: f.__name__)
def test_the_common_twin_has_the_same_bits(formula, dtype) -> None:
    near, when = formula.near
    x = sample(formula.__name__, dtype, 4000)
    x = x[[bool(when(v)) for v in x]]
    assert x.size > 1000
    large = np.append(x, x.dtype.type(1e30))  # sends the whole block to the general formula
    assert same(evaluate(near, x), evaluate(formula, large)[:-1]).all()
    assert same(evaluate(near, x), evaluate(formula, x)).all()


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("formula", [powers.fmod, powers.remainder], ids=lambda f: f.__name__)
def test_the_common_twin_of_remainders_has_the_same_bits(formula, dtype, rng) -> None:
    near, when = formula.near
    y = np.concatenate([sample("y", dtype, 1000), rng.integers(1, 99, 2000).astype(dtype)])
    x = y * rng.integers(-(2**20), 2**20, y.size).astype(dtype)  # often a multiple, or next to one
    x = np.nextafter(x, x + rng.integers(-1, 2, y.size).astype(dtype)).astype(dtype)
    keep = np.array([bool(when(a, b)) for a, b in zip(x, y, strict=True)])
    x, y = x[keep], y[keep]
    assert x.size > 1000
    one, huge = x.dtype.type(1), x.dtype.type(1e30)  # sends the whole block to the general formula
    assert same(
        evaluate(near, x, y), evaluate(formula, np.append(x, huge), np.append(y, one))[:-1]
    ).all()


# -------------------------------------------------------------------------------------- gradients


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name", [n for n in UNARY if n != "sigmoid"])
def test_gradient_is_pytorchs(name: str, dtype: str, rng: np.random.Generator) -> None:
    formula, _, _, (low, high), _, _ = UNARY[name]
    module = sys.modules[formula.__module__]
    grad = getattr(module, f"{name}_grad")
    x = rng.uniform(max(low, -3), min(high, 3), 200).astype(dtype)
    wide = torch.from_numpy(x).to(torch.float64).requires_grad_()
    function = torch.nn.functional.softplus if name == "softplus" else getattr(torch, name)
    function(wide).sum().backward()
    reads = grad.function.__code__.co_varnames[: grad.function.__code__.co_argcount]
    values = {"x": x, "out": evaluate(formula, x)}
    have = evaluate(grad, *(values[r] for r in reads))
    # next to a pole, out's rounding is magnified; PyTorch's trigamma has ten digits
    rtol = 1e-3 if dtype == "float32" else 1e-8 if name == "digamma" else 1e-11
    np.testing.assert_allclose(have, wide.grad.numpy(), rtol=rtol, atol=rtol / 100)


@pytest.mark.parametrize(
    ("name", "pairs"),
    [
        (
            "pow",
            [(0.0, 2.0), (0.0, 0.0), (0.0, 1.0), (0.0, -1.0), (2.0, 0.0), (3.0, 2.5), (1.0, -2.0)],
        ),
        ("atan2", [(1.0, 2.0), (-1.0, 0.5), (0.0, 1.0), (2.0, 0.0), (-0.5, -3.0)]),
        ("hypot", [(3.0, 4.0), (0.0, 2.0), (-1.0, 0.0)]),
        ("fmod", [(5.5, 2.0), (-5.5, 2.0), (1.0, 3.0)]),
        ("remainder", [(5.5, 2.0), (-5.5, 2.0), (1.0, 3.0)]),
        ("logaddexp", [(1.0, 2.0), (-30.0, 5.0), (0.0, 0.0)]),
        ("logaddexp2", [(1.0, 2.0), (-30.0, 5.0), (0.0, 0.0)]),
        ("xlogy", [(0.0, 0.0), (0.0, 2.0), (2.0, 3.0), (0.0, -1.0), (1.5, 0.5)]),
    ],
)
def test_gradients_of_two_operands_are_pytorchs(
    name: str, pairs: list[tuple[float, float]]
) -> None:
    formula = getattr(powers, name, None) or getattr(angles, name)
    x, y = (np.array(column) for column in zip(*pairs, strict=True))
    p, q = (torch.from_numpy(v.copy()).requires_grad_() for v in (x, y))
    getattr(torch, name)(p, q).sum().backward()
    values = {"x": x, "y": y, "out": evaluate(formula, x, y), "g": np.ones_like(x)}
    for operand, want in (("x", p.grad), ("y", q.grad)):
        grad = declared.rows[formula][operand]
        if isinstance(grad, int):
            have = np.full_like(x, grad)
        else:
            have = evaluate(grad, *(values[read] for read in declared.parameters(grad)))
        np.testing.assert_allclose(have, want.numpy(), rtol=1e-12, atol=1e-300)
