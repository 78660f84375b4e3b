"""The first NaN of a program: which op made it, and on which line."""

from __future__ import annotations

import linecache
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from types import FrameType

from tilegrad.autograd.base import detached_view
from tilegrad.autograd.mode import _Switch
from tilegrad.autograd.rules.pointwise import isnan
from tilegrad.autograd.rules.reduce import any as any_of
from tilegrad.engine import dispatch
from tilegrad.engine.array import Array


class detect_nan:
    """Inside the block, forward and backward, the first op whose result has a NaN raises a RuntimeError that
    names the op, what it was given, and the line of the program that called it::

        with tilegrad.autograd.detect_nan():
            loss = model(x)

    :class:`set_detect_anomaly` looks at gradients alone. Every result is read once more; on a GPU each op is
    waited for.

    Args:
        infinite: an infinite number counts too, unless an operand has one.
    """

    def __init__(self, infinite: bool = False):
        self.infinite = infinite
        self._block = ExitStack()

    def __enter__(self) -> detect_nan:
        self._block.enter_context(dispatch.mode(self._seen))
        return self

    def __exit__(self, *error: object) -> None:
        self._block.close()

    def _seen(
        self,
        op: dispatch.Op,
        arrays: tuple[Array, ...],
        params: tuple[object, ...],
        metadata: dict[str, object],
    ) -> object:
        """A dispatch mode."""
        versions = [a.storage.version for a in arrays]
        result: Array | tuple[Array, ...] = op(*arrays, params=params, **metadata)
        for made in result if isinstance(result, tuple) else (result,):
            if not made.layout.dtype.is_floating_point or _shown(made, arrays, versions):
                continue
            for what, found in (("NaN", _has_nan), ("infinite number", _has_infinite)):
                if (what == "NaN" or self.infinite) and found(made):
                    bad = [k for k, a in enumerate(arrays) if a is not made and found(a)]
                    if not bad or what == "NaN":
                        raise RuntimeError(_message(op.name, what, arrays, bad))
        return result


def _shown(made: Array, arrays: tuple[Array, ...], versions: list[int]) -> bool:
    """Whether ``made`` is a view: what it shows, another op has made."""
    return any(
        made.storage is a.storage and version == a.storage.version
        for a, version in zip(arrays, versions, strict=True)
    )


def _has_nan(x: Array) -> bool:
    if not x.layout.dtype.is_floating_point:
        return False
    with _Switch(False):
        return bool(any_of(isnan(detached_view(x))).item())


def _has_infinite(x: Array) -> bool:
    if not x.layout.dtype.is_floating_point:
        return False
    with _Switch(False):
        return bool(any_of(detached_view(x).abs() == float("inf")).item())


def _message(op: str, what: str, arrays: tuple[Array, ...], bad: list[int]) -> str:
    given = ", ".join(a.layout.describe() for a in arrays) or "no tensors"
    whence = (
        f"its operand{'s' * (len(bad) > 1)} {', '.join(map(str, bad))} had one already"
        if bad
        else "none of its operands has one"
    )
    return f"{op}: made the first {what}; {whence}; of {given}{_line()}"


def _line() -> str:
    """Which line of the program is running."""
    for frame in _frames():
        place = f"{frame.f_code.co_filename}:{frame.f_lineno}"
        text = linecache.getline(frame.f_code.co_filename, frame.f_lineno).strip()
        return f"\n  at {place}, in {frame.f_code.co_name}\n    {text}"
    return ""


def _frames() -> Iterator[FrameType]:
    """The program's frames, the innermost first, the library's left out."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        name = str(frame.f_globals.get("__name__", ""))
        inside = name.startswith("tilegrad.") or name in ("tilegrad", "contextlib", "functools")
        if not inside and not frame.f_code.co_filename.startswith("<tilegrad"):
            yield frame
        frame = frame.f_back
