"""Functions that draw: their moments, and that each call draws anew."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.nn import functional as F


@pytest.mark.parametrize("function", [F.alpha_dropout, F.feature_alpha_dropout])
def test_alpha_dropout_keeps_mean_and_variance(function: Any) -> None:
    tilegrad.manual_seed(0)
    x = tilegrad.randn(400, 500, 3)
    out = function(x, 0.3, True)
    assert abs(float(out.mean().item())) < 0.02
    assert abs(float(out.var().item()) - 1) < 0.02
    dropped = (out == out.reshape(-1).mode().values).float()
    assert abs(float(dropped.mean().item()) - 0.3) < 0.01
    whole = dropped.mean((2,))
    assert bool(((whole == 0) | (whole == 1)).all()) == (function is F.feature_alpha_dropout)
    assert function(x, 0.3, False) is x
    assert out.tolist() != function(x, 0.3, True).tolist()


def test_slopes_are_drawn_from_their_range() -> None:
    x = tilegrad.full((5000,), -1.0, requires_grad=True)
    out = F.rrelu(x, 0.2, 0.6, True)
    assert -0.6 <= float(out.min().item()) < -0.59
    assert -0.21 < float(out.max().item()) <= -0.2
    out.sum().backward()
    np.testing.assert_allclose(x.grad.numpy(), -out.detach().numpy(), rtol=1e-6)
    want = torch.nn.functional.rrelu(torch.tensor([-1.0, 2.0]), 0.2, 0.6)
    np.testing.assert_allclose(
        F.rrelu(tilegrad.tensor([-1.0, 2.0]), 0.2, 0.6).numpy(), want.numpy()
    )


def test_gumbel_softmax_chooses_by_the_logits() -> None:
    tilegrad.manual_seed(0)
    chances = np.array([0.6, 0.3, 0.1])
    logits = tilegrad.tensor(np.log(chances)).expand(20_000, 3).clone().requires_grad_()
    hard = F.gumbel_softmax(logits, hard=True)
    np.testing.assert_allclose(hard.detach().numpy().mean(0), chances, atol=0.02)
    np.testing.assert_allclose(hard.detach().numpy().sum(1), 1.0)
    (hard * tilegrad.arange(3)).sum().backward()
    assert float(logits.grad.abs().sum().item()) > 0
    soft = F.gumbel_softmax(logits, tau=0.5)
    np.testing.assert_allclose(soft.detach().numpy().sum(1), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    "call",
    [
        lambda t, f: f.alpha_dropout(t.ones(3), 1.5, True),
        lambda t, f: f.rrelu(t.ones(3), 0.5, 0.2),
        lambda t, f: f.interpolate(t.ones(1, 1, 3)),
        lambda t, f: f.interpolate(t.ones(1, 1, 3), size=4, scale_factor=2),
        lambda t, f: f.interpolate(t.ones(1, 1, 3), size=4, align_corners=True),
        lambda t, f: f.interpolate(t.ones(1, 1, 3), size=4, mode="bilinear"),
        lambda t, f: f.interpolate(t.ones(1, 1, 3), size=(4, 4)),
        lambda t, f: f.interpolate(t.ones(1, 1, 3), scale_factor=(2, 2)),
        lambda t, f: f.interpolate(t.ones(1, 1, 3), size=4, mode="linear", antialias=True),
        lambda t, f: f.interpolate(t.ones(1, 1, 3), size=0),
        lambda t, f: f.grid_sample(t.ones(1, 1, 3, 3), t.ones(1, 2, 2, 2), "cubic"),
        lambda t, f: f.grid_sample(t.ones(1, 1, 3, 3), t.ones(1, 2, 2, 2), padding_mode="wrap"),
        lambda t, f: f.grid_sample(t.ones(1, 1, 3, 3), t.ones(2, 2, 2, 2), align_corners=True),
        lambda t, f: f.affine_grid(t.ones(1, 3, 3), (1, 1, 2, 2), align_corners=True),
        lambda t, f: f.pixel_shuffle(t.ones(3, 2, 2), 2),
        lambda t, f: f.pixel_unshuffle(t.ones(3, 2, 3), 2),
        lambda t, f: f.channel_shuffle(t.ones(1, 3, 2, 2), 2),
        lambda t, f: f.unfold(t.ones(1, 1, 2, 2), 3),
        lambda t, f: f.fold(t.ones(1, 4, 3), (3, 3), 2),
        lambda t, f: f.embedding_bag(t.tensor([1, 2]), t.ones(3, 2)),
        lambda t, f: f.embedding_bag(t.tensor([1, 2]), t.ones(3, 2), t.tensor([1])),
        lambda t, f: f.embedding_bag(t.tensor([[1, 2]]), t.ones(3, 2), mode="prod"),
        lambda t, f: f.pdist(t.ones(3)),
        lambda t, f: f.multi_margin_loss(t.ones(2, 3), t.tensor([0, 1]), p=3),
        lambda t, f: f.multilabel_margin_loss(t.ones(2, 3), t.tensor([0, 1])),
        lambda t, f: f.fractional_max_pool2d(t.ones(1, 1, 4, 4), 2),
        lambda t, f: f.max_unpool2d(t.ones(1, 1, 2, 2), t.ones(1, 1, 2, 2), 2),
        lambda t, f: f.ctc_loss(t.ones(3, 1, 2), t.tensor([[1]]), [3], [1], blank=5),
        lambda t, f: f.local_response_norm(t.ones(2, 2), 2),
    ],
)
def test_refuses_what_pytorch_refuses(call: Any) -> None:
    with pytest.raises(Exception) as theirs:
        call(torch, torch.nn.functional)
    with pytest.raises(theirs.type):
        call(tilegrad, F)
