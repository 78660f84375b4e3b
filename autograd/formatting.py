"""How tensors print: as PyTorch prints them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tilegrad.engine.array import to_numpy

if TYPE_CHECKING:
    from tilegrad.autograd.tensor import Tensor


def tensor_repr(tensor: Tensor) -> str:
    """``tensor([...], dtype=…, grad_fn=…)``."""
    return f"tensor({to_numpy(tensor._array)!r})"

