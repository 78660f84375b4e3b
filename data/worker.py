"""What runs in a worker process of the loader.

Requests come as pickled tuples ``(generation, seed, number, indices, start, released)``; answers go
as one :data:`ANSWER` record each, whose batch lies in a shared slot. Records are small, so a worker
never blocks on sending while the main process blocks on sending to it.
"""

from __future__ import annotations

import os
import select
import signal
import struct
import threading
import time
from collections import deque
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

from tilegrad.data import info
from tilegrad.data.dataset import IterableDataset
from tilegrad.data.fetch import CaughtError, make_fetcher
from tilegrad.data.seeding import seed_all
from tilegrad.data.shared import Packed, Segment, unpack
from tilegrad.kernels.cpu.run.threads import set_num_threads

ANSWER = struct.Struct("<6q")  # kind, generation, number, slot, bytes of the slot, slot is new
READY, BATCH, ERROR, EXHAUSTED = range(4)
GRACE = 1.0  # seconds that a worker gets to end by itself


@dataclass(frozen=True)
class Work:
    """What every worker gets once, in a shared segment of its own copy-on-write mapping."""

    dataset: Any
    collate_fn: Any
    worker_init_fn: Any
    batch_size: int | None
    drop_last: bool
    batched: bool


def main(conn: Connection, worker_id: int, num_workers: int) -> None:
    """Serve requests until the main process closes its end or is gone."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # Ctrl-C is for the main process, which then closes
    set_num_threads(1)
    threading.Thread(target=_end_with, args=(conn.fileno(),), daemon=True).start()
    try:
        _Worker(conn, worker_id, num_workers).serve()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return


def _end_with(descriptor: int) -> None:
    """End this process :data:`GRACE` seconds after the main process has closed its end or is gone,
    whatever it is doing: a sample may take minutes.
    """
    hung_up = select.poll()
    hung_up.register(descriptor, 0)
    hung_up.poll()
    time.sleep(GRACE)
    os._exit(1)


class _Worker:
    def __init__(self, conn: Connection, worker_id: int, num_workers: int):
        self.conn = conn
        self.id = worker_id
        self.count = num_workers
        self.where = f"in DataLoader worker process {worker_id}"
        self.slots: list[Segment] = []
        self.free: list[int] = []
        self.requests: deque[tuple[Any, ...]] = deque()
        self.generation = -1
        self.fetcher: Any = None
        self.failure: CaughtError | None = None  # why this epoch cannot be served

    def serve(self) -> None:
        """Answer one request after the other, in order."""
        seed = self._receive()[1]
        work = self._start(seed)
        if work is None:
            return
        self.conn.send_bytes(ANSWER.pack(READY, 0, 0, 0, 0, 0))
        while True:
            request = self._next()
            generation, seed, number, indices, start, _ = request
            if generation != self.generation:
                self._begin(work, generation, seed)
            self._answer(generation, number, indices, start)

    def _start(self, seed: int) -> Work | None:
        """Read the work, set the process up; on failure tell why."""
        fd = recv_handle(self.conn)
        try:
            segment = Segment(fd, os.fstat(fd).st_size, private=True)
            parts = [unpack(part) for part in unpack(segment.memory)]
            work = Work(*parts)
            info.current = info.WorkerInfo(self.id, self.count, seed + self.id, work.dataset)
            seed_all(seed + self.id)
            if work.worker_init_fn is not None:
                work.worker_init_fn(self.id)
            return work
        except Exception as error:
            self._send(ERROR, -1, 0, CaughtError(error, self.where))
            return None
        finally:
            os.close(fd)

    def _receive(self) -> tuple[Any, ...]:
        request: tuple[Any, ...] = self.conn.recv()
        self.free.extend(request[-1])
        return request

    def _next(self) -> tuple[Any, ...]:
        """The next request that still matters: those of an epoch given up are skipped."""
        while not self.requests or self.conn.poll(0):
            self.requests.append(self._receive())
        latest = self.requests[-1][0]
        while self.requests[0][0] != latest:
            self.requests.popleft()
        return self.requests.popleft()

    def _begin(self, work: Work, generation: int, seed: int) -> None:
        """A new epoch."""
        assert info.current is not None
        self.generation = generation
        self.failure = None
        info.current.seed = seed + self.id
        try:
            self.fetcher = make_fetcher(
                work.dataset,
                work.collate_fn,
                work.batch_size,
                work.drop_last,
                work.batched,
                seed,
                self.id,
            )
            self.streams = isinstance(work.dataset, IterableDataset)
        except Exception as error:
            self.failure = CaughtError(error, self.where)

    def _answer(self, generation: int, number: int, indices: Any, start: int) -> None:
        if self.failure is not None:
            self._send(ERROR, generation, number, self.failure)
            return
        try:
            packed = Packed(self.fetcher.fetch(indices, start))
        except Exception as error:
            if self.streams and isinstance(error, StopIteration):
                self.conn.send_bytes(ANSWER.pack(EXHAUSTED, generation, number, 0, 0, 0))
            else:
                self._send(ERROR, generation, number, CaughtError(error, self.where))
            return
        self._send_packed(BATCH, generation, number, packed)

    def _send(self, kind: int, generation: int, number: int, error: CaughtError) -> None:
        try:
            packed = Packed(error)
        except Exception:
            # its type cannot travel; the message tells it
            error.kind = RuntimeError
            packed = Packed(error)
        self._send_packed(kind, generation, number, packed)

    def _send_packed(self, kind: int, generation: int, number: int, packed: Packed) -> None:
        """Write into a slot that nobody reads, the smallest that fits if there is one."""
        new = not self.free
        if new:
            slot = len(self.slots)
            self.slots.append(Segment.create(packed.nbytes))
        else:
            slot = min(self.free, key=lambda i: self._waste(i, packed.nbytes))
            self.free.remove(slot)
            self.slots[slot].grow(packed.nbytes)
        segment = self.slots[slot]
        packed.write(segment.memory)
        record = ANSWER.pack(kind, generation, number, slot, segment.size, new)
        self.conn.send_bytes(record)
        if new:
            send_handle(self.conn, segment.fd, os.getppid())

    def _waste(self, slot: int, nbytes: int) -> tuple[bool, int]:
        size = self.slots[slot].size
        return (size < nbytes, abs(size - nbytes))
