"""What the node of a custom function knows of its call."""

from __future__ import annotations

from typing import Any


class CustomCall:
    """What the node of a custom function knows of its call.

    Attributes:
        kind: the function's class; context: what ``forward`` left.
        positions: of the tensors among the ``arguments`` arguments.
        outputs: positions of the tensors among the ``count`` results.
        views: numbers of the tensors among the results that show an input's memory.
    """

    __slots__ = ("arguments", "context", "count", "kind", "outputs", "positions", "views")

    def __init__(self, kind: type[Any], context: Any, positions: list[int], arguments: int):
        self.kind = kind
        self.context = context
        self.positions = positions
        self.arguments = arguments
        self.outputs: list[int] = []
        self.count = 0
        self.views: set[int] = set()
