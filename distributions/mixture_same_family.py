"""Mixtures of distributions of one family."""

from __future__ import annotations

from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.size import Size
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.categorical import Categorical
from tilegrad.distributions.distribution import Distribution
from tilegrad.distributions.utils import Shape

__all__ = ["MixtureSameFamily"]


class MixtureSameFamily(Distribution):
    """A draw of the component that ``mixture_distribution`` draws: components are the last dimension of the
    batch of ``component_distribution``.

    Raises:
        ValueError: the two do not fit each other.
    """

    arg_constraints: Any = {}
    _parameters = {"_mixture_distribution": 0, "_component_distribution": 1}

    def __init__(
        self,
        mixture_distribution: Categorical,
        component_distribution: Distribution,
        validate_args: bool | None = None,
    ):
        self._mixture_distribution = mixture_distribution
        self._component_distribution = component_distribution
        if not isinstance(mixture_distribution, Categorical):
            raise ValueError(
                " The Mixture distribution needs to be an  instance of torch.distributions.Categorical"
            )
        if not isinstance(component_distribution, Distribution):
            raise ValueError(
                "The Component distribution needs to be an instance of torch.distributions.Distribution"
            )
        of_mixture = mixture_distribution.batch_shape
        of_components = component_distribution.batch_shape[:-1]
        for m, c in zip(reversed(of_mixture), reversed(of_components), strict=False):
            if m != 1 and c != 1 and m != c:
                raise ValueError(
                    f"`mixture_distribution.batch_shape` ({of_mixture}) is not compatible with "
                    f"`component_distribution.batch_shape`({of_components})"
                )
        weights = mixture_distribution.logits.shape[-1]
        count = component_distribution.batch_shape[-1]
        if weights != count:
            raise ValueError(
                f"`mixture_distribution component` ({weights}) does not equal "
                f"`component_distribution.batch_shape[-1]` ({count})"
            )
        self._num_component = count
        event_shape = component_distribution.event_shape
        self._event_ndims = len(event_shape)
        super().__init__(of_components, event_shape, validate_args=validate_args)

    @constraints.dependent_property
    def support(self) -> Any:
        return constraints.MixtureSameFamilyConstraint(self._component_distribution.support)

    @property
    def mixture_distribution(self) -> Categorical:
        """What draws the component."""
        return self._mixture_distribution

    @property
    def component_distribution(self) -> Distribution:
        """The components."""
        return self._component_distribution

    def _weights(self) -> Tensor:
        """Probabilities of the components, with dimensions for the batch and the event."""
        probs: Tensor = self.mixture_distribution.probs
        dims = len(self.mixture_distribution.batch_shape)
        more = 0 if dims == 1 else len(self.batch_shape) - dims
        shape = probs.shape
        return probs.reshape((*shape[:-1], *(1,) * more, *shape[-1:], *(1,) * self._event_ndims))

    def _averaged(self, values: Tensor) -> Tensor:
        return (self._weights() * values).sum(-1 - self._event_ndims)

    @property
    def mean(self) -> Tensor:
        return self._averaged(self.component_distribution.mean)

    @property
    def variance(self) -> Tensor:
        within = self._averaged(self.component_distribution.variance)
        off = self.component_distribution.mean - self._pad(self.mean)
        return within + self._averaged(off.pow(2.0))

    def cdf(self, value: Any) -> Tensor:
        below = self.component_distribution.cdf(self._pad(value))
        return (below * self.mixture_distribution.probs).sum(-1)

    def log_prob(self, value: Any) -> Tensor:
        self._check(value)
        of_each = self.component_distribution.log_prob(self._pad(value))
        weights = fn.log_softmax(self.mixture_distribution.logits, dim=-1)
        return fn.logsumexp(of_each + weights, dim=-1)

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        with no_grad():
            dim = len(sample_shape) + len(self.batch_shape)
            chosen = self.mixture_distribution.sample(sample_shape)
            drawn = self.component_distribution.sample(sample_shape)
            wanted = Size(sample_shape) + self.batch_shape + Size([1]) + self.event_shape
            index = chosen.reshape(chosen.shape + Size([1] * (len(self.event_shape) + 1)))
            return fn.gather(drawn, dim, index.expand(wanted).contiguous()).squeeze(dim)

    def _pad(self, x: Any) -> Tensor:
        padded: Tensor = x.unsqueeze(-1 - self._event_ndims)
        return padded

    def __repr__(self) -> str:
        return (
            f"MixtureSameFamily(\n  {self.mixture_distribution},\n  {self.component_distribution})"
        )
