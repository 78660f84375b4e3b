"""``torch.func``: derivatives of functions as functions, in step with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.autograd.trees import taken_apart

BOTH = (tilegrad, torch)
X, Y = np.linspace(0.5, 1.5, 6).reshape(2, 3), np.linspace(-1, 1, 6).reshape(2, 3)


def _cube(x: Any) -> Any:
    return (x**3).sum()


def _both(x: Any, y: Any) -> Any:
    return (x * y.exp() + x * x * y).sum()


def _wide(x: Any) -> Any:
    return {"a": x.sin(), "b": (x * x).sum(0)}


CALLS: dict[str, Any] = {
    "grad": lambda f, x, y, t: f.grad(_cube)(x),
    "grad of grad": lambda f, x, y, t: f.grad(lambda a: f.grad(_cube)(a).sin().sum())(x),
    "third": lambda f, x, y, t: f.grad(lambda a: f.grad(lambda b: f.grad(_cube)(b).sum())(a).sum())(x),
    "argnums": lambda f, x, y, t: f.grad(_both, (0, 1))(x, y),
    "last": lambda f, x, y, t: f.grad(_both, -1)(x, y),
    "aux": lambda f, x, y, t: f.grad(lambda a: (_cube(a), a * 2), has_aux=True)(x),
    "value": lambda f, x, y, t: f.grad_and_value(lambda a: (_cube(a), a), has_aux=True)(x),
    "tree": lambda f, x, y, t: f.grad(lambda p: _both(p["x"], p["y"][0]))({"x": x, "y": [y]}),
    "unused": lambda f, x, y, t: f.grad(lambda a, b: _cube(a), (0, 1))(x, y),
    "constant": lambda f, x, y, t: f.grad(lambda a: t.tensor(2.0, dtype=t.float64))(x),
    "vjp": lambda f, x, y, t: f.vjp(_wide, x)[1]({"a": y, "b": y[0]}),
    "vjp value": lambda f, x, y, t: f.vjp(_wide, x)[0],
    "vjp aux": lambda f, x, y, t: f.vjp(lambda a: (a * 2, a), x, has_aux=True)[::2],
    "jvp": lambda f, x, y, t: f.jvp(_wide, (x,), (y,)),
    "jvp of two": lambda f, x, y, t: f.jvp(lambda a, b: a * b, (x, y), (y, x)),
    "jvp unused": lambda f, x, y, t: f.jvp(lambda a, b: a * 2, (x, y), (y, x)),
    "grad of jvp": lambda f, x, y, t: f.grad(lambda a: f.jvp(_cube, (a,), (y,))[1])(x),
    "jacrev": lambda f, x, y, t: f.jacrev(_wide)(x),
    "jacfwd": lambda f, x, y, t: f.jacfwd(_wide)(x),
    "jacrev of two": lambda f, x, y, t: f.jacrev(lambda a, b: (a * b, a.sum()), (0, 1))(x, y),
    "jacfwd of two": lambda f, x, y, t: f.jacfwd(lambda a, b: (a * b, a.sum()), (0, 1))(x, y),
    "hessian": lambda f, x, y, t: f.hessian(_cube)(x),
    "hessian of two": lambda f, x, y, t: f.hessian(_both, (0, 1))(x, y),
    "linearize": lambda f, x, y, t: f.linearize(lambda a: a.sin(), x)[1](y),
    "per sample": lambda f, x, y, t: f.vmap(f.grad(lambda a, b: (a * b).sum()), (0, None))(x, y[0]),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", CALLS)
def test_as_pytorch(name: str) -> None:
    found = [taken_apart(CALLS[name](t.func, t.tensor(X), t.tensor(Y), t)) for t in BOTH]
    (ours, form), (theirs, other) = found
    assert form == other
    for a, b in zip(ours, theirs, strict=True):
        assert tuple(a.shape) == tuple(b.shape) and a.requires_grad == b.requires_grad
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-9, atol=1e-12)


def test_outside_variables_and_modes() -> None:
    """A derivative may be differentiated by what the function reads; ``no_grad`` around it records nothing."""
    for t in BOTH:
        w = t.tensor(Y, requires_grad=True)
        slope = t.func.grad(lambda a, w=w: (a * a * w).sum())(t.tensor(X))
        slope.sum().backward()
        np.testing.assert_allclose(w.grad.numpy(), 2 * X)
        with t.no_grad():
            inside = t.func.grad(lambda a, w=w: (a * a * w).sum())(t.tensor(X))
        assert not inside.requires_grad
        np.testing.assert_allclose(inside.numpy(), 2 * X * Y)


WRONG: dict[str, Any] = {
    "no scalar": lambda f, x: f.grad(lambda a: a * 2)(x),
    "no tensor": lambda f, x: f.grad(lambda a: 3.0)(x),
    "argnum": lambda f, x: f.grad(_cube, 2)(x),
    "aux": lambda f, x: f.grad(_cube, has_aux=True)(x),
    "tangents": lambda f, x: f.jvp(_cube, (x,), (x, x)),
    "primals": lambda f, x: f.jvp(_cube, x, (x,)),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_refused(name: str) -> None:
    for t in BOTH:
        with pytest.raises((RuntimeError, TypeError, ValueError)):
            WRONG[name](t.func, t.tensor(X))


@pytest.mark.filterwarnings("ignore")
def test_an_ensemble() -> None:
    found = []
    for t in BOTH:
        models = [t.nn.Linear(3, 2).double() for _ in range(2)]
        for k, m in enumerate(models):
            for p in m.parameters():
                p.data.copy_(t.arange(p.numel(), dtype=t.float64).reshape(p.shape) + k)
        params, buffers = t.func.stack_module_state(models)
        assert all(p.requires_grad for p in params.values()) and not buffers

        def call(p: Any, b: Any, x: Any, t: Any = t, m: Any = models[0]) -> Any:
            return t.func.functional_call(m, (p, b), (x,))

        out = t.func.vmap(call, (0, 0, None))(params, buffers, t.tensor(X))
        found.append(out.detach().numpy())
    np.testing.assert_allclose(*found)
