"""What PyTorch warns of is warned of, and what it takes in silence is not."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
import tilegrad.nn
import tilegrad.optim
from tilegrad.autograd import once


def leaf(t: Any) -> Any:
    return t.ones(2, 2, requires_grad=True)


def _step(t: Any, first: str) -> None:
    optimizer = t.optim.SGD([leaf(t)], 0.1)
    schedule = t.optim.lr_scheduler.StepLR(optimizer, 1)
    for each in (optimizer, schedule) if first == "optimizer" else (schedule, optimizer):
        each.step()


WARNED = {
    "grad of a result": lambda t: (leaf(t) * 2).grad,
    "tensor of a tensor": lambda t: t.tensor(t.ones(2)),
    "softmax": lambda t: t.nn.functional.softmax(t.ones(2)),
    "log_softmax": lambda t: t.nn.LogSoftmax()(t.ones(2)),
    "kl_div": lambda t: t.nn.functional.kl_div(t.ones(2), t.ones(2)),
    "size_average": lambda t: t.nn.functional.mse_loss(t.ones(2), t.ones(2), size_average=True),
    "reduce": lambda t: t.nn.functional.nll_loss(t.ones(1, 2), t.tensor([1]), reduce=False),
    "reduce of a layer": lambda t: t.nn.L1Loss(reduce=False),
    "broadcast loss": lambda t: t.nn.functional.mse_loss(t.ones(2, 1), t.ones(2)),
    "std of one": lambda t: t.ones(1).std(),
    "var of too few": lambda t: t.ones(2, 3).var(1, correction=3),
    "var_mean of one": lambda t: t.var_mean(t.ones(1)),
    "nothing to initialise": lambda t: t.nn.init.kaiming_uniform_(t.zeros(0, 3)),
    "nothing, normally": lambda t: t.nn.init.kaiming_normal_(t.zeros(0, 3)),
    "a layer without inputs": lambda t: t.nn.Linear(0, 3),
    "a layer without outputs": lambda t: t.nn.Linear(3, 0),
    "schedule first": lambda t: _step(t, "schedule"),
    "byte index": lambda t: t.ones(2)[t.tensor([1, 0], dtype=t.uint8)],
}
SILENT = {
    "grad of a leaf": lambda t: leaf(t).grad,
    "grad that is retained": lambda t: [y := leaf(t) * 2, y.retain_grad(), y.grad],
    "grad of a constant": lambda t: (t.ones(2) * 2).grad,
    "as_tensor": lambda t: t.as_tensor(t.ones(2)),
    "asarray": lambda t: t.asarray(t.ones(2), copy=True),
    "clone": lambda t: leaf(t).clone(),
    "batchmean": lambda t: t.nn.functional.kl_div(t.ones(2), t.ones(2), reduction="batchmean"),
    "var": lambda t: t.ones(2, 3).var(1),
    "var of one, as it is": lambda t: t.ones(1).var(correction=0),
    "nothing, by another rule": lambda t: t.nn.init.xavier_uniform_(t.zeros(0, 3)),
    "optimizer first": lambda t: _step(t, "optimizer"),
    "bool": lambda t: bool(leaf(t)[0, 0]),
    "transpose": lambda t: t.ones(2, 3).T,
}


def count(call: Any, t: Any) -> int:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call(t)
    return len(found)


@pytest.mark.parametrize("t", [tilegrad, torch], ids=["tilegrad", "torch"])
def test_what_is_warned_of(t: Any) -> None:
    assert [n for n, call in WARNED.items() if count(call, t) != 1] == []
    assert [n for n, call in WARNED.items() if count(call, t) != 1] == []  # each time
    assert [n for n, call in SILENT.items() if count(call, t)] == []


def test_once_in_a_process() -> None:
    """A number of what needs a gradient, reversed dimensions, a read-only array."""
    once.warn_of_scalar.cache_clear()
    once.warn_of_reversal.cache_clear()
    number, cube = tilegrad.ones(1, requires_grad=True), tilegrad.ones(2, 2, 2)
    assert [count(lambda t: float(number), tilegrad) for _ in range(3)] == [1, 0, 0]
    assert [count(lambda t: cube.T, tilegrad) for _ in range(3)] == [1, 0, 0]
    array = np.ones(2)
    array.setflags(write=False)
    count(lambda t: t.from_numpy(array), tilegrad)
    assert count(lambda t: t.from_numpy(array), tilegrad) == 0


def test_tensors_among_data_hold_one_number() -> None:
    for t in (tilegrad, torch):
        assert t.tensor([t.ones(1), t.ones(()), 3.0]).tolist() == [1, 1, 3]
        with pytest.raises(ValueError, match="only one element tensors"):
            t.tensor([t.ones(2), t.ones(2)])


def test_weights_of_bincount_have_a_gradient() -> None:
    weights = tilegrad.tensor([1.0, 2.0, 4.0], requires_grad=True)
    counts = tilegrad.bincount(tilegrad.tensor([2, 0, 2]), weights, minlength=4)
    assert counts.tolist() == [2, 0, 5, 0]
    (counts * tilegrad.tensor([1.0, 10.0, 100.0, 1000.0])).sum().backward()
    assert weights.grad.tolist() == [100, 1, 100]
