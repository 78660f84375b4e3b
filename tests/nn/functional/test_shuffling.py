"""Functions that move elements: what they make is a copy, also where nothing moves."""

from __future__ import annotations

from typing import Any

import pytest

import tilegrad
from tilegrad.nn import functional as F


@pytest.mark.parametrize(
    "function",
    [
        lambda x: F.pixel_shuffle(x, 1),
        lambda x: F.pixel_shuffle(x[..., :1, :1], 2),
        lambda x: F.pixel_unshuffle(x, 1),
        lambda x: F.channel_shuffle(x, 1),
        lambda x: F.channel_shuffle(x, 4),
        lambda x: F.unfold(x, 1),
        lambda x: F.fold(x.view(1, 4, 4), (2, 2), 1),
    ],
)
def test_a_result_does_not_share_memory(function: Any) -> None:
    """Nor the history of its argument, whose node keeps its name."""
    leaf = tilegrad.ones(1, 4, 2, 2, requires_grad=True)
    x = leaf * 2
    made = function(x)
    assert made.is_contiguous()
    made.mul_(3)
    assert float(x.sum().item()) == 32 and x.grad_fn.name() == "MulBackward0"
    made.sum().backward()
    assert leaf.grad is not None and set(leaf.grad.unique().tolist()) <= {0.0, 6.0}
