"""NumPy's whole numbers are whole numbers: wherever an argument is one, ``np.int64(3)`` does what 3 does in PyTorch;
and so are those of an enumeration, of subclasses and of other libraries, as far as PyTorch takes them.
"""

from __future__ import annotations

import enum
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pytest
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


class Two(enum.IntEnum):
    ONE = 1
    TWO = 2


class Whole(int):
    """An int of its own class."""


class Real(float):
    """A float of its own class."""


class Sizes(NamedTuple):
    rows: int
    columns: int


NAMES = {
    "np": np, "Two": Two, "Whole": Whole, "Real": Real, "Sizes": Sizes, "Fraction": Fraction, "Decimal": Decimal,
}  # fmt: skip
CALLS = """
x[Two.ONE]|x[Two.ONE, Whole(2)]|x[np.array([0, 1]), Two.ONE]|x[np.uint8(1)]|x[np.int64(0):Two.ONE]|x[::np.int64(2)]
x[np.array([1, 0], np.int8)]|x[np.array([1, 0], np.uint32)]|x[[np.int64(0), 1]]|x[Sizes(1, 2)]|x[np.ix_([0], [1])]
x[t.tensor(0):t.tensor(1)]|x[np.newaxis]|x.sum(Two.ONE)|x.sum((Two.ONE, np.int64(0)))|x.sum(Sizes(0, 1))|x.sum(range(2))
x.sum(np.array([0, 1]))|t.zeros(np.array([2, 3]))|t.zeros(Sizes(2, 3))|t.zeros(range(1, 3))|t.zeros(Two.TWO)
t.zeros(2, np.int32(3))|x.reshape(np.array([3, 2]))|x.reshape(Sizes(3, 2))|x.view(Whole(3), -1)|x.permute(Sizes(1, 0))
t.tensor([Two.ONE, 2])|t.tensor([[Whole(1)], [2]])|t.tensor([Real(1), 2])|t.tensor([True, Two.TWO])|t.tensor(Sizes(1, 2))
t.tensor([np.float32(1), 2])|t.tensor(Fraction(1, 2))|t.tensor(Decimal(1))
x * Fraction(1, 2)|x * Decimal("0.5")|x * np.float16(0.5)|x * np.longdouble(0.5)|x * np.bool_(True)|x * Two.TWO|x * Real(2)
np.float64(2) * x|np.int64(2) - x|np.float32(2) / x|np.float64(2) ** x|x ** Two.TWO|x > np.float64(0.5)
t.full((2,), Two.TWO)|t.full((2,), np.float32(2))|t.full((2,), Fraction(1, 2))|t.arange(Two.TWO)|t.arange(np.float32(2))
t.linspace(np.float32(0), np.int64(1), np.int64(3))|t.eye(Two.TWO)|x.clamp(np.float64(0.5), np.int64(2))
x.masked_fill(x > 0, np.float64(3))|x.split(np.int64(1))|x.split(Sizes(1, 1))|x.split([np.int64(1), 1])|x.chunk(Two.TWO)
t.cat((x, x), Two.ONE)|t.stack(Sizes(x, x))|x.flip(np.array([0]))|x.tile((np.int64(2),))|x.fill_(Fraction(1, 2))
t.split(x, t.tensor(1))[0]|t.nn.functional.interpolate(x[None], t.tensor(4))|t.fft.fftshift(x, t.tensor(0))
t.linalg.vector_norm(x, 2, t.tensor(0))|t.normal(t.tensor(2.0), t.tensor(0.0), (2,))|x.roll(t.tensor(1), t.tensor(0))
t.nn.functional.pad(x, Sizes(1, 1))|t.nn.functional.interpolate(x[None], (np.int64(8),))|t.Size(range(2))
t.nn.functional.interpolate(x[None], scale_factor=np.float32(2))|t.Size((Two.TWO,))
"""


@pytest.mark.parametrize("call", CALLS.replace("\n", "|").strip("|").split("|"))
def test_numbers_of_other_classes(call: str) -> None:
    found: list[Any] = []
    for t in (tilegrad, torch):
        try:
            made = eval(call, {"t": t, "x": t.arange(6.0).reshape(2, 3) + 1, **NAMES})
            if isinstance(made, tuple):
                found.append([list(m.tolist() if hasattr(m, "tolist") else [m]) for m in made])
            else:
                found.append((made.tolist(), str(made.dtype).rpartition(".")[2]))
        except Exception as error:
            found.append(type(error))
    assert found[0] == found[1]
