"""A line search for the strong Wolfe conditions (Nocedal & Wright, algorithms 3.5 and 3.6)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from tilegrad.autograd.tensor import Tensor

ARMIJO, CURVATURE = 1e-4, 0.9


class _Place(NamedTuple):
    """A point of the line: step, loss, gradient, slope along the line."""

    t: Any
    loss: float
    grad: Tensor
    slope: Any


def _lowest(one: _Place, two: _Place, bounds: tuple[Any, Any] | None = None) -> Any:
    """Where the cubic through two places, with their slopes, is lowest, within the bounds."""
    low, high = bounds or ((one.t, two.t) if one.t <= two.t else (two.t, one.t))
    a = one.slope + two.slope - 3 * (one.loss - two.loss) / (one.t - two.t)
    square = a**2 - one.slope * two.slope
    if not square >= 0:
        return (low + high) / 2.0
    root = square.sqrt()
    if one.t <= two.t:
        share = (two.slope + root - a) / (two.slope - one.slope + 2 * root)
        best = two.t - (two.t - one.t) * share
    else:
        share = (one.slope + root - a) / (one.slope - two.slope + 2 * root)
        best = one.t - (one.t - two.t) * share
    return min(max(best, low), high)


def strong_wolfe(
    along: Callable[[Any], tuple[float, Tensor]],
    t: Any,
    way: Tensor,
    loss: float,
    grad: Tensor,
    slope: Any,
    most: int,
    least: float = 1e-9,
) -> tuple[float, Tensor, Any, int]:
    """(loss, gradient, step, evaluations) of a step along ``way`` that meets both conditions.

    Args:
        along: evaluates a step: its loss and gradient.
        t: the first step to try. loss, grad, slope: at step 0. most: evaluations at most.
        least: the length of an interval that is not searched further.
    """

    def at(t: Any) -> _Place:
        value, gradient = along(t)
        return _Place(t, value, gradient, gradient.dot(way))

    def too_high(place: _Place) -> bool:
        return bool(place.loss > loss + ARMIJO * place.t * slope)

    start = _Place(0, loss, grad.clone(), slope)
    before, here, done, count = start, at(t), False, 0
    bracket = [start, here]
    while count < most:
        if too_high(here) or (count > 1 and here.loss >= before.loss):
            bracket = [before, here]
            break
        if abs(here.slope) <= -CURVATURE * slope:
            bracket, done = [here], True
            break
        if here.slope >= 0:
            bracket = [before, here]
            break
        bounds = (here.t + 0.01 * (here.t - before.t), here.t * 10)
        before, here = here, at(_lowest(before, here, bounds))
        count += 1
    else:
        bracket = [start, here]
    evaluated = count + 1
    if not done:
        bracket, more = _zoom(bracket, at, too_high, slope, least / way.abs().max(), most - count)
        evaluated += more
    best = min(bracket, key=lambda place: place.loss)  # the first of equals
    return best.loss, best.grad, best.t, evaluated


def _zoom(
    bracket: list[_Place],
    at: Callable[[Any], _Place],
    too_high: Callable[[_Place], bool],
    slope: Any,
    least: Any,
    most: int,
) -> tuple[list[_Place], int]:
    """The bracket with one end that meets the conditions, and how often ``at`` was asked."""
    low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
    stuck, count = False, 0
    while count < most:
        ends = (bracket[0].t, bracket[1].t)
        if abs(ends[1] - ends[0]) < least:
            break
        t = _lowest(bracket[0], bracket[1])
        edge = 0.1 * (max(ends) - min(ends))
        if min(max(ends) - t, t - min(ends)) < edge:  # near an end: once is no harm
            if stuck or t >= max(ends) or t <= min(ends):
                upper = abs(t - max(ends)) < abs(t - min(ends))
                t, stuck = (max(ends) - edge if upper else min(ends) + edge), False
            else:
                stuck = True
        else:
            stuck = False
        here = at(t)
        count += 1
        if too_high(here) or here.loss >= bracket[low].loss:
            bracket[high] = here
            low, high = (0, 1) if bracket[0].loss <= bracket[1].loss else (1, 0)
            continue
        met = abs(here.slope) <= -CURVATURE * slope
        if not met and here.slope * (bracket[high].t - bracket[low].t) >= 0:
            bracket[high] = bracket[low]
        bracket[low] = here
        if met:
            break
    return [bracket[low], bracket[high]], count
