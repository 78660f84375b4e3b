"""Regions in which parameters and draws lie, and how values are checked against them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions.utils import linalg
from tilegrad.engine.dtype import bool_, finfo

__all__ = [
    "Constraint", "MixtureSameFamilyConstraint", "boolean", "cat", "corr_cholesky", "dependent",
    "dependent_property", "greater_than", "greater_than_eq", "half_open_interval", "independent",
    "integer_interval", "interval", "is_dependent", "less_than", "lower_cholesky", "lower_triangular",
    "multinomial", "nonnegative", "nonnegative_integer", "one_hot", "positive", "positive_definite",
    "positive_integer", "positive_semidefinite", "real", "real_vector", "simplex", "square", "stack",
    "symmetric", "unit_interval",
]  # fmt: skip


class Constraint:
    """A region.

    Attributes:
        is_discrete: whether it consists of separate points.
        event_dim: how many of the last dimensions are one event, which :meth:`check` answers for.
    """

    is_discrete: Any = False
    event_dim: Any = 0
    _bounds: tuple[str, ...] = ()  # attributes that its repr shows

    def check(self, value: Any) -> Tensor:
        """Which events of ``value`` lie within: bools of its shape less ``event_dim`` dimensions."""
        raise NotImplementedError(f"{type(self).__name__}: check")

    def __repr__(self) -> str:
        shown = ", ".join([f"{name}={getattr(self, name)}" for name in self._bounds])
        return f"{self.__class__.__name__[1:]}({shown})"


class _Dependent(Constraint):
    """Stands for a region that depends on other values, so that nothing can be checked."""

    def __init__(self, *, is_discrete: Any = NotImplemented, event_dim: Any = NotImplemented):
        self._is_discrete = is_discrete
        self._event_dim = event_dim
        super().__init__()

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        """Whether the region consists of separate points, where that is known."""
        return bool(self._known(self._is_discrete, "is_discrete"))

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        """Dimensions of an event, where that is known."""
        return int(self._known(self._event_dim, "event_dim"))

    @staticmethod
    def _known(value: Any, name: str) -> Any:
        if value is NotImplemented:
            raise NotImplementedError(f".{name} cannot be determined statically")
        return value

    def __call__(
        self, *, is_discrete: Any = NotImplemented, event_dim: Any = NotImplemented
    ) -> _Dependent:
        """The same with what is known of it."""
        if is_discrete is NotImplemented:
            is_discrete = self._is_discrete
        if event_dim is NotImplemented:
            event_dim = self._event_dim
        return _Dependent(is_discrete=is_discrete, event_dim=event_dim)

    def check(self, value: Any) -> Tensor:
        raise ValueError("Cannot determine validity of dependent constraint")


def is_dependent(constraint: Any) -> bool:
    """Whether the constraint depends on other values."""
    return isinstance(constraint, _Dependent)


class _DependentProperty(property, _Dependent):
    """A property of distributions that counts as a dependent constraint when asked of their class."""

    def __init__(
        self,
        fn: Callable[..., Any] | None = None,
        *,
        is_discrete: Any = NotImplemented,
        event_dim: Any = NotImplemented,
    ):
        super().__init__(fn)
        self._is_discrete = is_discrete
        self._event_dim = event_dim

    def __call__(self, fn: Callable[..., Any]) -> _DependentProperty:  # type: ignore[override]
        """The property of ``fn``, with what was said of it: for use as a decorator with arguments."""
        return _DependentProperty(fn, is_discrete=self._is_discrete, event_dim=self._event_dim)


def _of_rows(result: Tensor, dims: int, value: Tensor, event_dim: int) -> Tensor:
    """Whether all of the last ``dims`` dimensions of ``result`` hold.

    Raises:
        ValueError: there are fewer.
    """
    if result.dim() < dims:
        raise ValueError(f"Expected value.dim() >= {event_dim} but got {value.dim()}")
    return result.reshape((*result.shape[: result.dim() - dims], -1)).all(-1)


class _IndependentConstraint(Constraint):
    """A region whose last dimensions of the batch count as part of the event."""

    def __init__(self, base_constraint: Any, reinterpreted_batch_ndims: int):
        _expect(isinstance(base_constraint, Constraint), "base_constraint must be a Constraint")
        _expect(
            isinstance(reinterpreted_batch_ndims, int), "reinterpreted_batch_ndims must be an int"
        )
        _expect(reinterpreted_batch_ndims >= 0, "reinterpreted_batch_ndims must be >= 0")
        self.base_constraint = base_constraint
        self.reinterpreted_batch_ndims = reinterpreted_batch_ndims
        super().__init__()

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        """As the region of one element."""
        return bool(self.base_constraint.is_discrete)

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        """Dimensions of an event."""
        return int(self.base_constraint.event_dim) + self.reinterpreted_batch_ndims

    def check(self, value: Any) -> Tensor:
        result = self.base_constraint.check(value)
        return _of_rows(result, self.reinterpreted_batch_ndims, value, self.event_dim)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__[1:]}({self.base_constraint!r}, {self.reinterpreted_batch_ndims})"


def _expect(holds: bool, rule: str) -> None:
    if not holds:
        raise AssertionError(rule)


class MixtureSameFamilyConstraint(Constraint):
    """Values that every component of a mixture may take."""

    def __init__(self, base_constraint: Any):
        _expect(isinstance(base_constraint, Constraint), "base_constraint must be a Constraint")
        self.base_constraint = base_constraint
        super().__init__()

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        """As the components'."""
        return bool(self.base_constraint.is_discrete)

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        """As the components'."""
        return int(self.base_constraint.event_dim)

    def check(self, value: Any) -> Tensor:
        result = self.base_constraint.check(value.unsqueeze(-1 - self.event_dim))
        kept = value.dim() - self.event_dim
        if kept < 0:
            raise ValueError(f"Expected value.dim() >= {self.event_dim} but got {value.dim()}")
        return _of_rows(result, result.dim() - kept, value, self.event_dim)

    def __repr__(self) -> str:
        return f"{self.__class__.__name__}({self.base_constraint!r})"


class _Boolean(Constraint):
    """0 and 1."""

    is_discrete = True

    def check(self, value: Any) -> Tensor:
        return (value == 0) | (value == 1)


class _OneHot(Constraint):
    """Vectors of zeros and a single one."""

    is_discrete = True
    event_dim = 1

    def check(self, value: Any) -> Tensor:
        return ((value == 0) | (value == 1)).all(-1) & (value.sum(-1) == 1)


class _IntegerInterval(Constraint):
    """Integers in [lower_bound, upper_bound]."""

    is_discrete = True
    _bounds = ("lower_bound", "upper_bound")

    def __init__(self, lower_bound: Any, upper_bound: Any):
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        super().__init__()

    def check(self, value: Any) -> Tensor:
        return (value % 1 == 0) & (self.lower_bound <= value) & (value <= self.upper_bound)


class _IntegerGreaterThan(Constraint):
    """Integers from lower_bound on."""

    is_discrete = True
    _bounds = ("lower_bound",)

    def __init__(self, lower_bound: Any):
        self.lower_bound = lower_bound
        super().__init__()

    def check(self, value: Any) -> Tensor:
        return (value % 1 == 0) & (value >= self.lower_bound)


class _Real(Constraint):
    """[-inf, inf]: all but NaN."""

    def check(self, value: Any) -> Tensor:
        held: Tensor = value == value
        return held


class _GreaterThan(Constraint):
    """(lower_bound, inf]"""

    _bounds = ("lower_bound",)

    def __init__(self, lower_bound: Any):
        self.lower_bound = lower_bound
        super().__init__()

    def check(self, value: Any) -> Tensor:
        held: Tensor = self.lower_bound < value
        return held


class _GreaterThanEq(Constraint):
    """[lower_bound, inf]"""

    _bounds = ("lower_bound",)

    def __init__(self, lower_bound: Any):
        self.lower_bound = lower_bound
        super().__init__()

    def check(self, value: Any) -> Tensor:
        held: Tensor = self.lower_bound <= value
        return held


class _LessThan(Constraint):
    """[-inf, upper_bound)"""

    _bounds = ("upper_bound",)

    def __init__(self, upper_bound: Any):
        self.upper_bound = upper_bound
        super().__init__()

    def check(self, value: Any) -> Tensor:
        held: Tensor = value < self.upper_bound
        return held


class _Interval(Constraint):
    """[lower_bound, upper_bound]"""

    _bounds = ("lower_bound", "upper_bound")

    def __init__(self, lower_bound: Any, upper_bound: Any):
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        super().__init__()

    def check(self, value: Any) -> Tensor:
        return (self.lower_bound <= value) & (value <= self.upper_bound)


class _HalfOpenInterval(Constraint):
    """[lower_bound, upper_bound)"""

    _bounds = ("lower_bound", "upper_bound")

    def __init__(self, lower_bound: Any, upper_bound: Any):
        self.lower_bound = lower_bound
        self.upper_bound = upper_bound
        super().__init__()

    def check(self, value: Any) -> Tensor:
        return (self.lower_bound <= value) & (value < self.upper_bound)


class _Simplex(Constraint):
    """Vectors of non-negative numbers whose sum is 1, to 1e-6."""

    event_dim = 1

    def check(self, value: Any) -> Tensor:
        return (value >= 0).all(dim=-1) & ((value.sum(-1) - 1).abs() < 1e-6)


class _Multinomial(Constraint):
    """Vectors of counts whose sum is at most upper_bound."""

    is_discrete = True
    event_dim = 1

    def __init__(self, upper_bound: Any):
        self.upper_bound = upper_bound

    def check(self, value: Any) -> Tensor:
        return (value >= 0).all(dim=-1) & (value.sum(dim=-1) <= self.upper_bound)


class _LowerTriangular(Constraint):
    """Matrices with zeros above the diagonal."""

    event_dim = 2

    def check(self, value: Any) -> Tensor:
        return (value.tril() == value).reshape((*value.shape[:-2], -1)).all(-1)


class _LowerCholesky(_LowerTriangular):
    """Lower-triangular matrices with a positive diagonal."""

    def check(self, value: Any) -> Tensor:
        return super().check(value) & (value.diagonal(dim1=-2, dim2=-1) > 0).all(-1)


class _CorrCholesky(_LowerCholesky):
    """Cholesky factors of correlation matrices: rows of length 1, to 10 n epsilons."""

    def check(self, value: Any) -> Tensor:
        tolerance = finfo(value.dtype).eps * value.size(-1) * 10
        length = (value.detach() ** 2).sum(-1).sqrt()
        return super().check(value) & ((length - 1.0).abs() <= tolerance).all(dim=-1)


class _Square(Constraint):
    """Square matrices."""

    event_dim = 2

    def check(self, value: Any) -> Tensor:
        square = value.shape[-2] == value.shape[-1]
        return fn.full(value.shape[:-2], square, dtype=bool_, device=value.device)


class _Symmetric(_Square):
    """Symmetric matrices, to 1e-6."""

    def check(self, value: Any) -> Tensor:
        square = super().check(value)
        if not square.all():
            return square
        return fn.isclose(value, value.mT, atol=1e-6).all(-2).all(-1)


class _PositiveSemidefinite(_Symmetric):
    """Symmetric matrices without negative eigenvalues."""

    def check(self, value: Any) -> Tensor:
        symmetric = super().check(value)
        if not symmetric.all():
            return symmetric
        found: Tensor = (linalg().eigvalsh(value) >= 0).all(-1)
        return found


class _PositiveDefinite(_Symmetric):
    """Symmetric matrices that have a Cholesky factor."""

    def check(self, value: Any) -> Tensor:
        symmetric = super().check(value)
        if not symmetric.all():
            return symmetric
        found: Tensor = linalg().cholesky_ex(value).info == 0
        return found


class _Joined(Constraint):
    """A region for each part of a value along a dimension."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0):
        _expect(
            all(isinstance(c, Constraint) for c in cseq),
            "All elements of cseq must be Constraint instances",
        )
        self.cseq = list(cseq)
        self.dim = dim
        super().__init__()

    @property
    def is_discrete(self) -> bool:  # type: ignore[override]
        """Whether any part's is."""
        return any(c.is_discrete for c in self.cseq)

    def _in_range(self, value: Any) -> None:
        _expect(
            -value.dim() <= self.dim < value.dim(),
            f"dim {self.dim} out of range for value with {value.dim()} dimensions",
        )


class _Cat(_Joined):
    """Parts of sizes ``lengths`` along ``dim``, as ``cat`` puts them together."""

    def __init__(self, cseq: Sequence[Constraint], dim: int = 0, lengths: Any = None):
        super().__init__(cseq, dim)
        self.lengths = [1] * len(self.cseq) if lengths is None else list(lengths)
        _expect(
            len(self.lengths) == len(self.cseq),
            f"lengths ({len(self.lengths)}) must match cseq ({len(self.cseq)})",
        )

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        """The largest of the parts'."""
        return max(c.event_dim for c in self.cseq)

    def check(self, value: Any) -> Tensor:
        self._in_range(value)
        checks, start = [], 0
        for constraint, length in zip(self.cseq, self.lengths, strict=True):
            checks.append(constraint.check(value.narrow(self.dim, start, length)))
            start += length
        return fn.cat(checks, self.dim)


class _Stack(_Joined):
    """A part for each place along ``dim``, as ``stack`` puts them together."""

    @property
    def event_dim(self) -> int:  # type: ignore[override]
        """The largest of the parts', and one more where ``dim`` lies within the event."""
        most = max(c.event_dim for c in self.cseq)
        return int(most + 1 if self.dim + most < 0 else most)

    def check(self, value: Any) -> Tensor:
        self._in_range(value)
        parts = [value.select(self.dim, i) for i in range(value.size(self.dim))]
        checks = [c.check(v) for v, c in zip(parts, self.cseq, strict=False)]
        return fn.stack(checks, self.dim)


dependent = _Dependent()
dependent_property = _DependentProperty
independent = _IndependentConstraint
boolean = _Boolean()
one_hot = _OneHot()
nonnegative_integer = _IntegerGreaterThan(0)
positive_integer = _IntegerGreaterThan(1)
integer_interval = _IntegerInterval
real = _Real()
real_vector = independent(real, 1)
positive = _GreaterThan(0.0)
nonnegative = _GreaterThanEq(0.0)
greater_than = _GreaterThan
greater_than_eq = _GreaterThanEq
less_than = _LessThan
multinomial = _Multinomial
unit_interval = _Interval(0.0, 1.0)
interval = _Interval
half_open_interval = _HalfOpenInterval
simplex = _Simplex()
lower_triangular = _LowerTriangular()
lower_cholesky = _LowerCholesky()
corr_cholesky = _CorrCholesky()
square = _Square()
symmetric = _Symmetric()
positive_semidefinite = _PositiveSemidefinite()
positive_definite = _PositiveDefinite()
cat = _Cat
stack = _Stack
