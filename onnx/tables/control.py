"""Graphs inside graphs, sequences and optional values."""

from __future__ import annotations

from typing import Any

import tilegrad
from tilegrad.autograd.tensor import Tensor
from tilegrad.onnx.tables.call import Call, dtype_of, ints, number, says

MOST_TURNS = 1 << 24


@says("If")
def _if(call: Call, condition: Tensor) -> list[Any]:
    return call.run(call.get("then_branch" if bool(condition.item()) else "else_branch"), ())


@says("Loop")
def _loop(
    call: Call, most: Tensor | None = None, condition: Tensor | None = None, *state: Any
) -> list[Any]:
    body = call.get("body")
    limit = number(most, MOST_TURNS)
    going = bool(number(condition, True))
    kept, scanned = list(state), [[] for _ in range(len(body.output) - 1 - len(state))]  # type: list[Any], list[list[Any]]
    turn = 0
    while going and turn < limit:
        if turn >= MOST_TURNS:
            raise call.refuse(f"more than {MOST_TURNS} turns")
        now, *made = call.run(body, [tilegrad.tensor(turn), tilegrad.tensor(going), *kept])
        going = bool(now.item())
        kept = made[: len(kept)]
        for column, value in zip(scanned, made[len(kept) :], strict=True):
            column.append(value)
        turn += 1
    joined = []
    for k, column in enumerate(scanned):
        if column:
            joined.append(tilegrad.stack(column, 0))
        else:
            kind = body.output[1 + len(kept) + k].type.tensor_type
            sizes = [d.dim_value for d in kind.shape.dim]
            joined.append(tilegrad.empty(0, *sizes, dtype=dtype_of(kind.elem_type)))
    return [*kept, *joined]


@says("Scan")
def _scan(call: Call, *inputs: Any) -> list[Any]:
    if call.version < 9:
        return _scan_batches(call, *inputs)
    return _scanned(call, inputs)


def _scan_batches(call: Call, lengths: Tensor | None, *inputs: Tensor) -> list[Any]:
    """Version 8: every member of a batch by itself."""
    members = [_scanned(call, [x[n] for x in inputs]) for n in range(inputs[0].shape[0])]
    return [tilegrad.stack(list(column), 0) for column in zip(*members, strict=True)]


def _scanned(call: Call, inputs: Any) -> list[Any]:
    body, count = call.get("body"), call.get("num_scan_inputs")
    state, given = list(inputs[: len(inputs) - count]), inputs[len(inputs) - count :]
    outs = len(body.output) - len(state)
    axes, back = (
        call.get("scan_input_axes", [0] * count),
        call.get("scan_input_directions", call.get("directions", [0] * count)),
    )
    out_axes, out_back = (
        call.get("scan_output_axes", [0] * outs),
        call.get("scan_output_directions", [0] * outs),
    )
    length = given[0].shape[axes[0]]
    columns: list[list[Any]] = [[] for _ in range(outs)]
    for turn in range(length):
        parts = [
            x.select(a, length - 1 - turn if d else turn)
            for x, a, d in zip(given, axes, back, strict=True)
        ]
        made = call.run(body, [*state, *parts])
        state = made[: len(state)]
        for column, value in zip(columns, made[len(state) :], strict=True):
            column.append(value)
    joined = [
        tilegrad.stack(column[::-1] if d else column, a)
        for column, a, d in zip(columns, out_axes, out_back, strict=True)
    ]
    return [*state, *joined]


# --------------------------------------------------------------------------------------- sequences


@says("SequenceEmpty")
def _empty(call: Call) -> Any:
    return ([],)


@says("SequenceConstruct")
def _construct(call: Call, *inputs: Tensor) -> Any:
    return (list(inputs),)


@says("SequenceAt")
def _at(call: Call, sequence: list[Tensor], place: Tensor) -> Tensor:
    at = int(number(place))
    if not -len(sequence) <= at < len(sequence):
        raise call.refuse(f"position {at} of {len(sequence)}")
    return sequence[at]


@says("SequenceLength")
def _length(call: Call, sequence: list[Tensor]) -> Tensor:
    return tilegrad.tensor(len(sequence))


@says("SequenceInsert")
def _insert(call: Call, sequence: list[Tensor], x: Tensor, place: Tensor | None = None) -> Any:
    made = list(sequence)
    made.insert(int(number(place, len(made))), x)
    return (made,)


@says("SequenceErase")
def _erase(call: Call, sequence: list[Tensor], place: Tensor | None = None) -> Any:
    made = list(sequence)
    made.pop(int(number(place, -1)))
    return (made,)


@says("SplitToSequence")
def _split(call: Call, x: Tensor, split: Tensor | None = None) -> Any:
    axis = call.get("axis", 0)
    if split is None:
        parts = list(tilegrad.split(x, 1, axis))
        return (parts if call.get("keepdims", 1) else [p.squeeze(axis) for p in parts],)
    sizes = ints(split)
    return (list(tilegrad.split(x, sizes if split.ndim else sizes[0], axis)),)


@says("ConcatFromSequence")
def _joined(call: Call, sequence: list[Tensor]) -> Tensor:
    return (tilegrad.stack if call.get("new_axis", 0) else tilegrad.cat)(sequence, call.get("axis"))


@says("Optional")
def _optional(call: Call, value: Any = None) -> Any:
    return (value,)


@says("OptionalHasElement")
def _has(call: Call, value: Any = None) -> Tensor:
    return tilegrad.tensor(value is not None)


@says("OptionalGetElement")
def _element(call: Call, value: Any) -> Any:
    if value is None:
        raise call.refuse("the optional value is not there")
    return (value,)
