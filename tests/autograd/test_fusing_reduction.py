"""Fused functions that end in a reduction: one kernel, whose values and gradients are those of the chain."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import tilegrad
from tilegrad.autograd.gradcheck import gradcheck, gradgradcheck
from tilegrad.autograd.symbols import FuseError
from tilegrad.engine import dispatch
from tilegrad.engine.interpreter import why_plain

WEIGHT = tilegrad.tensor(0.5, requires_grad=True)


@tilegrad.fuse
def squared(x, y, dim=None, keepdim=False):
    return ((x - y) ** 2 * 0.5).mean(dim, keepdim)


@tilegrad.fuse
def summed(x, y, dim=-1):
    return (x.exp() * y * WEIGHT).sum(dim)


@tilegrad.fuse
def largest(x, y, dim=0):
    return tilegrad.where(x > 0, x * y, -x).amax(dim)


@tilegrad.fuse
def smallest(x, y, dim=(0, 1)):
    return (x.sin() + y).amin(dim, keepdim=True)


@pytest.mark.parametrize("name", ["squared", "summed", "largest", "smallest"])
def test_values_and_gradients_are_those_of_the_chain(name, device, rng):
    function = globals()[name]
    x = tilegrad.tensor(
        rng.standard_normal((6, 35)).astype("float32"), device=device, requires_grad=True
    )
    y = tilegrad.tensor(
        rng.standard_normal((6, 1)).astype("float32"), device=device, requires_grad=True
    )
    found = []
    for f in (function, function.__wrapped__):
        x.grad = y.grad = WEIGHT.grad = None
        out = f(x, y)
        out.sum().backward()
        found.append([out.detach(), x.grad, y.grad, *([WEIGHT.grad] if name == "summed" else [])])
    for have, want in zip(*found, strict=True):
        assert have.dtype is want.dtype and have.shape == want.shape
        np.testing.assert_allclose(have.cpu().numpy(), want.cpu().numpy(), 1e-5, 1e-6)


def test_no_element_is_written():
    seen: list[str] = []

    def see(op, arrays, params, metadata):
        seen.append(op.name)
        return op(*arrays, params=params, **metadata)

    x = tilegrad.rand(50, 7)
    with dispatch.mode(see):
        summed.__wrapped__(x, x)
        largest(x, x)
    assert seen[-1] == "largest" and len(seen) == 5
    assert "# combined: amax over dim=0" in largest.source
    assert squared(x, x[0], 0, True).shape == (1, 7) and squared(x, x).shape == ()
    assert largest(x, x, dim=(0, -1)).shape == ()


def test_second_order_and_empty_operands():
    x = tilegrad.linspace(0.3, 2.0, 6, dtype=tilegrad.float64).view(2, 3).requires_grad_()
    y = tilegrad.full((3,), 0.7, dtype=tilegrad.float64).requires_grad_()
    assert gradcheck(squared, (x, y)) and gradgradcheck(squared, (x, y))
    none = tilegrad.ones(0, 3)
    assert squared(none, none, 0).isnan().all() and summed(none, none, 0).tolist() == [0.0] * 3
    with pytest.raises(IndexError, match="largest: Expected reduction dim 0 to have non-zero size"):
        largest(none, none)
    with pytest.raises(IndexError, match="Dimension out of range"):
        squared(x, y, 5)


def test_dtypes_that_one_kernel_cannot_total():
    x = tilegrad.ones(3)
    for other in (tilegrad.ones(3, dtype=tilegrad.float64), tilegrad.arange(3)):
        with pytest.raises(FuseError, match="of one floating dtype; got .*: reduce outside"):
            summed(x, other)


def test_its_checks_and_benchmark(monkeypatch, capsys):
    from tilegrad.engine import timing

    monkeypatch.setattr(timing, "SAMPLE", 0.0)
    squared.check(domain=(0.5, 2.0))
    rows = squared.bench((8, 9), rounds=2, libraries=("op by op", "torch"))
    assert {r.library for r in rows} == {"tilegrad", "op by op", "torch"} and rows[
        0
    ].bandwidth is None
    assert (
        all(r.error < 1e-5 for r in rows) and "gradients of second order" in capsys.readouterr().out
    )


def calls_of(run):
    """The names of the Python functions that a call enters."""
    found: list[str] = []

    def count(frame, event, argument):
        if event == "call":
            found.append(frame.f_code.co_name)

    run()
    found.clear()
    sys.setprofile(count)
    run()
    sys.setprofile(None)
    return found[1:]


@tilegrad.fuse
def dotted(x, y, dim=-1):
    return (x * y).sum(dim)


@tilegrad.fuse
def halved(x, y):
    return x * y, y - x


@pytest.mark.skipif(why_plain() is not None, reason="calls are plain")
def test_a_known_call_is_a_straight_one():
    """Whatever its layouts, other arguments, and gradients: its plan is looked up, and run."""
    x, y, row = tilegrad.rand(3, 4), tilegrad.rand(3, 4), tilegrad.rand(1, 4)
    for run in (lambda: dotted(x, y), lambda: dotted(x, y, 0), lambda: dotted(row, y, dim=(0, 1))):
        assert calls_of(run)[-2:] == ["dotted", "way"] and "other" not in calls_of(run)
    assert dotted(x, y, 0).tolist() == pytest.approx((x * y).sum(0).tolist())
    assert dotted(row, y, (0, 1)).item() == pytest.approx((row * y).sum().item())
    assert "other" not in calls_of(lambda: halved(x, y))
    leaf = x.clone().requires_grad_()
    assert "other" not in calls_of(lambda: dotted(leaf, y))
    dotted(leaf, y).sum().backward()
    assert tilegrad.equal(leaf.grad, y)
    with pytest.raises(TypeError, match="dotted: arguments are tensors"):
        dotted(x, y, dim=[{}])
    assert dotted(x, y, 1).shape == (3,)
    with pytest.raises(TypeError, match="must be an int; got bool"):
        dotted(x, y, True)  # another argument than 1
    assert tilegrad.equal(squared(x, y, 1), squared.__wrapped__(x, y, 1))
    assert squared(x, y, 1, True).shape == (3, 1)
    assert squared(x[:, :0], y[:, :0], 1).isnan().all()
