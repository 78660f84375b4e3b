"""resize_ against PyTorch."""

import pytest
import torch

import tilegrad


@pytest.mark.parametrize("shape", [(2, 2), (8,), (0,), (3, 3), (), (6,)])
def test_resize(shape):
    theirs, mine = torch.arange(6.0), tilegrad.arange(6.0)
    assert mine.resize_(*shape) is mine if shape else mine.resize_(()) is mine
    theirs.resize_(shape)
    assert mine.shape == theirs.shape
    count = min(6, theirs.numel())
    assert mine.flatten()[:count].tolist() == theirs.flatten()[:count].tolist()


def test_resize_refuses_what_pytorch_refuses():
    with pytest.raises(RuntimeError, match="require grad"):
        tilegrad.ones(2, requires_grad=True).resize_(3)
    with pytest.raises(RuntimeError, match="negative"):
        tilegrad.ones(2).resize_(-1)
    x = tilegrad.ones(6)[2:4]
    assert x.resize_(4).tolist() == [1, 1, 1, 1]
    assert tilegrad.ones(2).resize_as_(tilegrad.ones(1, 2)).shape == (1, 2)
