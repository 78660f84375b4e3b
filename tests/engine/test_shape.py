"""Broadcasting: any shapes, as NumPy's, and those that do not."""

from __future__ import annotations

import numpy as np
import pytest
import torch
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


def _evaluated(call: str, library):
    names = set(compile(call, call, "eval").co_names) & set(dir(library))
    return eval(call, {name: getattr(library, name) for name in names})


@pytest.mark.parametrize(
    "call",
    """
    ones(2, 3).sum((0, True)); zeros((2, True)); zeros(2, True); full((2, True), 1.0); ones(2, 3).view(6, True)
    ones(2, 3).reshape((6, True)); ones(2, 1).expand(2, True); ones(2, 3).repeat(2, True); ones(2, 3).permute(0, True)
    ones(2, 3).roll((1, True), (0, True)); ones(2, 3).flip((0, True)); rot90(ones(2, 3), 1, (0, True))
    ones(2, 3).unflatten(0, (2, True)); ones(2, 3).as_strided((2, True), (1, True)); ones(2, 3).split([1, True])
    ones(2, 3).tensor_split((0, True)); ones(2, 3).squeeze((0, True)); ones(2, 3).sum_to_size(2, True)
    ones(2, 3).movedim((0, True), (1, 0)); ones(1).broadcast_to((2, True)); ones(2, 3).std((0, True)); Size((True, 2))
    nn.functional.pad(ones(2, 3), (1, True)); nn.functional.max_pool2d(ones(1, 1, 2, 2), (1, True))
    nn.functional.conv2d(ones(1, 1, 2, 2), ones(1, 1, 1, 1), None, (1, True), (0, True), (1, True))
    nn.functional.adaptive_avg_pool2d(ones(1, 1, 2, 2), (1, True)); nn.functional.layer_norm(ones(2, 3, 1), (3, True))
    nn.ZeroPad2d((1, True, 1, 1))(ones(1, 1, 2, 2)); nn.LayerNorm((2, True)).weight; unravel_index(ones(1).long(), (2, True))
    """.replace("\n", ";").split(";"),
)
def test_a_bool_behind_the_first_size_is_an_int(call) -> None:
    """PyTorch looks at the type of the first item alone. Nothing is kept for the equal ints either."""
    if not call.strip():
        return
    for known in (False, True):
        if known:  # a plan of the same call by ints
            _evaluated(call.strip().replace("True", "1"), tilegrad)
        have, want = (_evaluated(call.strip(), t) for t in (tilegrad, torch))
        pairs = zip(have, want, strict=True) if isinstance(want, tuple) else [(have, want)]
        for ours, theirs in pairs:
            if isinstance(theirs, torch.Tensor):
                np.testing.assert_array_equal(ours.detach().numpy(), theirs.detach().numpy())
            else:
                assert ours == theirs
