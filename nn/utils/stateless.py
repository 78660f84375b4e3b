"""A module called with other parameters than its own."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from tilegrad.autograd.tensor import Tensor
from tilegrad.nn.modules.module import Module

__all__ = ["functional_call"]


def functional_call(
    module: Module,
    parameters_and_buffers: Mapping[str, Tensor] | Sequence[Mapping[str, Tensor]],
    args: Any = None,
    kwargs: dict[str, Any] | None = None,
    *,
    tie_weights: bool = True,
    strict: bool = False,
) -> Any:
    """``module(*args, **kwargs)`` with these parameters and buffers, by dotted name, in place of its own.

    Args:
        parameters_and_buffers: one mapping, or several of different names. args: a tuple, or the one argument.
        tie_weights: a tensor that has several names is replaced under all of them.
        strict: every parameter and buffer is given, and nothing else.

    Raises:
        RuntimeError: with ``strict``, names that lack or that there are not.
        ValueError: two values for one tensor.
    """
    given = () if args is None else args if isinstance(args, tuple) else (args,)
    parts = parameters_and_buffers
    parts = (parts,) if isinstance(parts, Mapping) else tuple(parts)
    values = {name: value for part in parts for name, value in part.items()}
    if len(values) != sum(map(len, parts)):
        raise ValueError("functional_call: a name is in several of the dictionaries")
    with _replaced(module, values, tie_weights, strict):
        return module(*given, **(kwargs or {}))


def _tied(module: Module, values: dict[str, Tensor]) -> dict[str, Tensor]:
    """``values`` under every name of each tensor."""
    names: dict[int, list[str]] = {}
    own = {
        **dict(module.named_parameters(remove_duplicate=False)),
        **dict(module.named_buffers(remove_duplicate=False)),
    }
    for name, held in own.items():
        names.setdefault(id(held), []).append(name)
    whole = dict(values)
    for alike in names.values():
        given = {id(values[name]): values[name] for name in alike if name in values}
        if len(given) > 1:
            raise ValueError(
                f"functional_call got multiple values for keys {sorted(alike)}, which are tied. "
                f"Consider using tie_weights=False"
            )
        for value in given.values():
            whole.update(dict.fromkeys(alike, value))
    return whole


@contextmanager
def _replaced(
    module: Module, values: dict[str, Tensor], tie_weights: bool, strict: bool
) -> Iterator[None]:
    own = {
        *dict(module.named_parameters(remove_duplicate=False)),
        *dict(module.named_buffers(remove_duplicate=False)),
    }
    values = _tied(module, values) if tie_weights else values
    unknown, lacking = sorted(values.keys() - own), sorted(own - values.keys())
    if strict and (unknown or lacking):
        raise RuntimeError(
            f"Error(s) in reparametrizing for {type(module).__name__}: "
            f"Unexpected key(s): {unknown}; Missing key(s): {lacking}"
        )
    before: list[tuple[dict[str, Any], str, Any]] = []
    try:
        for name, value in values.items():
            path, _, last = name.rpartition(".")
            holder = module.get_submodule(path)
            table: Any = holder._buffers if last in holder._buffers else holder._parameters
            if last not in table:
                raise AttributeError(f"{type(holder).__name__} has no parameter or buffer {last!r}")
            before.append((table, last, table[last]))
            table[last] = value
        yield
    finally:
        for table, last, held in reversed(before):
            table[last] = held
