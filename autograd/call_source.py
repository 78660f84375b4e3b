"""The source of public functions that are written at run time: tests for the usual calls, which go to their
plans at once, then all other calls.

A straight line of Python costs less than any wrapper that takes ``*args``; its names are those of the
user's arguments, so that ``help``, keywords and tracebacks are as for a function written by hand.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

Way = tuple[Sequence[str], Sequence[str]]  # conditions that all hold; the lines to run then


def call_source(name: str, arguments: Iterable[str], other: str, *ways: Way) -> str:
    """``def name(arguments)``: the first of the ways whose conditions hold; where none does, and where the
    lines of one fall through, the next, and ``return other`` in the end.

    Args:
        ways: their lines are indented as from their own left margin; one without lines is left out.
    """
    lines = [f"def {name}({', '.join(arguments)}):"]
    for conditions, body in ways:
        if body:
            lines += [f"    if {' and '.join(conditions)}:", *(f"        {line}" for line in body)]
    return "\n".join([*lines, f"    return {other}", ""])


def tuple_source(values: Iterable[str]) -> str:
    """A tuple of expressions, however few they are."""
    return f"({''.join(f'{value}, ' for value in values)})"


def are_tensors(names: Iterable[str]) -> list[str]:
    """The conditions that arguments are tensors; ``Tensor`` is a name of the function's scope."""
    return [f"isinstance({name}, Tensor)" for name in names]
