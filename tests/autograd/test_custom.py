"""tilegrad.elementwise: functions on numbers become differentiable ops on every device."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
import textwrap
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.conftest import ROOT
from tilegrad.autograd.checking import CheckError
from tilegrad.autograd.gradcheck import gradcheck, gradgradcheck
from tilegrad.engine.interpreter import why_plain
from tilegrad.kernels.formulas.user import FormulaError

SCALE = 2.5
HALF = np.float64(0.5)
TENSOR = tilegrad.ones(2)


@tilegrad.elementwise
def swish(x, beta=1.0):
    """x sigmoid(beta x)."""
    return x / (1 + exp(-beta * x))  # noqa: F821


def halved(a):
    return a * HALF


@tilegrad.elementwise
def waves(x, y):
    total = 0
    for k in range(1, 4):
        total += k * math.sin(x) * y
    if x > 0:
        total = total + halved(y) ** 3 * SCALE
    return total - y if y > 1 else total + y**0.5 * x**2


@tilegrad.elementwise
def polar(r, angle):
    return r * cos(angle), r * sin(angle)  # noqa: F821


@tilegrad.elementwise
def inside(x, low=-1.0, high=1.0):
    return low < x < high and not (x > 0.4 and x < 0.6)


@tilegrad.elementwise
def mixed(x, y):
    return max(x * x, abs(y), 3) - min(x, y)


def theirs(t: Any, x: Any, y: Any) -> Any:
    total = sum(k * t.sin(x) * y for k in range(1, 4))
    total = t.where(x > 0, total + (0.5 * y) ** 3 * SCALE, total)
    return t.where(y > 1, total - y, total + y**0.5 * x**2)


def test_a_function_of_numbers_is_one_of_tensors(device, rng):
    a, b = rng.standard_normal((3, 5)), rng.uniform(0.1, 3, (5,))
    x, y = torch.tensor(a, requires_grad=True), torch.tensor(b, requires_grad=True)
    want = theirs(torch, x, y)
    want.sum().backward()
    ours = tilegrad.tensor(a, device=device, requires_grad=True)
    other = tilegrad.tensor(b, device=device, requires_grad=True)
    have = waves(ours, other)
    have.sum().backward()
    for one, two in ((have.detach(), want.detach()), (ours.grad, x.grad), (other.grad, y.grad)):
        np.testing.assert_allclose(one.cpu().numpy(), two.numpy(), rtol=1e-11, atol=1e-12)


def test_derivatives_of_any_order():
    x = tilegrad.linspace(-2.0, 2.0, 7, dtype=tilegrad.float64).requires_grad_()
    y = tilegrad.full((3, 1), 0.7, dtype=tilegrad.float64).requires_grad_()
    beta = tilegrad.tensor(1.3, dtype=tilegrad.float64, requires_grad=True)
    assert gradcheck(swish, (x, beta)) and gradgradcheck(swish, (x, beta))
    assert gradcheck(polar, (x, y)) and gradgradcheck(polar, (x, y))


def test_its_source_and_that_of_its_derivative_are_shown():
    assert "return x / (T(1) + exp(-beta * x))" in swish.source
    assert "d swish / d beta" in swish.derivative("beta")
    assert "cos_grad(angle)" in polar.derivative("angle", output=0)
    assert swish.__doc__ == "x sigmoid(beta x)."
    assert "def polar_1" in polar.source


@pytest.mark.parametrize("name", ["float32", "float64", "int64", "bool"])
def test_dtypes(name):
    """Literals have the operands' dtype; integers become floats where the source divides."""
    kind, same = getattr(tilegrad, name), getattr(torch, name)
    x, y = tilegrad.arange(6).to(kind), torch.arange(6).to(same)
    assert (
        str(swish(x).dtype).split(".")[1]
        == str(torch.nn.functional.silu(y * 1.0).dtype).split(".")[1]
    )
    assert inside(x).dtype is tilegrad.bool
    if name != "bool":
        assert mixed(x, x + 1).dtype is kind
        assert mixed(x, 1.5).dtype is (tilegrad.float32 if name == "int64" else kind)


def test_numbers_scalars_and_tensors_in_any_place():
    x = tilegrad.linspace(-1, 1, 5)
    half = swish(x, 0.5)
    for same in (
        swish(x, beta=0.5),
        swish(x, tilegrad.tensor(0.5)),
        swish(x=x, beta=tilegrad.full((5,), 0.5)),
    ):
        assert tilegrad.equal(same, half)
    assert tilegrad.equal(swish(x, 1), swish(x))
    assert tilegrad.equal(waves(x, 2), waves(x, tilegrad.full((5,), 2.0)))
    assert tilegrad.equal(waves(2.0, x.abs()), waves(tilegrad.full((5,), 2.0), x.abs()))
    assert inside(x, high=0.25, low=-0.75).tolist() == [False, True, True, False, False]
    beta = tilegrad.tensor([[0.5], [2.0]], requires_grad=True)
    out = swish(x, beta)
    assert out.shape == (2, 5)
    out.sum().backward()
    assert beta.grad is not None and beta.grad.shape == (2, 1)


def test_layouts_views_and_out():
    x = tilegrad.rand(4, 6)
    want = x / (1 + (-x).exp())
    assert tilegrad.allclose(swish(x.t()), want.t())
    assert swish(x.t()).stride() == x.t().stride()
    assert tilegrad.allclose(swish(x[:, ::2]), want[:, ::2])
    assert swish(x[:0]).shape == (0, 6)
    out = tilegrad.empty(4, 6)
    assert swish(x, out=out) is out and tilegrad.allclose(out, want)
    a, b = tilegrad.empty(4, 6), tilegrad.empty(4, 6)
    assert polar(x, x, out=(a, b)) == (a, b) and tilegrad.equal(a, polar(x, x)[0])
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        swish(x.requires_grad_(), out=out)


def test_a_given_derivative_is_taken():
    @tilegrad.elementwise(grad=lambda_free)
    def clipped(x):
        return min(max(x, -1), 1)

    x = tilegrad.tensor([-3.0, 0.5, 3.0], requires_grad=True)
    clipped(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [7.0, 7.5, 7.0]

    @tilegrad.elementwise(grad={"x": by_x, "y": by_y})
    def product(x, y):
        return x * y

    y = tilegrad.tensor([2.0, 3.0, 4.0], requires_grad=True)
    x.grad = None
    product(x, y).sum().backward()
    assert x.grad is not None and y.grad is not None
    assert x.grad.tolist() == [20.0, 30.0, 40.0] and y.grad.tolist() == [-3.0, 0.5, 3.0]
    with pytest.raises(TypeError, match="must name its argument"):
        tilegrad.elementwise(grad=by_x)(lambda_of_two)


def lambda_free(out):
    return 7 + (out if -1 < out < 1 else 0)


def by_x(y):
    return 10 * y


def by_y(x):
    return x


def lambda_of_two(x, y):
    return x + y


def test_it_pickles_by_name_and_works_in_threads_and_modules():
    assert pickle.loads(pickle.dumps(swish)) is swish

    class Layer(tilegrad.nn.Module):
        def forward(self, x: Any) -> Any:
            return swish(x, beta=1.5)

    x = tilegrad.rand(1000)
    want, found = Layer()(x), []
    workers = [threading.Thread(target=lambda: found.append(Layer()(x))) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(found) == 4 and all(tilegrad.equal(one, want) for one in found)


def pair(x):
    return x, x * x


WRONG = {
    "an element": ("an argument of its own", "return x[0]"),
    "a list": ("one variable per element", "return [x]"),
    "a tuple within": ("one expression per output", "return (x, x) if x > 0 else x"),
    "an unknown name": ("define it before", "return x * unknown"),
    "a tensor": ("pass tensors as arguments", "return x * TENSOR"),
    "a text": ("a formula has numbers only", "return x * 'a'"),
    "a matrix product": ("about one element", "return x @ x"),
    "a comprehension": ("loop over range", "return [x for _ in range(3)]"),
    "a while of print": ("a call of print", "return print(x)"),
    "several arguments": ("exp takes 1: x", "return exp(x, x)"),
    "an unknown argument": ("exp takes x", "return exp(x, y=x)"),
    "a method": ("write sin(x)", "return x.sin()"),
    "an attribute": ("an operand is a number", "return x.real"),
    "where": ("write `a if condition else b`", "return where(x > 0, x, 0)"),
    "a function that is none": ("write exp(lgamma(x))", "return math.gamma(x)"),
    "another": ("dir(tilegrad.formulas)", "return math.fsum(x)"),
    "itself": ("write a loop", "return wrong(x - 1) if x > 0 else x"),
    "a way without a return": ("end each way", "if x > 0:\n        return x"),
    "a bound that is no number": (
        "write a while loop",
        "for k in range(x):\n        x += k\n    return x",
    ),
    "match": ("write if and elif", "match x:\n        case 0:\n            return x\n    return x"),
    "a lambda": ("write a function with def", "return (lambda a: a)(x)"),
    "a walrus": ("in a line of its own", "return (y := x) + y"),
    "print": ("leave it out", "print(x)\n    return x"),
    "several results": ("a, b = pair(x)", "return pair(x) + 1"),
    "nothing": ("a return without a value", "return"),
    "raise": ("formula raises nothing", "raise ValueError\n    return x"),
    "different returns": ("different lengths", "if x > 0:\n        return x, x\n    return x"),
    "a loop over a list": (
        "loop over range",
        "for k in [1, 2]:\n        x += k\n    return x",
    ),
    "int()": ("write floor(x) or trunc(x)", "return int(x)"),
    "a type": ("a change of type", "return TYPE(2) * x"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_no_kernel_can_hold_is_named_with_its_place(name, tmp_path):
    words, body = WRONG[name]
    file = tmp_path / "wrong.py"
    file.write_text(f"TENSOR = None\n\ndef wrong(x):\n    {body}\n")
    scope: dict[str, Any] = {"math": math, "TYPE": np.float32, "pair": pair, "__name__": "wrong"}
    exec(compile(file.read_text(), str(file), "exec"), scope)
    scope["TENSOR"] = TENSOR
    with pytest.raises(FormulaError) as caught:
        tilegrad.elementwise(scope["wrong"])
    assert words in str(caught.value), str(caught.value)
    assert "wrong" in str(caught.value)
    if "returns" not in name:
        assert f"{file}, line " in str(caught.value)


def test_wrong_arguments_of_the_decorator_and_of_calls():
    with pytest.raises(TypeError, match="one argument at least is an operand"):
        tilegrad.elementwise(only_scalars)
    with pytest.raises(TypeError, match="the default of a scalar is a number"):
        tilegrad.elementwise(text_default)
    with pytest.raises(ValueError, match="promotion must be one of"):
        tilegrad.elementwise(promotion="up")(lambda_of_two)
    with pytest.raises(TypeError, match="one operand at least must be a tensor"):
        swish(1.0)
    with pytest.raises(TypeError, match="swish: a scalar must be a number"):
        swish(tilegrad.ones(2), beta="a")
    with pytest.raises(TypeError, match="operands must be tensors or numbers"):
        waves(tilegrad.ones(2), "a")


def only_scalars(x=1.0):
    return x


def text_default(x, way="up"):
    return x


def test_an_edited_function_is_compiled_again_and_an_unchanged_one_loaded(tmp_path: Path):
    """In a new process an unchanged function needs no compiler; an edited one gives its new values."""
    program = """
        import sys
        import tilegrad

        @tilegrad.elementwise
        def bump(x):
            return {body}

        x = tilegrad.arange(4.0).requires_grad_()
        y = bump(x)
        y.sum().backward()
        print(y.tolist(), x.grad.tolist(), "numba" in sys.modules)
    """

    def run(body: str) -> str:
        file = tmp_path / "program.py"
        file.write_text(textwrap.dedent(program).format(body=body))
        done = subprocess.run(
            [sys.executable, str(file)], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(tmp_path / "k")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    assert run("x * x") == "[0.0, 1.0, 4.0, 9.0] [0.0, 2.0, 4.0, 6.0] True"
    assert run("x * x") == "[0.0, 1.0, 4.0, 9.0] [0.0, 2.0, 4.0, 6.0] False"
    assert run("x * x + 1") == "[1.0, 2.0, 5.0, 10.0] [0.0, 2.0, 4.0, 6.0] True"


@pytest.mark.skipif(why_plain() is not None, reason="calls are plain")
def test_a_known_call_with_scalars_is_a_straight_one():
    """Forward as a built-in op's; recorded, each value of a scalar keeps its own."""
    x, names = tilegrad.rand(5), []

    def count(frame: Any, event: str, argument: Any) -> None:
        if event == "call":
            names.append(frame.f_code.co_name)

    swish(x, beta=1.5)
    sys.setprofile(count)
    swish(x, beta=1.5)
    sys.setprofile(None)
    assert names[0] == "swish" and not {"other", "apply"} & set(names)
    for beta in (1.5, 2.5, 0.0, -0.0, 1.5):
        leaf = x.clone().requires_grad_()
        swish(leaf, beta=beta).sum().backward()
        s = 1 / (1 + (-beta * x).exp())
        assert leaf.grad is not None
        assert tilegrad.allclose(leaf.grad, s + x * beta * s * (1 - s))

    @tilegrad.elementwise
    def over(x, p=1.0):
        return x * (1 / p)

    grads = []
    for p in (math.inf, -math.inf, 0.0, -0.0):
        leaf = x.clone().requires_grad_()
        over(leaf, p).sum().backward()
        grads.append(leaf.grad[0].item())  # type: ignore[index]
    assert grads[2:] == [math.inf, -math.inf]


FIRST = """
import sys
import tilegrad
x = tilegrad.ones(4)

@tilegrad.elementwise
def swish(x, beta=1.0):
    return x / (1 + exp(-beta * x))

assert abs(swish(x).tolist()[3] - 0.7310586) < 1e-6
print("numba" in sys.modules)
"""


def test_the_first_result_of_a_kernel_on_disk_loads_no_compiler(tmp_path: Path) -> None:
    """`tilegrad bench compile` has the times."""
    script = tmp_path / "first.py"
    script.write_text(FIRST)
    environment = {
        **os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(tmp_path / "kernels")
    }  # fmt: skip

    def loaded() -> str:
        done = subprocess.run(
            [sys.executable, str(script)], env=environment, capture_output=True, text=True, check=True
        )  # fmt: skip
        return done.stdout.strip()

    assert [loaded(), loaded()] == ["True", "False"]


def test_float32_stays_float32():
    """A literal or a scalar in a function makes no float64 of its operands."""
    x = tilegrad.rand(100)
    assert swish(x, 0.3).dtype is tilegrad.float32
    want = np.float32(1) / (np.float32(1) + np.exp(-x.numpy()))
    np.testing.assert_allclose(swish(x).numpy(), x.numpy() * want, rtol=3e-7)


PROMPT = """
import math
import tilegrad

rate = 2

def helper(a):
    return a * a + rate

@tilegrad.elementwise
def curve(x, beta=2.0):
    total = 0
    for k in range(3):
        total = total + k * x
    if x > 0 and beta < 3:
        return total + math.sin(x) * rate
    elif x < -1:
        return helper(x)
    return exp(-x) + min(x, beta, 0)

cube = tilegrad.elementwise(lambda x: x**3 / (1 + abs(x)))
x = tilegrad.tensor([-2.0, -0.5, 1.0], dtype=tilegrad.float64, requires_grad=True)
y = curve(x) + cube(x)
y.sum().backward()
print(y.tolist(), x.grad.tolist())
try:
    @tilegrad.elementwise
    def endless(x):
        while x > 1:
            x = x / 2
        return x
except TypeError as error:
    print(error)
"""


def test_a_function_without_source_is_followed_through_its_ways():
    """As typed at a prompt: conditions are taken both ways, loops unrolled."""
    done = subprocess.run(
        [sys.executable, "-c", f"exec(compile({PROMPT!r}, '<typed>', 'exec'))"], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    values, refused = done.stdout.splitlines()
    x = torch.tensor([-2.0, -0.5, 1.0], dtype=torch.float64, requires_grad=True)
    y = torch.stack(
        [x[0] ** 2 + 2, torch.exp(-x[1]) + x[1], 3 * x[2] + torch.sin(x[2]) * 2]
    ) + x**3 / (1 + x.abs())
    y.sum().backward()
    have = np.array(eval(values.replace("] [", "], [")))
    np.testing.assert_allclose(have, [y.tolist(), x.grad.tolist()], rtol=1e-12)
    assert "endless: its source cannot be read" in refused
    assert "a loop whose end depends on an operand" in refused


@pytest.mark.parametrize("name", ["swish", "polar", "inside"])
def test_checks_pass_and_say_what_they_looked_at(name, capsys):
    globals()[name].check(domain=(0.2, 2.7))
    said = capsys.readouterr().out
    for what in ("empty", "a prime", "transposed", "broadcast", "special values", "the same bits"):
        assert what in said
    assert ("gradients of second order" in said) == (name != "inside")


def test_checks_fail_where_a_kernel_or_a_gradient_is_wrong(monkeypatch):
    wrong = tilegrad.elementwise(grad=by_nothing)(just_squared)
    with pytest.raises(CheckError, match="gradients of first order"):
        wrong.check()
    formula = swish.formulas[0]
    monkeypatch.setattr(formula, "function", lambda x, beta: x + 1e-3 * (x == x))
    with pytest.raises(
        CheckError, match=r"swish: one number, cpu, float64: of x=.*, beta=1.0 it gives"
    ):
        swish.check()


def by_nothing(x):
    return x


def just_squared(x):
    return x * x
