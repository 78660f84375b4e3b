"""Checks in processes beside this one: one that ends its process, or hangs, costs that check alone.

A stage's module has ``checks() -> list[(name, function)]``, the same in every process, and serves them
with :func:`serve`. Workers are asked for one check after the other, so that none stands idle; one
that died, or whose GPU context did, is replaced.
"""

from __future__ import annotations

import itertools
import json
import os
import queue
import subprocess
import sys
import threading
import time
import traceback
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

Check = tuple[str, Callable[[], Any]]
Found = dict[str, Any]
START = 90.0  # seconds until a worker has imported everything and has the GPU
DEAD = 3  # exit status of a worker whose GPU context is lost


def quick() -> bool:
    """Whether a short run is asked for."""
    return os.environ.get("GPU_CHECK_QUICK", "") == "1"


def chosen(name: str, of: int) -> bool:
    """Whether a short run has the check of this name: one ``of`` so many."""
    return not quick() or zlib.crc32(name.encode()) % of == 0


def processes() -> int:
    """How many workers there should be."""
    return max(1, (os.cpu_count() or 2) - 1)


# ------------------------------------------------------------------------------- in the worker


def serve(checks: Sequence[Check], alive: Callable[[], None]) -> None:
    """Run the checks whose numbers come in, a line each, until no more do.

    ``alive()`` raises where nothing can be run any more: it is asked after every fault.
    """
    out = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what checks print goes with the errors
    print(json.dumps({"checks": [name for name, _ in checks]}), file=out)
    for line in sys.stdin:
        name, check = checks[int(line)]
        start, found = time.perf_counter(), {"name": name, "fault": None}
        try:
            found["result"] = check()
        except Exception as error:
            found["fault"] = f"{type(error).__name__}: {' '.join(str(error).split())[:300]}"
            traceback.print_exc(limit=-4)
        found["seconds"] = round(time.perf_counter() - start, 3)
        print(json.dumps(found), file=out)
        if found["fault"]:
            try:
                alive()
            except Exception:
                os._exit(DEAD)


# ------------------------------------------------------------------------------- in the stage


class _Worker:
    """One process and the thread that reads what it says."""

    def __init__(self, command: list[str]):
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )
        self.lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                self.lines.put(line)
        self.lines.put("")

    def hear(self, seconds: float) -> Found | None:
        """The next thing it says; None where it ends without a word.

        Raises:
            queue.Empty: it says nothing for so long.
        """
        line = self.lines.get(timeout=max(seconds, 0.01))
        return json.loads(line) if line else None

    def ask(self, number: int) -> None:
        """Have a check run."""
        assert self.process.stdin is not None
        with suppress(OSError):  # it has ended: hear() says so
            print(number, file=self.process.stdin)

    def end(self, kill: bool = False) -> int:
        """Its exit status."""
        if kill:
            self.process.kill()
        assert self.process.stdin is not None
        with suppress(OSError):
            self.process.stdin.close()
        status = self.process.wait()
        self._reader.join(1)  # longer only where a child of its own has the pipe
        return status


class Pool:
    """Runs all checks of a module.

    Attributes:
        found: what came of them so far.
        names: of all of them, once a worker has said them.
    """

    def __init__(
        self, module: str, workers: int, each: float, deadline: float,
        progress: Callable[[Pool], None] = lambda pool: None, arguments: Sequence[str] = ("work",),
    ):  # fmt: skip
        self.command = [sys.executable, "-W", "ignore", "-m", module, *arguments]
        self.workers, self.each, self.deadline, self.progress = workers, each, deadline, progress
        self.found: list[Found] = []
        self.names: list[str] = []
        self._numbers = itertools.count()
        self._lock = threading.Lock()

    def run(self) -> Pool:
        """Returns when all are done, or at the deadline (by ``time.perf_counter``)."""
        threads = [threading.Thread(target=self._drive) for _ in range(self.workers)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return self

    def result(self) -> Found:
        """For the stage's JSON."""
        failed = [f"{f['name']}: {f['fault']}" for f in self.found if f["fault"]]
        ran = len(self.found)
        return {
            "ran": ran,
            "of": len(self.names),
            "failed": failed,
            "whole": 0 < len(self.names) <= ran,
        }

    def _left(self) -> float:
        return self.deadline - time.perf_counter()

    def _drive(self) -> None:
        """Keep one worker busy, and replace it when it is gone."""
        worker, started = None, 0
        while self._left() > 0:
            with self._lock:
                number = next(self._numbers)
            if self.names and number >= len(self.names):
                break
            if worker is None:
                worker, started = self._started(), started + 1
            if worker is None or number >= len(self.names):
                break
            worker = self._one(worker, number)
        if worker is not None:
            worker.end()

    def _started(self) -> _Worker | None:
        worker = _Worker(self.command)
        try:
            said = worker.hear(min(START, self._left()))
        except queue.Empty:
            said = None
        if said is None:
            status = worker.end(kill=True)
            self._note({"name": "a worker", "fault": f"did not start, exit status {status}"})
            return None
        self.names = said["checks"]
        return worker

    def _one(self, worker: _Worker, number: int) -> _Worker | None:
        """Run one check; gives the worker, if it can go on."""
        worker.ask(number)
        try:
            said = worker.hear(min(self.each, self._left()))
        except queue.Empty:
            worker.end(kill=True)
            if self._left() > 0:
                self._note({"name": self.names[number], "fault": f"not done after {self.each} s"})
            return None
        if said is None:
            status = worker.end()
            if status != DEAD:
                self._note({"name": self.names[number], "fault": f"its process died: {status}"})
                return None
            with self._lock:  # the context was lost in the check before: this one has not run
                self._numbers = itertools.chain([number], self._numbers)
            return None
        self._note(said)
        return worker

    def _note(self, found: Found) -> None:
        with self._lock:
            self.found.append(found)
            self.progress(self)


class Writer:
    """Writes a result at most every second, and when told to."""

    def __init__(self, path: Path):
        self.path, self._last = path, 0.0

    def __call__(self, result: Found, now: bool = False) -> None:
        """Replace the file, in one step."""
        if not now and time.perf_counter() - self._last < 1:
            return
        self._last = time.perf_counter()
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(result, indent=1) + "\n")
        fresh.replace(self.path)


def stage(module: str, each: float, workers: int | None = None) -> Pool:
    """Run a stage's checks as the command line says: ``PATH SECONDS``."""
    path, seconds = Path(sys.argv[1]), float(sys.argv[2])
    write = Writer(path)
    deadline = time.perf_counter() + seconds
    pool = Pool(module, workers or processes(), each, deadline, lambda p: write(p.result()))
    pool.run()
    write(pool.result(), now=True)
    return pool
