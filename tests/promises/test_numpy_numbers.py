"""NumPy's whole numbers are whole numbers: wherever an argument is one, ``np.int64(3)`` does what 3 does in PyTorch."""

from __future__ import annotations

import numpy as np
import torch

import tilegrad
from tests.wrong_kinds.__main__ import good_calls, numpy_difference


def test_good_calls_stay_good() -> None:
    found = [difference for good in good_calls() if (difference := numpy_difference(good))]
    assert not found, "\n".join(map(str, found))


def test_sizes_of_layers() -> None:
    two = np.int64(2)
    for t in (tilegrad, torch):
        x = t.ones(1, 2, 4, 4)
        layers = [
            t.nn.Conv2d(two, two, two, two, np.int64(0), np.int64(1)), t.nn.MaxPool2d(two, two, np.int64(0)),
            t.nn.AvgPool2d(two, two), t.nn.ZeroPad2d(np.int64(1)), t.nn.Upsample(np.int64(8)),
            t.nn.LPPool2d(2, two), t.nn.InstanceNorm2d(two), t.nn.GroupNorm(two, two), t.nn.Flatten(two),
            t.nn.Unflatten(np.int64(1), (1, 2)), t.nn.FractionalMaxPool2d(two, two), t.nn.PixelUnshuffle(two),
        ]  # fmt: skip
        shapes = [tuple(layer(x).shape) for layer in layers]
        norm = t.nn.LayerNorm(np.int64(4))(x).shape
        parts = [tuple(p.shape) for p in t.tensor_split(x, np.int64(3), np.int64(2))]
        if t is tilegrad:
            ours = shapes, tuple(norm), parts
    assert ours == (shapes, tuple(norm), parts)


def test_helpers_of_layers_are_pytorchs() -> None:
    from tilegrad.nn.modules import utils

    theirs = torch.nn.modules.utils
    for value in (3, (1, 2), [1], "ab", np.int64(2), np.ones(2, np.int64)):
        for name in ("_single", "_pair", "_triple", "_quadruple"):
            assert list(getattr(utils, name)(value)) == list(getattr(theirs, name)(value))
    assert utils._reverse_repeat_tuple((1, 2), 2) == theirs._reverse_repeat_tuple((1, 2), 2)
    assert utils._list_with_default([None, 3], [1, 2, 4]) == theirs._list_with_default(
        [None, 3], [1, 2, 4]
    )
    made = []
    for found in (utils, theirs):
        state = {"module.a": 1, "b": 2, "module.c.d": 3}
        found.consume_prefix_in_state_dict_if_present(state, "module.")
        made.append(state)
    assert made[0] == made[1]
    state = torch.nn.Sequential(torch.nn.Linear(1, 1)).state_dict()
    other = tilegrad.nn.Sequential(tilegrad.nn.Linear(1, 1)).state_dict()
    utils.consume_prefix_in_state_dict_if_present(other, "0.")
    theirs.consume_prefix_in_state_dict_if_present(state, "0.")
    assert list(other) == list(state) and list(other._metadata) == list(state._metadata)
