"""Calls with factors before the tensors, as PyTorch had them once, against PyTorch's."""

import subprocess
import sys

import pytest
import torch

import tilegrad

CALLS = """
add(x, 2, y)
add(x, 2, 3)
add(3, 2, y)
add(x, n, y)
sub(x, 2, y)
subtract(x, 2, 3)
rsub(x, 2, 3)
addcmul(x, 2, y, y)
addcdiv(x, -0.5, y, y)
addcdiv(x, 2, y, y, out=o)
addmm(2, x, 3, s, y)
addmm(2, x, s, y)
addmm(n, x, n, s, y)
addmm(2, x, 3, s, y, out=o)
addmv(2, w, 3, x, v)
addmv(2, w, x, v)
addr(2, x, 3, w, v)
addr(2, x, w, v)
addbmm(2, x, 3, b, c)
addbmm(2, x, b, c)
baddbmm(2, b, 3, b, c)
baddbmm(2, b, b, c)
x.add(2, y)
x.add_(2, y)
x.sub(0.5, y)
x.sub_(0.5, y)
x.addcmul(2, y, y)
x.addcmul_(2, y, y)
x.addcdiv(2, y, y)
x.addcdiv_(-2, y, y)
x.addmm(2, 3, s, y)
x.addmm_(2, s, y)
w.addmv(2, x, v)
w.addmv_(2, 3, x, v)
x.addr(2, w, v)
x.addr_(2, 3, w, v)
x.addbmm(2, b, c)
x.addbmm_(2, 3, b, c)
b.baddbmm(2, b, c)
z.baddbmm_(2, 3, b, c)
add(x, y, 2)
add(x, y, y)
add(x, "2", y)
add(i, 1.5, i)
x.add(True, y)
x.add(2, y, alpha=3)
x.addcmul(y, y, 2)
x.addcmul(2, y, y, value=3)
x.addcmul(2, y, w)
x.addcmul(2, y)
x.addcmul(2, 2, y, y)
x.addmm(2, 3, 4, s, y)
addmm(2, x, s, y, beta=2)
addmm(2, x, 3, y, y)
""".strip().splitlines()


def _told(m, call):
    x = m.arange(6.0).reshape(2, 3)
    names = {
        "x": x, "y": x + 1, "v": m.arange(3.0) + 1, "w": m.arange(2.0) + 1, "s": m.ones(2, 2), "o": m.empty(2, 3),
        "b": m.ones(2, 2, 3), "c": m.ones(2, 3, 3), "z": m.ones(2, 2, 3), "n": m.tensor(2.0), "i": m.arange(3),
    }  # fmt: skip
    try:
        made = eval(call if "." in call.partition("(")[0] else f"m.{call}", {"m": m, **names})
    except (TypeError, RuntimeError) as error:
        return type(error)
    return made.tolist()


@pytest.mark.filterwarnings("ignore:This overload")
@pytest.mark.parametrize("call", CALLS)
def test_as_in_pytorch(call):
    assert _told(tilegrad, call) == _told(torch, call)


@pytest.mark.filterwarnings("ignore:This overload")
def test_gradients_reach_all_tensors():
    x, y, z = (tilegrad.tensor([float(k), 2.0], requires_grad=True) for k in range(3))
    x.addcmul(3, y, z).sum().backward()
    assert [t.grad.tolist() for t in (x, y, z)] == [[1, 1], [6, 6], [3, 6]]


_WARNS = """
import sys, warnings
m = __import__(sys.argv[1])
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    x = m.ones(2)
    for _ in range(2):
        x.add_(2, x)
        m.addcmul(x, 2, x, x)
print([(w.category.__name__, str(w.message).partition(" (Trig")[0], w.lineno) for w in caught])
"""


def test_one_warning_says_how_to_write_it():
    told = [
        subprocess.run(
            [sys.executable, "-c", _WARNS, m], capture_output=True, text=True, check=True
        ).stdout
        for m in ("tilegrad", "torch")
    ]
    assert told[0] == told[1]
    assert "add_(Number alpha, Tensor other)" in told[0]
