"""One or more distributions of every family, made alike in both libraries, and values to score."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


class Maker:
    """Makes parameters in one of the libraries, and keeps them for gradients."""

    def __init__(self, library: Any, dtype: str = "float64"):
        self.t, self.d = library, library.distributions
        self.dtype = getattr(library, dtype)
        self.leaves: list[Any] = []

    def __call__(self, *values: Any, grad: bool = True) -> Any:
        made = self.t.tensor(list(values), dtype=self.dtype, requires_grad=grad)
        if grad:
            self.leaves.append(made)
        return made


_SQUARE = ((2.0, 0.3, 0.1), (0.3, 1.5, -0.2), (0.1, -0.2, 1.0))
_LOWER = ((1.2, 0.0, 0.0), (0.3, 0.9, 0.0), (-0.4, 0.2, 0.7))
Case = tuple[str, Callable[[Maker], Any], Any]

# title, the distribution, values to score; units of probabilities go to icdf
FAMILIES: list[Case] = [
    ("Bernoulli", lambda m: m.d.Bernoulli(m(0.2, 0.5, 0.9)), (0.0, 1.0, 1.0)),
    ("Bernoulli-logits", lambda m: m.d.Bernoulli(logits=m(-1.5, 0.0, 3.0)), (0.0, 1.0, 1.0)),
    ("Bernoulli-ends", lambda m: m.d.Bernoulli(m(0.0, 1.0)), (0.0, 1.0)),
    ("Beta", lambda m: m.d.Beta(m(0.4, 2.0, 5.0), m(0.7, 3.0, 1.5)), (0.1, 0.5, 0.93)),
    ("Binomial", lambda m: m.d.Binomial(5, m(0.2, 0.5, 0.9)), (0.0, 3.0, 5.0)),
    ("Binomial-logits", lambda m: m.d.Binomial(5, logits=m(-2.0, 0.3, 4.0)), (0.0, 3.0, 5.0)),
    ("Categorical", lambda m: m.d.Categorical(m((0.2, 0.5, 0.3), (3.0, 1.0, 1.0))), (0, 2)),
    ("Categorical-logits", lambda m: m.d.Categorical(logits=m((0.2, -1.5, 0.3), (3.0, 1.0, 1.0))), (1, 2)),
    ("Cauchy", lambda m: m.d.Cauchy(m(0.0, 1.5), m(1.0, 0.3)), (-0.7, 2.0)),
    ("Chi2", lambda m: m.d.Chi2(m(0.7, 3.0, 11.0)), (0.3, 2.0, 9.0)),
    ("ContinuousBernoulli", lambda m: m.d.ContinuousBernoulli(m(0.1, 0.4995, 0.8)), (0.2, 0.5, 0.9)),
    ("ContinuousBernoulli-logits", lambda m: m.d.ContinuousBernoulli(logits=m(-2.0, 0.001, 1.0)), (0.2, 0.5, 0.9)),
    ("Dirichlet", lambda m: m.d.Dirichlet(m((0.5, 1.5, 3.0), (4.0, 2.0, 7.0))), ((0.2, 0.5, 0.3), (0.1, 0.6, 0.3))),
    ("Dirichlet-corner", lambda m: m.d.Dirichlet(m((0.5, 0.8, 0.3), (4.0, 0.5, 7.0))), ((0.2, 0.5, 0.3), (0.1, 0.6, 0.3))),
    ("Exponential", lambda m: m.d.Exponential(m(0.3, 1.0, 5.0)), (0.1, 2.0, 0.5)),
    ("FisherSnedecor", lambda m: m.d.FisherSnedecor(m(1.5, 3.0, 7.0), m(1.0, 3.5, 9.0)), (0.3, 1.0, 2.5)),
    ("Gamma", lambda m: m.d.Gamma(m(0.3, 1.0, 6.0), m(0.5, 2.0, 3.0)), (0.2, 0.6, 2.5)),
    ("GeneralizedPareto", lambda m: m.d.GeneralizedPareto(m(0.1, 0.0, -1.0), m(2.0, 1.0, 0.5), m(0.4, 0.0, -0.3)), (0.4, 1.0, -0.4)),
    ("Geometric", lambda m: m.d.Geometric(m(0.2, 0.5, 1.0)), (0.0, 3.0, 0.0)),
    ("Geometric-logits", lambda m: m.d.Geometric(logits=m(-1.0, 0.5)), (0.0, 3.0)),
    ("Gumbel", lambda m: m.d.Gumbel(m(0.0, 1.5), m(1.0, 0.3)), (-0.7, 2.0)),
    ("HalfCauchy", lambda m: m.d.HalfCauchy(m(1.0, 0.3)), (0.7, 2.0)),
    ("HalfNormal", lambda m: m.d.HalfNormal(m(1.0, 0.3)), (0.7, 0.2)),
    ("Independent", lambda m: m.d.Independent(m.d.Normal(m(0.0, 1.0, 2.0), m(1.0, 0.5, 2.0)), 1), (0.5, 0.7, -1.0)),
    ("InverseGamma", lambda m: m.d.InverseGamma(m(0.7, 1.5, 4.0), m(0.5, 2.0, 3.0)), (0.2, 0.6, 2.5)),
    ("Kumaraswamy", lambda m: m.d.Kumaraswamy(m(0.7, 2.0, 4.0), m(0.5, 3.0, 1.5)), (0.2, 0.6, 0.9)),
    ("Laplace", lambda m: m.d.Laplace(m(0.0, 1.5), m(1.0, 0.3)), (-0.7, 2.0)),
    ("LKJCholesky", lambda m: m.d.LKJCholesky(3, m(0.7, 2.0)), ((1.0, 0.0, 0.0), (0.6, 0.8, 0.0), (0.0, 0.6, 0.8))),
    ("LowRankMultivariateNormal", lambda m: m.d.LowRankMultivariateNormal(
        m(0.0, 1.0, -0.5), m((1.0, 0.2), (0.3, -0.5), (0.1, 0.7)), m(0.5, 1.0, 0.3)), (0.3, 0.7, 0.2)),
    ("MultivariateNormal", lambda m: m.d.MultivariateNormal(m(0.0, 1.0, -0.5), m(*_SQUARE)), (0.3, 0.7, 0.2)),
    ("MultivariateNormal-precision", lambda m: m.d.MultivariateNormal(m(0.0, 1.0, -0.5), precision_matrix=m(*_SQUARE)), (0.3, 0.7, 0.2)),
    ("MultivariateNormal-tril", lambda m: m.d.MultivariateNormal(m((0.0, 1.0, -0.5), (1.0, 2.0, 3.0)), scale_tril=m(*_LOWER)), (0.3, 0.7, 0.2)),
    ("Wishart", lambda m: m.d.Wishart(m(4.5, 7.0), m(*_SQUARE)), _SQUARE),
    ("LogNormal", lambda m: m.d.LogNormal(m(0.0, 0.5), m(1.0, 0.3)), (0.7, 2.0)),
    ("LogisticNormal", lambda m: m.d.LogisticNormal(m(0.0, 0.5), m(1.0, 0.3)), (0.2, 0.5, 0.3)),
    ("LogitRelaxedBernoulli", lambda m: m.d.relaxed_bernoulli.LogitRelaxedBernoulli(m.t.tensor(0.7, dtype=m.dtype), m(0.2, 0.9)), (-0.5, 1.5)),
    ("MixtureSameFamily", lambda m: m.d.MixtureSameFamily(m.d.Categorical(m(0.3, 0.7)), m.d.Normal(m(0.0, 2.0), m(1.0, 0.5))), 0.8),
    ("MixtureSameFamily-vectors", lambda m: m.d.MixtureSameFamily(
        m.d.Categorical(m(0.3, 0.7)), m.d.Independent(m.d.Normal(m((0.0, 2.0), (1.0, 1.0)), m((1.0, 0.5), (0.7, 2.0))), 1)), (0.8, 1.2)),
    ("Multinomial", lambda m: m.d.Multinomial(4, m(0.2, 0.5, 0.3)), (1.0, 2.0, 1.0)),
    ("NegativeBinomial", lambda m: m.d.NegativeBinomial(m(1.0, 3.5, 0.0), m(0.2, 0.5, 0.4)), (2.0, 4.0, 0.0)),
    ("NegativeBinomial-logits", lambda m: m.d.NegativeBinomial(3.0, logits=m(-1.0, 0.5)), (2.0, 4.0)),
    ("Normal", lambda m: m.d.Normal(m(0.0, 1.5), m(1.0, 0.3)), (-0.7, 2.0)),
    ("OneHotCategorical", lambda m: m.d.OneHotCategorical(m((0.2, 0.5, 0.3), (3.0, 1.0, 1.0))), ((0.0, 1.0, 0.0), (0.0, 0.0, 1.0))),
    ("OneHotCategoricalStraightThrough", lambda m: m.d.OneHotCategoricalStraightThrough(m(0.2, 0.5, 0.3)), (0.0, 1.0, 0.0)),
    ("Pareto", lambda m: m.d.Pareto(m(0.5, 1.0, 2.0), m(0.8, 1.5, 3.0)), (0.7, 2.0, 9.0)),
    ("Poisson", lambda m: m.d.Poisson(m(0.3, 2.0, 20.0)), (0.0, 3.0, 17.0)),
    ("RelaxedBernoulli", lambda m: m.d.RelaxedBernoulli(m.t.tensor(0.7, dtype=m.dtype), m(0.2, 0.9)), (0.3, 0.8)),
    ("RelaxedOneHotCategorical", lambda m: m.d.RelaxedOneHotCategorical(m.t.tensor(0.7, dtype=m.dtype), m(0.2, 0.5, 0.3)), (0.2, 0.5, 0.3)),
    ("StudentT", lambda m: m.d.StudentT(m(0.8, 1.5, 5.0), m(0.0, 1.0, -1.0), m(1.0, 2.0, 0.5)), (0.4, 2.0, -3.0)),
    ("TransformedDistribution", lambda m: m.d.TransformedDistribution(
        m.d.Normal(m(0.0, 1.0), m(1.0, 0.5)), [m.d.AffineTransform(0.5, -2.0), m.d.TanhTransform()]), (0.4, -0.2)),
    ("TransformedDistribution-events", lambda m: m.d.TransformedDistribution(
        m.d.Normal(m(0.0, 1.0, 0.3), m(1.0, 0.5, 2.0)), [m.d.StickBreakingTransform()]), (0.4, 0.1, 0.3, 0.2)),
    ("Uniform", lambda m: m.d.Uniform(m(0.0, -1.5), m(1.0, 0.3)), (0.7, 0.2)),
    ("VonMises", lambda m: m.d.VonMises(m(0.0, 1.0, -2.0), m(0.3, 2.0, 40.0)), (0.4, 2.0, -1.8)),
    ("Weibull", lambda m: m.d.Weibull(m(0.5, 1.0, 2.0), m(0.8, 1.5, 3.0)), (0.7, 0.2, 2.5)),
]  # fmt: skip

# parameters that do not satisfy their constraints, or fit each other
REFUSED: list[tuple[str, Callable[[Maker], Any]]] = [
    ("probability", lambda m: m.d.Bernoulli(m(1.2))),
    ("none", lambda m: m.d.Bernoulli()),
    ("both", lambda m: m.d.Bernoulli(m(0.2), m(0.2))),
    ("word", lambda m: m.d.Normal("a", 1.0)),
    ("scale", lambda m: m.d.Normal(m(0.0), m(-1.0))),
    ("nan", lambda m: m.d.Normal(m(float("nan")), m(1.0))),
    ("shapes", lambda m: m.d.Normal(m(0.0, 1.0), m(1.0, 2.0, 3.0))),
    ("low", lambda m: m.d.Uniform(m(1.0), m(0.0))),
    ("simplex", lambda m: m.d.Categorical(m(-0.5, 1.5))),
    ("scalar", lambda m: m.d.Categorical(m.t.tensor(0.5))),
    ("dirichlet", lambda m: m.d.Dirichlet(m.t.tensor(0.5))),
    ("geometric", lambda m: m.d.Geometric(m(0.0))),
    ("count", lambda m: m.d.Binomial(m(1.5, grad=False), m(0.5))),
    ("counts", lambda m: m.d.Multinomial(2.5, m(0.5, 0.5))),
    ("independent", lambda m: m.d.Independent(m.d.Normal(0.0, 1.0), 1)),
    ("transform", lambda m: m.d.TransformedDistribution(m.d.Normal(0.0, 1.0), 3)),
    ("transforms", lambda m: m.d.TransformedDistribution(m.d.Normal(0.0, 1.0), [3])),
    ("event", lambda m: m.d.TransformedDistribution(m.d.Normal(0.0, 1.0), m.d.StickBreakingTransform())),
    ("mixture", lambda m: m.d.MixtureSameFamily(m.d.Categorical(m(0.5, 0.5)), m.d.Normal(m(0.0, 1.0, 2.0), 1.0))),
    ("no mixture", lambda m: m.d.MixtureSameFamily(m.d.Normal(m(0.0), 1.0), m.d.Normal(m(0.0), 1.0))),
    ("continuous", lambda m: m.d.ContinuousBernoulli(m(1.2), validate_args=True)),
    ("value", lambda m: m.d.Normal(0.0, 1.0).log_prob(3.0)),
    ("support", lambda m: m.d.Bernoulli(m(0.5)).log_prob(m(0.5))),
    ("size", lambda m: m.d.Normal(m(0.0, 1.0), 1.0).log_prob(m(1.0, 2.0, 3.0))),
    ("event size", lambda m: m.d.Dirichlet(m(1.0, 1.0)).log_prob(m(0.2, 0.3, 0.5))),
    ("outside", lambda m: m.d.Uniform(m(0.0), m(1.0)).log_prob(m(2.0))),
    ("rsample", lambda m: m.d.Bernoulli(m(0.5)).rsample()),
    ("no cdf", lambda m: m.d.Poisson(m(0.5)).cdf(m(1.0))),
    ("no divergence", lambda m: m.d.kl_divergence(m.d.Normal(0.0, 1.0), m.d.Cauchy(0.0, 1.0))),
    ("binomials", lambda m: m.d.kl_divergence(m.d.Binomial(2, m(0.5)), m.d.Binomial(3, m(0.5)))),
    ("inhomogeneous", lambda m: m.d.Binomial(m(2.0, 3.0, grad=False), m(0.5)).enumerate_support()),
    ("no kl", lambda m: m.d.register_kl(3, m.d.Normal)),
    ("cache", lambda m: m.d.ExpTransform(cache_size=2)),
    ("registry", lambda m: m.d.biject_to(m.d.constraints.boolean)),
    ("dependent", lambda m: m.d.constraints.dependent.check(3)),
]  # fmt: skip
