"""The logistic-normal distribution."""

from __future__ import annotations

from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.normal import Normal
from tilegrad.distributions.transformed_distribution import TransformedDistribution
from tilegrad.distributions.transforms import StickBreakingTransform
from tilegrad.distributions.utils import Value

__all__ = ["LogisticNormal"]


class LogisticNormal(TransformedDistribution):
    """A vector of :class:`Normal` on the simplex of one dimension more, by breaking a stick."""

    arg_constraints = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.simplex
    has_rsample = True

    def __init__(self, loc: Value, scale: Value, validate_args: bool | None = None):
        base = Normal(loc, scale, validate_args=validate_args)
        if not base.batch_shape:
            base = base.expand([1])
        super().__init__(base, StickBreakingTransform(), validate_args=validate_args)

    @property
    def loc(self) -> Tensor:
        """Means of the vector."""
        loc: Tensor = self.base_dist.base_dist.loc
        return loc

    @property
    def scale(self) -> Tensor:
        """Standard deviations of the vector."""
        scale: Tensor = self.base_dist.base_dist.scale
        return scale
