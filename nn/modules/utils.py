"""Sizes of layers as they are given, and names in dictionaries of states, PyTorch's names."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping, Sequence
from typing import Any

from tilegrad.engine.shape import spread

__all__ = ["consume_prefix_in_state_dict_if_present"]

Sizes = int | Sequence[int]


def _ntuple(n: int, name: str = "parse") -> Callable[[Any], tuple[Any, ...]]:
    def parse(x: Any) -> tuple[Any, ...]:
        return spread(x, n)

    parse.__name__ = name
    return parse


_single = _ntuple(1, "_single")
_pair = _ntuple(2, "_pair")
_triple = _ntuple(3, "_triple")
_quadruple = _ntuple(4, "_quadruple")


def _reverse_repeat_tuple(t: Sequence[Any], n: int) -> tuple[Any, ...]:
    """The items from the last to the first, each ``n`` times: paddings as :func:`functional.pad` takes them."""
    return tuple([x for x in reversed(t) for _ in range(n)])


def _list_with_default(out_size: Any, defaults: Sequence[int]) -> Any:
    """Sizes asked for, those of the last ``defaults`` in the place of None.

    Raises:
        ValueError: there are no more defaults than sizes.
    """
    if isinstance(out_size, int):
        return out_size
    if len(defaults) <= len(out_size):
        raise ValueError(f"Input dimension should be at least {len(out_size) + 1}")
    last = defaults[len(defaults) - len(out_size) :]
    return [d if n is None else n for n, d in zip(out_size, last, strict=True)]


def consume_prefix_in_state_dict_if_present(
    state_dict: MutableMapping[str, Any], prefix: str
) -> None:
    """Names in ``state_dict`` without ``prefix``, in place: a model that a wrapper saved is loaded without it.

    Args:
        state_dict: of a module; also its ``_metadata``, where it has that.
        prefix: what the names begin with, as ``"module."``.
    """
    for name in [n for n in state_dict if n.startswith(prefix)]:
        state_dict[name[len(prefix) :]] = state_dict.pop(name)
    metadata = getattr(state_dict, "_metadata", {})
    for name in [n for n in metadata if n and f"{n}.".startswith(prefix)]:
        metadata[name[len(prefix) :]] = metadata.pop(name)
