"""Batches in page-locked memory, from which the GPU copies by itself."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

from tilegrad.autograd.tensor import Tensor
from tilegrad.data.collate import over_leaves
from tilegrad.data.resuming import Progress


def pin(data: Any) -> Any:
    """``data`` with every tensor of the CPU in it, at any depth, in page-locked memory.

    Objects with a method ``pin_memory`` are replaced by what it returns.
    """
    return over_leaves(data, _pinned)


def _pinned(leaf: Any) -> Any:
    if isinstance(leaf, Tensor):
        return leaf if leaf.is_cuda else leaf.pin_memory()
    return leaf.pin_memory() if hasattr(leaf, "pin_memory") else leaf


class Pinned:
    """One pass over ``batches``, pinned.

    Args:
        batches: what the loader yields. progress: counts it.
        ahead: let a thread pin the batch after the one that is in use. It is taken from ``batches``
            in the thread that iterates, so samplers and datasets never run in two threads.
    """

    def __init__(self, batches: Iterator[Any], ahead: bool, progress: Progress):
        self._batches = batches
        self._progress = progress
        self._thread = ThreadPoolExecutor(1, "pin_memory") if ahead else None
        self._next: Future[Any] | None = None

    def __iter__(self) -> Pinned:
        return self

    def __next__(self) -> Any:
        if self._thread is None:
            return pin(next(self._batches))
        self._progress.ahead = 0  # should this one be the last
        current = self._next or self._take(self._thread)
        self._next = None  # should the rest be interrupted
        ended = isinstance(current.exception(), StopIteration)
        self._next = current if ended else self._take(self._thread)
        self._progress.ahead = int(not self._progress.ended)
        return current.result()

    def _take(self, thread: ThreadPoolExecutor) -> Future[Any]:
        """The next batch on its way; what is raised instead, when it is its turn."""
        try:
            return thread.submit(pin, next(self._batches))
        except Exception as error:
            failed: Future[Any] = Future()
            failed.set_exception(error)
            return failed
