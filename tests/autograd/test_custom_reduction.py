"""tilegrad.reduction: how two partial results combine becomes a differentiable op on every device."""

from __future__ import annotations

import math
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.conftest import ROOT
from tilegrad.autograd.checking import CheckError
from tilegrad.autograd.gradcheck import gradcheck, gradgradcheck
from tilegrad.engine import cuda
from tilegrad.engine.interpreter import why_plain
from tilegrad.kernels.formulas.user import FormulaError

SHIFT = 2


@tilegrad.reduction(identity=0.0)
def total(a, b):
    """The sum."""
    return a + b


@tilegrad.reduction(identity=1.0, grad=lambda x, out, grad: grad * out / x)
def product(a, b):
    return a * b


@tilegrad.reduction(identity=-math.inf)
def largest(a, b):
    return max(a, b)


@tilegrad.reduction(identity=0.0, each=lambda x: x * x, last=lambda s: sqrt(s))  # noqa: F821
def norm2(a, b):
    return a + b


def start(x):
    return 1.0, x, 0.0


def finish(n, mean, m2):
    return mean, m2 / n


def mean_var_grad(x, out_0, grad_0, grad_1, count):
    return (grad_0 + 2 * (x - out_0) * grad_1) / count


@tilegrad.reduction(identity=(0.0, 0.0, 0.0), each=start, last=finish, grad=mean_var_grad)
def mean_var(n, mean, m2, n_, mean_, m2_):
    count = n + n_
    share = n_ / max(count, 1)
    apart = mean_ - mean
    return count, mean + apart * share, m2 + m2_ + apart * apart * n * share


@tilegrad.reduction(identity=0.0, each=lambda x, y: x * y)
def dot(a, b):
    return a + b


def power(x, p=2.0):
    return abs(x) ** p


def root(s, p=2.0):
    return s ** (1 / p)


@tilegrad.reduction(identity=0.0, each=power, last=root)
def p_norm(a, b):
    return a + b


@tilegrad.reduction(identity=(math.inf, -math.inf, 0.0), each=lambda x: (x, x + SHIFT, exp(x)))  # noqa: F821
def ends(low, high, all_, low_, high_, all__):
    return min(low, low_), max(high_, high), all_ + all__


@tilegrad.reduction(identity=0, last=lambda n: n > 2)
def many(a, b):
    return a + b


@tilegrad.reduction(identity=1.0)
def longest(a, b):
    """No sum, no max: how far they reach."""
    return a if abs(a) > abs(b) else b


Theirs = Callable[[Any, Any], Any]
SHAPE = (5, 33, 7)
DIMS = (0, -1, (0, 2), None)
EVERYWHERE = ("total", "mean_var")  # each layout is a kernel: the others' loops are the same
LIKE: dict[str, tuple[Any, Theirs]] = {
    "total": (total, lambda x, d: x.sum(d)),
    "product": (product, lambda x, d: x.log().sum(d).exp()),
    "largest": (largest, lambda x, d: x.amax(d)),
    "norm2": (norm2, lambda x, d: x.norm(2, d)),
    "mean_var": (mean_var, lambda x, d: (x.mean(d), x.var(d, unbiased=False))),
    "p_norm": (p_norm, lambda x, d: torch.linalg.vector_norm(x, 2, d)),
    "ends": (ends, lambda x, d: (x.amin(d), x.amax(d) + 2, x.exp().sum(d))),
}


def pairs(have: Any, want: Any) -> Any:
    one, other = (v if isinstance(v, tuple) else (v,) for v in (have, want))
    return zip(one, other, strict=True)


@pytest.mark.parametrize(
    ("name", "dtype"),
    [*((n, "float32") for n in LIKE), ("total", "float64"), ("mean_var", "float64")],
)
def test_reductions_over_any_dimensions(name, dtype, device, rng):
    """Row-major, permuted and with gaps, all dimensions and some, kept or not."""
    ours, theirs = LIKE[name]
    small = SHAPE if device == "cpu" else (2, 13, 3)
    x = rng.uniform(0.9, 1.1, small).astype(dtype)
    chosen = DIMS if name in EVERYWHERE and dtype == "float32" else ((0, 2), -1)
    for strided in (lambda t: t, lambda t: t.permute(1, 0, 2)[:, ::2]):
        a, b = strided(tilegrad.tensor(x, device=device)), strided(torch.tensor(x))
        for dim in chosen if device == "cpu" else (1, (0, 2), None):
            over = tuple(range(3)) if dim is None else dim
            for have, want in pairs(ours(a, dim=dim), theirs(b, over)):
                assert have.shape == want.shape and str(have.dtype) == str(want.dtype).replace(
                    "torch", "tilegrad"
                )
                bound = 3e-5 if dtype == "float32" else 1e-10
                np.testing.assert_allclose(have.cpu().numpy(), want.numpy(), rtol=bound, atol=bound)
            for have, want in pairs(ours(a, dim, keepdim=True), ours(a, dim)):
                assert have.ndim == 3 and have.numel() == want.numel()


def test_long_rows_are_split_and_bits_do_not_depend_on_threads():
    x = tilegrad.rand(200_003)
    assert tilegrad.equal(total(x), x.sum())
    before = tilegrad.get_num_threads()
    for function in (total, norm2, mean_var, ends):
        first = [v.tolist() for v in pairs(function(x), function(x)) for v in v]
        try:
            tilegrad.set_num_threads(1 if before > 1 else 2)
            assert [v.tolist() for v in pairs(function(x), function(x)) for v in v] == first
        finally:
            tilegrad.set_num_threads(before)
    mean, var = mean_var(x)
    y = x.numpy().astype(np.float64)
    np.testing.assert_allclose([mean.item(), var.item()], [y.mean(), y.var()], rtol=1e-6)
    tall = tilegrad.rand(9001, 17)
    np.testing.assert_allclose(mean_var(tall, 0)[1].numpy(), tall.numpy().var(0), rtol=1e-5)
    wide = tilegrad.rand(6, 70_000).t()  # few results, each of several pieces, in columns and rows
    np.testing.assert_allclose(mean_var(wide, 0)[1].numpy(), wide.numpy().var(0), rtol=1e-5)


def test_several_operands_broadcast(device, rng):
    x, w = rng.standard_normal((3, 4, 5)), rng.standard_normal((4, 1))
    a = tilegrad.tensor(x, device=device, requires_grad=True)
    b = tilegrad.tensor(w, device=device, requires_grad=True)
    for dim in (0, 1, 2, (0, 1), None):
        over = tuple(range(3)) if dim is None else dim
        np.testing.assert_allclose(
            dot(a, b, dim).detach().cpu().numpy(), (x * w).sum(over), rtol=1e-12
        )
        np.testing.assert_allclose(
            dot(b, a, dim).detach().cpu().numpy(), (x * w).sum(over), rtol=1e-12
        )
    dot(a, b, dim=1).sum().backward()
    np.testing.assert_allclose(a.grad.cpu().numpy(), np.broadcast_to(w, x.shape))
    np.testing.assert_allclose(b.grad.cpu().numpy(), x.sum((0, 2))[:, None], rtol=1e-12)
    twice = 2 * x.sum(2)
    np.testing.assert_allclose(dot(a.detach(), 2.0, 2).cpu().numpy(), twice, rtol=1e-12)
    mixed = dot(a.detach().to(tilegrad.float32), tilegrad.full((5,), 2, device=device), 2)
    assert mixed.dtype is tilegrad.float32
    np.testing.assert_allclose(mixed.cpu().numpy(), twice, rtol=1e-4)


@pytest.mark.parametrize("name", [*LIKE, "p_norm3"])
def test_gradients_of_two_orders(name):
    ours = (lambda x, d: p_norm(x, d, p=3)) if name == "p_norm3" else LIKE[name][0]
    x = tilegrad.linspace(0.4, 1.7, 12, dtype=tilegrad.float64).reshape(3, 4)
    x = (x * x + x.t().reshape(3, 4)).requires_grad_()
    for dim in (1, (0, 1)):
        assert gradcheck(lambda x, d=dim: ours(x, d), (x,))
        assert gradgradcheck(lambda x, d=dim: ours(x, d), (x,))


def test_gradients_of_several_operands():
    x = tilegrad.linspace(0.4, 1.7, 12, dtype=tilegrad.float64).reshape(3, 4).requires_grad_()
    w = tilegrad.tensor([0.3, 0.7, 1.1, 2.0], dtype=tilegrad.float64, requires_grad=True)
    assert gradgradcheck(lambda x, w: dot(x, w, 1), (x, w))


def test_gradients_are_pytorchs(rng):
    x = rng.uniform(0.5, 2, (4, 6))
    x[:, 1] = x[:, 3] = 3.0  # equal largest elements share
    for ours, theirs in LIKE.values():
        a, b = tilegrad.tensor(x, requires_grad=True), torch.tensor(x, requires_grad=True)
        for have, want in pairs(ours(a, 1), theirs(b, 1)):
            assert have.requires_grad
            (3 * have.sin()).sum().backward(retain_graph=True)
            (3 * want.sin()).sum().backward(retain_graph=True)
        np.testing.assert_allclose(a.grad.numpy(), b.grad.numpy(), rtol=1e-9, atol=1e-12)


def test_results_are_the_same_bits_with_and_without_a_gradient():
    x = tilegrad.rand(3, 1001)
    for function in (total, norm2, mean_var, p_norm, ends):
        for one, other in pairs(function(x, 1), function(x.clone().requires_grad_(), 1)):
            assert tilegrad.equal(one, other.detach())
        with tilegrad.no_grad():
            assert all(
                not v.requires_grad for v, _ in pairs(*[function(x.requires_grad_(), 1)] * 2)
            )
        x = x.detach()


def test_where_no_gradient_is_known_the_call_says_so():
    x = tilegrad.tensor([1.0, -3.0, 2.0])
    assert longest(x).item() == -3.0
    with pytest.raises(RuntimeError, match=r"longest: an operand requires grad.*reduction\(grad="):
        longest(x.requires_grad_())
    assert longest(x.detach()).item() == -3.0 and not many(x, 0).requires_grad

    @tilegrad.reduction(identity=0.0, each=lambda x, y: x * y, grad={"x": lambda y, grad: y * grad})
    def half(a, b):
        return a + b

    y = tilegrad.ones(3)
    half(x, y).backward()
    assert x.grad is not None and x.grad.tolist() == [1.0, 1.0, 1.0]
    with pytest.raises(RuntimeError, match="half: y requires grad, and grad= has no formula"):
        half(x, y.requires_grad_())


@pytest.mark.parametrize("name", ["int32", "bool"])
def test_integers(name, device):
    values = [[1, 0, 3], [5, 1, 2]]
    x = tilegrad.tensor(values, device=device).to(getattr(tilegrad, name))
    y = torch.tensor(values).to(getattr(torch, name))
    assert total(x).dtype is tilegrad.int64 and total(x, 1).tolist() == y.sum(1).tolist()
    assert (
        largest(x).dtype is tilegrad.int64 and largest(x, 0).tolist() == y.long().amax(0).tolist()
    )
    assert largest(x[:0], 0).tolist() == [-(2**63)] * 3
    assert many(x, 0).dtype is tilegrad.bool and many(x, 0).tolist() == (y.sum(0) > 2).tolist()
    assert norm2(x).dtype is tilegrad.float32
    np.testing.assert_allclose(
        mean_var(x, 1)[0].cpu().numpy(), y.float().mean(1).numpy(), rtol=1e-6
    )


def test_nothing_to_reduce_gives_the_last_of_the_identity(device):
    x = tilegrad.empty(3, 0, device=device)
    assert total(x, 1).tolist() == [0, 0, 0] and largest(x).item() == -math.inf
    assert norm2(x, 1, keepdim=True).shape == (3, 1) and total(x, 0).shape == (0,)
    mean, var = mean_var(x)
    assert mean.item() == 0 and math.isnan(var.item())
    assert total(tilegrad.tensor(2.5, device=device)).item() == 2.5
    assert largest(tilegrad.tensor(2.5, device=device), dim=0).item() == 2.5


def test_nan_and_infinities(device):
    rows = [[math.nan, 1, 2], [math.inf, 1, 2], [math.inf, -math.inf, 0], [-math.inf, 3, 4]]
    x, y = tilegrad.tensor(rows, device=device), torch.tensor(rows)
    np.testing.assert_array_equal(total(x, 1).cpu().numpy(), y.sum(1).numpy())
    np.testing.assert_array_equal(largest(x, 1).cpu().numpy(), y.amax(1).numpy())


@pytest.mark.skipif(why_plain() is not None, reason="calls are plain")
def test_a_known_call_with_scalars_is_a_straight_one(monkeypatch):
    x = tilegrad.rand(3, 4)
    want = p_norm(x, dim=1, p=3.0)
    monkeypatch.setattr(type(p_norm.subject.checking.__self__), "other", None)
    assert tilegrad.equal(p_norm(x, dim=1, p=3.0), want)
    assert not tilegrad.equal(p_norm(x, dim=1, p=2.0), want)
    with pytest.raises(TypeError):  # the long way
        p_norm(x, dim=1, p=3)


def test_out():
    x = tilegrad.rand(3, 5)
    out, var = tilegrad.empty(3), tilegrad.empty(5, 3)[2]
    assert mean_var(x, 1, out=(out, var))[0] is out
    assert tilegrad.equal(out, mean_var(x, 1)[0]) and tilegrad.equal(var, mean_var(x, 1)[1])
    wide = tilegrad.empty(3, dtype=tilegrad.float64)
    assert tilegrad.equal(total(x, 1, out=wide), total(x, 1).to(tilegrad.float64))
    with pytest.raises(TypeError, match=r"mean_var\(\): argument 'out' must be tuple of 2 Tensors"):
        mean_var(x, out=out)
    with pytest.raises(RuntimeError, match="don't support automatic differentiation"):
        total(x.requires_grad_(), 1, out=out)


def test_sources_are_shown():
    assert "return a + b" in total.source and total.__doc__ == "The sum."
    assert "def start_1" in mean_var.source and "def finish_1" in mean_var.source
    assert total.derivative("x") == "# d total / d x = 1\n"
    assert "x + x" in norm2.derivative("x") or "T(2) * x" in norm2.derivative("x")
    assert "d function / d s" in norm2.derivative("x")
    assert "count" in mean_var.derivative("x")
    with pytest.raises(TypeError, match="longest: no gradient can be derived"):
        longest.derivative("x")
    with pytest.raises(TypeError, match="derivative of one of"):
        total.derivative("y")
    assert pickle.loads(pickle.dumps(mean_var)) is mean_var


def one(a):
    return a


def three(a, b, c):
    return a + b + c


def named_dim(x, dim):
    return x * dim


def scaled(x, p=1.0):
    return x * p


def otherwise(s, p=2.0):
    return s / p


def texts(x, p="a"):
    return x


WRONG: dict[str, tuple[str, dict[str, Any], Any]] = {
    "one argument": ("takes 2 numbers", {"identity": 0.0}, one),
    "three arguments": ("got 3 arguments", {"identity": 0.0}, three),
    "too few accumulators": ("takes 4 numbers", {"identity": (0.0, 0.0)}, lambda a, b: a + b),
    "a text": ("identity must be a number", {"identity": "0"}, lambda a, b: a + b),
    "NaN": ("identity must be a number", {"identity": math.nan}, lambda a, b: a + b),
    "no number": ("identity must be a number", {"identity": ()}, lambda a, b: a + b),
    "each missing": ("each= must say", {"identity": (0, 0)}, lambda a, b, c, d: (a + c, b + d)),
    "each of two": (
        "returns a number per accumulator, 1",
        {"identity": 0, "each": lambda x: (x, x)},
        one,
    ),
    "last of two": ("last takes the 1 accumulator", {"identity": 0, "last": lambda a, b: a}, one),
    "defaults differ": (
        "agree on the default of p",
        {"identity": 0, "each": scaled, "last": otherwise},
        one,
    ),
    "dim": ("dim is an argument of every reduction", {"identity": 0, "each": named_dim}, one),
    "a default": ("default of a scalar is a number", {"identity": 0, "each": texts}, one),
    "not a function": ("each must be a function of numbers", {"identity": 0, "each": 3}, one),
    "grad reads more": ("the gradient of x may read", {"identity": 0, "grad": lambda z: z}, one),
    "grad of what": ("grad= is for the operands", {"identity": 0, "grad": {"y": one}}, one),
    "grad of whom": (
        "grad= must name its operand",
        {"identity": 0, "each": lambda x, y: x, "grad": one},
        one,
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_functions_that_do_not_fit_each_other(name):
    words, arguments, combine = WRONG[name]
    combine = (lambda a, b: a + b) if combine is one and name != "one argument" else combine
    with pytest.raises(TypeError, match=words.replace("(", r"\(")):
        tilegrad.reduction(**arguments)(combine)


def test_wrong_calls():
    with pytest.raises(TypeError, match="identity"):
        tilegrad.reduction(one)  # type: ignore[call-overload]
    plus = tilegrad.reduction(lambda a, b: a + b, identity=0)
    assert plus(tilegrad.arange(4)).item() == 6
    with pytest.raises(ValueError, match="promotion must be one of"):
        tilegrad.reduction(identity=0, promotion="up")(lambda a, b: a + b)
    with pytest.raises(FormulaError, match=r"pass the element as an argument of its own"):
        tilegrad.reduction(identity=0)(wrong_combine)
    x = tilegrad.ones(2, 3)
    with pytest.raises(IndexError, match="Dimension out of range"):
        total(x, 2)
    with pytest.raises(TypeError, match="one operand at least must be a tensor"):
        total(1.0)
    with pytest.raises(TypeError, match="p_norm: the scalar p must be a number"):
        p_norm(x, p=x)
    with pytest.raises(TypeError, match="operands must be tensors or numbers"):
        dot(x, "a")
    with pytest.raises(RuntimeError, match="dot: sizes must be equal or 1"):
        dot(x, tilegrad.ones(2))


def wrong_combine(a, b):
    return a + b[0]


@pytest.mark.parametrize("name", ["norm2", "mean_var", "many"])
def test_checks_pass_and_say_what_they_looked_at(name, capsys):
    globals()[name].check(domain=(0.2, 2.7))
    said = capsys.readouterr().out
    for what in (
        "identity, commutative",
        "empty",
        "a prime",
        "transposed",
        "special values",
        "the same bits",
    ):
        assert what in said
    assert ("gradients of second order" in said) == (name != "many")


def test_checks_of_several_operands_pass():
    dot.check()


FAULTS: dict[str, tuple[str, dict[str, Any], Any]] = {
    "identity": (r"the identity 1 changes .* to ", {"identity": 1.0}, lambda a, b: a + b),
    "commutative": (r"is not commutative: of .* and ", {"identity": 0.0}, lambda a, b: a - b),
    "associative": (
        r"is not associative: of ",
        {"identity": 0.0},
        lambda a, b: a + b + a * a * b * b,
    ),
    "order of NaN": (
        r"depends on the order of what is not finite",
        {"identity": -math.inf},
        lambda a, b: a if a > b else b,
    ),
    "gradient": (
        r"gradients of first order",
        {"identity": 0.0, "grad": lambda x, grad: 2 * grad},
        lambda a, b: a + b,
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_checks_fail_where_a_law_does_not_hold(name):
    words, arguments, combine = FAULTS[name]
    with pytest.raises(CheckError, match=words):
        tilegrad.reduction(**arguments)(combine).check()


def test_checks_fail_where_a_kernel_is_wrong(monkeypatch):
    made = tilegrad.reduction(identity=0.0, each=lambda x: x * 3)(lambda a, b: a + b)
    made(tilegrad.ones(1, dtype=tilegrad.float64))  # compiled as it should be
    lift = made.__globals__["work"].parts.contributions[0]
    monkeypatch.setattr(lift, "function", lambda x: x * 3 + 1e-3)
    with pytest.raises(
        CheckError, match=r"special values, cpu, float64: of 3 elements .* it gives"
    ):
        made.check()


def test_an_edited_reduction_is_compiled_again_and_an_unchanged_one_loaded(tmp_path: Path):
    """In a new process an unchanged function needs no compiler; an edited one gives its new values."""
    program = """
        import sys
        import tilegrad

        def lifted(x):
            return {body}

        @tilegrad.reduction(identity=0.0, each=lifted, last=lambda s: s / 2)
        def bump(a, b):
            return a + b

        x = tilegrad.arange(4.0).requires_grad_()
        y = bump(x)
        y.backward()
        print(y.item(), x.grad.tolist(), "numba" in sys.modules)
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

    assert run("x * x") == "7.0 [0.0, 1.0, 2.0, 3.0] True"
    assert run("x * x") == "7.0 [0.0, 1.0, 2.0, 3.0] False"
    assert run("x * x * 2") == "14.0 [0.0, 2.0, 4.0, 6.0] True"


PROMPT = """
import tilegrad

@tilegrad.reduction(identity=(0.0, 0.0), each=lambda x: (x, x * x), last=lambda s, q: (s, sqrt(q)))
def both(s, q, s_, q_):
    return s + s_, q + q_

x = tilegrad.tensor([3.0, 4.0], requires_grad=True)
s, q = both(x)
(s + q).backward()
print(s.item(), q.item(), x.grad.tolist())
"""


def test_at_a_prompt():
    """Without source to read: the functions are followed through their ways."""
    done = subprocess.run(
        [sys.executable, "-c", PROMPT], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    s, q, grad = done.stdout.split(" ", 2)
    assert (s, q) == ("7.0", "5.0")
    np.testing.assert_allclose(eval(grad), [1.6, 1.8], rtol=1e-6)


def test_on_the_gpu_bits_repeat():
    assert cuda.is_available()
    x = tilegrad.rand(3, 1500, device="cuda")
    for function in (total, mean_var, ends):
        for first, again in pairs(function(x, 1), function(x, 1)):
            assert tilegrad.equal(first, again)
    np.testing.assert_allclose(mean_var(x, 1)[1].cpu().numpy(), x.cpu().numpy().var(1), rtol=1e-5)
