"""Tensors overwritten by draws from distributions that are functions of simpler ones."""

from __future__ import annotations

import math

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.rule import check_inplace
from tilegrad.autograd.rules import arithmetic, pointwise
from tilegrad.autograd.rules.random import written_over
from tilegrad.engine import dtype as dt
from tilegrad.engine.ops import random as ops
from tilegrad.engine.random import Generator

__all__: list[str] = []


def _drawn(
    name: str, x: Tensor, params: tuple[float, float], generator: Generator | None
) -> Tensor:
    """A draw in the shape of ``x``: of integers in float64."""
    kind = x.layout
    wide = kind.dtype if kind.dtype.is_floating_point else dt.float64
    return tensor_of(ops.draw(name, kind.shape, wide, kind.device, params, generator))


def cauchy_(
    self: Tensor, median: float = 0.0, sigma: float = 1.0, *, generator: Generator | None = None
) -> Tensor:
    """Cauchy's distribution: ``median + sigma * tan(pi * (u - 1/2))`` of uniform u.

    Raises:
        RuntimeError: ``sigma`` is not positive, or the dtype is not floating point.
    """
    if not sigma > 0:
        raise RuntimeError(f"cauchy_: expects sigma > 0.0, but found sigma={sigma}")
    if not self.layout.dtype.is_floating_point:
        raise RuntimeError(
            f"cauchy_: Cauchy distribution is a continuous probability distribution. dtype must be a "
            f"floating point but you specified {self.dtype.name}"
        )
    median, sigma = float(median), float(sigma)
    check_inplace("cauchy_", self)
    turn = _drawn("uniform", self, (-math.pi / 2, math.pi / 2), generator)
    return written_over("cauchy_", self, pointwise.tan(turn) * sigma + median)


def log_normal_(
    self: Tensor, mean: float = 1.0, std: float = 2.0, *, generator: Generator | None = None
) -> Tensor:
    """The exponential of a normal number with this mean and standard deviation.

    Raises:
        RuntimeError: ``std`` is not positive.
        NotImplementedError: the dtype is not floating point.
    """
    if not std > 0:
        raise RuntimeError(f"log_normal_: expects std > 0.0, but found std={std}")
    if not self.layout.dtype.is_floating_point:
        raise NotImplementedError(f"\"log_normal\" not implemented for '{self.dtype.name}'")
    check_inplace("log_normal_", self)
    normal = _drawn("normal", self, (float(mean), float(std)), generator)
    return written_over("log_normal_", self, pointwise.exp(normal))


def geometric_(self: Tensor, p: float, *, generator: Generator | None = None) -> Tensor:
    """How many trials of success ``p`` it takes until the first: at least 1.

    Raises:
        RuntimeError: ``p`` is not in (0, 1).
        NotImplementedError: of bools.
    """
    if not 0 < p < 1:
        raise RuntimeError(f"geometric_: expects p to be in (0, 1), but got p={p}")
    if self.layout.dtype is dt.bool_:
        raise NotImplementedError("\"geometric\" not implemented for 'bool'")
    check_inplace("geometric_", self)
    steps = _drawn("exponential", self, (1.0, 0.0), generator) / -math.log1p(-p)
    return written_over("geometric_", self, arithmetic.clamp_min(pointwise.ceil(steps), 1))
