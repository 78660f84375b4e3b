"""Clipping of gradients, and parameters as one vector."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import nn

SHAPES = {
    "cpu": ((3, 5), (7,), (), (0,), (130, 131), (40_000,)),
    "cuda": ((3, 5), (7,), (), (0,), (2048 + 131,)),
}


def _with_grads(
    rng: np.random.Generator, dtype: str, device: str = "cpu"
) -> tuple[list[Any], list[Any]]:
    ours, theirs = [], []
    for shape in SHAPES[device]:
        grad = np.asarray(rng.standard_normal(shape).astype(dtype))
        x = tilegrad.from_numpy(np.zeros_like(grad)).to(device).requires_grad_()
        y = torch.from_numpy(np.zeros_like(grad)).requires_grad_()
        x.grad, y.grad = tilegrad.from_numpy(grad.copy()).to(device), torch.from_numpy(grad.copy())
        ours.append(x), theirs.append(y)
    ours.append(tilegrad.ones(2).requires_grad_())  # without a gradient
    return ours, theirs


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("norm", [2.0, 1.0, 3.0, math.inf])
@pytest.mark.parametrize("limit", [0.5, 1e9])
def test_norm(
    norm: float, limit: float, dtype: str, threads: int, rng: np.random.Generator
) -> None:
    ours, theirs = _with_grads(rng, dtype)
    have = nn.utils.clip_grad_norm_(ours, limit, norm)
    # PyTorch has no infinity norm of an empty tensor
    want = torch.nn.utils.clip_grad_norm_([y for y in theirs if y.numel()], limit, norm)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    np.testing.assert_allclose(have.item(), want.item(), rtol=rtol)
    for x, y in zip(ours, theirs, strict=False):
        np.testing.assert_allclose(x.grad.numpy(), y.grad.numpy(), rtol=rtol)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("limit", [0.5, 1e9])
def test_norm_of_gradients_at_any_address(
    limit: float, dtype: str, device: str, rng: np.random.Generator
) -> None:
    ours, theirs = _with_grads(rng, dtype, device)
    ours[1].grad = tilegrad.cat([ours[2].grad.view(1), ours[1].grad])[1:]  # misaligned
    have = nn.utils.clip_grad_norm_(ours, limit)
    want = torch.nn.utils.clip_grad_norm_(theirs, limit)
    rtol = 1e-5 if dtype == "float32" else 1e-12
    assert have.device.type == device and have.item() == pytest.approx(want.item(), rel=rtol)
    for x, y in zip(ours, theirs, strict=False):
        np.testing.assert_allclose(x.grad.cpu().numpy(), y.grad.numpy(), rtol=rtol)
    nn.utils.clip_grads_with_norm_(ours, 1.0, tilegrad.tensor(4.0, dtype=ours[0].dtype))
    for x, y in zip(ours, theirs, strict=False):
        np.testing.assert_allclose(x.grad.cpu().numpy(), y.grad.numpy() / (4 + 1e-6), rtol=rtol)


def test_norm_does_not_depend_on_threads(rng: np.random.Generator) -> None:
    grads = [rng.standard_normal(n).astype(np.float32) for n in (100_003, 17, 60_000)]
    before = tilegrad.get_num_threads()
    found = []
    for count in (1, 2):
        tilegrad.set_num_threads(count)
        tensors = [tilegrad.from_numpy(g) for g in grads]
        found.append(nn.utils.get_total_norm(tensors).item())
    tilegrad.set_num_threads(before)
    assert found[0] == found[1]
    exact = math.sqrt(sum(float((g.astype(np.float64) ** 2).sum()) for g in grads))
    assert found[0] == pytest.approx(exact, rel=1e-6)


def test_mixed_dtypes_and_strides() -> None:
    x, y = (
        tilegrad.zeros(2, 3).requires_grad_(),
        tilegrad.zeros(2, dtype=tilegrad.float64).requires_grad_(),
    )
    x.grad = tilegrad.full((3, 2), 3.0).t()
    y.grad = tilegrad.full((2,), 3.0, dtype=tilegrad.float64)
    assert nn.utils.clip_grad_norm_([x, y], 1.0).item() == pytest.approx(math.sqrt(72))
    assert x.grad.tolist()[0][0] == pytest.approx(3 / math.sqrt(72), rel=1e-5)
    assert y.grad.tolist()[0] == pytest.approx(3 / math.sqrt(72), rel=1e-5)
    x.grad = tilegrad.full((3, 2), 3.0).t()
    nn.utils.clip_grad_norm_(x, 1.0)
    assert x.grad.tolist()[1][2] == pytest.approx(1 / math.sqrt(6), rel=1e-5)


def test_nothing_to_clip() -> None:
    assert nn.utils.clip_grad_norm_([tilegrad.ones(2).requires_grad_()], 1.0).item() == 0


def test_a_norm_that_is_not_finite() -> None:
    x = tilegrad.zeros(2).requires_grad_()
    x.grad = tilegrad.tensor([1.0, math.inf])
    with pytest.raises(RuntimeError, match="is non-finite, so it cannot be clipped"):
        nn.utils.clip_grad_norm_(x, 1.0, error_if_nonfinite=True)
    assert nn.utils.clip_grad_norm_(x, 1.0).item() == math.inf


def test_value() -> None:
    x = tilegrad.zeros(3).requires_grad_()
    x.grad = tilegrad.tensor([-4.0, 0.5, 2.0])
    nn.utils.clip_grad_value_([x], 1)
    assert x.grad.tolist() == [-1, 0.5, 1]


def test_vector_and_back() -> None:
    net = nn.Linear(2, 3)
    vector = nn.utils.parameters_to_vector(net.parameters())
    assert vector.shape == (9,) and vector.requires_grad
    nn.utils.vector_to_parameters(tilegrad.arange(9.0), net.parameters())
    assert net.bias.tolist() == [6, 7, 8]
    assert isinstance(net.weight, nn.Parameter)
    with pytest.raises(TypeError):
        nn.utils.vector_to_parameters([1.0], net.parameters())
