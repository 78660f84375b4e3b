"""Averaged models and their rates, in step with PyTorch."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tests.conftest import ROOT
from tilegrad.optim import swa_utils

theirs = torch.optim.swa_utils
WAYS: list[tuple[str | None, tuple[Any, ...]]] = [
    (None, ()), ("get_ema_multi_avg_fn", (0.7,)), ("get_swa_multi_avg_fn", ()),
    ("get_ema_avg_fn", (0.7,)), ("get_swa_avg_fn", ()),
]  # fmt: skip


def _net(library: Any) -> Any:
    nn = library.nn
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


@pytest.mark.parametrize("use_buffers", [False, True])
@pytest.mark.parametrize(("way", "args"), WAYS)
def test_averages(
    way: str | None, args: tuple[Any, ...], use_buffers: bool, rng: np.random.Generator
) -> None:
    made = []
    for library, utils in ((tilegrad, swa_utils), (torch, theirs)):
        net = _net(library)
        how: dict[str, Any] = {"use_buffers": use_buffers}
        if way:
            how["multi_avg_fn" if "multi" in way else "avg_fn"] = getattr(utils, way)(*args)
        if use_buffers and way != "get_ema_multi_avg_fn" and way is not None:
            del net[1]  # PyTorch's other means of the integer buffer are floats it cannot store
        made.append((net, utils.AveragedModel(net, **how)))
    for _ in range(3):
        for ours, other in zip(made[0][0].parameters(), made[1][0].parameters(), strict=True):
            value = rng.standard_normal(tuple(ours.shape)).astype(np.float32)
            ours.data, other.data = tilegrad.from_numpy(value), torch.from_numpy(value.copy())
        for net, average in made:
            average.update_parameters(net)
    have, want = made[0][1].state_dict(), made[1][1].state_dict()
    assert list(have) == list(want) and have["n_averaged"].item() == 3
    for name, value in want.items():
        np.testing.assert_allclose(have[name].numpy(), value.numpy(), rtol=1e-5, atol=1e-6)


def test_update_bn(rng: np.random.Generator) -> None:
    batches = [rng.standard_normal((6, 3)).astype(np.float32) for _ in range(3)]
    ours, other = _net(tilegrad), _net(torch)
    for p, q in zip(ours.parameters(), other.parameters(), strict=True):
        p.data = tilegrad.from_numpy(q.detach().numpy().copy())
    ours.eval()
    swa_utils.update_bn([(tilegrad.from_numpy(b), 0) for b in batches], ours)
    theirs.update_bn([(torch.from_numpy(b), 0) for b in batches], other)
    for name in ("running_mean", "running_var"):
        have, want = getattr(ours[1], name), getattr(other[1], name)
        np.testing.assert_allclose(have.numpy(), want.numpy(), rtol=1e-4, atol=1e-6)
    assert not ours.training and ours[1].momentum == 0.1


@pytest.mark.parametrize(
    "how", [{}, {"anneal_strategy": "linear", "anneal_epochs": 3}, {"anneal_epochs": 0}]
)
def test_swalr(how: dict[str, Any]) -> None:
    rates = []
    for library, utils in ((tilegrad, swa_utils), (torch, theirs)):
        groups = [{"params": [library.ones(1).requires_grad_()], "lr": lr} for lr in (0.4, 0.1)]
        optimizer = library.optim.SGD(groups, lr=0.1)
        scheduler = utils.SWALR(optimizer, swa_lr=0.05, **how)
        seen = []
        for _ in range(14):
            optimizer.step()
            scheduler.step()
            seen.append([g["lr"] for g in optimizer.param_groups])
        rates.append(seen)
        state = scheduler.state_dict()
        scheduler.load_state_dict(state)
    np.testing.assert_allclose(rates[0], rates[1], rtol=1e-9)
    with pytest.raises(ValueError, match="anneal_strategy must be one of"):
        swa_utils.SWALR(optimizer=optimizer_of_one(), swa_lr=0.1, anneal_strategy="up")


def optimizer_of_one() -> Any:
    return tilegrad.optim.SGD([tilegrad.ones(1).requires_grad_()], lr=0.1)


def test_decay_is_a_share() -> None:
    for make in (swa_utils.get_ema_avg_fn, swa_utils.get_ema_multi_avg_fn):
        with pytest.raises(ValueError, match="Invalid decay value"):
            make(1.5)


def test_it_is_there_without_an_import() -> None:
    code = "import tilegrad; print(tilegrad.optim.swa_utils.SWALR.__name__)"
    shown = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
    )
    assert shown.stdout.strip() == "SWALR"
