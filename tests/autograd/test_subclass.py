"""Subclasses of Tensor keep themselves."""

import copy
import pickle

import pytest

import tilegrad
from tilegrad import nn


class Tagged(tilegrad.Tensor):
    def twice(self):
        return self * 2


class Named(tilegrad.Tensor):
    def __new__(cls, data, name):
        made = super().__new__(cls, data)
        made.name = name
        return made

    def sum(self, *args, **kwargs):
        return "mine"


def test_methods_and_operators_keep_the_class():
    x = Tagged([1.0, 2.0])
    for made in (
        x + 1,
        1 - x,
        -x,
        x.exp(),
        x[0],
        x.sum(),
        x.view(2, 1),
        x.twice(),
        x.detach(),
        x.t(),
    ):
        assert type(made) is Tagged
    assert all(type(part) is Tagged for part in x.split(1))
    assert type(x.max(0).values) is Tagged
    assert x.tolist() == [1, 2]
    assert type(tilegrad.ones(2) + 1) is tilegrad.Tensor


def test_an_operand_stays_what_it_is():
    x, y = Tagged([1.0]), tilegrad.ones(1)
    assert x.copy_(y) is x
    assert type(y) is tilegrad.Tensor
    assert x.add_(1) is x


def test_gradients_flow():
    x = Tagged([1.0, 2.0]).requires_grad_()
    y = (x * x).sum()
    assert type(y) is Tagged
    y.backward()
    assert x.grad.tolist() == [2, 4]


def test_own_arguments_and_methods():
    x = Named([1.0, 2.0], "a")
    assert x.name == "a"
    assert x.sum() == "mine"
    assert type(x * 2) is Named


def test_as_subclass_keeps_memory_and_history():
    x = tilegrad.ones(2, requires_grad=True)
    y = (x * 2).as_subclass(Tagged)
    assert type(y) is Tagged
    y.sum().backward()
    assert x.grad.tolist() == [2, 2]
    with pytest.raises(TypeError, match="subclass of Tensor"):
        x.as_subclass(int)


def test_what_is_made_of_a_parameter_is_a_tensor():
    class Weight(nn.Parameter):
        pass

    for kind in (nn.Parameter, Weight):
        p = kind(tilegrad.ones(2))
        assert type(p) is kind
        assert type(p + 1) is tilegrad.Tensor
        assert type(p.detach()) is tilegrad.Tensor


def test_copies():
    x = Tagged([1.0, 2.0])
    assert type(copy.deepcopy(x)) is Tagged
    assert type(copy.copy(x)) is Tagged
    assert type(pickle.loads(pickle.dumps(x))) is Tagged
