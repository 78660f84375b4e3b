"""What planners of both devices share."""

from __future__ import annotations

import pytest

from tilegrad.engine import shape
from tilegrad.kernels import plans, source


def test_dimensions_are_merged_where_every_operand_allows() -> None:
    assert plans.merge_dims((2, 1, 3, 4), [(12, 99, 4, 1), (12, 0, 4, 1)]) == ((24,), ((1,), (1,)))
    assert plans.merge_dims((2, 3), [(3, 1), (0, 1)]) == ((2, 3), ((3, 1), (0, 1)))
    assert plans.merge_dims((1, 1), [(7, 5)]) == ((), ((),))
    assert shape.merge_dims((1, 1), [(7, 5)]) == ((1,), ((1,),))


def test_batches_keep_the_strides_of_rows_and_columns() -> None:
    merged = plans.merge_batch((2, 3), (60, 20, 5, 1), (0, 0, 4, 1))
    assert merged == ((6,), ((20, 5, 1), (0, 4, 1)))
    assert plans.merge_batch((1,), (9, 5, 1)) == ((), ((5, 1),))


def test_a_letter_an_operand() -> None:
    assert plans.access_pattern([(4, 1), (1, 0), (1, 2), (4, 1)]) == "csvc"
    assert plans.access_pattern([(1,), (0,)]) == "cv"


@pytest.mark.parametrize("given", [(True, False, True), (False, False), (True, True), (False,)])
def test_absent_operands_are_null(given: tuple[bool, ...]) -> None:
    seen: list[tuple[float, ...]] = []
    run = plans.with_absent(lambda *args: seen.append(args), given)
    run(*range(5, 5 + sum(given)), 0.5, 7)
    numbers = iter(range(5, 9))
    assert seen == [(*(next(numbers) if has else 0 for has in given), 0.5, 7)]


def test_source_text() -> None:
    assert source.indented(["a", "b"], 2) == "  a\n  b"
    assert source.listed(["a", "b"]) == "a, b, "
    assert len(eval(source.tuple_of([str(k) for k in range(40)]))) == 40
    double = source.device_function("double", ["def double(x):", "    return x + x"], {}, __name__)
    other = source.device_function("double", ["def double(x):", "    return 2 * x"], {}, __name__)
    assert double(3) == 6 and double.__module__ == __name__ and double.key != other.key
