"""Fourier transforms over chosen dimensions and their gradients: what :mod:`tilegrad.autograd.fft` is made of.

A transform is linear, so its VJP is its conjugate transpose: the transform of the gradient with the other sign
and the same divisor, cut or padded as the operand was. A spectrum that leaves out its conjugate half counts the
numbers that stand for two half (``r2c``) or twice (``c2r``).
"""

from __future__ import annotations

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules import view
from tilegrad.autograd.rules.movement import pad
from tilegrad.autograd.rules.planar import real
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops import fft as ops
from tilegrad.engine.ops.create import from_host
from tilegrad.engine.shape import Shape

Meta = tuple[Shape, Shape, int, str]  # dims, sizes, 1 for forward, divisor


def _fitted(x: Tensor, shape: Shape, dims: Shape) -> Tensor:
    """``x`` cut, or padded with zeros, to ``shape`` along ``dims``."""
    amounts = [0] * (2 * len(shape))
    for d in dims:
        have, want = x.layout.shape[d], shape[d]
        if have > want:
            x = view.narrow(x, d, 0, want)
        amounts[2 * (len(shape) - d) - 1] = max(0, want - have)
    return pad(x, amounts) if any(amounts) else x


def _complex_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    dims, sizes, forward, norm = node.meta
    (kind,) = node.inputs
    found = c2c(grad, (dims, sizes, 1 - forward, norm))
    found = _fitted(found, kind.shape, dims)
    return (found if kind.dtype.is_complex else real(found),)


def _to_spectrum_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    """The real part of the whole transform of what is padded with zeros: ``c2r`` of what counts half."""
    dims, sizes, forward, norm = node.meta
    (kind,) = node.inputs
    weighed = grad * _weights(grad, dims[-1], sizes[-1], 0.5)
    return (_fitted(c2r(weighed, (dims, sizes, 1 - forward, norm)), kind.shape, dims),)


def _from_spectrum_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    dims, sizes, forward, norm = node.meta
    (kind,) = node.inputs
    found = r2c(grad, (dims, sizes, 1 - forward, norm))
    found = found * _weights(found, dims[-1], sizes[-1], 2.0)
    return (_fitted(found, kind.shape, dims),)


def _weights(spectrum: Tensor, dim: int, n: int, middle: float) -> Tensor:
    """1 for the numbers of half a spectrum that are their own conjugates, ``middle`` for the others."""
    count = n // 2 + 1
    values = [1.0 if k == 0 or 2 * k == n else middle for k in range(count)]
    made = tensor_of(from_host(values, spectrum.dtype.to_real(), spectrum.device))
    return view.view(made, (count, *(1,) * (spectrum.ndim - 1 - dim)))


_COMPLEX = Rule(ops.c2c, _complex_vjp, whole=True)
_TO_SPECTRUM = Rule(ops.r2c, _to_spectrum_vjp, whole=True)
_FROM_SPECTRUM = Rule(ops.c2r, _from_spectrum_vjp, whole=True)


def c2c(x: Tensor, meta: Meta) -> Tensor:
    """The complex transform of a complex or floating ``x``, cut or padded to sizes over dims. The divisor is
    ``none``, ``by_root_n`` or ``by_n``.
    """
    return _COMPLEX.at((x,), meta)


def r2c(x: Tensor, meta: Meta) -> Tensor:
    """Of a floating ``x`` the half of :func:`c2c` that is not conjugate to the other, along the last of the dims."""
    return _TO_SPECTRUM.at((x,), meta)


def c2r(x: Tensor, meta: Meta) -> Tensor:
    """Of half a spectrum along the last of the dims, whose other half is conjugate to it, the real transform."""
    return _FROM_SPECTRUM.at((x,), meta)


def floating(x: Tensor) -> dt.DType:
    """The floating dtype of the transform of ``x``: its own, or the default one for integers and bool."""
    kind = x.layout.dtype
    return kind.to_real() if kind.is_complex or kind.is_floating_point else dt.get_default_dtype()
