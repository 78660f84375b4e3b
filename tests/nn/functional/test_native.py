"""What ``torch`` itself has of layers and losses, in step with PyTorch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import paths
from tilegrad.nn.functional import native

BOTH = (tilegrad, torch)


def _x(t: Any, *shape: int, low: float = -1.0) -> Any:
    values = np.random.default_rng(sum(shape)).uniform(low, 1, shape)
    return t.tensor(values, requires_grad=True)


def _labels(t: Any, *shape: int) -> Any:
    return t.tensor(np.random.default_rng(1).integers(0, 2, shape) * 2.0 - 1, dtype=t.float64)


CALLS: dict[str, Any] = {
    "conv_tbc": lambda t: t.conv_tbc(_x(t, 5, 2, 3), _x(t, 3, 3, 4), _x(t, 4), 1),
    "convolution": lambda t: t.convolution(_x(t, 2, 3, 5, 5), _x(t, 4, 3, 3, 3), None, [2, 2], [1, 1], [1, 1], False, [0, 0], 1),
    "convolution transposed": lambda t: t.convolution(_x(t, 2, 3, 5), _x(t, 3, 4, 3), _x(t, 4), [2], [1], [1], True, [1], 1),
    "batch_norm": lambda t: t.batch_norm(_x(t, 4, 3), _x(t, 3), _x(t, 3), t.zeros(3, dtype=t.float64), t.ones(3, dtype=t.float64), True, 0.1, 1e-5, True),
    "batch_norm eval": lambda t: t.batch_norm(_x(t, 4, 3), None, None, t.zeros(3, dtype=t.float64) + 2, t.ones(3, dtype=t.float64), False, 0.1, 1e-5, False),
    "instance_norm": lambda t: t.instance_norm(_x(t, 2, 3, 4), _x(t, 3), _x(t, 3), None, None, True, 0.1, 1e-5, True),
    "layer_norm": lambda t: t.layer_norm(_x(t, 2, 3), (3,), _x(t, 3), None, 1e-5, True),
    "group_norm": lambda t: t.group_norm(_x(t, 2, 4, 3), 2, None, None, 1e-5, True),
    "rms_norm": lambda t: t.rms_norm(_x(t, 2, 3), (3,)),
    "embedding": lambda t: t.embedding(_x(t, 5, 3), t.tensor([[1, 2], [0, 4]]), 2),
    "adaptive_max_pool1d": lambda t: t.adaptive_max_pool1d(_x(t, 2, 3, 7), 3),
    "norm_except_dim": lambda t: t.norm_except_dim(_x(t, 2, 3, 4), 2, 1),
    "norm over all": lambda t: t.norm_except_dim(_x(t, 2, 3), 2, -1),
    "dropout off": lambda t: t.dropout(_x(t, 3), 0.5, False),
    "dropout all": lambda t: t.dropout(_x(t, 3), 1.0, True),
    "feature_dropout off": lambda t: t.feature_dropout(_x(t, 2, 3, 4), 0.5, False),
    "alpha_dropout off": lambda t: t.alpha_dropout(_x(t, 3), 0.5, False),
    "native_dropout off": lambda t: t.native_dropout(_x(t, 3), 0.5, False),
    "rrelu": lambda t: t.rrelu(_x(t, 6)),
    "bce": lambda t: t.binary_cross_entropy_with_logits(_x(t, 4), _x(t, 4, low=0), None, _x(t, 4).detach(), 2),
    "cosine_embedding_loss": lambda t: t.cosine_embedding_loss(_x(t, 4, 3), _x(t, 4, 3) + 1, _labels(t, 4), 0.1, 0),
    "ctc_loss": lambda t: t.ctc_loss(_x(t, 6, 2, 4).log_softmax(2), t.tensor([[1, 2], [3, 1]]), (6, 5), (2, 2), 0, 2, True),
    "hinge_embedding_loss": lambda t: t.hinge_embedding_loss(_x(t, 4), _labels(t, 4), 0.5, 1),
    "kl_div": lambda t: t.kl_div(_x(t, 2, 3), _x(t, 2, 3, low=0.1).detach(), 1),
    "kl_div of logarithms": lambda t: t.kl_div(_x(t, 2, 3), _x(t, 2, 3), 0, log_target=True),
    "margin_ranking_loss": lambda t: t.margin_ranking_loss(_x(t, 4), _x(t, 4) * 2, _labels(t, 4), 0.1, 1),
    "poisson_nll_loss": lambda t: t.poisson_nll_loss(_x(t, 4), _x(t, 4, low=0.1).detach(), True, False, 1e-8, 1),
    "triplet_margin_loss": lambda t: t.triplet_margin_loss(_x(t, 2, 3), _x(t, 2, 3) + 1, _x(t, 2, 3) * 2, 1.0, 2, 1e-6, False, 2),
    "affine_grid_generator": lambda t: t.affine_grid_generator(_x(t, 2, 2, 3), (2, 1, 3, 4), False),
    "grid_sampler": lambda t: t.grid_sampler(_x(t, 1, 2, 4, 4), _x(t, 1, 3, 3, 2), 0, 1, True),
    "grid_sampler_2d": lambda t: t.grid_sampler_2d(_x(t, 1, 2, 4, 4), _x(t, 1, 3, 3, 2), 0, 2, False),
    "pixel_shuffle": lambda t: t.pixel_shuffle(_x(t, 1, 4, 2, 2), 2),
    "pairwise_distance": lambda t: t.pairwise_distance(_x(t, 3, 2), _x(t, 3, 2) * 2),
    "conv2d": lambda t: t.conv2d(_x(t, 1, 2, 4, 4), _x(t, 3, 2, 3, 3), stride=2),
    "max_pool1d_with_indices": lambda t: t.max_pool1d_with_indices(_x(t, 1, 2, 6), 2),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_as_pytorch(name: str) -> None:
    found = []
    for t in BOTH:
        made = CALLS[name](t)
        several = made if isinstance(made, tuple) else (made,)
        found.append([x.detach().numpy() for x in several])
    for a, b in zip(*found, strict=True):
        assert a.dtype == b.dtype and a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-7, atol=1e-9)


def test_names() -> None:
    """The table that finds them, and PyTorch, have the very names."""
    assert sorted(native.__all__) == sorted(paths.NATIVE)
    assert all(hasattr(torch, name) for name in paths.NATIVE)
    functions = [n for n in paths.NATIVE if getattr(tilegrad, n).__module__ == "tilegrad"]
    assert len(functions) > 20 and all(
        getattr(tilegrad, n).__name__ == n for n in functions if n[:12] != "grid_sampler"
    )


def test_random_ones() -> None:
    for t in BOTH:
        t.manual_seed(0)
        x = t.ones(2000)
        kept, mask = t.native_dropout(x, 0.25, True)
        assert (
            set(kept.unique().tolist()) == {0.0, float(t.tensor(1 / 0.75))} and mask.dtype == t.bool
        )
        assert abs(float(mask.float().mean()) - 0.75) < 0.05 and bool(((kept > 0) == mask).all())
        y = -t.ones(2000)
        drawn = t.rrelu(y, 0.1, 0.3, True)
        assert -0.3 <= float(drawn.min()) < -0.29 and -0.11 < float(drawn.max()) <= -0.1
        for name in ("dropout_", "feature_dropout_", "alpha_dropout_", "feature_alpha_dropout_"):
            z = t.ones(50, 20)
            assert getattr(t, name)(z, 0.5, True) is z and len(z.unique()) == 2
        same = -t.ones(4)
        assert t.rrelu_(same, 0.2, 0.2, True) is same and same.tolist() == pytest.approx([-0.2] * 4)


@pytest.mark.parametrize("number", [3, -1])
def test_reductions_that_are_none(number: int) -> None:
    for t in BOTH:
        with pytest.raises((ValueError, RuntimeError)):
            (
                t.kl_div(t.ones(2), t.ones(2), number).item()
                + t.ctc_loss(t.zeros(4, 1, 3), t.tensor([[1]]), (4,), (1,), 0, number).item()
            )
