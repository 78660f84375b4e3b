"""Differences from PyTorch that are meant, each with its reason."""

from __future__ import annotations

import re
from typing import NamedTuple


class Meant(NamedTuple):
    """A kind of difference.

    Attributes:
        ours: what tilegrad gives, or what differs in a result.
        theirs: what PyTorch gives, then what :func:`tests.programs.run.facts` says of the statement.
        why: the reason why that stays so.
        statement: how the statement reads.
        earlier: how one of the statements before reads.
    """

    ours: str
    theirs: str
    why: str
    statement: str = ""
    earlier: str = ""


EXPLAINED = [
    Meant(
        r"^no error",
        r"not implemented for '|does not support bool|on bool tensors is not supported",
        "an op whose meaning is plain for a dtype works for it here, also where PyTorch has no kernel",
    ),
    Meant(
        r"expected m1 and m2 to have the same dtype|\"\w+\" not implemented for '",
        r"no error.* of no elements",
        "PyTorch does not look at dtypes where there are no elements",
    ),
    Meant(
        r"^IndexError: \w+: Dimension out of range",
        r"no error.* of no elements",
        "PyTorch does not look at the dimension where there are no elements",
    ),
    Meant(
        r"^\w+Error: \w+: index -?\d+ is out of bounds",
        r" of no elements|The size of tensor a",
        "PyTorch does not look at indices where no elements are read or written",
    ),
    Meant(
        r"^RuntimeError: fill: value cannot be converted to type",
        r"no error.* of no elements",
        "PyTorch does not look at a value that is scattered to no elements",
        r"scatter_?\(",
    ),
    Meant(
        r"^RuntimeError: gather: index -?\d+ is out of bounds",
        r"no error",
        "PyTorch's take_along_dim takes an index beyond the dimension modulo its size",
        r"take_along_dim\(",
    ),
    Meant(
        r"^no error",
        r"derivative for aten::\w+ is not implemented",
        "remainder has a gradient of the divisor whatever the dividend is",
    ),
    Meant(
        r"^no error",
        r"modified by an inplace operation: ",
        "what the wanted gradients do not read is not saved, so it may change",
    ),
    Meant(
        r"(index_put|index_fill)_: .*more than one element of the written-to tensor",
        r"no error",
        "a write to expanded memory that is recorded, which PyTorch refuses in backward, or of several values",
    ),
    Meant(
        r"^no error",
        r"some elements of the input tensor and the written-to tensor .* of the same elements",
        "elements are written to themselves; PyTorch compares the strides of single elements too",
    ),
    Meant(
        r"^RuntimeError: index_put_: .*some elements of the input tensor and the written-to tensor",
        r"no error.* of no elements",
        "PyTorch's setitem does not look at the memory of no elements",
        r"\] = x\d+$",
    ),
    Meant(
        r"each dimension may appear once|index -?\d+ is out of bounds",
        r"to have non-zero size|value cannot be converted",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"index_fill_: .*more than one element of the written-to tensor",
        r"^IndexError: index -?\d+ is out of bounds",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"^IndexError: index_copy: source must have the shape",
        r"more than one element of the written-to tensor",
        "which of two mistakes in one statement is named",
    ),
    Meant(
        r"^no error",
        r"view size is not compatible with input tensor's size and stride",
        "what index arrays take is row-major here, in PyTorch in the order of the indexed dimensions",
        r"\.view\(",
        r" = x\d+\[.*\[",
    ),
    Meant(
        r"^no error",
        r"(Subtraction|Negation), the `-` operator, (with|on) a bool tensor is not supported",
        "PyTorch's formulas of the gradients of pow, logaddexp and atan2 take a bool operand's negative",
        r"\.backward\(|autograd\.grad\(",
    ),
    Meant(
        r"^x\d+: is ",
        r" of overlapping memory",
        "what is read is read first; PyTorch writes over it on the way where it does not see the overlap",
    ),
    Meant(
        r"^x\d+: (\.grad: )?is NaN in PyTorch alone",
        r"",
        "PyTorch's amax and amin give 0 times an infinite gradient to the elements that are none",
        r"\.backward\(|autograd\.grad\(",
        r"\.am(ax|in)\(",
    ),
    Meant(
        r"^x\d+: (\.grad: )?is NaN in PyTorch alone",
        r"",
        "PyTorch's second derivatives of atan2 and sinc at 0 are NaN, which 0 times leaves as it is",
        r"\.backward\(|autograd\.grad\(",
        r"\b(atan2|sinc)_?\(",
    ),
    Meant(
        r": requires_grad is (True, not False|False, not True), of float\d+ zeros$",
        r"",
        "whether the zeros that a write over everything leaves of a gradient have a graph",
        r"autograd\.grad\(.*create_graph=True",
        r"\.(copy|fill|zero)_\(|\] = ",
    ),
    Meant(
        r": requires_grad is False, not True, of float\d+ zeros$",
        r" of no elements",
        "PyTorch's gradient of cummax without elements is what came in, which may have a graph",
        "",
        r"cummax\(",
    ),
    Meant(
        r"^RuntimeError: backward: element 0 of tensors does not require grad",
        r"no error of no elements",
        "PyTorch's gradient of cummax without elements is what came in, which may have a graph",
        r"\.backward\(",
        r"cumm(ax|in)\(",
    ),
    Meant(
        r"^x\d+: (\.grad: )?is .*\bnan\b.*, not .*\binf\b",
        r"",
        "sinc of an integer is 0, and times infinity NaN; PyTorch's is what rounding pi x leaves",
        "",
        r"\bsinc_?\(",
    ),
    Meant(
        r": requires_grad is False, not True, of \w*(int\d+|bool)( zeros)?$",
        r"",
        "PyTorch's fill_ by a tensor that requires grad lets integers require grad",
        r"\] = x\d+$|\.fill_\(",
    ),
]


def reason(difference: str, statement: str, lines: list[str]) -> str:
    """Why ``difference``, at a ``statement`` after ``lines``, is meant; empty if it is not."""
    ours, _, theirs = difference.partition(", where PyTorch gives ")
    for row in EXPLAINED:
        found = re.search(row.ours, ours) and re.search(row.theirs, theirs)
        if found and re.search(row.statement, statement):
            if not row.earlier or any(re.search(row.earlier, line) for line in lines):
                return row.why
    return ""
