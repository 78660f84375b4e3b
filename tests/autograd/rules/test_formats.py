"""Layouts and memory formats against PyTorch: shapes, strides, values, gradients."""

import pytest
import torch

import tilegrad

FORMATS = ["contiguous_format", "preserve_format", "channels_last", "channels_last_3d"]
SHAPES = [
    (2, 3, 4, 5),
    (2, 3, 4, 5, 2),
    (2, 3),
    (1, 1, 4, 4),
    (2, 1, 3, 3),
    (0, 3, 2, 2),
    (2, 3, 1, 1),
]
MAKERS = ["empty", "zeros_like", "ones_like", "empty_like", "randn_like"]


def both(call):
    """PyTorch's result and ours of ``call(library)``, or one type of error."""
    try:
        right = call(torch)
    except RuntimeError:
        with pytest.raises(RuntimeError):
            call(tilegrad)
        return None, None
    return right, call(tilegrad)


def alike(got, right):
    assert got.shape == right.shape
    if got.numel():
        assert got.stride() == right.stride()


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("how", ["contiguous", "clone", "to", "double"])
def test_conversions(shape, name, how):
    def call(library):
        x = library.arange(1.0 * torch.Size(shape).numel()).reshape(shape)
        return getattr(x, how)(memory_format=getattr(library, name))

    right, got = both(call)
    if right is not None:
        alike(got, right)
        assert got.tolist() == right.tolist()
        for other in FORMATS[:1] + FORMATS[2:]:
            mine, theirs = getattr(tilegrad, other), getattr(torch, other)
            assert got.is_contiguous(memory_format=mine) == right.is_contiguous(
                memory_format=theirs
            )


@pytest.mark.parametrize("shape", SHAPES[:4], ids=str)
@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("maker", MAKERS)
def test_makers(shape, name, maker):
    def call(library):
        kind = getattr(library, name)
        if maker == "empty":
            return library.empty(*shape, memory_format=kind)
        x = library.zeros(shape).transpose(0, 1)
        return getattr(library, maker)(x, memory_format=kind, requires_grad=True)

    if maker == "empty" and name == "preserve_format":
        return  # PyTorch refuses it; here it is the default
    right, got = both(call)
    if right is not None:
        alike(got, right)
        assert got.is_leaf
        assert got.requires_grad == right.requires_grad


def test_gradients_pass():
    x = tilegrad.randn(2, 3, 4, 4, requires_grad=True)
    y = x.contiguous(memory_format=tilegrad.channels_last)
    (y * y).sum().backward()
    assert tilegrad.allclose(x.grad, 2 * x)
    assert y.contiguous(memory_format=tilegrad.channels_last) is y


def test_wrong_kinds():
    for value in (1, "channels_last", tilegrad.strided):
        with pytest.raises(TypeError, match="memory_format"):
            tilegrad.ones(2).clone(memory_format=value)
    with pytest.raises(TypeError, match="layout"):
        tilegrad.zeros(2, layout=1)
    assert tilegrad.zeros(2, layout=tilegrad.strided).shape == (2,)
    assert repr(tilegrad.channels_last) == "tilegrad.channels_last"
