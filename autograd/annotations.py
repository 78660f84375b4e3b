"""Names of types for annotations.

Type checkers see the public tensor's class. It is defined at the top of what these modules are, so at run time its
name here stands for the array that every tensor is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, SupportsIndex, TypeAlias

from tilegrad.engine.array import Array
from tilegrad.engine.number import Number as Number

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor as Tensor
else:
    Tensor = Array

Sizes = SupportsIndex | Sequence[SupportsIndex]  # of ``*size``: one by one, or as one sequence
Tensors: TypeAlias = "Tensor | tuple[Tensor, ...]"  # one result alone, or several
