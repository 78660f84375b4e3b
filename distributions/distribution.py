"""The base of distributions, and how they are checked, expanded and shown."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar

from tilegrad.autograd import functions as fn
from tilegrad.autograd.mode import no_grad
from tilegrad.autograd.size import Size
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions import constraints
from tilegrad.distributions.utils import (
    Shape,
    lazy_property,
    logits_to_probs,
    probs_to_logits,
)

__all__ = ["Distribution"]


class Distribution:
    """A probability distribution over events of ``event_shape``, in batches of ``batch_shape``.

    Args:
        batch_shape: shape of the parameters.
        event_shape: shape of one draw, of one element of the batch.
        validate_args: whether parameters and values are checked (by default as
            :meth:`set_default_validate_args` said).

    Raises:
        ValueError: a parameter does not satisfy its constraint.
    """

    has_rsample: Any = False
    has_enumerate_support: Any = False
    _validate_args = __debug__
    # parameters that are kept over the batch (tensors, distributions), with the dimensions of an event
    _parameters: ClassVar[dict[str, int]] = {}

    @staticmethod
    def set_default_validate_args(value: bool) -> None:
        """Whether distributions check what they are given, where they are not told."""
        if value not in [True, False]:
            raise ValueError(f"set_default_validate_args: value must be a bool; got {value}")
        Distribution._validate_args = value

    def __init__(
        self,
        batch_shape: Shape = (),
        event_shape: Shape = (),
        validate_args: bool | None = None,
    ):
        self._batch_shape = Size(batch_shape)
        self._event_shape = Size(event_shape)
        if validate_args is not None:
            self._validate_args = validate_args
        if self._validate_args:
            self._validate_parameters()
        super().__init__()

    def _validate_parameters(self) -> None:
        try:
            wanted = self.arg_constraints
        except NotImplementedError:
            wanted = {}
            warnings.warn(
                f"{self.__class__} does not define `arg_constraints`. Please set `arg_constraints = {{}}` "
                f"or initialize the distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
        for name, constraint in wanted.items():
            if constraints.is_dependent(constraint):
                continue
            lazy = isinstance(getattr(type(self), name, None), lazy_property)
            if lazy and name not in self.__dict__:
                continue
            value = getattr(self, name)
            if not bool(constraint.check(value).all().item()):
                raise ValueError(
                    f"Expected parameter {name} ({type(value).__name__} of shape {tuple(value.shape)}) of "
                    f"distribution {self!r} to satisfy the constraint {constraint!r}, but found invalid "
                    f"values:\n{value}"
                )

    # ------------------------------------------------------------------------------------ shapes

    @property
    def batch_shape(self) -> Size:
        """The shape of the parameters."""
        return self._batch_shape

    @property
    def event_shape(self) -> Size:
        """The shape of one draw."""
        return self._event_shape

    def expand(self, batch_shape: Shape, _instance: Any = None) -> Any:
        """The distribution whose parameters are expanded to ``batch_shape``; shares their memory.

        Raises:
            NotImplementedError: a subclass with parameters of its own has no ``expand`` of its own.
        """
        if not self._parameters:
            raise NotImplementedError(f"{type(self).__name__}: expand is not implemented")
        new = self._get_checked_instance(self._family(), _instance)
        self._expand_into(new, Size(batch_shape))
        return new

    def _family(self) -> type:
        """The class of this library that the distribution is, or is derived from."""
        return next(
            c for c in type(self).__mro__ if c.__module__.startswith("tilegrad.distributions")
        )

    def _expand_into(self, new: Any, batch_shape: Size) -> None:
        """Give ``new`` what this distribution has, its parameters over ``batch_shape``."""
        for name, value in self.__dict__.items():
            dims = self._parameters.get(name)
            if dims is not None:
                shape = value.shape if isinstance(value, Tensor) else value.batch_shape
                new.__dict__[name] = value.expand(batch_shape + shape[len(shape) - dims :])
            elif not isinstance(getattr(type(self), name, None), lazy_property):
                new.__dict__.setdefault(name, value)
        new._batch_shape = batch_shape

    def _get_checked_instance(self, cls: Any, _instance: Any = None) -> Any:
        if _instance is None and type(self).__init__ != cls.__init__:
            raise NotImplementedError(
                f"Subclass {self.__class__.__name__} of {cls.__name__} that defines a custom __init__ "
                f"method must also define a custom .expand() method."
            )
        return self.__new__(type(self)) if _instance is None else _instance

    def _extended_shape(self, sample_shape: Shape = ()) -> Size:
        """The shape of a sample of ``sample_shape``."""
        return Size(sample_shape) + self._batch_shape + self._event_shape

    # -------------------------------------------------------------------------- what families say

    @property
    def arg_constraints(self) -> Any:
        """Constraints by names of parameters."""
        raise NotImplementedError(f"{type(self).__name__}: arg_constraints")

    @property
    def support(self) -> Any:
        """Where draws lie."""
        raise NotImplementedError(f"{type(self).__name__}: support")

    @property
    def mean(self) -> Tensor:
        """The mean."""
        raise NotImplementedError(f"{type(self).__name__}: mean")

    @property
    def mode(self) -> Tensor:
        """Where the density is largest."""
        raise NotImplementedError(f"{self.__class__} does not implement mode")

    @property
    def variance(self) -> Tensor:
        """The variance."""
        raise NotImplementedError(f"{type(self).__name__}: variance")

    @property
    def stddev(self) -> Tensor:
        """The standard deviation."""
        return self.variance.sqrt()

    def sample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws of ``sample_shape + batch_shape + event_shape``, without a gradient."""
        with no_grad():
            return self.rsample(sample_shape)

    def rsample(self, sample_shape: Shape = ()) -> Tensor:
        """Draws through which gradients flow to the parameters."""
        raise NotImplementedError(f"{type(self).__name__}: rsample")

    def sample_n(self, n: int) -> Tensor:
        """``n`` draws; an older spelling of ``sample((n,))``."""
        warnings.warn(
            "`sample_n(n)` will be deprecated. Use `sample((n,))` instead.",
            FutureWarning,
            stacklevel=2,
        )
        return self.sample((n,))

    def log_prob(self, value: Any) -> Tensor:
        """The logarithm of the density, or of the probability, at ``value``."""
        raise NotImplementedError(f"{type(self).__name__}: log_prob")

    def cdf(self, value: Any) -> Tensor:
        """The probability of a draw up to ``value``."""
        raise NotImplementedError(f"{type(self).__name__}: cdf")

    def icdf(self, value: Any) -> Tensor:
        """The inverse of :meth:`cdf`."""
        raise NotImplementedError(f"{type(self).__name__}: icdf")

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """All values of a discrete distribution along a first dimension; ``expand``: over the batch."""
        raise NotImplementedError(f"{type(self).__name__}: enumerate_support")

    def entropy(self) -> Tensor:
        """The entropy in nats, of the batch's shape."""
        raise NotImplementedError(f"{type(self).__name__}: entropy")

    def perplexity(self) -> Tensor:
        """The exponential of the entropy."""
        return fn.exp(self.entropy())

    # ------------------------------------------------------------------------------------ checks

    def _check(self, value: Any) -> None:
        """Refuse values outside the support, unless validation is off."""
        if self._validate_args:
            self._validate_sample(value)

    def _validate_sample(self, value: Any) -> None:
        if not isinstance(value, Tensor):
            raise ValueError("The value argument to log_prob must be a Tensor")
        start = value.dim() - len(self._event_shape)
        if value.shape[max(start, 0) :] != self._event_shape:
            raise ValueError(
                f"The right-most size of value must match event_shape: {value.shape} vs {self._event_shape}."
            )
        wanted = self._batch_shape + self._event_shape
        for i, j in zip(reversed(value.shape), reversed(wanted), strict=False):
            if i != 1 and j != 1 and i != j:
                raise ValueError(
                    f"Value is not broadcastable with batch_shape+event_shape: {value.shape} vs {wanted}."
                )
        try:
            support = self.support
        except NotImplementedError:
            warnings.warn(
                f"{self.__class__} does not define `support` to enable sample validation. Please initialize "
                f"the distribution with `validate_args=False` to turn off validation.",
                stacklevel=3,
            )
            return
        if not bool(support.check(value).all().item()):
            raise ValueError(
                f"Expected value argument ({type(value).__name__} of shape {tuple(value.shape)}) to be within "
                f"the support ({support!r}) of the distribution {self!r}, but found invalid values:\n{value}"
            )

    def __repr__(self) -> str:
        held = {k: self.__dict__[k] for k in self.arg_constraints if k in self.__dict__}
        words = [f"{k}: {v if v.numel() == 1 else v.size()}" for k, v in held.items()]
        return f"{self.__class__.__name__}({', '.join(words)})"


class Binary(Distribution):
    """A distribution over a probability that is given as ``probs`` or as ``logits``.

    The other of the two is worked out when it is asked for.
    """

    _binary = True

    def _choose(self, probs: Any, logits: Any) -> str:
        """The name of the one that is given.

        Raises:
            ValueError: none or both are.
        """
        if (probs is None) == (logits is None):
            raise ValueError("Either `probs` or `logits` must be specified, but not both.")
        self._chosen = "logits" if probs is None else "probs"
        return self._chosen

    @property
    def _param(self) -> Tensor:
        param: Tensor = self.__dict__[self._chosen]
        return param

    @property
    def param_shape(self) -> Size:
        """The shape of the parameter that was given."""
        return self._param.shape

    def _new(self, *args: Any, **kwargs: Any) -> Tensor:
        return self._param.new_empty(*args, **kwargs)

    @lazy_property
    def logits(self) -> Tensor:
        """log(p / (1 - p)), or log p of each event."""
        return probs_to_logits(self.probs, is_binary=self._binary)

    @lazy_property
    def probs(self) -> Tensor:
        """The probability, or those of each event."""
        return logits_to_probs(self.logits, is_binary=self._binary)
