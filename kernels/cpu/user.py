"""Kernels around bodies that users write: tasks, for the operands it is called with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels import bodies
from tilegrad.kernels.arguments import Arguments
from tilegrad.kernels.bodies import Body, reported
from tilegrad.kernels.cpu.run import splitting
from tilegrad.kernels.cpu.run.jit import Kernel, bind, kernel
from tilegrad.kernels.cpu.run.threads import TEAM
from tilegrad.kernels.cpu.simd.memory import pointer, span
from tilegrad.kernels.function import function_from_source

GRAIN = 1 << 14  # elements that a piece reads and writes at least; fewer in all: no threads
PIECES = 64
ALIGNED = 64  # bytes


class Shape(NamedTuple):
    """How a launch is cut: tasks, elements of work in all, bytes of scratch memory of a task."""

    tasks: int
    work: int
    scratch: int = 0


@kernel
def user(body: Body, given: Arguments) -> Kernel:
    """The tasks of a piece, one after the other, each with what the body asks for."""
    passed = given.passed(task="task", tasks="tasks", scratch="p_scratch")
    scratch = ["p_scratch = pointer(at_scratch + piece * each, T_scratch)"] * bool(given.scratch)
    lines = [
        f"def run(piece, {', '.join([*given.received, 'tasks', 'per', 'each'])}):",
        *(f"    {line}" for line in [*given.prepared(), *scratch]),
        "    for task in range(piece * per, min(tasks, piece * per + per)):",
        f"        body({', '.join(passed)})",
    ]
    scope: dict[str, Any] = {name: np.dtype(kind).type for name, kind in given.dtypes.items()}
    scope |= {"body": body, "pointer": pointer, "span": span}
    run = function_from_source("\n".join(lines) + "\n", "run", scope, module=__name__)
    return run, given.letters + "iii"


def bring(title: str, function: Callable[..., Any]) -> Body:
    """A body for this device."""
    return bodies.bring(title, function)


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
    per = splitting.share(tasks, GRAIN * tasks // max(work, 1), PIECES)
    pieces = -(-tasks // per)
    with reported(title, body):
        function = user.build(body, given)
    bound = bind(function, *known, tasks, per, each, pieces, TEAM if pieces > 1 else 0)
    return bound, pieces * each
