"""The main process's side of the loader's workers: start, ask, receive, notice deaths, stop."""

from __future__ import annotations

import multiprocessing
import os
import select
import time
import weakref
from collections import deque
from multiprocessing import forkserver
from multiprocessing.connection import wait
from multiprocessing.context import BaseContext
from multiprocessing.reduction import recv_handle, send_handle
from typing import Any

import numpy as np

from tilegrad.data import worker
from tilegrad.data.shared import Packed, Segment, unpack
from tilegrad.data.worker import GRACE


def worker_context(chosen: Any) -> BaseContext:
    """The multiprocessing context that ``chosen`` (None, a name or a context) stands for.

    Raises:
        ValueError: it forks, or there is no such start method.
    """
    context: Any = chosen
    if chosen is None or isinstance(chosen, str):
        methods = multiprocessing.get_all_start_methods()
        name = "forkserver" if chosen is None else chosen
        if name not in methods:
            raise ValueError(
                f"multiprocessing_context option should specify a valid start method in {methods}, "
                f"but got multiprocessing_context={chosen!r}"
            )
        context = multiprocessing.get_context(name)
    elif not isinstance(chosen, BaseContext):
        raise TypeError(
            f"multiprocessing_context option should be a valid context object or a string "
            f"specifying the start method, but got multiprocessing_context={chosen}"
        )
    method = context.get_start_method()
    if method == "fork":
        raise ValueError(
            "multiprocessing_context: must be 'forkserver' or 'spawn'; got 'fork', whose children "
            "inherit locks and OpenMP threads of kernels that already ran, and then hang or die"
        )
    if method == "forkserver":
        _preload(context)
    return context  # type: ignore[no-any-return]


def _preload(context: Any) -> None:
    """Let the fork server import this package once, for all workers.

    The main module is not preloaded: kernels that it ran there at import would leave the server
    with threads, and its children could not run any. A list that the program set is only added to.
    """
    chosen = list(getattr(forkserver._forkserver, "_preload_modules", ["__main__"]))
    if worker.__name__ not in chosen:
        mine = [] if chosen == ["__main__"] else chosen
        context.set_forkserver_preload([*mine, worker.__name__])


def pack_work(work: worker.Work) -> Segment:
    """Everything that workers need, pickled once; big arrays are then shared by all of them.

    Raises:
        TypeError: a part cannot be pickled.
    """
    parts = []
    for name, value in vars(work).items():
        try:
            packed = Packed(value)
        except Exception as error:
            kind = getattr(value, "__qualname__", type(value).__qualname__)
            raise TypeError(
                f"DataLoader: {name} must be picklable to be sent to worker processes (or use "
                f"num_workers=0); got {kind}: {error}"
            ) from error
        buffer = np.empty(packed.nbytes, np.uint8)
        packed.write(buffer)
        parts.append(buffer)
    whole = Packed(parts)
    segment = Segment.create(whole.nbytes)
    whole.write(segment.memory)
    return segment


class _Peer:
    """One worker process, with the slots of shared memory that it sent."""

    def __init__(self, context: Any, number: int, count: int):
        self.conn, theirs = context.Pipe(duplex=True)
        self.slots: dict[int, Segment] = {}
        self.released: deque[int] = deque()
        self.leases: dict[int, weakref.ref[Any]] = {}
        self.ready = False
        try:
            self.process = context.Process(
                target=worker.main,
                args=(theirs, number, count),
                name=f"DataLoader worker {number}",
                daemon=True,
            )
            self.process.start()
        except BaseException:
            self.conn.close()
            raise
        finally:
            theirs.close()

    def take_released(self) -> list[int]:
        """Slots that no batch shows any more."""
        return [self.released.popleft() for _ in range(len(self.released))]

    def open_slot(self, slot: int, size: int, new: int) -> Any:
        """The memory of ``slot``, which counts as released when nothing holds the result."""
        if new:
            self.slots[slot] = Segment(recv_handle(self.conn), size)
        segment = self.slots[slot]
        segment.remap(size)
        region = np.frombuffer(segment.memory, np.uint8)
        released = self.released
        self.leases[slot] = weakref.ref(region, lambda _: released.append(slot))
        return region


class WorkerPool:
    """Running workers.

    Args:
        work: what they need.
        count: how many.
        context: a multiprocessing context.
        seed: of the first epoch.
        timeout: seconds to wait for a batch; 0: for ever.
    """

    def __init__(
        self, work: worker.Work, count: int, context: BaseContext, seed: int, timeout: float
    ):
        self.timeout = timeout
        self.peers: list[_Peer] = []
        self.generation = 0
        self.seed = seed
        self._finalizer = weakref.finalize(self, _shut_down, self.peers, os.getpid())
        segment = pack_work(work)
        try:
            for number in range(count):
                self.peers.append(_Peer(context, number, count))
            for peer in self.peers:
                self._send(peer, (0, seed, 0, None, 0, []))
                send_handle(peer.conn, segment.fd, peer.process.pid)
        except BaseException:
            self.close()
            raise
        finally:
            segment.close()
        self._pollers = [self._poller([peer]) for peer in self.peers]
        self._anyone = self._poller(self.peers)
        self._turn = 0  # who is looked at first, of those that have answered

    def _poller(self, peers: list[_Peer]) -> select.poll:
        poller = select.poll()
        for peer in peers:
            poller.register(peer.conn.fileno(), select.POLLIN)
        for other in self.peers:
            poller.register(other.process.sentinel, select.POLLIN)
        return poller

    def begin_epoch(self, seed: int) -> None:
        """Requests from now on belong to a new epoch; answers to older ones are dropped."""
        self.generation += 1
        self.seed = seed

    def request(self, which: int, number: int, indices: Any, start: int) -> None:
        """Ask worker ``which`` for batch ``number``."""
        peer = self.peers[which]
        released = peer.take_released()
        self._send(peer, (self.generation, self.seed, number, indices, start, released))

    def _send(self, peer: _Peer, message: tuple[Any, ...]) -> None:
        try:
            peer.conn.send(message)
        except OSError:
            self._raise_dead(peer)

    def receive(self, which: int | None) -> tuple[int, int, Any]:
        """The next answer in this epoch of worker ``which``, or of the first that has one: whose it is, its
        kind and value.

        Raises:
            RuntimeError: a worker died, or the time is up.
            Exception: what the worker raised while it started.
        """
        deadline = time.monotonic() + self.timeout if self.timeout else None
        while True:
            place = self._wait(which, deadline)
            peer = self.peers[place]
            try:
                record = worker.ANSWER.unpack(peer.conn.recv_bytes())
                kind, generation, _, slot, size, new = record
                if kind == worker.READY:
                    peer.ready = True
                    continue
                value: Any = None
                if kind != worker.EXHAUSTED:
                    value = unpack(peer.open_slot(slot, size, new))
            except (EOFError, ConnectionResetError):
                self._raise_dead(peer)
            if generation == -1:  # it could not start
                self.close()
                value.reraise()
            if generation == self.generation:
                return place, kind, value

    def _wait(self, which: int | None, deadline: float | None) -> int:
        """The worker that has sent something: ``which``, or any for None."""
        left = None if deadline is None else max(0.0, deadline - time.monotonic()) * 1000
        ready = (self._anyone if which is None else self._pollers[which]).poll(left)
        if not ready:
            raise RuntimeError(f"DataLoader timed out after {self.timeout} seconds")
        count = len(self.peers)
        for turn in range(self._turn, self._turn + count) if which is None else (which,):
            place = turn % count
            if self.peers[place].conn.poll():
                self._turn = place + 1
                return place
        for place, other in enumerate(self.peers):  # nothing even by now: somebody has ended
            if not (other.ready or other.process.is_alive()) and other.conn.poll():
                self.receive(place)  # raises what it could not start for, if it has said so
        self._raise_dead(self.peers[which or 0])
        raise AssertionError("unreachable")

    def _raise_dead(self, peer: _Peer) -> None:
        wait([p.process.sentinel for p in self.peers], GRACE)  # a closed pipe precedes the end
        dead = [p for p in self.peers if not p.process.is_alive()]
        pids = ", ".join(str(p.process.pid) for p in dead or [peer])
        codes = ", ".join(str(p.process.exitcode) for p in dead)
        hint = f" (exit code {codes})"
        if not peer.ready:
            hint += (
                " before it was ready: a program that uses workers must start them below "
                "`if __name__ == '__main__':`"
            )
        self._finalizer.detach()
        _shut_down(self.peers, os.getpid(), GRACE / 10)  # the news should not wait for the others
        raise RuntimeError(f"DataLoader worker (pid(s) {pids}) exited unexpectedly{hint}")

    def close(self) -> None:
        """Stop the workers. Batches that were received stay valid."""
        self._finalizer()


def _shut_down(peers: list[_Peer], owner: int, grace: float = GRACE) -> None:
    if os.getpid() != owner:  # a forked child must leave its parent's workers alone
        return
    for peer in peers:
        peer.conn.close()
    deadline = time.monotonic() + grace
    for peer in peers:
        process = peer.process
        process.join(max(0.0, deadline - time.monotonic()))
        if process.is_alive():
            process.terminate()
            process.join(GRACE)
        if process.is_alive():
            process.kill()
            process.join()
        process.close()
        for segment in peer.slots.values():
            segment.close()
    peers.clear()
