"""How work is cut: into tasks, blocks, bands and chunks.

Planners ask here, so that one setting cuts everything otherwise: ``TILEGRAD_PIECES=3`` makes three
pieces of whatever can be cut in three, however small, and runs them on threads. It is for tests, which
so reach each path without size. Plans are made once: the setting is read when the process starts.
"""

from __future__ import annotations

import os

_text = os.environ.get("TILEGRAD_PIECES", "")
PIECES = int(_text) if _text.isdigit() else 0  # 0: as many as are best


def share(
    units: int, work_each: int, grain: int, most: int = 0, *, at_least: bool = False
) -> tuple[int, int]:
    """(units of a task, tasks): about ``grain`` of work a task, of ``work_each`` a unit, more where
    there would be over ``most`` tasks. ``at_least``: never less than a grain.
    """
    each = max(1, work_each)
    per = -(-grain // each) if at_least else grain // each
    per = max(1, per, -(-units // most) if most else 1)
    if PIECES:
        per = max(1, -(-units // PIECES))
    return per, -(-units // per)


def serial(work: int, limit: int) -> bool:
    """Whether ``work`` is too small for threads: below ``limit``."""
    return PIECES == 1 if PIECES else work < limit


def extent(count: int, best: int, multiple: int = 1) -> int:
    """The size of a block of ``count`` things: ``best``, the most that there is room for. Forced
    blocks are no larger, and whole multiples.
    """
    if not PIECES:
        return best
    each = -(-count // PIECES)
    return max(1, min(best, -(-each // multiple) * multiple))


def pieces(best: int, most: int) -> int:
    """How many pieces: ``best``, or as forced, of ``most`` that can be had."""
    return max(1, min(PIECES, most)) if PIECES else best
