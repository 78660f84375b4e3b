"""Derivatives that are zero by the formula are zeros, as PyTorch's are, and not "not used in the graph"."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

CASES = {
    "avg_pool1d": ((1, 2, 4), lambda t, x: t.nn.functional.avg_pool1d(x, 2)),
    "avg_pool2d": ((1, 1, 4, 4), lambda t, x: t.nn.functional.avg_pool2d(x, 2)),
    "max_pool1d": ((1, 2, 4), lambda t, x: t.nn.functional.max_pool1d(x, 2)),
    "max_pool2d": ((1, 1, 4, 4), lambda t, x: t.nn.functional.max_pool2d(x, 2)),
    "adaptive_avg_pool2d": ((1, 1, 4, 4), lambda t, x: t.nn.functional.adaptive_avg_pool2d(x, 2)),
    "adaptive_max_pool2d": ((1, 1, 4, 4), lambda t, x: t.nn.functional.adaptive_max_pool2d(x, 2)),
    "nll_loss": ((2, 3), lambda t, x: t.nn.functional.nll_loss(x, t.tensor([1, 0]))),
    "pow1": ((3,), lambda t, x: x.pow(1)),
    "pow2": ((3,), lambda t, x: x**2),
    "pow3": ((3,), lambda t, x: x**3),
    "square": ((3,), lambda t, x: t.square(x)),
    "polynomial": ((3,), lambda t, x: 2 * x**3 - x**2 + x.pow(1) - 5),
    "chained": ((1, 4), lambda t, x: t.nn.functional.avg_pool1d(x.exp()[None], 2)),
    "var of one": ((1,), lambda t, x: x.var()),  # NaN, a constant
    "var of one along": ((1,), lambda t, x: x.var(dim=0)),
    # no zeros of these: what PyTorch's gradient makes a mask of is no part of its graph
    "maximum": ((3,), lambda t, x: t.maximum(x, t.tensor([0.5, 1.0, 2.0], dtype=t.float32))),
    "minimum": ((3,), lambda t, x: t.minimum(x, t.tensor(0.5, dtype=t.float64))),
    "maximum of itself": ((3,), lambda t, x: t.maximum(x, x * x)),
    "clamp": ((3,), lambda t, x: x.clamp(0, 1)),
    "clamp min": ((3,), lambda t, x: x.clamp(min=0)),
    "clamp max": ((3,), lambda t, x: x.clamp_max(0)),
    "clamp in place": ((3,), lambda t, x: (x * 1).clamp_(0, 1)),
    "clamp by tensors": ((3,), lambda t, x: t.clamp(x, x - 1, x * x)),
    "clamp by a tensor": ((3,), lambda t, x: t.clamp(x, min=x * x)),
    "xlogy": ((3,), lambda t, x: t.xlogy(x, t.tensor(3))),
    "xlogy of both": ((2,), lambda t, x: t.xlogy(x + 2, x + 2)),
    "relu": ((3,), lambda t, x: t.relu(x)),
    "product": ((3,), lambda t, x: x * 2),  # no zero of this: PyTorch finds no graph
}


def derivatives(t: Any, call: Any, shape: tuple[int, ...]) -> list[Any]:
    """Derivatives of the sum, one after the other, until there is no graph any more."""
    x = t.tensor(np.linspace(-1, 2, int(np.prod(shape))).reshape(shape).tolist(), dtype=t.float64)
    x.requires_grad_()
    y = call(t, x)
    found: list[Any] = []
    (now,) = t.autograd.grad(y, x, t.ones_like(y), create_graph=True)
    for _ in range(5):
        found.append(now.tolist())
        if not now.requires_grad:
            return [*found, "constant"]
        (now,) = t.autograd.grad(now.sum(), x, create_graph=True, allow_unused=True)
        if now is None:
            return [*found, "not used"]
    return found


@pytest.mark.filterwarnings("ignore:.*degrees of freedom")
@pytest.mark.parametrize("name", CASES)
def test_derivatives_of_every_order(name: str) -> None:
    """Values, and the order from which on nothing depends on the input."""
    shape, call = CASES[name]
    have, want = (derivatives(t, call, shape) for t in (tilegrad, torch))
    assert len(have) == len(want)
    for ours, theirs in zip(have, want, strict=True):
        if isinstance(theirs, str):
            assert ours == theirs
        else:
            np.testing.assert_allclose(ours, theirs, rtol=1e-12)


def test_the_cotangent_keeps_its_gradient() -> None:
    """A tied gradient is still the linear function of the cotangent that it was."""
    x = tilegrad.arange(4.0).reshape(1, 1, 4).requires_grad_()
    y = tilegrad.nn.functional.avg_pool1d(x, 2)
    seed = tilegrad.ones_like(y).requires_grad_()
    (first,) = tilegrad.autograd.grad(y, x, seed, create_graph=True)
    second, back = tilegrad.autograd.grad(first, [x, seed], 2 * tilegrad.ones_like(first))
    assert second.tolist() == [[[0, 0, 0, 0]]] and back.tolist() == [[[2, 2]]]


@pytest.mark.parametrize("name", ["sinc", "lgamma", "digamma", "erfinv"])
def test_the_fourth_derivative(name: str) -> None:
    """Of functions that are polynomials near some points, as PyTorch's."""
    found = []
    for t in (tilegrad, torch):
        x = t.tensor([0.05, 0.13, 0.3, 0.7, 0.9], dtype=t.float64, requires_grad=True)
        y = getattr(t, name)(x)
        for _ in range(4):
            (y,) = t.autograd.grad(y.sum(), x, create_graph=True)
        found.append(y.detach().numpy())
    np.testing.assert_allclose(*found, rtol=1e-9)
