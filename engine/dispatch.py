"""Dispatch: every op passes here as (op, arrays, scalars, metadata) and nothing else.

An :class:`Op` is split in two. Its *planner* sees only layouts and metadata: it checks them, infers
the outputs' layouts and asks the device's kernels for a launch. The :class:`Plan` is kept, so the
second call with equal layouts allocates and launches, nothing else. What differs from op to op stands
in the plan. Profiling, tracing and checking are *modes*: functions that see every launch and every
view on its way and pass it on; of a call that other ops serve (a cast first, a copy) they see those.
"""

from __future__ import annotations

import importlib
import struct
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

from tilegrad.engine import calls, native, plain
from tilegrad.engine.array import Array, Layout, empty_layout, output
from tilegrad.engine.device import CPU, META, Device
from tilegrad.engine.dtype import DType
from tilegrad.engine.errors import DeviceError, OutOfMemoryError
from tilegrad.engine.interpreter import chosen
from tilegrad.engine.memory import FreeList, new_storage
from tilegrad.kernels import dtypes
from tilegrad.kernels.cpu.run import ahead
from tilegrad.kernels.forking import compiler
from tilegrad.kernels.function import NO_FAMILIES

Launch = Callable[..., None]
Instead = Callable[[tuple[Array, ...], tuple[Any, ...]], Any]
Apart = Callable[["Plan", tuple[Array, ...]], tuple[Array, ...]]

PLAN_LIMIT = 20_000


class Plan:
    """What a call needs once its layouts are known.

    ``launch`` takes the addresses of operands and outputs and, if ``scratch`` is not 0, of that many
    bytes of scratch memory, then the call's scalars and those in ``tail``.

    Attributes:
        outs: what is made anew. A call without any gives the first operand that it writes.
        writes: the places of the operands that the launch writes over.
        apart: gives the operands, with copies of those that the write would change too early; None
            where there are no such.
        pointwise: whether elements are read before they are written in their place, so that an
            operand may be the written one.
        instead: where no launch serves these operands, the call by way of other ops.
        view: of a view, its layout and the bytes between the operand's first element and its own.
    """

    __slots__ = (
        "allocator", "apart", "instead", "launch", "nbytes", "out", "outs", "pointwise", "pool",
        "scratch", "tail", "view", "writes",
    )  # fmt: skip

    instead: Instead | None
    view: tuple[Layout, int] | None

    def __init__(
        self,
        outs: tuple[Layout, ...],
        launch: Launch,
        scratch: int = 0,
        *,
        tail: tuple[Any, ...] = (),
        writes: tuple[int, ...] = (),
        apart: Apart | None = None,
        pointwise: bool = False,
        device: Device = CPU,
    ):
        self.outs = outs
        self.out = outs[0] if outs else None
        self.nbytes = outs[0].nbytes if outs else 0
        self.launch = launch
        self.scratch = scratch
        self.tail = tail
        self.writes = writes
        self.apart = apart
        self.pointwise = pointwise
        self.instead = self.view = None
        self.allocator = (outs[0].device if outs else device).allocator
        self.pool = self.allocator.pool_of(self.nbytes)


def _no_launch(*addresses: int) -> NoReturn:
    raise AssertionError("neither a view nor a call by way of other ops launches anything")


def composed(instead: Instead) -> Plan:
    """The plan of a call that other ops serve: ``instead(operands, params)`` gives the result."""
    plan = Plan((), _no_launch)
    plan.instead = instead
    return plan


def shown(kind: Layout, step: int) -> Plan:
    """The plan of a view: the operand's memory, ``step`` bytes on, as ``kind``."""
    plan = Plan((), _no_launch)
    plan.view = kind, step
    return plan


Planner = Callable[..., Plan]
Mode = Callable[["Op", tuple[Array, ...], tuple[Any, ...], dict[str, Any]], Any]

_modes: list[Mode] = []
_tracers: dict[int, list[Mode]] = {}  # by thread

# whether what is planned for these arrays will be differentiated; autograd knows
recorded: list[Callable[[tuple[Array, ...]], bool]] = [lambda arrays: False]


class Op:
    """A function of arrays, scalars and keyword metadata, by way of plans; pure, but for operands that
    its plans write over.

    ``op(*arrays, params=(…), **metadata)`` gives a new array, a tuple of them, a view, or what it
    wrote. A plan is kept under the operands' layouts and the metadata, unless a tuple among these holds
    a bool or a float; ``names`` are the metadata
    that a caller of ``calls.run(op, *arrays, *values)`` gives, in their order.

    Args:
        planner: ``(*layouts, **metadata)`` to the plan; it checks them.
        anywhere: whether it is asked about operands on several devices, too.
        of_bytes: whether it needs no kernel for the operands' dtype.
        planar: whether it takes complex operands.
    """

    __slots__ = ("anywhere", "name", "names", "of_bytes", "planar", "planner", "plans")

    def __init__(
        self,
        name: str,
        planner: Planner,
        names: tuple[str, ...] = (),
        anywhere: bool = False,
        of_bytes: bool = False,
        planar: bool = False,
    ):
        self.name = name
        self.planner = planner
        self.names = names
        self.anywhere = anywhere
        self.of_bytes = of_bytes
        self.planar = planar or of_bytes
        self.plans: dict[Any, Plan] = {}

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __call__(self, *arrays: Array, params: tuple[Any, ...] = (), **metadata: Any) -> Any:
        key: Any = tuple([a.layout for a in arrays])
        if metadata:
            if self.names:
                key += tuple(map(metadata.__getitem__, self.names))
            else:
                key = (key, tuple(metadata.items()))
        result = calls.run_at(self, key, params, *arrays)
        if result is not None:
            return result
        if _tracers and threading.get_ident() in _tracers:
            result = _tracers[threading.get_ident()][-1](self, arrays, params, metadata)
            if result is not NotImplemented:
                return result
        plan = self.plans.get(key)
        exact = not metadata or calls.exact(*metadata.values())
        if plan is None or not exact:
            plan = self._make_plan(key if exact else None, arrays, metadata)
        if plan.instead is not None:
            return plan.instead(arrays, params)
        if plan.apart is not None:
            ready = plan.apart(plan, arrays)
            if ready is not arrays:
                return self(*ready, params=params, **metadata)
        if _modes and _modes[-1] is not _long_way:
            return _through_modes(self, arrays, params, metadata)
        return _launch(plan, arrays, params)

    def _make_plan(self, key: Any, arrays: tuple[Array, ...], metadata: dict[str, Any]) -> Plan:
        """A new plan, kept under ``key``, unless that is None or never equal to another."""
        layouts = [a.layout for a in arrays]
        if not self.of_bytes:
            check_dtypes(self.name, layouts, metadata)
        if not self.planar:
            refuse_complex(self.name, layouts, metadata)
        if not self.anywhere:
            same_device(self.name, layouts)
        if len(self.plans) >= PLAN_LIMIT:
            self.plans.clear()
        ahead.following[0] = recorded[0](arrays)
        try:
            plan = self.planner(*layouts, **metadata)
        except dtypes.DTypeError as error:
            raise_unsupported(self.name, error.dtype, layouts)
        except (OverflowError, struct.error):
            raise RuntimeError(
                f"{self.name}: sizes and steps must fit in 64 bits, with what follows from them; got "
                f"{' and '.join([x.describe() for x in layouts] or ['no tensor'])}, {metadata}"
            ) from None
        except MemoryError:  # of tables
            raise OutOfMemoryError(
                f"{self.name}: out of memory for what is worked out beforehand; got "
                f"{' and '.join([x.describe() for x in layouts] or ['no tensor'])}, {metadata}"
            ) from None
        except ImportError:
            refuse_at_exit(self.name)
            raise
        finally:
            ahead.following[0] = False
        if key is not None and all(v == v for v in metadata.values()):  # NaN never comes again
            self.plans[key] = plan
        return plan


def _launch(plan: Plan, arrays: tuple[Array, ...], params: tuple[Any, ...]) -> Any:
    """Allocate and launch."""
    if plan.view is not None:
        kind, step = plan.view
        (x,) = arrays
        return calls.new(kind, x.storage, x.address + step)
    addresses = [a.address for a in arrays]
    result: Any
    if len(plan.outs) == 1:
        result = output(plan)
        addresses.append(result.address)
    elif plan.outs:
        result = tuple([empty_layout(out) for out in plan.outs])
        addresses += [a.address for a in result]
    else:
        result = arrays[plan.writes[0]]
    if plan.scratch:
        scratch = plan.allocator.allocate(plan.scratch)
        addresses.append(scratch.address)
    plan.launch(*addresses, *params, *plan.tail)
    for place in plan.writes:
        arrays[place].storage.version += 1
    return result


def refuse_at_exit(op: str) -> None:
    """RuntimeError where the interpreter is being taken apart and imports nothing any more."""
    if sys.meta_path is None:
        raise RuntimeError(
            f"{op}: Python is shutting down: what was not run before on such operands cannot be "
            f"prepared any more"
        ) from None


def check_dtypes(op: str, layouts: list[Layout], metadata: dict[str, Any]) -> None:
    """Refuse dtypes, of operands or named in the metadata, that kernels have no row for.

    Raises:
        NotImplementedError: there is one.
    """
    named = [value for value in metadata.values() if isinstance(value, DType)]
    for kind in (*(x.dtype for x in layouts), *named):
        if kind.name not in dtypes.TABLE:
            raise_unsupported(op, kind.name, layouts)


_COMPLEX = {"complex64": "ComplexFloat", "complex128": "ComplexDouble"}  # as PyTorch calls them


def refuse_complex(op: str, layouts: list[Layout], metadata: dict[str, Any]) -> None:
    """Refuse complex dtypes, of operands or named in the metadata.

    Raises:
        NotImplementedError: there is one.
    """
    named = [value for value in metadata.values() if isinstance(value, DType)]
    for kind in (*(x.dtype for x in layouts), *named):
        if kind.is_complex:
            got = " and ".join([x.describe() for x in layouts] or [kind.name])
            raise NotImplementedError(
                f"{op}: not implemented for '{_COMPLEX[kind.name]}'; got {got}"
            )


def raise_unsupported(op: str, dtype: str, layouts: list[Layout]) -> NoReturn:
    """Refuse an op for a dtype."""
    got = [x.describe() for x in layouts]
    if all(x.dtype.name != dtype for x in layouts):
        got.append(dtype)  # what was to be made
    raise NotImplementedError(
        f"{op}: not implemented for '{dtype}'; got {' and '.join(got)}"
    ) from None


def same_device(op: str, layouts: list[Layout]) -> None:
    """Raise :class:`DeviceError` unless all operands live on one device."""
    for other in layouts[1:]:
        if other.device is not layouts[0].device:
            raise_mixed(op, layouts)


def raise_mixed(op: str, layouts: list[Layout]) -> NoReturn:
    """Refuse operands on several devices."""
    raise DeviceError(
        f"{op}: Expected all tensors to be on the same device; got "
        + " and ".join(str(x.device) for x in layouts)
    )


def _through_modes(
    op: Op, arrays: tuple[Array, ...], params: tuple[Any, ...], metadata: dict[str, Any]
) -> Any:
    mode = _modes.pop()  # a mode's own ops go to the modes below it
    try:
        return mode(op, arrays, params, metadata)
    finally:
        _modes.append(mode)


def watched() -> bool:
    """Whether a mode sees every op."""
    return bool(_modes)


@contextmanager
def mode(function: Mode) -> Iterator[None]:
    """Let ``function(op, arrays, params, metadata)`` see every op inside the block.

    It returns the op's result, usually ``op(*arrays, params=params, **metadata)``.
    """
    _modes.append(function)
    try:
        yield
    finally:
        _modes.remove(function)


@contextmanager
def tracing(function: Mode) -> Iterator[None]:
    """Let ``function(op, arrays, params, metadata)`` answer every op of this thread inside the block, before
    it is planned: with a result, or with NotImplemented where the op is to run.
    """
    thread = threading.get_ident()
    _modes.insert(0, _long_way)  # below all modes: it is never popped while the block runs
    _tracers.setdefault(thread, []).append(function)
    try:
        yield
    finally:
        _tracers[thread].pop()
        if not _tracers[thread]:
            del _tracers[thread]
        _modes.remove(_long_way)


def _long_way(
    op: Op, arrays: tuple[Array, ...], params: tuple[Any, ...], metadata: dict[str, Any]
) -> NoReturn:
    """While this is among the modes no call goes the short way, past :class:`Op`."""
    raise AssertionError("it is there to be seen, not to be called")


_modules: dict[tuple[str, str], ModuleType] = {}


def kernel(family: str, device: Device) -> ModuleType:
    """The module ``tilegrad.kernels.<device>.<family>``.

    Raises:
        ValueError: no family has this name.
        NotImplementedError: the device has no kernels for this family yet.
    """
    key = (family, device.type)
    found = _modules.get(key)
    if found is None:
        if device is META:
            from tilegrad.engine.meta import KERNELS

            return KERNELS  # type: ignore[no-any-return]
        if family in NO_FAMILIES or not family.isidentifier() or family.startswith("_"):
            raise ValueError(f"kernel: the name of a family expected; got {family!r}")
        name = f"tilegrad.kernels.{device.type}.{family}"
        try:
            with compiler:
                found = _modules[key] = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:
                raise
            raise NotImplementedError(
                f"{family} has no {device.type} kernel (expected {name.replace('.', '/')}.py)"
            ) from None
    return found


def make_calls(tensor: type, first: dict[str, Any]) -> dict[str, Callable[..., Any]]:
    """What :mod:`tilegrad.engine.calls` is bound to.

    Args:
        tensor: the class of what ops make.
        first: what its slots beside those of an array hold at first.
    """

    def machine() -> dict[str, Callable[..., Any]]:
        new_storage(0, 0, None)  # their type is there from now on
        return native.compile_calls(tensor, Array, first, Plan, Op, FreeList, Layout, _modes)

    made: dict[str, Callable[..., Any]] = chosen(machine, lambda: plain.calls(tensor, Array, first))
    return made
