"""Samplers: the order in which the loader takes samples.

Random ones draw one seed from the generator when ``iter()`` is called, so that how far a loader
prefetches never changes what other users of that generator get.

Source: PyTorch's ``torch.utils.data.sampler`` (names, arguments, semantics).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import Any

from tilegrad.autograd.rules.creation import as_tensor
from tilegrad.autograd.rules.random import randint, randperm
from tilegrad.autograd.rules.sampling import multinomial
from tilegrad.data.seeding import draw_seed, seeded

_CHUNK = 8192  # random indices drawn at once


class Sampler:
    """Indices in some order: subclasses define ``__iter__()`` and mostly ``__len__()``."""

    def __init__(self, data_source: Any = None):
        del data_source  # PyTorch's argument, unused there too

    def __iter__(self) -> Iterator[Any]:
        raise NotImplementedError("Subclasses of Sampler should implement __iter__.")


class SequentialSampler(Sampler):
    """``0, 1, …, len(data_source) - 1``."""

    def __init__(self, data_source: Sized):
        self.data_source = data_source

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.data_source)))

    def __len__(self) -> int:
        return len(self.data_source)


class RandomSampler(Sampler):
    """All indices in random order, or random ones drawn again and again.

    Args:
        data_source: has ``len()``.
        replacement: whether an index may come more than once.
        num_samples: how many to draw; default: ``len(data_source)``.
        generator: where the order comes from; default: the global one.

    Raises:
        ValueError: ``num_samples`` is not a positive integer.
    """

    def __init__(
        self,
        data_source: Sized,
        replacement: bool = False,
        num_samples: int | None = None,
        generator: Any = None,
    ):
        if not isinstance(replacement, bool):
            raise TypeError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        self.data_source = data_source
        self.replacement = replacement
        self._num_samples = num_samples
        self.generator = generator
        if not isinstance(self.num_samples, int) or self.num_samples <= 0:
            raise ValueError(
                f"num_samples should be a positive integer value, but got num_samples={self.num_samples}"
            )

    @property
    def num_samples(self) -> int:
        """How many indices one iteration gives; the data source may have grown since the last."""
        return len(self.data_source) if self._num_samples is None else self._num_samples

    def __iter__(self) -> Iterator[int]:
        return self._draw(seeded(draw_seed(self.generator)))

    def _draw(self, generator: Any) -> Iterator[int]:
        size, left = len(self.data_source), self.num_samples
        while left > 0:
            if self.replacement:
                drawn = randint(
                    0, size, (min(left, _CHUNK),), generator=generator, device="cpu"
                ).tolist()
            else:
                drawn = randperm(size, generator=generator, device="cpu").tolist()[:left]
            yield from drawn
            left -= len(drawn)

    def __len__(self) -> int:
        return self.num_samples


class SubsetRandomSampler(Sampler):
    """The given indices in random order."""

    def __init__(self, indices: Sequence[Any], generator: Any = None):
        self.indices = indices
        self.generator = generator

    def __iter__(self) -> Iterator[Any]:
        order = randperm(
            len(self.indices), generator=seeded(draw_seed(self.generator)), device="cpu"
        )
        return (self.indices[i] for i in order.tolist())

    def __len__(self) -> int:
        return len(self.indices)


class WeightedRandomSampler(Sampler):
    """Indices drawn with probabilities proportional to ``weights``.

    Args:
        weights: one non-negative number per index; they need not add up to 1.
        num_samples: how many to draw.
        replacement: whether an index may come more than once.
        generator: where they come from; default: the global one.

    Raises:
        ValueError: wrong ``num_samples``, or ``weights`` is not one-dimensional.
    """

    def __init__(
        self,
        weights: Any,
        num_samples: int,
        replacement: bool = True,
        generator: Any = None,
    ):
        if not _is_count(num_samples):
            raise ValueError(
                f"num_samples should be a positive integer value, but got num_samples={num_samples}"
            )
        if not isinstance(replacement, bool):
            raise ValueError(
                f"replacement should be a boolean value, but got replacement={replacement}"
            )
        self.weights = as_tensor(weights, dtype="float64", device="cpu")
        if self.weights.ndim != 1:
            raise ValueError(
                f"weights should be a 1d sequence but given weights have shape {tuple(self.weights.shape)}"
            )
        self.num_samples = num_samples
        self.replacement = replacement
        self.generator = generator

    def __iter__(self) -> Iterator[int]:
        drawn = multinomial(
            self.weights,
            self.num_samples,
            self.replacement,
            generator=seeded(draw_seed(self.generator)),
        )
        return iter(drawn.tolist())

    def __len__(self) -> int:
        return self.num_samples


class BatchSampler(Sampler):
    """Lists of ``batch_size`` indices of another sampler.

    Args:
        sampler: any iterable of indices.
        batch_size: indices a list.
        drop_last: leave out the last list if it is shorter.

    Raises:
        ValueError: ``batch_size`` is not a positive integer, or ``drop_last`` not a bool.
    """

    def __init__(self, sampler: Iterable[Any], batch_size: int, drop_last: bool):
        if not _is_count(batch_size):
            raise ValueError(
                f"batch_size should be a positive integer value, but got batch_size={batch_size}"
            )
        if not isinstance(drop_last, bool):
            raise ValueError(f"drop_last should be a boolean value, but got drop_last={drop_last}")
        self.sampler = sampler
        self.batch_size = batch_size
        self.drop_last = drop_last

    def __iter__(self) -> Iterator[list[Any]]:
        return self._batches(iter(self.sampler))

    def _batches(self, indices: Iterator[Any]) -> Iterator[list[Any]]:
        batch: list[Any] = []
        for index in indices:
            batch.append(index)
            if len(batch) == self.batch_size:
                yield batch
                batch = []
        if batch and not self.drop_last:
            yield batch

    def __len__(self) -> int:
        count = len(self.sampler)  # type: ignore[arg-type]
        return count // self.batch_size if self.drop_last else -(-count // self.batch_size)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0
