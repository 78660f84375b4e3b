"""Parameters as one vector."""

from __future__ import annotations

from collections.abc import Iterable

from tilegrad.autograd.rules.movement import cat
from tilegrad.autograd.tensor import Tensor


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """All parameters, flat, end to end."""
    return cat([p.reshape(-1) for p in parameters])


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Give the parameters the values in ``vec``, the other way round.

    Raises:
        TypeError: ``vec`` is not a tensor.
    """
    if not isinstance(vec, Tensor):
        raise TypeError(f"expected Tensor, but got: {type(vec).__name__}")
    begin = 0
    for p in parameters:
        p.data = vec.detach().narrow(0, begin, p.numel()).clone().reshape(p.shape)
        begin += p.numel()
