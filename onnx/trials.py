"""Which dimensions of inputs change, and the other sizes that a program is tried on."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from tilegrad.autograd.rules.creation import from_numpy
from tilegrad.autograd.tensor import Tensor
from tilegrad.engine.array import to_numpy

Trial: TypeAlias = list[Tensor]


@dataclass
class Axes:
    """``inputs``: per input its dimensions that change, with their names. ``names``: all names, with the size in
    the example.
    """

    inputs: list[dict[int, str]]
    outputs: dict[str, dict[int, str]] = field(default_factory=dict)
    names: dict[str, int] = field(default_factory=dict)


def _name_of(value: Any, default: str) -> str | None:
    """The name of a dynamic dimension; None of one that stays."""
    if value is None or isinstance(value, int):
        return None
    if isinstance(value, str):
        return value
    return str(getattr(value, "__name__", None) or getattr(value, "name", None) or default)


def _dims(given: Any, stem: str, ndim: int) -> dict[int, str]:
    """Dimension to name, of a dictionary, a list of dimensions, or (in PyTorch's newer form) a tuple of names."""
    if given is None:
        return {}
    pairs: list[tuple[int, Any]]
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif all(isinstance(v, int) and not isinstance(v, bool) for v in given):
        pairs = [(v, f"{stem}_dim_{v}") for v in given]
    else:
        pairs = list(enumerate(given))
    found = {}
    for dim, value in pairs:
        if not isinstance(dim, int) or not -ndim <= dim < ndim:
            raise ValueError(f"export: {stem} has {ndim} dimensions; got dimension {dim!r}")
        name = _name_of(value, f"{stem}_dim_{dim % ndim}")
        if name is not None:
            found[dim % ndim] = name
    return found


def as_axes(
    names: Sequence[str], examples: Sequence[Tensor], dynamic_axes: Any, dynamic_shapes: Any,
    arguments: Sequence[tuple[str, Any]],
) -> Axes:  # fmt: skip
    """What both forms say.

    Raises:
        ValueError: a name that no input has, or a dimension that one lacks, or one name for two sizes.
    """
    if dynamic_axes is not None and dynamic_shapes is not None:
        raise ValueError("export: give dynamic_axes or dynamic_shapes, not both")
    made = Axes([{} for _ in names])
    if dynamic_axes:
        for name, given in dynamic_axes.items():
            if name in names:
                place = list(names).index(name)
                made.inputs[place] = _dims(given, name, examples[place].ndim)
            else:
                made.outputs[name] = dict(given) if isinstance(given, Mapping) else {}
    elif dynamic_shapes:
        _by_argument(made, names, examples, dynamic_shapes, arguments)
    for place, dims in enumerate(made.inputs):
        for dim, name in dims.items():
            size = examples[place].shape[dim]
            if made.names.setdefault(name, size) != size:
                raise ValueError(
                    f"export: dimension {name!r} is {made.names[name]} in one input of the example and {size} in "
                    f"{names[place]}"
                )
    return made


def _by_argument(
    made: Axes, names: Sequence[str], examples: Sequence[Tensor], given: Any, arguments: Sequence[tuple[str, Any]]
) -> None:  # fmt: skip
    def leaves(value: Any, spec: Any) -> Iterator[Any]:
        if isinstance(value, Tensor):
            yield spec
        elif isinstance(value, Mapping):
            for key, part in value.items():
                yield from leaves(part, spec.get(key) if isinstance(spec, Mapping) else None)
        elif isinstance(value, (tuple, list)):
            for k, part in enumerate(value):
                yield from leaves(
                    part, spec[k] if isinstance(spec, Sequence) and k < len(spec) else None
                )

    if isinstance(given, Mapping):
        known = {name for name, _ in arguments} | set(names)
        for name in given:
            if name not in known:
                raise ValueError(
                    f"export: dynamic_shapes names {name!r}; arguments are {sorted(known)}"
                )
        by_argument = [given.get(name) for name, _ in arguments]
    else:
        by_argument = [*given, *[None] * len(arguments)][: len(arguments)]
    specs = [s for (_, value), spec in zip(arguments, by_argument) for s in leaves(value, spec)]
    if isinstance(given, Mapping):
        specs = [given.get(name, spec) for name, spec in zip(names, specs, strict=True)]
    for place, spec in enumerate(specs):
        made.inputs[place] = _dims(spec, names[place], examples[place].ndim)


# how a size is moved, for the dimension ``k``: unrelated sizes tell most, and come first
_MOVES: tuple[Callable[[int, int], int], ...] = (
    lambda n, k: n + 1 + k, lambda n, k: n + 3 + 2 * k, lambda n, k: n + 2 + 3 * k, lambda n, k: 2 * n + k,
    lambda n, k: 2 * n, lambda n, k: 3 * n, lambda n, k: 5 * n, lambda n, k: 4 * n,
    lambda n, k: n - 1 - k, lambda n, k: n - 2 - k, lambda n, k: n - 3 - 2 * k, lambda n, k: n - 4 - k,
    lambda n, k: n // 2, lambda n, k: n // 3, lambda n, k: n // 4,
)  # fmt: skip


def trials(example: Sequence[Tensor], axes: Axes) -> Iterator[Trial]:
    """Inputs of other sizes: elements of the example, cut off or begun again."""
    order = sorted(axes.names)
    tried = {tuple(axes.names[n] for n in order)}
    for first, rest in itertools.chain(
        ((m, m) for m in _MOVES), itertools.product(_MOVES, repeat=2)
    ):
        moved = {}
        for k, name in enumerate(order):
            move = first if k == 0 else rest
            moved[name] = move(axes.names[name], k)
        key = tuple(moved[n] for n in order)
        if min(key) < 2 or key in tried:
            continue
        tried.add(key)
        yield [
            resized(x, {d: moved[n] for d, n in dims.items()})
            for x, dims in zip(example, axes.inputs)
        ]


def resized(x: Tensor, sizes: Mapping[int, int]) -> Tensor:
    """``x`` with these sizes by dimension: its elements, cut off or begun again."""
    if not sizes:
        return x
    data = to_numpy(x.detach())
    for dim, size in sizes.items():
        data = np.take(data, np.arange(size) % data.shape[dim], axis=dim)
    return from_numpy(np.ascontiguousarray(data))
