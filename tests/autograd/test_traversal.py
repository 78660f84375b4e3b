"""How the gradient of a leaf lies in memory."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad


def _leaves(t: Any) -> list[Any]:
    """Dense in some order of dimensions, with gaps, with overlaps, empty."""
    dense = [t.arange(12.0).reshape(3, 4), t.arange(12.0).reshape(4, 3).t()]
    dense += [t.arange(24.0).reshape(2, 3, 4).permute(2, 0, 1), t.zeros(3, 0, 2)]
    return [
        x.detach()
        for x in (*dense, t.arange(24.0).reshape(3, 8)[:, ::2], t.arange(3.0)[:, None].expand(3, 4))
    ]


def _uses(t: Any) -> list[Any]:
    def turned(x: Any) -> Any:
        other = x.transpose(0, -1)
        return (other * t.arange(float(x.numel())).reshape(other.shape)).sum()

    linear = t.nn.functional.linear
    return [
        lambda x: x.sum(), lambda x: (x * 2).sum(), turned,
        lambda x: x.transpose(0, 1).contiguous().pow(2).sum(),
        lambda x: linear(t.ones(5, x.shape[-2]), (x[0] if x.ndim > 2 else x).t()).sum(),
    ]  # fmt: skip


@pytest.mark.parametrize("create", [False, True])
def test_a_gradient_has_the_strides_of_its_leaf(create: bool) -> None:
    """Of a dense one; else it is row-major. Also what is accumulated, and what the user gave."""
    for leaf, other in zip(_leaves(tilegrad), _leaves(torch), strict=True):
        for use, same in zip(_uses(tilegrad), _uses(torch), strict=True):
            leaf.requires_grad_(), other.requires_grad_()
            leaf.grad = other.grad = None
            for _ in range(2):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    use(leaf).backward(create_graph=create)
                    same(other).backward(create_graph=create)
                assert leaf.grad.stride() == tuple(other.grad.stride())
                assert leaf.grad.tolist() == other.grad.tolist()


def test_a_given_gradient_stays_the_tensor_it_is() -> None:
    leaf = tilegrad.ones(3, 4, requires_grad=True)
    given = leaf.grad = tilegrad.zeros(4, 3).t()
    (leaf * 2).sum().backward()
    assert leaf.grad is given and given.stride() == (1, 3) and given.tolist() == [[2.0] * 4] * 3


@pytest.mark.parametrize(
    "name, options",
    [
        ("SGD", {"momentum": 0.9}), ("Adam", {"amsgrad": True}), ("AdamW", {}), ("RMSprop", {}),
        ("Adagrad", {}), ("Adadelta", {}), ("Adamax", {}), ("NAdam", {}), ("RAdam", {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("foreach", [False, True])
def test_optimizers_take_leaves_of_any_strides(
    name: str, options: dict[str, Any], foreach: bool
) -> None:
    """Leaves and gradients of unlike strides, all in one group, against PyTorch."""
    results = []
    for t in (tilegrad, torch):
        leaves = [x.mul(0.1).add(1.0) for x in _leaves(t)[:3]]
        leaves += [(t.arange(24.0) * 0.1 + 1).reshape(3, 8)[:, ::2].detach()]
        leaves = [x if k else x.t().contiguous().t() for k, x in enumerate(leaves)]
        for leaf in leaves:
            leaf.requires_grad_()
        optimizer = getattr(t.optim, name)(leaves, lr=0.01, foreach=foreach, **options)
        for step in range(3):
            for leaf in leaves:
                loss = _uses(t)[2](leaf) * leaf.mean()
                loss.backward()
            optimizer.step()
            optimizer.zero_grad(set_to_none=step != 1)
        results.append([leaf.detach().numpy() for leaf in leaves])
    for have, want in zip(*results, strict=True):
        np.testing.assert_allclose(have, want, rtol=2e-5)
