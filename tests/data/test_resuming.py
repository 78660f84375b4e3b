"""Loaders that go on in the middle of a pass, and shares of a dataset."""

from __future__ import annotations

import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch

import tilegrad
from tilegrad import data


class Noisy(data.Dataset):
    """Samples with random numbers of all three generators in them."""

    def __len__(self) -> int:
        return 23

    def __getitem__(self, index: int) -> Any:
        return index, random.random(), float(np.random.rand()), tilegrad.rand(()).item()


class Stream(data.IterableDataset):
    def __iter__(self) -> Any:
        for index in range(23):
            yield index, tilegrad.rand(()).item()


def _loader(kind: str, workers: int) -> Any:
    generator = tilegrad.Generator()
    generator.manual_seed(5)
    options: dict[str, Any] = {"batch_size": 4, "num_workers": workers, "generator": generator}
    if kind == "stream":
        return data.DataLoader(Stream(), **options)
    if kind == "weighted":
        options["sampler"] = data.WeightedRandomSampler([1.0, 2.0] * 10, 23, generator=generator)
    return data.DataLoader(Noisy(), shuffle=kind == "shuffled", **options)


def _lists(batch: Any) -> Any:
    return [part.tolist() for part in batch]


@pytest.mark.parametrize(
    ("kind", "before", "after"),
    [
        ("shuffled", 0, 0),
        ("in order", 0, 0),
        ("weighted", 0, 0),
        ("stream", 0, 0),
        ("shuffled", 2, 0),
        ("shuffled", 0, 2),
    ],
)
def test_goes_on_exactly(kind: str, before: int, after: int) -> None:
    loader = _loader(kind, before)
    next(iter(loader))  # a pass that is given up
    first = [_lists(b) for b in loader]
    assert loader.state_dict()["pass"]["ended"]
    passing = iter(loader)
    seen = [_lists(next(passing)) for _ in range(3)]
    state = pickle.loads(pickle.dumps(loader.state_dict()))
    rest = [_lists(b) for b in passing]
    following = [_lists(b) for b in loader]
    other = _loader(kind, after)
    other.generator.position = loader.generator.position
    other.load_state_dict(state)
    assert other.state_dict() == state
    place = other.generator.position
    assert [_lists(b) for b in other] == rest
    assert other.generator.position == place  # as if the pass had been begun elsewhere
    assert len(first) == 6 and len(seen) + len(rest) == 6 and len(following) == 6
    if kind != "in order":
        assert first != seen + rest


def test_of_passes_that_have_not_begun_or_have_ended() -> None:
    loader, other = _loader("shuffled", 0), _loader("shuffled", 0)
    assert loader.state_dict() == {"pass": None}
    other.load_state_dict(loader.state_dict())
    whole = [_lists(b) for b in loader]
    assert [_lists(b) for b in other] == whole
    other.load_state_dict(loader.state_dict())
    assert [_lists(b) for b in other] == [_lists(b) for b in loader] != whole
    with pytest.raises(KeyError):
        loader.load_state_dict({"pass": {}})


@pytest.mark.parametrize("drop_last", [False, True])
@pytest.mark.parametrize(("size", "replicas"), [(10, 3), (9, 3), (2, 5), (7, 1)])
def test_shares(size: int, replicas: int, drop_last: bool) -> None:
    theirs = torch.utils.data.DistributedSampler
    for rank in range(replicas):
        ours = data.DistributedSampler(
            range(size), replicas, rank, shuffle=False, drop_last=drop_last
        )
        other = theirs(range(size), replicas, rank, shuffle=False, drop_last=drop_last)  # type: ignore[arg-type]
        assert list(ours) == list(other) and len(ours) == len(other)
    shares = [data.DistributedSampler(range(size), replicas, r, seed=3) for r in range(replicas)]
    orders = []
    for epoch in (0, 1, 0):
        for share in shares:
            share.set_epoch(epoch)
        orders.append([list(share) for share in shares])
    assert orders[0] == orders[2] and (orders[0] != orders[1] or size < 3)
    assert {i for share in orders[0] for i in share} == set(range(size))


def test_no_such_rank() -> None:
    for kind in (data.DistributedSampler, torch.utils.data.DistributedSampler):
        with pytest.raises(ValueError, match="Invalid rank"):
            kind(range(4), 2, 2)  # type: ignore[arg-type]
    assert list(data.DistributedSampler(range(3), shuffle=False)) == [0, 1, 2]
