"""Elementwise functions: run a formula, record it, and differentiate it by its derivative formula.

The backward of a formula with respect to one operand is a formula too (:func:`derivative`), so one
fused kernel runs per operand, and gradients of any order follow.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import import_module
from typing import Any

from tilegrad.autograd import graph
from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase, detached_view, refuse_overlap, tensor_of, zeros_of
from tilegrad.autograd.graph import Node, Vjp, tied
from tilegrad.autograd.mode import state
from tilegrad.autograd.rule import Rule, Template, check_inplace, identity_vjp, in_numbers
from tilegrad.autograd.rules.operands import FROM_TENSORS, operand
from tilegrad.engine import calls, dtype as dt, number, transfer
from tilegrad.engine.array import Layout, layout as make_layout
from tilegrad.engine.device import Device
from tilegrad.engine.dispatch import refuse_at_exit
from tilegrad.engine.memory import overlap
from tilegrad.engine.ops.elementwise import OPS, Elementwise, Fused, copy_as
from tilegrad.kernels.forking import compiler
from tilegrad.kernels.formulas.formula import Formula


class Backward:
    """The gradient of a formula with respect to one operand, as an op of its own.

    Attributes:
        op: the fused formula ``g * d formula / d operand``.
        reads: the operands it reads, as positions: 0.. the inputs, -1 the output, None for ``g``.
        params: positions of the forward's params that it reads.
        masks: places among the operands of what is no part of the gradient's graph.
    """

    __slots__ = ("masks", "op", "params", "reads")

    def __init__(
        self, op: Elementwise, reads: tuple[int | None, ...], params: tuple[int, ...],
        masks: tuple[int, ...],
    ):  # fmt: skip
        self.op = op
        self.reads = reads
        self.params = params
        self.masks = masks


@lru_cache(maxsize=None)
def derivative(op: Elementwise, position: int) -> Backward:
    """The backward op of ``op`` for operand ``position``, worked out on first use."""
    try:
        with compiler:
            from tilegrad.kernels.formulas.derive import backward, vanishes
    except ImportError:
        refuse_at_exit(op.name)
        raise

    row = op.formula
    names = row.names
    function = backward(row.function, names[position])
    used = Formula("?", function).names
    operands, params = names[: row.arity], names[row.arity :]
    reads: tuple[int | None, ...] = (  # the incoming gradient comes first
        None,
        *(operands.index(n) if n in operands else -1 for n in used[1:] if n not in params),
    )
    read_params = tuple(params.index(n) for n in used if n in params)
    made = Formula(f"{row.name}_backward", function, kind="gradient", params=len(read_params))
    places = enumerate(used[: len(reads)]) if row.masks else ()
    masks = tuple([place for place, n in places if place and vanishes(function, n)])
    return Backward(_backward_op(op, position, made, reads), reads, read_params, masks)


def _backward_op(
    op: Elementwise, position: int, made: Formula, reads: tuple[int | None, ...]
) -> Elementwise:
    """The op of a backward formula: it promotes, unless the forward takes operands as they are."""
    if not isinstance(op, Fused):
        return op.beside(made)
    kinds = [op.result if r is None or r < 0 else op.operands[r] for r in reads]
    return Fused(made, tuple(kinds), op.operands[position])


@lru_cache(maxsize=None)
def _saves(op: Elementwise, needed: tuple[bool, ...]) -> tuple[int, ...]:
    """What the backward of these operands reads."""
    found: set[int] = set()
    for position, wanted in enumerate(needed):
        if wanted:
            found.update(r for r in derivative(op, position).reads if r is not None)
    return tuple(sorted(found, reverse=True))


# per operand: the backward op, where its operands are (None: the gradient, else a place among what
# is saved), which params it reads, and the places of its operands that are masks
_Places = tuple[int, ...]
Steps = tuple[tuple[Elementwise, tuple[int | None, ...], _Places, _Places] | None, ...]


def _steps(op: Elementwise, needed: tuple[bool, ...], saves: tuple[int, ...]) -> Steps:
    """How the operands that need a gradient get it."""
    made = []
    for position, wanted in enumerate(needed):
        how = derivative(op, position) if wanted else None
        places = how and tuple([None if r is None else saves.index(r) for r in how.reads])
        made.append(how and (how.op, places, how.params, how.masks))
    return tuple(made)  # type: ignore[arg-type]


def _vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    steps, params = node.meta
    recording = state.grad
    saved = node.unpack() if recording else node.peek()
    kind = grad.layout.dtype
    result: list[Tensor | None] = []
    for step in steps:
        if step is None:
            result.append(None)
            continue
        op, places, used, masks = step
        operands = [grad]
        for place in places[1:]:
            value = saved[place]  # as the forward saw it: promoted, unless it is a condition
            have = value.layout.dtype
            if have is not kind and have is not dt.bool_ and not isinstance(op, Fused):
                value = node.unpack()[place].to(kind)
            operands.append(value)
        if recording:
            operands = [
                detached_view(v) if place in masks or not isinstance(v, TensorBase) else v
                for place, v in enumerate(operands)
            ]
            out = apply(op, *operands, params=tuple([params[p] for p in used]))
            if node.op == "square_backward":  # the third derivative is zero
                out = tied(node, out)
        elif used:
            values = tuple([params[p] for p in used])
            out = calls.run_at(op, tuple([x.layout for x in operands]), values, *operands)
            if out is None:
                out = op(*operands, params=values)
        else:
            out = calls.run(op, *operands)
            if out is None:
                out = op(*operands)
        result.append(out)
    return tuple(result)


class FormulaRule(Rule):
    """How a formula is differentiated: by the backward ops of the operands that need a gradient.

    :func:`unary` and :func:`binary` look its templates up themselves, to be quick.
    """

    __slots__ = ()

    def template(self, tracked: int, meta: object) -> Template:
        """See :meth:`Rule.template`; ``meta`` is the call's params."""
        known: dict[int, Template] = self.op.templates
        found = known.get(tracked)
        if found is None:
            found = known[tracked] = _template(self.op, tracked)
        if meta and found[3] is not None:
            steps: Steps = found[3][0]  # type: ignore[index]
            return (*found[:3], (steps, meta))
        return found


@lru_cache(maxsize=None)
def rule_of(op: Elementwise) -> FormulaRule:
    """The rule of an elementwise op."""
    return FormulaRule(op, _vjp)


def _planar(op: Elementwise, tensors: tuple[Tensor, ...]) -> Elementwise:
    """The op that serves these operands: its twin where one of them is complex."""
    for t in tensors:
        if t.layout.dtype.is_complex:
            return planar_twin(op)
    return op


@lru_cache(maxsize=None)
def planar_twin(op: Elementwise) -> Elementwise:
    """The op beside ``op`` that takes complex operands; ``op`` itself, which refuses them, where there is none."""
    found: Elementwise | None = import_module("tilegrad.engine.ops.planar").twin(op)
    return op if found is None else found


def apply(op: Elementwise, *tensors: Tensor, params: tuple[float, ...] = ()) -> Tensor:
    """``op`` on tensors, recorded."""
    out: Tensor | None
    if params:
        out = calls.run_at(op, tuple([t.layout for t in tensors]), params, *tensors)
    else:
        out = calls.run(op, *tensors)
    if out is None:
        other = _planar(op, tensors)
        if other is not op:
            return apply(other, *tensors, params=params)
        out = op(*tensors, params=params)
    if state.grad:
        for t in tensors:
            if t._tracked or t._base is not None:
                if not params:
                    _record_anew(op, tensors, out)
                elif op.differentiable and out.layout.dtype.has_gradient:
                    if 0 in params:  # two zeros are equal, and what is kept is kept under one
                        rule_of(op).record_all(tensors, (out,), in_numbers(params))
                    else:
                        rule_of(op).record(tensors, out, params)
                break
    return out


def _record_anew(op: Elementwise, tensors: tuple[Tensor, ...], out: Tensor) -> None:
    """The long way of recording, where gradients flow through the op at all; it keeps templates."""
    if op.differentiable and out.layout.dtype.has_gradient:
        rule_of(op).record_all(tensors, (out,), ())


def _template(op: Elementwise, tracked: int) -> Template:
    """What makes a node where the operands in the bits ``tracked`` need a gradient."""
    own = op if op.real is None else op.real
    simple = (
        _LINEAR.get(op.name) if OPS.get(op.name) is own else None
    )  # a user's may share the name
    if op.real is not None and (simple is None or simple is steps_vjp):
        # which stands above this module, and loads with the first complex tensor that asks for a gradient
        made: Template = import_module("tilegrad.autograd.rules.planar").template(op, tracked)
        return made
    if simple is not None:
        return op.name, simple, (), None
    if op.formula is _MUL.formula:
        return op.name, _mul_vjp, tuple([1 - p for p in (1, 0) if tracked >> p & 1]), None
    saves, steps = needed_steps(op, tracked)
    return op.name, _vjp, saves, (steps, ())


def needed_steps(op: Elementwise, tracked: int) -> tuple[tuple[int, ...], Steps]:
    """What is saved, and how the operands in the bits ``tracked`` get their gradients."""
    needed = tuple([bool(tracked >> p & 1) for p in range(op.formula.arity)])
    saves = _saves(op, needed)
    return saves, _steps(op, needed, saves)


# ------------------------------------------------- rules that need no derivative formula at all


def _add_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return grad, grad


def _sub_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return grad, None if node.edges[1] is None else neg(grad)


def _neg_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (neg(grad),)


def _mul_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    saved = node.unpack()  # (left, right), or the one that is needed
    left, right = node.edges
    return (
        None if left is None else binary(_MUL, grad, saved[-1]),
        None if right is None else binary(_MUL, grad, saved[0]),
    )


def _refused_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    raise RuntimeError(
        f"{node.op}: derivative for aten::{node.op} is not implemented; div with "
        f"rounding_mode='floor' has one, of zeros"
    )


def steps_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """Zeros of steps, whatever flows in: constants, as PyTorch's are."""
    pairs = zip(node.edges, node.inputs, strict=True)
    return tuple([None if edge is None else zeros_of(kind) for edge, kind in pairs])


_LINEAR: dict[str, Vjp] = {
    "copy": identity_vjp, "add": _add_vjp, "sub": _sub_vjp, "neg": _neg_vjp,
    "floor_divide": _refused_vjp, "round": steps_vjp, "floor": steps_vjp, "ceil": steps_vjp,
    "trunc": steps_vjp, "sign": steps_vjp, "sgn": steps_vjp, "div_floor": steps_vjp, "div_trunc": steps_vjp,
}  # fmt: skip

_ADD, _SUB, _MUL, _DIV, _NEG = (OPS[n] for n in ("add", "sub", "mul", "div", "neg"))


# --------------------------------------------------------------------------------------- calls


def unary(op: Elementwise, x: Tensor) -> Tensor:
    """``op(x)``, recorded."""
    out: Tensor = calls.run(op, x)
    if out is None:
        other = _planar(op, (x,))
        if other is not op:
            return unary(other, x)
        out = op(x)
    if (
        (x._tracked or x._base is not None)
        and state.grad
        and not graph.record_by_template(op.templates, out, x)
    ):
        _record_anew(op, (x,), out)
    return out


def binary(op: Elementwise, x: Any, y: Any) -> Tensor:
    """``op(x, y)``, recorded; one of the two may be a number."""
    if not isinstance(y, TensorBase):
        y = operand(y, x, op.name)
    elif not isinstance(x, TensorBase):
        if op.name in FROM_TENSORS:
            raise TypeError(
                f"{op.name}: argument 'input' (position 1) must be Tensor, not {type(x).__name__}"
            )
        x = operand(x, y, op.name)
    out: Tensor = calls.run(op, x, y)
    if out is None:
        other = _planar(op, (x, y))
        if other is not op:
            return binary(other, x, y)
        out = op(x, y)
    if (x._tracked or y._tracked or x._base is not None or y._base is not None) and state.grad:
        if not graph.record_by_template(op.templates, out, x, y):
            _record_anew(op, (x, y), out)
    return out


def inplace(op: Elementwise, x: Tensor, *others: Tensor, params: tuple[float, ...] = ()) -> Tensor:
    """``x = op(x, *others)`` in place, recorded."""
    name = op.name + "_"
    check_inplace(name, x)
    for other in others:
        if other.storage is x.storage:
            refuse_overlap(name, x, others)
    if op.differentiable and state.grad:
        for t in (x, *others):
            if t._tracked or t._base is not None:
                tensors = (x, *others)
                op = _planar(op, (x,))
                return rule_of(op).write(tensors, _run_over, op, tensors, params, meta=params)
    if params or calls.run(op, x, *others, x) is None:
        refuse_overlap(name, x, others)  # of memory that is lent, which machine code leaves to us
        op(x, *others, x, params=params)
    return x


def _run_over(op: Elementwise, tensors: tuple[Tensor, ...], params: tuple[float, ...]) -> None:
    """``op`` written over the first of ``tensors``."""
    op(*tensors, tensors[0], params=params)


def apart(value: Tensor, target: Tensor) -> Tensor:
    """``value``, or a copy of it if it shares the memory of ``target``: for one value that an op writes
    everywhere, which PyTorch reads first.
    """
    return unary(OPS["copy"], value) if overlap(value.storage, target.storage) else value


def single_value(op: str, value: Tensor, like: Tensor) -> Tensor:
    """``value``, of no dimension, in the dtype of ``like`` and apart from its memory.

    Raises:
        RuntimeError: it has dimensions, or the dtype cannot hold it.
    """
    if value.layout.ndim:
        raise RuntimeError(
            f"{op}: only supports a 0-dimensional value tensor; got {value.ndim} dimensions"
        )
    kind = like.layout.dtype
    if value.layout.dtype is not kind:
        number.stored(value.item(), kind, op)
    return apart(value.to(kind), like)


def neg(x: Tensor) -> Tensor:
    """-x"""
    return apply(_NEG, x)


def contiguous(x: Tensor) -> Tensor:
    """``x`` itself if it is row-major, else a row-major copy, recorded."""
    layout = x.layout
    if layout.contiguous:
        return x
    return copy_to_layout(x, make_layout(layout.shape, layout.dtype, layout.device))


def copy_to_layout(x: Tensor, kind: Layout) -> Tensor:
    """A copy of ``x`` with the strides of ``kind``, which has no gaps, recorded."""
    return _CLONE.record((x,), copy_as(x, kind))


_CLONE = Rule("clone", identity_vjp)


def to_dtype(x: Tensor, kind: dt.DType) -> Tensor:
    """``x`` in another dtype, recorded; itself if it has it already."""
    if x.layout.dtype is kind:
        return x
    out = OPS["copy"](x, dtype=kind)
    return _CAST.record((x,), out) if kind.has_gradient else tensor_of(out)


def to_device(x: Tensor, device: Device, non_blocking: bool = False) -> Tensor:
    """``x`` on another device, recorded; itself if it is there already."""
    if x.layout.device is device:
        return x
    return _TRANSFER.record((x,), transfer.to_device(x, device, non_blocking), x.layout.device)


def _to_device_vjp(node: Node, g: Tensor) -> tuple[Tensor]:
    return (to_device(g, node.meta),)


_CAST = Rule("to_copy", identity_vjp)
_TRANSFER = Rule("to_copy", _to_device_vjp)
