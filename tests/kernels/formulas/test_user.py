"""What functions on numbers may hold, as users write them: in a file, and with no source at hand."""

from __future__ import annotations

import ast
import math
import types
from typing import Any

import numpy as np
import pytest

import tilegrad
import tilegrad.formulas
from tilegrad.kernels.formulas import advice, user
from tilegrad.kernels.formulas.user import FormulaError, standard


def leaky(a, s=0.25):
    if a > 0:
        return a
    return s * a


def rotated(x, y, c=0.5):
    return c * x - y, x + c * y


@tilegrad.elementwise
def swish(x, beta=1.0):
    return x / (1 + exp(-beta * x))  # noqa: F821


class Settings:
    rate = 0.5


SCOPE: dict[str, Any] = {
    "math": math, "np": np, "tilegrad": tilegrad, "leaky": leaky, "rotated": rotated, "swish": swish,
    "Settings": Settings, "RATES": (0.5, 2.0), "TABLE": {"a": 3.0}, "COUNT": 3, "ONE": np.float32(1),
    "logarithm": math.log, "__name__": __name__,
}  # fmt: skip

# bodies, and the values at x = 0.3, y = 0.7; those in the second part need their source
BODIES = {
    "x if x > 0 else -x": 0.3,
    "min(max(x, -1), 1)": 0.3,
    "max(x, y, 0) - min((x, y))": 0.4,
    "math.sqrt(abs(x)) + math.pi": math.sqrt(0.3) + math.pi,
    "np.tanh(x) + np.power(x, 2) + np.arcsinh(x)": math.tanh(0.3) + 0.09 + math.asinh(0.3),
    "tilegrad.exp(x) + tilegrad.formulas.exp(y)": math.exp(0.3) + math.exp(0.7),
    "tilegrad.nn.functional.silu(x)": 0.3 / (1 + math.exp(-0.3)),
    "leaky(x) + leaky(-x) + leaky(-x, 1) + leaky(s=2, a=-x)": 0.3 - 0.075 - 0.3 - 0.6,
    "swish(x, beta=0)": 0.15,
    "swish(x) * (1 + exp(-x))": 0.3,
    "RATES[1] * x + TABLE['a'] + Settings.rate + ONE": 5.1,
    "logarithm(x) + math.log(x, 2)": math.log(0.3) + math.log2(0.3),
    "x // 0.2 + x % 0.2": 1.1,
    "2 ** x + x ** 2 + x ** 0.5 + x ** -2": 2**0.3 + 0.09 + 0.3**0.5 + 0.3**-2,
    "0 < x < 1": True,
    "(x > 0) & (y > 0) | ~(x > 5)": True,
    "not x > 0 or y == 5": False,
    "math.isnan(x)": False,
    "1 if math.isnan(x) else x": 0.3,
    "sigmoid(x) + relu(x) + gelu(y)": 0.5744425 + 0.3 + 0.5306256,
    "round(x) + math.floor(x) + math.ceil(x)": 1.0,
    "math.inf if x > 1 else x": 0.3,
    "math.hypot(x, y) + math.atan2(y, x)": math.hypot(0.3, 0.7) + math.atan2(0.7, 0.3),
}
STATEMENTS = {
    "a, b = x, y\n    a, b = b, a\n    return a - b": 0.4,
    "s = 0\n    for i in range(1, COUNT * 2 - 1):\n        s += x ** i / i\n    return s":
        sum(0.3**i / i for i in range(1, 5)),
    "i = 0\n    while i < 3:\n        x *= 0.5\n        i += 1\n    return x": 0.0375,
    "for i in range(5):\n        if i == 3:\n            break\n        x += i\n    return x": 3.3,
    "if x > 1:\n        z = 1\n    elif x > 0:\n        z = 2 * x\n    else:\n        z = 0\n    return z": 0.6,
}  # fmt: skip
WRITTEN = {
    "float(x) * 2": 0.6,
    "x, y = rotated(x, y)\n    a, b = rotated(x, y, c=2)\n    return a - b": (
        2 * -0.55 - 0.65 - (-0.55 + 2 * 0.65)
    ),
    "while True:\n        x = x * 0.5\n        if x < 0.1:\n            break\n    return x": 0.075,
}


def function_of(body: str, file: Any = None) -> Any:
    """``f(x, y)``, whose source is in ``file``, or nowhere."""
    text = body if "return" in body else f"return {body}"
    source = f"def f(x, y):\n    {text}\n"
    if file is not None:
        file.write_text(source)
    scope = dict(SCOPE)
    exec(compile(source, "<string>" if file is None else str(file), "exec"), scope)
    return scope["f"]


@pytest.mark.parametrize("body", [*BODIES, *STATEMENTS, *WRITTEN])
def test_what_a_function_may_hold(body, tmp_path):
    (formula,) = user.formulas(function_of(body, tmp_path / "f.py"))
    want = {**BODIES, **STATEMENTS, **WRITTEN}[body]
    assert formula(np.float64(0.3), np.float64(0.7)) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("body", [*BODIES, *STATEMENTS])
def test_what_it_may_hold_at_a_prompt(body):
    (formula,) = user.formulas(function_of(body))
    want = {**BODIES, **STATEMENTS}[body]
    assert formula(np.float64(0.3), np.float64(0.7)) == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("x.sin()", "line 2 .*a method of an operand: write sin"),
        ("int(x)", "line 2 .*write floor"),
        ("where(x > 0, x, 0)", "write `a if condition else b`"),
        ("a, b = rotated(x, y)\n    return a", "line 2 .*a function for each of them"),
        ("for i in range(x):\n        y += i\n    return y", "a number that is known"),
        ("[x, y]", "a list: a formula has numbers only"),
        ("divmod(x, y)", "write x // y"),
        ("while x < y:\n        x += 1\n    return x", "a loop whose end depends on an operand"),
    ],
)
def test_errors_at_a_prompt_say_what_to_write(body, words):
    with pytest.raises(FormulaError, match=f"(?s)^f: .*<string>.*{words}"):
        user.formulas(function_of(body))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ("x + y * 2", "same"), ("x / y", "float"), ("exp(x)", "float"), ("x > y", "compare"),
        ("(x > 0) & (y > 0)", "compare"), ("x & 1", "integer"), ("x << 2", "integer"), ("~x", "integer"),
        ("math.isnan(x)", "compare"), ("x > 0 if y > 0 else False", "compare"), ("x * 0.5", "float"),
    ],
)  # fmt: skip
def test_kinds(body, kind, tmp_path):
    assert user.kind_of(function_of(body, tmp_path / "f.py")) == kind


def test_bits_are_of_integers():
    @tilegrad.elementwise
    def bits(x):
        return (x & 6) | (x << 2) ^ ~x

    x = tilegrad.arange(9)
    assert bits(x).tolist() == [(k & 6) | (k << 2) ^ ~k for k in range(9)]
    with pytest.raises(NotImplementedError, match="bits"):
        bits(tilegrad.ones(3))


@pytest.mark.parametrize("name", ["maximum", "atan2", "add", "logical_and", "sub", "div"])
def test_a_function_named_like_a_built_in_one_is_its_own(name):
    """What the built-in refuses of numbers it does not."""
    scope: dict[str, Any] = {}
    exec(f"def {name}(x, y):\n    return x if x > y else y\n", scope)
    op = tilegrad.elementwise(scope[name])
    x = tilegrad.arange(3)
    assert op(x, 1).tolist() == [1, 1, 2] and op(1, x).tolist() == [1, 1, 2]
    assert op(x, True).tolist() == [1, 1, 2] and op(x, 1).dtype is tilegrad.int64
    assert op(x, 1.5).tolist() == [1.5, 1.5, 2]
    with pytest.raises(TypeError, match=name):
        op(x, "a")


def test_the_formulas_have_a_module():
    assert tilegrad.formulas.exp is standard()["exp"] and "erf" in dir(tilegrad.formulas)
    assert tilegrad.formulas.exp(0.5) == pytest.approx(math.exp(0.5))
    from tilegrad.formulas import arctan2

    assert arctan2 is standard()["atan2"]
    with pytest.raises(AttributeError, match="no attribute 'expp'; did you mean"):
        tilegrad.formulas.expp  # noqa: B018


def test_advice_is_about_things_that_are_there():
    for node in advice._NODES:
        assert issubclass(node, ast.AST)
    assert not set(advice._CALLS) & set(standard())
    assert isinstance(tilegrad.formulas, types.ModuleType)
