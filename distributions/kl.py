"""The divergence of Kullback and Leibler: which function computes it for two families."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

from tilegrad.autograd.tensor import Tensor
from tilegrad.distributions.distribution import Distribution

__all__ = ["kl_divergence", "register_kl"]

Divergence = Callable[[Any, Any], Tensor]
_registry: dict[tuple[type, type], Divergence] = {}
_found: dict[tuple[type, type], Divergence | None] = {}


def register_kl(type_p: Any, type_q: Any) -> Callable[[Divergence], Divergence]:
    """A decorator: ``function(p, q)`` computes the divergence of these families and those derived from them.

    Raises:
        TypeError: one is no class of distributions.
    """
    for name, kind in (("type_p", type_p), ("type_q", type_q)):
        if not (isinstance(kind, type) and issubclass(kind, Distribution)):
            raise TypeError(f"Expected {name} to be a Distribution subclass but got {kind}")

    def decorator(function: Divergence) -> Divergence:
        _registry[type_p, type_q] = function
        _found.clear()
        return function

    return decorator


def _nearest(matches: list[tuple[type, type]], first: int) -> tuple[type, type]:
    """The most derived pair, by the class in place ``first`` before the other."""
    best = matches[0]
    for match in matches[1:]:
        for k in (first, 1 - first):
            if match[k] is not best[k]:
                if issubclass(match[k], best[k]):
                    best = match
                break
    return best


def _dispatch(type_p: type, type_q: type) -> Divergence | None:
    """The function registered for the nearest classes above these; None if there is none."""
    matches = [(p, q) for p, q in _registry if issubclass(type_p, p) and issubclass(type_q, q)]
    if not matches:
        return None
    left, right = _nearest(matches, 0), _nearest(matches, 1)
    if _registry[left] is not _registry[right]:
        warnings.warn(
            f"Ambiguous kl_divergence({type_p.__name__}, {type_q.__name__}). Please "
            f"register_kl({left[0].__name__}, {right[1].__name__})",
            RuntimeWarning,
            stacklevel=3,
        )
    return _registry[left]


def kl_divergence(p: Distribution, q: Distribution) -> Tensor:
    """The mean of ``log(p(x) / q(x))`` over draws of ``p``, of the batches' common shape.

    Raises:
        NotImplementedError: no function is registered for these families.
    """
    key = (type(p), type(q))
    if key not in _found:
        _found[key] = _dispatch(*key)
    function = _found[key]
    if function is None:
        raise NotImplementedError(
            f"No KL(p || q) is implemented for p type {p.__class__.__name__} and q type {q.__class__.__name__}"
        )
    return function(p, q)
