"""Whole training runs: the same network, data and steps here and in PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import nn, optim

BOTH = [(tilegrad, nn, optim), (torch, torch.nn, torch.optim)]


def _convolutional(n: Any) -> Any:
    return n.Sequential(
        n.Conv2d(1, 4, 3, padding=1), n.BatchNorm2d(4), n.ReLU(), n.MaxPool2d(2),
        n.Conv2d(4, 6, 3), n.GELU(), n.AdaptiveAvgPool2d(1), n.Flatten(), n.Linear(6, 3),
    )  # fmt: skip


def _perceptron(n: Any) -> Any:
    return n.Sequential(
        n.Flatten(), n.Linear(64, 16), n.LayerNorm(16), n.SiLU(), n.Linear(16, 8), n.Tanh(),
        n.Linear(8, 3),
    )  # fmt: skip


_OPTIMIZERS = {
    "sgd": lambda o, p: o.SGD(p, 0.05, momentum=0.9, weight_decay=1e-3, nesterov=True),
    "adamw": lambda o, p: o.AdamW(p, 0.01),
}


@pytest.mark.parametrize("make", [_convolutional, _perceptron])
@pytest.mark.parametrize("name", _OPTIMIZERS)
def test_ten_steps(make: Any, name: str, rng: np.random.Generator) -> None:
    torch.manual_seed(0)
    nets = [make(n).double() for _, n, _ in BOTH]
    state = {k: tilegrad.from_numpy(np.array(v.numpy())) for k, v in nets[1].state_dict().items()}
    nets[0].load_state_dict(state)
    images = rng.standard_normal((12, 1, 8, 8))
    labels = rng.integers(0, 3, 12)
    losses: list[list[float]] = [[], []]
    for place, (t, n, o) in enumerate(BOTH):
        optimizer = _OPTIMIZERS[name](o, nets[place].parameters())
        schedule = o.lr_scheduler.CosineAnnealingLR(optimizer, 10)
        criterion = n.CrossEntropyLoss(label_smoothing=0.05)
        x, y = t.from_numpy(images), t.from_numpy(labels)
        for _ in range(10):
            optimizer.zero_grad()
            loss = criterion(nets[place](x), y)
            loss.backward()
            n.utils.clip_grad_norm_(nets[place].parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses[place].append(loss.item())
    # rounding grows with every step of the optimizer
    np.testing.assert_allclose(*losses, rtol=1e-7)
    assert losses[0][-1] < losses[0][0]
    theirs = nets[1].state_dict()
    for key, value in nets[0].state_dict().items():
        want = theirs[key].numpy()
        np.testing.assert_allclose(value.numpy(), want, rtol=1e-6, atol=1e-8, err_msg=key)


def test_a_network_without_gradients_records_nothing() -> None:
    net = _perceptron(nn).eval()
    with tilegrad.no_grad():
        out = net(tilegrad.ones(2, 64))
    assert not out.requires_grad and out.grad_fn is None
