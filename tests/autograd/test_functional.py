"""Products with Jacobians and Hessians, in step with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

BOTH = (tilegrad, torch)
FUNCTIONS: dict[str, Any] = {
    "one": (lambda t: lambda x: (x * x).tanh().sum(1), 1),
    "number": (lambda t: lambda x: (x * x).tanh().sum(), 1),
    "two": (lambda t: lambda x, y: ((x * y).sin(), (x.exp() * 2).sum()), 2),
    "unused": (lambda t: lambda x, y: (x * x).sum(), 2),
    "matrix": (lambda t: lambda x, y: x @ y.mT, 2),
}
NUMBERS: dict[str, Any] = {
    "one": (lambda t: lambda x: (x**3).sum(), 1),
    "two": (lambda t: lambda x, y: (x * y.exp() + x * x * y).sum(), 2),
    "linear": (lambda t: lambda x: x.sum(), 1),
    "unused": (lambda t: lambda x, y: (x**3).sum(), 2),
}


def _flat(value: Any) -> list[Any]:
    if isinstance(value, (tuple, list)):
        return [leaf for v in value for leaf in _flat(v)]
    return [value]


def _same(ours: Any, other: Any) -> None:
    def shape(value: Any) -> Any:
        return [shape(v) for v in value] if isinstance(value, (tuple, list)) else tuple(value.shape)

    assert shape(ours) == shape(other)
    for mine, theirs in zip(_flat(ours), _flat(other), strict=True):
        assert mine.requires_grad == theirs.requires_grad
        np.testing.assert_allclose(
            mine.detach().numpy(), theirs.detach().numpy(), rtol=1e-9, atol=1e-12
        )


def _given(
    rng: np.random.Generator, count: int, shape: tuple[int, ...] = (2, 3)
) -> list[np.ndarray]:
    return [rng.standard_normal(shape) for _ in range(count)]


def _read(t: Any, arrays: list[np.ndarray], grad: bool = False) -> Any:
    made = [(t.from_numpy(a.copy())).requires_grad_(grad) for a in arrays]
    return made[0] if len(made) == 1 else tuple(made)


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_jacobian_and_products(name: str, create: bool, rng: np.random.Generator) -> None:
    make, count = FUNCTIONS[name]
    arrays, ways = _given(rng, count), _given(rng, count)
    outs = _flat(make(torch)(*_flat(_read(torch, arrays))))
    starts = [rng.standard_normal(tuple(o.shape)) for o in outs]
    found = []
    for t in BOTH:
        F, x = t.autograd.functional, _read(t, arrays, create)
        v = _read(t, [np.asarray(s) for s in starts])
        found.append([
            F.jacobian(make(t), x, create_graph=create), F.vjp(make(t), x, v, create_graph=create),
            F.jvp(make(t), x, _read(t, ways), create_graph=create),
        ])  # fmt: skip
    _same(*found)


@pytest.mark.parametrize("create", [False, True])
@pytest.mark.parametrize("name", NUMBERS)
def test_hessian_and_products(name: str, create: bool, rng: np.random.Generator) -> None:
    make, count = NUMBERS[name]
    arrays, ways = _given(rng, count), _given(rng, count)
    found = []
    for t in BOTH:
        F, x, v = t.autograd.functional, _read(t, arrays, create), _read(t, ways)
        found.append([
            F.hessian(make(t), x, create_graph=create), F.vhp(make(t), x, v, create_graph=create),
            F.hvp(make(t), x, v, create_graph=create),
        ])  # fmt: skip
    values = [[v.detach() for v in _flat(f)] for f in found]
    _same(*values)


def test_a_jacobian_can_be_differentiated(rng: np.random.Generator) -> None:
    arrays, found = _given(rng, 1), []
    for t in BOTH:
        x = _read(t, arrays, True)
        t.autograd.functional.jacobian(lambda x: x**3, x, create_graph=True).sum().backward()
        found.append(x.grad)
    _same(*found)


@pytest.mark.parametrize(
    ("call", "kind"),
    [
        (lambda t, F: F.vjp(lambda x: x * 2, t.ones(3)), RuntimeError),
        (lambda t, F: F.vjp(lambda x: x * 2, t.ones(3), t.ones(2)), RuntimeError),
        (lambda t, F: F.vjp(lambda x: x * 2, t.ones(3), (t.ones(3), t.ones(3))), RuntimeError),
        (lambda t, F: F.jvp(lambda x: x * 2, t.ones(3)), RuntimeError),
        (lambda t, F: F.jacobian(lambda x: 3, t.ones(3)), TypeError),
        (lambda t, F: F.jacobian(lambda x: x, 3), TypeError),
        (lambda t, F: F.jacobian(lambda x: t.ones(2), t.ones(3), strict=True), RuntimeError),
        (
            lambda t, F: F.jacobian(lambda x, y: x * 2, (t.ones(3), t.ones(1)), strict=True),
            RuntimeError,
        ),
        (lambda t, F: F.hessian(lambda x: x * 2, t.ones(3)), RuntimeError),
        (lambda t, F: F.hessian(lambda x: (x.sum(), x.sum()), t.ones(3)), RuntimeError),
        (lambda t, F: F.hvp(lambda x: x.sum(), t.ones(3), strict=True), RuntimeError),
    ],
)
def test_refusals(call: Any, kind: type) -> None:
    for t in BOTH:
        with pytest.raises(kind):
            call(t, t.autograd.functional)


def test_a_variable_is_a_tensor() -> None:
    for t in BOTH:
        x = t.autograd.Variable(t.ones(2), requires_grad=True)
        assert isinstance(x, t.autograd.Variable) and isinstance(t.ones(1), t.autograd.Variable)
        assert x.requires_grad and not isinstance(3, t.autograd.Variable)
