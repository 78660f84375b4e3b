"""Ctrl-C while something is compiled or imported: it waits for the end of that.

Python raises KeyboardInterrupt between any two bytecodes of the main thread. Within numba and llvmlite
that is often a finalizer, a weak reference's callback or a call from C, where it is printed and lost; or a
registry that was half read, and nothing compiles any more. So there the handler only notes the signal,
and what it would have done is done at the next place where a compilation may fail, or at its end.
"""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

_MAIN = threading.main_thread()


class Uninterrupted:
    """A context manager: holds the reentrant ``lock``, and SIGINT back if this is the main thread.

    Several signals while it is held count as one, as they do during any call of C code.
    """

    def __init__(self, lock: Any):
        self.lock = lock
        self._depth = 0  # of the main thread's entries
        self._handler: Any = None  # the handler that was there, while it is replaced
        self._signal: tuple[int, FrameType | None] | None = None

    def __enter__(self) -> None:
        if threading.current_thread() is _MAIN:
            if self._depth == 0:
                self._hold()  # first: with the lock taken, an interrupt would leave it so
            self._depth += 1
        self.lock.acquire()

    def __exit__(self, *error: object) -> None:
        self.lock.release()
        if threading.current_thread() is _MAIN:
            self._depth -= 1
            if self._depth == 0:
                self._give()

    def check(self) -> None:
        """Serve a signal that was noted: called where an exception does no harm."""
        if self._signal is not None and threading.current_thread() is _MAIN:
            noted, self._signal = self._signal, None
            self._handler(*noted)

    def _hold(self) -> None:
        self._signal = None
        handler = signal.getsignal(signal.SIGINT)
        if callable(handler):  # else it is ignored, ends the process at once, or is not Python's
            self._handler = handler
            signal.signal(signal.SIGINT, self._note)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = (number, frame)

    def _give(self) -> None:
        """Put the handler back, and tell it what has come meanwhile."""
        handler, self._handler = self._handler, None
        if handler is None:
            return
        signal.signal(signal.SIGINT, handler)
        noted, self._signal = self._signal, None
        if noted is not None:
            handler(*noted)
