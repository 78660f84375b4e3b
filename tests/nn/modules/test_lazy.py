"""Lazy modules against PyTorch's: shapes from the first input, or from a state dict."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import nn

LAZY: list[tuple[Any, tuple[int, ...]]] = [
    (lambda n: n.LazyLinear(3), (2, 5)),
    (lambda n: n.LazyLinear(3, bias=False), (5,)),
    (lambda n: n.LazyConv1d(4, 3, stride=2), (2, 6, 7)),
    (lambda n: n.LazyConv2d(4, 3, padding=1, groups=2), (2, 6, 4, 5)),
    (lambda n: n.LazyConv3d(2, 2), (3, 4, 3, 2)),
    (lambda n: n.LazyConvTranspose1d(4, 3, stride=2), (2, 6, 5)),
    (lambda n: n.LazyConvTranspose2d(4, 2, bias=False), (6, 3, 2)),
    (lambda n: n.LazyConvTranspose3d(2, 2), (2, 3, 2, 3, 2)),
    (lambda n: n.LazyBatchNorm1d(), (4, 3)),
    (lambda n: n.LazyBatchNorm2d(affine=False), (4, 3, 2, 3)),
    (lambda n: n.LazyBatchNorm3d(track_running_stats=False), (2, 3, 2, 3, 2)),
    (lambda n: n.LazyInstanceNorm1d(affine=True, track_running_stats=True), (2, 4, 6)),
    (lambda n: n.LazyInstanceNorm2d(), (2, 4, 3, 2)),
    (lambda n: n.LazyInstanceNorm3d(), (2, 3, 2, 3, 2)),
]


def _state(module: Any) -> dict[str, Any]:
    return {k: tilegrad.from_numpy(np.array(v.numpy())) for k, v in module.state_dict().items()}


@pytest.mark.parametrize("row", LAZY, ids=lambda row: repr(row[0](nn)).split("(")[0])
def test_shapes_follow_from_the_input(row: Any, rng: np.random.Generator) -> None:
    make, shape = row
    ours, theirs = make(nn), make(torch.nn)
    assert repr(ours) == repr(theirs)
    assert list(ours.state_dict()) == list(theirs.state_dict())
    twin = copy.deepcopy(ours)
    array = rng.standard_normal(shape).astype(np.float32)
    ours(tilegrad.from_numpy(array)), theirs(torch.from_numpy(array))
    assert repr(ours) == repr(theirs)
    assert type(ours).__name__ == type(theirs).__name__
    assert not any(map(nn.parameter.is_lazy, [*ours.parameters(), *ours.buffers()]))
    for loaded in (ours, twin):  # after its first call, and before
        loaded.load_state_dict(_state(theirs))
        loaded.train(), theirs.train()
        have = loaded(tilegrad.from_numpy(array)).detach().numpy()
        want = theirs(torch.from_numpy(array)).detach().numpy()
        np.testing.assert_allclose(have, want, rtol=2e-4, atol=2e-5)
        theirs.load_state_dict({k: torch.from_numpy(v.numpy()) for k, v in _state(theirs).items()})


def test_a_lazy_parameter_has_no_shape() -> None:
    for n in (nn, torch.nn):
        layer = n.LazyLinear(3)
        assert layer.has_uninitialized_params()
        assert repr(layer.weight) == "<UninitializedParameter>"
        with pytest.raises(RuntimeError, match="Can't access the shape of an uninitialized"):
            _ = layer.weight.shape
