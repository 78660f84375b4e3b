"""Loading one batch in this process: the same code in the main process and in workers."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from tilegrad.autograd.rules.creation import from_numpy
from tilegrad.autograd.tensor import Tensor
from tilegrad.data.collate import default_collate, default_convert
from tilegrad.data.dataset import IterableDataset, Subset, TensorDataset
from tilegrad.data.seeding import mix, seed_all
from tilegrad.data.twisters import Seeder
from tilegrad.engine import array as arrays


class MapFetcher:
    """Batches of a dataset with ``__getitem__``.

    Args:
        dataset: gives samples by index.
        collate_fn: makes a batch from a list of samples, or converts one sample if not ``batched``.
        batched: whether a request holds a list of indices.
        seed: of the epoch.
    """

    def __init__(self, dataset: Any, collate_fn: Callable[[Any], Any], batched: bool, seed: int):
        self.dataset = dataset
        self.collate_fn = collate_fn
        self.batched = batched
        self.seeder = Seeder(seed)
        # nothing in it is random: no generator needs a seed
        self.plain = _is_plain(dataset) and collate_fn in (default_collate, default_convert)

    def fetch(self, indices: Any, start: int) -> Any:
        """The samples at ``indices``, the first of which is the ``start``-th of the epoch."""
        if not self.batched:
            return self.collate_fn(self._sample(indices, start))
        if self.plain and self.collate_fn is default_collate:
            rows = _rows(self.dataset, indices)
            if rows is not None:
                return rows
        if hasattr(self.dataset, "__getitems__"):
            self.seeder(start)
            return self.collate_fn(self.dataset.__getitems__(indices))
        samples = [self._sample(index, start + i) for i, index in enumerate(indices)]
        return self.collate_fn(samples)

    def _sample(self, index: Any, place: int) -> Any:
        if not self.plain:
            self.seeder(place)
        return self.dataset[index]


def _is_plain(dataset: Any) -> bool:
    """Whether samples are rows of tensors, as they are."""
    while type(dataset) is Subset:
        dataset = dataset.dataset
    return type(dataset) is TensorDataset


def _rows(dataset: Any, indices: Any) -> list[Tensor] | None:
    """What collating the samples one by one would give, gathered at once; None if it cannot be."""
    while type(dataset) is Subset:
        indices = [dataset.indices[i] for i in indices]
        dataset = dataset.dataset
    places = np.asarray(indices)
    if places.dtype.kind not in "iu" or places.ndim != 1:
        return None
    if any(t.requires_grad or t.device.type != "cpu" for t in dataset.tensors):
        return None
    return [from_numpy(arrays.to_numpy(t)[places]) for t in dataset.tensors]


class IterableFetcher:
    """Batches of an :class:`IterableDataset`.

    Args:
        dataset: gives samples in a stream.
        collate_fn: as for :class:`MapFetcher`.
        batch_size: samples a batch; None: samples come one by one.
        drop_last: leave out a last batch that is shorter.
        seed: of the epoch and the worker.
    """

    def __init__(
        self,
        dataset: IterableDataset,
        collate_fn: Callable[[Any], Any],
        batch_size: int | None,
        drop_last: bool,
        seed: int,
    ):
        self.collate_fn = collate_fn
        self.batch_size = batch_size
        self.drop_last = drop_last
        self.seeder = Seeder(seed)
        self.place = 0
        seed_all(seed)
        self.samples: Iterator[Any] = iter(dataset)

    def fetch(self, indices: Any = None, start: int = 0) -> Any:
        """The next batch.

        Raises:
            StopIteration: there is none.
        """
        del indices, start
        if self.batch_size is None:
            return self.collate_fn(self._sample())
        batch: list[Any] = []
        try:
            while len(batch) < self.batch_size:
                batch.append(self._sample())
        except StopIteration:
            if not batch or self.drop_last:
                raise
        return self.collate_fn(batch)

    def _sample(self) -> Any:
        self.seeder(self.place)
        self.place += 1
        return next(self.samples)


def make_fetcher(
    dataset: Any,
    collate_fn: Callable[[Any], Any],
    batch_size: int | None,
    drop_last: bool,
    batched: bool,
    seed: int,
    worker_id: int,
) -> MapFetcher | IterableFetcher:
    """The fetcher for one epoch in one process."""
    if isinstance(dataset, IterableDataset):
        seed = mix(seed, worker_id)
        return IterableFetcher(dataset, collate_fn, batch_size, drop_last, seed)
    return MapFetcher(dataset, collate_fn, batched, seed)


class CaughtError:
    """An exception on its way from a worker to the main process."""

    def __init__(self, error: BaseException, where: str):
        self.kind = type(error)
        text = "".join(traceback.format_exception(error))
        self.message = f"Caught {self.kind.__name__} {where}.\nOriginal {text}"

    def reraise(self) -> None:
        """Raise it here: the same type, with the worker's traceback in the message."""
        message: Any = _KeyErrorMessage(self.message) if self.kind is KeyError else self.message
        try:
            error = self.kind(message)
        except Exception:
            # a type that is not made from one message
            raise RuntimeError(self.message) from None
        try:
            raise error
        finally:
            del error  # a frame that holds its own exception is a cycle, and keeps what called it


class _KeyErrorMessage(str):
    """KeyError shows the ``repr`` of its argument, which would hide the line breaks."""

    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)
