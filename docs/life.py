"""The chapter "Life of an op" of architecture.md: calls as they run, function by function.

``python docs/life.py`` writes it anew (``PYTHONPATH=.dev``); tests/house/test_docs.py compares. Each call is
traced twice: when its plan is made, and when the plan is known.
"""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "architecture.md"
BEGIN = "<!-- python docs/life.py writes from here -->\n"
END = "<!-- to here -->\n"

# entered and not followed: compiling and loading, memory, layouts
CLOSED = (
    "kernels/builtin.py", "kernels/cache.py", "kernels/cpu/run/", "kernels/formulas/",
    "kernels/function.py", "kernels/interrupt.py", "engine/array.py", "engine/memory.py",
)  # fmt: skip
# what every call asks on its way, and says nothing of the op
SMALL = (
    "engine/dtype.py", "engine/device.py", "engine/number.py", "engine/shape.py", "kernels/cpu/simd/",
    "kernels/cpu/run/splitting.py", "kernels/cpu/run/threads.py",
)  # fmt: skip
DEEPEST = 1  # below the function of kernels/ that the engine calls: no arithmetic of planners


def calls(n: int) -> Iterator[tuple[str, Callable[[], Any]]]:
    """What is traced, by its text, on operands whose layouts are those of ``n`` alone."""
    import tilegrad as tg
    from tilegrad.nn import functional as F

    x, y = tg.rand(n, 8, requires_grad=True), tg.rand(8, 5, requires_grad=True)
    image, weight = tg.rand(2, 3, n, n), tg.rand(4, 3, 3, 3, requires_grad=True)
    yield "x.exp()", x.exp
    yield "x.softmax(1)", lambda: x.softmax(1)
    yield "x @ y", lambda: x @ y
    yield "F.conv2d(image, weight)", lambda: F.conv2d(image, weight)
    losses = iter([((x @ y) * 2).sum() for _ in range(9)])
    yield "loss.backward()", lambda: next(losses).backward()


def _place(code: CodeType) -> str | None:
    path = Path(code.co_filename)
    apart = not path.is_absolute() or not path.resolve().is_relative_to(ROOT)
    if apart or "site-packages" in path.parts:  # of an environment in this folder
        return None
    return str(path.resolve().relative_to(ROOT))


def traced(call: Callable[[], Any]) -> list[tuple[int, CodeType, str]]:
    """Every call of a Python function of this library, in order: depth, code, file."""
    found: list[tuple[int, CodeType, str]] = []
    open_frames: list[tuple[FrameType, bool]] = []

    def see(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            place = _place(frame.f_code)
            hidden = place is None or place == "docs/life.py" or any(c for _, c in open_frames)
            if not hidden:
                found.append((len(open_frames), frame.f_code, place))
                open_frames.append((frame, place.startswith(CLOSED)))
        elif event == "return" and open_frames and open_frames[-1][0] is frame:
            open_frames.pop()

    gc.disable()
    sys.setprofile(see)
    try:
        call()
    finally:
        sys.setprofile(None)
        gc.enable()
    return found


def _sentence(code: CodeType) -> str:
    """The first sentence of a function's docstring."""
    text = code.co_consts[0] if code.co_consts else None
    if not (code.co_flags & inspect.CO_OPTIMIZED and isinstance(text, str) and " " in text):
        return ""
    line = " ".join(inspect.cleandoc(text).split("\n\n")[0].split())
    head, stop, _ = line.partition(". ")
    return (head + "." if stop else line).replace("|", "\\|")


def _cold(call: Callable[[], Any]) -> Iterator[str]:
    """Functions that have a docstring, at their first call, under the last one shown above them."""
    yield "| function | file | what it does |"
    yield "| --- | --- | --- |"
    above: list[tuple[int, bool, str]] = []  # depth, whether it has a row, file
    seen = set()
    for depth, code, place in traced(call):
        while above and above[-1][0] >= depth:
            above.pop()
        said = _sentence(code)
        inside = [shown for _, shown, file in above if file.startswith("kernels/")]
        shown = bool(said) and "<" not in code.co_name and not place.startswith(SMALL)
        shown = shown and code not in seen and sum(inside) <= DEEPEST and all(inside)
        if shown:
            seen.add(code)
            indent = "· " * sum(row for _, row, _ in above)
            yield f"| {indent}`{code.co_qualname}` | `{place}` | {said} |"
        above.append((depth, shown, place))


def _warm(call: Callable[[], Any]) -> str:
    for _ in range(4):
        call()
    codes = [code for _, code, _ in traced(call)]
    found = [code.co_qualname for code in codes if not code.co_name.startswith("<")]
    names = list(dict.fromkeys(found))
    text = f"Warm, {len(found)} Python calls of {len(names)} functions"
    return text + (": " + ", ".join(f"`{n}`" for n in names) + "." if len(names) < 12 else ".")


def chapter() -> str:
    """The chapter, in Markdown."""
    import tilegrad as tg

    tg.manual_seed(0)
    for _, call in calls(7):  # imports what is imported once, and compiles
        call()
    parts = []
    for text, call in calls(9):
        rows = "\n".join(_cold(call))
        parts.append(f"### `{text}`\n\n{rows}\n\n{_warm(call)}\n")
    return "\n".join(parts)


def page(text: str) -> str:
    """``text`` with the chapter as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{chapter()}\n{END}{after}"


if __name__ == "__main__":
    old = PAGE.read_text()
    new = page(old)
    if "--check" in sys.argv:
        sys.exit(new != old and "docs/architecture.md is behind: run python docs/life.py")
    PAGE.write_text(new)
