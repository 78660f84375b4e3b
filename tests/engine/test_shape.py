"""Broadcasting: any shapes, as NumPy's, and those that do not."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra import numpy as hnp

import tilegrad


@settings(max_examples=150, deadline=None)
@given(hnp.mutually_broadcastable_shapes(num_shapes=2, max_dims=4, max_side=4, min_side=0))
def test_broadcasting_matches_numpy(shapes) -> None:
    x, y = (
        np.arange(np.prod(s, dtype=int), dtype=np.float64).reshape(s) for s in shapes.input_shapes
    )
    ours = tilegrad.from_numpy(x) + tilegrad.from_numpy(y) * 2
    np.testing.assert_array_equal(ours.numpy(), x + y * 2)


@pytest.mark.parametrize(("a", "b"), [((2, 3), (2,)), ((4,), (3,)), ((2, 1, 3), (2, 2))])
def test_shapes_that_do_not_broadcast(a, b) -> None:
    with pytest.raises(RuntimeError, match="add: sizes must be equal or 1"):
        tilegrad.ones(a) + tilegrad.ones(b)
