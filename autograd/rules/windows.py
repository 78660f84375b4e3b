"""Window functions: ``hann_window`` and its kin."""

from __future__ import annotations

import math

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.rules import pointwise
from tilegrad.autograd.rules.creation import arange
from tilegrad.autograd.rules.elementwise import to_dtype
from tilegrad.engine import dtype as dt
from tilegrad.engine.device import device as as_device
from tilegrad.engine.ops.elementwise import full
from tilegrad.engine.shape import as_index

__all__ = [
    "bartlett_window", "blackman_window", "hamming_window", "hann_window", "kaiser_window",
]  # fmt: skip


def _places(
    name: str, length: int, periodic: bool, dtype: object, device: object
) -> tuple[Tensor, dt.DType]:
    """How far each sample is along the window, from 0 to 1, in float64; and the dtype asked for."""
    kind = dt.get_default_dtype() if dtype is None else dt.dtype(dtype)
    if not kind.is_floating_point:
        raise RuntimeError(f"{name}: expects floating point dtypes, got: {kind.name}")
    if as_index(name, length, "window_length") < 0:
        raise RuntimeError(
            f"{name}: requires non-negative window_length, got window_length={length}"
        )
    if length < 2:
        return tensor_of(full((length,), 0.5, dt.float64, as_device(device))), kind
    return arange(length, dtype=dt.float64, device=device) / (length - (not periodic)), kind


def made(values: Tensor, kind: dt.DType, requires_grad: bool) -> Tensor:
    """``values`` in the dtype asked for."""
    window = to_dtype(values, kind)
    return window.requires_grad_() if requires_grad else window


def cosines(at: Tensor, *factors: float) -> Tensor:
    """The sum of ``factors[k] * cos(2 pi k at)`` with alternating signs."""
    total: Tensor = at * 0 + factors[0]
    for order, factor in enumerate(factors[1:], 1):
        total = total + pointwise.cos(at * (2 * math.pi * order)) * (factor * (-1) ** order)
    return total


def bartlett_window(
    window_length: int, periodic: bool = True, *, dtype: object = None, device: object = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A triangle from 0 to 1 and back; ``periodic``: without the last of one sample more."""
    at, kind = _places("bartlett_window", window_length, periodic, dtype, device)
    return made(1 - pointwise.abs(at * 2 - 1), kind, requires_grad)


def hann_window(
    window_length: int, periodic: bool = True, *, dtype: object = None, device: object = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``(1 - cos) / 2`` over one turn; ``periodic``: without the last of one sample more."""
    at, kind = _places("hann_window", window_length, periodic, dtype, device)
    return made(cosines(at, 0.5, 0.5), kind, requires_grad)


def hamming_window(
    window_length: int, periodic: bool = True, alpha: float = 0.54, beta: float = 0.46, *,
    dtype: object = None, device: object = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``alpha - beta cos`` over one turn; ``periodic``: without the last of one sample more."""
    at, kind = _places("hamming_window", window_length, periodic, dtype, device)
    values = at * 0 + 1 if window_length == 1 else cosines(at, float(alpha), float(beta))
    return made(values, kind, requires_grad)


def blackman_window(
    window_length: int, periodic: bool = True, *, dtype: object = None, device: object = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Three cosines over one turn; ``periodic``: without the last of one sample more."""
    at, kind = _places("blackman_window", window_length, periodic, dtype, device)
    return made(cosines(at, 0.42, 0.5, 0.08), kind, requires_grad)


def kaiser_window(
    window_length: int, periodic: bool = True, beta: float = 12.0, *, dtype: object = None,
    device: object = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Kaiser's, by Bessel's function I0; ``periodic``: without the last of one sample more."""
    at, kind = _places("kaiser_window", window_length, periodic, dtype, device)
    beta = float(beta)
    inside = pointwise.sqrt((1 - pointwise.mul(at * 2 - 1, at * 2 - 1)).clamp(min=0)) * beta
    top = tensor_of(full((), beta, dt.float64, as_device(device)))
    return made(bessel_i0(inside, beta) / bessel_i0(top, beta), kind, requires_grad)


def bessel_i0(x: Tensor, most: float) -> Tensor:
    """I0 of float64 numbers up to ``most``, by its power series, whose terms are all positive."""
    square = x * x * 0.25
    term: Tensor = x * 0 + 1
    total = term
    for order in range(1, 40 + 2 * math.ceil(abs(most))):
        term = term * square / (order * order)
        total = total + term
    return total
