"""Locks over a fork.

A forked child has one thread, the one that forked, and a copy of everything else. A lock that another
thread held at that moment would stay locked in the child for ever, over data that are half written. So
the forking thread first takes every lock of this package, outermost first; parent and child release
them again. Python's own lock of a module that is being imported is such a lock too: what this package
imports late, it imports under :data:`compiler`. A fork therefore waits for a compilation, or the measuring of
candidates, in another thread to end, not for other kernels that run: those hold no lock, and what they
were writing is in the child as far as they had got.
"""

from __future__ import annotations

import os
import threading
from typing import Any

from tilegrad.kernels.interrupt import Uninterrupted

TUNER, COMPILER, DRIVER, DATA = range(4)  # in this order they may be taken within each other

_locks: tuple[list[Any], ...] = ([], [], [], [])  # by level, for ever
_taken: list[Any] = []


def fork_lock(level: int) -> Any:
    """A reentrant lock that forks take too; it must live as long as the process. Who holds it takes
    locks of higher levels only.
    """
    made = threading.RLock()
    _locks[level].append(made)
    return made


def _before_fork() -> None:
    taken = [lock for level in _locks for lock in level]
    for lock in taken:
        lock.acquire()
    _taken.append(taken)


def _after_fork() -> None:
    for lock in reversed(_taken.pop()):
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )

compiler = Uninterrupted(fork_lock(COMPILER))  # for LLVM and numba, and all that waits for them
