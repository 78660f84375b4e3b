"""What the letters of an ``einsum`` say: a label per dimension of each operand, and of the result."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Any

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import TensorBase

# a letter, or the place, from the last on, of a dimension that ``...`` stands for
Label = str | int | tuple[str, int]
Labels = tuple[Label, ...]

_LETTERS = string.ascii_uppercase + string.ascii_lowercase
_ELLIPSIS = "..."


def read(
    equation: Any, operands: tuple[Any, ...]
) -> tuple[tuple[Labels, ...], Labels, list[Tensor]]:
    """The labels of each operand, those of the result, and the operands.

    Raises:
        ValueError: there are no operands, or a number is none of a letter.
        RuntimeError: the equation is none, or does not fit the operands.
    """
    if isinstance(equation, TensorBase):
        given, terms, wanted = _listed((equation, *operands))
    else:
        given = operands
        if len(given) == 1 and isinstance(given[0], list | tuple):
            given = tuple(given[0])
        if not given:
            raise ValueError(
                "einsum(): must specify the equation string and at least one operand, or at least one "
                "operand and its subscripts list"
            )
        terms, wanted = _parsed(equation, len(given))
    labels, hidden = _placed(terms, [t.layout.ndim for t in given])
    return labels, _output(terms, labels, wanted, hidden), list(given)


def _listed(given: Sequence[Any]) -> tuple[tuple[Any, ...], list[list[str]], list[str] | None]:
    """Operands and lists of numbers in turn; one list more is of the result."""
    wanted = None
    if len(given) % 2:
        wanted = _letters(given[-1])
    pairs = len(given) // 2
    return given[: 2 * pairs : 2], [_letters(given[2 * k + 1]) for k in range(pairs)], wanted  # type: ignore[return-value]


def _letters(numbers: Any) -> list[str]:
    found = []
    for number in numbers:
        if number is Ellipsis:
            found.append(_ELLIPSIS)
        elif not 0 <= number < len(_LETTERS):
            raise ValueError(
                "einsum(): subscript in subscript list is not within the valid range [0, 52)"
            )
        else:
            found.append(_LETTERS[number])
    return found


def _parsed(equation: str, count: int) -> tuple[list[list[str]], list[str] | None]:
    left, arrow, right = equation.partition("->")
    terms = [_term(t, f"operand {k}", equation) for k, t in enumerate(left.split(","))]
    if len(terms) > count:
        raise RuntimeError("einsum(): fewer operands were provided than specified in the equation")
    if len(terms) < count:
        raise RuntimeError("einsum(): more operands were provided than specified in the equation")
    return terms, _term(right, "output", equation) if arrow else None


def _term(text: str, what: str, equation: str) -> list[str]:
    found: list[str] = []
    place = 0
    while place < len(text):
        letter = text[place]
        if letter == ".":
            if _ELLIPSIS in found:
                raise RuntimeError(
                    f"einsum(): found '.' for {what} "
                    + ("but an ellipsis (...) was already found" if what == "output" else
                       "for which an ellipsis was already found")
                )  # fmt: skip
            if text[place : place + 3] != _ELLIPSIS:
                raise RuntimeError(
                    f"einsum(): found '.' for {what} that is not part of any ellipsis"
                )
            found.append(_ELLIPSIS)
            place += 3
            continue
        if letter in _LETTERS:
            found.append(letter)
        elif letter != " ":
            raise RuntimeError(
                f"einsum(): invalid subscript given at index {equation.index(letter)} in the equation "
                f"string, subscripts must be in [a-zA-Z]"
            )
        place += 1
    return found


def _placed(terms: list[list[str]], ndims: list[int]) -> tuple[tuple[Labels, ...], int]:
    """The labels of each operand's dimensions, and how many dimensions ``...`` stands for at most."""
    labels, hidden = [], 0
    for place, (term, ndim) in enumerate(zip(terms, ndims, strict=True)):
        named = len(term) - term.count(_ELLIPSIS)
        open_ = _ELLIPSIS in term
        if named > ndim or (named < ndim and not open_):
            raise RuntimeError(
                f"einsum(): the number of subscripts in the equation ({named}) "
                + ("is more than" if open_ else "does not match")
                + f" the number of dimensions ({ndim}) for operand {place}"
                + ("" if open_ else " and no ellipsis was given")
            )
        count = ndim - named
        hidden = max(hidden, count if open_ else 0)
        found: list[Label] = []
        for letter in term:
            found += range(-count, 0) if letter == _ELLIPSIS else [letter]
        labels.append(tuple(found))
    return tuple(labels), hidden


def _output(
    terms: list[list[str]], labels: tuple[Labels, ...], wanted: list[str] | None, hidden: int
) -> Labels:
    """The labels of the result."""
    letters = [letter for t in terms for letter in t if letter != _ELLIPSIS]
    spread = tuple(range(-hidden, 0))
    if wanted is None:
        return (*spread, *sorted(letter for letter in set(letters) if letters.count(letter) == 1))
    found: list[Label] = []
    for letter in wanted:
        if letter == _ELLIPSIS:
            found += spread
            continue
        if letter not in letters:
            raise RuntimeError(
                f"einsum(): output subscript {letter} does not appear in the equation for any input "
                f"operand"
            )
        if letter in found:
            raise RuntimeError(
                f"einsum(): output subscript {letter} appears more than once in the output"
            )
        found.append(letter)
    return tuple(found)
