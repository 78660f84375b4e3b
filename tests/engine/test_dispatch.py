"""The one way of every op: modes see it."""

from __future__ import annotations

import tilegrad


def test_a_mode_sees_every_op_on_its_way() -> None:
    from tilegrad.engine import dispatch

    seen = []

    def spy(op, arrays, params, metadata):
        seen.append(op.name)
        return op(*arrays, params=params, **metadata)

    x = tilegrad.ones(2, 3, requires_grad=True)
    with dispatch.mode(spy):
        y = (x * 2).t()
        y.add_(1.0)
        y.softmax(0).sum().backward()
    assert {"mul", "transpose", "add", "softmax", "sum"} <= set(seen)
    seen.clear()
    (x + 1).sum()
    assert not seen
