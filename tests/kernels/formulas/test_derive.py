"""Derivatives of formulas against PyTorch's autograd, in plain Python and compiled."""

from __future__ import annotations

import inspect
import itertools
import math
import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings, strategies as st

from tilegrad.kernels.cpu.run.jit import kernel, optimised_ir
from tilegrad.kernels.cpu.simd.memory import pointer
from tilegrad.kernels.formulas import primitives
from tilegrad.kernels.formulas.derive import (
    DerivativeError,
    backward,
    declare,
    differentiate,
    parameters,
)
from tilegrad.kernels.function import DeviceFunction, by_type, function_from_source, inline

RNG = np.random.default_rng(0)
HALF = 0.5
COEFFICIENTS = (1.0, -2.0, 0.5, 3.0)


# ----------------------------------------------------------------------------------- formulas


@inline
def cubic(x):
    T = type(x)
    return x**3 - T(2) * x * x + T(5) * x - T(1)


@inline
def horner(x):
    T = type(x)
    p = T(0)
    for i in range(4):
        p = p * x + T(COEFFICIENTS[i])
    return p


@inline
def sigmoid(x):
    T = type(x)
    t = T(math.exp(-abs(x)))
    return T(1) / (T(1) + t) if x >= T(0) else t / (T(1) + t)


@inline
def silu(x):
    return x * sigmoid(x)


@inline
def gelu(x):
    T = type(x)
    return T(0.5) * x * (T(1) + T(math.erf(x * T(math.sqrt(HALF)))))


@inline
def gelu_tanh(x):
    T = type(x)
    inner = T(math.sqrt(2 / math.pi)) * (x + T(0.044715) * x**3)
    return T(HALF) * x * (T(1) + T(math.tanh(inner)))


@inline
def softplus(x):
    T = type(x)
    return max(x, T(0)) + T(math.log1p(math.exp(-abs(x))))


@inline
def huber(x, delta):
    T = type(x)
    a = abs(x)
    if a <= delta:
        return T(0.5) * x * x
    return delta * (a - T(0.5) * delta)


@inline
def leaky_relu(x, slope):
    T = type(x)
    return x if x > T(0) else slope * x


@inline
def hypot(x, y):
    T = type(x)
    return T(math.sqrt(x * x + y * y))


@inline
def power(x, y):
    return x**y


@inline
def powers(x):
    T = type(x)
    return x**-2 + x ** T(2.5) + x**2 - x**1 + x**0


@inline
def clip(x, low, high):
    return min(max(x, low), high)


@inline
def largest(x, y):
    T = type(x)
    return max(x * y, x - y, T(0.25)) + min(x, y, T(1))


@inline
def nested(x, y):
    return silu(hypot(x, y) * x) + sigmoid(y)


@inline
def reused(x, y):
    T = type(x)
    x, y = y * x, x
    x *= x
    z = w = x + y
    z -= T(3) * y
    y = z * w
    return y / (T(1) + x * x)


@inline
def branches(x, y):
    T = type(x)
    if x > y:
        a = x * y
        if y > T(0):
            return a * a
        b = T(2)
    elif x > -y:
        a = T(math.sin(x))
        b = y * y
    else:
        a = y
        b = a
    return a * b + x


@inline
def looped(x, y):
    T = type(x)
    total, term = T(0), T(1)
    for i in range(1, 9):
        if i == 2:
            continue
        term = term * x / T(i)
        inner = y
        for k in range(2):
            inner = inner * inner - T(0.1) * T(k)
        total += term * inner
        if i == 6:
            break
    return total


@inline
def fused(x, y, z):
    t = primitives.fma(x, y, z * x)
    return primitives.select(t > x, primitives.sqrt(primitives.cast(t, x) * t + y * y), t)


@inline
def quotient(g, x, out):
    T = type(x)
    return g * x / (T(2) - out * out)


def _clip(x: Any, low: Any, high: Any) -> Any:
    return torch.minimum(torch.maximum(x, low), high)


def _branches(x: Any, y: Any) -> Any:
    late = torch.where(x > -y, torch.sin(x) * y * y, y * y) + x
    return torch.where(x > y, torch.where(y > 0, (x * y) ** 2, 2 * x * y + x), late)


def _reused(x: Any, y: Any) -> Any:
    a = (x * y) ** 2
    return (a + x - 3 * x) * (a + x) / (1 + a * a)


def _looped(x: Any, y: Any) -> Any:
    total, term = 0 * x, 1.0
    for i in (1, 3, 4, 5, 6):
        term = term * x / i
        total = total + term * ((y * y) ** 2 - 0.1)
    return total


def _fused(x: Any, y: Any, z: Any) -> Any:
    t = x * y + z * x
    return torch.where(t > x, torch.sqrt(t * t + y * y), t)


def _largest(x: Any, y: Any) -> Any:
    low = torch.minimum(torch.minimum(x, y), torch.ones_like(x))
    return torch.maximum(torch.maximum(x * y, x - y), torch.full_like(x, 0.25)) + low


def _nested(x: Any, y: Any) -> Any:
    return torch.nn.functional.silu(torch.sqrt(x * x + y * y) * x) + torch.sigmoid(y)


def _huber(x: Any, delta: Any) -> Any:
    return torch.where(x.abs() <= delta, 0.5 * x * x, delta * (x.abs() - 0.5 * delta))


CASES: dict[str, tuple[DeviceFunction, Callable[..., Any], tuple[tuple[float, float], ...]]] = {
    "cubic": (cubic, lambda x: x**3 - 2 * x * x + 5 * x - 1, ((-3, 3),)),
    "horner": (horner, lambda x: x**3 - 2 * x**2 + 0.5 * x + 3, ((-3, 3),)),
    "sigmoid": (sigmoid, torch.sigmoid, ((-6, 6),)),
    "silu": (silu, torch.nn.functional.silu, ((-6, 6),)),
    "gelu": (gelu, lambda x: 0.5 * x * (1 + torch.erf(x * math.sqrt(0.5))), ((-4, 4),)),
    "gelu_tanh": (
        gelu_tanh,
        lambda x: 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
        ((-4, 4),),
    ),
    "softplus": (softplus, lambda x: torch.log1p(torch.exp(x)), ((-6, 6),)),
    "huber": (huber, _huber, ((-4, 4), (0.5, 2))),
    "leaky_relu": (leaky_relu, lambda x, s: torch.where(x > 0, x, s * x), ((-2, 2), (0.01, 1))),
    "hypot": (hypot, lambda x, y: torch.sqrt(x * x + y * y), ((-3, 3), (-3, 3))),
    "power": (power, torch.pow, ((0.2, 3), (-2, 3))),
    "powers": (powers, lambda x: x**-2 + x**2.5 + x**2 - x + 1, ((0.3, 3),)),
    "clip": (clip, _clip, ((-2, 2), (-1, 0), (0.2, 1))),
    "largest": (largest, _largest, ((-2, 2), (-2, 2))),
    "nested": (nested, _nested, ((-2, 2), (-2, 2))),
    "reused": (reused, _reused, ((-2, 2), (-2, 2))),
    "branches": (branches, _branches, ((-2, 2), (-2, 2))),
    "looped": (looped, _looped, ((-2, 2), (-2, 2))),
    "fused": (fused, _fused, ((-2, 2), (-2, 2), (-2, 2))),
    "quotient": (quotient, lambda g, x, out: g * x / (2 - out * out), ((-2, 2),) * 2 + ((-1, 1),)),
}


def samples(ranges: tuple[tuple[float, float], ...], count: int = 24) -> list[np.ndarray]:
    return [RNG.uniform(low, high, count) for low, high in ranges]


def reference(function: Callable[..., Any], points: list[np.ndarray], path: list[int]) -> Any:
    """Partial derivatives along ``path`` (argument numbers) by autograd, elementwise."""
    inputs = [torch.tensor(p, requires_grad=True) for p in points]
    value = function(*inputs)
    for index in path:
        if not value.requires_grad:
            return np.zeros(len(points[0]))
        (grad,) = torch.autograd.grad(
            value.sum(), inputs[index], create_graph=True, allow_unused=True
        )
        value = torch.zeros_like(inputs[0]) if grad is None else grad
    return value.detach().numpy(force=True)


def derived(function: DeviceFunction, path: list[int]) -> DeviceFunction:
    names = parameters(function)
    for index in path:
        function = differentiate(function, names[index])
    return function


def evaluated(function: DeviceFunction, points: list[np.ndarray]) -> np.ndarray:
    return np.array([function(*row) for row in zip(*(p.tolist() for p in points), strict=True)])


# third derivatives are sums of many terms of either sign, each rounded
TOLERANCE = {1: 1e-12, 2: 1e-11, 3: 1e-9}


@pytest.mark.parametrize("case", CASES)
def test_python_value_to_third_order(case: str) -> None:
    function, model, ranges = CASES[case]
    points = samples(ranges)
    np.testing.assert_allclose(evaluated(function, points), reference(model, points, []), 1e-12)
    for order in (1, 2, 3):
        for path in itertools.product(range(len(ranges)), repeat=order):
            if order == 3 and len(set(path)) == 3:
                continue
            want = reference(model, points, list(path))
            got = evaluated(derived(function, list(path)), points)
            error = np.abs(got - want) / (1 + np.abs(want))
            assert error.max() < TOLERANCE[order], (path, derived(function, list(path)).source)


@kernel
def three_orders(function: Any, first: Any, second: Any, third: Any, dtype: str, arity: int):
    T = np.dtype(dtype).type
    if arity == 1:

        def body(task, xs, outs, n):
            x, out = pointer(xs, T), pointer(outs, T)
            for i in range(n):
                a = x[i]
                out[i], out[n + i] = function(a), first(a)
                out[2 * n + i], out[3 * n + i] = second(a), third(a)

    elif arity == 2:

        def body(task, xs, outs, n):
            x, out = pointer(xs, T), pointer(outs, T)
            for i in range(n):
                a, b = x[i], x[n + i]
                out[i], out[n + i] = function(a, b), first(a, b)
                out[2 * n + i], out[3 * n + i] = second(a, b), third(a, b)

    else:

        def body(task, xs, outs, n):
            x, out = pointer(xs, T), pointer(outs, T)
            for i in range(n):
                a, b, c = x[i], x[n + i], x[2 * n + i]
                out[i], out[n + i] = function(a, b, c), first(a, b, c)
                out[2 * n + i], out[3 * n + i] = second(a, b, c), third(a, b, c)

    return body, "iii"


def orders(function: DeviceFunction) -> list[DeviceFunction]:
    """The formula and its derivatives by the first, the last and again the first parameter."""
    last = len(parameters(function)) - 1
    return [derived(function, path) for path in ([], [0], [0, last], [0, last, 0])]


@pytest.mark.parametrize("case", CASES)
def test_compiled_equals_python(case: str) -> None:
    function, _, ranges = CASES[case]
    points = np.array(samples(ranges))
    out = np.empty((4, points.shape[1]))
    run = three_orders.build(*orders(function), "float64", len(ranges))
    run(points.ctypes.data, out.ctypes.data, points.shape[1], 1, 0)
    want = np.array([evaluated(f, list(points)) for f in orders(function)])
    np.testing.assert_allclose(out, want, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("case", CASES)
def test_float32_stays_float32(case: str) -> None:
    function, _, ranges = CASES[case]
    body, signature = three_orders.factory(*orders(function), "float32", len(ranges))
    ir = optimised_ir(body, signature)
    assert "float" in ir
    assert "double" not in ir
    for f in orders(function):
        arguments = [np.float32(p[0]) for p in samples(ranges, 1)]
        assert isinstance(f(*arguments), np.float32), f.source


# ------------------------------------------------------------------------------------- backward


@pytest.mark.parametrize("case", CASES)
def test_backward_is_g_times_derivative(case: str) -> None:
    function, model, ranges = CASES[case]
    points = samples(ranges)
    g = RNG.uniform(-2, 2, len(points[0]))
    for index, parameter in enumerate(parameters(function)):
        formula = backward(function, parameter)
        known = dict(zip(parameters(function), points, strict=True))
        first, *reads = parameters(formula)
        assert set(reads) <= set(known)
        want = g * reference(model, points, [index])
        got = evaluated(formula, [g, *(known[name] for name in reads)])
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-11)
        again = differentiate(formula, first)
        slope = evaluated(again, [g, *(known[name] for name in reads)])
        np.testing.assert_allclose(slope * g, want, rtol=1e-10, atol=1e-11)


def test_backward_reads_only_what_it_needs() -> None:
    assert parameters(backward(leaky_relu, "slope")) == ["g", "x"]
    assert parameters(backward(hypot, "y")) == ["g", "x", "y"]
    assert parameters(backward(quotient, "g")) == ["gg", "x", "out"]
    assert parameters(backward(quotient, "x")) == ["gg", "g", "out"]

    @inline
    def shifted(x, y):
        return x - y

    assert parameters(backward(shifted, "x")) == ["g"]
    assert backward(shifted, "x")(3.0) == 3.0
    assert backward(shifted, "y")(3.0) == -3.0


def test_backward_zero_branch_is_zero_for_an_infinite_gradient() -> None:
    @inline
    def relu(x):
        T = type(x)
        return x if x > T(0) else T(0)

    assert backward(relu, "x")(math.inf, -1.0) == 0.0
    assert backward(relu, "x")(math.inf, 1.0) == math.inf


# ------------------------------------------------------------------------------------- declared


@inline
def squash(x):
    T = type(x)
    return T(math.tanh(x))


@inline
def squash_grad(out):
    T = type(out)
    return T(1) - out * out


@inline
def times(x, y):
    return x * y


@inline
def times_grad_x(y):
    return y


declare(squash, x=squash_grad)
declare(times, x=times_grad_x)


def test_declared_derivative_reads_the_result() -> None:
    formula = backward(squash, "x")
    assert parameters(formula) == ["g", "out"]
    assert formula(2.0, 0.5) == 2.0 * 0.75

    @inline
    def user(x):
        return times(squash(x), x)

    source = differentiate(user, "x").source
    assert source is not None
    assert source.count("squash(x)") == 1
    assert "squash_grad" in source
    points = [np.linspace(-2, 2, 9)]
    for order in (1, 2, 3):
        want = reference(lambda x: torch.tanh(x) * x, points, [0] * order)
        got = evaluated(derived(user, [0] * order), points)
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)
        want = reference(torch.tanh, points, [0] * order)
        got = evaluated(derived(squash, [0] * order), points)
        np.testing.assert_allclose(got, want, rtol=1e-11, atol=1e-12)


def test_undeclared_parameter_of_a_declared_function_is_derived() -> None:
    assert differentiate(times, "y")(2.0, 5.0) == 2.0
    assert backward(times, "y")(3.0, 2.0) == 6.0

    @inline
    def user(x):
        return times(x, x * x)

    assert differentiate(user, "x")(2.0) == 12.0


def test_constant_declarations() -> None:
    @inline
    def steps(x, y):
        return primitives.floor(x) - y

    declare(steps, x=0, y=-1)
    assert backward(steps, "x")(3.0) == 0.0
    assert backward(steps, "y")(3.0) == -3.0

    @inline
    def user(x):
        return steps(x, x) * x

    assert differentiate(user, "x")(2.5) == (2.0 - 2.5) - 2.5


def test_declare_checks_its_arguments() -> None:
    with pytest.raises(TypeError, match="has parameters"):
        declare(squash, z=squash_grad)
    with pytest.raises(TypeError, match="may read"):
        declare(squash, x=times_grad_x)
    with pytest.raises(TypeError, match="-1, 0 or 1"):
        declare(squash, x=2)
    with pytest.raises(TypeError, match="got 'z'"):
        differentiate(squash, "z")


@inline
def _cube_single(x):
    return x * x * x


@inline
def _cube_double(x):
    return x**3


@by_type(float32=_cube_single, float64=_cube_double)
def cube(x):
    """x^3"""


def test_function_by_type() -> None:
    @inline
    def user(x):
        return cube(x) * x

    for kind in (np.float32, np.float64):
        first = differentiate(user, "x")(kind(1.5))
        assert isinstance(first, kind)
        assert first == pytest.approx(4 * 1.5**3, rel=1e-6)
        assert differentiate(cube, "x")(kind(1.5)) == pytest.approx(3 * 1.5**2, rel=1e-6)
        assert backward(cube, "x")(kind(2), kind(1.5)) == pytest.approx(6 * 1.5**2, rel=1e-6)
    body, signature = three_orders.factory(*orders(user), "float32", 1)
    assert "double" not in optimised_ir(body, signature)


# ------------------------------------------------------------------------ kinks, as PyTorch's


def test_kinks() -> None:
    @inline
    def absolute(x):
        return abs(x)

    @inline
    def larger(x, y):
        return primitives.maximum(x, y)

    assert differentiate(absolute, "x")(0.0) == 0.0
    assert differentiate(absolute, "x")(-2.0) == -1.0
    assert [differentiate(larger, p)(1.0, 1.0) for p in ("x", "y")] == [0.5, 0.5]
    assert differentiate(clip, "x")(-1.0, -1.0, 1.0) == 1.0  # torch.clamp's at its bounds
    assert differentiate(clip, "x")(1.0, -1.0, 1.0) == 1.0
    assert differentiate(power, "x")(0.0, 0.0) == 0.0
    assert differentiate(power, "y")(0.0, 2.0) == 0.0
    assert math.isnan(differentiate(power, "y")(-2.0, 2.0))


@pytest.mark.parametrize("name", ["sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh",
    "tanh", "asinh", "acosh", "atanh", "exp", "exp2", "expm1", "log", "log2", "log10", "log1p",
    "sqrt", "erf", "erfc", "fabs", "floor", "ceil", "trunc"])  # fmt: skip
def test_functions_of_math(name: str) -> None:
    source = f"def f(x):\n    T = type(x)\n    return x * T(math.{name}(x))\n"
    function = from_source(source)
    model = {"fabs": torch.abs, "asin": torch.asin}.get(name) or getattr(torch, name)
    points = samples(((1.1, 3) if name == "acosh" else (0.1, 0.9),), 8)
    for order in (1, 2, 3):
        want = reference(lambda x: x * model(x), points, [0] * order)
        got = evaluated(derived(function, [0] * order), points)
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("name", ["atan2", "hypot", "pow", "copysign", "fmod"])
def test_functions_of_math_of_two(name: str) -> None:
    function = from_source(f"def f(x, y):\n    return math.{name}(x, y) * x\n")
    model = getattr(torch, name)
    points = samples(((0.3, 3), (0.4, 2)), 8)
    for path in ([0], [1], [0, 0], [0, 1], [1, 1], [1, 1, 0]):
        want = reference(lambda x, y: model(x, y) * x, points, path)
        got = evaluated(derived(function, path), points)
        np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-10)


def test_remainder_and_floor_division() -> None:
    function = from_source("def f(x, y):\n    return x % y + x // y\n")
    assert [differentiate(function, p)(7.5, 2.0) for p in ("x", "y")] == [1.0, -3.0]


# --------------------------------------------------------------------------- source and errors


def from_source(source: str, **scope: Any) -> DeviceFunction:
    return DeviceFunction(function_from_source(source, "f", {"math": math, **scope}), source)


def test_source_is_readable_and_names_its_callees() -> None:
    formula = differentiate(silu, "x")
    assert formula.__name__ == "silu_grad_x"
    assert formula.__module__ == silu.__module__
    assert formula.source is not None
    assert inspect.getsource(formula.function).strip() in formula.source
    assert f"sigmoid = {sigmoid.key}" in formula.source
    assert differentiate(silu, "x") is formula
    text = differentiate(cubic, "x").source or ""
    assert "return T(3) * x ** 2 - (T(2) * x + T(2) * x) + T(5)" in text


def scaled_by(factor: float) -> DeviceFunction:
    @inline
    def scaled(x):
        T = type(x)
        return T(factor) * x * x

    return scaled


def test_closures_keep_their_values_apart() -> None:
    two, three = (differentiate(scaled_by(factor), "x") for factor in (2.0, 3.0))
    assert (two(1.0), three(1.0)) == (4.0, 6.0)
    assert two.key != three.key


def test_literals_take_the_parameters_type() -> None:
    function = from_source(
        "def f(x):\n    for i in range(3):\n        x = x * i\n    return 2 * x\n"
    )
    other = from_source("def f(x):\n    return 3 * x\n")
    assert isinstance(differentiate(other, "x")(np.float32(1)), np.float32)
    assert isinstance(differentiate(function, "x")(np.float32(1)), np.float32)


def test_truth_values_as_factors() -> None:
    function = from_source(
        "def f(x):\n    T = type(x)\n    return x * x * (x > T(1)) + (x > T(2))\n"
    )
    assert [differentiate(function, "x")(x) for x in (0.5, 1.5, 3.0)] == [0.0, 3.0, 6.0]
    body, signature = three_orders.factory(*orders(function)[:3], function, "float32", 1)
    optimised_ir(body, signature)


def test_equal_branches_need_no_condition() -> None:
    function = from_source(
        "def f(x):\n    T = type(x)\n    return x * x + (T(1) if x > 0 else T(2))\n"
    )
    assert " if " not in (differentiate(function, "x").source or "")
    other = from_source("def f(x, y):\n    return x * y if y > 0 else y * x\n")
    assert parameters(backward(other, "x")) == ["g", "y"]
    assert " if " not in (backward(other, "x").source or "")


def test_defaults_are_kept() -> None:
    function = from_source("def f(x, slope=0.5):\n    return slope * x * x\n")
    assert differentiate(function, "x")(3.0) == 3.0


def unmarked(x: float) -> float:
    return x


ERRORS = {
    "no return": ("    if x > 0:\n        return x\n", "may end without a return", 2),
    "while else": ("    while x > 1:\n        x = x / 2\n    else:\n        x = 1\n    return x\n",
                   "else of a loop", 2),
    "for": ("    for i in (1, 2):\n        x = x * i\n    return x\n", "anything but range", 2),
    "unmarked call": ("    y = x * x\n    return unmarked(y)\n", "declared derivative", 3),
    "undefined": ("    return x * missing\n", "undefined name", 2),
    "subscript": ("    t = (x, x)\n    return t[0]\n", "kind Tuple", 2),
    "keyword": ("    return math.exp(x=x)\n", "keyword or starred", 2),
    "walrus": ("    return (y := x) * y\n", "assignment inside", 2),
    "lambda": ("    return (lambda y: y)(x)\n", "a lambda", 2),
    "assert": ("    assert x > 0\n    return x\n", "statement Assert", 2),
    "try": ("    try:\n        return x\n    finally:\n        pass\n", "statement Try", 2),
    "or": ("    return x or x * x\n", "and/or of numbers", 2),
    "bits": ("    return primitives.from_bits(primitives.bits(x))\n", "declared derivative", 2),
    "shift": ("    return x << 2\n", "operator LShift", 2),
    "base": ("    return math.log(x, x)\n", "more arguments", 2),
    "attribute": ("    return x.real\n", "kind Attribute", 2),
    "min of one": ("    return min(x)\n", "one argument", 2),
    "bare return": ("    if x > 0:\n        return\n    return x\n", "return without a value", 3),
}  # fmt: skip


@pytest.mark.parametrize("case", ERRORS)
def test_errors_name_function_construct_and_line(case: str) -> None:
    body, message, line = ERRORS[case]
    function = from_source("def f(x):\n" + body, unmarked=unmarked, primitives=primitives)
    with pytest.raises(DerivativeError, match=message) as caught:
        differentiate(function, "x")
    assert str(caught.value).startswith("f: cannot differentiate")
    assert f"line {line})" in str(caught.value)


def test_error_lines_of_a_file() -> None:
    @inline
    def wrong(x):
        y = x + x
        return unmarked(y)

    with pytest.raises(DerivativeError) as caught:
        differentiate(wrong, "x")
    number = wrong.function.__code__.co_firstlineno + 3
    assert f"test_derive.py, line {number})" in str(caught.value)


def test_recursion_and_lambdas_are_errors() -> None:
    function = from_source("def f(x):\n    return x if x < 1 else f(x / 2)\n")
    function.function.__globals__["f"] = function
    with pytest.raises(DerivativeError, match="recurs"):
        differentiate(function, "x")
    with pytest.raises(DerivativeError, match="def"):
        differentiate(DeviceFunction(lambda x: x), "x")


def test_what_does_not_depend_on_the_parameter_may_be_anything() -> None:
    function = from_source(
        "def f(x, n):\n    k = len((1, 2)) + unmarked(n)\n    return x * x * k if n or k else x\n",
        unmarked=unmarked,
    )
    assert differentiate(function, "x")(3.0, 1.0) == 18.0


# --------------------------------------------------------------------------------- random trees

Pair = tuple[str, str]  # the formula's text and PyTorch's

KINDS = ["neg", "tanh", "sin", "silu", "square", "abs", "recip"]
LEAVES = st.sampled_from(
    [("x", "x"), ("y", "y"), ("T(0.5)", "0.5"), ("T(2)", "2.0"), ("T(-1)", "-1.0")]
)


def _grow(inner: Any) -> Any:
    def unary(kind: str, a: Pair) -> Pair:
        text, model = {
            "neg": ("(-{})", "(-{})"),
            "tanh": ("T(math.tanh({}))", "torch.tanh(one * {})"),
            "sin": ("T(math.sin({}))", "torch.sin(one * {})"),
            "silu": ("silu({})", "torch.nn.functional.silu(one * {})"),
            "square": ("{} ** 2", "(one * {}) ** 2"),
            "abs": ("abs({})", "abs({})"),
            "recip": ("T(1) / (T(1.5) + {0} * {0})", "1 / (1.5 + {0} * {0})"),
        }[kind]
        return f"({text.format(f'({a[0]})')})", f"({model.format(f'({a[1]})')})"

    def binary(kind: str, a: Pair, b: Pair) -> Pair:
        if kind in "+-*":
            return f"({a[0]} {kind} {b[0]})", f"({a[1]} {kind} {b[1]})"
        full = [f"one * ({p[1]})" for p in (a, b)]
        function = {"min": "minimum", "max": "maximum", "hypot": "hypot"}[kind]
        name = {"hypot": "math.hypot"}.get(kind, kind)
        if kind == "hypot":
            return (
                f"math.hypot({a[0]}, T(1) + abs({b[0]}))",
                f"torch.hypot({full[0]}, 1 + abs({full[1]}))",
            )
        return f"{name}({a[0]}, {b[0]})", f"torch.{function}({full[0]}, {full[1]})"

    def choice(a: Pair, b: Pair, c: Pair) -> Pair:
        model = f"torch.where(one * ({a[1]}) > 0.3 * x, one * ({b[1]}), one * ({c[1]}))"
        return f"({b[0]} if {a[0]} > T(0.3) * x else {c[0]})", model

    return st.one_of(
        st.builds(unary, st.sampled_from(KINDS), inner),
        st.builds(binary, st.sampled_from(["+", "-", "*", "min", "max", "hypot"]), inner, inner),
        st.builds(choice, inner, inner, inner),
    )


@st.composite
def programs(draw: Any) -> Pair:
    """A few assignments (names get reused), perhaps under an ``if``, then a return."""
    trees = st.recursive(LEAVES, _grow, max_leaves=6)
    text, model = ["T = type(x)"], ["one = 1 + 0 * x"]
    for _ in range(draw(st.integers(0, 3))):
        target = draw(st.sampled_from("xyz"))
        a, b = draw(trees), draw(trees)
        if target == "z" or draw(st.booleans()):
            text.append(f"{target} = {a[0]}")
            model.append(f"{target} = one * ({a[1]})")
        else:
            text.append(f"if x < y:\n    {target} = {a[0]}\nelse:\n    {target} += {b[0]}")
            model.append(f"{target} = torch.where(x < y, one * ({a[1]}), {target} + {b[1]})")
        if target == "z":
            text.append("x = z * T(0.5)")
            model.append("x = z * 0.5")
    last = draw(trees)
    text.append(f"return {last[0]}")
    model.append(f"return one * ({last[1]})")
    return "\n".join(text), "\n".join(model)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(programs(), st.floats(-2, 2), st.floats(-2, 2))
def test_random_programs_against_autograd(program: Pair, x: float, y: float) -> None:
    x, y = x + 1e-3 * math.pi, y - 1e-3 * math.e  # away from the round numbers, where kinks are
    text, model = (
        f"def f(x, y):\n{textwrap.indent(part, '    ')}\n" for part in program
    )  # fmt: skip
    function = from_source(text, silu=silu)
    scope: dict[str, Any] = {"torch": torch}
    exec(model, scope)
    points = [np.array([x]), np.array([y])]
    for path in ([], [0], [1], [0, 0], [0, 1]):
        want = float(reference(scope["f"], points, path)[0])
        if not abs(want) < 1e6:
            return
        got = derived(function, path)(x, y)
        assert got == pytest.approx(want, rel=1e-8, abs=1e-8), derived(function, path).source
