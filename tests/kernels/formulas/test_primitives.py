"""The operations that formulas are built of, and formulas with a case per type."""

from __future__ import annotations

import ast
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.kernels.formulas.test_transcendental import FLOATS, evaluate, sample
from tilegrad.kernels.formulas import primitives
from tilegrad.kernels.function import by_type, inline


@inline
def whole_and_part(x):
    m, e = primitives.split(x, primitives.const(x, (0.75, 0.75)))
    return primitives.scale2(m, e) - x


@inline
def mantissa(x):
    m, _ = primitives.split(x, primitives.const(x, (0.75, 0.75)))
    return m


@pytest.mark.parametrize("dtype", FLOATS)
def test_split_takes_apart_and_scale2_puts_together(dtype: str) -> None:
    x = np.abs(sample("split", dtype, 500))
    x = x[(x > 0) & np.isfinite(x)]
    parts = evaluate(mantissa, x)
    assert np.all((parts >= 0.75) & (parts < 1.5))
    assert np.all(evaluate(whole_and_part, x) == 0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("dtype", FLOATS)
def test_fma_rounds_once(dtype: str, rng: np.random.Generator) -> None:
    x, y = (rng.normal(0, 1, 300).astype(dtype) for _ in range(2))
    z = (-(x * y)).astype(dtype)
    rest = evaluate(inline_fma, x, y, z)
    assert np.any(rest != 0)
    for a, b, c, r in zip(x, y, z, rest, strict=True):
        assert r == primitives.fma(a, b, c)
        exact = Fraction(float(a)) * Fraction(float(b)) + Fraction(float(c))
        assert Fraction(float(r)) == exact  # what a product loses is itself a float


@inline
def inline_fma(x, y, z):
    return primitives.fma(x, y, z)


@inline
def single(x):
    return x + np.float32(1)


@inline
def double(x):
    return x + np.float64(2)


@by_type(float32=single, float64=double)
def typed(x):
    """One more, or two in double precision."""


def test_by_type_picks_the_case_of_the_first_argument() -> None:
    for dtype, step in (("float32", 1), ("float64", 2)):
        x = np.array([1.0, -4.0], dtype)
        assert evaluate(typed, x).tolist() == (x + step).tolist()
        assert typed(x[0]) == x[0] + step
        assert typed(x[0]).dtype == dtype
    with pytest.raises(NotImplementedError, match="typed: not implemented for 'int64'"):
        typed(np.int64(1))


def test_the_gpu_gets_only_what_every_nvvm_takes() -> None:
    """NVVM promises few of LLVM's intrinsics, and 13.0 refuses trunc: one that is not among those that
    ``python -m tests.toolchains oldest`` has seen accepted is an instruction instead.
    """
    accepted = {"fma", "sqrt", "copysign"}
    tree = ast.parse(Path(primitives.__file__).read_text())
    intrinsics = {
        ast.literal_eval(call.args[0])
        for call in ast.walk(tree)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "_llvm"
    }
    assert intrinsics >= {"rint", "floor", "trunc"}
    plain = {n for n in intrinsics if getattr(primitives, n).cuda_emitter is None}
    assert plain == accepted
