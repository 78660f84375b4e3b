"""Kernels around bodies that users write: tasks, for the operands it is called with."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels import bodies
from tilegrad.kernels.arguments import Arguments
from tilegrad.kernels.bodies import Body, reported
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, kernel, simd_bits, target
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.checked import ADDRESS, checked_span, read_report, watching
from tilegrad.kernels.cpu.simd.memory import pointer, span
from tilegrad.kernels.cpu.simd.views import checked_view, view
from tilegrad.kernels.cpu.tuning import User
from tilegrad.kernels.faults import KernelFault
from tilegrad.kernels.function import function_from_source

ALIGNED = 64  # bytes: of the host's allocator


class Shape(NamedTuple):
    """How a launch is cut: tasks, elements of work in all, bytes of scratch memory of a task."""

    tasks: int
    work: int
    scratch: int = 0


@kernel
def user(body: Body, given: Arguments) -> Kernel:
    """The tasks of a piece, one after the other, each with what the body asks for."""
    passed = given.passed(task="task", tasks="tasks", scratch="p_scratch")
    spare = "at_scratch + piece * each, T_scratch"
    prepared = given.prepared()
    if given.scratch and given.checked:
        count = np.dtype(given.scratch).itemsize
        prepared += [f"p_scratch = checked_span({spare}, used // {count}, -1, task, report)"]
    elif given.scratch:
        prepared += [f"p_scratch = pointer({spare})"]
    inside = prepared if given.checked else []  # a checked pointer knows the task that it serves
    lines = [
        f"def run(piece, {', '.join([*given.received, *_OWN])}):",
        *(f"    {line}" for line in prepared if not inside),
        "    for task in range(piece * per, min(tasks, piece * per + per)):",
        *(f"        {line}" for line in inside),
        f"        body({', '.join(passed)})",
    ]
    scope: dict[str, Any] = {name: np.dtype(kind).type for name, kind in given.dtypes.items()}
    scope |= {"body": body, "pointer": pointer, "span": span, "checked_span": checked_span}
    scope |= {"view": view, "checked_view": checked_view}
    run = function_from_source("\n".join(lines) + "\n", "run", scope, module=__name__)
    return run, given.letters + "i" * len(_OWN)


# what a launch receives besides: tasks, those of a piece, bytes between the scratch memory of pieces, bytes
# of it that a task may use, and where checked builds report
_OWN = ("tasks", "per", "each", "used", "report")


# of LLVM, for bodies whose sums may be taken in vectors
REASSOCIATE = ("reassoc", "nsz")


@cache
def device_name() -> str:
    """The processor's: what the system calls it, else LLVM, and the width of its vectors."""
    info = Path("/proc/cpuinfo")
    found = re.search(r"^model name\s*: (.+)$", info.read_text() if info.is_file() else "", re.M)
    return f"{found[1] if found else target()[0]}, {simd_bits()}-bit vectors"


def bring(title: str, function: Callable[..., Any], reassociate: bool = False) -> Body:
    """A body for this device; with ``reassociate``, sums may be taken in another order."""
    return bodies.bring(title, function, fastmath=REASSOCIATE if reassociate else ())


def launch(
    title: str, body: Body, given: Arguments, known: Sequence[int], shape: tuple[Any, ...]
) -> tuple[Callable[..., None], int]:
    """(a launch ``(*addresses, [scratch], *scalars)``, bytes of scratch memory).

    Args:
        title: whose body it is, for errors.
        known: the values of ``given.known``.
        shape: the fields of a :class:`Shape`.

    Raises:
        BodyError: the body cannot be compiled.
    """
    tasks, work, scratch = Shape(*shape)
    each = max(1, -(-scratch // ALIGNED)) * ALIGNED
    if tasks == 0:
        return lambda *addresses: None, each
    per, pieces = splitting.share(tasks, 1, User.grain * tasks // max(work, 1), User.tasks)
    with reported(title, body):
        function = user.build(body, given)
    own = (tasks, per, each, scratch, ADDRESS)
    bound = bind(function, *known, *own, pieces, TEAM if pieces > 1 else 0)
    return _watched(title, given, bound) if given.checked else bound, pieces * each


def _watched(title: str, given: Arguments, function: Callable[..., None]) -> Callable[..., None]:
    """The launch of a checked build, which raises what it reports."""

    def launch(*args: Any) -> None:
        with watching:
            read_report()
            function(*args)
            report = read_report()
        if report.found:
            one = given.arrays[report.place] if report.place >= 0 else None
            raise KernelFault(
                f"{title}: task {report.task}: access outside {one.name if one else 'scratch'}: element "
                f"{report.element} of a {one.dtype if one else given.scratch} pointer that has "
                f"{report.low} … {report.high - 1}"
            )

    return launch
