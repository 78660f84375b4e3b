"""Views: chains of them, shared memory, what needs a copy, writes over themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.extra import numpy as hnp

import tilegrad
from tilegrad.engine.dispatch import mode
from tilegrad.engine.ops import view


def _programs():
    def step(draw, shape):
        ndim = len(shape)
        options = ["unsqueeze", "reshape"]
        if ndim:
            options += ["transpose", "permute", "slice", "squeeze"]
        return draw(st.sampled_from(options))

    @st.composite
    def program(draw):
        shape = draw(hnp.array_shapes(min_dims=1, max_dims=3, max_side=5))
        x = np.arange(int(np.prod(shape)), dtype=np.float32).reshape(shape)
        steps = []
        for _ in range(draw(st.integers(1, 5))):
            name = step(draw, x.shape)
            if name == "transpose":
                a, b = (draw(st.integers(-x.ndim, x.ndim - 1)) for _ in range(2))
                steps.append(lambda t, a=a, b=b: t.transpose(a, b))
                x = np.swapaxes(x, a, b)
            elif name == "permute":
                order = draw(st.permutations(range(x.ndim)))
                steps.append(lambda t, order=order: t.permute(*order))
                x = x.transpose(order)
            elif name == "slice":
                axis = draw(st.integers(0, x.ndim - 1))
                start, stop = sorted(draw(st.tuples(*[st.integers(0, x.shape[axis])] * 2)))
                stride = draw(st.integers(1, 3))
                key = (slice(None),) * axis + (slice(start, stop, stride),)
                steps.append(lambda t, key=key: t[key])
                x = x[key]
            elif name == "squeeze":
                steps.append(lambda t: t.squeeze())
                x = x.squeeze()
            elif name == "unsqueeze":
                axis = draw(st.integers(-x.ndim - 1, x.ndim))
                steps.append(lambda t, axis=axis: t.unsqueeze(axis))
                x = np.expand_dims(x, axis)
            elif name == "reshape":
                steps.append(lambda t: t.reshape(-1))
                x = x.reshape(-1)
        return shape, steps, x

    return program()


@settings(max_examples=150, deadline=None)
@given(_programs())
def test_chains_of_views_match_numpy(given_program) -> None:
    shape, steps, want = given_program
    t = tilegrad.arange(int(np.prod(shape)), dtype=tilegrad.float32).reshape(shape)
    for step in steps:
        t = step(t)
    assert tuple(t.shape) == want.shape
    np.testing.assert_array_equal(t.numpy(), want)
    np.testing.assert_array_equal(t.contiguous().numpy(), want)
    np.testing.assert_array_equal((t + 0).numpy(), want)


def test_views_share_memory_both_ways() -> None:
    x = tilegrad.zeros(3, 4)
    x.t()[1].fill_(5)
    x.view(-1)[0] = 7
    x.unfold(1, 2, 2)[2, 1] = 9
    want = np.zeros((3, 4))
    want[:, 1], want[0, 0], want[2, 2:4] = 5, 7, 9
    np.testing.assert_array_equal(x.numpy(), want)


def test_view_that_needs_a_copy_is_refused() -> None:
    with pytest.raises(RuntimeError, match="view size is not compatible"):
        tilegrad.ones(3, 4).t().view(-1)


def test_inplace_with_overlapping_source() -> None:
    """Refused where both are gapless (tests/parity/test_overlap.py), else as if it had been copied."""
    x = tilegrad.arange(6, dtype=tilegrad.float32)
    with pytest.raises(RuntimeError, match="memory location"):
        x[1:].add_(x[:-1])
    y = tilegrad.arange(16, dtype=tilegrad.float32).view(4, 4)
    z = y.numpy().copy()
    y[1:, :3].add_(y[:-1, 1:])
    z[1:, :3] += z[:-1, 1:].copy()
    np.testing.assert_array_equal(y.numpy(), z)


def test_places_without_end_leave_no_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beyond so many, a view is worked out anew each time: the same, of the same memory, or the same error."""
    monkeypatch.setattr(view, "KEPT", 0)
    array = np.arange(60.0).reshape(5, 4, 3)
    x = tilegrad.from_numpy(array)
    before = {op: len(op.plans) for op in (view.select, view.slice_, view.diagonal)}
    for i in range(-5, 5):
        assert x[i].numpy().tolist() == x.select(0, i).numpy().tolist() == array[i].tolist()
        assert x[:, :, i % 3 :].numpy().tolist() == array[:, :, i % 3 :].tolist()
        assert x.narrow(0, i % 4, 2).data_ptr() == x.data_ptr() + i % 4 * 96
        assert x.diagonal(i % 4).numpy().tolist() == array.diagonal(i % 4).tolist()
    assert {op: len(op.plans) for op in before} == before
    with pytest.raises(IndexError, match="index 7 is out of bounds for dimension 0 with size 5"):
        x[7]
    with pytest.raises(IndexError, match="select"):
        x.select(0, 7)
    seen = []

    def see(op, arrays, params, metadata):
        seen.append(op)
        return op(*arrays, params=params, **metadata)

    with mode(see):
        x.select(0, 3)
    assert seen == [view.select]
