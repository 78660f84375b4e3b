"""Bodies of kernels: which names mean what, what is refused, and when a kernel is another one."""

from __future__ import annotations

import math
import re
import types
from typing import Any

import numpy as np
import pytest
from numba import njit

import tilegrad
from tilegrad.kernels.bodies import Body, BodyError, bring
from tilegrad.kernels.formulas.user import standard

RATE = 2.0
SIZES = (3, 4)
TABLE = [1, 2]


@njit
def compiled(a):
    return a * RATE


def plain(a):
    return compiled(a) + math.exp(a)


@tilegrad.elementwise
def curve(x):
    return x * x


def body(x, y):
    y[0] = plain(x[0]) + np.exp(x[1]) + tilegrad.exp(x[1]) + log1p(x[2]) + curve(x[0])  # noqa: F821
    y[1] = np.float32(SIZES[0]) * math.pi


def test_names_mean_what_kernels_know():
    made = bring("t", body)
    scope = made.function.__globals__
    assert isinstance(scope["plain"], Body)
    assert isinstance(scope["plain"].function.__globals__["compiled"], Body)
    assert scope["math"].exp is standard()["exp"] and scope["tilegrad"].exp is standard()["exp"]
    assert scope["math"].pi == math.pi and scope["np"].float32 is np.float32
    assert scope["log1p"] is standard()["log1p"] and scope["SIZES"] == (3, 4)
    assert scope["curve"] is curve.formula and scope["tilegrad"].float32 is np.float32
    assert made.asks == ("x", "y")
    y = [0.0, 0.0]
    made.function([1.0, 2.0, 3.0], y)  # it still is Python
    assert y[0] == pytest.approx(2 + math.e + 2 * math.exp(2) + math.log1p(3) + 1)


def with_changes(function: Any, **names: Any) -> Any:
    """The function over other globals."""
    scope = {**function.__globals__, **names}
    made = types.FunctionType(function.__code__, scope, function.__name__, function.__defaults__)
    made.__module__, made.__qualname__ = function.__module__, function.__qualname__
    return made


def test_a_key_is_the_code_and_what_its_names_are():
    key = bring("t", body).key
    assert bring("t", with_changes(body)).key == key
    assert bring("other", body).key == key
    for names in (
        {"SIZES": (3, 5)},
        {"plain": with_changes(plain, compiled=abs)},
        {"curve": math.sin},
    ):
        assert bring("t", with_changes(body, **names)).key != key
    deeper = with_changes(plain, compiled=njit(with_changes(compiled.py_func, RATE=3.0)))
    assert bring("t", with_changes(body, plain=deeper)).key != key

    def counted(rate: float, width: Any = 3) -> Any:
        def inner(x, rows=width):
            x[0] = rate * rows

        return inner

    keys = {bring("t", counted(*v)).key for v in ((1.0,), (1.0,), (2.0,), (1, 3), (1.0, 4))}
    assert len(keys) == 4
    first, second = (
        bring("t", _compiled(text)).key for text in ("x[0] = 1", "# more\n    x[0] = 1")
    )
    assert first == second


def _compiled(text: str) -> Any:
    scope: dict[str, Any] = {"__name__": "mine"}
    exec(f"def f(x):\n    {text}\n", scope)
    return scope["f"]


def again(x):
    again(x)


WRONG = {
    "raise ValueError(x)": "raise or assert; a kernel raises nothing",
    "assert x[0]": "raise or assert",
    "return [x[i] for i in range(3)]": "write a loop over range",
    "return TABLE[0]": "a kernel cannot hold TABLE, a list; use numbers, and pass tensors as operands",
    "return TENSOR": "a kernel cannot hold TENSOR, a Tensor",
    "y = {}": "a dict",
    "return f'{x}'": "a text",
    "import os": "import at the top",
    "return missing(x)": "no kernel knows the name 'missing'; define it before the first call",
    "again(x)": "again cannot call itself; write a loop",
}


@pytest.mark.parametrize("text", WRONG)
def test_what_no_kernel_can_hold(text, tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text(f"\n\ndef wrong(x):\n    y = 0\n    {text}\n")
    scope: dict[str, Any] = {
        "TABLE": TABLE,
        "TENSOR": tilegrad.ones(1),
        "again": again,
        "__name__": "m",
    }
    exec(compile(file.read_text(), str(file), "exec"), scope)
    with pytest.raises(BodyError, match="^the body: ") as caught:
        bring("the body", scope["wrong"])
    assert WRONG[text] in str(caught.value), str(caught.value)
    if "again" not in text:
        assert re.search(rf"\({re.escape(str(file))}, line [35]: ", str(caught.value)), str(
            caught.value
        )


UNTYPED = {
    "y[0] = x.foo": "Unknown attribute 'foo' of type float32*",
    "y[0] = np.sum(x)": "Unknown attribute 'sum'",
    "y[0] = x[1.5]": "No implementation of function",
    "y[0] = x": "Cannot cast float32* to float32 (",
    "y[0] = helper(x[0])": "Unknown attribute 'nothing' of type float32",
}


@pytest.mark.parametrize("text", UNTYPED)
def test_what_cannot_be_typed_names_its_line(text, tmp_path):
    file = tmp_path / "wrong.py"
    file.write_text(
        f"def helper(v):\n    return v.nothing\n\n\ndef wrong(task, x, y):\n    {text}\n"
    )
    scope: dict[str, Any] = {"np": np, "__name__": "m"}
    exec(compile(file.read_text(), str(file), "exec"), scope)

    @tilegrad.op("untyped(x: f[N]) -> y: like x")
    def untyped(x):
        return x

    untyped.cpu(tasks=1)(scope["wrong"])
    with pytest.raises(BodyError, match=r"^untyped: the \.cpu body cannot be compiled: ") as caught:
        untyped(tilegrad.ones(3))
    line = 2 if "helper" in text else 5 if text == "y[0] = x" else 6
    assert UNTYPED[text] in str(caught.value)
    assert f"({file}, line {line}: " in str(caught.value)
