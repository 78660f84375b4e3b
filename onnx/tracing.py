"""Recording one run of a program: every launch and every view, as steps on values that never change.

The recorder is a dispatch mode (:func:`tilegrad.engine.dispatch.mode`), below which no call passes unseen. Memory is
what changes under a program, values are not: a write makes a new value of the memory that it goes to, and
views of that memory are taken anew from then on. What no step made is a constant: a parameter, a buffer, a
number, or data that came from elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np

from tilegrad.engine import dispatch
from tilegrad.engine.array import Array, Layout, to_numpy
from tilegrad.engine.dispatch import Op
from tilegrad.engine.dtype import DType
from tilegrad.engine.ops import view as views
from tilegrad.engine.ops.elementwise import FULL, Elementwise
from tilegrad.engine.ops.user import UserOp
from tilegrad.onnx.errors import UnsupportedOperatorError

_COPIES = ("dense", "transfer")  # and a copy that casts nothing: the same values


@dataclass(eq=False)
class Value:
    """An array at one moment of the run.

    Attributes:
        shape, dtype, strides: of the array (strides in elements).
        kind: ``input``, ``const`` or ``result``.
        data: of a constant, its elements, or the array while nothing writes to it; of another value its
            elements where they are kept.
        fill: of a constant that is one number all over, that number.
        step: of a result, what made it.
    """

    shape: tuple[Any, ...]
    dtype: DType
    strides: tuple[Any, ...]
    kind: str
    data: Any = None
    fill: Any = None
    step: Step | None = None
    name: str = ""

    def numpy(self) -> np.ndarray:
        """The elements of a constant."""
        if self.fill is not None:
            return np.full(self.shape, self.fill, self.dtype.numpy)
        return to_numpy(self.data) if isinstance(self.data, Array) else self.data  # type: ignore[no-any-return]


@dataclass(eq=False)
class Step:
    """One call: ``results`` of ``operands``. ``how`` has what the planner of a family was made with."""

    name: str
    op: Op
    operands: tuple[Value, ...]
    results: tuple[Value, ...]
    params: tuple[Any, ...]
    metadata: dict[str, Any]
    how: tuple[Any, ...] = ()


@dataclass(eq=False)
class _Region:
    """What a layout at an address of some memory shows, as of the write ``moment``, and how it is taken."""

    layout: Layout
    address: int
    value: Value | None
    moment: int
    parent: _Region | None = None
    op: Op | None = None
    metadata: dict[str, Any] = field(default_factory=dict)


class _Memory:
    """A storage, the region that everything in it is a view of, and the regions that were seen."""

    def __init__(self, array: Array, value: Value | None):
        self.storage = array.storage  # held: its number must not be another's
        self.moment = 0
        self.root = _Region(array.layout, array.address, value, 0)
        self.regions = {(array.layout, array.address): self.root}


class Recorder:
    """A run being recorded. ``keep``: also the elements of all results, for looking at them later."""

    def __init__(self, keep: bool = False) -> None:
        self.steps: list[Step] = []
        self.inputs: list[Value] = []
        self.keep = keep
        self._memories: dict[int, _Memory] = {}

    def add_input(self, array: Array, name: str) -> None:
        """Take what is in the memory of a row-major ``array`` of its own as an input."""
        kind = array.layout
        value = Value(kind.shape, kind.dtype, kind.strides, "input", None, name=name)
        if self.keep:
            value.data = to_numpy(array).copy()
        self.inputs.append(value)
        self._memories[id(array.storage)] = _Memory(array, value)

    # -------------------------------------------------------------------------- reading memory

    def read(self, array: Array) -> Value:
        """The value of ``array`` now."""
        memory = self._memories.get(id(array.storage))
        if memory is None:
            kind = array.layout
            value = Value(kind.shape, kind.dtype, kind.strides, "const", array)
            memory = self._memories[id(array.storage)] = _Memory(array, value)
            return value
        region = memory.regions.get((array.layout, array.address))
        if region is None:
            region = self._seen_elsewhere(memory, array)
        return self._current(memory, region)

    def _seen_elsewhere(self, memory: _Memory, array: Array) -> _Region:
        """A region of known memory that no view was seen to make: one by sizes and strides of the root."""
        root, kind = memory.root, array.layout
        if root.value is not None and root.value.kind == "const" and memory.moment == 0:
            value = Value(kind.shape, kind.dtype, kind.strides, "const", array)
            made = _Region(kind, array.address, value, 0)
        else:
            offset = (array.address - root.address) // kind.itemsize
            how = {"size": kind.shape, "stride": kind.strides, "offset": offset}
            made = _Region(kind, array.address, None, -1, root, views.as_strided, how)
        memory.regions[array.layout, array.address] = made
        return made

    def _current(self, memory: _Memory, region: _Region) -> Value:
        if region.value is not None and region.moment == memory.moment:
            return region.value
        if (
            region.parent is None and region is not memory.root
        ):  # of a constant that was written to since
            offset = (region.address - memory.root.address) // region.layout.itemsize
            region.parent, region.op = memory.root, views.as_strided
            region.metadata = {
                "size": region.layout.shape, "stride": region.layout.strides, "offset": offset,
            }  # fmt: skip
        assert region.parent is not None and region.op is not None
        source = self._current(memory, region.parent)
        region.value = self._viewed(source, region.layout, region.op, region.metadata)
        region.moment = memory.moment
        return region.value

    def _viewed(self, source: Value, kind: Layout, op: Op, metadata: dict[str, Any]) -> Value:
        if op.name in ("view", "expand") and kind.shape == source.shape:
            return source
        value = Value(kind.shape, kind.dtype, kind.strides, "result")
        self._add(Step(op.name, op, (source,), (value,), (), metadata))
        return value

    # -------------------------------------------------------------------------- writing memory

    def write(self, array: Array, value: Value) -> None:
        """The memory of ``array`` holds ``value`` from now on."""
        memory = self._memories.get(id(array.storage))
        if memory is None:
            self._memories[id(array.storage)] = _Memory(array, value)
            return
        key = (array.layout, array.address)
        region = memory.regions.get(key) or self._seen_elsewhere(memory, array)
        memory.moment += 1
        while region is not memory.root:
            region.value, region.moment = value, memory.moment
            if region.parent is None:
                region.moment = -1
                self._current(memory, region)  # which says how the root shows it
                region.value, region.moment = value, memory.moment
            parent, op = region.parent, region.op
            assert parent is not None and op is not None and parent.value is not None
            old = parent.value
            if old.shape == value.shape and op.name in ("view", "expand"):
                region = parent
                continue
            whole = Value(old.shape, old.dtype, old.strides, "result")
            how = {**region.metadata, "view": op}
            self._add(Step("written_view", op, (old, value), (whole,), (), how))
            value, region = whole, parent
        region.value, region.moment = value, memory.moment

    def _keep_constants(self, array: Array) -> None:
        """Copy the constants of memory that is about to be written to."""
        memory = self._memories.get(id(array.storage))
        if memory is None:
            return
        for region in memory.regions.values():
            if region.value is not None and isinstance(region.value.data, Array):
                region.value.data = to_numpy(region.value.data).copy()

    def _refreshed(self, array: Array) -> None:
        """Bring the regions above ``array`` up to date before it is written to."""
        memory = self._memories.get(id(array.storage))
        if memory is not None:
            self.read(array)
            region: _Region | None = memory.regions[array.layout, array.address]
            while region is not None:
                self._current(memory, region)
                region = region.parent

    # ------------------------------------------------------------------------------------ calls

    def __call__(
        self, op: Op, arrays: tuple[Array, ...], params: tuple[Any, ...], metadata: dict[str, Any]
    ) -> Any:
        """Run the call and record it."""
        if isinstance(op, UserOp) and not op.signature.written:
            with dispatch.mode(self):  # what it means, not its body
                return op.reference(arrays, params, metadata)
        plain = op.formula.name if isinstance(op, Elementwise) else op.name
        if plain == "fill":
            return self._fill(op, arrays, params, metadata)
        if op is FULL:
            made = op(params=params, **metadata)
            self.write(made, _constant(made.layout, params[0]))
            return made
        writes = self._written(op, plain, arrays, metadata)
        for place in writes:
            self._refreshed(arrays[place])
            self._keep_constants(arrays[place])
        covered = isinstance(op, Elementwise) and bool(writes)
        sources = arrays[:-1] if covered else arrays
        operands = tuple([self.read(a) for a in sources])
        result = op(*arrays, params=params, **metadata)
        if not writes and arrays and _shows(result, arrays[0]):
            self._view(op, arrays[0], result, metadata)
            return result
        if covered:
            self._overwrite(op, plain, operands, arrays[-1], params, metadata)
            return result
        made = result if isinstance(result, tuple) else (result,)
        fresh = () if writes and not _new(made, arrays) else made
        self._record(op, plain, operands, fresh, [arrays[p] for p in writes], params, metadata)
        return result

    def _written(
        self, op: Op, name: str, arrays: tuple[Array, ...], metadata: dict[str, Any]
    ) -> tuple[int, ...]:
        """Which operands the call writes over."""
        if isinstance(op, Elementwise):
            return (len(arrays) - 1,) if len(arrays) > op.formula.arity else ()
        if name == "recurrent":
            return (2, 3) if metadata["mode"] == "lstm" else (2,)
        if name == "batch_norm":
            first = 1 + metadata["weighted"] + metadata["shifted"]
            return (first, first + 1) if metadata["tracked"] and metadata["training"] else ()
        plan = op.plans.get(_key(op, arrays, metadata))
        if plan is None:
            plan = op.planner(*[a.layout for a in arrays], **metadata)
        return plan.writes

    def _view(self, op: Op, source: Array, result: Array, metadata: dict[str, Any]) -> None:
        memory = self._memories[id(source.storage)]
        key = (result.layout, result.address)
        if (
            key not in memory.regions
        ):  # else the same elements were taken before, one way or another
            parent = memory.regions[source.layout, source.address]
            made = _Region(result.layout, result.address, None, -1, parent, op, dict(metadata))
            memory.regions[key] = made
            self._current(memory, made)

    def _fill(
        self, op: Op, arrays: tuple[Array, ...], params: tuple[Any, ...], metadata: dict[str, Any]
    ) -> Any:
        (target,) = arrays
        kind = target.layout
        if id(target.storage) in self._memories:
            self._refreshed(target)
            self._keep_constants(target)
        result = op(target, params=params, **metadata)
        self.write(target, _constant(kind, params[0]))
        return result

    def _overwrite(
        self, op: Op, name: str, operands: tuple[Value, ...], target: Array, params: tuple[Any, ...],
        metadata: dict[str, Any],
    ) -> None:  # fmt: skip
        """An elementwise result written over an array, to whose shape it broadcasts."""
        kind = target.layout
        if name == "copy" and operands[0].shape == kind.shape and operands[0].dtype is kind.dtype:
            self.write(target, operands[0])
            return
        value = Value(kind.shape, kind.dtype, kind.strides, "result")
        metadata = {**metadata, "dtype": kind.dtype, "shape": kind.shape}
        self._add(Step(name, op, operands, (value,), params, metadata))
        self._note(value, target)
        self.write(target, value)

    def _record(
        self, op: Op, name: str, operands: tuple[Value, ...], made: tuple[Array, ...],
        written: list[Array], params: tuple[Any, ...], metadata: dict[str, Any],
    ) -> None:  # fmt: skip
        if name in _COPIES or (name == "copy" and made[0].layout.dtype is operands[0].dtype):
            self.write(made[0], operands[0])
            return
        results = []
        for array in (*made, *written):
            kind = array.layout
            results.append(Value(kind.shape, kind.dtype, kind.strides, "result"))
        how = op.planner.args if isinstance(op.planner, partial) else ()
        metadata = dict(metadata)
        if name == "recurrent":
            metadata["sizes"] = _uniform(metadata["sizes"])
        self._add(Step(name, op, operands, tuple(results), params, metadata, how))
        for array, value in zip((*made, *written), results, strict=True):
            self._note(value, array)
            self.write(array, value)

    def _add(self, step: Step) -> None:
        for value in step.results:
            value.step = step
        self.steps.append(step)

    def _note(self, value: Value, array: Array) -> None:
        if self.keep:
            value.data = to_numpy(array).copy()


def _constant(kind: Layout, number: Any) -> Value:
    """``number`` everywhere."""
    return Value(kind.shape, kind.dtype, kind.strides, "const", None, number)


def _uniform(sizes: tuple[int, ...]) -> tuple[int, int]:
    """(steps, members) of steps that all members have.

    Raises:
        UnsupportedOperatorError: sequences have several lengths.
    """
    if len(set(sizes)) != 1:
        raise UnsupportedOperatorError("export: packed sequences of several lengths")
    return len(sizes), sizes[0]


def _key(op: Op, arrays: tuple[Array, ...], metadata: dict[str, Any]) -> Any:
    """What :meth:`Op.__call__` keeps the plan under."""
    key: Any = tuple([a.layout for a in arrays])
    if metadata:
        if op.names:
            return key + tuple(map(metadata.__getitem__, op.names))
        return key, tuple(metadata.items())
    return key


def _shows(result: Any, source: Array) -> bool:
    """Whether a call made a view."""
    return isinstance(result, Array) and result.storage is source.storage


def _new(made: tuple[Array, ...], arrays: tuple[Array, ...]) -> bool:
    """Whether a call that writes also makes arrays."""
    return all(all(m is not a for a in arrays) for m in made)


def record(run: Callable[[], Any], recorder: Recorder) -> Any:
    """``run()``, with every op of it recorded.

    Raises:
        UnsupportedOperatorError: arrays are not on the CPU.
    """
    with dispatch.mode(recorder):
        return run()


def check_device(array: Array) -> None:
    """Raise UnsupportedOperatorError for an array off the CPU, where programs are traced."""
    if array.layout.device.type != "cpu":
        raise UnsupportedOperatorError(
            f"export: inputs and parameters must be on the CPU; got one on {array.layout.device}"
        )
