"""``view(dtype)`` against PyTorch."""

import re

import pytest
import torch

import tilegrad

SHAPES = [(8,), (2, 8), (3, 2, 8), (0, 8)]
KINDS = ["uint8", "int16", "int32", "int64", "float32", "float64"]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("old", KINDS)
@pytest.mark.parametrize("new", KINDS)
def test_the_bytes_are_the_same(shape, old, new):
    theirs = torch.arange(torch.Size(shape).numel()).reshape(shape).to(getattr(torch, old))
    mine = tilegrad.arange(theirs.numel()).reshape(shape).to(getattr(tilegrad, old))
    right = theirs.view(getattr(torch, new))
    got = mine.view(getattr(tilegrad, new))
    assert got.shape == right.shape
    assert got.stride() == right.stride()
    assert got.numpy().tobytes() == right.numpy().tobytes()


@pytest.mark.parametrize(
    "cut",
    [
        lambda x: x[:, ::2], lambda x: x.t(), lambda x: x[:, :3], lambda x: x[:, 1:], lambda x: x[0, 0],
        lambda x: x[::2],
    ],
)  # fmt: skip
@pytest.mark.parametrize("new", ["int16", "float64", "int32"])
def test_what_does_not_divide_is_refused(cut, new):
    theirs, mine = cut(torch.zeros(4, 4)), cut(tilegrad.zeros(4, 4))
    try:
        right = theirs.view(getattr(torch, new))
    except RuntimeError as error:
        with pytest.raises(RuntimeError, match=re.escape(str(error)[:20])):
            mine.view(getattr(tilegrad, new))
    else:
        got = mine.view(getattr(tilegrad, new))
        assert (got.shape, got.stride()) == (right.shape, right.stride())


def test_writes_show_in_both_and_count():
    x = tilegrad.zeros(2)
    x.view(dtype=tilegrad.int32)[0] = 1065353216
    assert x.tolist() == [1, 0]
    leaf = tilegrad.ones(2, requires_grad=True)
    y = leaf * 1
    z = y * y
    y.detach().view(tilegrad.int32).zero_()
    with pytest.raises(RuntimeError, match="modified by an inplace"):
        z.sum().backward()
