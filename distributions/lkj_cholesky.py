"""The distribution of Lewandowski, Kurowicka and Joe over Cholesky factors of correlation matrices.

Source: Generating random correlation matrices based on vines and extended onion method (J. Multivariate
Analysis 100, 2009).
"""

from __future__ import annotations

import math
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.rules.numeric import mvlgamma
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.beta import Beta
from tilegrad.distributions.distribution import Distribution
from tilegrad.distributions.utils import Shape, Value, broadcast_all, standard_normal
from tilegrad.engine.dtype import finfo

__all__ = ["LKJCholesky"]


class LKJCholesky(Distribution):
    """L with ``L L^T`` of density proportional to ``det(L L^T)^(concentration - 1)``: uniform over correlation
    matrices at 1.

    Raises:
        ValueError: ``dim`` is below 2.
    """

    arg_constraints = {"concentration": constraints.positive}
    support = constraints.corr_cholesky
    _parameters = {"concentration": 0, "_beta": 1}

    def __init__(self, dim: int, concentration: Value = 1.0, validate_args: bool | None = None):
        if dim < 2:
            raise ValueError(
                f"Expected dim to be an integer greater than or equal to 2. Found dim={dim}."
            )
        self.dim = dim
        (self.concentration,) = broadcast_all(concentration)
        kind, where = self.concentration.dtype, self.concentration.device
        # of each row but the first the length below the diagonal, squared
        row = fn.arange(dim, dtype=kind, device=where) - 1
        row = row.clamp(min=0)
        most = (self.concentration + 0.5 * (dim - 2)).unsqueeze(-1)
        self._beta = Beta(row + 0.5, most - 0.5 * row)
        super().__init__(self.concentration.shape, (dim, dim), validate_args)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            lengths = self._beta.sample(sample_shape).unsqueeze(-1)
            normal = standard_normal(self._extended_shape(sample_shape), lengths).tril(-1)
            norms = (normal**2).sum(-1, True).sqrt()
            directions = normal / fn.where(norms > 0, norms, 1.0)  # the first row is of zeros
            below = fn.sqrt(lengths) * directions
            rest = (1 - (below**2).sum(-1)).clamp(min=finfo(below.dtype).tiny).sqrt()
            return below + fn.diag_embed(rest)

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        diagonal = value.diagonal(dim1=-1, dim2=-2)[..., 1:]
        order = fn.arange(2, self.dim + 1, device=self.concentration.device)
        order = 2 * (self.concentration - 1).unsqueeze(-1) + self.dim - order
        powers = (order * diagonal.log()).sum(-1)
        less = self.dim - 1
        alpha = self.concentration + 0.5 * less
        # of mvlgamma pi to (D - 1) (D - 2) / 4, of the constant to D (D - 1) / 4
        constant = 0.5 * less * math.log(math.pi)
        return powers - (constant + mvlgamma(alpha - 0.5, less) - fn.lgamma(alpha) * less)
