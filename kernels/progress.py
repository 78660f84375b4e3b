"""A line on the terminal while kernels are compiled, which may take seconds.

It is there while a thread waits for a kernel, and gone before the program writes again. Only a terminal
gets it, and not where ``TILEGRAD_QUIET`` is set.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_known = 0  # kernels that this process has begun to compile, or means to
_done = 0


def expect(count: int = 1) -> None:
    """There are ``count`` more kernels to compile."""
    global _known
    _known += count


def finished() -> None:
    """One of them is compiled, or needs not be."""
    global _done
    _done += 1


@contextmanager
def compiling(name: str) -> Iterator[None]:
    """One kernel, from beginning to end."""
    expect()
    try:
        with waiting(name):
            yield
    finally:
        finished()


@contextmanager
def waiting(name: str) -> Iterator[None]:
    """Say on the terminal that the kernel ``name`` is compiled."""
    if not _wanted():
        yield
        return
    columns = shutil.get_terminal_size().columns
    text = f"compiling kernels {min(_done + 1, _known)}/{_known}: {name}"
    if len(text) >= columns:
        text = text[: max(0, columns - 2)] + "…"
    stream = sys.stderr
    stream.write(f"\r\x1b[K{text}")
    stream.flush()
    try:
        yield
    finally:
        stream.write("\r\x1b[K")
        stream.flush()


def _wanted() -> bool:
    if os.environ.get("TILEGRAD_QUIET", "") not in ("", "0") or os.environ.get("TERM") == "dumb":
        return False
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):  # no stderr, or a closed one
        return False
