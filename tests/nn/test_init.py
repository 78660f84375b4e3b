"""Initial values: distributions, bounds, structure."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

import tilegrad
from tilegrad.nn import init

SHAPE = (200, 150)


@pytest.fixture(autouse=True)
def seed() -> None:
    tilegrad.manual_seed(7)


def _fits(values: np.ndarray, distribution: Any) -> None:
    assert stats.kstest(values.ravel(), distribution).pvalue > 1e-3


@pytest.mark.parametrize(
    ("fill", "distribution"),
    [
        (lambda t: init.uniform_(t, -2, 3), stats.uniform(-2, 5).cdf),
        (lambda t: init.normal_(t, 1, 2), stats.norm(1, 2).cdf),
        (lambda t: init.trunc_normal_(t, 0.5, 2, -1, 3), stats.truncnorm(-0.75, 1.25, 0.5, 2).cdf),
        (lambda t: init.xavier_normal_(t, 2), stats.norm(0, 2 * math.sqrt(2 / 350)).cdf),
        (lambda t: init.kaiming_normal_(t, mode="fan_out", nonlinearity="relu"),
         stats.norm(0, math.sqrt(2 / 200)).cdf),
        (init.xavier_uniform_, stats.uniform(-math.sqrt(6 / 350), 2 * math.sqrt(6 / 350)).cdf),
        (lambda t: init.kaiming_uniform_(t, a=math.sqrt(5)),
         stats.uniform(-1 / math.sqrt(150), 2 / math.sqrt(150)).cdf),
    ],
)  # fmt: skip
def test_distributions(fill: Any, distribution: Any) -> None:
    x = tilegrad.empty(SHAPE).requires_grad_()
    assert fill(x) is x
    assert x.is_leaf and x.requires_grad
    _fits(x.detach().numpy(), distribution)


def test_fans_count_the_kernel() -> None:
    x = tilegrad.empty(30, 20, 3, 3)
    init.kaiming_uniform_(x)
    assert np.abs(x.numpy()).max() == pytest.approx(math.sqrt(2) * math.sqrt(3 / 180), rel=1e-2)


def test_generator_decides() -> None:
    draws = []
    for _ in range(2):
        generator = tilegrad.Generator().manual_seed(3)
        draws.append(init.normal_(tilegrad.empty(5), generator=generator).tolist())
    assert draws[0] == draws[1]


def test_constants_and_structure() -> None:
    assert init.constant_(tilegrad.empty(2), 3.5).tolist() == [3.5, 3.5]
    assert init.ones_(tilegrad.empty(2)).tolist() == [1, 1]
    assert init.zeros_(tilegrad.ones(2)).tolist() == [0, 0]
    assert init.eye_(tilegrad.empty(2, 3)).tolist() == [[1, 0, 0], [0, 1, 0]]
    for shape, groups in (((4, 2, 3), 1), ((6, 2, 3, 5), 3), ((2, 4, 2, 2, 3), 2)):
        have = init.dirac_(tilegrad.empty(shape), groups)
        want = torch.nn.init.dirac_(torch.empty(shape), groups)
        assert have.tolist() == want.tolist()


@pytest.mark.parametrize("shape", [(5, 5), (3, 8), (8, 3), (4, 3, 2)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    x = init.orthogonal_(tilegrad.empty(shape, dtype=tilegrad.float64), gain=2).numpy()
    matrix = x.reshape(shape[0], -1)
    small = matrix @ matrix.T if matrix.shape[0] <= matrix.shape[1] else matrix.T @ matrix
    np.testing.assert_allclose(small, 4 * np.eye(len(small)), atol=1e-12)


def test_gains() -> None:
    for name in ("linear", "conv2d", "sigmoid", "tanh", "relu", "selu", "leaky_relu"):
        assert init.calculate_gain(name) == torch.nn.init.calculate_gain(name)
    assert init.calculate_gain("leaky_relu", 0.3) == torch.nn.init.calculate_gain("leaky_relu", 0.3)


@pytest.mark.parametrize(
    "call",
    [
        lambda i, t: i.calculate_gain("sine"),
        lambda i, t: i.calculate_gain("leaky_relu", "steep"),
        lambda i, t: i.xavier_uniform_(t.empty(3)),
        lambda i, t: i.kaiming_normal_(t.empty(3, 3), mode="fan"),
        lambda i, t: i.eye_(t.empty(3)),
        lambda i, t: i.dirac_(t.empty(3, 3)),
        lambda i, t: i.dirac_(t.empty(3, 3, 3), 2),
        lambda i, t: i.orthogonal_(t.empty(3)),
    ],
)
def test_refuses_what_pytorch_refuses(call: Any) -> None:
    for i, t in ((init, tilegrad), (torch.nn.init, torch)):
        with pytest.raises(ValueError):
            call(i, t)


def test_far_truncation_is_warned_about() -> None:
    with pytest.warns(UserWarning, match="more than 2 std"):
        init.trunc_normal_(tilegrad.empty(3), 9.0)
