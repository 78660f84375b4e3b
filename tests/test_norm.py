"""Normalisations: accuracy, running statistics, threads, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.kernels.cpu.emit import has_fma

F, TF = tilegrad.nn.functional, torch.nn.functional


def rms(x: np.ndarray) -> float:
    return float(np.sqrt((x * x).mean()))


@pytest.mark.skipif(not has_fma(), reason="where a product is rounded too, PyTorch's is not")
@pytest.mark.parametrize("shift", [0, 1000])
@pytest.mark.parametrize("name", ["layer_norm", "group_norm", "batch_norm", "instance_norm"])
def test_errors_are_no_larger_than_pytorchs(
    name: str, shift: float, rng: np.random.Generator
) -> None:
    x = (rng.standard_normal((8, 12, 19, 23)) + shift).astype("float32")
    args: tuple[Any, ...] = {
        "layer_norm": ((19, 23),),
        "group_norm": (3,),
        "batch_norm": (None, None, None, None, True),
        "instance_norm": (),
    }[name]
    exact = getattr(TF, name)(torch.from_numpy(x).double(), *args).numpy()
    ours = rms(getattr(F, name)(tilegrad.from_numpy(x), *args).numpy() - exact)
    theirs = rms(getattr(TF, name)(torch.from_numpy(x), *args).numpy() - exact)
    assert ours <= 1.1 * theirs  # both are mostly the last rounding


def test_threads_do_not_change_a_bit(rng: np.random.Generator) -> None:
    x = rng.standard_normal((64, 48, 9, 11)).astype("float32")
    before = tilegrad.get_num_threads()
    results = []
    try:
        for count in (1, 2):
            tilegrad.set_num_threads(count)
            leaf = tilegrad.from_numpy(x).requires_grad_()
            weight = tilegrad.ones(48, requires_grad=True)
            row = tilegrad.ones(11, requires_grad=True)
            y = F.batch_norm(leaf, None, None, weight, weight, True)
            y = F.group_norm(y * y, 4, weight, weight)
            y = F.layer_norm(y, (11,), row, row)
            y = F.rms_norm(y, (11,), row)
            (y * leaf).sum().backward()
            results.append([t.grad.numpy().tobytes() for t in (leaf, weight, row)])
    finally:
        tilegrad.set_num_threads(before)
    assert results[0] == results[1]


def test_running_statistics_are_written_in_place(rng: np.random.Generator) -> None:
    x = rng.standard_normal((5, 3, 7)).astype("float32")
    mean, var = tilegrad.zeros(3), tilegrad.ones(3)
    mean2, var2 = torch.zeros(3), torch.ones(3)
    version = mean._version
    for _ in range(3):
        F.batch_norm(tilegrad.from_numpy(x), mean, var, training=True, momentum=0.2)
        TF.batch_norm(torch.from_numpy(x), mean2, var2, training=True, momentum=0.2)
    assert mean._version == version + 3
    np.testing.assert_allclose(mean.numpy(), mean2.numpy(), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(var.numpy(), var2.numpy(), rtol=1e-5)


def test_evaluation_leaves_them_and_remembers_what_it_used() -> None:
    x = tilegrad.ones(2, 3, requires_grad=True)
    mean, var = tilegrad.zeros(3), tilegrad.full((3,), 4.0)
    version = mean._version
    y = F.batch_norm(x, mean, var, eps=0.0)
    var.fill_(1.0)
    y.sum().backward()
    assert mean._version == version
    assert x.grad.tolist() == [[0.5] * 3] * 2


@pytest.mark.parametrize(
    "call",
    [
        lambda t, f, x: f.layer_norm(x, (3,)),
        lambda t, f, x: f.layer_norm(x, (5,), t.zeros(3)),
        lambda t, f, x: f.group_norm(x, 4),
        lambda t, f, x: f.group_norm(x, 2, t.zeros(5)),
        lambda t, f, x: f.batch_norm(x, None, None),
        lambda t, f, x: f.batch_norm(x[:1, :, :1], None, None, training=True),
        lambda t, f, x: f.batch_norm(x, t.zeros(5), t.ones(5)),
        lambda t, f, x: f.instance_norm(x[:, :, :1]),
        lambda t, f, x: f.layer_norm(x.to(t.int64), (5,)),
    ],
)
def test_errors_are_of_pytorchs_type(call: Any) -> None:
    x = np.ones((2, 6, 5), "float32")
    with pytest.raises(Exception) as theirs:
        call(torch, TF, torch.from_numpy(x))
    with pytest.raises(type(theirs.value)):
        call(tilegrad, F, tilegrad.from_numpy(x))
