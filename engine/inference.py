"""Inference mode, as memory sees it: storages made in it count no versions.

Which threads are in that mode is written where machine code finds it at the cost of one load: see
:func:`tilegrad.engine.native.compile_storage`.
"""

from __future__ import annotations

import ctypes
import threading
from collections.abc import Callable

MARK = -(1 << 62)  # version of such a storage: writes that are counted leave it below zero
SEVERAL = -1

# 0, the thread that is in inference mode, or SEVERAL: then each must be asked
here = ctypes.c_int64(0)

_inside: list[int] = []
_lock = threading.Lock()
_asked: list[Callable[[], bool]] = []


def change(enter: bool) -> None:
    """This thread enters inference mode, or leaves it."""
    thread = threading.get_ident()
    with _lock:
        if enter:
            _inside.append(thread)
        else:
            _inside.remove(thread)
        here.value = SEVERAL if len(_inside) > 1 else _inside[0] if _inside else 0


def set_question(asked: Callable[[], bool]) -> None:
    """``asked()``: whether this thread is in inference mode."""
    _asked[:] = [asked]


def question() -> bool:
    """Whether this thread is in inference mode."""
    return bool(_asked) and _asked[0]()
