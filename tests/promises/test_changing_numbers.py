"""A tensor in the place of a number is read when the op runs: nothing that is kept goes by the tensor itself,
which stays equal to itself when its value changes.
"""

from __future__ import annotations

from typing import Any

import pytest

import tilegrad as t
from tilegrad.nn import functional as F


def _filled(*shape: int) -> t.Tensor:
    count = t.arange(float(t.Size(shape).numel()))
    return ((count * 0.37) % 1.7 - 0.6).reshape(shape).requires_grad_()


PLANE, ROWS = (1, 3, 8, 8), (4, 3)
# (shape of x, the call, its number before and after)
CALLS: dict[str, tuple[tuple[int, ...], Any, float, float]] = {
    "conv stride": (PLANE, lambda x, c: F.conv2d(x, t.ones(2, 3, 2, 2), stride=c), 2, 1),
    "conv padding": (PLANE, lambda x, c: F.conv2d(x, t.ones(2, 3, 2, 2), padding=(c, 1)), 2, 1),
    "conv_transpose": (
        PLANE,
        lambda x, c: F.conv_transpose2d(x, t.ones(3, 2, 2, 2), stride=c),
        2,
        1,
    ),
    "max_pool": (PLANE, lambda x, c: F.max_pool2d(x, c), 2, 4),
    "avg_pool": (PLANE, lambda x, c: F.avg_pool2d(x, 2, (2, c)), 2, 1),
    "layer_norm": (ROWS, lambda x, c: F.layer_norm(x, (3,), eps=c), 1.0, 0.25),
    "group_norm": (PLANE, lambda x, c: F.group_norm(x, 3, eps=c), 1.0, 0.25),
    "huber_loss": (ROWS, lambda x, c: F.huber_loss(x, t.zeros(4, 3), delta=c), 1.0, 0.25),
    "hinge": (ROWS, lambda x, c: F.hinge_embedding_loss(x, -t.ones(4, 3), c), 1.0, 0.25),
    "hinge of zero": (ROWS, lambda x, c: F.hinge_embedding_loss(x, -t.ones(4, 3), c), 1.0, 0.0),
    "multi_margin": (
        ROWS,
        lambda x, c: F.multi_margin_loss(x, t.tensor([0, 1, 2, 0]), margin=c),
        1.0,
        0.25,
    ),
    "var": (ROWS, lambda x, c: x.var(0, correction=c), 1.0, 2.0),
    "stack": (ROWS, lambda x, c: t.stack([x, x * 2], c), 2, 1),
    "roll": (ROWS, lambda x, c: t.roll(x, 1, c), 1, 0),
    "select": (ROWS, lambda x, c: x.select(0, c), 2, 1),
    "expand": (ROWS, lambda x, c: t.broadcast_to(x, (c, 4, 3)), 2, 3),
    "cumsum": (ROWS, lambda x, c: x.cumsum(c) * x, 1, 0),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_number_that_changes(name: str) -> None:
    shape, call, first, then = CALLS[name]
    number, x = t.tensor(first), _filled(*shape)
    call(x, number)
    number.fill_(then)
    have, want = call(x, number), call(x, then)
    assert have.tolist() == want.tolist()
    number.fill_(first)  # as before: the graph has the number that was there
    (mine,) = t.autograd.grad((have * have).sum(), x)
    (right,) = t.autograd.grad((want * want).sum(), x)
    assert mine.tolist() == right.tolist()
