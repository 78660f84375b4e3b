"""Hooks of saved tensors, in step with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad

BOTH = (tilegrad, torch)


def _net(t: Any, x: Any, w: Any) -> Any:
    y = t.nn.functional.softmax((x @ w).tanh(), 1)
    z = (y * x.exp()).sqrt() * 2
    z.exp_()
    return t.nn.functional.layer_norm(z, (3,)).pow(2).sum() + t.nn.functional.cross_entropy(
        z, t.tensor([0, 2])
    )


def _leaves(t: Any) -> tuple[Any, Any]:
    rng = np.random.default_rng(3)
    x, w = rng.uniform(0.5, 1.5, (2, 3)), rng.uniform(0.5, 1.5, (3, 3))
    return t.tensor(x, requires_grad=True), t.tensor(w, requires_grad=True)


@pytest.mark.parametrize("order", [1, 2])
def test_what_hooks_keep_is_what_derivatives_read(order: int) -> None:
    """Kept as lists of numbers, doubled and halved: gradients of both orders are those without hooks."""
    found = []
    for t in BOTH:
        for hooked in (False, True):
            x, w = _leaves(t)
            hooks = t.autograd.graph.saved_tensors_hooks(
                lambda a: (a.dtype, a.detach().double() * 2), lambda kept: (kept[1] / 2).to(kept[0])
            )
            if hooked:
                with hooks:
                    out = _net(t, x, w)
            else:
                out = _net(t, x, w)
            grads = t.autograd.grad(out, (x, w), create_graph=order == 2)
            if order == 2:
                grads = t.autograd.grad(sum((g * g).sum() for g in grads), (x, w))
            found.append([g.numpy() for g in grads])
    for other in found[1:]:
        for a, b in zip(found[0], other, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-9)


@pytest.mark.parametrize("name", ["exp", "mul", "matmul", "cat", "custom"])
def test_pack_sees_what_pytorchs_saves(name: str) -> None:
    def custom(t: Any) -> Any:
        class Square(t.autograd.Function):
            @staticmethod
            def forward(ctx: Any, x: Any) -> Any:
                ctx.save_for_backward(x, x * 2)
                return x * x

            @staticmethod
            def backward(ctx: Any, g: Any) -> Any:
                x, twice = ctx.saved_tensors
                return g * (x + twice / 2)

        return Square.apply

    # what a program has made; outputs come out of the graph here, in it there
    calls: dict[str, Any] = {
        "exp": lambda t, x, w: x.exp(), "mul": lambda t, x, w: x * x, "matmul": lambda t, x, w: x @ w,
        "cat": lambda t, x, w: t.cat([x, w]), "custom": lambda t, x, w: custom(t)(x),
    }  # fmt: skip
    seen = []
    for t in BOTH:
        x, w = _leaves(t)
        kept: list[Any] = []
        with t.autograd.graph.saved_tensors_hooks(
            lambda a, kept=kept: kept.append(a) or len(kept),
            lambda k, kept=kept: kept[k - 1],
        ):
            out = calls[name](t, x, w)
        out.sum().backward()
        seen.append((sorted(tuple(a.shape) for a in kept), x.grad.numpy()))
    assert seen[0][0] == seen[1][0]
    np.testing.assert_allclose(seen[0][1], seen[1][1], rtol=1e-12)


def test_what_hooks_may_not_do() -> None:
    for t in BOTH:
        graph = t.autograd.graph
        x, _ = _leaves(t)
        with graph.saved_tensors_hooks(lambda a: a, lambda a: 3):
            out = x.exp().sum()
        with pytest.raises(
            TypeError, match="unpack_hook expected to be a Tensor but got result of type"
        ):
            out.backward()
        with (
            pytest.raises(
                RuntimeError, match="A saved tensor pack hook is modifying its input in place"
            ),
            graph.saved_tensors_hooks(lambda a: a.add_(1), lambda a: a),
        ):
            (x * 2).exp()
        with (
            pytest.raises(RuntimeError, match="not here"),
            graph.disable_saved_tensors_hooks("not here"),
            graph.saved_tensors_hooks(lambda a: a, lambda a: a),
        ):
            x.exp()
        with graph.saved_tensors_hooks(lambda a: a, lambda a: a):
            y = x.exp()
        y.add_(1)
        y.sum().backward()  # versions do not count where hooks keep
        assert x.exp().grad_fn is not None


@pytest.mark.parametrize("pinned", [False])
def test_saved_on_the_cpu(pinned: bool, device: str) -> None:
    x = tilegrad.tensor([1.0, 2.0], device=device, requires_grad=True)
    with tilegrad.autograd.graph.save_on_cpu(pin_memory=pinned):
        out = x.exp()
        places = [kept.kept[1].device.type for kept in out.grad_fn.saved]
    assert places == ["cpu"]
    out.sum().backward()
    np.testing.assert_allclose(x.grad.cpu().numpy(), np.exp([1.0, 2.0]), rtol=1e-5)
