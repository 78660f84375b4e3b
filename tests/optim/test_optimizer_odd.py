"""Every optimizer, each option at its neutral value, on zeros, huge numbers, infinities and NaN.

An option that is off must not touch the parameter: 0 times infinity would make it NaN. Step by step
against PyTorch, for every pair of such a parameter and such a gradient, state included.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import optim

VALUES = np.array([0.0, -0.0, 1.0, -2.0, 1e-30, 1e20, -3e38, np.inf, -np.inf, np.nan])
PARAMETERS, GRADIENTS = (a.ravel() for a in np.meshgrid(VALUES, VALUES))
STEPS = 5
COMMON: list[dict[str, Any]] = [{}, {"lr": 0.0}, {"weight_decay": 0.1}, {"maximize": True}]
ADAM: list[dict[str, Any]] = [
    *COMMON, {"betas": (0.0, 0.999)}, {"betas": (0.9, 0.0)}, {"betas": (0.0, 0.0)}, {"eps": 0.0},
]  # fmt: skip
DECOUPLED = {"weight_decay": 0.1, "decoupled_weight_decay": True}
TABLE: dict[str, list[dict[str, Any]]] = {
    "SGD": [
        *COMMON,
        {"momentum": 0.9},
        {"momentum": 0.9, "weight_decay": 0.1},
        {"momentum": 0.9, "nesterov": True},
        {"momentum": 0.9, "dampening": 0.5},
        {"momentum": 0.9, "dampening": 1.0},
    ],
    "Adam": [*ADAM, {"amsgrad": True}, {"amsgrad": True, "weight_decay": 0.1}],
    "AdamW": [*ADAM, {"weight_decay": 0.0}, {"amsgrad": True}],
    "Adamax": ADAM,
    "RAdam": [*ADAM, {"betas": (0.9, 0.9)}, DECOUPLED],
    "NAdam": [*ADAM, {"momentum_decay": 0.0}, DECOUPLED],
    "RMSprop": [
        *COMMON,
        {"alpha": 0.0},
        {"alpha": 1.0},
        {"eps": 0.0},
        {"momentum": 0.9},
        {"centered": True},
        {"centered": True, "alpha": 0.0},
        {"centered": True, "alpha": 1.0},
        {"centered": True, "momentum": 0.9},
    ],
    "Adadelta": [*COMMON, {"rho": 0.0}, {"rho": 1.0}, {"eps": 0.0}],
    "Adagrad": [*COMMON, {"lr_decay": 0.1}, {"eps": 0.0}, {"initial_accumulator_value": 0.1}],
}


def _state(optimizer: Any, p: Any) -> dict[str, np.ndarray]:
    entries = optimizer.state[p].items()
    return {k: np.asarray(v.detach().cpu().numpy()) for k, v in entries if v is not None}


def _compare(name: str, how: dict[str, Any], dtype: str, device: str) -> None:
    theirs = torch.tensor(PARAMETERS.astype(dtype), requires_grad=True)
    ours = tilegrad.from_numpy(PARAMETERS.astype(dtype)).to(device).requires_grad_()
    model = getattr(torch.optim, name)([theirs], **how)
    mine = getattr(optim, name)([ours], **how)
    rtol = 1e-5 if dtype == "float32" else 1e-9
    for step in range(STEPS):
        g = np.roll(GRADIENTS, 37 * max(step - 1, 0)).astype(dtype)
        theirs.grad, ours.grad = torch.from_numpy(g), tilegrad.from_numpy(g.copy()).to(device)
        model.step(), mine.step()
        want = {"parameter": theirs.detach().numpy(), **_state(model, theirs)}
        have = {"parameter": ours.detach().cpu().numpy(), **_state(mine, ours)}
        assert have.keys() == want.keys()
        for key in want:
            np.testing.assert_allclose(
                have[key], want[key], rtol, 1e-12, err_msg=f"{how}, step {step}: {key}"
            )


@pytest.mark.parametrize("name", TABLE)
def test_odd_values_move_as_in_pytorch(name: str, device: str) -> None:
    # a simulated launch takes its time: the CPU runs both dtypes, the GPU float32
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # overflows of the simulator's scalars
        for how in TABLE[name]:
            for dtype in ("float32", "float64") if device == "cpu" else ("float32",):
                _compare(name, how, dtype, device)


class _Around(optim.Optimizer):
    """An optimizer around another, written as programs do: it never calls ``__init__``."""

    def __init__(self, inner):
        self.inner, self.param_groups, self.state = inner, inner.param_groups, inner.state
        self.defaults = inner.defaults

    def step(self, closure=None):
        return self.inner.step(closure)


def test_an_optimizer_around_another_needs_no_init():
    p = tilegrad.ones(2, requires_grad=True)
    outer = _Around(optim.SGD([p], lr=0.5))
    schedule = optim.lr_scheduler.StepLR(outer, 1, gamma=0.5)
    for _ in range(2):
        p.grad = tilegrad.ones(2)
        outer.step()
        schedule.step()  # warns, an error here, unless the step before it was counted
    assert p.tolist() == [0.25, 0.25]
