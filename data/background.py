"""Iterating over what worker processes load ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from tilegrad.data.pool import WorkerPool
from tilegrad.data.resuming import Progress
from tilegrad.data.seeding import draw_seed
from tilegrad.data.worker import ERROR, EXHAUSTED, Work

if TYPE_CHECKING:
    from tilegrad.data.dataloader import DataLoader


class FromWorkers:
    """One pass with workers: requests go round, answers are taken in the same order; or, unless ``in_order``, as
    they come, and who has answered is asked next.
    """

    def __init__(self, loader: DataLoader, progress: Progress, skip: int):
        seed = draw_seed(loader.generator)
        self._requests: Iterator[tuple[Any, int]] = loader._requests(skip)
        self._progress = progress
        self._pool = self._open(loader, seed)
        self._keep, self._in_order = loader.persistent_workers, loader.in_order
        self._pool.begin_epoch(seed)
        self._active = deque(range(loader.num_workers))
        self._asked: deque[int] = deque()  # the workers of requests without answer
        self._number = 0
        for _ in range((loader.prefetch_factor or 2) * loader.num_workers):
            self._request()
        if loader._streams:
            for _ in range(skip):
                next(self)

    @staticmethod
    def _open(loader: DataLoader, seed: int) -> WorkerPool:
        kept: WorkerPool | None = loader._pool
        if kept is not None and kept.peers:
            return kept
        work = Work(
            loader.dataset,
            loader.collate_fn,
            loader.worker_init_fn,
            loader.batch_size,
            loader.drop_last,
            loader._auto_collation,
        )
        assert loader._context is not None
        made = WorkerPool(work, loader.num_workers, loader._context, seed, loader.timeout)
        if loader.persistent_workers:
            loader._pool = made
        return made

    def _request(self, which: int | None = None) -> None:
        """Ask a worker, or the next in turn, for the next batch, if both exist."""
        if not self._active:
            return
        try:
            indices, start = next(self._requests)
        except StopIteration:
            return
        if which is None:
            which = self._active[0]
            self._active.rotate(-1)
        self._pool.request(which, self._number, indices, start)
        self._asked.append(which)
        self._number += 1

    def __iter__(self) -> FromWorkers:
        return self

    def __next__(self) -> Any:
        while self._asked:
            which, kind, value = self._receive(self._asked[0] if self._in_order else None)
            self._asked.remove(which)
            if kind == EXHAUSTED:
                if which in self._active:
                    self._active.remove(which)
                continue
            self._request(None if self._in_order else which)
            if kind == ERROR:
                value.reraise()
            self._progress.given += 1
            return value
        self._progress.ended = True
        if not self._keep:
            self._pool.close()
        raise StopIteration

    def _receive(self, which: int | None) -> tuple[int, int, Any]:
        try:
            return self._pool.receive(which)
        except BaseException:
            if not self._pool.peers:
                self._asked.clear()
            elif not self._keep:
                self._asked.clear()
                self._pool.close()
            raise
