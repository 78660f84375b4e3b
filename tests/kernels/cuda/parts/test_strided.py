"""Index arithmetic of CUDA kernels, below and beyond 2^31 elements; nothing is allocated."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest

from tilegrad.kernels.cuda.parts.strided import division, index_params, is_wide, magic, offset_of

EDGE = 1 << 31


def _divisors() -> list[int]:
    draw = random.Random(0)
    near = [n + d for k in range(31) for n in (1 << k,) for d in (-1, 0, 1)]
    return sorted({n for n in (*near, *(draw.randrange(1, EDGE) for _ in range(500))) if n >= 1})


def test_multiplying_divides_every_number_below_the_edge() -> None:
    draw = random.Random(1)
    for divisor in _divisors():
        multiplier, shift = magic(divisor)
        assert 0 <= multiplier < 1 << 32
        multiples = [q * divisor for q in (1, 2, (EDGE - 1) // divisor)]
        samples = {0, EDGE - 1, *multiples, *(m - 1 for m in multiples)}
        samples |= {draw.randrange(EDGE) for _ in range(20)}
        for n in (n for n in samples if 0 <= n < EDGE):
            assert (n * multiplier) >> shift == n // divisor, (n, divisor)


@pytest.mark.parametrize("wide", [False, True])
def test_division(wide: bool) -> None:
    divide = division(wide)
    for divisor in (1, 3, 7, 1000, 65537):
        for n in (0, 1, divisor - 1, divisor, 12345678, EDGE - 1):
            assert divide(n, divisor, *magic(divisor)) == n // divisor


def _by_hand(index: int, sizes: tuple[int, ...], strides: tuple[int, ...]) -> int:
    total = 0
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        total += index % size * stride
        index //= size
    return total


SMALL = [
    ((5,), (3,)),
    ((4, 7), (7, 1)),
    ((4, 7), (1, 4)),
    ((2, 3, 5, 7), (105, 35, 0, 2)),
    ((31, 1, 33), (66, 5, 2)),
]
LARGE = [
    ((3, 1 << 30), (1 << 30, 1)),
    ((1 << 20, 5000), (5000, 1)),
    ((70_000, 70_000), (1, 70_000)),
    ((4, 3, 1 << 29), (3 << 30, 1 << 30, 2)),
]


@pytest.mark.parametrize("sizes, strides", [*SMALL, *LARGE])
def test_offsets(sizes: tuple[int, ...], strides: tuple[int, ...]) -> None:
    count = math.prod(sizes)
    wide = is_wide(count, (sizes, strides))
    assert wide == ((sizes, strides) in LARGE)
    for first in (0, 3):
        offset = offset_of(len(sizes), first, wide)
        given = (0,) * first + tuple(index_params(sizes, strides))
        draw = random.Random(2)
        for index in {0, count - 1, *(draw.randrange(count) for _ in range(200))}:
            assert offset(index, given) == _by_hand(index, sizes, strides)


def test_an_operand_that_reaches_far_is_wide_too() -> None:
    assert not is_wide(100, ((10, 10), (10, 1)))
    assert is_wide(100, ((10, 10), (1 << 29, 1)))


def test_elementwise_beyond_2_31_elements_takes_the_wide_kernel() -> None:
    """Three elements of a tensor of 3 * 2^30, over memory that is not there: by index arithmetic."""
    from tilegrad.kernels.cuda import elementwise as family
    from tilegrad.kernels.cuda.elementwise import map_groups
    from tilegrad.kernels.formulas import TABLES

    formula = next(t["neg"] for t in TABLES if "neg" in t)
    sizes, strides = (3, 1 << 30), (((2 << 30), 1), (1 << 30, 1))
    built: list[tuple[object, ...]] = []
    original = map_groups.build
    try:
        map_groups.build = lambda *v: built.append(v) or (lambda *a: None)  # type: ignore[method-assign]
        family.elementwise(formula.function, ("int8",) * 2, sizes, strides)
    except KeyError:
        pass  # binding the stand-in is not the point
    finally:
        map_groups.build = original  # type: ignore[method-assign]
    assert built[0][-3] is True


def test_wide_source_really_divides() -> None:
    index = np.int64(5_000_000_019)
    offset = offset_of(2, 0, True)
    assert offset(int(index), tuple(index_params((3, 1 << 31), (1 << 31, 1)))) == int(index)
