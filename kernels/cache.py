"""Compiled kernels on disk: where, read with a checksum, written atomically."""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from collections.abc import Iterator
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path

compile_log: list[tuple[str, float, bool]] = []  # (kernel, seconds, came from the disk cache)
used: dict[str, bool] = {}  # file of each kernel that was asked for -> whether it was there before


def cache_dir() -> Path:
    """Where compiled kernels are kept: ``TILEGRAD_CACHE_DIR``, else the user's cache folder."""
    root = os.environ.get("TILEGRAD_CACHE_DIR")
    if not root:  # an empty one means unset, as a shell would have it
        base = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
        root = os.path.join(base, "tilegrad")
    return Path(root)


@lru_cache(maxsize=None)
def compilers() -> dict[str, str]:
    """Versions of what translates, optimises and runs kernels. Not Python's: the objects call its stable ABI."""
    from importlib.metadata import version

    return {name: version(name) for name in ("numba", "llvmlite")}


def may_compile() -> bool:
    """Whether a kernel that is nowhere is compiled: unless ``TILEGRAD_COMPILE`` is ``never``, and not in
    :func:`compiling_nothing`.
    """
    return os.environ.get("TILEGRAD_COMPILE") != "never" and not _forbidden.get()


_forbidden: ContextVar[bool] = ContextVar("tilegrad compiles nothing", default=False)


@contextlib.contextmanager
def compiling_nothing() -> Iterator[None]:
    """In this block, and this thread, a kernel that is nowhere is a :class:`MissingKernelError`."""
    before = _forbidden.set(True)
    try:
        yield
    finally:
        _forbidden.reset(before)


def read(path: Path) -> bytes | None:
    """What is kept at ``path``, unless there is nothing or it was damaged."""
    try:
        data = path.read_bytes()
    except OSError:
        return None
    checksum, code = data[:32], data[32:]
    return code if hashlib.sha256(code).digest() == checksum else None


def write(path: Path, code: bytes) -> None:
    """Keep ``code`` at ``path``, with its checksum, whole or not at all."""
    scratch = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        scratch.write_bytes(hashlib.sha256(code).digest() + code)
        os.replace(scratch, path)
    except OSError:  # a read-only or full cache costs speed, not correctness
        with contextlib.suppress(OSError):
            scratch.unlink(missing_ok=True)
