"""tilegrad.fuse: a chain of elementwise ops is one op, with the values, dtypes and gradients of the chain."""

from __future__ import annotations

import math
import os
import pickle
import random
import subprocess
import sys
import textwrap
import threading
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilegrad
from tests.conftest import ROOT
from tilegrad import nn
from tilegrad.autograd.checking import CheckError
from tilegrad.autograd.fused_reduction import Reduced
from tilegrad.autograd.gradcheck import gradcheck, gradgradcheck
from tilegrad.autograd.symbols import FuseError, Symbol
from tilegrad.engine import dispatch
from tilegrad.nn import functional as F

SCALE = tilegrad.tensor(2.0, requires_grad=True)
HIDDEN = {"scale": tilegrad.ones(3)}


def ramp(a):
    return tilegrad.where(a > 0, a, a.exp() * SCALE.sigmoid())


@tilegrad.fuse
def curve(x, y):
    """A bit of everything."""
    h = ramp(x) + 0.5 * F.softplus(y)
    return (h * h.clamp(min=-1, max=3) - 2) / (1 + abs(y))


@tilegrad.fuse
def polar(r, angle, turns=1.0):
    angle = turns * angle
    return r * angle.cos(), r * angle.sin()


@tilegrad.fuse
def swish(x, beta=1.0):
    return x / (1 + (-beta * x).exp())


@tilegrad.fuse
def chosen(x, y):
    return tilegrad.where(x > y, x.sin() * y, x * x) * y


def results(function: Any, *tensors: Any) -> list[Any]:
    """What it gives, and the gradients of the tensors that require one."""
    for t in tensors:
        t.grad = None
    made = function(*tensors)
    outputs = list(made) if isinstance(made, tuple | list) else [made]
    sum(o.sum() for o in outputs).backward()
    return [*outputs, *(t.grad for t in tensors)]


def test_values_dtypes_and_gradients_are_those_of_the_chain(device, rng):
    x = tilegrad.tensor(rng.standard_normal((3, 5)), device=device, requires_grad=True)
    y = tilegrad.tensor(rng.standard_normal(5), device=device, requires_grad=True)
    for function in (curve, polar):
        have, want = (results(f, x, y) for f in (function, function.__wrapped__))
        for one, two in zip(have, want, strict=True):
            assert one.dtype is two.dtype and one.device is two.device
            np.testing.assert_allclose(
                one.detach().cpu().numpy(), two.detach().cpu().numpy(), 1e-12
            )
    assert isinstance(polar(x, y), tuple) and polar(x[:0], y).__len__() == 2


def test_a_side_that_is_not_taken_adds_nothing():
    x = tilegrad.tensor([0.0, 4.0], requires_grad=True)
    root = tilegrad.fuse(lambda x: tilegrad.where(x > 0, x.sqrt(), 0))
    root(x).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [0.0, 0.25]


def test_it_is_one_launch_and_its_gradient_one_per_operand():
    seen: list[str] = []

    def see(op, arrays, params, metadata):
        seen.append(op.name)
        return op(*arrays, params=params, **metadata)

    x, y = tilegrad.rand(7, requires_grad=True), tilegrad.rand(7, requires_grad=True)
    flowing = tilegrad.ones(7)
    with dispatch.mode(see):
        out = chosen(x, y)
        assert seen == ["chosen"]
        tilegrad.autograd.grad(out, [x, y], flowing)
    assert seen == ["chosen", "chosen_backward", "chosen_backward"]


def test_gradients_of_gradients():
    x = tilegrad.linspace(-2.0, 2.0, 6, dtype=tilegrad.float64).requires_grad_()
    y = tilegrad.full((2, 1), 0.7, dtype=tilegrad.float64).requires_grad_()
    assert gradcheck(curve, (x, y))
    assert gradcheck(chosen, (x, y)) and gradgradcheck(chosen, (x, y))


def test_its_source_is_shown_and_each_value_is_there_once():
    @tilegrad.fuse
    def twice(x, y):
        return (x * y).exp() + (x * y).exp() * (x * y)

    lines = twice.source.splitlines()[-4:]
    assert [line.strip() for line in lines if line] == [
        '"""twice(x, y)"""', "u1 = x * y", "u2 = exp(u1)", "return u2 + u2 * u1"
    ]  # fmt: skip
    assert "SCALE" in curve.source and curve.__doc__ == "A bit of everything."
    assert "d twice / d y" in twice.derivative("y")
    assert "def polar_1" in polar.source and len(polar.formulas) == 2


@tilegrad.fuse
def arithmetic(x, y):
    return (x * 100 + y) * 100 - x * y


@tilegrad.fuse
def truths(x, y):
    return ((x > y) | (y == 2)) & (x != 0)


@tilegrad.fuse
def mixed(x, y):
    return tilegrad.where(x > 1, x * x, y) / 2 + (x > y) * 0.5


@tilegrad.fuse
def casts(x, y):
    return (x.double() * y).to(y.dtype) + x.masked_fill(y > 1, 3)


KINDS = ("bool", "uint8", "int8", "int32", "int64", "float32", "float64")


@pytest.mark.parametrize("name", ["arithmetic", "truths", "mixed", "casts"])
def test_dtypes_go_through_as_step_by_step(name, device):
    """Some pairs of dtypes, with and without dimensions: where integers wrap, too."""
    function = globals()[name]
    draw = random.Random(name)
    pairs = [
        (draw.choice(KINDS), draw.choice(KINDS), draw.choice((5, 3, 0)))
        for _ in range(9 if device == "cpu" else 5)
    ]
    for one, two, which in pairs:
        x = tilegrad.tensor([0, 1, 2, 3, 5]).to(getattr(tilegrad, one))
        y = tilegrad.tensor([2, 1, 3, 2, 2]).to(getattr(tilegrad, two))
        x, y = (x[3].clone() if which == 3 else x), (y[2].clone() if which == 0 else y)
        x, y = x.to(device), y.to(device)
        have, want = function(x, y), function.__wrapped__(x, y)
        assert have.dtype is want.dtype and have.shape == want.shape, (one, two, which)
        assert tilegrad.allclose(have.double(), want.double(), rtol=1e-6), (one, two, which)


def test_gradients_through_casts_have_the_precision_of_their_operands():
    @tilegrad.fuse
    def f(x, y):
        return ((x.double() * y).float() * x).sin()

    x = tilegrad.rand(5, requires_grad=True)
    y = tilegrad.full((5,), 1e200, dtype=tilegrad.float64) * 1e-200
    y.requires_grad_()
    have, want = (results(g, x, y) for g in (f, f.__wrapped__))
    for one, two in zip(have, want, strict=True):
        assert one.dtype is two.dtype
        np.testing.assert_allclose(one.detach().numpy(), two.detach().numpy(), 1e-6)

    @tilegrad.fuse
    def reciprocal(x):
        return (1 / x).float()

    big = tilegrad.tensor([1e-200], dtype=tilegrad.float64, requires_grad=True)
    (reciprocal(big) * 0).sum().backward()
    assert big.grad is not None and big.grad.dtype is tilegrad.float64


def test_shapes_and_layouts_are_not_baked_in():
    for shape in ((), (3,), (2, 0), (4, 1, 3)):
        x = tilegrad.rand(*shape, dtype=tilegrad.float64)
        assert tilegrad.allclose(curve(x, x), curve.__wrapped__(x, x))
    x = tilegrad.rand(4, 6)
    assert swish(x.t()).stride() == x.t().stride()
    a, b = polar(x, tilegrad.rand(2, 1, 1))
    assert a.shape == b.shape == (2, 4, 6)

    @tilegrad.fuse
    def apart(x, y):
        return x * 2, x + y

    one, two = apart(tilegrad.ones(3), tilegrad.ones(2, 1))
    assert one.shape == (3,) and two.shape == (2, 3)
    out = tilegrad.empty(4, 6)
    assert swish(x, out=out) is out and tilegrad.equal(out, swish(x))


def test_numbers_flags_and_tensors_as_arguments():
    @tilegrad.fuse
    def power(x, n=2, kind="sum", *, scale=1.0):
        total = x
        for _ in range(n - 1):
            total = total * x if kind == "product" else total + x
        return total * scale

    x = tilegrad.rand(5)
    for given, named in (((), {}), ((3,), {}), ((2, "product"), {}), ((), {"scale": 0.5})):
        want = power.__wrapped__(x, *given, **named)
        assert tilegrad.allclose(power(x, *given, **named), want)
    assert tilegrad.allclose(power(x=x, scale=SCALE.detach()), x * 4)
    assert tilegrad.equal(power(x, 2.0 and 2, scale=1), power(x))
    assert swish(x, -0.0).tolist() == swish(x, 0.0).tolist()
    beta = tilegrad.tensor([[0.5], [2.0]], requires_grad=True)
    swish(x, beta).sum().backward()
    assert beta.grad is not None and beta.grad.shape == (2, 1)
    with pytest.raises(TypeError, match="arguments are tensors, numbers"):
        swish(x, [1.0])
    scaled = tilegrad.fuse(lambda x, a: x * a)
    for k in range(15):
        scaled(x, k / 7)
    with pytest.warns(UserWarning, match="16 kernels that differ in numbers alone"):
        scaled(x, 7.0)
    scaled(x, 8.0)


def test_tensors_of_an_enclosing_scope_are_operands_as_they_are_now():
    scale = tilegrad.tensor(2.0, requires_grad=True)
    fixed = tilegrad.rand(4)

    class Layer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(tilegrad.rand(4))
            self.forward = tilegrad.fuse(self.body)

        def body(self, x: Any) -> Any:
            return (x * self.weight.exp()).tanh() * scale + fixed * tilegrad.tensor([1.0, 2, 3, 4])

    layer, x = Layer(), tilegrad.rand(3, 4)
    for new in (
        None,
        tilegrad.tensor(3.0),
        tilegrad.tensor(0.5, dtype=tilegrad.float64),
        tilegrad.rand(3, 1),
    ):
        scale = scale if new is None else new.requires_grad_()
        layer.weight.grad = None
        have, want = layer(x), layer.body(x)
        assert have.dtype is want.dtype and tilegrad.allclose(have, want)
        have.sum().backward()
        found = [scale.grad, layer.weight.grad]
        scale.grad = layer.weight.grad = None
        want.sum().backward()
        for one, two in zip(found, (scale.grad, layer.weight.grad), strict=True):
            assert tilegrad.allclose(one, two, rtol=1e-5)
    with tilegrad.no_grad():
        layer.weight.mul_(2)
    assert tilegrad.allclose(layer(x), layer.body(x))
    with pytest.raises(FuseError, match=r"found by a name, .*; got one \(3,\) float32 that is not"):
        tilegrad.fuse(lambda x: x * HIDDEN["scale"])(x[:, :3])


def test_what_is_constant_to_gradients():
    @tilegrad.fuse
    def f(x):
        with tilegrad.no_grad():
            still = x * x
        return x * still + x.detach() * x + x.round()

    x = tilegrad.rand(5, dtype=tilegrad.float64, requires_grad=True)
    have, want = (results(g, x) for g in (f, f.__wrapped__))
    assert all(tilegrad.allclose(a, b) for a, b in zip(have, want, strict=True))
    with tilegrad.no_grad():
        assert not tilegrad.fuse(lambda x: x * 2)(
            x
        ).requires_grad  # and the trace serves later calls


def test_fused_and_elementwise_functions_within():
    @tilegrad.elementwise
    def cube(x, scale=1.0):
        return scale * x**3

    @tilegrad.fuse
    def both(x):
        return cube(x, scale=0.5) + swish(x) * polar(x, x)[1]

    x = tilegrad.rand(9, dtype=tilegrad.float64)
    assert tilegrad.allclose(both(x), both.__wrapped__(x))
    assert "cube(x, T(0.5))" in both.source


WRONG = {
    "x @ y": ("a matrix product (@)", "call it outside, and fuse"),
    "tilegrad.matmul(x, y)": ("matmul", "call it outside, and fuse"),
    "x.sum() * y": ("sum", "end the function with x.sum"),
    "x - (x * y).amax(0)": ("amax", "or reduce outside"),
    "(x.mean(), y)": ("mean", "end the function with x.sum"),
    "x.prod()": ("prod", "or reduce outside"),
    "tilegrad.mean(x, dim=1)": ("mean", "end the function with x.sum"),
    "F.softmax(x, 1)": ("softmax", "outside the fused function"),
    "x[0]": ("an index", "index before the call"),
    "x if x > 0 else y": ("a branch on a tensor", "use tilegrad.where"),
    "math.exp(x)": ("float()", "use tilegrad.where"),
    "x.add_(y)": ("add_", "write x = x + y"),
    "add(x, y)": ("__iadd__", "write x = x + y"),
    "tilegrad.rand(3) + x": ("rand", "draw before the call"),
    "F.dropout(x)": ("dropout", "draw before the call"),
    "x.reshape(3, 1)": ("reshape", "change the shape before"),
    "x.t()": ("t;", "change the shape before"),
    "tilegrad.transpose(x, 0, 1)": ("transpose", "change the shape before"),
    "tilegrad.cat([x, y])": ("cat", "outside the fused function"),
    "x * x.shape[0]": ("shape", "pass the number as an argument"),
    "x * x.ndim": ("ndim", "pass the number as an argument"),
    "x + tilegrad.zeros_like(y)": ("a tensor of the shape of an operand", "write the number"),
    "x.to('cpu')": ("to;", "give a dtype alone"),
    "x.numpy()": ("numpy", "use tilegrad.where"),
    "[v for v in x]": ("a loop over a tensor", "index before"),
    "x.long() // y.long()": ("floor_divide", "outside the fused function"),
    "tilegrad.fliplr(x)": ("fliplr", "outside the fused function"),
    "SCALE.zero_() + x": ("zero_", "write x = x + y"),
    "SCALE[None] + x": ("an index", "index before"),
}


@pytest.mark.parametrize("text", WRONG)
def test_what_cannot_be_fused_is_named_with_its_place(text, tmp_path):
    what, instead = WRONG[text]
    file = tmp_path / "wrong.py"
    file.write_text(
        f"def add(x, y):\n    x += y\n    return x\n\ndef wrong(x, y):\n    z = x + 1\n    return {text}\n"
    )
    scope: dict[str, Any] = {
        "tilegrad": tilegrad, "F": F, "math": math, "SCALE": tilegrad.tensor(1.0), "__name__": "wrong"
    }  # fmt: skip
    exec(compile(file.read_text(), str(file), "exec"), scope)
    with pytest.raises(FuseError) as caught:
        tilegrad.fuse(scope["wrong"])(tilegrad.ones(3), tilegrad.ones(3))
    message = str(caught.value)
    assert message.startswith(f"wrong: cannot fuse {what}") and instead in message, message
    line = 2 if text.startswith("add(") else 7
    assert f"({file}, line {line})" in message and ("x += y" if line == 2 else text) in message


def test_errors_of_elementwise_functions_stay_what_they_are():
    x = tilegrad.ones(3)
    for wrong, kind, words in (
        (lambda x: tilegrad.maximum(x, 2.0), TypeError, "must be Tensor, not float"),
        (lambda x: -(x > 0), RuntimeError, "not implemented for 'bool'"),
        (lambda x: x * "a", TypeError, "tensors or numbers"),
        (lambda x: undefined(x), NameError, "undefined"),  # noqa: F821
    ):
        with pytest.raises(kind, match=words) as caught:
            tilegrad.fuse(wrong)(x)
        assert type(caught.value) is kind
    with pytest.raises(FuseError, match="computed from an operand; got float"):
        tilegrad.fuse(lambda x: 1.0)(x)
    with pytest.raises(TypeError, match="every argument is named"):
        tilegrad.fuse(lambda *x: x[0])
    assert not dispatch._modes and not dispatch._tracers  # nothing of a failed trace is left


def test_every_method_of_a_tensor_is_elementwise_or_refused():
    """What a symbol has of a tensor gives a symbol, is refused, or tells what is known."""
    told = {"dtype", "grad", "grad_fn", "is_leaf", "itemsize", "requires_grad", "retains_grad", "is_floating_point",
            "element_size", "is_contiguous", "is_inference", "contiguous", "ndimension", "is_complex", "layout",
            "offset", "address", "output_nr", "storage"}  # fmt: skip
    silent = []

    def probe(x):
        for title in dir(Symbol):
            if title[0] == "_" or title in told:
                continue
            try:
                value = getattr(x, title)
                value = value() if callable(value) else value
            except (FuseError, TypeError, RuntimeError):
                continue
            flag = title.startswith("is_") and isinstance(
                value, bool
            )  # of devices that are not there
            if not (flag or isinstance(value, Symbol | Reduced)):
                silent.append(title)
        silent.append("all were tried")
        raise StopIteration

    tilegrad.fuse(probe)
    assert silent == ["all were tried"]


def test_threads_that_work_meanwhile_are_not_traced():
    stop, wrong = threading.Event(), []
    x = tilegrad.rand(64)
    want = (x @ x).item()

    def work():
        while not stop.is_set():
            if (x @ x).item() != want or type(x + x) is not tilegrad.Tensor:
                wrong.append(1)

    other = threading.Thread(target=work)
    other.start()
    try:
        for k in range(30):
            form = tilegrad.fuse(lambda x, k=k: (x + k).exp() * x - k)
            assert "exp(" in form.source
    finally:
        stop.set()
        other.join()
    assert not wrong


def test_it_pickles_by_name_and_names_it_shares_with_built_in_ops_are_its_own():
    assert pickle.loads(pickle.dumps(swish)) is swish

    @tilegrad.elementwise
    def neg(x):
        return 3 * x * x

    @tilegrad.elementwise
    def copy(x):
        return 2 * x

    @tilegrad.fuse
    def round(x):
        return x * x

    x = tilegrad.ones(2, requires_grad=True)
    (neg(x) + round(x)).sum().backward()
    assert x.grad is not None and x.grad.tolist() == [8.0, 8.0] and copy(x).tolist() == [2.0, 2.0]


def test_an_unchanged_function_is_loaded_by_a_new_process(tmp_path: Path):
    program = tmp_path / "program.py"
    program.write_text(
        textwrap.dedent("""
        import sys
        import tilegrad

        @tilegrad.fuse
        def bump(x):
            return (x * x + 1).log()

        x = tilegrad.arange(4.0).requires_grad_()
        bump(x).sum().backward()
        print(x.grad.tolist(), "numba" in sys.modules)
        """)
    )

    def run() -> str:
        done = subprocess.run(
            [sys.executable, str(program)], capture_output=True, text=True, check=False,
            env={**os.environ, "PYTHONPATH": str(ROOT / ".dev"), "TILEGRAD_CACHE_DIR": str(tmp_path / "k")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        return done.stdout.split()[-1]

    assert (run(), run()) == ("True", "False")


def test_check_compares_with_the_chain(capsys, monkeypatch):
    swish.check(domain=(-1.5, 1.5))
    said = capsys.readouterr().out
    for what in ("broadcast", "special values", "the same bits", "gradients of second order"):
        assert what in said
    masked = tilegrad.fuse(lambda mask, x: tilegrad.where(mask, x, 0) * 2)
    masked.check(dtypes={"mask": "bool"})
    wrong = tilegrad.fuse(lambda x: x * 2)
    (
        wrong(tilegrad.ones(1, dtype=tilegrad.float64)),
        wrong(tilegrad.ones((), dtype=tilegrad.float64)),
    )
    monkeypatch.setattr(wrong.check.__self__, "function", lambda x: x * 2 + 1e-3)
    with pytest.raises(CheckError, match="one number, cpu, float64: the result at"):
        wrong.check()


def test_what_a_warning_names_is_the_callers_line():
    function = tilegrad.fuse(lambda x, a: x * a)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for k in range(16):
            function(tilegrad.ones(2), k / 9)
    assert [w.filename for w in caught] == [__file__]
