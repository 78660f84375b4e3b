"""Inference mode, as memory sees it: storages made in it count no versions.

Which threads are in that mode is written where machine code finds it at the cost of one load: see
:func:`tilegrad.engine.native_storage.compile_storage`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

from tilegrad.kernels.builtin import cell
from tilegrad.kernels.forking import DATA, fork_lock

MARK = -(1 << 62)  # version of such a storage: writes that are counted leave it below zero
SEVERAL = -1

# 0, the thread that is in inference mode, or SEVERAL: then each must be asked
here = cell(0)

_inside: list[int] = []
_lock = fork_lock(DATA)
_asked: list[Callable[[], bool]] = []


def change(enter: bool) -> None:
    """This thread enters inference mode, or leaves it."""
    thread = threading.get_ident()
    with _lock:
        if enter:
            _inside.append(thread)
        else:
            _inside.remove(thread)
        _say()


def _say() -> None:
    here.value = SEVERAL if len(_inside) > 1 else _inside[0] if _inside else 0


def _after_fork() -> None:
    """Only the thread that forked goes on in the child."""
    thread = threading.get_ident()
    _inside[:] = [t for t in _inside if t == thread]
    _say()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


def set_question(asked: Callable[[], bool]) -> None:
    """``asked()``: whether this thread is in inference mode."""
    _asked[:] = [asked]


def question() -> bool:
    """Whether this thread is in inference mode."""
    return bool(_asked) and _asked[0]()
