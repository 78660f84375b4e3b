"""The device ``meta``: tensors that have a layout and no memory.

Planners work as for any device and ask :class:`Kernels` for a launch, which does nothing; what is allocated has
no address. So every op gives the shape, strides and dtype it would give, and nothing is computed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tilegrad.engine.memory import Allocator, HostPages, Storage, new_storage


class Nowhere(Allocator):
    """Gives out blocks that are nowhere."""

    def __init__(self) -> None:
        super().__init__(HostPages())  # which is never asked

    def allocate(self, nbytes: int) -> Storage:
        return new_storage(0, nbytes, None)


def nothing(*args: object) -> None:
    """Launch nothing."""


class Launch(tuple):
    """What a family answers a planner: a launch, the pair of one and the bytes of scratch it needs, or a number of
    parts of the result, which is 1.
    """

    __slots__ = ()

    def __call__(self, *args: object) -> None:
        nothing()

    def __index__(self) -> int:
        return 1


LAUNCH = Launch((nothing, 0))


class Kernels:
    """Stands for every family of kernels."""

    JOINED = 1 << 20  # operands that one launch joins

    def tasks_for(self, count: int) -> tuple[int, int]:
        """No tasks, none of them with elements."""
        return 0, 0

    def __getattr__(self, name: str) -> Callable[..., Launch]:
        return lambda *args, **kwargs: LAUNCH


KERNELS: Any = Kernels()
NOWHERE = Nowhere()
