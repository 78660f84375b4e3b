"""Arguments by every name and place: signatures are read from PyTorch's documentation strings, and a row's sample
is called with all arguments by name, and with all that have a place by place.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any

import torch

from tests.conformance import convert, ops
from tests.conformance.convert import Differs, NotThere

SAMPLES = 1

# rows whose documented names another form of the function has, and what differs
EXPLAINED = {
    "max": "a tensor by the name dim is the other operand here",
    "min": "as max",
    "pow": "self= is the name of a number's power alone",
}

Signature = list[tuple[str, bool]]  # names, and whether only by name


def signatures(function: Any, name: str) -> list[Signature]:
    """The signatures that the documentation string gives, those with ``*args`` left out."""
    doc = function.__doc__ or ""
    pattern = rf"(?:^|\n)\s*(?:torch\.)?{re.escape(name)}\(((?:[^()]|\([^()]*\))*)\)\s*->"
    found = [_parsed(m[1]) for m in re.finditer(pattern, doc)]
    if not found:
        try:
            parameters = inspect.signature(function).parameters.values()
        except (TypeError, ValueError):
            return []
        if all(p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) for p in parameters):
            found = [[(p.name, p.kind is p.KEYWORD_ONLY) for p in parameters]]
    return [s for s in found if s is not None]


def _parsed(text: str) -> Signature | None:
    made: Signature = []
    only = False
    for part in re.sub(r"\([^()]*\)", "", text).split(","):
        word = re.sub(r"^(Tensor|int|float|bool|Number|Scalar)\s+", "", part.strip())
        if word == "*":
            only = True
        elif word.startswith("*"):
            return None
        elif word:
            made.append((re.split(r"[=:\s]", word)[0], only))
    return made


def _calls(given: Any, signature: Signature) -> list[tuple[list[Any], dict[str, Any]]]:
    """(arguments, keywords) of a sample by names alone, and by places as far as they go."""
    places = [name for name, only in signature if not only]
    values = [given[0], *given[1]]
    if len(values) > len(places):
        return []
    named = {**dict(zip(places, values, strict=False)), **given[2]}
    if len(named) != len(values) + len(given[2]):
        return []
    rest, placed = dict(named), []
    for name in places:
        if name not in rest:
            break
        placed.append(rest.pop(name))
    return [([], named), (placed, rest)]


def check(op: Any) -> list[str]:
    """What differs between PyTorch's results and ours in these forms of the row's first samples."""
    owner = torch.nn.functional if op.name.startswith("nn.functional.") else torch
    short = op.name.rsplit(".", 1)[-1]
    theirs = getattr(owner, short, None)
    known = "." not in op.name or owner is torch.nn.functional
    kind = torch.float32 if torch.float32 in op.supported_dtypes("cpu") else torch.int64
    if (
        theirs is None
        or not known
        or op.name in EXPLAINED
        or kind not in op.supported_dtypes("cpu")
    ):
        return []
    mine = convert.attribute(op.name)
    found = []
    for given in ops.samples(op, kind, SAMPLES):
        for signature in signatures(theirs, short):
            for args, kwargs in _calls(given, signature):
                why = _differs(op, theirs, mine, given, args, kwargs)
                if why:
                    found.append(f"{op.name}({len(args)} by place, {', '.join(kwargs)}): {why}")
    return found


def _differs(
    op: Any,
    theirs: Callable[..., Any],
    mine: Callable[..., Any],
    given: Any,
    args: Any,
    kwargs: Any,
) -> str:
    try:
        want = theirs(*ops.copied(args), **ops.copied(kwargs))
        again = theirs(*ops.copied(args), **ops.copied(kwargs))
    except Exception:  # a form that PyTorch does not have
        return ""
    try:
        got = mine(*convert.value(ops.copied(args)), **convert.value(ops.copied(kwargs)))
        if ops._equal(want, again) and op.name not in ops.UNDEFINED and not ops._draws(op.op):
            convert.same(ops._places(op, given, got, want), want, "result")
    except NotThere:
        return ""
    except (Differs, Exception) as error:
        return f"{type(error).__name__}: {str(error)[:160]}"
    return ""
