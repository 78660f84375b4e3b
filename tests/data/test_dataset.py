from __future__ import annotations

from collections import OrderedDict, namedtuple

import numpy as np
import pytest
import torch
from hypothesis import given, settings, strategies as st

import tilegrad
from tests.data import sets
from tilegrad import data
from tilegrad.data import transforms
from tilegrad.engine.random import default_generator

Pair = namedtuple("Pair", ["a", "b"])


def as_torch(value):
    """``value`` with torch's tensors in place of ours."""
    if isinstance(value, tilegrad.Tensor):
        return torch.from_numpy(value.numpy().copy())
    if isinstance(value, dict):
        return type(value)((k, as_torch(v)) for k, v in value.items())
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*[as_torch(v) for v in value])
    if isinstance(value, (list, tuple)):
        return type(value)([as_torch(v) for v in value])
    return value


def same(mine, theirs):
    if isinstance(theirs, torch.Tensor):
        assert isinstance(mine, tilegrad.Tensor)
        assert mine.dtype.name == str(theirs.dtype).removeprefix("torch.")
        assert tuple(mine.shape) == tuple(theirs.shape)
        np.testing.assert_array_equal(mine.numpy(), theirs.numpy())
    elif isinstance(theirs, dict):
        assert type(mine) is type(theirs)
        assert list(mine) == list(theirs)
        for key in theirs:
            same(mine[key], theirs[key])
    elif isinstance(theirs, (list, tuple)):
        assert type(mine) is type(theirs)
        assert len(mine) == len(theirs)
        for x, y in zip(mine, theirs, strict=True):
            same(x, y)
    else:
        assert mine == theirs


def arange(*shape, dtype="float32"):
    return tilegrad.from_numpy(np.arange(np.prod(shape)).reshape(shape).astype(dtype))


BATCHES = {
    "tensors": [arange(2, 3), arange(2, 3) + 1],
    "strided": [arange(2, 3).t(), arange(3, 2)],
    "zero-dim": [tilegrad.tensor(1.5), tilegrad.tensor(2.5)],
    "arrays": [np.arange(4, dtype=np.uint8), np.arange(4, dtype=np.uint8)],
    "array scalars": [np.float32(1), np.float32(2)],
    "doubles": [np.float64(1), np.float64(2)],
    "zero-dim arrays": [np.array(1), np.array(2)],
    "floats": [1.0, 2.5],
    "ints": [1, 2],
    "bools": [True, False],
    "strings": ["a", "bc"],
    "bytes": [b"a", b"bc"],
    "tuples": [(1, 2.0, "x"), (3, 4.0, "y")],
    "lists": [[1, [2]], [3, [4]]],
    "dicts": [{"a": 1, "b": {"c": 2.0}}, {"a": 3, "b": {"c": 4.0}}],
    "ordered": [OrderedDict(b=1, a=2), OrderedDict(b=3, a=4)],
    "named": [Pair(1, arange(2)), Pair(2, arange(2))],
    "one": [arange(3)],
}


@pytest.mark.parametrize("name", BATCHES)
def test_collate_as_torch(name):
    batch = BATCHES[name]
    expected = torch.utils.data.default_collate([as_torch(sample) for sample in batch])
    same(data.default_collate(batch), expected)


def test_convert_as_torch():
    value = {"a": np.arange(3), "b": (np.float32(2), "x"), "c": [Pair(np.ones(2), 1)], "d": None}
    same(data.default_convert(value), torch.utils.data.default_convert(value))
    text = np.array(["a"])
    assert data.default_convert(text) is text


@pytest.mark.parametrize(
    "batch, kind, text",
    [
        ([arange(2), arange(3)], RuntimeError, "equal size"),
        ([np.ones(2), np.ones(3)], RuntimeError, "equal size"),
        ([[1, 2], [1]], RuntimeError, "equal size"),
        ([object()], TypeError, "found <class 'object'>"),
        ([None], TypeError, "NoneType"),
        ([np.array(["a"])], TypeError, "found <U1"),
    ],
)
def test_collate_refuses(batch, kind, text):
    with pytest.raises(kind, match=text):
        data.default_collate(batch)


def test_collate_keeps_gradients():
    rows = [arange(2).requires_grad_(), arange(2).requires_grad_()]
    (data.default_collate(rows) * arange(2, 2)).sum().backward()
    assert [r.grad.tolist() for r in rows] == [[0.0, 1.0], [2.0, 3.0]]


# ------------------------------------------------------------------------------------- datasets


def test_tensor_dataset():
    dataset = data.TensorDataset(arange(5, 2), tilegrad.arange(5))
    assert len(dataset) == 5
    row, label = dataset[-1]
    assert row.tolist() == [8.0, 9.0]
    assert label.item() == 4
    batch = next(iter(data.DataLoader(dataset, batch_size=3)))
    assert isinstance(batch, list)
    assert batch[0].tolist() == [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    with pytest.raises(AssertionError, match="Size mismatch"):
        data.TensorDataset(arange(5), arange(4))
    with pytest.raises(ValueError, match="at least one"):
        data.TensorDataset()


def test_rows_are_gathered_as_one_by_one():
    dataset = data.TensorDataset(arange(9, 2).t()[:, ::1].t(), tilegrad.arange(9), arange(9, 0))
    order = [4, -1, 0, 0, 8]
    nested = data.Subset(data.Subset(dataset, list(range(8, -1, -1))), order)

    class Slow(data.TensorDataset):
        """The same samples, but not known to be plain rows."""

    slow = data.Subset(data.Subset(Slow(*dataset.tensors), list(range(8, -1, -1))), order)
    got = [list(data.DataLoader(d, batch_size=3)) for d in (nested, slow)]
    for fast, reference in zip(*got, strict=True):
        same(fast, as_torch(reference))
    with pytest.raises(IndexError):
        list(data.DataLoader(dataset, batch_size=2, sampler=[0, 9]))
    tracked = data.TensorDataset(arange(3, 2).requires_grad_())
    assert next(iter(data.DataLoader(tracked, batch_size=2)))[0].requires_grad


def test_concat_stack_subset_chain():
    first, second = data.TensorDataset(arange(3)), data.TensorDataset(arange(4) + 10)
    both = first + second
    assert [both[i][0].item() for i in range(7)] == [0, 1, 2, 10, 11, 12, 13]
    assert both[-1][0].item() == 13
    with pytest.raises(ValueError, match="absolute value of index"):
        both[-8]
    with pytest.raises(IndexError):
        both[7]
    with pytest.raises(AssertionError, match="empty"):
        data.ConcatDataset([])
    with pytest.raises(AssertionError, match="IterableDataset"):
        data.ConcatDataset([sets.Stream(1)])
    subset = data.Subset(both, [6, 0, 3])
    assert [subset[i][0].item() for i in range(len(subset))] == [13, 0, 10]
    stacked = data.StackDataset(first, data.Subset(second, [0, 1, 2]))
    assert [v.item() for (v,) in stacked[1]] == [1, 11]
    assert data.StackDataset(a=[1, 2], b="xy")[1] == {"a": 2, "b": "y"}
    with pytest.raises(ValueError, match="Size mismatch"):
        data.StackDataset([1], [1, 2])
    chain = sets.Stream(2) + sets.Stream(3)
    assert [i for i, _ in chain] == [0, 1, 0, 1, 2]
    with pytest.raises(NotImplementedError):
        data.Dataset()[0]
    with pytest.raises(NotImplementedError):
        iter(data.IterableDataset())


@settings(deadline=None)  # the first draw may compile a kernel
@given(st.lists(st.integers(0, 9), min_size=1, max_size=5), st.integers(0, 1 << 40))
def test_random_split_covers_everything_once(sizes, seed):
    total = sum(sizes)
    generator = tilegrad.Generator().manual_seed(seed)
    if total == 1 and len(sizes) > 1:
        return  # taken as fractions, as PyTorch does
    parts = data.random_split(range(total), sizes, generator=generator)
    assert [len(p) for p in parts] == sizes
    assert sorted(i for p in parts for i in p.indices) == list(range(total))


def test_random_split_by_fractions():
    for total, fractions in ((10, [0.3, 0.7]), (7, [0.5, 0.5]), (11, [0.2, 0.3, 0.5]), (3, [1.0])):
        mine = [len(p) for p in data.random_split(range(total), fractions)]
        theirs = [len(p) for p in torch.utils.data.random_split(range(total), fractions)]
        assert mine == theirs
    for lengths in ([3, 3], [-1, 8], [2.5, 4.5]):
        with pytest.raises(ValueError, match="does not equal the length"):
            data.random_split(range(7), lengths)
    with pytest.raises(ValueError, match="not between 0 and 1"):
        data.random_split(range(7), [1.5, -0.5])
    orders = [
        data.random_split(range(30), [30], generator=tilegrad.Generator().manual_seed(s))[0].indices
        for s in (1, 1, 2)
    ]
    assert orders[0] == orders[1] != orders[2]


# ------------------------------------------------------------------------------------- samplers


def draws(make, seed=3):
    default_generator.manual_seed(seed)
    sampler = make()
    return list(sampler), list(sampler)


def test_random_sampler():
    first, second = draws(lambda: data.RandomSampler(range(50)))
    assert sorted(first) == sorted(second) == list(range(50))
    assert first != second
    assert (first, second) == draws(lambda: data.RandomSampler(range(50)))
    assert first != draws(lambda: data.RandomSampler(range(50)), seed=4)[0]
    more, _ = draws(lambda: data.RandomSampler(range(5), num_samples=12))
    assert len(more) == 12
    assert sorted(more[:5]) == sorted(more[5:10]) == list(range(5))
    again, _ = draws(lambda: data.RandomSampler(range(5), replacement=True, num_samples=10_000))
    counts = np.bincount(again, minlength=5)
    assert len(again) == 10_000
    # each count is binomial with mean 2000 and deviation 40: six deviations
    assert np.all(np.abs(counts - 2000) < 240)
    for wrong in (0, -1, 2.0, False):
        with pytest.raises(ValueError, match="positive integer"):
            data.RandomSampler(range(5), num_samples=wrong)
    with pytest.raises(TypeError, match="boolean"):
        data.RandomSampler(range(5), replacement=1)


def test_a_sampler_takes_one_draw_when_iteration_starts():
    """What is drawn while a pass runs must not depend on how far it has got."""
    for make in (
        lambda: data.RandomSampler(range(20_000), replacement=True),
        lambda: data.SubsetRandomSampler(range(10)),
        lambda: data.WeightedRandomSampler([1.0, 2.0], 5),
    ):
        default_generator.manual_seed(1)
        iterator = iter(make())
        before = default_generator.get_state().tolist()
        list(iterator)
        assert default_generator.get_state().tolist() == before


def test_subset_random_sampler():
    first, second = draws(lambda: data.SubsetRandomSampler(["a", "b", "c", "d"]))
    assert sorted(first) == sorted(second) == ["a", "b", "c", "d"]
    assert len(data.SubsetRandomSampler(range(4))) == 4


def test_weighted_random_sampler():
    weights = [0.0, 1.0, 3.0, 4.0]
    drawn, _ = draws(lambda: data.WeightedRandomSampler(weights, 8000))
    counts = np.bincount(drawn, minlength=4)
    expected = np.array(weights) * 1000
    deviation = np.sqrt(expected * (1 - expected / 8000))
    assert np.all(np.abs(counts - expected) <= 6 * deviation)
    distinct, _ = draws(lambda: data.WeightedRandomSampler(weights, 3, replacement=False))
    assert sorted(distinct) == [1, 2, 3]
    with pytest.raises(ValueError, match="1d sequence"):
        data.WeightedRandomSampler([[1.0]], 1)
    with pytest.raises(ValueError, match="positive integer"):
        data.WeightedRandomSampler([1.0], 0)


def test_batch_sampler():
    for drop in (False, True):
        mine = data.BatchSampler(data.SequentialSampler(range(10)), 3, drop)
        theirs = torch.utils.data.BatchSampler(range(10), 3, drop)
        assert list(mine) == list(theirs)
        assert len(mine) == len(theirs)
    with pytest.raises(ValueError, match="batch_size"):
        data.BatchSampler(range(3), 0, False)
    with pytest.raises(ValueError, match="drop_last"):
        data.BatchSampler(range(3), 1, 1)


# ----------------------------------------------------------------------------------- transforms


def test_transforms():
    image = np.arange(12, dtype=np.uint8).reshape(3, 4) * 20
    pipeline = transforms.Compose([transforms.ToTensor(), transforms.Normalize(0.5, 2.0)])
    made = pipeline(image)
    assert made.dtype is tilegrad.float32
    np.testing.assert_allclose(made.numpy(), ((image / 255 - 0.5) / 2)[None], rtol=1e-6)
    colours = transforms.ToTensor()(np.zeros((5, 6, 3), np.float32))
    assert tuple(colours.shape) == (3, 5, 6)
    by_channel = transforms.Normalize([0.0, 1.0, 2.0], [1.0, 2.0, 4.0])(colours)
    assert by_channel[:, 0, 0].tolist() == [0.0, -0.5, -0.5]
    with pytest.raises(ValueError, match="2 or 3 dimensions"):
        transforms.ToTensor()(np.zeros(3))
    with pytest.raises(ValueError, match="must not be zero"):
        transforms.Normalize(0.0, 0.0)


def test_random_shift_moves_whole_pixels():
    image = np.arange(1, 13, dtype=np.float32).reshape(1, 3, 4)
    padded = np.pad(image, [(0, 0), (1, 1), (1, 1)])
    possible = {
        padded[:, i : i + 3, j : j + 4].tobytes(): (i, j) for i in range(3) for j in range(3)
    }
    seen = {possible[transforms.RandomShift(1)(image).tobytes()] for _ in range(400)}
    assert len(seen) == 9


def test_random_affine():
    image = np.zeros((5, 5), np.float32)
    image[1, 2] = 1
    np.testing.assert_array_equal(transforms.RandomAffine(0)(image), image)
    turned = transforms.RandomAffine(0, scale=(2.0, 2.0))(image)
    assert turned[0, 2] == 1  # twice as far from the centre
    turn = transforms.RandomAffine(90)
    np.random.seed(0)
    made = [turn(image) for _ in range(20)]
    assert all(0 <= m.min() and m.max() <= 1 for m in made)
    assert len({m.tobytes() for m in made}) == 20
