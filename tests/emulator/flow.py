"""Masks: which threads of a block follow when a branch or a loop takes only some of them.

All threads of a block run in step. A value is one number for all, or an array with one per thread
(*lanes*). :mod:`tests.emulator.translate` turns the ``if``, ``while``, ``and``, ``return`` …
of a kernel into calls of the methods here, which keep ``mask``: the threads that are at work, None
for all. Assignments, loads and stores concern these alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tilegrad.kernels.cuda.device.simulator import KernelFault

WARP = 32
PASSES = 1 << 17  # of a loop, before it is taken for an endless one


class Fault(KernelFault):
    """A mistake in a kernel that the emulator saw."""


class _Unset:
    """What a variable holds before it is assigned."""

    def __repr__(self) -> str:
        return "unset"


UNSET = _Unset()
_NOBODY: Any = object()

Mask = np.ndarray | None


@dataclass
class _Loop:
    """A loop that runs: who entered, who still goes round, who left, who skipped to its end."""

    outer: Mask
    alive: Mask
    broken: Mask = None
    skipped: Mask = None
    passes: int = 0


@dataclass
class _Call:
    """A function with early returns that runs."""

    outer: Mask
    gone: Mask
    result: Any = UNSET


@dataclass(frozen=True)
class Span:
    """``range`` over numbers of which some are lanes."""

    start: Any
    stop: Any
    step: int


def _or(a: Mask, b: Mask) -> Mask:
    """Union of sets of threads, None for the empty one."""
    return b if a is None else a if b is None else a | b


def _minus(a: Mask, b: Mask) -> Mask:
    """Difference of sets of threads, None for the empty one."""
    if a is None or b is None:
        return a
    rest = a & ~b
    return rest if rest.any() else None


def _left(mask: Mask, gone: Mask) -> Mask:
    """A mask without the threads that are gone."""
    if gone is None:
        return mask
    return ~gone if mask is None else mask & ~gone


class Flow:
    """The masks of one block.

    Attributes:
        threads: of the block.
        numbers: 0, 1, … as lanes.
        mask: the threads at work, None for all.
    """

    def __init__(self, threads: int):
        self.threads = threads
        self.numbers = np.arange(threads)
        self.begin()

    def begin(self) -> None:
        """All threads are at work."""
        self.mask: Mask = None
        self._gone: Mask = None  # threads that left their loop, its pass or their function
        self._branches: list[tuple[Mask, Any, Any]] = []
        self._loops: list[_Loop] = []
        self._calls: list[_Call] = []

    def fault(self, message: str) -> None:
        """Raise a :class:`Fault`."""
        raise Fault(message)

    # ------------------------------------------------------------------------------- threads

    def at_work(self) -> np.ndarray:
        """The mask, written out."""
        return np.ones(self.threads, bool) if self.mask is None else self.mask

    def active(self) -> np.ndarray:
        """Numbers of the threads at work."""
        return self.numbers if self.mask is None else self.numbers[self.mask]

    def any(self) -> bool:
        """Whether a thread is at work."""
        return self.mask is None or bool(self.mask.any())

    def whole_warps(self) -> bool:
        """Whether of every warp all threads are at work or none."""
        if self.mask is None:
            return True
        count = self.mask.reshape(-1, WARP).sum(1)
        return bool(((count == 0) | (count == WARP)).all())

    def lanes(self, value: Any) -> np.ndarray:
        """``value`` as one number per thread."""
        if type(value) is np.ndarray:
            return value
        return np.broadcast_to(np.asarray(value), (self.threads,))

    def truth(self, condition: Any) -> Any:
        """True or False where all threads at work agree, else the mask of those that say yes."""
        if type(condition) is not np.ndarray:
            return bool(condition)
        yes = condition if condition.dtype == bool else condition != 0
        if self.mask is not None:
            yes = yes & self.mask
        count = np.count_nonzero(yes)
        if count == 0:
            return False
        everyone = self.threads if self.mask is None else np.count_nonzero(self.mask)
        return True if count == everyone else yes

    # -------------------------------------------------------------------------- if, and, or, not

    def split(self, condition: Any) -> None:
        """Before an ``if``."""
        yes = self.truth(condition)
        if yes is True or yes is False:
            sides = (self.mask, _NOBODY) if yes else (_NOBODY, self.mask)
        else:
            sides = (yes, _left(self.mask, yes))
        self._branches.append((self.mask, *sides))

    def then(self) -> bool:
        """Whether threads take the first side, which from now on are at work."""
        return self._side(1)

    def otherwise(self) -> bool:
        """Whether threads take the second side."""
        return self._side(2)

    def _side(self, number: int) -> bool:
        side = self._branches[-1][number]
        if side is _NOBODY:
            return False
        self.mask = side
        return True

    def join(self) -> None:
        """After an ``if``."""
        self.mask = _left(self._branches.pop()[0], self._gone)

    def choose(self, condition: Any, a: Callable[[], Any], b: Callable[[], Any]) -> Any:
        """``a() if condition else b()``."""
        yes, outer = self.truth(condition), self.mask
        if yes is True or yes is False:
            return a() if yes else b()
        self.mask = yes
        first = a()
        self.mask = _left(outer, yes)
        second = b()
        self.mask = outer
        return self.blend(yes, first, second)

    def both(self, a: Any, b: Callable[[], Any]) -> Any:
        """``a and b()``, for the sake of its truth."""
        return self.choose(a, lambda: self.flag(b()), lambda: False)

    def either(self, a: Any, b: Callable[[], Any]) -> Any:
        """``a or b()``, for the sake of its truth."""
        return self.choose(a, lambda: True, lambda: self.flag(b()))

    def flag(self, value: Any) -> Any:
        """``bool(value)``."""
        return value != 0 if type(value) is np.ndarray else bool(value)

    def negate(self, value: Any) -> Any:
        """``not value``."""
        return value == 0 if type(value) is np.ndarray else not value

    # -------------------------------------------------------------------------------- variables

    def assign(self, old: Any, new: Any) -> Any:
        """What a variable holds once the threads at work have assigned ``new``."""
        return new if self.mask is None else self.blend(self.mask, new, old)

    def bind(self, old: Any, new: Any) -> Any:
        """:meth:`assign` to the variable of a ``for``, whose name may have meant another before."""
        both = isinstance(old, _NUMBERS) and isinstance(new, _NUMBERS)
        same = both and np.result_type(old).kind == np.result_type(new).kind
        return self.assign(old if same else UNSET, new)

    def blend(self, mask: np.ndarray, new: Any, old: Any) -> Any:
        """``new`` for the threads of ``mask``, ``old`` for the others.

        Where the two are of different make, the others' is a stale value that nobody will read.
        """
        if new is old or old is UNSET:
            return new
        if new is UNSET:
            return old
        if isinstance(new, tuple):
            if not isinstance(old, tuple) or len(old) != len(new):
                return new
            return tuple(self.blend(mask, a, b) for a, b in zip(new, old, strict=True))
        if hasattr(new, "blended"):
            return new.blended(mask, old) if type(new) is type(old) else new
        if isinstance(new, _NUMBERS) and isinstance(old, _NUMBERS):
            return np.where(mask, new, old)
        return new

    def item(self, container: Any, index: Any) -> Any:
        """``container[index]``."""
        if type(index) is not np.ndarray or not isinstance(container, tuple):
            return container[index]
        result = container[0]
        for k in range(1, len(container)):
            result = self.blend(index == k, container[k], result)
        return result

    # ------------------------------------------------------------------------------------ loops

    def loop(self) -> None:
        """Before a loop."""
        self._loops.append(_Loop(self.mask, self.mask))

    def again(self, condition: Callable[[], Any]) -> bool:
        """Whether threads go round once more; they are at work then."""
        loop = self._loops[-1]
        if not self._next(loop):
            return False
        yes = self.truth(condition())
        if yes is True or yes is False:
            return bool(yes)
        loop.alive = self.mask = yes
        return True

    def each(self, items: Iterable[Any] | Span) -> Iterator[Any]:
        """The items of a ``for``, as long as there are threads that want them."""
        loop = self._loops[-1]
        if not isinstance(items, Span):
            for item in items:
                if not self._next(loop):
                    return
                yield item
            return
        k = items.start
        while True:
            inside = k < items.stop if items.step > 0 else k > items.stop
            if not self.again(lambda inside=inside: inside):
                return
            yield k
            k = k + items.step

    def _next(self, loop: _Loop) -> bool:
        loop.passes += 1
        if loop.passes > PASSES:
            self.fault(f"a loop goes on after {PASSES} passes")
        self._gone = _minus(self._gone, loop.skipped)
        loop.skipped = None
        self.mask = _left(loop.alive, self._gone)
        return self.any()

    def end_loop(self) -> None:
        """After a loop."""
        loop = self._loops.pop()
        self._gone = _minus(_minus(self._gone, loop.broken), loop.skipped)
        self.mask = _left(loop.outer, self._gone)

    def leave_loop(self) -> None:
        """``break``."""
        loop = self._loops[-1]
        loop.broken = _or(loop.broken, self._go())

    def skip(self) -> None:
        """``continue``."""
        loop = self._loops[-1]
        loop.skipped = _or(loop.skipped, self._go())

    def _go(self) -> np.ndarray:
        """Nobody is at work any more; who was."""
        who = self.at_work()
        self._gone = _or(self._gone, who)
        self.mask = np.zeros(self.threads, bool)
        return who

    # ---------------------------------------------------------------------------------- functions

    def call(self) -> None:
        """At the beginning of a function that some threads may leave before others."""
        self._calls.append(_Call(self.mask, self._gone))

    def give(self, value: Any) -> None:
        """``return value``."""
        call = self._calls[-1]
        call.result = self.blend(self._go(), value, call.result)

    def result(self) -> Any:
        """At the end of such a function: what it returns."""
        call = self._calls.pop()
        self.mask, self._gone = call.outer, call.gone
        return None if call.result is UNSET else call.result


_NUMBERS = (int, float, bool, np.generic, np.ndarray)
