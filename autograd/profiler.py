"""Where a program's time goes: every op with its time, calls and bytes, as a table and a trace.

It looks on at the boundary that all ops pass (:func:`tilegrad.engine.dispatch.mode`). Ops of a GPU are
waited for, so that a time is the op's own.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from enum import Enum
from functools import wraps
from pathlib import Path

from tilegrad.engine import cuda, dispatch
from tilegrad.engine.array import Array

__all__ = ["Event", "ProfilerActivity", "Row", "profile", "record_function"]

_running: list[profile] = []


class ProfilerActivity(Enum):
    """What is looked at; both always are."""

    CPU = 0
    CUDA = 1


@dataclass(frozen=True)
class Event:
    """One op, or one labelled block: its name, begin and length in microseconds, its operands.

    Attributes:
        bytes: of operands and results. own: its own microseconds; none of a labelled block's.
    """

    name: str
    begin: float
    duration: float
    own: float
    device: str
    bytes: int
    shapes: tuple[tuple[int, ...], ...]
    label: bool
    thread: int


@dataclass
class Row:
    """All events of one name (and, if asked for, of the same shapes), in microseconds."""

    key: str
    device: str
    count: int = 0
    total: float = 0.0
    own: float = 0.0
    bytes: int = 0
    shapes: tuple[tuple[int, ...], ...] = ()


class profile:
    """A context manager that notes every op of its block.

    Args:
        activities, profile_memory, with_stack: accepted; time, calls and bytes are always noted,
            stacks never.
        record_shapes: keep operands' shapes, for ``key_averages(group_by_input_shape=True)``.
    """

    def __init__(
        self,
        activities: Sequence[ProfilerActivity] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
    ):
        self.record_shapes = record_shapes
        self.found: list[Event] = []
        self._stack: ExitStack | None = None
        self._zero = 0.0

    def __enter__(self) -> profile:
        self._zero = time.perf_counter()
        self._stack = ExitStack()
        self._stack.enter_context(dispatch.mode(self._note))
        _running.append(self)
        return self

    def __exit__(self, *error: object) -> None:
        assert self._stack is not None
        _running.remove(self)
        self._stack.close()

    start = __enter__

    def stop(self) -> None:
        """End the block."""
        self.__exit__()

    def step(self) -> None:
        """Mark the end of one step of a loop."""
        self._add("ProfilerStep", self._now(), 0.0, 0.0, (), True)

    def _now(self) -> float:
        return (time.perf_counter() - self._zero) * 1e6

    def _note(
        self,
        op: dispatch.Op,
        arrays: tuple[Array, ...],
        params: tuple[object, ...],
        metadata: dict[str, object],
    ) -> object:
        begin = self._now()
        result = op(*arrays, params=params, **metadata)
        results = result if isinstance(result, (tuple, list)) else (result,)
        held = [a for a in (*arrays, *results) if isinstance(a, Array)]
        if any(a.layout.device.type == "cuda" for a in held):
            cuda.synchronize()
        duration = self._now() - begin
        self._add(op.name, begin, duration, duration, held, False)
        return result

    def _add(
        self,
        name: str,
        begin: float,
        duration: float,
        own: float,
        held: Sequence[Array],
        label: bool,
    ) -> None:
        size = sum(a.layout.numel * a.layout.dtype.itemsize for a in held)
        device = str(held[0].layout.device) if held else "cpu"
        shapes = tuple(tuple(a.layout.shape) for a in held) if self.record_shapes else ()
        thread = threading.get_ident()
        self.found.append(Event(name, begin, duration, own, device, size, shapes, label, thread))

    def events(self) -> list[Event]:
        """All events, in the order in which they ended."""
        return list(self.found)

    def key_averages(self, group_by_input_shape: bool = False) -> Averages:
        """The events summed by name and device, and by shapes if asked for."""
        rows: dict[tuple[object, ...], Row] = {}
        for event in self.found:
            shapes = event.shapes if group_by_input_shape else ()
            key = (event.name, event.device, shapes)
            row = rows.setdefault(key, Row(event.name, event.device, shapes=shapes))
            row.count += 1
            row.total += event.duration
            row.own += event.own
            row.bytes += event.bytes
        return Averages(rows.values())

    def export_chrome_trace(self, path: str) -> None:
        """Write the events for chrome://tracing and Perfetto."""
        rows = [
            {
                "name": e.name, "ph": "X", "ts": e.begin, "dur": e.duration, "pid": e.device,
                "tid": e.thread, "cat": "label" if e.label else "op",
                "args": {"bytes": e.bytes, "shapes": [list(s) for s in e.shapes]},
            }
            for e in self.found
        ]  # fmt: skip
        Path(path).write_text(json.dumps({"traceEvents": rows, "displayTimeUnit": "ms"}))


_ORDERS: dict[str, Callable[[Row], float]] = {
    "cpu_time_total": lambda row: row.total,
    "self_cpu_time_total": lambda row: row.own,
    "cuda_time_total": lambda row: row.total if row.device != "cpu" else 0.0,
    "count": lambda row: row.count,
    "bytes": lambda row: row.bytes,
}


class Averages(list[Row]):
    """Rows, to be printed as a table."""

    def table(self, sort_by: str | None = None, row_limit: int = 100) -> str:
        """The rows as text, largest first by ``sort_by``: own time if that is None.

        Raises:
            ValueError: no such order.
        """
        order = _ORDERS.get(sort_by or "self_cpu_time_total")
        if order is None:
            raise ValueError(f"table: sort_by must be one of {', '.join(_ORDERS)}; got {sort_by!r}")
        whole = sum(row.own for row in self) or 1.0
        heads = ("Name", "Device", "Self %", "Self", "Total", "Average", "Calls", "Bytes")
        lines = [heads]
        for row in sorted(self, key=order, reverse=True)[: max(row_limit, 0)]:
            name = f"{row.key} {list(map(list, row.shapes))}" if row.shapes else row.key
            lines.append((
                name, row.device, f"{row.own / whole:.1%}", _time(row.own), _time(row.total),
                _time(row.total / row.count), str(row.count), _size(row.bytes),
            ))  # fmt: skip
        widths = [max(len(line[k]) for line in lines) for k in range(len(heads))]
        shown = [
            "  ".join(
                cell.ljust(width) if k < 2 else cell.rjust(width)
                for k, (cell, width) in enumerate(zip(line, widths, strict=True))
            ).rstrip()
            for line in lines
        ]
        rule = "-" * max(map(len, shown))
        return "\n".join(
            [rule, shown[0], rule, *shown[1:], rule, f"Self time total: {_time(whole)}"]
        )

    def __str__(self) -> str:
        return self.table()


def _time(microseconds: float) -> str:
    for unit, size in (("s", 1e6), ("ms", 1e3)):
        if microseconds >= size:
            return f"{microseconds / size:.3f}{unit}"
    return f"{microseconds:.1f}us"


def _size(count: int) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count} B"


class record_function:
    """A labelled block, or a decorator: one event, with all that runs in it."""

    def __init__(self, name: str, args: str | None = None):
        self.name, self.args = name, args
        self._begun: list[tuple[profile, float]] = []

    def __enter__(self) -> record_function:
        self._begun = [(each, each._now()) for each in _running]
        return self

    def __exit__(self, *error: object) -> None:
        for each, begin in self._begun:
            each._add(self.name, begin, each._now() - begin, 0.0, (), True)

    def __call__(self, function: Callable[..., object]) -> Callable[..., object]:
        @wraps(function)
        def labelled(*args: object, **kwargs: object) -> object:
            with record_function(self.name):
                return function(*args, **kwargs)

        return labelled
