"""States of connectionist temporal classification, in logarithms."""

from __future__ import annotations

import math

from tilegrad.kernels.formulas.primitives import cast, select
from tilegrad.kernels.formulas.transcendental import exp_decay, log
from tilegrad.kernels.function import inline


def pitch_of(longest: int) -> int:
    """Elements from row to row of states, where a sequence has so many labels: two that nothing reaches, then
    the states, to the end of the widest vector.
    """
    return 2 + -(-(2 * longest + 1) // 16) * 16


@inline
def log_sum(x, y, z):
    """log(e^x + e^y + e^z); -inf where all are."""
    never, zero = cast(-math.inf, x), cast(0.0, x)
    top = select(x > y, x, y)
    top = select(z > top, z, top)
    base = select(top == never, zero, top)
    return base + log(exp_decay(x - base) + exp_decay(y - base) + exp_decay(z - base))


@inline
def posterior(alpha, beta, seen, loss):
    """The probability that a step is in a state, given that of all alignments, e^-loss.

    ``alpha`` and ``beta``: of what leads to the state and of what leads from it, both with its own ``seen``.
    """
    never, zero = cast(-math.inf, alpha), cast(0.0, alpha)
    both = alpha + beta
    return select(both == never, zero, exp_decay(both - seen + loss))
