"""Tests: ``assert_close`` and ``make_tensor`` as PyTorch has them, and those of ops of one's own: what ``.check()`` looks at, as parameters of a pytest test.

Two lines of a test file::

    @pytest.mark.parametrize("case", tilegrad.testing.cases(mypackage.swish))
    def test_swish(case): case()
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from tilegrad.autograd.asserting import assert_allclose, assert_close, make_tensor

__all__ = ["assert_allclose", "assert_close", "cases", "make_tensor"]


def cases(op: Any, **how: Any) -> list[Any]:
    """The checks of an op (of ``tilegrad.elementwise``, ``fuse``, ``reduction`` or ``op``), one by one:
    values that ``pytest.mark.parametrize`` takes, each a function without arguments that raises
    :class:`CheckError`, under a name that says what it looks at.

    Args:
        how: what ``op.check`` takes: ``domain=(0.1, 2.0)``, ``seed=1``, ...

    Raises:
        TypeError: it is no op.
    """
    import pytest

    subject = getattr(op, "subject", None)
    if subject is None:
        raise TypeError(
            f"cases: op must be one of tilegrad.elementwise, fuse, reduction or op; got {type(op).__name__}"
        )
    work, run = subject.checking(**how)
    return [pytest.param(case, id=name) for name, case in _apart(work, run)]


def _apart(work: Any, run: Callable[[], None]) -> list[tuple[str, Callable[[], None]]]:
    """What ``run`` would check, as functions by name; nothing is checked yet."""
    found: list[tuple[str, Callable[[], None]]] = []
    taken: dict[str, int] = {}

    def note(step: str, method: Callable[..., None], *given: Any) -> None:
        # later draws are this check's own, whichever others are run
        mine = [copy.deepcopy(g) if isinstance(g, np.random.Generator) else g for g in given]
        name = "-".join([step, *_words(given)]).replace(" ", "_")
        taken[name] = taken.get(name, 0) + 1
        name = f"{name}-{taken[name]}" if taken[name] > 1 else name
        found.append((name, partial(method, *mine)))

    for step in work.STEPS:
        setattr(work, step, partial(note, step, getattr(work, step)))
    run()
    for step in work.STEPS:
        delattr(work, step)
    return found


def _words(given: tuple[Any, ...]) -> list[str]:
    """What names a check among its arguments."""
    found: list[str] = []
    for value in given:
        if hasattr(value, "what"):  # a case of an op with a signature
            found += [value.what, *value.kind.values(), *_constants(value)]
        elif isinstance(value, str):
            found.append(value)
    return found


def _constants(case: Any) -> list[str]:
    return [f"{name}={value}" for name, value in case.constants.items()]
