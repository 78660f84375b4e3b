"""Rows in worker processes: a crash or a hang ends its row and its worker, never the rest."""

from __future__ import annotations

import importlib
import multiprocessing
import signal
import time
import warnings
from collections.abc import Iterator
from multiprocessing.connection import Connection, wait
from typing import Any

from tests.conformance.ops import Outcome
from tests.settled import settle

LIMIT = 120  # seconds for a row
GRACE = 30  # further seconds for a row that no signal interrupts

Job = tuple[str, int, int]  # the area, the row's number, its samples at most
_context = multiprocessing.get_context("spawn")


def _expire(number: int, frame: Any) -> None:
    raise TimeoutError(f"longer than {LIMIT} s")


def _entry(job: Job) -> tuple[Any, Any]:
    module = importlib.import_module(f"tests.conformance.{job[0]}")
    return module, module.entries()[job[1]]


def _failed(job: Job, reason: str) -> Outcome:
    module, entry = _entry(job)
    return Outcome(module.title(entry), 1, failed=[reason[:220]])


def work(job: Job) -> Outcome:
    """One row's outcome, within the limit."""
    module, entry = _entry(job)
    signal.signal(signal.SIGALRM, _expire)
    signal.alarm(LIMIT)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            outcome: Outcome = module.check(entry, job[2])
            return outcome
    except Exception as error:  # of the database itself, or the time limit
        return _failed(job, f"{type(error).__name__}: {error}")
    finally:
        signal.alarm(0)


def _serve(pipe: Connection) -> None:
    settle()
    while job := pipe.recv():
        pipe.send(work(job))


class _Worker:
    """A process, the job that it has and since when."""

    def __init__(self) -> None:
        self.pipe, theirs = _context.Pipe()
        self.process = _context.Process(target=_serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()
        self.job: Job | None = None
        self.since = 0.0

    def give(self, job: Job) -> None:
        self.job, self.since = job, time.monotonic()
        self.pipe.send(job)

    def end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()


def run(found: list[Job], jobs: int) -> Iterator[tuple[str, Outcome]]:
    """(area, outcome) of each row, as they come."""
    left = found[::-1]
    workers: list[_Worker] = []
    try:
        while left or workers:
            while left and len(workers) < jobs:
                workers.append(_Worker())
                workers[-1].give(left.pop())
            ready = wait([w.pipe for w in workers], timeout=1.0)
            for worker in list(workers):
                job = worker.job
                assert job is not None
                if worker.pipe in ready:
                    try:
                        outcome, alive = worker.pipe.recv(), True
                    except EOFError:
                        worker.process.join()
                        reason = f"the process ended with {worker.process.exitcode}"
                        outcome, alive = _failed(job, reason), False
                elif time.monotonic() - worker.since > LIMIT + GRACE:
                    outcome, alive = _failed(job, f"longer than {LIMIT + GRACE} s, killed"), False
                else:
                    continue
                yield job[0], outcome
                if alive and left:
                    worker.give(left.pop())
                else:
                    worker.end()
                    workers.remove(worker)
    finally:
        for worker in workers:
            worker.end()
