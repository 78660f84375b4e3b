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
        r"expected m1 and m2 to have the same dtype",
        r"no error",
        "PyTorch does not look at the dtypes of a product without elements",
    ),
    (
        r"^IndexError: (roll|cat): Dimension out of range",
        r"no error",
        "PyTorch does not look at the dimension where there are no elements",
    ),
]


def reason(difference: str) -> str:
    """Why ``difference`` is meant; empty if it is not."""
    ours, _, theirs = difference.partition(", where PyTorch gives ")
    for have, want, why in EXPLAINED:
        if re.search(have, ours) and re.search(want, theirs):
            return why
    return ""


# known and not mended yet: what differs in these words is not reported twice
OPEN = [
    (r"^x\d+: has shape \(0,\), not \(\)", "topk of no element of a 0-d tensor"),
    (r"requires_grad is (True, not False|False, not True)", "zero derivatives under create_graph"),
    (r"more than one element of the written-to tensor", "fills of expanded memory, which PyTorch allows"),
    (r"some elements of the input tensor and the written-to tensor", "writes that read what they write"),
    (r"multiple views", "a write to one of several views of an output"),
    (r"\"square\" not implemented for 'bool'|ZeroDivisionError", "square of bools, remainder of no elements"),
    (r"(IndexError|RuntimeError): .*index -?\d+ is out of bounds", "the type of an index's error"),
    (r"log_softmax. not implemented", "log_softmax of integers without elements"),
    (r"can't be cast to the desired output type", "clamp_ and pow_ of bools in place"),
    (r"Index put requires the source and destination dtypes match", "setitem by a tensor of another dtype"),
    (r"^x\d+: \.grad is None", "a derivative that a fill made zero"),
    (r"narrow\(\): length must be non-negative|Expected reduction dim|once; got dim", "which error comes first"),
    (r"argm(ax|in)\(\): does not support bool", "arguments of bools without elements"),
    (r"leaf Variable that requires grad", "x[...] = x of a leaf"),
    (r"modified by an inplace operation", "what tilegrad does not need, it does not save"),
    (r"cummax: Dimension out of range|cannot convert float|value cannot be converted", "which numbers fit"),
]  # fmt: skip


def is_open(difference: str) -> bool:
    """Whether ``difference`` is a known one."""
    return any(re.search(words, difference) for words, _ in OPEN)
