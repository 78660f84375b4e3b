"""Dropout, and sampling from given probabilities."""

from __future__ import annotations

import math

from tilegrad.autograd.annotations import Tensor
from tilegrad.autograd.base import tensor_of
from tilegrad.autograd.graph import Node
from tilegrad.autograd.rule import Rule
from tilegrad.autograd.rules.creation import zeros_like
from tilegrad.autograd.rules.view import reshape, squeeze, unsqueeze
from tilegrad.engine import dtype as dt
from tilegrad.engine.array import Array
from tilegrad.engine.ops import elementwise, random as ops, sort as sorting
from tilegrad.engine.random import Generator, source_of

__all__ = ["multinomial"]


def _dropout_vjp(node: Node, grad: Tensor) -> tuple[Tensor | None, ...]:
    return (_DROPOUT.run(grad, params=node.meta["params"]),)


_DROPOUT = Rule(ops.dropout, _dropout_vjp)


def dropout(
    input: Tensor,
    p: float = 0.5,
    training: bool = True,
    inplace: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """``input * 0`` with probability ``p``, else ``input / (1 - p)``; ``input`` itself if not
    ``training``. NaN stays NaN, a dropped infinity becomes it. What is no float can be dropped as a whole alone.

    Gradient: of ``input``. Nothing is saved but the place of the random numbers, which are drawn
    again.

    Raises:
        ValueError: ``p`` outside [0, 1].
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"dropout: probability has to be between 0 and 1, but got {p}")
    if not training or p == 0.0 or not input.layout.numel:
        return input
    if p == 1.0 and not input.layout.dtype.is_floating_point:  # numbers that nothing scales
        zeros = zeros_like(input)
        return input.mul_(zeros) if inplace else input * zeros
    source = source_of(generator)
    place = source.reserve(-(-input.layout.numel // 4))
    scale = 1.0 / (1.0 - p) if p < 1.0 else 0.0
    made = _DROPOUT.run(input, params=(*place, ops.threshold(p), scale))
    return input.copy_(made) if inplace else made


def feature_dropout(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """As :func:`dropout`, whole channels (everything behind the second dimension) at once."""
    if not training or p == 0.0:
        return dropout(input, p, training)
    kind = input.layout
    shape = kind.shape[:2] + (1,) * (kind.ndim - 2)
    ones = tensor_of(elementwise.full(shape, 1, kind.dtype, kind.device))
    made = input * dropout(ones, p)
    return input.copy_(made) if inplace else made


def dropout1d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Whole channels zeroed; (N, C, L) or (C, L).

    Raises:
        RuntimeError: another number of dimensions.
    """
    if input.ndim not in (2, 3):
        raise RuntimeError(
            f"dropout1d: Expected 2D or 3D input, but received a {input.ndim}D input"
        )
    return _unbatched(input, 2, p, training, inplace)


def dropout2d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Whole channels zeroed; (N, C, H, W) or (N, C, L)."""
    return feature_dropout(input, p, training, inplace)


def dropout3d(
    input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False
) -> Tensor:
    """Whole channels zeroed; (N, C, D, H, W) or (C, D, H, W)."""
    return _unbatched(input, 4, p, training, inplace)


def _unbatched(x: Tensor, ndim: int, p: float, training: bool, inplace: bool) -> Tensor:
    if x.ndim != ndim:
        return feature_dropout(x, p, training, inplace)
    return squeeze(feature_dropout(unsqueeze(x, 0), p, training, inplace), 0)


# ------------------------------------------------------------------------------------ multinomial

# keeps the largest uniform number so far from 1 that its product stays below the total
_BELOW_ONE = 1.0 - 2.0**-40


def multinomial(
    input: Tensor,
    num_samples: int,
    replacement: bool = False,
    *,
    generator: Generator | None = None,
) -> Tensor:
    """Indices drawn with the weights in each row of ``input``, which need not sum to 1.

    With replacement by inverting the cumulative sum; without, the largest of weight / e with
    exponential e, which are ``num_samples`` draws one after the other.

    Args:
        input: (N,) or (M, N) floating-point weights.

    Returns:
        (num_samples,) or (M, num_samples), int64.

    Raises:
        RuntimeError: weights that are negative or not finite, or too few positive ones.
    """
    kind = input.layout
    if not kind.dtype.is_floating_point or kind.ndim not in (1, 2):
        raise RuntimeError(
            f"multinomial: input must be 1-D or 2-D and floating point; got {kind.describe()}"
        )
    if num_samples <= 0:
        raise RuntimeError(f"multinomial: cannot sample n_sample <= 0 samples; got {num_samples}")
    if not replacement and num_samples > kind.shape[-1]:
        raise RuntimeError(
            f"multinomial: cannot sample n_sample > prob_dist.size(-1) samples without "
            f"replacement; got {num_samples} of {kind.shape[-1]}"
        )
    weights = input.detach().to(dt.float64)
    if kind.numel:
        low, high = weights.amin().item(), weights.amax().item()
        if not (low >= 0 and high < math.inf):
            raise RuntimeError(
                "multinomial: probability tensor contains either `inf`, `nan` or element < 0"
            )
    rows = reshape(weights, (-1, kind.shape[-1]))
    drawn = (_replaced if replacement else _kept)(rows, num_samples, generator)
    return reshape(tensor_of(drawn), (*kind.shape[:-1], num_samples))


def _replaced(weights: Tensor, count: int, generator: Generator | None) -> Array:
    sums = weights.cumsum(-1)
    total = sums.narrow(-1, weights.shape[-1] - 1, 1)
    if not (total > 0).all().item():
        raise RuntimeError(
            "multinomial: invalid multinomial distribution (sum of probabilities <= 0)"
        )
    kind = weights.layout
    shape = (kind.shape[0], count)
    u = ops.draw("uniform", shape, kind.dtype, kind.device, (0.0, _BELOW_ONE), generator)
    sought = tensor_of(u) * total
    return sorting.searchsorted("multinomial", sums, sought, True)


def _kept(weights: Tensor, count: int, generator: Generator | None) -> Array:
    kind = weights.layout
    if not ((weights > 0).sum(-1) >= count).all().item():
        raise RuntimeError(
            "multinomial: invalid multinomial distribution (with replacement=False, not enough "
            "non-negative category to sample)"
        )
    e = ops.draw("exponential", kind.shape, kind.dtype, kind.device, (1.0, 0.0), generator)
    return sorting.topk(weights / tensor_of(e), count, -1, True)[1]
