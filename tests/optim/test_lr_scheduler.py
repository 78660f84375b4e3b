"""Schedules: forty epochs, rate for rate as PyTorch's."""

from __future__ import annotations

import warnings
from typing import Any

import pytest
import torch

import tilegrad
from tilegrad import optim

BOTH = [(tilegrad, optim), (torch, torch.optim)]
_LOSSES = [5 - 0.1 * min(e, 7) + (e % 3) * 0.01 for e in range(40)]


def _optimizer(t: Any, o: Any) -> Any:
    leaves = [t.ones(3).requires_grad_() for _ in range(2)]
    groups = [{"params": [leaves[0]]}, {"params": [leaves[1]], "lr": 0.5}]
    return o.SGD(groups, lr=0.1, momentum=0.9)


def _rates(t: Any, o: Any, make: Any, step: Any) -> list[Any]:
    optimizer = _optimizer(t, o)
    schedule = make(o.lr_scheduler, optimizer)
    found = []
    for epoch in range(40):
        optimizer.step()
        found.append([(g["lr"], g["momentum"]) for g in optimizer.param_groups])
        found.append(list(schedule.get_last_lr()))
        step(schedule, epoch)
    return found


def _one(schedule: Any, epoch: int) -> None:
    schedule.step()


def _to(function: Any) -> Any:
    return lambda schedule, epoch: schedule.step(function(epoch))


SCHEDULES: dict[str, tuple[Any, Any]] = {
    "step": (lambda s, o: s.StepLR(o, 4), _one),
    "step-to": (lambda s, o: s.StepLR(o, 4), _to(lambda e: e + 3)),
    "multistep": (lambda s, o: s.MultiStepLR(o, [3, 3, 9], 0.5), _one),
    "multistep-to": (lambda s, o: s.MultiStepLR(o, [3, 3, 9], 0.5), _to(lambda e: 2 * e)),
    "constant": (lambda s, o: s.ConstantLR(o, 0.3, 4), _one),
    "constant-to": (lambda s, o: s.ConstantLR(o, 0.3, 4), _to(lambda e: e)),
    "linear": (lambda s, o: s.LinearLR(o, 0.1, 1, 7), _one),
    "linear-to": (lambda s, o: s.LinearLR(o, 0.1, 1, 7), _to(lambda e: e)),
    "exponential": (lambda s, o: s.ExponentialLR(o, 0.9), _one),
    "exponential-to": (lambda s, o: s.ExponentialLR(o, 0.9), _to(lambda e: e)),
    "polynomial": (lambda s, o: s.PolynomialLR(o, 20, 2.0), _one),
    "polynomial-to": (lambda s, o: s.PolynomialLR(o, 20, 2.0), _to(lambda e: e)),
    "lambda": (lambda s, o: s.LambdaLR(o, [lambda e: 0.9**e, lambda e: 1 / (1 + e)]), _one),
    "multiplicative": (lambda s, o: s.MultiplicativeLR(o, lambda e: 0.95), _one),
    "cosine": (lambda s, o: s.CosineAnnealingLR(o, 9, 0.01), _one),
    "cosine-to": (lambda s, o: s.CosineAnnealingLR(o, 9, 0.01), _to(lambda e: e)),
    "restarts": (lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2, 0.01), _one),
    "restarts-to": (lambda s, o: s.CosineAnnealingWarmRestarts(o, 3, 2), _to(lambda e: e * 0.7)),
    "restarts-even": (lambda s, o: s.CosineAnnealingWarmRestarts(o, 3), _to(lambda e: e * 0.7)),
    "one-cycle": (lambda s, o: s.OneCycleLR(o, [1.0, 2.0], total_steps=41), _one),
    "one-cycle-linear": (
        lambda s, o: s.OneCycleLR(
            o, 1.0, epochs=5, steps_per_epoch=9, three_phase=True, anneal_strategy="linear"
        ),
        _one,
    ),
    "cyclic": (lambda s, o: s.CyclicLR(o, [0.1, 0.2], 1.0, 4, 3), _one),
    "cyclic-halves": (lambda s, o: s.CyclicLR(o, 0.1, 1.0, 3, mode="triangular2"), _one),
    "cyclic-falls": (
        lambda s, o: s.CyclicLR(o, 0.1, 1.0, 3, 2, "exp_range", 0.9, cycle_momentum=False),
        _one,
    ),
    "cyclic-own": (
        lambda s, o: s.CyclicLR(
            o, 0.1, 1.0, 3, scale_fn=lambda x: 1 / (x + 1), scale_mode="iterations"
        ),
        _one,
    ),
    "plateau": (
        lambda s, o: s.ReduceLROnPlateau(o, patience=2, cooldown=1, factor=0.5),
        _to(lambda e: _LOSSES[e]),
    ),
    "plateau-max": (
        lambda s, o: s.ReduceLROnPlateau(
            o, "max", patience=1, threshold_mode="abs", min_lr=[0.01, 0.2]
        ),
        _to(lambda e: _LOSSES[e]),
    ),
    "sequential": (
        lambda s, o: s.SequentialLR(
            o, [s.LinearLR(o, 0.1, 1, 5), s.CosineAnnealingLR(o, 10), s.ExponentialLR(o, 0.9)], [5, 15]
        ),
        _one,
    ),
    "chained": (
        lambda s, o: s.ChainedScheduler([s.LinearLR(o, 0.1, 1, 5), s.ExponentialLR(o, 0.9)]),
        _one,
    ),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:The epoch parameter in")  # PyTorch's, about step(epoch)
@pytest.mark.parametrize("name", SCHEDULES)
def test_forty_epochs(name: str) -> None:
    make, step = SCHEDULES[name]
    ours, theirs = (_rates(t, o, make, step) for t, o in BOTH)
    assert ours == theirs


@pytest.mark.parametrize("name", ["step", "lambda", "restarts", "plateau", "sequential", "chained"])
def test_goes_on_from_a_state_dict(name: str) -> None:
    make, step = SCHEDULES[name]
    first = _optimizer(tilegrad, optim)
    schedule = make(optim.lr_scheduler, first)
    for epoch in range(7):
        first.step()
        step(schedule, epoch)
    second = _optimizer(tilegrad, optim)
    again = make(optim.lr_scheduler, second)
    second.load_state_dict(first.state_dict())
    again.load_state_dict(schedule.state_dict())
    for epoch in range(7, 20):
        for optimizer, running in ((first, schedule), (second, again)):
            optimizer.step()
            step(running, epoch)
        assert [g["lr"] for g in first.param_groups] == [g["lr"] for g in second.param_groups]


def test_resumes_after_an_epoch() -> None:
    for t, o in BOTH:
        optimizer = _optimizer(t, o)
        with pytest.raises(KeyError, match="initial_lr"):
            o.lr_scheduler.ExponentialLR(optimizer, 0.9, last_epoch=3)
        for group in optimizer.param_groups:
            group["initial_lr"] = 1.0
        schedule = o.lr_scheduler.ExponentialLR(optimizer, 0.9, last_epoch=3)
        assert schedule.last_epoch == 4 and schedule.get_last_lr() == [0.1, 0.5]


def test_momentum_cycles_as_the_first_beta() -> None:
    found = []
    for t, o in BOTH:
        optimizer = o.Adam([t.ones(1).requires_grad_()])
        schedule = o.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=5)
        rows = []
        for _ in range(4):
            optimizer.step()
            schedule.step()
            rows.append(optimizer.param_groups[0]["betas"])
        found.append(rows)
    assert found[0] == found[1]


def test_a_schedule_of_ones_own() -> None:
    class Halves(optim.lr_scheduler.LRScheduler):
        def next(self, lr: float, base: float) -> float:
            return base / 2**self.last_epoch

    optimizer = _optimizer(tilegrad, optim)
    schedule = Halves(optimizer)
    optimizer.step()
    schedule.step()
    assert schedule.get_last_lr() == [0.05, 0.25]


def test_the_wrong_order_is_warned_about() -> None:
    optimizer = _optimizer(tilegrad, optim)
    schedule = optim.lr_scheduler.StepLR(optimizer, 2)
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        schedule.step()
    optimizer = _optimizer(tilegrad, optim)
    schedule = optim.lr_scheduler.StepLR(optimizer, 2)
    optimizer.step()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        schedule.step()


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda s, o: s.StepLR(3, 2), TypeError),
        (lambda s, o: s.ConstantLR(o, 2.0), ValueError),
        (lambda s, o: s.LinearLR(o, 0.0), ValueError),
        (lambda s, o: s.LinearLR(o, 0.5, 2.0), ValueError),
        (lambda s, o: s.LambdaLR(o, [lambda e: 1.0]), ValueError),
        (lambda s, o: s.MultiplicativeLR(o, 3), TypeError),
        (lambda s, o: s.CosineAnnealingWarmRestarts(o, 0), ValueError),
        (lambda s, o: s.CosineAnnealingWarmRestarts(o, 2, 0), ValueError),
        (lambda s, o: s.CosineAnnealingWarmRestarts(o, 2).step(-1), ValueError),
        (lambda s, o: s.OneCycleLR(o, 1.0), ValueError),
        (lambda s, o: s.OneCycleLR(o, 1.0, total_steps=0), ValueError),
        (lambda s, o: s.OneCycleLR(o, 1.0, epochs=0, steps_per_epoch=2), ValueError),
        (lambda s, o: s.OneCycleLR(o, 1.0, total_steps=5, pct_start=2.0), ValueError),
        (lambda s, o: s.OneCycleLR(o, 1.0, total_steps=5, anneal_strategy="step"), ValueError),
        (lambda s, o: s.OneCycleLR(o, [1.0], total_steps=5), ValueError),
        (lambda s, o: s.OneCycleLR(3, 1.0, total_steps=5), TypeError),
        (lambda s, o: s.CyclicLR(3, 0.1, 1.0), TypeError),
        (lambda s, o: s.CyclicLR(o, [0.1], 1.0), ValueError),
        (lambda s, o: s.CyclicLR(o, 0.1, 1.0, mode="square"), ValueError),
        (lambda s, o: s.ReduceLROnPlateau(o, factor=1.0), ValueError),
        (lambda s, o: s.ReduceLROnPlateau(o, "best"), ValueError),
        (lambda s, o: s.ReduceLROnPlateau(o, threshold_mode="far"), ValueError),
        (lambda s, o: s.ReduceLROnPlateau(o, min_lr=[0.1]), ValueError),
        (lambda s, o: s.ReduceLROnPlateau(3), TypeError),
        (lambda s, o: s.SequentialLR(o, [s.StepLR(o, 2)], [3]), ValueError),
        (lambda s, o: s.SequentialLR(o, [], []), ValueError),
        (lambda s, o: s.SequentialLR(o, [s.ReduceLROnPlateau(o)], []), ValueError),
        (lambda s, o: s.ChainedScheduler([]), ValueError),
    ],
)  # fmt: skip
def test_refuses_what_pytorch_refuses(make: Any, kind: type) -> None:
    for t, o in BOTH:
        with pytest.raises(kind):
            make(o.lr_scheduler, _optimizer(t, o))


def test_a_rate_that_is_a_tensor_stays_the_same_object() -> None:
    found = []
    for t, o in BOTH:
        rate = t.tensor(0.5)
        optimizer = o.SGD([t.ones(1).requires_grad_()], lr=rate)
        schedule = o.lr_scheduler.ExponentialLR(optimizer, 0.5)
        rows = []
        for _ in range(3):
            optimizer.step()
            schedule.step()
            rows.append((rate.item(), float(schedule.get_last_lr()[0])))
        assert optimizer.param_groups[0]["lr"] is rate
        found.append(rows)
    assert found[0] == found[1]
