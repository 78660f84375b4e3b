"""Random arrays. Every op takes its seed and its first Philox block as parameters, so that it is a
function of its arguments; the functions below reserve the blocks from a generator.
"""

from __future__ import annotations

import math
from typing import Any

from tilegrad.engine.array import Array, Layout, layout
from tilegrad.engine.device import META, Device
from tilegrad.engine.dispatch import Op, Plan, kernel
from tilegrad.engine.dtype import DType
from tilegrad.engine.ops.elementwise import OPS, scalar
from tilegrad.engine.ops.movement import dense
from tilegrad.engine.ops.parts import whole
from tilegrad.engine.random import Generator, source_of
from tilegrad.engine.shape import Shape, numel
from tilegrad.kernels.distributions import distribution
from tilegrad.kernels.variates import TABLE as VARIATES


def _draw_op(name: str) -> Op:
    def plan(*, shape: Shape, dtype: DType, device: Device) -> Plan:
        launch, _ = kernel("random", device).draw(name, dtype.name, numel(shape))
        return Plan((layout(shape, dtype, device),), launch)

    return Op(name, plan)


_DRAWS = {
    name: _draw_op(name)
    for name in ("uniform", "normal", "exponential", "bernoulli", "integers", "bits")
}


def blocks(name: str, dtype: DType, count: int) -> int:
    """Philox blocks that ``count`` elements take."""
    return -(-count // distribution(name, dtype.name).elements)


def draw(
    name: str,
    shape: Shape,
    dtype: DType,
    device: Device,
    params: tuple[Any, Any],
    generator: Generator | None,
) -> Array:
    """A new array from a distribution.

    Args:
        name: ``uniform`` (low, high), ``normal`` (mean, std), ``exponential`` (rate, 0.0),
            ``bernoulli`` (threshold out of 2^32, 0), ``integers`` (first, how many) or ``bits``.
        params: the two parameters of the distribution.
    """
    source = source_of(generator)
    if dtype.is_complex:
        mean = 0.0
        if name == "normal":  # half the variance in each part, the mean in the real one
            mean, params = params[0], (0.0, params[1] * math.sqrt(0.5))
        both = whole(draw(name, (*shape, 2), dtype.to_real(), device, params, generator))
        return OPS["add"](both, scalar(mean, dtype, device)) if mean else both  # type: ignore[no-any-return]
    count = blocks(name, dtype, numel(shape))
    place = source.reserve(count)
    if device is META:
        source.give_back(place[1], count)
    try:
        made: Array = _DRAWS[name](
            params=(*place, *params), shape=shape, dtype=dtype, device=device
        )
    except BaseException:  # no memory, or no kernel: nothing was drawn
        source.give_back(place[1], count)
        raise
    return made


def threshold(p: float) -> int:
    """The probability ``p`` in units of 2^-32."""
    return round(p * 4294967296.0)


def _bernoulli_plan(p: Layout) -> Plan:
    launch = kernel("random", p.device).bernoulli_of(p.dtype.name, p.numel)
    return Plan((layout(p.shape, p.dtype, p.device),), launch)


def _dropout_plan(x: Layout) -> Plan:
    if not x.dtype.is_floating_point:
        raise RuntimeError(f"dropout: input must be floating point; got {x.describe()}")
    launch = kernel("random", x.device).dropout(x.dtype.name, x.numel)
    return Plan((layout(x.shape, x.dtype, x.device),), launch)


_bernoulli = Op("bernoulli_of", _bernoulli_plan)
_dropout = Op("dropout", _dropout_plan)


def bernoulli_of(p: Array, generator: Generator | None) -> Array:
    """1 with the probability that ``p`` holds at each place, else 0; ``p`` float32 or float64."""
    source = source_of(generator)
    count = -(-p.layout.numel // 4)
    place = source.reserve(count)
    try:
        made: Array = _bernoulli(dense(p), params=(*place, 0, 0.0))
    except BaseException:
        source.give_back(place[1], count)
        raise
    return made


def dropout(x: Array, params: tuple[int, int, int, float]) -> Array:
    """``x * scale`` or ``x * 0``.

    Args:
        params: seed, first block, threshold out of 2^32 below which a word drops, scale.
    """
    made: Array = _dropout(dense(x), params=params)
    return made


def _variates_op(name: str) -> Op:
    def plan(x: Layout, y: Layout) -> Plan:
        launch = kernel("random", x.device).variates_of(name, x.dtype.name, x.numel)
        return Plan((layout(x.shape, x.dtype, x.device),), launch)

    return Op(name, plan)


_VARIATES = {name: _variates_op(name) for name in VARIATES}


def variates(name: str, x: Array, y: Array, generator: Generator | None) -> Array:
    """Draws whose parameters are elements of ``x`` and ``y``, of one shape, dtype and device; a block each.

    Args:
        name: ``gamma`` and ``log_gamma`` (shape, unused), ``poisson`` (rate, unused), ``binomial`` (count,
            probability) or ``von_mises`` (concentration, unused).
    """
    source = source_of(generator)
    count = x.layout.numel
    place = source.reserve(count)
    try:
        made: Array = _VARIATES[name](dense(x), dense(y), params=place)
    except BaseException:
        source.give_back(place[1], count)
        raise
    return made
