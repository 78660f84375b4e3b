"""The table of rows, which each family adds its own to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

from tilegrad.onnx.graph import Builder
from tilegrad.onnx.tracing import Step

# (graph, step) to the names of its results, in order; None for one that ONNX does not have
Row: TypeAlias = Callable[[Builder, Step], "str | Sequence[str | None]"]

ROWS: dict[str, Row] = {}


def row(*names: str) -> Callable[[Row], Row]:
    """Decorator: how ops of these names are said."""

    def take(function: Row) -> Row:
        for name in names:
            if name in ROWS:
                raise ValueError(f"row: there is one for {name} already")
            ROWS[name] = function
        return function

    return take
