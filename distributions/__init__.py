"""Probability distributions, their constraints, transforms and divergences, by PyTorch's names.

Draws are functions of a generator's seed and of the calls made since: the same on every device and for any
number of threads.
"""

if __name__ != "tilegrad.distributions":
    raise ImportError(
        "import this package as tilegrad.distributions, not as a top-level 'distributions'"
    )

from tilegrad.distributions import (
    constraints as constraints,
    kl_alike as _kl_alike,  # noqa: F401  # which register
    kl_matrices as _kl_matrices,  # noqa: F401
    kl_unlike as _kl_unlike,  # noqa: F401
    transforms as transforms,
)
from tilegrad.distributions.bernoulli import Bernoulli as Bernoulli
from tilegrad.distributions.beta import Beta as Beta
from tilegrad.distributions.binomial import Binomial as Binomial
from tilegrad.distributions.categorical import Categorical as Categorical
from tilegrad.distributions.cauchy import Cauchy as Cauchy
from tilegrad.distributions.chi2 import Chi2 as Chi2
from tilegrad.distributions.constraint_registry import (
    biject_to as biject_to,
    transform_to as transform_to,
)
from tilegrad.distributions.continuous_bernoulli import ContinuousBernoulli as ContinuousBernoulli
from tilegrad.distributions.dirichlet import Dirichlet as Dirichlet
from tilegrad.distributions.distribution import Distribution as Distribution
from tilegrad.distributions.exp_family import ExponentialFamily as ExponentialFamily
from tilegrad.distributions.exponential import Exponential as Exponential
from tilegrad.distributions.fishersnedecor import FisherSnedecor as FisherSnedecor
from tilegrad.distributions.gamma import Gamma as Gamma
from tilegrad.distributions.generalized_pareto import GeneralizedPareto as GeneralizedPareto
from tilegrad.distributions.geometric import Geometric as Geometric
from tilegrad.distributions.gumbel import Gumbel as Gumbel
from tilegrad.distributions.half_cauchy import HalfCauchy as HalfCauchy
from tilegrad.distributions.half_normal import HalfNormal as HalfNormal
from tilegrad.distributions.independent import Independent as Independent
from tilegrad.distributions.inverse_gamma import InverseGamma as InverseGamma
from tilegrad.distributions.kl import kl_divergence as kl_divergence, register_kl as register_kl
from tilegrad.distributions.kumaraswamy import Kumaraswamy as Kumaraswamy
from tilegrad.distributions.laplace import Laplace as Laplace
from tilegrad.distributions.lkj_cholesky import LKJCholesky as LKJCholesky
from tilegrad.distributions.log_normal import LogNormal as LogNormal
from tilegrad.distributions.logistic_normal import LogisticNormal as LogisticNormal
from tilegrad.distributions.lowrank_multivariate_normal import (
    LowRankMultivariateNormal as LowRankMultivariateNormal,
)
from tilegrad.distributions.mixture_same_family import MixtureSameFamily as MixtureSameFamily
from tilegrad.distributions.multinomial import Multinomial as Multinomial
from tilegrad.distributions.multivariate_normal import MultivariateNormal as MultivariateNormal
from tilegrad.distributions.negative_binomial import NegativeBinomial as NegativeBinomial
from tilegrad.distributions.normal import Normal as Normal
from tilegrad.distributions.one_hot_categorical import (
    OneHotCategorical as OneHotCategorical,
    OneHotCategoricalStraightThrough as OneHotCategoricalStraightThrough,
)
from tilegrad.distributions.pareto import Pareto as Pareto
from tilegrad.distributions.poisson import Poisson as Poisson
from tilegrad.distributions.relaxed_bernoulli import RelaxedBernoulli as RelaxedBernoulli
from tilegrad.distributions.relaxed_categorical import (
    RelaxedOneHotCategorical as RelaxedOneHotCategorical,
)
from tilegrad.distributions.studentT import StudentT as StudentT
from tilegrad.distributions.transformed_distribution import (
    TransformedDistribution as TransformedDistribution,
)
from tilegrad.distributions.transforms import (
    AbsTransform as AbsTransform,
    AffineTransform as AffineTransform,
    CatTransform as CatTransform,
    ComposeTransform as ComposeTransform,
    CorrCholeskyTransform as CorrCholeskyTransform,
    CumulativeDistributionTransform as CumulativeDistributionTransform,
    ExpTransform as ExpTransform,
    IndependentTransform as IndependentTransform,
    LowerCholeskyTransform as LowerCholeskyTransform,
    PositiveDefiniteTransform as PositiveDefiniteTransform,
    PowerTransform as PowerTransform,
    ReshapeTransform as ReshapeTransform,
    SigmoidTransform as SigmoidTransform,
    SoftmaxTransform as SoftmaxTransform,
    SoftplusTransform as SoftplusTransform,
    StackTransform as StackTransform,
    StickBreakingTransform as StickBreakingTransform,
    TanhTransform as TanhTransform,
    Transform as Transform,
    identity_transform as identity_transform,
)
from tilegrad.distributions.uniform import Uniform as Uniform
from tilegrad.distributions.von_mises import VonMises as VonMises
from tilegrad.distributions.weibull import Weibull as Weibull
from tilegrad.distributions.wishart import Wishart as Wishart

__all__ = [
    "LKJCholesky",
    "LowRankMultivariateNormal",
    "MultivariateNormal",
    "Wishart",
    "AbsTransform",
    "AffineTransform",
    "Bernoulli",
    "Beta",
    "biject_to",
    "Binomial",
    "Categorical",
    "CatTransform",
    "Cauchy",
    "Chi2",
    "ComposeTransform",
    "ContinuousBernoulli",
    "CorrCholeskyTransform",
    "CumulativeDistributionTransform",
    "Dirichlet",
    "Distribution",
    "Exponential",
    "ExponentialFamily",
    "ExpTransform",
    "FisherSnedecor",
    "Gamma",
    "GeneralizedPareto",
    "Geometric",
    "Gumbel",
    "HalfCauchy",
    "HalfNormal",
    "identity_transform",
    "Independent",
    "IndependentTransform",
    "InverseGamma",
    "kl_divergence",
    "Kumaraswamy",
    "Laplace",
    "LogisticNormal",
    "LogNormal",
    "LowerCholeskyTransform",
    "MixtureSameFamily",
    "Multinomial",
    "NegativeBinomial",
    "Normal",
    "OneHotCategorical",
    "OneHotCategoricalStraightThrough",
    "Pareto",
    "Poisson",
    "PositiveDefiniteTransform",
    "PowerTransform",
    "register_kl",
    "RelaxedBernoulli",
    "RelaxedOneHotCategorical",
    "ReshapeTransform",
    "SigmoidTransform",
    "SoftmaxTransform",
    "SoftplusTransform",
    "StackTransform",
    "StickBreakingTransform",
    "StudentT",
    "TanhTransform",
    "Transform",
    "transform_to",
    "TransformedDistribution",
    "Uniform",
    "VonMises",
    "Weibull",
]
