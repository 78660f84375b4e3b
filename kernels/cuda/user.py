"""Kernels around bodies that users write: what every thread runs, for the operands it is called with."""

from __future__ import annotations

import math
import re
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels import bodies
from tilegrad.kernels.arguments import Arguments
from tilegrad.kernels.bodies import Body, BodyError, reported
from tilegrad.kernels.cuda.device.facade import CUDA
from tilegrad.kernels.cuda.device.ptx import block, block_y, block_z, dynamic_shared, pointer
from tilegrad.kernels.cuda.device.spans import span
from tilegrad.kernels.cuda.run import driver
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.faults import KernelFault
from tilegrad.kernels.function import function_from_source

ALIGNED = 256  # bytes
MODULES = ("numba.cuda", "numba_cuda.numba.cuda", "tilegrad.cuda")

# what a launch may have at most
GRID = (2**31 - 1, 65535, 65535)
BLOCK = (1024, 1024, 64)
THREADS = 1024


class Shape(NamedTuple):
    """How a launch is cut: blocks, threads of a block, bytes of shared memory that a block is given,
    bytes of scratch memory of each block.
    """

    grid: tuple[int, int, int]
    block: tuple[int, int, int]
    shared: int = 0
    scratch: int = 0


@kernel
def user(body: Body, given: Arguments, shape: tuple[int, int, int], dynamic: int) -> Source:
    """What every thread runs: the body, with what it asks for."""
    number = "(block() + v_blocks * (block_y() + v_rows * block_z()))"
    lines = [
        f"def run({', '.join([*given.received, 'v_blocks', 'v_rows', 'each'])}):",
        *(f"    {line}" for line in given.prepared()),
        *[f"    p_scratch = pointer(at_scratch + {number} * each, T_scratch)"]
        * bool(given.scratch),
        f"    body({', '.join(given.passed(scratch='p_scratch', shared='dynamic_shared(0, T_shared)'))})",
    ]
    scope: dict[str, Any] = {name: np.dtype(kind).type for name, kind in given.dtypes.items()}
    scope |= {
        "body": body, "pointer": pointer, "span": span, "block": block, "block_y": block_y,
        "block_z": block_z, "dynamic_shared": dynamic_shared,
        "T_shared": np.dtype(given.arrays[0].dtype).type,
    }  # fmt: skip
    run = function_from_source("\n".join(lines) + "\n", "run", scope, module=__name__)
    return Source(run, given.letters + "iii", math.prod(shape), 1, dynamic, shape)


def bring(title: str, function: Callable[..., Any]) -> Body:
    """A body for this device: in it, ``numba.cuda`` is the simulated device's, too."""

    def special(value: Any) -> Any:
        if value == "cuda" or (isinstance(value, types.ModuleType) and value.__name__ in MODULES):
            return CUDA
        module = str(getattr(value, "__module__", ""))
        if module.startswith(("numba.cuda.stubs", "numba.cuda.intrinsics")):
            raise BodyError(
                f"{title}: names of numba.cuda are known as cuda.{value.__name__}; write `from numba "
                f"import cuda`"
            )
        return None

    return bodies.bring(title, function, special)


def launch(
    title: str, body: Body, given: Arguments, known: Sequence[int], shape: tuple[Any, ...]
) -> tuple[Callable[..., None], int]:
    """(a launch ``(*addresses, [scratch], *scalars)``, bytes of scratch memory).

    Args:
        title: whose body it is, for errors.
        known: the values of ``given.known``.
        shape: the fields of a :class:`Shape`.

    Raises:
        BodyError: the body cannot be compiled, or the device has no such launch.
    """
    cut = Shape(*shape)
    _check(title, cut)
    each = max(1, -(-cut.scratch // ALIGNED)) * ALIGNED
    count = math.prod(cut.grid)
    if count == 0:
        return lambda *addresses: None, each
    with reported(title, body):
        function = user.build(body, given, cut.block, cut.shared)
    bound = bind(function, *known, *cut.grid[:2], each, *cut.grid)
    return _named(title, given, bound) if driver.get().simulated else bound, count * each


def _named(title: str, given: Arguments, function: Callable[..., None]) -> Callable[..., None]:
    """The launch on the simulated device, whose faults name the op and its arrays."""

    def name(found: re.Match[str]) -> str:
        return given.arrays[int(found[1])].name

    def launch(*args: Any) -> None:
        try:
            function(*args)
        except KernelFault as fault:
            text = re.sub(r"array (\d+)\b", name, str(fault))
            raise KernelFault(f"{title}: {text.partition(': ')[2]}") from fault

    return launch


def _check(title: str, shape: Shape) -> None:
    for what, sizes, most in (("grid", shape.grid, GRID), ("block", shape.block, BLOCK)):
        if any(n > top for n, top in zip(sizes, most, strict=True)):
            raise BodyError(f"{title}: a {what} has at most {most}; got {sizes}")
    if not 1 <= math.prod(shape.block) <= THREADS:
        raise BodyError(f"{title}: a block has 1 to {THREADS} threads; got {shape.block}")
