"""Dispatch: every op passes here as (op, arrays, scalars, metadata) and nothing else.

An :class:`Op` is a pure function from arrays to arrays, split in two. Its *planner* sees only
layouts and metadata: it checks them, infers the outputs' layouts and asks the device's kernels for
a launch. The :class:`Plan` is kept, so the second call with equal layouts allocates and launches,
nothing else. Recording, profiling, tracing and checking are *modes*: functions that see every call
on its way and pass it on.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, NoReturn

from tilegrad.engine import calls, native, plain
from tilegrad.engine.array import Array, Layout, empty_layout, output
from tilegrad.engine.device import CPU, Device
from tilegrad.engine.dtype import DType
from tilegrad.engine.errors import DeviceError
from tilegrad.engine.interpreter import why_plain
from tilegrad.engine.memory import FreeList, new_storage
from tilegrad.kernels import dtypes
from tilegrad.kernels.cpu.run import ahead
from tilegrad.kernels.forking import compiler

Launch = Callable[..., None]

PLAN_LIMIT = 20_000


class Plan:
    """What a call needs once its layouts are known.

    ``launch`` takes the addresses of inputs, outputs and, if ``scratch`` is not 0, of that many
    bytes of scratch memory, then the call's scalars.
    """

    __slots__ = ("allocator", "launch", "nbytes", "out", "outs", "pool", "scratch", "size")

    def __init__(self, outs: tuple[Layout, ...], launch: Launch, scratch: int = 0):
        self.outs = outs
        self.out = outs[0] if outs else None
        self.nbytes = outs[0].nbytes if outs else 0
        self.launch = launch
        self.scratch = scratch
        self.allocator = (outs[0].device if outs else CPU).allocator
        self.size, self.pool = self.allocator.pool_of(self.nbytes)


Planner = Callable[..., Plan]
Mode = Callable[["Op", tuple[Array, ...], tuple[Any, ...], dict[str, Any]], Any]

_modes: list[Mode] = []

# whether what is planned for these arrays will be differentiated; autograd knows
recorded: list[Callable[[tuple[Array, ...]], bool]] = [lambda arrays: False]


class Op:
    """A pure function of arrays, scalars and keyword metadata, by way of plans.

    ``op(*arrays, params=(…), **metadata)`` returns a new array, or a tuple of them.
    """

    __slots__ = ("name", "planner", "plans")

    def __init__(self, name: str, planner: Planner):
        self.name = name
        self.planner = planner
        self.plans: dict[Any, Plan] = {}

    def __repr__(self) -> str:
        return f"<op {self.name}>"

    def __call__(self, *arrays: Array, params: tuple[Any, ...] = (), **metadata: Any) -> Any:
        if _modes:
            return _through_modes(self, arrays, params, metadata)
        key: Any = tuple([a.layout for a in arrays])
        if metadata:
            key = (key, tuple(metadata.items()))
        result = calls.run_at(self, key, params, *arrays)
        return self.run(arrays, params, metadata) if result is None else result

    def run(
        self, arrays: tuple[Array, ...], params: tuple[Any, ...], metadata: dict[str, Any]
    ) -> Any:
        """Allocate and launch, past all modes."""
        key: Any = tuple([a.layout for a in arrays])
        if metadata:
            key = (key, tuple(metadata.items()))
        plan = self.plans.get(key)
        if plan is None:
            plan = self._make_plan(key, arrays, metadata)
        outs = plan.outs
        if len(outs) == 1:
            result = output(plan)
            addresses = [a.address for a in arrays]
            addresses.append(result.address)
        else:
            result = tuple([empty_layout(out) for out in outs])
            addresses = [a.address for a in arrays] + [a.address for a in result]
        if plan.scratch:
            scratch = plan.allocator.allocate(plan.scratch)
            addresses.append(scratch.address)
        plan.launch(*addresses, *params)
        return result

    def _make_plan(self, key: Any, arrays: tuple[Array, ...], metadata: dict[str, Any]) -> Plan:
        layouts = [a.layout for a in arrays]
        check_dtypes(self.name, layouts, metadata)
        same_device(self.name, layouts)
        if len(self.plans) >= PLAN_LIMIT:
            self.plans.clear()
        ahead.following[0] = recorded[0](arrays)
        try:
            plan = self.plans[key] = self.planner(*layouts, **metadata)
        except dtypes.DTypeError as error:
            raise_unsupported(self.name, error.dtype, layouts)
        finally:
            ahead.following[0] = False
        return plan


def check_dtypes(op: str, layouts: list[Layout], metadata: dict[str, Any]) -> None:
    """Refuse dtypes, of operands or named in the metadata, that kernels have no row for.

    Raises:
        NotImplementedError: there is one.
    """
    named = [value for value in metadata.values() if isinstance(value, DType)]
    for kind in (*(x.dtype for x in layouts), *named):
        if kind.name not in dtypes.TABLE:
            raise_unsupported(op, kind.name, layouts)


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


_modules: dict[tuple[str, str], ModuleType] = {}


def kernel(family: str, device: Device) -> ModuleType:
    """The module ``tilegrad.kernels.<device>.<family>``.

    Raises:
        NotImplementedError: the device has no kernels for this family yet.
    """
    key = (family, device.type)
    found = _modules.get(key)
    if found is None:
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
    from tilegrad.engine.ops.view import View

    if why_plain():
        return plain.calls(tensor, first)
    new_storage(0, 0, None)  # their type is there from now on
    return native.compile_calls(tensor, Array, first, Plan, Op, View, FreeList, Layout, _modes)
