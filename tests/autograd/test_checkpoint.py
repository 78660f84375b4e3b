"""Checkpoints: the same values and gradients, computed twice."""

from __future__ import annotations

from typing import Any

import pytest

import tilegrad
from tilegrad import nn
from tilegrad.autograd.checkpoint import CheckpointError, checkpoint, checkpoint_sequential


def _net() -> Any:
    tilegrad.manual_seed(3)
    return nn.Sequential(
        nn.Linear(3, 8), nn.Tanh(), nn.Dropout(0.5), nn.Linear(8, 4), nn.ReLU(), nn.Linear(4, 2)
    )


def _gradients(run: Any, net: Any, x: Any) -> list[Any]:
    for p in [*net.parameters(), x]:
        p.grad = None
    tilegrad.manual_seed(7)
    out = run(net, x)
    after = tilegrad.rand(3).tolist()
    out.square().sum().backward()
    return [out.tolist(), after, *(p.grad.tolist() for p in [*net.parameters(), x])]


WAYS: dict[str, Any] = {
    "whole": lambda net, x: checkpoint(net, x),
    "reentrant": lambda net, x: checkpoint(net, x, use_reentrant=True),
    "parts": lambda net, x: checkpoint_sequential(net, 3, x),
    "one part": lambda net, x: checkpoint_sequential(net, 1, x),
    "inside": lambda net, x: checkpoint(lambda y: checkpoint(net, y) * 1.0, x),
}


@pytest.mark.parametrize("way", WAYS)
def test_as_without(way: str) -> None:
    """Dropout and all: the random state of the second call is that of the first."""
    net, x = _net(), tilegrad.randn(5, 3).requires_grad_()
    assert _gradients(WAYS[way], net, x) == _gradients(lambda net, x: net(x), net, x)


def test_what_is_kept_is_the_arguments() -> None:
    net, x = _net(), tilegrad.randn(5, 3).requires_grad_()
    calls = []

    def seen(y: Any) -> Any:
        calls.append(tilegrad.is_grad_enabled())
        return net(y)

    out = checkpoint(seen, x)
    assert out.grad_fn.saved[0] is not None and len(out.grad_fn.saved) == 1 + len(
        list(net.parameters())
    )
    out.sum().backward()
    assert len(calls) == 2
    with tilegrad.no_grad():
        assert checkpoint(seen, x).grad_fn is None and len(calls) == 3


def test_structures_and_second_derivatives() -> None:
    x = tilegrad.tensor([0.5, 2.0], requires_grad=True)
    w = tilegrad.tensor([3.0, 4.0], requires_grad=True)

    def f(a: Any, scale: float, *, power: int) -> Any:
        return [scale * (a * w) ** power, a.detach(), "text"]

    first, second, text = checkpoint(f, x, 2.0, power=3)
    assert text == "text" and second.grad_fn is None
    (gx, gw) = tilegrad.autograd.grad(first.sum(), (x, w), create_graph=True)
    (gxx,) = tilegrad.autograd.grad(gx.sum(), x)
    assert gxx.tolist() == pytest.approx((12 * x * w**3).tolist())
    assert gw.tolist() == pytest.approx((6 * x**3 * w**2).tolist())


def test_what_differs_and_what_is_not_seen() -> None:
    x = tilegrad.ones(2, requires_grad=True)
    middle = x * 2
    with pytest.raises(RuntimeError, match="neither an argument nor a leaf"):
        checkpoint(lambda y: y * middle, x)
    assert checkpoint(lambda y, m: y * m, x, middle).tolist() == [2, 2]
    times = []

    def grows(y: Any) -> Any:
        times.append(1)
        return y[: len(times)] * 2

    with pytest.raises(CheckpointError, match="different metadata"):
        checkpoint(grows, x).sum().backward()
    assert checkpoint(lambda: tilegrad.ones(2)).tolist() == [1, 1]
    with pytest.raises(RuntimeError, match="determinism_check"):
        checkpoint(grows, x, determinism_check="strict")
    with pytest.raises(TypeError, match="other"):
        checkpoint_sequential([grows], 1, x, other=1)


def test_without_the_random_state_it_drops_anew() -> None:
    x = tilegrad.ones(1000, requires_grad=True)
    out = checkpoint(nn.Dropout(0.5), x, preserve_rng_state=False)
    out.sum().backward()
    assert ((out == 0) != (x.grad == 0)).any()
