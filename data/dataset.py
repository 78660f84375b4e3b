"""Datasets: what the loader takes samples from.

Source: PyTorch's ``torch.utils.data`` (names, arguments, semantics).
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate
from typing import Any

from tilegrad.autograd.rules.random import randperm
from tilegrad.autograd.tensor import Tensor


class Dataset:
    """Samples by index: subclasses define ``__getitem__(index)`` and mostly ``__len__()``."""

    def __getitem__(self, index: Any) -> Any:
        raise NotImplementedError("Subclasses of Dataset should implement __getitem__.")

    def __add__(self, other: Dataset) -> ConcatDataset:
        return ConcatDataset([self, other])


class IterableDataset(Dataset):
    """Samples in a stream: subclasses define ``__iter__()``.

    Every worker process iterates over its own copy; divide the work by
    :func:`tilegrad.data.get_worker_info`, or each sample comes once per worker.
    """

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError("Subclasses of IterableDataset should implement __iter__.")

    def __add__(self, other: Dataset) -> Any:
        return ChainDataset([self, other])


class TensorDataset(Dataset):
    """Row ``i`` of each tensor is sample ``i``.

    Args:
        tensors: any dtypes, all of one size in the first dimension.
    """

    def __init__(self, *tensors: Tensor):
        if not tensors:
            raise ValueError("TensorDataset: needs at least one tensor; got none")
        for t in tensors:
            if not isinstance(t, Tensor):
                raise TypeError(f"TensorDataset: expected tensors; got {type(t).__name__}")
        if any(t.size(0) != tensors[0].size(0) for t in tensors):
            shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
            raise AssertionError(f"TensorDataset: Size mismatch between tensors; got {shapes}")
        self.tensors = tensors

    def __getitem__(self, index: Any) -> tuple[Tensor, ...]:
        return tuple([t[index] for t in self.tensors])

    def __len__(self) -> int:
        return len(self.tensors[0])


class StackDataset(Dataset):
    """Sample ``i`` is the tuple (or, from keyword arguments, the dict) of all datasets' samples."""

    datasets: tuple[Any, ...] | dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any):
        if bool(args) == bool(kwargs):
            raise ValueError("StackDataset: needs datasets as arguments or as keywords, not both")
        self.datasets = args or kwargs
        members = list(args or kwargs.values())
        if any(len(d) != len(members[0]) for d in members):
            sizes = [len(d) for d in members]
            raise ValueError(f"StackDataset: Size mismatch between datasets; got {sizes}")
        self._length = len(members[0])

    def __getitem__(self, index: Any) -> Any:
        if isinstance(self.datasets, dict):
            return {name: d[index] for name, d in self.datasets.items()}
        return tuple([d[index] for d in self.datasets])

    def __len__(self) -> int:
        return self._length


class ConcatDataset(Dataset):
    """Datasets one after the other."""

    def __init__(self, datasets: Iterable[Any]):
        self.datasets = list(datasets)
        if not self.datasets:
            raise AssertionError("ConcatDataset: datasets should not be an empty iterable")
        for d in self.datasets:
            if isinstance(d, IterableDataset):
                raise AssertionError(
                    "ConcatDataset: does not support IterableDataset (use ChainDataset)"
                )
        self.cumulative_sizes = list(accumulate(len(d) for d in self.datasets))

    def __getitem__(self, index: int) -> Any:
        if index < 0:
            if -index > len(self):
                raise ValueError("absolute value of index should not exceed dataset length")
            index += len(self)
        if index >= len(self):
            raise IndexError(f"ConcatDataset: index {index} is out of range for length {len(self)}")
        which = bisect.bisect_right(self.cumulative_sizes, index)
        before = self.cumulative_sizes[which - 1] if which else 0
        return self.datasets[which][index - before]

    def __len__(self) -> int:
        return self.cumulative_sizes[-1]


class ChainDataset(IterableDataset):
    """Iterable datasets one after the other."""

    def __init__(self, datasets: Iterable[Any]):
        self.datasets = list(datasets)

    def __iter__(self) -> Iterator[Any]:
        for d in self.datasets:
            if not isinstance(d, IterableDataset):
                raise TypeError(
                    f"ChainDataset: only supports IterableDataset; got {type(d).__name__}"
                )
            yield from d

    def __len__(self) -> int:
        return sum(len(d) for d in self.datasets)


class Subset(Dataset):
    """The samples of ``dataset`` at ``indices``, in that order."""

    def __init__(self, dataset: Any, indices: Sequence[Any]):
        self.dataset = dataset
        self.indices = indices

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, list):
            return self.dataset[[self.indices[i] for i in index]]
        return self.dataset[self.indices[index]]

    def __len__(self) -> int:
        return len(self.indices)


def random_split(
    dataset: Any, lengths: Sequence[int | float], generator: Any = None
) -> list[Subset]:
    """Disjoint random subsets of ``dataset``.

    Args:
        dataset: has ``len()``.
        lengths: sizes that add up to ``len(dataset)``, or fractions that add up to 1; of those,
            sizes are rounded down and what remains goes, one each, to the first subsets.
        generator: where the random order comes from; default: the global one.

    Raises:
        ValueError: the lengths do not add up, or a fraction is not between 0 and 1.
    """
    total = len(dataset)
    sizes = list(lengths)
    if math.isclose(sum(sizes), 1) and sum(sizes) <= 1:
        sizes = _from_fractions(sizes, total)
    if sum(sizes) != total or any(s < 0 or s != int(s) for s in sizes):
        raise ValueError(
            f"random_split: Sum of input lengths does not equal the length of the input dataset; "
            f"got {list(lengths)} for {total} samples"
        )
    order = randperm(total, generator=generator, device="cpu").tolist()
    ends = list(accumulate(int(s) for s in sizes))
    return [Subset(dataset, order[e - int(s) : e]) for s, e in zip(sizes, ends, strict=True)]


def _from_fractions(fractions: Sequence[float], total: int) -> list[int | float]:
    for i, fraction in enumerate(fractions):
        if not 0 <= fraction <= 1:
            raise ValueError(f"random_split: Fraction at index {i} is not between 0 and 1")
    sizes: list[int | float] = [math.floor(total * f) for f in fractions]
    for i in range(int(total - sum(sizes))):
        sizes[i % len(sizes)] += 1
    return sizes
