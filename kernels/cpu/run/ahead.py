"""Kernels under way: which thread compiles what, and one thread that compiles what will be asked for.

numba is Python and translates one kernel at a time, under the compiler's lock. LLVM needs no lock: while
it works on the kernel that a thread waits for, the thread here translates the next of those that were
begun, and has LLVM finish it beside the program.
"""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from queue import SimpleQueue

from tilegrad.kernels import progress
from tilegrad.kernels.cpu.run.threads import processors
from tilegrad.kernels.forking import DATA, compiler, fork_lock
from tilegrad.kernels.interrupt import Uninterrupted

Step = Callable[[], bytes]
Translator = Callable[[], Step]  # with the compiler's lock; what it gives needs none


class Job:
    """A kernel that a thread compiles, or will."""

    def __init__(self, translate: Translator, new: bool = True):
        self.translate = translate
        progress.expect(new)
        self.ended = threading.Event()
        self.code: bytes | None = None  # None at the end: it failed, whoever needs it tries again


_jobs: dict[Path, Job] = {}  # by the file that the object is going to
_waiting: dict[Path, Job] = {}  # those that nobody has begun with, in order
made: set[Path] = set()  # what this process has compiled
_bell: SimpleQueue[None] = SimpleQueue()  # an item for each that was begun
_thread: threading.Thread | None = None
following = [False]  # dispatch says so while it plans
_closing = False

# held while LLVM works, so that forks and the end of the process wait; nothing else is asked for meanwhile
llvm = Uninterrupted(fork_lock(DATA))
_ahead = fork_lock(DATA)


def compile_now(path: Path, name: str, translate: Translator) -> bytes:
    """The object for ``path``, made here unless another thread is at it already."""
    while True:
        mine: Job | None = None
        code: bytes | None = None
        try:
            with compiler:  # until it is translated: who is asked to wait for it may hold the lock
                job = _jobs.get(path)
                if job is None or _waiting.pop(path, None) is job:
                    job = mine = _jobs[path] = Job(translate, job is None)
                    with progress.waiting(name):
                        step = translate()
            with progress.waiting(name):
                if mine is None:
                    job.ended.wait()
                    code = job.code
                else:
                    with llvm:
                        code = step()
        finally:
            if mine is not None:
                _end(path, mine, code)
        if code is not None:
            return code


def begin(path: Path, translate: Translator) -> None:
    """Compile for ``path`` as soon as nobody translates; :func:`compile_now` will wait for it.

    Without a second processor nothing would be gained.
    """
    if processors() < 2:
        return
    with compiler:
        if path not in _jobs and not _closing and _started():
            _jobs[path] = _waiting[path] = Job(translate)
            _bell.put(None)


def _end(path: Path, job: Job, code: bytes | None) -> None:
    progress.finished()
    job.code = code
    if code is not None:
        made.add(path)
    _jobs.pop(path, None)
    job.ended.set()


def _started() -> bool:
    global _thread
    if _thread is None:
        thread = threading.Thread(target=_work, name="tilegrad-compiler", daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the process may have no more, or ends
            return False
        _thread = thread
        atexit.register(close)
    return True


def _work() -> None:
    while True:
        _bell.get()
        time.sleep(0.01)  # who has begun a kernel is about to ask for another, which comes first
        # a job is begun with the lock held: who holds it already can take the job over
        compiler.lock.acquire()
        if not _ahead.acquire(blocking=False):  # for ever: the process ends
            compiler.lock.release()
            return
        try:
            _next()
        finally:
            _ahead.release()


def _next() -> None:
    """Compile what has waited longest; gives the compiler's lock back on the way."""
    path = next(iter(_waiting), None)
    if path is None:
        compiler.lock.release()
        return
    job, code = _waiting.pop(path), None
    try:
        try:
            step = job.translate()
        finally:
            compiler.lock.release()
        if not _closing:
            code = step()
    except Exception:  # who needs the kernel meets the error
        code = None
    finally:
        _end(path, job, code)


def backward_follows() -> bool:
    """Whether what is planned now will be differentiated: its gradient's kernels may be begun."""
    return following[0]


def leave_if_closing() -> None:
    """Called between numba's passes: ends what is translated ahead when the process ends."""
    if _closing and threading.current_thread() is _thread:
        raise RuntimeError("the process ends")


def close() -> None:
    """Begin nothing more, and wait for what LLVM is at: it must not run while the process is torn down."""
    global _closing
    _closing = True
    while _waiting:  # who still needs one compiles it
        _end(*_waiting.popitem(), None)
    _ahead.acquire()


def _forget() -> None:
    """In a forked child the other threads are gone, and what they were at."""
    global _thread, _bell
    _thread, _bell = None, SimpleQueue()
    _jobs.clear()
    _waiting.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
