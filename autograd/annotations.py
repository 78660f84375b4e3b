"""The public tensor's name, for annotations in the modules that it is made of.

Type checkers see the class. It is defined at the top of what these modules are, so at run time its name here
stands for the array that every tensor is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilegrad.engine.array import Array

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor as Tensor
else:
    Tensor = Array
