"""Finding the op and the kernel that went wrong."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from tilegrad.engine import cuda, dispatch
from tilegrad.engine.interchange import foreign_memory
from tilegrad.kernels.cuda.device.simulator import KernelFault
from tilegrad.kernels.cuda.run.launch import intercept

__all__ = ["KernelFault", "debug"]


class debug:
    """Check every launch on the GPU at once, from this call on or for a block: ``debug()``,
    ``debug(False)``, ``with debug():``.

    Each launch is waited for, and its errors name the op and the kernel; checks of values, such as
    that of an index, are made at once too. Kernels are built a second time so that they compare
    every access by a ``pointer`` with the allocation it points into: one outside is not made and
    raises :class:`KernelFault` with the op, the kernel, the block, the thread and the index.

    Bodies that users write for the CPU are built a second time likewise, on a machine without a GPU, too:
    the fault names the op, the task, the array and the index.

    What that cannot see: accesses to shared memory, instructions that take bare addresses, and
    accesses beyond the elements of a tensor that was made before, but within the segment of memory
    that it shares with others. The simulated device is strict at all times; there this adds the
    name of the op. The debug builds assemble for every kernel, but no GPU has run them yet.

    Everything becomes slower by orders of magnitude. A kernel that was never launched before is
    compiled; debug builds for the GPU are not kept on disk.
    """

    def __init__(self, mode: bool = True):
        self._before = cuda.debugging()
        _switch(bool(mode))

    def __enter__(self) -> None:
        return None

    def __exit__(self, *error: object) -> None:
        _switch(self._before)


_active = ExitStack()
_guard: Any = None


def _switch(on: bool) -> None:
    """Make what is on right for ``on``."""
    global _guard
    if on is cuda.debugging():
        return
    if not on:
        _active.close()
        return
    here = cuda.is_available()
    if here:
        cuda.synchronize()
    if here and not cuda.driver().simulated:
        from tilegrad.kernels.cuda.tools.guard import Guard

        _guard = _guard or Guard(foreign_memory)
        intercept(_guard.launch)
        _active.callback(intercept, None)
    cuda.set_debugging(True)
    _active.callback(cuda.set_debugging, False)
    _active.enter_context(dispatch.mode(_named))


def _named(op: Any, arrays: Any, params: Any, metadata: dict[str, Any]) -> Any:
    """A dispatch mode: let faults of kernels say whose they are."""
    try:
        return op(*arrays, params=params, **metadata)
    except KernelFault as fault:
        text = str(fault)
        named = text.startswith(f"{op.name}: ")  # as bodies that users write are
        raise KernelFault(text if named else f"{op.name}: {text}") from None
