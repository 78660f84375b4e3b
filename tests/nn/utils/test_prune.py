"""Pruning, in step with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.utils.prune

import tilegrad

WAYS: dict[str, Any] = {
    "identity": lambda p, m, t: p.identity(m, "weight"),
    "l1": lambda p, m, t: p.l1_unstructured(m, "weight", 0.3),
    "l1-count": lambda p, m, t: p.l1_unstructured(m, "weight", 3),
    "ln": lambda p, m, t: p.ln_structured(m, "weight", 0.5, 2, 0),
    "ln-inf": lambda p, m, t: p.ln_structured(m, "weight", 1, float("inf"), -1),
    "mask": lambda p, m, t: p.custom_from_mask(m, "weight", t.eye(4, 5)),
    "l1-twice": lambda p, m, t: (p.l1_unstructured(m, "weight", 0.3), p.l1_unstructured(m, "weight", 0.5)),
    "ln-then-l1": lambda p, m, t: (p.ln_structured(m, "weight", 1, 2, 1), p.l1_unstructured(m, "weight", 2)),
    "ln-twice": lambda p, m, t: (p.ln_structured(m, "weight", 1, 2, 1), p.ln_structured(m, "weight", 0.5, 1, 1)),
    "scores": lambda p, m, t: p.l1_unstructured(m, "weight", 4, t.arange(20.0).reshape(4, 5)),
    "global": lambda p, m, t: p.global_unstructured(
        [(m, "weight"), (m, "bias")], p.L1Unstructured, amount=0.4
    ),
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
def test_way(way: str, rng: np.random.Generator) -> None:
    weight, bias = (rng.standard_normal(s).astype(np.float32) for s in ((4, 5), (4,)))
    found = []
    for t, read in ((tilegrad, tilegrad.from_numpy), (torch, torch.from_numpy)):
        p = t.nn.utils.prune
        layer = t.nn.Linear(5, 4)
        layer.weight.data, layer.bias.data = read(weight.copy()), read(bias.copy())
        assert not p.is_pruned(layer)
        WAYS[way](p, layer, t)
        assert p.is_pruned(t.nn.Sequential(layer))
        optimizer = t.optim.SGD(layer.parameters(), 0.1)
        layer(t.ones(3, 5)).square().sum().backward()
        optimizer.step()
        layer(t.ones(3, 5))
        state = {k: v.detach().numpy().copy() for k, v in sorted(layer.state_dict().items())}
        p.remove(layer, "weight")
        assert isinstance(layer.weight, t.nn.Parameter)
        found.append(
            {**state, "removed": layer.weight.detach().numpy(), "keys": sorted(layer.state_dict())}
        )
    assert found[0].keys() == found[1].keys()
    for name, other in found[1].items():
        if name == "keys":
            assert found[0][name] == other
        else:
            np.testing.assert_allclose(found[0][name], other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("amount", [5, 0.3])
def test_random_ways(amount: float) -> None:
    p = tilegrad.nn.utils.prune
    layer = p.random_unstructured(tilegrad.nn.Linear(5, 8), "weight", amount)
    zeros = (layer.weight_mask == 0).sum().item()
    assert zeros == (5 if amount == 5 else 12) and (layer.weight[layer.weight_mask == 0] == 0).all()
    layer = p.random_structured(tilegrad.nn.Linear(5, 8), "weight", 2, 0)
    assert sorted(layer.weight_mask.sum(1).tolist()) == [0, 0, 5, 5, 5, 5, 5, 5]


def test_refusals() -> None:
    for t in (tilegrad, torch):
        p = t.nn.utils.prune
        layer = t.nn.Linear(5, 4)
        for amount, kind in (
            (-1, ValueError),
            (1.5, ValueError),
            ("1", TypeError),
            (100, ValueError),
        ):
            with pytest.raises(kind):
                p.l1_unstructured(layer, "weight", amount)
        assert not p.is_pruned(layer) and isinstance(layer.weight, t.nn.Parameter)
        with pytest.raises(ValueError, match="has to be pruned before"):
            p.remove(layer, "weight")
        with pytest.raises(ValueError, match="multidimensional"):
            p.ln_structured(layer, "bias", 1, 2, 0)
        with pytest.raises(TypeError, match="Only"):
            p.global_unstructured([(layer, "weight")], p.LnStructured, amount=1, n=2)
