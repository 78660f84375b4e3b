"""Windows of signal processing.

Samples are worked out in float64, over their places ``0 … M - 1``. ``sym``: the last one mirrors the first;
else the window is that of ``M + 1`` samples without the last, whose periods follow each other.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.rules import pointwise
from tilegrad.autograd.rules.creation import arange
from tilegrad.autograd.rules.windows import bessel_i0, cosines, made
from tilegrad.engine import dtype as dt, formats

__all__ = [
    "bartlett", "blackman", "cosine", "exponential", "gaussian", "general_cosine", "general_hamming",
    "hamming", "hann", "kaiser", "nuttall",
]  # fmt: skip


def _places(
    name: str, M: int, sym: bool, dtype: object, layout: object, device: object
) -> tuple[Tensor, int, dt.DType]:
    """The samples' numbers in float64, how many steps there are from the first to its mirror, the dtype.

    Raises:
        ValueError: ``M`` is negative, or the layout or the dtype is another.
    """
    kind = dt.get_default_dtype() if dtype is None else dt.dtype(dtype)
    if M < 0:
        raise ValueError(f"{name} requires non-negative window length, got M={M}")
    if layout is not None and layout is not formats.strided:
        raise ValueError(f"{name} is implemented for strided tensors only, got: {layout}")
    if kind not in (dt.float32, dt.float64):
        raise ValueError(f"{name} expects float32 or float64 dtypes, got: {kind.name}")
    steps = max(M - 1, 0) if sym or M == 1 else M
    return arange(M, dtype=dt.float64, device=device), steps, kind


def _of_cosines(
    name: str, M: int, a: tuple[float, ...], sym: bool, dtype: object, layout: object,
    device: object, requires_grad: bool,
) -> Tensor:  # fmt: skip
    at, steps, kind = _places(name, M, sym, dtype, layout, device)
    values = at * 0 + 1 if M == 1 else cosines(at / max(steps, 1), *a)
    return made(values, kind, requires_grad)


def general_cosine(
    M: int, *, a: Iterable[float], sym: bool = True, dtype: object = None, layout: object = None,
    device: object = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``sum((-1)^k a[k] cos(2 pi k x))`` of x from 0 to 1.

    Raises:
        TypeError: ``a`` is no sequence. ValueError: it is empty.
    """
    if M > 1 and not isinstance(a, Iterable):
        raise TypeError("Coefficients must be a list/tuple")
    if M > 1 and not a:
        raise ValueError("Coefficients cannot be empty")
    weights = tuple(a) if M > 1 else (1.0,)
    return _of_cosines("general_cosine", M, weights, sym, dtype, layout, device, requires_grad)


def general_hamming(
    M: int, *, alpha: float = 0.54, sym: bool = True, dtype: object = None, layout: object = None,
    device: object = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``alpha - (1 - alpha) cos(2 pi x)`` of x from 0 to 1."""
    weights = (alpha, 1.0 - alpha)
    return _of_cosines("general_cosine", M, weights, sym, dtype, layout, device, requires_grad)


def hamming(
    M: int, *, sym: bool = True, dtype: object = None, layout: object = None, device: object = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``0.54 - 0.46 cos(2 pi x)`` of x from 0 to 1."""
    weights = (0.54, 1.0 - 0.54)
    return _of_cosines("general_cosine", M, weights, sym, dtype, layout, device, requires_grad)


def hann(
    M: int, *, sym: bool = True, dtype: object = None, layout: object = None, device: object = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``sin(pi x)^2`` of x from 0 to 1."""
    return _of_cosines("general_cosine", M, (0.5, 0.5), sym, dtype, layout, device, requires_grad)


def blackman(
    M: int, *, sym: bool = True, dtype: object = None, layout: object = None, device: object = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Blackman's three cosines."""
    weights = (0.42, 0.5, 0.08)
    return _of_cosines("blackman", M, weights, sym, dtype, layout, device, requires_grad)


def nuttall(
    M: int, *, sym: bool = True, dtype: object = None, layout: object = None, device: object = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Nuttall's four cosines (IEEE Trans. ASSP 29, 1981)."""
    weights = (0.3635819, 0.4891775, 0.1365995, 0.0106411)
    return _of_cosines("general_cosine", M, weights, sym, dtype, layout, device, requires_grad)


def bartlett(
    M: int, *, sym: bool = True, dtype: object = None, layout: object = None, device: object = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """A triangle from 0 to 1 and back."""
    at, steps, kind = _places("bartlett", M, sym, dtype, layout, device)
    values = at * 0 + 1 if M == 1 else 1 - pointwise.abs(at * (2 / max(steps, 1)) - 1)
    return made(values, kind, requires_grad)


def cosine(
    M: int, *, sym: bool = True, dtype: object = None, layout: object = None, device: object = None,
    requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """Half a period of a sine, at the middles of as many pieces as there are samples."""
    at, steps, kind = _places("cosine", M, sym, dtype, layout, device)
    values = pointwise.sin((at + 0.5) * (math.pi / (steps + 1)))
    return made(values, kind, requires_grad)


def exponential(
    M: int, *, center: float | None = None, tau: float = 1.0, sym: bool = True, dtype: object = None,
    layout: object = None, device: object = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``exp(-|n - center| / tau)``; ``center``: the middle, unless given.

    Raises:
        ValueError: ``tau`` is not positive, or a symmetric window is given a center.
    """
    at, steps, kind = _places("exponential", M, sym, dtype, layout, device)
    if tau <= 0:
        raise ValueError(f"Tau must be positive, got: {tau} instead.")
    if sym and center is not None:
        raise ValueError("Center must be None for symmetric windows")
    middle = steps / 2 if center is None else center
    values = pointwise.exp(pointwise.abs(at - middle) * (-1 / tau))
    return made(values, kind, requires_grad)


def gaussian(
    M: int, *, std: float = 1.0, sym: bool = True, dtype: object = None, layout: object = None,
    device: object = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``exp(-(n - middle)^2 / (2 std^2))``

    Raises:
        ValueError: ``std`` is not positive.
    """
    at, steps, kind = _places("gaussian", M, sym, dtype, layout, device)
    if std <= 0:
        raise ValueError(f"Standard deviation must be positive, got: {std} instead.")
    z = (at - steps / 2) * (1 / std)
    return made(pointwise.exp(z * z * -0.5), kind, requires_grad)


def kaiser(
    M: int, *, beta: float = 12.0, sym: bool = True, dtype: object = None, layout: object = None,
    device: object = None, requires_grad: bool = False,
) -> Tensor:  # fmt: skip
    """``I0(beta sqrt(1 - x^2)) / I0(beta)`` of x from -1 to 1.

    Raises:
        ValueError: ``beta`` is negative.
    """
    at, steps, kind = _places("kaiser", M, sym, dtype, layout, device)
    if beta < 0:
        raise ValueError(f"beta must be non-negative, got: {beta} instead.")
    x = at * 0 if M == 1 else at * (2 / max(steps, 1)) - 1
    inside = pointwise.sqrt((1 - x * x).clamp(min=0)) * float(beta)
    top = inside.new_full((), float(beta))
    return made(bessel_i0(inside, beta) / bessel_i0(top, beta), kind, requires_grad)
