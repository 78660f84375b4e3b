"""Transforms of parts of a value along a dimension, each by a transform of its own."""

from __future__ import annotations

import functools
import operator
from collections.abc import Sequence
from typing import Any

from tilegrad.autograd import functions as fn
from tilegrad.distributions import constraints
from tilegrad.distributions.transform_base import Transform
from tilegrad.distributions.utils import lazy_property, sum_rightmost


class _Parts(Transform):
    """A transform for each of several parts along ``dim``."""

    def __init__(self, tseq: Sequence[Transform], dim: int = 0, cache_size: int = 0):
        if not all(isinstance(t, Transform) for t in tseq):
            raise AssertionError("All elements of tseq must be Transform instances")
        if cache_size:
            tseq = [t.with_cache(cache_size) for t in tseq]
        super().__init__(cache_size=cache_size)
        self.transforms = list(tseq)
        self.dim = dim

    @property
    def bijective(self) -> bool:  # type: ignore[override]
        """Whether all parts are."""
        return all(t.bijective for t in self.transforms)

    def _size(self) -> int:
        """What there must be along ``dim``."""
        return len(self.transforms)

    def _split(self, value: Any) -> list[Any]:
        """The parts of a value.

        Raises:
            AssertionError: it has no such dimension, or another size there.
        """
        if not -value.dim() <= self.dim < value.dim():
            raise AssertionError(
                f"dim {self.dim} out of range for tensor with {value.dim()} dimensions"
            )
        if value.size(self.dim) != self._size():
            raise AssertionError(
                f"x.size({self.dim}) = {value.size(self.dim)} must equal length {self._size()}"
            )
        return self._parts_of(value)

    def _parts_of(self, value: Any) -> list[Any]:
        return [value.select(self.dim, i) for i in range(len(self.transforms))]

    def _joined(self, parts: list[Any]) -> Any:
        return fn.stack(parts, dim=self.dim)

    def _call(self, x: Any) -> Any:
        pairs = zip(self._split(x), self.transforms, strict=True)
        return self._joined([t(part) for part, t in pairs])

    def _inverse(self, y: Any) -> Any:
        pairs = zip(self._split(y), self.transforms, strict=True)
        return self._joined([t.inv(part) for part, t in pairs])

    def _terms(self, x: Any, y: Any) -> list[Any]:
        triples = zip(self._split(x), self._split(y), self.transforms, strict=True)
        return [t.log_abs_det_jacobian(part, image) for part, image, t in triples]


class StackTransform(_Parts):
    """A transform for each place along ``dim``."""

    def _arguments(self) -> tuple[Any, ...]:
        return self.transforms, self.dim

    @constraints.dependent_property
    def domain(self) -> Any:
        """The parts' domains."""
        return constraints.stack([t.domain for t in self.transforms], self.dim)

    @constraints.dependent_property
    def codomain(self) -> Any:
        """The parts' codomains."""
        return constraints.stack([t.codomain for t in self.transforms], self.dim)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        return fn.stack(self._terms(x, y), dim=self.dim)


class CatTransform(_Parts):
    """A transform for each stretch of ``lengths`` along ``dim``."""

    def __init__(
        self,
        tseq: Sequence[Transform],
        dim: int = 0,
        lengths: Sequence[int] | None = None,
        cache_size: int = 0,
    ):
        super().__init__(tseq, dim, cache_size)
        self.lengths = [1] * len(self.transforms) if lengths is None else list(lengths)
        if len(self.lengths) != len(self.transforms):
            raise AssertionError(
                f"lengths ({len(self.lengths)}) must match transforms ({len(self.transforms)})"
            )

    def _arguments(self) -> tuple[Any, ...]:
        return self.transforms, self.dim, self.lengths

    @lazy_property
    def event_dim(self) -> int:
        """The largest of the parts'."""
        return max(t.event_dim for t in self.transforms)

    @lazy_property
    def length(self) -> int:
        """The sum of the parts' sizes."""
        return sum(self.lengths)

    def _size(self) -> int:
        return int(self.length)

    def _parts_of(self, value: Any) -> list[Any]:
        return list(value.split(self.lengths, self.dim))

    def _joined(self, parts: list[Any]) -> Any:
        return fn.cat(parts, dim=self.dim)

    @constraints.dependent_property
    def domain(self) -> Any:
        """The parts' domains."""
        return constraints.cat([t.domain for t in self.transforms], self.dim, self.lengths)

    @constraints.dependent_property
    def codomain(self) -> Any:
        """The parts' codomains."""
        return constraints.cat([t.codomain for t in self.transforms], self.dim, self.lengths)

    def log_abs_det_jacobian(self, x: Any, y: Any) -> Any:
        terms = [
            sum_rightmost(term, max(self.event_dim - t.event_dim, 0))
            for term, t in zip(self._terms(x, y), self.transforms, strict=True)
        ]
        dim = (self.dim - x.dim() if self.dim >= 0 else self.dim) + self.event_dim
        return fn.cat(terms, dim=dim) if dim < 0 else functools.reduce(operator.add, terms)
