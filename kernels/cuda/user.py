"""Kernels around bodies that users write: what every thread runs, for the operands it is called with."""

from __future__ import annotations

import math
import re
import struct
import types
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tilegrad.kernels import bodies
from tilegrad.kernels.arguments import Arguments
from tilegrad.kernels.bodies import Body, BodyError, reported
from tilegrad.kernels.cuda.device.facade import CUDA
from tilegrad.kernels.cuda.device.ptx import block, block_y, block_z, dynamic_shared, pointer
from tilegrad.kernels.cuda.device.spans import span, view
from tilegrad.kernels.cuda.run import driver, jit, launch as launching
from tilegrad.kernels.cuda.run.foreign import Compiled, compiled
from tilegrad.kernels.cuda.run.jit import Source, bind, kernel
from tilegrad.kernels.faults import KernelFault
from tilegrad.kernels.foreign import Foreign
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
        "body": body, "pointer": pointer, "span": span, "view": view, "block": block, "block_y": block_y,
        "block_z": block_z, "dynamic_shared": dynamic_shared,
        "T_shared": np.dtype(given.arrays[0].dtype).type,
    }  # fmt: skip
    run = function_from_source("\n".join(lines) + "\n", "run", scope, module=__name__)
    return Source(run, given.letters + "iii", math.prod(shape), 1, dynamic, shape)


def device_name() -> str:
    """The current GPU's, and its architecture; "" where it is simulated, or there is none."""
    try:
        here: Any = driver.get()
    except driver.CudaError:
        return ""
    found = here.properties(here.device)
    return "" if here.simulated else f"{found.name}, sm_{found.major}{found.minor}"


def bring(
    title: str, function: Callable[..., Any] | Foreign, reassociate: bool = False
) -> Body | Foreign:
    """A body for this device: in it, ``numba.cuda`` is the simulated device's, too. ``reassociate`` is the
    CPU's: threads have no vectors.
    """
    if isinstance(function, Foreign):
        return function

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
    title: str, body: Any, given: Arguments, known: Sequence[int], shape: tuple[Any, ...]
) -> tuple[Callable[..., None], int]:
    """(a launch ``(*addresses, [scratch], *scalars)``, bytes of scratch memory).

    Args:
        title: whose body it is, for errors.
        body: a :class:`Body`, or a :class:`Foreign`.
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
    if isinstance(body, Foreign):
        return _launch_foreign(title, body, given, known, cut), count * each
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


# ------------------------------------------------------------------------ kernels in other languages


def _launch_foreign(
    title: str, source: Foreign, given: Arguments, known: Sequence[int], shape: Shape
) -> Callable[..., None]:
    """A launch of a kernel that is C++ or PTX."""
    here: Any = driver.get()
    if here.simulated:
        raise BodyError(
            f"{title} is {'CUDA C++' if source.language == 'c++' else 'PTX'}, which the simulated GPU cannot "
            f"run: it runs Python alone; a body in Python, or no body and so the reference, can be tested on it"
        )
    properties = here.properties(here.device)
    made = compiled(title, source, given.real, (properties.major, properties.minor))
    letters, picks = passing(title, made, given, known)
    function, owner = here.load(made.cubin, made.entry, shape.shared)
    jit._owners.append(owner)
    block_number = launching.block_number(shape.block)
    loaded = launching.load(title, function, letters, block_number, shape.shared, here.symbols())

    def call(*received: Any) -> None:
        loaded(*[pick(received) for pick in picks], *shape.grid)

    return call


Pick = Callable[[tuple[Any, ...]], Any]


def passing(
    title: str, made: Compiled, given: Arguments, known: Sequence[int]
) -> tuple[str, list[Pick]]:
    """The letters of a foreign kernel's parameters, and what each is of what a launch receives.

    Raises:
        BodyError: their number differs, or a size does not fit its parameter.
    """
    if len(made.params) != len(given.asks):
        raise BodyError(
            f"{title}: {made.entry} has {len(made.params)} parameters; args= names {len(given.asks)}: "
            f"{', '.join(given.asks)}"
        )
    places = {name: k for k, name in enumerate(given.received)}
    values = dict(zip(given.known, known, strict=True)) | dict(given.constants)
    floats = {name for name, kind in given.scalars if kind.startswith("float")}
    letters, picks = "", list[Pick]()
    for name, nbytes in zip(given.asks, made.params, strict=True):
        at = next((places[n] for n in _received(name) if n in places), None)
        if name in floats:
            letters += "i" if nbytes == 4 else "d"
            picks.append(_narrow(_given(at)) if nbytes == 4 else _given(at))
            continue
        letters += "i"
        if isinstance(values.get(name), float):
            letters = letters[:-1] + ("i" if nbytes == 4 else "d")
            value = _constant(values[name])
            picks.append(_narrow(value) if nbytes == 4 else value)
        elif at is None or name in values:
            size = int(values[name])
            if nbytes < 8 and not -(1 << 8 * nbytes - 1) <= size < 1 << 8 * nbytes:
                raise BodyError(f"{title}: {name} does not fit its {nbytes} bytes; got {size}")
            picks.append(_constant(size))
        else:
            picks.append(_given(at))
    return letters, picks


def _received(name: str) -> tuple[str, str]:
    """Under which names a launch may receive an argument: as an array's address, or a call's scalar."""
    return (f"at_{name}", f"given_{name}")


def _given(place: Any) -> Pick:
    return lambda received: received[place]


def _constant(value: Any) -> Pick:
    return lambda received: value


def _narrow(pick: Pick) -> Pick:
    """A number in float32, as the integer whose first bytes it is."""
    return lambda received: struct.unpack("<i", struct.pack("<f", pick(received)))[0]
