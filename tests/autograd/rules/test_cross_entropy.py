"""Smoothed, weighted and spatial cross-entropy, and that of probabilities: one node, its gradients of any
order as PyTorch's, worked out in one pass over the logits.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.engine import dispatch

_SHAPES = ((7,), (5, 7), (3, 4, 2), (2, 5, 3, 2))
_KINDS = (
    "classes",
    "some ignored",
    "all ignored",
    "probabilities",
    "probabilities with a gradient",
)


def _operands(shape: tuple[int, ...], kind: str, rng: np.random.Generator) -> tuple[Any, Any, Any]:
    """Logits, targets and weights."""
    classes = shape[0] if len(shape) == 1 else shape[1]
    where = () if len(shape) == 1 else (shape[0], *shape[2:])
    targets = rng.integers(0, classes, where)
    if "ignored" in kind:
        every = np.arange(targets.size).reshape(where) % (1 if kind == "all ignored" else 2) == 0
        targets = np.where(every, -100, targets)
    if "prob" in kind:
        targets = rng.uniform(0, 1, shape)
    return rng.normal(size=shape), targets, rng.uniform(0.5, 2, classes)


def _gradients(t: Any, x: Any, y: Any, w: Any, along: Any, **how: Any) -> list[Any]:
    """The loss and gradients of its square: as they are, recorded, and along a direction twice more."""
    x = t.tensor(x, dtype=t.float64, requires_grad=True)
    y = t.tensor(y)
    leaves = [x]
    if how.pop("learned"):
        leaves.append(y.requires_grad_())
    weight = None if w is None else t.tensor(w)
    loss = t.nn.functional.cross_entropy(x, y, weight=weight, **how)
    total, direction = (loss * loss).sum(), t.tensor(along)
    first = t.autograd.grad(total, leaves, retain_graph=True)
    again = t.autograd.grad(total, leaves, create_graph=True)
    second = t.autograd.grad((again[0] * direction).sum(), leaves, create_graph=True)
    third = t.autograd.grad((second[0] * direction).sum(), leaves, allow_unused=True)
    names = [type(loss.grad_fn).__name__]
    found = [
        v if v is None else v.detach().numpy() for v in (loss, *first, *again, *second, *third)
    ]
    return found + ([] if len(leaves) > 1 else names)


@pytest.mark.parametrize("kind", _KINDS)
@pytest.mark.parametrize("shape", _SHAPES, ids=str)
def test_gradients_of_three_orders(
    shape: tuple[int, ...], kind: str, rng: np.random.Generator
) -> None:
    for reduction, part, weighted in itertools.product(
        ("mean", "sum", "none"), (0.0, 0.1, 1.0), (0, 1)
    ):
        x, y, w = _operands(shape, kind, rng)
        how = {"reduction": reduction, "label_smoothing": part, "learned": "gradient" in kind}
        given = (x, y, w if weighted else None, rng.normal(size=shape))
        for have, want in zip(
            *(_gradients(t, *given, **how) for t in (tilegrad, torch)), strict=True
        ):
            if want is None or isinstance(want, str):
                assert have is want or have == want
            else:
                np.testing.assert_allclose(have, want, 1e-8, 1e-10, err_msg=str(how))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("target", ["classes", "probabilities"])
def test_backward_passes_over_the_logits_once(target: str, weighted: bool) -> None:
    """Beside the targets' elements, which are written to in place: as the plain loss."""
    x = tilegrad.randn(6, 50, requires_grad=True)
    y = tilegrad.zeros(6, dtype=tilegrad.int64) if target == "classes" else tilegrad.rand(6, 50)
    loss = tilegrad.nn.functional.cross_entropy(
        x, y, tilegrad.rand(50) if weighted else None, label_smoothing=0.1
    )
    made: list[Any] = []

    def watch(op: Any, arrays: Any, params: Any, how: Any) -> Any:
        result = op(*arrays, params=params, **how)
        made.append(result)
        return result

    with dispatch.mode(watch):
        loss.backward()
    whole = [r for r in made if hasattr(r, "layout") and r.layout.shape == (6, 50)]
    assert len({id(r.storage) for r in whole}) == 1
