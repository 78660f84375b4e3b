"""``Tensor(...)``, ``FloatTensor(...)``, ``Tensor.type`` against PyTorch."""

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad.autograd.typed import NAMES

FORMS = [
    (),
    (2, 3),
    ([1, 0],),
    ((1, 0),),
    ([[1.0, 2.0], [0.0, 3.0]],),
    (3,),
    (np.array([1, 2]),),
    (0, 2),
]


@pytest.mark.parametrize("name", [*(n for n in NAMES if NAMES[n].has_kernels), "Tensor"])
@pytest.mark.parametrize("given", FORMS, ids=str)
def test_made_of_sizes_or_data(name, given):
    mine, theirs = getattr(tilegrad, name)(*given), getattr(torch, name)(*given)
    assert mine.shape == theirs.shape
    assert str(mine.dtype).split(".")[1] == str(theirs.dtype).split(".")[1]
    if given and not isinstance(given[0], int):
        assert mine.tolist() == theirs.tolist()
    assert mine.type() == theirs.type()
    assert isinstance(mine, getattr(tilegrad, name))


@pytest.mark.parametrize("given", [(1.5,), ("x",), (None,), (2, "x"), ({},), ([1], 2)], ids=str)
@pytest.mark.parametrize("name", ["Tensor", "LongTensor"])
def test_neither_sizes_nor_data(name, given):
    with pytest.raises(TypeError):
        getattr(torch, name)(*given)
    with pytest.raises(TypeError):
        getattr(tilegrad, name)(*given)


def test_of_a_tensor_it_shares_the_memory():
    x = tilegrad.zeros(2)
    tilegrad.Tensor(x)[0] = 1
    assert x.tolist() == [1, 0]
    with pytest.raises(TypeError, match="expected FloatTensor"):
        tilegrad.Tensor(tilegrad.zeros(2, dtype=tilegrad.int64))


def test_of_a_shape():
    assert tilegrad.Tensor(tilegrad.ones(2, 3).shape).shape == (2, 3)


def test_instances():
    x = tilegrad.ones(2)
    assert isinstance(x, tilegrad.FloatTensor)
    assert not isinstance(x, tilegrad.LongTensor)
    assert not isinstance(1.0, tilegrad.FloatTensor)


@pytest.mark.parametrize(
    "how",
    ["int64", "torch.IntTensor", "torch.LongTensor", "torch.DoubleTensor", "torch.FloatTensor"],
)
def test_type_converts(how):
    theirs = torch.tensor([1.7, -2.2]).type(getattr(torch, how) if how == "int64" else how)
    mine = tilegrad.tensor([1.7, -2.2])
    mine = mine.type(getattr(tilegrad, how) if how == "int64" else how)
    assert mine.tolist() == theirs.tolist() or how == "torch.DoubleTensor"
    assert mine.type() == theirs.type()


def test_type_takes_types_and_refuses_names():
    x = tilegrad.ones(2)
    assert x.type(tilegrad.ByteTensor).dtype is tilegrad.uint8
    assert x.type(dtype=tilegrad.float64).dtype is tilegrad.float64
    assert x.type("torch.FloatTensor") is x
    with pytest.raises(ValueError, match="invalid type"):
        x.type("torch.NoTensor")


def test_the_default_type():
    try:
        tilegrad.set_default_tensor_type(tilegrad.DoubleTensor)
        assert tilegrad.Tensor([1]).dtype is tilegrad.float64
        tilegrad.set_default_tensor_type("torch.FloatTensor")
        assert tilegrad.Tensor([1]).dtype is tilegrad.float32
        with pytest.raises(TypeError, match="only floating-point"):
            tilegrad.set_default_tensor_type(tilegrad.LongTensor)
    finally:
        tilegrad.set_default_dtype(tilegrad.float32)


def test_names_of_types():
    assert str(tilegrad.FloatTensor) == "torch.FloatTensor"
    assert repr(tilegrad.LongTensor) == "<class 'torch.LongTensor'>"
    assert tilegrad.typename(tilegrad.ones(1)) == "torch.FloatTensor"
    assert tilegrad.typename(3) == "int"


def test_types_of_dtypes_without_kernels_can_be_compared_with():
    for kinds in (tilegrad, tilegrad.cuda):
        assert not isinstance(tilegrad.ones(2), (kinds.HalfTensor, kinds.BFloat16Tensor))
        assert repr(kinds.HalfTensor) == repr(getattr(torch, kinds.__name__[9:], torch).HalfTensor)
    with pytest.raises(NotImplementedError, match="float16"):
        tilegrad.HalfTensor(2)


@pytest.mark.parametrize("kind", ["Tensor", "nn.Parameter", "int"])
def test_type_takes_one_class(kind):
    def told(m):
        kinds = {"Tensor": m.Tensor, "nn.Parameter": m.nn.Parameter, "int": int}
        try:
            made = m.tensor([1, 2]).type(kinds[kind])
        except ValueError as error:
            return str(error)
        return made.type(), made.tolist()

    assert told(tilegrad) == told(torch)
