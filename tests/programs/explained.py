"""Differences from PyTorch that are meant, each with its reason."""

from __future__ import annotations

import re

# what tilegrad gives, what PyTorch gives, why that stays so; matched against Outcome.difference
EXPLAINED = [
    (
        r"^no error",
        r"not implemented for '|does not support bool|on bool tensors is not supported",
        "an op whose meaning is plain for a dtype works for it here, also where PyTorch has no kernel",
    ),
    (
        r"expected m1 and m2 to have the same dtype|\"\w+\" not implemented for '",
        r"no error of no elements",
        "PyTorch does not look at dtypes where there are no elements",
    ),
    (
        r"^IndexError: \w+: Dimension out of range",
        r"no error of no elements",
        "PyTorch does not look at the dimension where there are no elements",
    ),
    (
        r"^\w+Error: \w+: index -?\d+ is out of bounds",
        r"no error of no elements|The size of tensor a",
        "PyTorch does not look at indices where no elements are read or written",
    ),
    (
        r"^RuntimeError: gather: index -?\d+ is out of bounds",
        r"no error",
        "PyTorch's take_along_dim takes an index beyond the dimension modulo its size",
    ),
    (
        r"^no error",
        r"derivative for aten::\w+ is not implemented",
        "remainder has a gradient of the divisor whatever the dividend is",
    ),
    (
        r"^no error",
        r"modified by an inplace operation: ",
        "what the wanted gradients do not read is not saved, so it may change",
    ),
    (
        r"^no error",
        r"A view was created in no_grad mode and is being modified inplace",
        "one of several views of what asks for no gradient is written to with the right gradient",
    ),
    (
        r"(index_put|index_fill)_: .*more than one element of the written-to tensor",
        r"no error",
        "a write to expanded memory that is recorded, which PyTorch refuses in backward, or of several values",
    ),
    (
        r"each dimension may appear once|index -?\d+ is out of bounds",
        r"to have non-zero size|value cannot be converted",
        "which of two mistakes in one statement is named",
    ),
]


def reason(difference: str) -> str:
    """Why ``difference`` is meant; empty if it is not."""
    ours, _, theirs = difference.partition(", where PyTorch gives ")
    for have, want, why in EXPLAINED:
        if re.search(have, ours) and re.search(want, theirs):
            return why
    return ""
