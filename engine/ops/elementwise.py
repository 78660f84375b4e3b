"""Elementwise ops: every row of the formula tables as an op on arrays."""

from __future__ import annotations

from typing import Any

from tilegrad.engine import calls, dtype as dt, number
from tilegrad.engine.array import (
    Array,
    Layout,
    contiguous_strides,
    layout,
    to_numpy,
)
from tilegrad.engine.device import CPU, Device
from tilegrad.engine.dispatch import (
    Op,
    Plan,
    Planner,
    composed,
    kernel,
    raise_mixed,
    refuse_complex,
)
from tilegrad.engine.dtype import DType
from tilegrad.engine.memory import overlap
from tilegrad.engine.shape import (
    Shape,
    broadcast_shapes,
    broadcast_strides,
    dense_strides,
    merge_dims,
    ordered_strides,
    permutation_of,
)
from tilegrad.kernels.formulas.formula import Formula


class Elementwise(Op):
    """An op made of one formula. ``op(*operands)`` gives a new array; with one operand more than the
    formula has, ``op(*operands, out)`` writes over that, as NumPy's functions do.

    Raises:
        RuntimeError: the result's shape or dtype does not fit ``out``.
    """

    __slots__ = ("differentiable", "formula", "templates")

    real: Elementwise | None = None  # of a twin for complex operands, what it stands beside

    def __init__(self, formula: Formula):
        super().__init__(formula.name, self.plan, anywhere=True, planar=True)
        self.formula = formula
        self.differentiable = formula.differentiable
        self.templates: dict[int, Any] = {}  # autograd's notes: which operands need what saved

    def under(self, name: str) -> Elementwise:
        """The same op by another name, which nodes of the graph and errors bear."""
        made = Elementwise(self.formula)
        made.name = name
        return made

    def beside(self, formula: Formula) -> Elementwise:
        """An op of the same kind, of another formula."""
        return Elementwise(formula)

    def operand_dtypes(self, layouts: list[Layout]) -> tuple[DType, ...]:
        """The dtype each operand is cast to before the formula sees it.

        Raises:
            NotImplementedError: the op is not there for the dtype.
            RuntimeError: it is the difference or the negative of truth values.
        """
        kind = self.formula.kind
        refuse_truth(self, layouts)
        if kind in ("cast", "fill"):
            return tuple(x.dtype for x in layouts)
        free = layouts[1:] if kind == "where" else layouts
        common = dt.result_type(*((x.dtype, 2 if x.ndim else 1) for x in free))
        if common.name in self.formula.excludes or (kind == "integer" and common.is_floating_point):
            signed = self is OPS["neg"] or self is OPS["relu"]
            raised = RuntimeError if signed else NotImplementedError
            raise raised(
                f"\"{self.name}\" not implemented for '{common.name}'; "
                f"got {' and '.join(x.describe() for x in layouts)}"
            )
        if kind in ("float", "rounding") and not common.is_floating_point:
            common = dt.get_default_dtype()
        return ((dt.bool_,) if kind == "where" else ()) + (common,) * len(free)

    def result_dtype(self, operand: DType) -> DType:
        """The output's dtype, given that of the (last) cast operand."""
        return dt.bool_ if self.formula.kind == "compare" else operand

    def plan(
        self, *layouts: Layout, dtype: DType | None = None, strides: Shape | None = None
    ) -> Plan:
        """Broadcast, lay the output out like the first full-sized operand (a copy in the ``strides``
        that it is given), choose the loop. Operands of other dtypes are cast first.
        """
        if len(layouts) > self.formula.arity:
            return self._plan_write(layouts[-1], layouts[:-1])
        found = self._for_complex(layouts)
        if found is not self:
            return composed(lambda arrays, params: found(*arrays, params=params))
        metadata: dict[str, Any] = {"dtype": dtype} if dtype else {}
        if strides:
            metadata["strides"] = strides
        if any(x.device is not layouts[0].device for x in layouts):
            where = next(x.device for x in layouts if x.device is not CPU)
            return composed(
                lambda arrays, params: self(
                    *_numbers_on(where, self.name, arrays), params=params, **metadata
                )
            )
        wanted = self.operand_dtypes(list(layouts))
        if any(w is not x.dtype for w, x in zip(wanted, layouts, strict=True)):
            return composed(
                lambda arrays, params: self(*map(cast, arrays, wanted), params=params, **metadata)
            )
        shape = broadcast_shapes(self.name, *(x.shape for x in layouts))
        if not strides:
            like = self is copy  # a copy keeps the strides of single elements too
            strides = (
                dense_strides(shape, layouts[0].strides)
                if like
                else _output_strides(shape, layouts)
            )
        made = dtype or self.result_dtype(layouts[-1].dtype)
        out = layout(shape, made, layouts[0].device, strides)
        return Plan((out,), self.launch(layouts, out))

    def launch(self, layouts: tuple[Layout, ...], out: Layout) -> Any:
        """The launch over operands of these layouts, which broadcast to ``out``."""
        order = permutation_of(out.shape, out.strides) or tuple(range(out.ndim))
        strides = [broadcast_strides(x.shape, x.strides, out.shape) for x in layouts]
        strides.append(out.strides)
        sizes, steps = merge_dims(
            tuple(out.shape[a] for a in order), [tuple(s[a] for a in order) for s in strides]
        )
        if self is copy and layouts[0].dtype is out.dtype:
            return kernel("movement", out.device).copy(out.itemsize, sizes, *steps)
        names = tuple(x.dtype.name for x in (*layouts, out))
        return self.launch_of(out, names, sizes, steps)

    def launch_of(
        self, out: Layout, names: tuple[str, ...], sizes: Shape, steps: tuple[Shape, ...]
    ) -> Any:
        """The launch of the formula over merged ``sizes``, dtypes and strides of the output last."""
        function = self.formula.function
        if self is copy:
            function = _cast_formula(names) or function
        family = kernel("elementwise", out.device)
        return family.elementwise(function, names, sizes, steps, self.formula.params)

    def _for_complex(self, layouts: tuple[Layout, ...]) -> Elementwise:
        """The op that serves these operands: another one where one of them is complex.

        Raises:
            NotImplementedError: there is none.
        """
        if self.formula.kind in ("cast", "fill") or not any(x.dtype.is_complex for x in layouts):
            return self
        from tilegrad.engine.ops import planar

        found: Elementwise | None = planar.twin(self)
        if found is None:
            refuse_complex(self.name, list(layouts), {})
        return found or self

    def _plan_write(self, out: Layout, layouts: tuple[Layout, ...]) -> Plan:
        found = self._for_complex(layouts)
        if found is not self:
            return composed(lambda arrays, params: found(*arrays, params=params))
        if any(x.device is not out.device for x in layouts):
            if self is copy:
                return composed(_copy_across)
            return composed(
                lambda arrays, params: self(
                    *_numbers_on(out.device, self.name, arrays[:-1]), arrays[-1], params=params
                )
            )
        wanted = self.operand_dtypes(list(layouts))
        shape = broadcast_shapes(self.name, *(x.shape for x in layouts))
        if broadcast_shapes(self.name, shape, out.shape) != out.shape:
            raise RuntimeError(
                f"{self.name}_: output with shape {list(out.shape)} doesn't match the "
                f"broadcast shape {list(shape)}"
            )
        free = self.formula.kind in ("cast", "fill")
        made = out.dtype if free else self.result_dtype(wanted[-1])
        if not dt.can_cast(made, out.dtype):
            raise RuntimeError(
                f"{self.name}_: result type {made.name} can't be cast to the desired output type "
                f"{out.dtype.name}"
            )
        if self.formula.kind == "part" and out is layouts[0]:
            raise RuntimeError(
                f"{self.name}_: In-place {self.name} is not supported for complex tensors."
            )
        if made is not out.dtype:
            return composed(
                lambda arrays, params: copy(self(*arrays[:-1], params=params), arrays[-1])
            )
        if any(w is not x.dtype for w, x in zip(wanted, layouts, strict=True)):
            return composed(
                lambda arrays, params: self(
                    *map(cast, arrays[:-1], wanted), arrays[-1], params=params
                )
            )
        launch, place = self.launch(layouts, out), len(layouts)
        apart = copies_apart if layouts else None
        return Plan((), launch, writes=(place,), apart=apart, pointwise=True, device=out.device)


class Fused(Elementwise):
    """An op whose formula takes operands of these dtypes as they are, and gives ``result``."""

    __slots__ = ("operands", "result")

    def __init__(self, formula: Formula, operands: tuple[DType, ...], result: DType):
        super().__init__(formula)
        self.operands, self.result = operands, result

    def operand_dtypes(self, layouts: list[Layout]) -> tuple[DType, ...]:
        return self.operands

    def result_dtype(self, operand: DType) -> DType:
        return self.result


def _cast_formula(names: tuple[str, ...]) -> Any:
    """What reads complex elements for another dtype; None for any other cast."""
    source, target = (dt.BY_NAME[n] for n in names)
    if source.is_complex is target.is_complex:
        return None
    from tilegrad.engine.ops.planar import cast_formula

    return cast_formula(source, target)


def refuse_truth(op: Elementwise, layouts: list[Layout]) -> None:
    """RuntimeError where ``op`` is a difference and an operand is of truth values."""
    if op.formula is OPS["sub"].formula and any(x.dtype is dt.bool_ for x in layouts):
        raise RuntimeError(
            "sub: Subtraction, the `-` operator, with a bool tensor is not supported. If you "
            "are trying to invert a mask, use the `~` or `logical_not()` operator instead."
        )


def _copy_across(arrays: tuple[Array, ...], params: tuple[Any, ...]) -> Array:
    from tilegrad.engine.transfer import copy_across

    source, target = arrays
    copy_across(target, source)
    return target


def copies_apart(plan: Plan, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """The operands of a plan that writes over one of them, with copies of those in its memory that the
    write could change before they are read.
    """
    (place,) = plan.writes
    out = arrays[place]
    for k, source in enumerate(arrays):
        if k != place and overlap(source.storage, out.storage):
            if not plan.pointwise or (source is not out and _may_clobber(source, out)):
                arrays = (*arrays[:k], clone(source), *arrays[k + 1 :])
    return arrays


def _numbers_on(device: Device, op: str, arrays: tuple[Array, ...]) -> tuple[Array, ...]:
    """The arrays, those of the CPU that are zero-dimensional as numbers on ``device``.

    Raises:
        DeviceError: another one is elsewhere.
    """
    made = tuple(
        [
            scalar(to_numpy(a).item(), a.dtype, device)
            if a.layout.device is CPU and not a.layout.ndim
            else a
            for a in arrays
        ]
    )
    if any(a.layout.device is not device for a in made):
        raise_mixed(op, [a.layout for a in arrays])
    return made


def _output_strides(shape: Shape, layouts: tuple[Layout, ...]) -> Shape:
    """Strides of a new output: in the order of dimensions of the operands."""
    if all(x.shape == shape for x in layouts):
        if all(x.contiguous for x in layouts):
            return contiguous_strides(shape)
        if len(shape) == 4:  # channels last, single elements included
            n, h, w, c = contiguous_strides(tuple(shape[a] for a in (0, 2, 3, 1)))
            last = (n, c, h, w)
            if all(_same_but_single(shape, x.strides, last) for x in layouts):
                return last
        if all(x.strides == layouts[0].strides for x in layouts):
            return dense_strides(shape, layouts[0].strides)
    return ordered_strides(shape, [broadcast_strides(x.shape, x.strides, shape) for x in layouts])


def _same_but_single(shape: Shape, one: Shape, other: Shape) -> bool:
    """Whether two strides differ in dimensions of size 1 only."""
    return all(n == 1 or a == b for n, a, b in zip(shape, one, other, strict=True))


def _may_clobber(source: Array, out: Array) -> bool:
    """Whether writing ``out`` element by element could change ``source`` before it is read."""
    if source.address == out.address and source.layout.strides == out.layout.strides:
        return source.layout.shape != out.layout.shape
    low, high = _extent(source)
    first, last = _extent(out)
    return low < last and first < high


def _extent(array: Array) -> tuple[int, int]:
    """First and one-past-last byte that the array touches."""
    kind = array.layout
    if kind.numel == 0:
        return 0, 0
    reach = sum((n - 1) * s for n, s in zip(kind.shape, kind.strides, strict=True))
    return array.address, array.address + (reach + 1) * kind.itemsize


def _load() -> dict[str, Elementwise]:
    from tilegrad.kernels.formulas import TABLES

    return {row.name: Elementwise(row) for rows in TABLES for row in rows.values()}


OPS: dict[str, Elementwise] = _load()
copy = OPS["copy"]


def cast(x: Array, dtype: DType) -> Array:
    """``x`` in another dtype; itself if it already has it."""
    if x.layout.dtype is dtype:
        return x
    result: Array = copy(x, dtype=dtype)
    return result


def clone(x: Array) -> Array:
    """A copy with memory of its own, in the same order of dimensions."""
    result: Array = copy(x)
    return result


def copy_as(x: Array, kind: Layout) -> Array:
    """A copy with the strides of ``kind``, whose shape is that of ``x`` and which has no gaps."""
    result: Array = copy(x, strides=kind.strides)
    return result


def contiguous(x: Array) -> Array:
    """``x`` if it is row-major, else a row-major copy."""
    have = x.layout
    return x if have.contiguous else copy_as(x, layout(have.shape, have.dtype, have.device))


def row_major(name: str, planner: Planner, names: tuple[str, ...] = (), planar: bool = False) -> Op:
    """The op of a planner that knows row-major operands only: others are copied first."""

    def plan(*layouts: Layout, **metadata: Any) -> Plan:
        if all(x.contiguous for x in layouts):
            return planner(*layouts, **metadata)
        return composed(
            lambda arrays, params: op(*map(contiguous, arrays), params=params, **metadata)
        )

    op = Op(name, plan, names, planar=planar)
    return op


_scalars: dict[Any, Array] = {}


def scalar(value: float, dtype: DType, device: Any) -> Array:
    """A zero-dimensional array holding ``value``; made once per value, never written to."""
    key = (
        value,
        value.__class__,
        dtype,
        device,
        str(value) if value == 0 or value.__class__ is complex else "",
    )
    found = _scalars.get(key)
    if found is None:
        if len(_scalars) > 4096:
            _scalars.clear()
        found = _scalars[key] = full((), value, dtype, device)
    return found


def number_of(array: Array) -> Any:
    """The number that :func:`scalar` made an array of; None for any other array."""
    return next((key[0] for key, made in list(_scalars.items()) if made is array), None)


def _full_plan(*, kind: Layout) -> Plan:
    return Plan((kind,), OPS["fill"].launch((), kind))


FULL = Op("full", _full_plan, ("kind",), planar=True)


def full(shape: Shape, value: float, dtype: DType, device: Any) -> Array:
    """A new row-major array filled with ``value``."""
    return filled(layout(shape, dtype, device), value)


def filled(kind: Layout, value: float) -> Array:
    """A new array of this gapless layout filled with ``value``, which nobody wrote to so far.

    Raises:
        RuntimeError: the dtype cannot hold it.
    """
    params = (_element(value, kind.dtype),)
    made = calls.run_at(FULL, (kind,), params)
    return FULL(params=params, kind=kind) if made is None else made  # type: ignore[no-any-return]


def fill(x: Array, value: float) -> Array:
    """Write ``value`` to every element of ``x``.

    Raises:
        RuntimeError: the dtype cannot hold it.
    """
    OPS["fill"](x, params=(_element(value, x.layout.dtype),))
    return x


def _element(value: float, kind: DType) -> float:
    if value.__class__ is kind.python and kind.low <= value <= kind.high:
        return value
    return number.stored(value, kind, "fill")
