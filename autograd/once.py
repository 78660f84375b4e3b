"""Warnings that are given once in a process, as PyTorch gives them."""

from __future__ import annotations

import warnings
from functools import lru_cache


@lru_cache(maxsize=1)
def warn_of_scalar() -> None:
    """Of ``float(x)``, where ``x`` needs a gradient."""
    warnings.warn(
        "Converting a tensor with requires_grad=True to a scalar may lead to unexpected behavior.\n"
        "Consider using tensor.detach() first.",
        stacklevel=4,
    )


@lru_cache(maxsize=1)
def warn_of_reversal() -> None:
    """Of ``x.T``, where ``x`` has not two dimensions."""
    warnings.warn(
        "The use of `x.T` on tensors of dimension other than 2 to reverse their shape is deprecated. "
        "Consider `x.mT` to transpose batches of matrices or `x.permute` to reverse the dimensions of "
        "a tensor.",
        stacklevel=3,
    )


@lru_cache(maxsize=1)
def warn_of_read_only() -> None:
    """Of a read-only array that a tensor shows."""
    warnings.warn(
        "The given NumPy array is not writable, and tensors have no read-only memory: writing to "
        "the tensor writes to the array. Copy the array first to protect its data.",
        stacklevel=3,
    )
