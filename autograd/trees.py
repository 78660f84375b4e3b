"""Nested tuples, lists and dictionaries of tensors: taken apart, and put together again."""

from __future__ import annotations

import typing
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

Nested: TypeAlias = typing.Any  # a leaf, or a tuple, list or dictionary of such


class Tree(NamedTuple):
    """The form of a nested value: its type (None of a leaf), the keys of a dictionary, what lies below."""

    kind: Callable[..., Nested] | None
    keys: tuple[Nested, ...]
    below: tuple[Tree, ...]

    @property
    def leaves(self) -> int:
        """How many there are."""
        return 1 if self.kind is None else sum(tree.leaves for tree in self.below)


LEAF = Tree(None, (), ())


def _parts(value: Nested) -> tuple[tuple[Nested, ...], Sequence[Nested]] | None:
    """(keys, values) of what has parts, None of a leaf."""
    if isinstance(value, dict):
        return tuple(value), list(value.values())
    if value.__class__ in (tuple, list) or (isinstance(value, tuple) and hasattr(value, "_fields")):
        return (), value
    return None


def taken_apart(value: Nested) -> tuple[list[Nested], Tree]:
    """The leaves of ``value`` in order, and its form."""
    parts = _parts(value)
    if parts is None:
        return [value], LEAF
    keys, values = parts
    found = [taken_apart(each) for each in values]
    tree = Tree(value.__class__, keys, tuple([form for _, form in found]))
    return [leaf for leaves, _ in found for leaf in leaves], tree


def together(leaves: Sequence[Nested], tree: Tree) -> Nested:
    """What :func:`taken_apart` gave ``leaves`` and ``tree`` for."""
    if tree.kind is None:
        return leaves[0]
    values, start = [], 0
    for below in tree.below:
        count = below.leaves
        values.append(together(leaves[start : start + count], below))
        start += count
    kind: Nested = tree.kind
    if issubclass(kind, dict):
        made = kind()
        made.update(zip(tree.keys, values, strict=True))
        return made
    return kind(*values) if hasattr(kind, "_fields") else kind(values)


def spread(value: Nested, tree: Tree, what: str) -> list[Nested]:
    """For each leaf of ``tree`` what ``value`` says of it: a form like ``tree`` that may end before it does.

    Raises:
        ValueError: the forms differ.
    """
    parts = _parts(value)
    if parts is None:
        return [value] * tree.leaves
    keys, values = parts
    if tree.kind is None or len(values) != len(tree.below) or set(keys) != set(tree.keys):
        raise ValueError(f"{what} is not compatible with the structure of what it is for")
    named = dict(zip(keys, values, strict=True)) if keys else {}
    pairs = zip(tree.keys or range(len(values)), tree.below, strict=True)
    return [
        each
        for key, below in pairs
        for each in spread(named[key] if keys else values[key], below, what)
    ]


def mapped(function: Callable[..., Nested], value: Nested, *more: Nested) -> Nested:
    """``value`` with ``function`` of each leaf (and of the leaves of ``more`` in its place)."""
    leaves, tree = taken_apart(value)
    others = [taken_apart(each)[0] for each in more]
    return together([function(*each) for each in zip(leaves, *others, strict=True)], tree)
