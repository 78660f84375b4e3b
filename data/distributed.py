"""A sampler of one share of a dataset, of as many as there are processes.

Source: PyTorch's ``torch.utils.data.distributed`` (names, arguments, semantics).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from tilegrad.autograd.rules.random import randperm
from tilegrad.data.sampler import Sampler
from tilegrad.data.seeding import seeded


class DistributedSampler(Sampler):
    """Every ``num_replicas``-th index, from ``rank`` on, of an order that all processes agree on.

    Args:
        dataset: has ``len()``.
        num_replicas, rank: shares, and which this one is; default: one, the first, as there is one
            process.
        shuffle: a random order, of ``seed`` and the epoch; see :meth:`set_epoch`.
        drop_last: leave out what does not go into all shares; else the first indices come again.

    Raises:
        ValueError: there is no such rank.
    """

    def __init__(
        self,
        dataset: Any,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
        drop_last: bool = False,
    ):
        self.num_replicas = 1 if num_replicas is None else num_replicas
        self.rank = 0 if rank is None else rank
        if not 0 <= self.rank < self.num_replicas:
            raise ValueError(
                f"Invalid rank {self.rank}, rank should be in the interval [0, {self.num_replicas - 1}]"
            )
        self.dataset, self.shuffle, self.seed, self.drop_last = dataset, shuffle, seed, drop_last
        self.epoch = 0
        size = len(dataset)
        if drop_last and size % self.num_replicas:
            self.num_samples = math.ceil((size - self.num_replicas) / self.num_replicas)
        else:
            self.num_samples = math.ceil(size / self.num_replicas)
        self.total_size = self.num_samples * self.num_replicas

    def __iter__(self) -> Iterator[int]:
        size = len(self.dataset)
        order = list(range(size))
        if self.shuffle:
            order = randperm(size, generator=seeded(self.seed + self.epoch)).tolist()
        if not self.drop_last and order:
            order = (order * math.ceil(self.total_size / size))[: self.total_size]
        return iter(order[: self.total_size][self.rank :: self.num_replicas])

    def __len__(self) -> int:
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Let the next iteration have the order of ``epoch``."""
        self.epoch = epoch
