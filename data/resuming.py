"""Where a loader is in its pass, so that another one can go on from there."""

from __future__ import annotations

from typing import Any

from tilegrad.engine.random import source_of


class Progress:
    """One pass: where its generator stood when it began, and the batches handed over since.

    Attributes:
        begin: (seed, offset) of the generator. given: batches so far; ahead: those of them that
            a thread has taken and nobody has seen. ended: whether there are no more.
    """

    def __init__(self, begin: tuple[int, int]):
        self.begin = begin
        self.given = self.ahead = 0
        self.ended = False

    def state(self) -> dict[str, Any]:
        """What :meth:`Resumed.open` reads."""
        return {"begin": list(self.begin), "given": self.given - self.ahead, "ended": self.ended}


class Resumed:
    """Opens passes of a loader: new ones, or once one that was left in the middle."""

    def __init__(self, generator: Any):
        self._generator = source_of(generator)
        self._left: dict[str, Any] | None = None
        self._now: Progress | None = None

    def state(self) -> dict[str, Any] | None:
        """Of the newest pass; of the one that the next is to go on with; None before the first."""
        return self._left if self._left is not None or self._now is None else self._now.state()

    def take(self, state: dict[str, Any] | None) -> None:
        """Let the next pass go on with ``state``, unless that had ended.

        Raises:
            KeyError, TypeError: it is no state of a loader.
        """
        found = None if state is None else {k: state[k] for k in ("begin", "given", "ended")}
        self._left = None if found is None or found["ended"] else found

    def open(self, make: Any) -> Any:
        """``make(progress, batches to leave out)``, with the generator where the pass began.

        A pass that goes on leaves the generator as it is: what was drawn at its beginning has
        been drawn by whoever began it.
        """
        left, self._left = self._left, None
        if left is None:
            self._now = Progress(self._generator.position)
            return make(self._now, 0)
        before = self._generator.position
        self._generator.position = tuple(left["begin"])
        try:
            self._now = Progress(self._generator.position)
            made = make(self._now, left["given"])
        finally:
            self._generator.position = before
        self._now.given = left["given"]
        return made
