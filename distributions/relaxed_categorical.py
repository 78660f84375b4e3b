"""The relaxed categorical distribution."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.categorical import Categorical
from tilegrad.distributions.one_hot_categorical import OverCategorical
from tilegrad.distributions.transformed_distribution import TransformedDistribution
from tilegrad.distributions.transforms import ExpTransform
from tilegrad.distributions.utils import Shape, broadcast_all, clamp_probs, uniform

__all__ = ["ExpRelaxedCategorical", "RelaxedOneHotCategorical"]


class ExpRelaxedCategorical(OverCategorical):
    """The logarithm of :class:`RelaxedOneHotCategorical` (Maddison, Mnih, Teh, arXiv 1611.00712)."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.real_vector
    has_rsample = True
    _parameters = {"_categorical": 0}

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ):
        self._categorical = Categorical(probs, logits)
        self.temperature = temperature
        event_shape = self._categorical.param_shape[-1:]
        super().__init__(self._categorical.batch_shape, event_shape, validate_args=validate_args)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        u = clamp_probs(uniform(self._extended_shape(sample_shape), self.logits))
        scores = (self.logits - (-u.log()).log()) / self.temperature
        return scores - scores.logsumexp(dim=-1, keepdim=True)

    def log_prob(self, value: Any) -> Tensor:
        count = self._categorical._num_events
        self._check(value)
        logits, value = broadcast_all(self.logits, value)
        scale = fn.full_like(self.temperature, float(count)).lgamma()
        scale = scale + (count - 1) * self.temperature.log()
        score = logits - value * self.temperature
        return (score - score.logsumexp(dim=-1, keepdim=True)).sum(-1) + scale


class RelaxedOneHotCategorical(TransformedDistribution):
    """A vector on the simplex that goes to one of :class:`OneHotCategorical` as ``temperature`` goes to 0."""

    arg_constraints = {"probs": constraints.simplex, "logits": constraints.real_vector}
    support = constraints.simplex
    has_rsample = True

    def __init__(
        self,
        temperature: Any,
        probs: Any = None,
        logits: Any = None,
        validate_args: bool | None = None,
    ):
        base = ExpRelaxedCategorical(temperature, probs, logits, validate_args=validate_args)
        super().__init__(base, ExpTransform(), validate_args=validate_args)

    @property
    def temperature(self) -> Any:
        """How far from one-hot vectors it is."""
        return self.base_dist.temperature

    @property
    def logits(self) -> Tensor:
        """Logarithms of the probabilities."""
        logits: Tensor = self.base_dist.logits
        return logits

    @property
    def probs(self) -> Tensor:
        """Probabilities of the places."""
        probs: Tensor = self.base_dist.probs
        return probs
