"""Promotion of dtypes, with tensors and with numbers, as PyTorch's."""

from __future__ import annotations

import pytest
import torch

import tilegrad
from tilegrad.engine.dtype import ALL

_NAMES = [d.name for d in ALL]


_VALUES = {"bool": True, "int": 3, "float": 2.5}


@pytest.mark.parametrize("a", _NAMES)
@pytest.mark.parametrize("b", _NAMES)
def test_promotion_matches_pytorch(a: str, b: str) -> None:
    shapes = [((2,), (2,)), ((2,), ()), ((), (2,)), ((), ())]
    for left, right in shapes:
        ours = tilegrad.ones(left, dtype=a) + tilegrad.ones(right, dtype=b)
        theirs = torch.ones(left, dtype=getattr(torch, a)) + torch.ones(
            right, dtype=getattr(torch, b)
        )
        assert ours.dtype.name == str(theirs.dtype).split(".")[1]
    ours_name = tilegrad.promote_types(getattr(tilegrad, a), getattr(tilegrad, b)).name
    theirs_name = str(torch.promote_types(getattr(torch, a), getattr(torch, b)))
    assert ours_name == theirs_name.split(".")[1]


@pytest.mark.parametrize("a", _NAMES)
@pytest.mark.parametrize("kind", _VALUES)
def test_promotion_with_numbers_matches_pytorch(a: str, kind: str) -> None:
    for shape in ((2,), ()):
        ours = tilegrad.ones(shape, dtype=a) * _VALUES[kind]
        theirs = torch.ones(shape, dtype=getattr(torch, a)) * _VALUES[kind]
        assert ours.dtype.name == str(theirs.dtype).split(".")[1]
