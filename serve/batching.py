"""Requests that come at one time share a call of the model."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from tilegrad.engine.errors import OutOfMemoryError
from tilegrad.serve.limits import Limits, Refusal, one_line
from tilegrad.serve.metrics import Metrics
from tilegrad.serve.model import Model

Arrays = Sequence[np.ndarray]
Outputs = dict[str, np.ndarray]


class _Piece:
    """Examples of one request, at most a batch of them, and the promise of their outputs."""

    __slots__ = ("arrays", "count", "future", "since")

    def __init__(self, arrays: Arrays, future: asyncio.Future[Outputs], since: float):
        self.arrays, self.future, self.since = arrays, future, since
        self.count = len(arrays[0])


class Batcher:
    """A bounded queue before a model, whose calls run in a thread of their own, one after the other.

    A call takes what waits, up to ``limits.max_batch`` examples; the first of them waits ``limits.max_wait`` seconds
    for company, and while a call runs the next ones gather.
    """

    def __init__(self, model: Model, limits: Limits, metrics: Metrics):
        self.model, self.limits, self.metrics = model, limits, metrics
        self.sizes = model.sizes(limits.max_batch)
        self.waiting = 0  # examples
        self._pieces: deque[_Piece] = deque()
        self._closing = False
        self._arrived: asyncio.Event  # something waits
        self._enough: asyncio.Event  # a whole batch waits
        self._task: asyncio.Task[None] | None = None
        self._thread: ThreadPoolExecutor | None = None

    @property
    def alive(self) -> bool:
        """Whether requests are taken."""
        return not self._closing and self._task is not None and not self._task.done()

    def start(self) -> None:
        """Begin to serve; within the event loop."""
        self._arrived, self._enough, self._closing = asyncio.Event(), asyncio.Event(), False
        self._thread = ThreadPoolExecutor(1, "tilegrad-serve")
        self._task = asyncio.get_running_loop().create_task(self._serve())

    async def close(self) -> None:
        """Take nothing more, and compute what waits."""
        self._closing = True
        if self._task is not None and self._thread is not None:
            self._arrived.set()
            self._enough.set()
            await self._task
            self._thread.shutdown()

    async def submit(self, arrays: Arrays) -> Outputs:
        """The outputs for these examples, by name.

        Raises:
            Refusal: 429, too many wait; 503, the server is stopping, or has not the memory; 422, the model cannot run
                on them.
        """
        count, most = len(arrays[0]), self.sizes[-1]
        if not self.alive:
            raise Refusal(503, "the server is stopping", Retry_After="1")
        if count > self.limits.queue:
            raise Refusal(413, f"a request may have {self.limits.queue} examples; got {count}")
        if self.waiting + count > self.limits.queue:
            raise Refusal(429, f"{self.waiting} examples are waiting", Retry_After="1")
        loop, since = asyncio.get_running_loop(), time.monotonic()
        pieces = [
            _Piece([a[k : k + most] for a in arrays], loop.create_future(), since)
            for k in range(0, count, most)
        ]
        self._pieces.extend(pieces)
        self._count(count)
        self._arrived.set()
        if self.waiting >= most:
            self._enough.set()
        found = await asyncio.gather(*(piece.future for piece in pieces))
        return {name: np.concatenate([f[name] for f in found]) for name in found[0]}

    def _count(self, change: int) -> None:
        self.waiting += change
        self.metrics.waiting.set(self.waiting)

    async def _serve(self) -> None:
        loop, most = asyncio.get_running_loop(), self.sizes[-1]
        while self._pieces or not self._closing:
            if not self._pieces:
                self._arrived.clear()
                await self._arrived.wait()
                continue
            left = self._pieces[0].since + self.limits.max_wait - time.monotonic()
            if left > 0 and self.waiting < most and not self._closing:
                self._enough.clear()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._enough.wait(), left)
            batch = self._take(most)
            if not batch:
                continue
            results = await loop.run_in_executor(self._thread, self._compute, batch)
            for piece, result in zip(batch, results, strict=True):
                if piece.future.done():  # its request ran out of time meanwhile
                    continue
                if isinstance(result, Refusal):
                    piece.future.set_exception(result)
                else:
                    piece.future.set_result(result)

    def _take(self, most: int) -> list[_Piece]:
        """The pieces of the next call, without those that nobody waits for any more."""
        batch: list[_Piece] = []
        room = most
        while self._pieces and self._pieces[0].count <= room:
            piece = self._pieces.popleft()
            self._count(-piece.count)
            if not piece.future.done():
                batch.append(piece)
                room -= piece.count
        return batch

    def _compute(self, batch: list[_Piece]) -> list[Outputs | Refusal]:
        """The results in order; where a call fails, each piece is tried alone, so that one request's bad input is no
        other's.
        """
        joined = [np.concatenate(a) for a in zip(*(piece.arrays for piece in batch), strict=True)]
        try:
            found = self._call(joined)
        except Exception as error:
            if len(batch) > 1:
                return [result for piece in batch for result in self._compute([piece])]
            return [self._refusal(error)]
        results: list[Outputs | Refusal] = []
        first = 0
        for piece in batch:
            results.append({n: rows[first : first + piece.count] for n, rows in found.items()})
            first += piece.count
        return results

    def _call(self, arrays: Arrays) -> Outputs:
        """The model on a batch, filled up to a size that it has run on before."""
        count = len(arrays[0])
        size = next(s for s in self.sizes if s >= count)
        if size > count:
            arrays = [np.concatenate([a, np.repeat(a[-1:], size - count, 0)]) for a in arrays]
        begin = time.perf_counter()
        found = self.model(arrays)
        self.metrics.batches.observe(count)
        self.metrics.model_seconds.observe(time.perf_counter() - begin)
        return found

    @staticmethod
    def _refusal(error: Exception) -> Refusal:
        text = one_line(str(error), 160) or type(error).__name__
        if isinstance(error, MemoryError | OutOfMemoryError):
            return Refusal(503, "there is not enough memory now", Retry_After="1")
        return Refusal(422, f"the model cannot run on this input: {text}")
